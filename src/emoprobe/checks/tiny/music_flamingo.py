"""A tiny Music Flamingo: as Audio Flamingo 3, with time in its projector and marks that its processor writes."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    AudioFlamingo3EncoderConfig,
    MusicFlamingoConfig,
    MusicFlamingoForConditionalGeneration,
    Qwen2Config,
)

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.audio_flamingo3 import CHAT_TEMPLATE
from emoprobe.checks.tiny.common import padded, write_front_end, write_model, write_tokenizer

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<sound>", "<|sound_bos|>", "<|sound_eos|>"]


@TINY.register("musicflamingo")
def write(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint; `AutoProcessor` and `MusicFlamingoForConditionalGeneration` read it."""
    tokenizer = write_tokenizer(folder, SPECIAL, eos="<|im_end|>")
    write_front_end(folder, "MusicFlamingoProcessor", CHAT_TEMPLATE)
    ids = dict(zip(SPECIAL, tokenizer.convert_tokens_to_ids(SPECIAL), strict=True))
    torch.manual_seed(seed)
    config = MusicFlamingoConfig(
        audio_config=AudioFlamingo3EncoderConfig(
            num_mel_bins=128,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            initializer_range=0.2,
        ),
        text_config=Qwen2Config(
            vocab_size=padded(len(tokenizer)),
            hidden_size=48,
            intermediate_size=96,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=8192,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            bos_token_id=ids["<|endoftext|>"],
            eos_token_id=ids["<|im_end|>"],
            initializer_range=0.3,
            tie_word_embeddings=False,
        ),
        audio_token_id=ids["<sound>"],
        audio_bos_token_id=ids["<|sound_bos|>"],
        audio_eos_token_id=ids["<|sound_eos|>"],
        initializer_range=0.3,
        tie_word_embeddings=False,
    )
    generation = {
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
        "pad_token_id": ids["<|endoftext|>"],
        "repetition_penalty": 1.05,
    }
    write_model(folder, MusicFlamingoForConditionalGeneration(config), len(tokenizer), generation)
    return folder
