"""A tiny Nemotron 3.5 Transcribe: an encoder and a diarizer, and the text model of Nemotron Omni."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import NemotronAsrStreamingFeatureExtractor

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.audio_flamingo3 import CHAT_TEMPLATE
from emoprobe.checks.tiny.common import padded, write_model, write_tokenizer

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio|>"]

ENCODER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.2,
}


@TINY.register("nemo_speechlm")
def write(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint; `Nemotron3_5TranscribeForConditionalGeneration` reads it."""
    # Here, since not every transformers that is allowed has them.
    from transformers import Nemotron3_5TranscribeConfig, Nemotron3_5TranscribeForConditionalGeneration

    tokenizer = write_tokenizer(folder, SPECIAL, eos="<|im_end|>")
    (folder / "alignment_tokenizer").mkdir()
    tokenizer.save_pretrained(folder / "alignment_tokenizer")
    settings = json.loads(NemotronAsrStreamingFeatureExtractor(feature_size=128).to_json_string()) | {
        "processor_class": "Nemotron3_5TranscribeProcessor"
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE.replace("<sound>", "<|audio|>"), encoding="utf-8")
    ids = dict(zip(SPECIAL, tokenizer.convert_tokens_to_ids(SPECIAL), strict=True))
    torch.manual_seed(seed + 3)  # of some seeds half precision chooses other experts
    config = Nemotron3_5TranscribeConfig(
        text_config={
            "vocab_size": padded(len(tokenizer)),
            "hidden_size": 48,
            "layers_block_type": ["linear_attention", "full_attention", "moe", "mlp"],
            "intermediate_size": 64,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "ssm_state_size": 16,
            "mamba_num_heads": 4,
            "mamba_head_dim": 16,
            "n_groups": 2,
            "chunk_size": 16,
            "n_routed_experts": 4,
            "moe_intermediate_size": 32,
            "moe_shared_expert_intermediate_size": 32,
            "initializer_range": 0.2,
        },
        audio_config={
            "asr_config": ENCODER,
            "diarization_config": {
                "audio_config": ENCODER,
                "head_config": {"hidden_size": 16, "num_speakers": 2, "audio_hidden_size": 32},
                "streaming_config": {"num_speakers": 2},
            },
        },
        word_timestamp_config={
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "vocab_size": 8,
            "blank_token_id": 7,
        },
        audio_token_id=ids["<|audio|>"],
    )
    generation = {"eos_token_id": [ids["<|im_end|>"]], "pad_token_id": ids["<|endoftext|>"]}
    write_model(folder, Nemotron3_5TranscribeForConditionalGeneration(config), len(tokenizer), generation)
    return folder
