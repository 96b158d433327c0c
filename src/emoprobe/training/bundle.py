"""A trained head on disk: its weights and everything it must be used with. A bundle never loads wrongly.

``head.safetensors`` holds the members' weights, ``head.json`` the base model and its revision, the label order, layers,
poolings and the configuration it was trained with. Nothing of the base model is stored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.training.heads import make_head

VERSION = 1
WEIGHTS_NAME, FACTS_NAME = "head.safetensors", "head.json"


@dataclass(frozen=True)
class HeadBundle:
    """A loaded head.

    Args:
        heads: The members, whose probabilities are averaged.
        facts: What it was trained on and with.
    """

    heads: tuple[nn.Module, ...]
    facts: Mapping

    def check(self, *, model: str, revision: str, labels: LabelSet) -> None:
        """Refuse another base model or label order.

        Raises:
            InputError: The bundle was trained for something else.
        """
        asked = {"model": model, "revision": revision, "labels": list(labels.labels)}
        for name, value in asked.items():
            if self.facts[name] != value:
                raise InputError(
                    f"this head was trained for {name} {self.facts[name]!r}, not {value!r}",
                    field="head.path",
                    remedy="Use the model, revision and label set it was trained with, or train another.",
                )


def save_head(folder: Path, heads: Sequence[nn.Module], facts: Mapping) -> Path:
    """Write a bundle and return its folder.

    Args:
        folder: Where.
        heads: The members.
        facts: ``model``, ``revision``, ``labels``, ``head`` (name and options), ``layers``, ``kinds``, ``width``, and
            whatever else is worth knowing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        f"{i}.{name}": tensor.contiguous() for i, head in enumerate(heads) for name, tensor in head.state_dict().items()
    }
    save_file(weights, folder / WEIGHTS_NAME, metadata={"format": "pt"})
    text = json.dumps({"version": VERSION, "members": len(heads), **facts}, indent=2, ensure_ascii=False)
    (folder / FACTS_NAME).write_text(text + "\n", encoding="utf-8")
    return folder


def load_head(folder: str | Path) -> HeadBundle:
    """Read a bundle; every weight must be there and no other.

    Raises:
        InputError: A file is missing or damaged, or keys are missing or unexpected.
    """
    folder = Path(folder)
    try:
        facts = json.loads((folder / FACTS_NAME).read_text(encoding="utf-8"))
        weights = load_file(folder / WEIGHTS_NAME)
        if facts["version"] != VERSION:
            raise InputError(f"the bundle has version {facts['version']}, this emoprobe reads {VERSION}", file=folder)
        shape = {"layers": len(facts["layers"]), "kinds": len(facts["kinds"]), "width": facts["width"]}
        heads = [make_head(facts["head"], num_labels=len(facts["labels"]), **shape) for _ in range(facts["members"])]
    except InputError:
        raise
    except Exception as error:  # safetensors raises its own, unnamed kinds
        raise InputError(
            f"this is not a readable head: {type(error).__name__}: {error}",
            file=folder,
            field="head.path",
            remedy="Give the head folder of a training run.",
        ) from error
    expected = {f"{i}.{name}" for i, head in enumerate(heads) for name in head.state_dict()}
    if expected != set(weights):
        raise InputError(
            f"the head's weights do not fit: missing {sorted(expected - set(weights))}, "
            f"unexpected {sorted(set(weights) - expected)}",
            file=folder / WEIGHTS_NAME,
            field="head.path",
            remedy="Train the head again.",
        )
    for i, head in enumerate(heads):
        own = {name.removeprefix(f"{i}."): value for name, value in weights.items() if name.startswith(f"{i}.")}
        head.load_state_dict(own)
        head.eval()
    return HeadBundle(tuple(heads), facts)
