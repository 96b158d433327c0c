"""A tiny Gemma 4 without encoders: frames of the waveform are projected."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import Gemma4UnifiedAudioFeatureExtractor, Gemma4UnifiedConfig, Gemma4UnifiedForConditionalGeneration

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.gemma import NAMES_4, PER_LAYER, TEXT, TURNS, finish, start


@TINY.register("gemma4_unified")
def write(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint; `Gemma4UnifiedForConditionalGeneration` reads it."""
    special = [*TURNS, *NAMES_4.values(), "<|video|>"]
    ids, size = start(folder, special, NAMES_4, "Gemma4UnifiedProcessor", Gemma4UnifiedAudioFeatureExtractor())
    torch.manual_seed(seed)
    config = Gemma4UnifiedConfig(
        text_config={key: value for key, value in TEXT.items() if key not in PER_LAYER}
        | {"vocab_size": size, "global_head_dim": 16, "sliding_window": 1024},
        vision_config=None,
        audio_config={"initializer_range": 0.2},
        boi_token_id=ids[NAMES_4["boi_token"]],
        eoi_token_id=ids[NAMES_4["eoi_token"]],
        boa_token_id=ids[NAMES_4["boa_token"]],
        eoa_token_index=ids[NAMES_4["eoa_token"]],
        image_token_id=ids[NAMES_4["image_token"]],
        audio_token_id=ids[NAMES_4["audio_token"]],
        video_token_id=ids["<|video|>"],
        initializer_range=0.3,
    )
    return finish(folder, Gemma4UnifiedForConditionalGeneration(config), ids, size)
