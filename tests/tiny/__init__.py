"""Tiny, randomly initialised checkpoints of true audio-LLM classes, written to disk as on a model hub."""
