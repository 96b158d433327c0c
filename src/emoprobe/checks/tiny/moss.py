"""A tiny MOSS-Transcribe-Diarize: its processor writes the seconds that have passed between the parts of the sound."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import (
    MossTranscribeDiarizeConfig,
    MossTranscribeDiarizeFeatureExtractor,
    MossTranscribeDiarizeForConditionalGeneration,
)

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.common import QWEN3_TEXT, padded, write_model, write_tokenizer
from emoprobe.checks.tiny.qwen3_omni import CHAT_TEMPLATE

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio_start|>", "<|audio_end|>", "<|audio_pad|>"]


@TINY.register("moss_transcribe_diarize")
def write(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint; `AutoProcessor` and `MossTranscribeDiarizeForConditionalGeneration` read it."""
    tokenizer = write_tokenizer(folder, SPECIAL, eos="<|im_end|>")
    settings = json.loads(MossTranscribeDiarizeFeatureExtractor().to_json_string())
    settings |= {"processor_class": "MossTranscribeDiarizeProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    # A mark every second rather than every other one, so that short clips have one.
    processor = {"processor_class": "MossTranscribeDiarizeProcessor", "time_marker_every_seconds": 1}
    (folder / "processor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    ids = dict(zip(SPECIAL, tokenizer.convert_tokens_to_ids(SPECIAL), strict=True))
    torch.manual_seed(seed)
    config = MossTranscribeDiarizeConfig(
        audio_config={
            "num_mel_bins": 80,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "initializer_range": 0.2,
        },
        text_config=QWEN3_TEXT | {"vocab_size": padded(len(tokenizer))},
        audio_token_id=ids["<|audio_pad|>"],
        initializer_range=0.3,
        tie_word_embeddings=False,
    )
    generation = {
        "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
        "pad_token_id": ids["<|endoftext|>"],
        "repetition_penalty": 1.05,
    }
    write_model(folder, MossTranscribeDiarizeForConditionalGeneration(config), len(tokenizer), generation)
    return folder
