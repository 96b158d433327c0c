"""Heads on frozen features and LoRA on the SFM: how they are made, fitted, kept on disk and compared."""

import emoprobe.models  # noqa: F401  # its guard against a foreign torchaudio comes before peft
