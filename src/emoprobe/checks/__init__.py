"""What is checked of a model before its numbers are believed."""
