"""A tiny Voxtral: Whisper-like encoder, Llama text model and Mistral's tekken tokenizer, as on the hub.

Only with mistral_common, of a version that transformers takes, does the processor render chats. Without it the same
file gives a plain tokenizer that yields the same ids but has no chat template.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.common import bpe

# Mistral's splitting of text before byte pairs are merged.
PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# In the order of their ids, which transformers partly takes for granted: <pad> 11, [AUDIO] 24, [BEGIN_AUDIO] 25.
SPECIAL = [
    *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
    *("[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]"),
    *("[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]"),
    *(f"<SPECIAL_{i}>" for i in range(20, 24)),
    *("[AUDIO]", "[BEGIN_AUDIO]"),
    *(f"<SPECIAL_{i}>" for i in range(26, 32)),
    *("[ARGS]", "[CALL_ID]", "[TRANSCRIBE]"),
]
SPECIAL_COUNT = 40  # 1000 on the hub; mistral_common fills up what is not named
BOS, EOS, PAD, AUDIO = (SPECIAL.index(token) for token in ("<s>", "</s>", "<pad>", "[AUDIO]"))


def _tokens() -> list[bytes]:
    """All 256 bytes, then what the merges of words give, in their order: a token's id is its rank as well."""
    merged = ["".join(merge).replace("Ġ", " ").encode() for merge in bpe()[1]]
    return list(dict.fromkeys([bytes([byte]) for byte in range(256)] + merged))


def _tekken() -> dict:
    tokens = _tokens()
    return {
        "config": {
            "pattern": PATTERN,
            "num_vocab_tokens": len(tokens),
            "default_vocab_size": len(tokens) + SPECIAL_COUNT,
            "default_num_special_tokens": SPECIAL_COUNT,
            "version": "v13",
        },
        "vocab": [
            {
                "rank": rank,
                "token_bytes": base64.b64encode(token).decode(),
                "token_str": token.decode(errors="replace"),
            }
            for rank, token in enumerate(tokens)
        ],
        "special_tokens": [
            {"rank": rank, "token_str": token, "is_control": True} for rank, token in enumerate(SPECIAL)
        ],
        "audio": {
            "sampling_rate": 16000,
            "frame_rate": 12.5,
            "audio_encoding_config": {"num_mel_bins": 128, "hop_length": 160, "window_size": 400},
            "chunk_length_s": 30.0,
        },
    }


@TINY.register("voxtral")
def write(folder: Path, seed: int = 0) -> Path:
    """A randomly initialised Voxtral of two encoder and two decoder layers, with its processor."""
    import torch
    from transformers import (
        GenerationConfig,
        VoxtralConfig,
        VoxtralForConditionalGeneration,
        WhisperFeatureExtractor,
    )

    folder.mkdir(parents=True, exist_ok=True)
    tekken = _tekken()
    (folder / "tekken.json").write_text(json.dumps(tekken))
    extractor = WhisperFeatureExtractor(feature_size=128, processor_class="VoxtralProcessor")
    extractor.save_pretrained(folder)

    torch.manual_seed(seed)
    config = VoxtralConfig(
        audio_token_id=AUDIO,
        audio_config={
            "hidden_size": 32,
            "intermediate_size": 128,  # four frames of the encoder become one token
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_mel_bins": 128,
            "max_source_positions": 1500,
            "initializer_range": 0.3,
        },
        text_config={
            "vocab_size": tekken["config"]["default_vocab_size"],
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "max_position_embeddings": 4096,
            "rope_theta": 100000000.0,
            "initializer_range": 0.3,
            "bos_token_id": BOS,
            "eos_token_id": EOS,
            "pad_token_id": PAD,
        },
    )
    model = VoxtralForConditionalGeneration(config).eval()
    model.generation_config = GenerationConfig(bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD)
    model.save_pretrained(folder)
    return folder
