"""Tiny Canary and Cohere ASR: a Parakeet encoder, a decoder, and a prompt with a slot for emotion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    CanaryConfig,
    CanaryDecoderConfig,
    CanaryForConditionalGeneration,
    CanaryProcessor,
    CohereAsrConfig,
    CohereAsrFeatureExtractor,
    CohereAsrForConditionalGeneration,
    CohereAsrProcessor,
    ParakeetEncoderConfig,
    ParakeetFeatureExtractor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.common import padded, write_model
from emoprobe.checks.tiny.pieces import BAR, write_pieces

EMOTIONS = ("undefined", "neutral", "happy", "sad", "angry")
NAMES: tuple[str, ...] = ("endoftext", "startoftranscript", "startofcontext", "pnc", "nopnc", "itn", "noitn")
NAMES += (
    "timestamp",
    "notimestamp",
    "diarize",
    "nodiarize",
    "nospeech",
    *(f"emo:{emotion}" for emotion in EMOTIONS),
    "en",
    "de",
)
ROLES = {"unk_token": "<unk>", "pad_token": "<pad>", "eos_token": "<|endoftext|>", "bos_token": "<|startoftranscript|>"}
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- for item in message.content -%}
{%- if item.type == 'text' -%}
{{- '<|startofcontext|><|startoftranscript|><|emo:undefined|>' -}}
{{- '<|' + item.source_language + '|><|' + item.target_language + '|>' -}}
{{- '<|pnc|>' if item.punctuation else '<|nopnc|>' -}}
{{- '<|noitn|><|notimestamp|><|nodiarize|>' -}}
{%- endif -%}
{%- endfor -%}
{%- endfor -%}
"""


def _tokenizer(folder: Path) -> tuple[PreTrainedTokenizerFast, dict[str, int]]:
    special = ["<unk>", "<pad>", *(f"<|{name}|>" for name in NAMES)]
    tokenizer = write_pieces(folder, special, roles=ROLES)
    return tokenizer, tokenizer.get_vocab()


def _encoder() -> dict[str, Any]:
    return ParakeetEncoderConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        num_mel_bins=80,
        conv_kernel_size=5,
        subsampling_conv_channels=8,
        scale_input=False,
        layerdrop=0.0,
        initializer_range=0.3,
    ).to_dict()


def _ids(vocabulary: dict[str, int], start: str) -> dict[str, int]:
    return {
        "bos_token_id": vocabulary["<|startoftranscript|>"],
        "eos_token_id": vocabulary["<|endoftext|>"],
        "pad_token_id": vocabulary["<pad>"],
        "decoder_start_token_id": vocabulary[start],
    }


def _enliven(model: PreTrainedModel, seed: int) -> None:
    """Draw biases and norms, which transformers leaves at zero and one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


@TINY.register("canary")
def write(folder: Path, seed: int = 0) -> Path:
    """Write a Canary with its processor."""
    tokenizer, vocabulary = _tokenizer(folder)
    extractor = ParakeetFeatureExtractor(feature_size=80)
    CanaryProcessor(extractor, tokenizer, chat_template=CHAT_TEMPLATE).save_pretrained(folder)
    torch.manual_seed(seed)
    size, ids = padded(len(tokenizer)), _ids(vocabulary, "<|startofcontext|>")
    decoder = CanaryDecoderConfig(
        vocab_size=size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=64,
        initializer_range=0.3,
        pad_token_id=ids["pad_token_id"],
        bos_token_id=ids["bos_token_id"],
        eos_token_id=ids["eos_token_id"],
    )
    config = CanaryConfig(
        encoder_config=_encoder(),
        decoder_config=decoder.to_dict(),
        vocab_size=size,
        initializer_range=0.3,
        tie_word_embeddings=False,  # tied ones, drawn at random, write the same token for ever
        **ids,
    )
    model = CanaryForConditionalGeneration(config)
    _enliven(model, seed)
    write_model(folder, model, len(tokenizer), ids)
    return folder


@TINY.register("cohere_asr")
def write_cohere(folder: Path, seed: int = 0) -> Path:
    """Write a Cohere ASR with its processor."""
    tokenizer, vocabulary = _tokenizer(folder)
    CohereAsrProcessor(CohereAsrFeatureExtractor(feature_size=80), tokenizer).save_pretrained(folder)
    torch.manual_seed(seed)
    ids = _ids(vocabulary, BAR)
    config = CohereAsrConfig(
        encoder_config=_encoder(),
        vocab_size=padded(len(tokenizer)),
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.3,
        **ids,
    )
    model = CohereAsrForConditionalGeneration(config)
    _enliven(model, seed)
    write_model(folder, model, len(tokenizer), ids)
    return folder
