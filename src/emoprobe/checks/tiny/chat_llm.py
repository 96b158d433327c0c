"""Tiny text-only chat LLMs: a Llama as SmolLM2 is one, and classes that scale or cap their logits."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    GemmaConfig,
    GemmaForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from emoprobe.checks.tiny.common import padded, write_model, write_tokenizer

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CLASSES = {
    "llama": (LlamaConfig, LlamaForCausalLM, {}),
    "granite": (GraniteConfig, GraniteForCausalLM, {"logits_scaling": 2.0, "embedding_multiplier": 1.5}),
    "cohere": (CohereConfig, CohereForCausalLM, {"logit_scale": 0.5}),
    "gemma": (GemmaConfig, GemmaForCausalLM, {"head_dim": 12}),
}
# SmolLM2's: contents are strings, and a system turn is written where none is given.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- if loop.first and message.role != 'system' -%}
{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}
{%- endif -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


def write(folder: Path, kind: str = "llama", seed: int = 0) -> Path:
    """Write the checkpoint; `AutoTokenizer` and `AutoModelForCausalLM` read it."""
    tokenizer = write_tokenizer(folder, SPECIAL, eos="<|im_end|>")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    ids = dict(zip(SPECIAL, tokenizer.convert_tokens_to_ids(SPECIAL), strict=True))
    torch.manual_seed(seed)
    config_class, model_class, further = CLASSES[kind]
    config = config_class(
        vocab_size=padded(len(tokenizer)),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        bos_token_id=ids["<|endoftext|>"],
        eos_token_id=ids["<|im_end|>"],
        pad_token_id=ids["<|endoftext|>"],
        initializer_range=0.15,
        tie_word_embeddings=False,
        **further,
    )
    generation = {
        "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
        "pad_token_id": ids["<|endoftext|>"],
        "repetition_penalty": 1.1,
    }
    write_model(folder, model_class(config), len(tokenizer), generation)
    return folder
