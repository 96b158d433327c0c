"""A tiny Qwen3-ASR: an encoder that hears in windows and a Qwen3 text model."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import Qwen3ASRConfig, Qwen3ASRFeatureExtractor, Qwen3ASRForConditionalGeneration

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.common import QWEN3_TEXT, padded, write_model, write_tokenizer
from emoprobe.checks.tiny.qwen3_omni import CHAT_TEMPLATE

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio_start|>", "<|audio_end|>", "<|audio_pad|>"]
NAMES = {"audio_token": "<|audio_pad|>", "audio_bos_token": "<|audio_start|>", "audio_eos_token": "<|audio_end|>"}


@TINY.register("qwen3_asr")
def write(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint; `AutoProcessor` and `Qwen3ASRForConditionalGeneration` read it."""
    tokenizer = write_tokenizer(folder, SPECIAL, eos="<|im_end|>", names=NAMES)
    settings = json.loads(Qwen3ASRFeatureExtractor().to_json_string()) | {"processor_class": "Qwen3ASRProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    ids = dict(zip(SPECIAL, tokenizer.convert_tokens_to_ids(SPECIAL), strict=True))
    torch.manual_seed(seed)
    config = Qwen3ASRConfig(
        audio_config={
            "num_mel_bins": 128,
            "d_model": 32,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 64,
            "output_dim": 48,
            "downsample_hidden_size": 16,
            "initializer_range": 0.2,
        },
        text_config=QWEN3_TEXT | {"vocab_size": padded(len(tokenizer))},
        audio_token_id=ids["<|audio_pad|>"],
        pad_token_id=ids["<|endoftext|>"],
        eos_token_id=[ids["<|endoftext|>"], ids["<|im_end|>"]],
        timestamp_token_id=ids["<|endoftext|>"],
        initializer_range=0.3,
        tie_word_embeddings=False,
    )
    generation = {
        "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
        "pad_token_id": ids["<|endoftext|>"],
    }
    write_model(folder, Qwen3ASRForConditionalGeneration(config), len(tokenizer), generation)
    return folder
