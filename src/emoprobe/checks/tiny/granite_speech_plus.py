"""A tiny Granite Speech Plus: the projector is given the states of an inner layer of the encoder beside the last."""

from __future__ import annotations

from pathlib import Path

from transformers import GraniteSpeechPlusConfig, GraniteSpeechPlusForConditionalGeneration

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.granite_speech import write_granite


@TINY.register("granite_speech_plus")
def write(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint; `AutoProcessor` and `GraniteSpeechPlusForConditionalGeneration` read it."""
    further = {"cat_hidden_layers": [0]}
    return write_granite(folder, seed, GraniteSpeechPlusConfig, GraniteSpeechPlusForConditionalGeneration, further, 64)
