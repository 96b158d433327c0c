"""Readouts: how a model is asked."""
