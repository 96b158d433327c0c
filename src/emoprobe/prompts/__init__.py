"""Prompts, and how the answers to them are written and parsed."""
