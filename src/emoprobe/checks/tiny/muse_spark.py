"""A tiny Muse Spark: convolutional frames of the waveform, and an expert text model with gates and windows."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import (
    MuseSparkConfig,
    MuseSparkFeatureExtractor,
    MuseSparkForConditionalGeneration,
)

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.audio_flamingo3 import CHAT_TEMPLATE
from emoprobe.checks.tiny.common import padded, write_model, write_tokenizer

SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|audio|>",
    "<|soft_audio_start|>",
    "<|soft_audio_end|>",
    "<|patch|>",
    "<|video|>",
]


@TINY.register("muse_spark")
def write(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint; `MuseSparkForConditionalGeneration` reads it."""
    tokenizer = write_tokenizer(folder, SPECIAL, eos="<|im_end|>")
    settings = json.loads(MuseSparkFeatureExtractor().to_json_string()) | {"processor_class": "MuseSparkProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE.replace("<sound>", "<|audio|>"), encoding="utf-8")
    ids = dict(zip(SPECIAL, tokenizer.convert_tokens_to_ids(SPECIAL), strict=True))
    torch.manual_seed(seed + 1)  # of seed 0 greedy decoding writes the sound's placeholder
    config = MuseSparkConfig(
        text_config={
            "vocab_size": padded(len(tokenizer)),
            "hidden_size": 48,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "sliding_window": 1024,
            "moe_intermediate_size": 32,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "moe_hidden_size": 32,
            "mlp_layer_types": ["dense", "sparse", "sparse"],
            "eos_token_id": ids["<|im_end|>"],
            "bos_token_id": ids["<|endoftext|>"],
            "initializer_range": 0.2,
        },
        vision_config={"num_attention_heads": 2, "num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 16},
        audio_config={
            "hidden_sizes": [8, 16, 24, 32],
            "depths": [1, 1, 1, 1],
            "out_hidden_size": 48,
            "initializer_range": 0.2,
        },
        out_hidden_size=24,
        projector_hidden_size=16,
        image_token_id=ids["<|patch|>"],
        video_token_id=ids["<|video|>"],
        audio_token_id=ids["<|audio|>"],
    )
    generation = {"eos_token_id": [ids["<|im_end|>"]], "pad_token_id": ids["<|endoftext|>"]}
    write_model(folder, MuseSparkForConditionalGeneration(config), len(tokenizer), generation)
    return folder
