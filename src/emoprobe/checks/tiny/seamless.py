"""Tiny SeamlessM4T, first and second version: a conformer, an adapter that shortens, and a text decoder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
import transformers
from transformers import SeamlessM4TFeatureExtractor, SeamlessM4TProcessor, SeamlessM4TTokenizer

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.common import padded, write_model
from emoprobe.checks.tiny.pieces import pieces

LANGUAGES = ("eng", "deu")
IDS = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 3}


def write(version: str, folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint with its processor."""
    vocabulary, merges = pieces(["<pad>", "<unk>", "<s>", "</s>"])
    names = [f"__{language}__" for language in LANGUAGES]
    vocabulary |= {name: len(vocabulary) + i for i, name in enumerate(names)}
    tokenizer = SeamlessM4TTokenizer(vocab=vocabulary, merges=merges, additional_special_tokens=names, tgt_lang="eng")
    SeamlessM4TProcessor(SeamlessM4TFeatureExtractor(), tokenizer).save_pretrained(folder)
    torch.manual_seed(seed)
    config = getattr(transformers, f"Seamless{version}Config")(
        vocab_size=padded(len(tokenizer)),
        hidden_size=32,
        speech_encoder_layers=2,
        speech_encoder_attention_heads=2,
        speech_encoder_intermediate_size=64,
        decoder_layers=2,
        decoder_ffn_dim=64,
        decoder_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.3,
        tie_word_embeddings=False,  # tied ones, drawn at random, write the same token for ever
        **IDS,
    )
    model = getattr(transformers, f"Seamless{version}ForSpeechToText")(config)
    with torch.no_grad():
        model.lm_head.weight[IDS["pad_token_id"]] = 0  # never written, as by a trained one: it has no position
    codes = dict(zip(LANGUAGES, tokenizer.convert_tokens_to_ids(names), strict=True))
    write_model(folder, model, len(tokenizer), {**IDS, "text_decoder_lang_to_code_id": codes})
    return folder


for model_type, version in (("seamless_m4t", "M4T"), ("seamless_m4t_v2", "M4Tv2")):
    TINY.register(model_type)(partial(write, version))
