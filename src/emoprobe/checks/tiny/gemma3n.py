"""A tiny Gemma 3n: every sound becomes 188 tokens; its decoder looks up tokens in every layer and shares keys."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import Gemma3nAudioFeatureExtractor, Gemma3nConfig, Gemma3nForConditionalGeneration

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.gemma import TEXT, TURNS, finish, start
from emoprobe.models.families.gemma import BlindConfig

# Marks of text, then what an embedding of pictures and one of sounds have rows for.
MARKS = ["<start_of_image>", "<start_of_audio>"]
SEEN = ["<end_of_image>", "<image_soft_token>"]
HEARD = ["<end_of_audio>", "<audio_soft_token>", "<audio_unused>", "<audio_padding>"]


@TINY.register("gemma3n")
def write(folder: Path, seed: int = 0) -> Path:
    """Write a Gemma 3n; `Gemma3nForConditionalGeneration` reads it."""
    names = {
        "audio_token": "<audio_soft_token>",
        "boa_token": "<start_of_audio>",
        "eoa_token": "<end_of_audio>",
        "image_token": "<image_soft_token>",
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
    }
    special = [*TURNS, *MARKS, *SEEN, *HEARD]
    ids, size = start(folder, special, names, "Gemma3nProcessor", Gemma3nAudioFeatureExtractor())
    seen, heard = ids[SEEN[0]], ids[HEARD[0]]
    torch.manual_seed(seed)
    config = Gemma3nConfig(
        text_config=TEXT
        | {
            "vocab_size": size,
            "vocab_size_per_layer_input": seen,
            "altup_num_inputs": 2,
            "laurel_rank": 8,
            "activation_sparsity_pattern": [0.5, 0.5, 0.0, 0.0],
        },
        audio_config={
            "vocab_size": len(HEARD),
            "vocab_offset": heard,
            "hidden_size": 32,
            "conf_num_attention_heads": 2,
            "conf_num_hidden_layers": 2,
            "sscp_conv_channel_size": [8, 4],
            "initializer_range": 0.2,
        },
        boi_token_id=ids["<start_of_image>"],
        eoi_token_id=ids["<end_of_image>"],
        boa_token_id=ids["<start_of_audio>"],
        eoa_token_id=ids["<end_of_audio>"],
        image_token_id=ids["<image_soft_token>"],
        audio_token_id=ids["<audio_soft_token>"],
        initializer_range=0.3,
        vision_config=BlindConfig(hidden_size=16, vocab_size=len(SEEN), vocab_offset=seen, initializer_range=0.2),
    )
    return finish(folder, Gemma3nForConditionalGeneration(config), ids, size)
