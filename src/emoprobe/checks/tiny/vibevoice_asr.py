"""A tiny VibeVoice-ASR: two causal convolutional encoders of 24 kHz sound; its chat template tells the seconds."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import (
    VibeVoiceAcousticTokenizerFeatureExtractor,
    VibeVoiceAsrConfig,
    VibeVoiceAsrForConditionalGeneration,
)

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.audio_flamingo3 import CHAT_TEMPLATE
from emoprobe.checks.tiny.common import padded, write_model, write_tokenizer

AUDIO, BEGIN, END = "<|box_start|>", "<|object_ref_start|>", "<|object_ref_end|>"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", BEGIN, END, AUDIO]
ENCODER = {
    "num_filters": 4,
    "downsampling_ratios": [8, 20, 20],  # 3,200 samples to a token, as on the hub
    "depths": [1, 1, 1, 1],
    "layer_scale_init_value": 0.5,
    "initializer_range": 0.2,
}


@TINY.register("vibevoice_asr")
def write(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint; `AutoProcessor` and `VibeVoiceAsrForConditionalGeneration` read it."""
    tokenizer = write_tokenizer(folder, SPECIAL, eos="<|im_end|>")
    settings = json.loads(VibeVoiceAcousticTokenizerFeatureExtractor().to_json_string())
    settings |= {"processor_class": "VibeVoiceAsrProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    spoken = f"{BEGIN}{AUDIO}{END}\\nThis is a <|AUDIO_DURATION|> seconds audio.\\n"
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE.replace("<sound>", spoken), encoding="utf-8")
    ids = dict(zip(SPECIAL, tokenizer.convert_tokens_to_ids(SPECIAL), strict=True))
    torch.manual_seed(seed)
    config = VibeVoiceAsrConfig(
        acoustic_tokenizer_encoder_config=ENCODER | {"hidden_size": 16},
        semantic_tokenizer_encoder_config=ENCODER | {"hidden_size": 24},
        text_config={
            "model_type": "qwen2",
            "vocab_size": padded(len(tokenizer)),
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 8192,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
            "initializer_range": 0.3,
            "tie_word_embeddings": False,
        },
        audio_token_id=ids[AUDIO],
        audio_bos_token_id=ids[BEGIN],
        audio_eos_token_id=ids[END],
        initializer_range=0.3,
        tie_word_embeddings=False,
    )
    generation = {"eos_token_id": [ids["<|im_end|>"]], "pad_token_id": ids["<|endoftext|>"]}
    write_model(folder, VibeVoiceAsrForConditionalGeneration(config), len(tokenizer), generation)
    return folder
