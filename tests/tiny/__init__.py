"""Data packages in miniature, and what transformers itself makes of a chat."""
