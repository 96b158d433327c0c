"""A tiny Gemma 4 with an audio encoder: a token every 40 ms, and inputs per layer."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import Gemma4AudioFeatureExtractor, Gemma4Config, Gemma4ForConditionalGeneration

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.gemma import NAMES_4, TEXT, TURNS, finish, start


@TINY.register("gemma4")
def write(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint; `Gemma4ForConditionalGeneration` reads it."""
    special = [*TURNS, *NAMES_4.values(), "<|video|>"]
    ids, size = start(folder, special, NAMES_4, "Gemma4Processor", Gemma4AudioFeatureExtractor())
    torch.manual_seed(seed)
    config = Gemma4Config(
        text_config=TEXT | {"vocab_size": size, "vocab_size_per_layer_input": size, "global_head_dim": 16},
        vision_config=None,
        audio_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "subsampling_conv_channels": [128, 4],
            "output_proj_dims": 24,
            "initializer_range": 0.2,
        },
        boi_token_id=ids[NAMES_4["boi_token"]],
        eoi_token_id=ids[NAMES_4["eoi_token"]],
        boa_token_id=ids[NAMES_4["boa_token"]],
        eoa_token_index=ids[NAMES_4["eoa_token"]],
        image_token_id=ids[NAMES_4["image_token"]],
        audio_token_id=ids[NAMES_4["audio_token"]],
        video_token_id=ids["<|video|>"],
        initializer_range=0.3,
    )
    return finish(folder, Gemma4ForConditionalGeneration(config), ids, size)
