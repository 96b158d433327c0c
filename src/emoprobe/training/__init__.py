"""Heads trained on frozen features: what they compute and what they are trained to minimise."""
