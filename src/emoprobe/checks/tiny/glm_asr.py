"""A tiny GLM-ASR: the common form, with a plain placeholder as the sound's token and a Llama text model."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import GlmAsrConfig, GlmAsrForConditionalGeneration

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.audio_flamingo3 import CHAT_TEMPLATE
from emoprobe.checks.tiny.common import padded, write_front_end, write_model, write_tokenizer

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]


@TINY.register("glmasr")
def write(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint; `AutoProcessor` and `GlmAsrForConditionalGeneration` read it."""
    tokenizer = write_tokenizer(folder, SPECIAL, eos="<|im_end|>")
    write_front_end(folder, "GlmAsrProcessor", CHAT_TEMPLATE.replace("<sound>", "<|pad|>"))
    ids = dict(zip(SPECIAL, tokenizer.convert_tokens_to_ids(SPECIAL), strict=True))
    torch.manual_seed(seed)
    config = GlmAsrConfig(
        audio_config={
            "num_mel_bins": 128,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 128,  # four frames of the encoder become one token
            "initializer_range": 0.2,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": padded(len(tokenizer)),
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 8192,
            "initializer_range": 0.3,
            "tie_word_embeddings": False,
        },
        audio_token_id=ids["<|pad|>"],
        initializer_range=0.3,
        tie_word_embeddings=False,
    )
    generation = {"eos_token_id": [ids["<|im_end|>"]], "pad_token_id": ids["<|endoftext|>"]}
    write_model(folder, GlmAsrForConditionalGeneration(config), len(tokenizer), generation)
    return folder
