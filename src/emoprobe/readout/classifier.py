"""The classes of a fine-tuned checkpoint, read as what they are: a supervised distribution, asked nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from emoprobe.beliefs.distributions import Distributions
from emoprobe.beliefs.reading import Reading
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.options import Word, options
from emoprobe.readout.base import READOUTS, SoundReadout
from emoprobe.readout.label_likelihood import MASS, SUMS, label_likelihood
from emoprobe.run.cell import EVALUATED_VOTES

if TYPE_CHECKING:
    from torch import Tensor

    from emoprobe.models.base import SpeechFoundationModel

SUPERVISED = "supervised"
CODE = 3  # letters of the usual short forms: ang, hap, neu, sad, exc, fru, fea, dis, sur, cal
MAP = "readout.classifier.map"
_PLAIN = re.compile(r"[\w/\-\\+.$%*@?|()\[\]{}:=, \t]*", re.ASCII)  # what Hydra can read as the name of a key


@READOUTS.register("classifier")
@options("readout.classifier")
class Classifier(SoundReadout):
    """log P(class | audio) of a model fine-tuned to tell emotions apart, in nats; a label's classes add up.

    The label mass is the probability of all classes that stand for a label.

    Args:
        map: Class -> label, or None to leave the class out. Classes that it does not name are matched by `match`.
        knows_votes: Whether the checkpoint was fine-tuned on some of the evaluated clips, or on their speakers; its
            rows then have no rank.
    """

    name = "classifier"
    channel = "classes"
    columns = (SUMS, MASS)

    map: Mapping[Word, Word | None] | None = None
    knows_votes: bool = False

    def of(self, sfm: SpeechFoundationModel, labels: LabelSet) -> Classifier:
        """The readout with a map of all the model's classes, in their order."""
        if not sfm.classes:
            raise InputError(
                f"{sfm.name} has no classes of its own to be read",
                field="readout",
                remedy="Take a checkpoint that was fine-tuned to classify emotions, or another readout.",
            )
        return replace(self, map=whole_map(sfm.name, sfm.classes, labels, self.map or {}))

    def notes(self) -> list[str]:
        """What every class is read as."""
        read = ", ".join(f"{name} as {label}" for name, label in self._map.items() if label is not None)
        left = ", ".join(name for name, label in self._map.items() if label is None)
        return [f"readout {self.name} reads {read}" + (f"; left out: {left}" if left else "")]

    @property
    def _map(self) -> Mapping[str, str | None]:
        return self.map or {}

    def listen(self, sfm: SpeechFoundationModel, waveforms: Sequence[Tensor]) -> list[dict[str, Any]]:
        """Log-probabilities of the classes that stand for a label, and the log of their sum."""
        owner = [(i, name, self._map[name]) for i, name in enumerate(sfm.classes)]
        kept = [(i, name, label) for i, name, label in owner if label is not None]
        logs = sfm.classify(waveforms).double()[:, [i for i, _, _ in kept]]
        shared = {"forms": [name for _, name, _ in kept], "form_labels": [label for _, _, label in kept]}
        return [{**shared, SUMS.name: row.tolist(), MASS.name: row.logsumexp(0).item()} for row in logs]

    @classmethod
    def read(cls, rows: pa.Table, labels: LabelSet, options: None) -> list[Reading]:
        """The one reading: P(label | audio, the class is one of a label)."""
        told = [json.loads(text) for text in rows["readout_options"].unique().to_pylist()]
        fitted_on = EVALUATED_VOTES if any(each["knows_votes"] for each in told) else ""
        derive = partial(_with_mass, labels=labels.labels)
        return [Reading(SUPERVISED, derive, clips_only=True, fitted_on=fitted_on)]


def _with_mass(rows: pa.Table, labels: Sequence[str]) -> Distributions:
    return replace(label_likelihood(rows, labels), label_mass=np.exp(rows[MASS.name].to_numpy()))


