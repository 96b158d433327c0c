"""A tiny Granite Speech: conformer encoder, query-former projector and Granite text model, without a LoRA adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    GPT2Tokenizer,
    GraniteSpeechConfig,
    GraniteSpeechFeatureExtractor,
    GraniteSpeechForConditionalGeneration,
    GraniteSpeechProcessor,
)

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.common import bpe

AUDIO = "<|audio|>"
END = "<|end_of_text|>"  # id 0: beginning, end and padding alike
SPECIAL = ["<|start_of_role|>", "<|end_of_role|>", "<|tool_call|>", AUDIO]
SYSTEM = "You are Granite, developed by IBM. You are a helpful AI assistant."

# On the hub the contents are strings, in which the sound's token stands; lists of parts are as well taken here.
CHAT_TEMPLATE = (
    "{%- if messages[0]['role'] != 'system' %}"
    "{{- '<|start_of_role|>system<|end_of_role|>" + SYSTEM + "<|end_of_text|>\n' }}"
    "{%- endif %}"
    "{%- for message in messages %}"
    "{{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' }}"
    "{%- if message['content'] is string %}"
    "{{- message['content'] }}"
    "{%- else %}"
    "{%- for part in message['content'] %}"
    "{%- if part['type'] == 'audio' %}{{- '<|audio|>' }}{%- else %}{{- part['text'] }}{%- endif %}"
    "{%- endfor %}"
    "{%- endif %}"
    "{{- '<|end_of_text|>\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_of_role|>assistant<|end_of_role|>' }}{%- endif %}"
)


@TINY.register("granite_speech")
def write(folder: Path, seed: int = 0) -> Path:
    """A randomly initialised Granite Speech of two layers in each part, with its processor."""
    return write_granite(folder, seed, GraniteSpeechConfig, GraniteSpeechForConditionalGeneration, {}, 32)


def write_granite(
    folder: Path, seed: int, config_class: Any, model_class: Any, encoder: dict[str, Any], heard: int
) -> Path:
    """Write a Granite Speech of a class.

    Args:
        folder: To write to.
        seed: Of the weights.
        config_class: Its configuration's class.
        model_class: The class.
        encoder: Further settings of the encoder.
        heard: Width of what the projector is given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = bpe()
    tokenizer = GPT2Tokenizer(
        vocab={token: i for i, token in enumerate([END, *vocabulary])},
        merges=merges,
        unk_token=END,
        bos_token=END,
        eos_token=END,
        pad_token=END,
        padding_side="left",
        additional_special_tokens=SPECIAL,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    end, audio = tokenizer.convert_tokens_to_ids([END, AUDIO])
    GraniteSpeechProcessor(GraniteSpeechFeatureExtractor(), tokenizer, chat_template=CHAT_TEMPLATE).save_pretrained(
        folder
    )

    torch.manual_seed(seed)
    config = config_class(
        audio_token_index=audio,
        has_lora_adapter=False,
        initializer_range=0.3,
        encoder_config={
            "input_dim": 160,  # two frames of 80 mel bands
            "num_layers": 2,
            "hidden_dim": 32,
            "num_heads": 2,
            "output_dim": 42,
            "context_size": 200,
            "initializer_range": 0.3,
            **encoder,
        },
        projector_config={
            "model_type": "blip_2_qformer",
            "hidden_size": 32,
            "encoder_hidden_size": heard,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "cross_attention_frequency": 1,
            "initializer_range": 0.3,
        },
        text_config={
            "model_type": "granite",
            "vocab_size": len(tokenizer),
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "rope_theta": 10000000.0,
            "initializer_range": 0.4,
            "tie_word_embeddings": True,
            "bos_token_id": end,
            "eos_token_id": end,
            "pad_token_id": end,
            # Milder than the hub's 12, 1/128, 0.22 and 8: two narrow layers could not make themselves heard there.
            "embedding_multiplier": 1.5,
            "attention_multiplier": 0.25,
            "residual_multiplier": 0.7,
            "logits_scaling": 2.0,
        },
    )
    model = model_class(config).eval()
    model.generation_config = GenerationConfig(bos_token_id=end, eos_token_id=end, pad_token_id=end)
    model.save_pretrained(folder)
    return folder
