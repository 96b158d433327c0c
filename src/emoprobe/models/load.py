"""Load a checkpoint as the SFM it is; the ``model`` configs name these functions."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import WhisperForConditionalGeneration, WhisperProcessor
from transformers.utils import logging as transformers_logging

from emoprobe.errors import InputError
from emoprobe.models import weights
from emoprobe.models.whisper import Whisper

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def resolve_device(device: str) -> torch.device:
    """The device asked for; ``auto`` takes a GPU where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def load_whisper(
    name: str,
    *,
    path: str | Path | None = None,
    revision: str | None = None,
    dtype: str = "float32",
    device: str = "auto",
    language: str = "en",
    task: str = "transcribe",
    attention: str = "sdpa",
) -> Whisper:
    """Load a Whisper checkpoint.

    Args:
        name: Hub name such as ``openai/whisper-base``.
        path: Folder of an ordinary transformers checkpoint, instead of the cache, the hub or the data packages.
        revision: Hub revision.
        dtype: ``float32`` or ``bfloat16``.
        device: ``auto``, ``cpu``, ``cuda`` ...
        language: Language token of a multilingual checkpoint.
        task: ``transcribe`` or ``translate``.
        attention: transformers' attention implementation.

    Raises:
        WeightsError: The weights are missing or damaged.
        InputError: An option is wrong, or the checkpoint is not a Whisper.
    """
    if dtype not in DTYPES:
        raise InputError(
            f"unknown dtype {dtype!r}", field="model.dtype", remedy="Use float32 or bfloat16 (float16 overflows)."
        )
    resolved = weights.resolve(name, path=path, revision=revision)
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        model, report = WhisperForConditionalGeneration.from_pretrained(
            resolved.path,
            dtype=DTYPES[dtype],
            attn_implementation=attention,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
        processor = WhisperProcessor.from_pretrained(resolved.path, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(
            f"{name} could not be loaded as a Whisper checkpoint: {error}",
            file=resolved.path,
            field="model",
            remedy="Give the folder of a transformers Whisper checkpoint, or another model config.",
        ) from error
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
    wrong = {
        kind: sorted(report[kind]) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") if report[kind]
    }
    if wrong:
        raise InputError(
            f"the weights of {name} do not fit a Whisper model: {wrong}", file=resolved.path, field="model"
        )
    return Whisper(
        model.to(resolve_device(device)),
        processor,
        name=resolved.name,
        revision=resolved.revision,
        language=language,
        task=task,
    )
