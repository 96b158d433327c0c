"""A model that a server holds, with its processor here; ``conf/model/vllm.yaml`` names this function."""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

from pathlib import Path
from typing import Annotated, Any

import torch
from transformers import AutoConfig, GenerationConfig

from emoprobe.errors import InputError
from emoprobe.models import weights
from emoprobe.models.families import family_class
from emoprobe.models.load import LOCAL, model_class, unloadable
from emoprobe.models.served import ServedModel
from emoprobe.models.server import Server
from emoprobe.options import Count, Natural, Positive, Words

PROCESSOR_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")  # of a checkpoint, its weights left out


def load_served(
    url: Annotated[str, Words("the address of the server's API, such as http://localhost:8000/v1")],
    *,
    name: str | None = None,
    path: str | Path | None = None,
    revision: str | None = None,
    served: str | None = None,
    api_key: str | None = None,
    timeout: Positive = 120.0,
    retries: Natural = 4,
    concurrency: Count = 32,
) -> ServedModel:
    """Reach an audio chat model that a server of vLLM's protocol holds.

    Args:
        url: Of its API, such as ``http://localhost:8000/v1``.
        name: Hub name of the checkpoint that is served, whose processor files are fetched; what the server says by
            default.
        path: Folder of the checkpoint that is served, or of its files without the weights, instead.
        revision: Hub revision.
        served: What the server calls the model; the only one that it serves by default.
        api_key: Sent as a bearer token.
        timeout: Seconds until an answer.
        retries: How often a request is repeated that failed for a reason that may pass.
        concurrency: Requests under way at once.

    Raises:
        InputError: There is no such server or model, or the checkpoint is no native audio chat model.
    """
    server = Server(url, model=served, api_key=api_key, timeout=timeout, retries=retries, concurrency=concurrency)
    folder, exact = _processor(name or server.serves, path, revision)
    with unloadable(folder, str(path or name or server.serves), "an audio chat model", "its processor files"):
        config = AutoConfig.from_pretrained(folder, **LOCAL)
        family = family_class(config.model_type)
        family.prepare(config)
        with torch.device("meta"):
            model = _without_weights(model_class(family, config), config)
        if (folder / "generation_config.json").is_file():
            model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
        processor = family.load_processor(folder)
    return ServedModel(model, family(model, processor), server, revision=exact)


def _without_weights(kind: Any, config: Any) -> Any:
    make = getattr(kind, "from_config", None) or kind._from_config  # of transformers' tables, and of a class
    return make(config)


def _processor(name: str, path: str | Path | None, revision: str | None) -> tuple[Path, str]:
    """Folder and exact version of a checkpoint's files, its weights left out."""
    if path is not None or Path(name).is_dir():
        folder = Path(path or name)
        if not (folder / "config.json").is_file():
            raise InputError("there is no config.json", file=folder, field="model.path")
        return folder, f"processor {weights.fingerprint(folder)[:16]}"
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        found = Path(snapshot_download(name, revision=revision, allow_patterns=list(PROCESSOR_FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(
            f"the processor of {name} cannot be fetched: {said}",
            field="model.name",
            remedy="Give the folder of the checkpoint that is served: model.path=FOLDER.",
        ) from error
    return found, f"processor {found.name}"
