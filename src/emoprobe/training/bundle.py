"""A trained readout on disk: its own weights and everything it must be used with. A bundle never loads wrongly.

``head.safetensors`` holds what the members add to the SFM (heads, adapters), ``head.json`` the base model and its
revision, the label order, the prompt and the configuration it was trained with. Nothing of the base model is stored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.models.base import SpeechFoundationModel
from emoprobe.prompts import make_prompts
from emoprobe.training.batches import Clips
from emoprobe.training.features import sample_of_weights
from emoprobe.training.fit import predict
from emoprobe.training.losses import Loss
from emoprobe.training.method import Method
from emoprobe.training.methods import make_method

VERSION = 2
NEEDED = ("model", "revision", "dtype", "model_weights", "labels", "head", "loss", "prompt_config", "seen")
WEIGHTS_NAME, FACTS_NAME = "head.safetensors", "head.json"


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle.

    Args:
        folder: Where it came from.
        weights: By member.
        facts: What it was trained on and with.
    """

    folder: Path
    weights: tuple[dict[str, Tensor], ...]
    facts: Mapping

    def method(self, sfm: SpeechFoundationModel, labels: LabelSet) -> Method:
        """The method that the bundle was trained by, for this SFM.

        Raises:
            InputError: The bundle was trained for another base model, label order or prompt.
        """
        asked = {
            "model": sfm.name,
            "revision": sfm.revision,
            "model_weights": sample_of_weights(sfm.model) if sfm.dtype == self.facts["dtype"] else None,
            "labels": list(labels.labels),
        }
        for name, value in asked.items():
            if value is not None:
                self._same(name, value, "the model, revision and label set")
        prompts = make_prompts(self.facts["prompt_config"], labels)
        method = make_method(sfm, self.facts["head"], labels, prompts, Loss(**self.facts["loss"]))
        if method.plan is not None:
            self._same("prompt_hash", method.plan.prompt.hash, "the prompt")
            self._same("question_hash", method.plan.question_hash, "the labels' surface forms and chat template")
        return method

    def _same(self, name: str, value: object, what: str) -> None:
        if self.facts[name] != value:
            raise InputError(
                f"this head was trained for {name} {self.facts[name]!r}, not {value!r}",
                file=self.folder,
                field="head.path",
                remedy=f"Use {what} it was trained with, or train another.",
            )

    def predict(self, method: Method, clips: Clips, batch_size: int) -> Tensor:
        """Log of the members' mean probabilities, ``[utterances, labels]`` float64."""
        parts = []
        for weights in self.weights:
            reader = method.restore(weights)
            try:
                parts.append(predict([reader], clips, batch_size))
            finally:
                method.release(reader)
        return torch.stack(parts).logsumexp(0) - torch.tensor(float(len(parts)), dtype=torch.float64).log()


def save_bundle(folder: Path, weights: Sequence[Mapping[str, Tensor]], facts: Mapping) -> Path:
    """Write a bundle and return its folder.

    Args:
        folder: Where.
        weights: By member, as `Method.weights` gives them.
        facts: Those in `NEEDED`, and whatever else is worth knowing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = {f"{i}.{name}": value for i, member in enumerate(weights) for name, value in member.items()}
    save_file(named, folder / WEIGHTS_NAME, metadata={"format": "pt"})
    text = json.dumps({"version": VERSION, "members": len(weights), **facts}, indent=2, ensure_ascii=False)
    temporary = folder / f".{FACTS_NAME}"
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(folder / FACTS_NAME)  # last, so that a bundle with facts is whole
    return folder


def load_bundle(folder: str | Path) -> Bundle:
    """Read a bundle; whether its weights fit is seen when a reader is made of them.

    Raises:
        InputError: A file is missing or damaged.
    """
    folder = Path(folder)
    try:
        facts = json.loads((folder / FACTS_NAME).read_text(encoding="utf-8"))
        named = load_file(folder / WEIGHTS_NAME)
        found = facts["version"]
        members = [
            {name.removeprefix(f"{i}."): value for name, value in named.items() if name.startswith(f"{i}.")}
            for i in range(facts["members"])
        ]
        missing = sorted(set(NEEDED) - set(facts))
    except Exception as error:  # safetensors raises its own, unnamed kinds
        raise InputError(
            f"this is not a readable head: {type(error).__name__}: {error}",
            file=folder,
            field="head.path",
            remedy="Give the head folder of a training run, such as RUN_DIR/head_fold0.",
        ) from error
    if found != VERSION or missing:
        raise InputError(
            f"the bundle has version {found}, this emoprobe reads {VERSION}"
            if found != VERSION
            else f"no {missing[0]}",
            file=folder / FACTS_NAME,
            field="head.path",
            remedy="Train the head again.",
        )
    if sum(map(len, members)) != len(named):
        raise InputError(
            f"the head's weights do not fit: {len(named) - sum(map(len, members))} belong to no member",
            file=folder / WEIGHTS_NAME,
            field="head.path",
            remedy="Train the head again.",
        )
    return Bundle(folder, tuple(members), facts)