def match(classes: Sequence[str], labels: LabelSet) -> dict[str, str]:
    """Class -> label, of the classes whose name says one.

    A class stands for the label whose name, surface forms or other words it is one of, apart from case; failing that,
    for the one label that has a word which begins with it, of at least three letters.

    >>> words = {"happy": {"noun": ["happiness"]}, "sad": {"noun": ["sadness"]}}
    >>> match(["Hap", "SADNESS", "calm"], LabelSet("two", ("happy", "sad"), words))
    {'Hap': 'happy', 'SADNESS': 'sad'}
    """
    words: dict[str, set[str]] = {}
    for label in labels.labels:
        said = [word for kind in labels.words[label].values() for word in kind]
        others = [word for word, owner in labels.aliases.items() if owner == label]
        words[label] = {word.casefold() for word in (label, *said, *others)}
    found = {}
    for name in classes:
        key = name.strip().casefold()
        exact = [label for label, own in words.items() if key in own]
        begun = [label for label, own in words.items() if any(word.startswith(key) for word in own)]
        fitting = exact or (begun if len(key) >= CODE else [])
        if len(fitting) == 1:
            found[name] = fitting[0]
    return found


def whole_map(
    model: str, classes: Sequence[str], labels: LabelSet, given: Mapping[str, str | None]
) -> dict[str, str | None]:
    """Class -> label, or None for a class that is left out, of all classes in their order.

    Args:
        model: Its name, for errors.
        classes: Names of its classes.
        labels: The label set.
        given: What the user says of some or all of them.

    Raises:
        InputError: A given class or label does not exist, a class stands for no label and is not left out, or a label
            has no class: the model was never taught it, so that a probability of it would be made up.
    """
    for name, label in given.items():
        if name not in classes:
            there = f"Its classes are {', '.join(classes)}."
            raise InputError(f"{model} has no class {name!r}", field=MAP, remedy=there)
        if label is not None and label not in labels.labels:
            there = f"Labels are {', '.join(labels.labels)}, or null to leave the class out."
            raise InputError(f"{label!r} is no label of {labels.name}", field=f"{MAP}.{name}", remedy=there)
    own: dict[str, str | None] = {**match(classes, labels), **given}
    whole = {name: own.get(name) for name in classes}
    unknown = [name for name in whole if name not in own]
    missing = [label for label in labels.labels if label not in whole.values()]
    if not unknown and not missing:
        return whole
    wrong, remedies = [], []
    if unknown:
        wrong.append(f"no label for {', '.join(unknown)}")
        remedies.append(f"Say what its classes stand for, null for none of the labels: {_override(whole)}.")
    if missing:
        wrong.append(f"no class for {', '.join(missing)}")
        remedies.append(
            "It knows nothing of a label without a class: choose other labels=NAME."
            if labels.scale is None
            else "A distribution needs a class for every point. A regression head gives single numbers: train a head "
            "on the model's states instead, emoprobe train head=linear_probe loss=ccc."
        )
    raise InputError(
        f"the classes of {model} ({', '.join(classes)}) are not the labels of {labels.name} "
        f"({', '.join(labels.labels)}): {'; '.join(wrong)}",
        field=MAP,
        remedy=" ".join(remedies),
    )


def _override(whole: Mapping[str, str | None]) -> str:
    """A map as an option of the command line; of names that Hydra cannot read there, as a line of a config."""
    names = {name: label or "null" for name, label in whole.items()}
    if all(_PLAIN.fullmatch(word) for pair in names.items() for word in pair):
        return f"'{MAP}={{{','.join(f'{_escaped(name)}:{_escaped(label)}' for name, label in names.items())}}}'"
    pairs = ", ".join(f"{json.dumps(name, ensure_ascii=False)}: {label}" for name, label in names.items())
    return f"classifier: {{map: {{{pairs}}}}} in a file of CONFIG_DIR/readout"


def _escaped(word: str) -> str:
    return re.sub(r"([\\()\[\]{}:=, \t])", r"\\\1", word)
