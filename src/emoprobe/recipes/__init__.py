"""Whole studies, each read from top to bottom."""
