"""A tiny Nemotron Omni: a Parakeet encoder, and a text model with recurrent, attention and expert layers."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import (
    NemotronH_Omni_Reasoning_V3,
    NemotronH_Omni_Reasoning_V3_Config,
    ParakeetFeatureExtractor,
)

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.audio_flamingo3 import CHAT_TEMPLATE
from emoprobe.checks.tiny.common import padded, write_model, write_tokenizer

SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<so_embedding>",
    "<so_start>",
    "<so_end>",
    "<image>",
    "<video>",
    "<img>",
    "</img>",
]


@TINY.register("nemotron_h_omni")
def write(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint; `NemotronH_Omni_Reasoning_V3` reads it."""
    tokenizer = write_tokenizer(folder, SPECIAL, eos="<|im_end|>")
    settings = json.loads(ParakeetFeatureExtractor().to_json_string()) | {
        "processor_class": "NemotronH_Omni_Reasoning_V3Processor"
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE.replace("<sound>", "<so_embedding>"), encoding="utf-8")
    ids = dict(zip(SPECIAL, tokenizer.convert_tokens_to_ids(SPECIAL), strict=True))
    torch.manual_seed(seed + 1)  # of seed 0 greedy decoding writes the sound's placeholder
    config = NemotronH_Omni_Reasoning_V3_Config(
        text_config={
            "vocab_size": padded(len(tokenizer)),
            "hidden_size": 48,
            "layers_block_type": ["linear_attention", "full_attention", "moe", "mlp"],
            "intermediate_size": 64,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "ssm_state_size": 16,
            "mamba_num_heads": 4,
            "mamba_head_dim": 16,
            "n_groups": 2,
            "chunk_size": 16,
            "n_routed_experts": 4,
            "moe_intermediate_size": 32,
            "moe_shared_expert_intermediate_size": 32,
            "initializer_range": 0.2,
        },
        vision_config={
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 32,
            "max_img_size": 64,
            "video_temporal_patch_size": 2,
        },
        audio_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "subsampling_conv_channels": 8,
            "projection_hidden_size": 32,
            "projection_bias": True,
            "initializer_range": 0.2,
        },
        vision_hidden_size=16,
        projector_hidden_size=16,
        image_token_id=ids["<image>"],
        video_token_id=ids["<video>"],
        audio_token_id=ids["<so_embedding>"],
    )
    generation = {"eos_token_id": [ids["<|im_end|>"]], "pad_token_id": ids["<|endoftext|>"]}
    write_model(folder, NemotronH_Omni_Reasoning_V3(config), len(tokenizer), generation)
    return folder
