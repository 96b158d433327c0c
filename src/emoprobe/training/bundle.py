"""A trained readout on disk: its own weights and everything it must be used with. A bundle never loads wrongly.

``head.safetensors`` holds what the members add to the SFM (heads, adapters), ``head.json`` the base model and its
revision, the label order, the prompt and the configuration it was trained with. Nothing of the base model is stored.
``head.json`` also bears the SHA-256 of ``head.safetensors`` (``weights_sha256``) and of its own other fields
(``sha256``), so that neither can be edited, nor exchanged for that of another fold.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.models.base import SpeechFoundationModel
from emoprobe.models.identity import sample_of_weights
from emoprobe.prompts.prompt import make_prompts
from emoprobe.run import files
from emoprobe.system.digest import digest_of
from emoprobe.system.output import whole, write_text
from emoprobe.training.batches import Clips
from emoprobe.training.fit import predict
from emoprobe.training.losses.base import make_loss
from emoprobe.training.methods.base import Method, make_method

VERSION = 3
WEIGHTS_NAME, FACTS_NAME = "head.safetensors", files.FACTS


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
        prompts = make_prompts(self.facts["prompt_config"], labels) if "prompt_hash" in self.facts else []
        method = make_method(sfm, self.facts["head"], labels, prompts, make_loss(self.facts["loss"]))
        if method.plan is not None:
            self._same("prompt_hash", method.plan.prompt.hash, "the prompt and labels.forms")
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

    def must_be(self, expected: Mapping) -> Bundle:
        """This bundle, if its record says so: a resumed run takes over no head of another fold, member or corpus.

        Raises:
            InputError: The record says something else.
        """
        for name, value in expected.items():
            if self.facts.get(name) != value:
                raise InputError(
                    f"this head was not trained as this run would train it: its {name} is another",
                    file=self.folder,
                    remedy="The clips, their votes or the model have changed since: train into another folder, "
                    "hydra.run.dir=DIR.",
                )
        return self

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
        facts: What it must be used with and must not be judged on, JSON values.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = {f"{i}.{name}": value for i, member in enumerate(weights) for name, value in member.items()}
    content = save(named, metadata={"format": "pt"})
    sealed = {"version": VERSION, "members": len(weights), **facts}
    sealed = json.loads(json.dumps(sealed | {"weights_sha256": hashlib.sha256(content).hexdigest()}))
    text = json.dumps(sealed | {"sha256": _seal(sealed)}, indent=2, ensure_ascii=False)
    with whole(folder / WEIGHTS_NAME) as temporary:
        temporary.write_bytes(content)
    write_text(text + "\n", folder / FACTS_NAME)  # last, so that a bundle with facts is whole
    return folder


def _seal(facts: Mapping) -> str:
    """SHA-256 of all fields but ``sha256``, whatever their order and layout in the file."""
    own = {name: value for name, value in facts.items() if name != "sha256"}
    return digest_of(own)


def load_bundle(folder: str | Path) -> Bundle:
    """Read a bundle, exactly as it was written.

    Raises:
        InputError: A file is missing, damaged, changed, or of another bundle or version.
    """
    folder = Path(folder)
    try:
        facts = json.loads((folder / FACTS_NAME).read_text(encoding="utf-8"))
        found = facts["version"]
        content = (folder / WEIGHTS_NAME).read_bytes()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"this is not a readable head: {type(error).__name__}: {error}",
            file=folder,
            field="head.path",
            remedy="Give the head folder of a training run, such as RUN_DIR/head_fold0.",
        ) from error
    if found != VERSION:
        raise _unfit(f"the bundle has version {found}, this emoprobe reads {VERSION}", folder / FACTS_NAME)
    if facts.get("sha256") != _seal(facts):
        raise _unfit("this record was changed after training: its SHA-256 is another", folder / FACTS_NAME)
    if facts.get("weights_sha256") != hashlib.sha256(content).hexdigest():
        raise _unfit(f"these are not the weights that {FACTS_NAME} beside them speaks of", folder / WEIGHTS_NAME)
    named = load(content)
    members = [
        {name.removeprefix(f"{i}."): value for name, value in named.items() if name.startswith(f"{i}.")}
        for i in range(facts["members"])
    ]
    return Bundle(folder, tuple(members), facts)


def _unfit(what: str, file: Path) -> InputError:
    return InputError(what, file=file, field="head.path", remedy="Copy the head folder whole, or train the head again.")
