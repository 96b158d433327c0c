"""The Python API: the verbs of `emoprobe`, each a thin way to a recipe."""
