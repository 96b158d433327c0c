"""A tiny Qwen3-Omni thinker: encoders of sound and images and a mixture-of-experts text model."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    Qwen3OmniMoeAudioEncoderConfig,
    Qwen3OmniMoeTextConfig,
    Qwen3OmniMoeThinkerConfig,
    Qwen3OmniMoeThinkerForConditionalGeneration,
    Qwen3OmniMoeVisionEncoderConfig,
)

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.common import IMAGE_SETTINGS, padded, write_front_end, write_model, write_tokenizer

SPECIAL = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
    *("<|image_pad|>", "<|video_pad|>", "<|audio_start|>", "<|audio_end|>", "<|audio_pad|>"),
]
NAMES = {
    "audio_token": "<|audio_pad|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
}

# Unlike its forerunners this family has no default system turn.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- if message.content is string -%}
{{- message.content -}}
{%- else -%}
{%- for item in message.content -%}
{%- if item.type == 'image' or 'image' in item -%}
{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
{%- elif item.type == 'audio' or 'audio' in item or 'audio_url' in item -%}
{{- '<|audio_start|><|audio_pad|><|audio_end|>' -}}
{%- elif item.type == 'video' or 'video' in item -%}
{{- '<|vision_start|><|video_pad|><|vision_end|>' -}}
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


@TINY.register("qwen3_omni_moe")
def write(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint; `Qwen3OmniMoeThinkerForConditionalGeneration` reads it."""
    tokenizer = write_tokenizer(folder, SPECIAL, eos="<|im_end|>", names=NAMES)
    write_front_end(folder, "Qwen3OmniMoeProcessor", CHAT_TEMPLATE, **IMAGE_SETTINGS)
    ids = dict(zip(SPECIAL, tokenizer.convert_tokens_to_ids(SPECIAL), strict=True))
    torch.manual_seed(seed)
    config = Qwen3OmniMoeThinkerConfig(
        audio_config=Qwen3OmniMoeAudioEncoderConfig(
            num_mel_bins=128,
            d_model=32,
            encoder_layers=2,
            encoder_attention_heads=2,
            encoder_ffn_dim=64,
            output_dim=64,
            downsample_hidden_size=8,
            initializer_range=0.2,
        ),
        vision_config=Qwen3OmniMoeVisionEncoderConfig(
            depth=1,
            hidden_size=16,
            intermediate_size=16,
            num_heads=2,
            out_hidden_size=64,
            num_position_embeddings=16,
            deepstack_visual_indexes=[0],
            initializer_range=0.2,
        ),
        text_config=Qwen3OmniMoeTextConfig(
            vocab_size=padded(len(tokenizer)),
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            moe_intermediate_size=96,
            num_experts=4,
            num_experts_per_tok=2,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [4, 2, 2],
                "mrope_interleaved": True,
            },
            initializer_range=0.3,
        ),
        audio_token_id=ids["<|audio_pad|>"],
        audio_start_token_id=ids["<|audio_start|>"],
        audio_end_token_id=ids["<|audio_end|>"],
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        user_token_id=tokenizer.convert_tokens_to_ids("user"),
        initializer_range=0.3,
        tie_word_embeddings=False,
    )
    generation = {
        "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
        "pad_token_id": ids["<|endoftext|>"],
    }
    write_model(folder, Qwen3OmniMoeThinkerForConditionalGeneration(config), len(tokenizer), generation)
    return folder
