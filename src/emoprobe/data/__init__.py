"""Corpora: utterances with the votes of their raters, soft labels, audio."""
