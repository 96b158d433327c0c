"""A tiny Dots3-Note: a Whisper-like encoder, and a text model with latent, partly sparse attention and experts."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.audio_flamingo3 import CHAT_TEMPLATE
from emoprobe.checks.tiny.common import padded, write_model, write_tokenizer

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio_comp_pad|>", "<|imgpad|>", "<|video_pad|>"]


@TINY.register("dots3_note")
def write(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint; `Dots3NoteForConditionalGeneration` reads it."""
    # Here, since not every transformers that is allowed has them.
    from transformers import Dots3NoteConfig, Dots3NoteFeatureExtractor, Dots3NoteForConditionalGeneration

    tokenizer = write_tokenizer(folder, SPECIAL, eos="<|im_end|>")
    settings = json.loads(Dots3NoteFeatureExtractor().to_json_string()) | {"processor_class": "Dots3NoteProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(
        CHAT_TEMPLATE.replace("<sound>", "<|audio_comp_pad|>"), encoding="utf-8"
    )
    ids = dict(zip(SPECIAL, tokenizer.convert_tokens_to_ids(SPECIAL), strict=True))
    torch.manual_seed(seed)
    config = Dots3NoteConfig(
        text_config={
            "vocab_size": padded(len(tokenizer)),
            "hidden_size": 48,
            "intermediate_size": 64,
            "moe_intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "kv_lora_rank": 16,
            "q_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 16,
            "v_head_dim": 16,
            "pad_token_id": ids["<|endoftext|>"],
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "index_topk": 2048,
            "index_head_dim": 16,
            "index_n_heads": 2,
            "initializer_range": 0.2,
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "mlp_layer_types": ["dense"],
            "num_attention_heads": 2,
            "adapter_in_dim": 16,
            "adapter_out_dim": 48,
        },
        audio_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "downsample_hidden_size": 8,
            "adapter_input_size": 32,
            "adapter_out_dim": 48,
            "initializer_range": 0.2,
        },
        audio_token_id=ids["<|audio_comp_pad|>"],
        image_token_id=ids["<|imgpad|>"],
        video_token_id=ids["<|video_pad|>"],
    )
    generation = {"eos_token_id": [ids["<|im_end|>"]], "pad_token_id": ids["<|endoftext|>"]}
    write_model(folder, Dots3NoteForConditionalGeneration(config), len(tokenizer), generation)
    return folder
