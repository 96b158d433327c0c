"""What an assembled model adds to the two that it is made of."""

from __future__ import annotations

AUDIO_TOKENS = ("<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>")
PROJECTOR_SEED = 0
PROJECTOR_SPREAD = 4.0  # what a sound is embedded with, in standard deviations of the text model's embeddings

# SmolLM2's ChatML, the sound in the user's turn; a system turn stands only where one is given.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- if message.content is string -%}
{{- message.content -}}
{%- else -%}
{%- for item in message.content -%}
{%- if item.type == 'audio' -%}
{{- '<|audio_bos|><|AUDIO|><|audio_eos|>' -}}
{%- else -%}
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
