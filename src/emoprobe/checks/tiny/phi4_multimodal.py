"""A tiny Phi-4-multimodal: its decoder encodes the sound itself, and it hears with an adapter beside its weights."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import Phi4MultimodalConfig, Phi4MultimodalFeatureExtractor, Phi4MultimodalForCausalLM

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.audio_flamingo3 import CHAT_TEMPLATE
from emoprobe.checks.tiny.common import padded, write_model, write_tokenizer
from emoprobe.models.families.phi4_multimodal import ADAPTER

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio|>", "<|image|>"]
NAMES = {"audio_token": "<|audio|>", "image_token": "<|image|>"}


@TINY.register("phi4_multimodal")
def write(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint; `Phi4MultimodalForCausalLM` reads it, and peft its adapter."""
    tokenizer = write_tokenizer(folder, SPECIAL, eos="<|im_end|>", names=NAMES)
    settings = json.loads(Phi4MultimodalFeatureExtractor().to_json_string())
    settings |= {"processor_class": "Phi4MultimodalProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE.replace("<sound>", "<|audio|>"), encoding="utf-8")
    ids = dict(zip(SPECIAL, tokenizer.convert_tokens_to_ids(SPECIAL), strict=True))
    torch.manual_seed(seed)
    config = Phi4MultimodalConfig(
        vocab_size=padded(len(tokenizer)),
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
        bos_token_id=ids["<|endoftext|>"],
        eos_token_id=ids["<|im_end|>"],
        pad_token_id=ids["<|endoftext|>"],
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_token_id": ids["<|image|>"],
        },
        audio_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_blocks": 2,
            "num_attention_heads": 2,
            "ext_pw_out_channel": 32,
            "depthwise_separable_out_channel": 32,
            "nemo_conv_channels": 32,
            "initializer_range": 0.2,
            "audio_token_id": ids["<|audio|>"],
        },
    )
    model = Phi4MultimodalForCausalLM(config)
    lora = LoraConfig(r=2, target_modules=["qkv_proj"], init_lora_weights=False)
    get_peft_model(copy.deepcopy(model), lora).save_pretrained(folder / ADAPTER)
    generation = {"eos_token_id": [ids["<|im_end|>"]], "pad_token_id": ids["<|endoftext|>"]}
    write_model(folder, model, len(tokenizer), generation)
    return folder
