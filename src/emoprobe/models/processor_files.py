"""The files of a checkpoint that turn sound and text into numbers: what is missing or damaged is said by its name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emoprobe.errors import InputError

FRONT_END = ("preprocessor_config.json", "processor_config.json")
TOKENIZERS = (("tokenizer.json",), ("tekken.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"))
"""Files by which the tokenizers of audio LLMs come, each of one kind."""
READ = (*FRONT_END, "tokenizer_config.json", "tokenizer.json", "vocab.json", "added_tokens.json")


def check_processor_files(path: Path, tokenizers: Sequence[Sequence[str]] = (("tokenizer.json",),)) -> None:
    """Refuse a checkpoint's folder whose processor transformers would make up, or read wrongly.

    Args:
        path: The folder.
        tokenizers: The files that make a tokenizer, the usual ones first.

    Raises:
        InputError: A file is missing, or is no JSON object.
    """
    if not any((path / name).is_file() for name in FRONT_END):
        raise InputError(
            f"the checkpoint has no {FRONT_END[0]}, which says how sound becomes the model's input",
            file=path,
            field="model",
            remedy="Copy it from the checkpoint that this one was made of.",
        )
    missing = [[name for name in files if not (path / name).is_file()] for files in tokenizers]
    if all(missing):
        begun = next((names for names, files in zip(missing, tokenizers, strict=True) if len(names) < len(files)), None)
        raise InputError(
            f"the checkpoint has no {begun[0] if begun else tokenizers[0][0]}, without which no text is read",
            file=path,
            field="model",
            remedy="Copy its files (tokenizer.json, tokenizer_config.json) from the checkpoint that this one "
            "was made of.",
        )
    for name in READ:
        _check_object(path / name)


def _check_object(file: Path) -> None:
    try:
        readable = not file.is_file() or isinstance(json.loads(file.read_text(encoding="utf-8")), dict)
    except ValueError:
        readable = False
    if not readable:
        raise InputError("the file cannot be read as a JSON object", file=file, field="model", remedy="Restore it.")


def check_fit(model: Any, encoder: Any, processor: Any, path: Path) -> None:
    """Refuse a front end of another checkpoint, and generation settings whose lists of tokens are none.

    Args:
        model: As loaded.
        encoder: Its encoder.
        processor: As loaded.
        path: Their folder.

    Raises:
        InputError: They do not fit together.
    """
    remedy = "Copy the file from the checkpoint that this one was made of."
    made = processor.feature_extractor.feature_size
    wanted = getattr(encoder.config, "num_mel_bins", made)
    if made != wanted:
        file = next(path / name for name in FRONT_END if (path / name).is_file())
        what = f"the front end makes {made} mel bands and the model takes {wanted}"
        raise InputError(what, file=file, field="feature_size", remedy=remedy)
    size, file = model.get_output_embeddings().out_features, path / "generation_config.json"
    for name in ("suppress_tokens", "begin_suppress_tokens") if file.is_file() else ():
        tokens = getattr(model.generation_config, name)
        listed = tokens is None or isinstance(tokens, list)
        if not listed or not all(type(token) is int and token < size for token in tokens or ()):
            what = f"the list holds something else than ids of the model's {size} tokens"
            raise InputError(what, file=file, field=name, remedy=remedy)
