"""A tiny Whisper: two layers of width 32, and a byte-level BPE tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

from emoprobe.checks.tiny import TINY
from emoprobe.checks.tiny.common import byte_unicode

WORDS = "the speaker is feeling voice sounds angry disgusted fearful happy neutral sad sadness in an way person"


@TINY.register("whisper")
def write(folder: Path, seed: int = 0, multilingual: bool = True) -> Path:
    """Write the checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = byte_unicode()
    merges = []
    for word in WORDS.split():
        # " sad" becomes one token and " sadness" grows out of it, so that one label's tokens begin another's word.
        symbols = ["Ġ", *word]
        while len(symbols) > 1:
            merge = (symbols[0], symbols[1])
            if merge not in merges:
                merges.append(merge)
                vocabulary.append("".join(merge))
            symbols = ["".join(merge), *symbols[2:]]
    vocabulary = list(dict.fromkeys(vocabulary))
    special = ["<|endoftext|>", "<|startoftranscript|>"]
    special += ["<|en|>", "<|translate|>", "<|transcribe|>"] if multilingual else []
    special += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary + special[:1])}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(merge) for merge in merges) + "\n")
    tokenizer = WhisperTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:]})
    tokenizer.save_pretrained(folder)
    ids = dict(zip(special, tokenizer.convert_tokens_to_ids(special), strict=True))
    end, start = ids["<|endoftext|>"], ids["<|startoftranscript|>"]
    torch.manual_seed(seed)
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_mel_bins=80,
        max_target_positions=64,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=start,
        init_std=0.4,
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        decoder_start_token_id=start,
        eos_token_id=end,
        pad_token_id=end,
        is_multilingual=multilingual,
        **(
            {
                "lang_to_id": {"<|en|>": ids["<|en|>"]},
                "task_to_id": {task: ids[f"<|{task}|>"] for task in ("transcribe", "translate")},
            }
            if multilingual
            else {}
        ),
        no_timestamps_token_id=ids["<|notimestamps|>"],
        suppress_tokens=[5, 6, start, ids["<|startofprev|>"]],
        begin_suppress_tokens=[7, end],
        max_length=64,
    )
    model.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    return folder
