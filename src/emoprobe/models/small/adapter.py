"""What training added to an assembled model: read, checked against the weights it belongs to, and merged into them.

A folder of two files. ``adapter.safetensors`` holds, by the names that transformers gives the modules of the model,
``MODULE.lora_A.weight`` ``[rank, in]`` and ``MODULE.lora_B.weight`` ``[out, rank]``, whose product times the card's
``scale`` is added to ``MODULE.weight``; a tensor of any other name takes the place of the model's. ``card.json`` says
what it belongs to, and what is to be known of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from emoprobe.errors import WeightsError
from emoprobe.models.made import sha256_of

ADAPTER, CARD = "adapter.safetensors", "card.json"
A, B = ".lora_A.weight", ".lora_B.weight"
# How transformers calls the modules of a Qwen2-Audio, and how stored ones are called.
STORED = (
    ("model.language_model.", "language_model.model."),
    ("model.audio_tower.", "audio_tower."),
    ("model.multi_modal_projector.", "multi_modal_projector."),
    ("lm_head.", "language_model.lm_head."),
)


@dataclass(frozen=True)
class Card:
    """What `read_card` needs of a card.

    Args:
        base: `fingerprint` of the model that was trained, without the tensors that the adapter replaces.
        sha256: Of adapter.safetensors.
        scale: Factor of the low-rank products: alpha / rank.
    """

    base: str
    sha256: str
    scale: float


def fingerprint(tensors: Mapping[str, np.ndarray], without: Collection[str] = ()) -> str:
    """SHA-256 over names, shapes and float16 contents of a model's tensors, but for those of the names ``without``."""
    digest = hashlib.sha256()
    for name in sorted(tensors.keys() - set(without)):
        value = np.ascontiguousarray(tensors[name], dtype=np.float16)
        digest.update(json.dumps([name, list(value.shape)]).encode())
        digest.update(value.data)
    return digest.hexdigest()


def replaced(adapter: Collection[str]) -> set[str]:
    """Names of the tensors that an adapter replaces."""
    return {name for name in adapter if not name.endswith((A, B))}


def write_adapter(
    folder: Path,
    adapter: Mapping[str, np.ndarray],
    scale: float,
    base: Mapping[str, np.ndarray],
    facts: Mapping[str, Any],
) -> None:
    """Write both files.

    Args:
        folder: Where.
        adapter: Trained tensors, see the module.
        scale: Factor of the low-rank products.
        base: All tensors of the model that was trained, as they were before, by the names of its ``state_dict``.
        facts: What else the card says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(value) for name, value in adapter.items()}, folder / ADAPTER)
    card = {"base": fingerprint(base, replaced(adapter)), "sha256": sha256_of([folder / ADAPTER]), "scale": scale}
    (folder / CARD).write_text(json.dumps(card | dict(facts), indent=2) + "\n", encoding="utf-8")


def read_card(folder: Path) -> Card:
    """The card beside an adapter.

    Raises:
        WeightsError: It is missing or unreadable.
    """
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        return Card(base=str(card["base"]), sha256=str(card["sha256"]), scale=float(card["scale"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{folder / CARD} cannot be read ({error!r}). Reinstall emoprobe.") from error


def check_adapter(folder: Path) -> Card:
    """The card of an adapter whose file is the one that the card is of.

    Raises:
        WeightsError: It is not, or one of them is missing.
    """
    card, file = read_card(folder), folder / ADAPTER
    if not file.is_file():
        raise WeightsError(f"{file} is missing. Reinstall emoprobe.")
    if (found := sha256_of([file])) != card.sha256:
        raise WeightsError(
            f"{file} is damaged: its SHA-256 is {found} and {card.sha256} is expected. Reinstall emoprobe."
        )
    return card


def merged(stored: Mapping[str, np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    """The tensors of a stored Qwen2-Audio with an adapter in them, float16, by their names.

    The sums are made in float64 and rounded once, so that they are the same on every machine.

    Raises:
        WeightsError: The adapter is damaged, does not fit, or belongs to other weights.
    """
    card, file = check_adapter(folder), folder / ADAPTER
    try:
        adapter = load_file(file)
    except (OSError, SafetensorError, TypeError, KeyError) as error:  # a type that numpy lacks is a KeyError
        raise WeightsError(f"{file} cannot be read ({error}). Reinstall emoprobe.") from error
    tensors = {_module_name(name): value for name, value in stored.items()}
    if misfit := _misfit(tensors, adapter):
        raise WeightsError(f"{file} does not fit the model: {misfit}. Reinstall emoprobe.")
    if (found := fingerprint(tensors, replaced(adapter))) != card.base:
        raise WeightsError(
            f"{file} belongs to other weights: it was trained on those of fingerprint {card.base[:16]}, and these have "
            f"{found[:16]}. Reinstall emoprobe and its data packages."
        )
    for name, value in adapter.items():
        if name in tensors:
            tensors[name] = value
        elif name.endswith(A):
            module = name.removesuffix(A)
            product = adapter[module + B].astype(np.float64) @ value.astype(np.float64)
            tensors[f"{module}.weight"] = tensors[f"{module}.weight"].astype(np.float64) + card.scale * product
    return {name: tensors[_module_name(name)].astype(np.float16) for name in stored}


def _misfit(tensors: Mapping[str, np.ndarray], adapter: Mapping[str, np.ndarray]) -> str:
    """What of an adapter has no place in a model; empty if all has."""
    for name, value in adapter.items():
        module = name.removesuffix(A).removesuffix(B)
        if module == name:
            expected = tensors[name].shape if name in tensors else None
        elif f"{module}.weight" not in tensors or not {module + A, module + B} <= adapter.keys() or value.ndim != 2:
            expected = None
        else:
            rank, (out, width) = len(adapter[module + A]), tensors[f"{module}.weight"].shape
            expected = (rank, width) if name.endswith(A) else (out, rank)
        if value.shape != expected:
            return f"{name} has the shape {value.shape}" + (
                f", {expected} is needed" if expected else ", no such place"
            )
    return ""


def _module_name(stored: str) -> str:
    for module, name in STORED:
        if stored.startswith(name):
            return module + stored.removeprefix(name)
    return stored
