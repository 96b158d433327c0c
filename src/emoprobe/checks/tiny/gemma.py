"""What tiny Gemmas share: turns, chat template, text model; their picture halves are left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from emoprobe.checks.tiny.common import write_model, write_tokenizer

TURNS = ["<|endoftext|>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"]

CHAT_TEMPLATE = """\
{{- '<bos>' -}}
{%- if messages[0]['role'] == 'system' -%}
{%- if messages[0]['content'] is string -%}
{%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
{%- else -%}
{%- set first_user_prefix = messages[0]['content'][0]['text'] + '\\n\\n' -%}
{%- endif -%}
{%- set loop_messages = messages[1:] -%}
{%- else -%}
{%- set first_user_prefix = '' -%}
{%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
{%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
{{- '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else '') -}}
{%- if message['content'] is string -%}
{{- message['content'] | trim -}}
{%- else -%}
{%- for item in message['content'] -%}
{%- if item['type'] == 'audio' -%}
{{- 'AUDIO' -}}
{%- elif item['type'] == 'text' -%}
{{- item['text'] | trim -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<end_of_turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<start_of_turn>model\\n' -}}
{%- endif -%}
"""
TEXT: dict[str, Any] = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 4096,
    "sliding_window": 64,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
    "num_kv_shared_layers": 2,
    "hidden_size_per_layer_input": 8,
    "final_logit_softcapping": 20.0,
    "initializer_range": 0.3,
    "tie_word_embeddings": True,
}
PER_LAYER = ("num_kv_shared_layers", "hidden_size_per_layer_input")
NAMES_4 = {
    "boi_token": "<|image>",
    "eoi_token": "<image|>",
    "boa_token": "<|audio>",
    "eoa_token": "<audio|>",
    "image_token": "<|image|>",
    "audio_token": "<|audio|>",
}


def start(folder: Path, special: list[str], names: dict[str, str], kind: str, extractor: Any) -> tuple[dict, int]:
    """Write tokenizer, front end and template; ids by token, and the vocabulary's size."""
    tokenizer = write_tokenizer(folder, special, eos="<eos>", names=names | {"bos_token": "<bos>"})
    settings = json.loads(extractor.to_json_string()) | {"processor_class": kind}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    template = CHAT_TEMPLATE.replace("AUDIO", names["audio_token"])
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return dict(zip(special, tokenizer.convert_tokens_to_ids(special), strict=True)), len(tokenizer)


def finish(folder: Path, model: Any, ids: dict[str, int], size: int) -> Path:
    """Write the model of a vocabulary."""
    generation = {
        "bos_token_id": ids["<bos>"],
        "eos_token_id": [ids["<eos>"], ids["<end_of_turn>"]],
        "pad_token_id": ids["<|endoftext|>"],
    }
    write_model(folder, model, size, generation)
    return folder
