"""What readers of corpora are made of: foreign tables, fields, paths and ids, ratings tables, and users' own tables."""
