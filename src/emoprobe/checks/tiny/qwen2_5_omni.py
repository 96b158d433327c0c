"""A tiny Qwen2.5-Omni thinker: encoders of sound and images and a text model with three-part rotary positions."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    Qwen2_5OmniAudioEncoderConfig,
    Qwen2_5OmniTextConfig,
    Qwen2_5OmniThinkerConfig,
    Qwen2_5OmniThinkerForConditionalGeneration,
    Qwen2_5OmniVisionEncoderConfig,
)

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.common import IMAGE_SETTINGS, padded, write_front_end, write_model, write_tokenizer

SPECIAL = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"),
    *("<|box_end|>", "<|quad_start|>", "<|quad_end|>"),
    *("<|vision_bos|>", "<|vision_eos|>", "<|vision_pad|>", "<|IMAGE|>", "<|VIDEO|>"),
]
NAMES = {
    "audio_token": "<|AUDIO|>",
    "audio_bos_token": "<|audio_bos|>",
    "audio_eos_token": "<|audio_eos|>",
    "image_token": "<|IMAGE|>",
    "video_token": "<|VIDEO|>",
    "vision_bos_token": "<|vision_bos|>",
    "vision_eos_token": "<|vision_eos|>",
}

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- if loop.first and message.role != 'system' -%}
{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}
{%- endif -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- if message.content is string -%}
{{- message.content -}}
{%- else -%}
{%- for item in message.content -%}
{%- if item.type == 'image' or 'image' in item -%}
{{- '<|vision_bos|><|IMAGE|><|vision_eos|>' -}}
{%- elif item.type == 'audio' or 'audio' in item or 'audio_url' in item -%}
{{- '<|audio_bos|><|AUDIO|><|audio_eos|>' -}}
{%- elif item.type == 'video' or 'video' in item -%}
{{- '<|vision_bos|><|VIDEO|><|vision_eos|>' -}}
{%- elif 'text' in item -%}
{{- item.text -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


@TINY.register("qwen2_5_omni")
def write(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint; `Qwen2_5OmniThinkerForConditionalGeneration` reads it."""
    tokenizer = write_tokenizer(folder, SPECIAL, eos="<|im_end|>", names=NAMES)
    write_front_end(folder, "Qwen2_5OmniProcessor", CHAT_TEMPLATE, **IMAGE_SETTINGS)
    ids = dict(zip(SPECIAL, tokenizer.convert_tokens_to_ids(SPECIAL), strict=True))
    torch.manual_seed(seed)
    config = Qwen2_5OmniThinkerConfig(
        audio_config=Qwen2_5OmniAudioEncoderConfig(
            num_mel_bins=128,
            d_model=32,
            encoder_layers=2,
            encoder_attention_heads=2,
            encoder_ffn_dim=64,
            output_dim=64,
            initializer_range=0.2,
        ),
        vision_config=Qwen2_5OmniVisionEncoderConfig(
            depth=1,
            hidden_size=16,
            intermediate_size=16,
            num_heads=2,
            out_hidden_size=64,
            fullatt_block_indexes=[0],
            initializer_range=0.2,
        ),
        text_config=Qwen2_5OmniTextConfig(
            vocab_size=padded(len(tokenizer)),
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
            initializer_range=0.3,
            tie_word_embeddings=False,
        ),
        audio_token_index=ids["<|AUDIO|>"],
        audio_start_token_id=ids["<|audio_bos|>"],
        audio_end_token_id=ids["<|audio_eos|>"],
        image_token_index=ids["<|IMAGE|>"],
        video_token_index=ids["<|VIDEO|>"],
        vision_start_token_id=ids["<|vision_bos|>"],
        vision_end_token_id=ids["<|vision_eos|>"],
        user_token_id=tokenizer.convert_tokens_to_ids("user"),
        initializer_range=0.3,
        tie_word_embeddings=False,
    )
    generation = {
        "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
        "pad_token_id": ids["<|endoftext|>"],
    }
    write_model(folder, Qwen2_5OmniThinkerForConditionalGeneration(config), len(tokenizer), generation)
    return folder
