"""A tiny Fun-ASR-Nano: filter banks stacked by sevens, an encoder with memory blocks and a Qwen3 text model."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import FunAsrNanoConfig, FunAsrNanoFeatureExtractor, FunAsrNanoForConditionalGeneration

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.audio_flamingo3 import CHAT_TEMPLATE
from emoprobe.checks.tiny.common import QWEN3_TEXT, padded, write_model, write_tokenizer

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>"]


@TINY.register("fun_asr_nano")
def write(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint; `AutoProcessor` and `FunAsrNanoForConditionalGeneration` read it."""
    tokenizer = write_tokenizer(folder, SPECIAL, eos="<|im_end|>")
    settings = json.loads(FunAsrNanoFeatureExtractor().to_json_string()) | {"processor_class": "FunAsrNanoProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    template = CHAT_TEMPLATE.replace("<sound>", "<|object_ref_start|>")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    ids = dict(zip(SPECIAL, tokenizer.convert_tokens_to_ids(SPECIAL), strict=True))
    torch.manual_seed(seed)
    config = FunAsrNanoConfig(
        audio_config={
            "hidden_size": 32,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_timestamp_prediction_layers": 1,
            "initializer_range": 0.2,
        },
        adaptor_config={
            "hidden_size": 48,
            "num_attention_heads": 2,
            "intermediate_size": 12,
            "projector_hidden_size": 64,
            "initializer_range": 0.2,
        },
        text_config=QWEN3_TEXT | {"vocab_size": padded(len(tokenizer))},
        audio_token_id=ids["<|object_ref_start|>"],
        initializer_range=0.3,
        tie_word_embeddings=False,
    )
    generation = {
        "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
        "pad_token_id": ids["<|endoftext|>"],
        "repetition_penalty": 1.05,
    }
    write_model(folder, FunAsrNanoForConditionalGeneration(config), len(tokenizer), generation)
    return folder
