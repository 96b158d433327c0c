"""A tiny Inkling: embeddings of quantised mel bins, and a text model with short convolutions and relative logits."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import (
    InklingConfig,
    InklingFeatureExtractor,
    InklingForConditionalGeneration,
)

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.audio_flamingo3 import CHAT_TEMPLATE
from emoprobe.checks.tiny.common import padded, write_model, write_tokenizer

SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|unused_200053|>",
    "<|content_audio_input|>",
    "<|unused_200054|>",
    "<|content_image|>",
]


@TINY.register("inkling_mm_model")
def write(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint; `InklingForConditionalGeneration` reads it."""
    tokenizer = write_tokenizer(folder, SPECIAL, eos="<|im_end|>")
    settings = json.loads(InklingFeatureExtractor().to_json_string()) | {"processor_class": "InklingProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(
        CHAT_TEMPLATE.replace("<sound>", "<|content_audio_input|><|unused_200053|>"), encoding="utf-8"
    )
    ids = dict(zip(SPECIAL, tokenizer.convert_tokens_to_ids(SPECIAL), strict=True))
    torch.manual_seed(seed)
    config = InklingConfig(
        text_config={
            "vocab_size": padded(len(tokenizer)),
            "hidden_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "swa_num_attention_heads": 4,
            "swa_num_key_value_heads": 2,
            "swa_head_dim": 16,
            "sliding_window_size": 64,
            "d_rel": 4,
            "rel_extent": 64,
            "intermediate_size": 64,
            "moe_intermediate_size": 32,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_shared_experts": 1,
            "logits_mup_width_multiplier": 2.0,
            "mlp_layer_types": ["dense", "sparse"],
            "initializer_range": 0.2,
        },
        vision_config={"text_hidden_size": 48, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
        audio_config={"text_hidden_size": 48, "mel_vocab_size": 16, "initializer_range": 0.2},
        image_token_id=ids["<|unused_200054|>"],
        audio_token_id=ids["<|unused_200053|>"],
        image_bos_token_id=ids["<|content_image|>"],
        audio_bos_token_id=ids["<|content_audio_input|>"],
    )
    generation = {"eos_token_id": [ids["<|im_end|>"]], "pad_token_id": ids["<|endoftext|>"]}
    write_model(folder, InklingForConditionalGeneration(config), len(tokenizer), generation)
    return folder
