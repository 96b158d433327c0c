"""The door between the wings: the score table, the run folder, what makes two cells the same, resume, completeness."""
