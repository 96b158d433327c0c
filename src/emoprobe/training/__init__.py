"""Heads on frozen features and LoRA on the SFM: how they are made, fitted, kept on disk and used again."""
