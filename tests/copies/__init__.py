"""Small made-up copies of corpora in exactly their real formats."""
