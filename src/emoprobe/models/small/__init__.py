"""A small instruction-following audio LLM, assembled of Whisper base's encoder and SmolLM2 as a Qwen2-Audio.

Both come from the pinned data packages, never from a copy on the model hub: the weights are the same everywhere.
"""
