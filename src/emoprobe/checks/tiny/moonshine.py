"""Tiny Moonshine and Moonshine Streaming: raw sound in, a decoder with cross-attention out, a tokenizer as Llama's."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    MoonshineConfig,
    MoonshineForConditionalGeneration,
    MoonshineStreamingConfig,
    MoonshineStreamingEncoderConfig,
    MoonshineStreamingForConditionalGeneration,
    MoonshineStreamingProcessor,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Processor,
)

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.common import padded, write_model
from emoprobe.checks.tiny.pieces import write_pieces

ROLES = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
IDS = {"bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}


@TINY.register("moonshine")
def write(folder: Path, seed: int = 0) -> Path:
    """Write a Moonshine with its processor."""
    tokenizer = write_pieces(folder, list(ROLES.values()), roles=ROLES, prepended=True)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)
    torch.manual_seed(seed)
    config = MoonshineConfig(
        vocab_size=padded(len(tokenizer)),
        hidden_size=32,
        intermediate_size=64,
        encoder_num_hidden_layers=2,
        decoder_num_hidden_layers=2,
        encoder_num_attention_heads=2,
        decoder_num_attention_heads=2,
        pad_head_dim_to_multiple_of=8,
        max_position_embeddings=64,
        initializer_range=0.3,
        **IDS,
    )
    write_model(folder, MoonshineForConditionalGeneration(config), len(tokenizer), IDS)
    return folder


@TINY.register("moonshine_streaming")
def write_streaming(folder: Path, seed: int = 0) -> Path:
    """Write a Moonshine Streaming with its processor."""
    tokenizer = write_pieces(folder, list(ROLES.values()), roles=ROLES, prepended=True)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    MoonshineStreamingProcessor(extractor, tokenizer).save_pretrained(folder)
    torch.manual_seed(seed)
    encoder = MoonshineStreamingEncoderConfig(
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        sliding_windows=[[16, 4], [16, 0]],
    )
    config = MoonshineStreamingConfig(
        encoder_config=encoder.to_dict(),
        vocab_size=padded(len(tokenizer)),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.3,
        **IDS,
    )
    write_model(folder, MoonshineStreamingForConditionalGeneration(config), len(tokenizer), IDS)
    return folder
