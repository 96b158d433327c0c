"""Whisper weights of a CTranslate2 file as an ordinary checkpoint of transformers."""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

import json
import shutil
from pathlib import Path
from typing import Any

import transformers
from safetensors.numpy import save_file

from emoprobe.models.converters import CONVERTERS
from emoprobe.models.ctranslate2 import read_ctranslate2, to_transformers_whisper


@CONVERTERS.register("ctranslate2")
def write_whisper(weights: Path, side_files: list[Path], target: Path) -> None:
    """Write a Whisper: weights, config, generation config, tokenizer, feature extractor.

    Args:
        weights: CTranslate2's ``model.bin``.
        side_files: Its ``config.json``, and ``tokenizer.json``.
        target: An empty folder.
    """
    settings, tokenizer = side_files
    _, variables = read_ctranslate2(weights)
    state, dimensions = to_transformers_whisper(variables, weights)
    ids = _token_ids(tokenizer)
    lists = json.loads(settings.read_text())
    special: dict[str, Any] = {
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|endoftext|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "decoder_start_token_id": ids["<|startoftranscript|>"],
    }
    multilingual = dimensions["vocab_size"] >= 51_865
    generation = {
        **special,
        "suppress_tokens": lists["suppress_ids"],
        "begin_suppress_tokens": lists["suppress_ids_begin"],
        "no_timestamps_token_id": ids["<|notimestamps|>"],
        "prev_sot_token_id": ids["<|startofprev|>"],
        "max_length": dimensions["max_target_positions"],
        "is_multilingual": multilingual,
        "alignment_heads": lists["alignment_heads"],
        "return_timestamps": False,
    }
    if multilingual:
        generation["lang_to_id"] = {name: i for name, i in ids.items() if i in set(lists["lang_ids"])}
        generation["task_to_id"] = {task: ids[f"<|{task}|>"] for task in ("transcribe", "translate")}
    save_file(state, target / "model.safetensors", metadata={"format": "pt"})
    config = transformers.WhisperConfig(**(dimensions | special), architectures=["WhisperForConditionalGeneration"])
    config.dtype = "float16"
    config.save_pretrained(target)
    transformers.GenerationConfig(**generation).save_pretrained(target)
    extractor = transformers.WhisperFeatureExtractor(feature_size=dimensions["num_mel_bins"])
    extractor.save_pretrained(target)
    shutil.copyfile(tokenizer, target / "tokenizer.json")
    transformers.WhisperTokenizer.from_pretrained(
        target, local_files_only=True, trust_remote_code=False
    ).save_pretrained(target)


def _token_ids(tokenizer: Path) -> dict[str, int]:
    return {
        token["content"]: token["id"] for token in json.loads(tokenizer.read_text(encoding="utf-8"))["added_tokens"]
    }
