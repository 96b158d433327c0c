"""What the settings ask for: a corpus, and what is evaluated of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from emoprobe.data.prepare import Prepared, prepare
from emoprobe.data.sound.survey import check_long, durations
from emoprobe.data.utterance import Corpus
from emoprobe.errors import some
from emoprobe.labels import LabelSet
from emoprobe.models.known import known_seconds
from emoprobe.recipes.fields import DatasetSettings
from emoprobe.settings import make
from emoprobe.system.stopping import is_main

LONG = {
    "truncate": "the rest of them is not heard",
    "window": "they are heard in windows, whose beliefs are averaged",
    "skip": "they are left out",
}


def read_corpus(dataset: DatasetSettings) -> Corpus:
    """Call the corpus reader that the settings name."""
    return dataset.control.of_corpus(make(dataset.reader, "dataset"))


def prepare_run(
    dataset: DatasetSettings, corpus: Corpus, labels: LabelSet, missing_audio: Literal["ignore"] | None = None
) -> Prepared:
    """The utterances and targets that the settings ask for."""
    prepared = prepare(
        corpus,
        labels,
        dataset.soft_label,
        split=dataset.split,
        keep=dataset.keep,
        limit=dataset.limit,
        shard=dataset.shard,
        missing_audio=missing_audio or dataset.missing_audio,
        on_error=dataset.on_error,
    )
    return dataset.control.of_prepared(prepared)


@dataclass(frozen=True)
class Lengths:
    """How long the clips of a run are, and what becomes of those that are not heard in one piece.

    Args:
        dataset: What the settings say of the corpus.
        seconds: Utterance id -> duration, by the headers.
    """

    dataset: DatasetSettings
    seconds: Mapping[str, float]

    def check(self, model: str, most: float) -> list[str]:
        """Ids of the clips that are longer than ``dataset.audio.max_seconds``; see `check_long`."""
        return check_long(self.seconds, self.dataset.audio, self.dataset.on_error, model, most)

    @property
    def record(self) -> dict[str, Any] | None:
        """Of what is longer than ``max_seconds``, for the run's record; None where nothing is."""
        limits, long = self.dataset.audio, self.check("", math.inf)
        facts = {"max_seconds": limits.max_seconds, "choice": limits.long_audio, "utterances": long}
        return facts if long else None


def read_lengths(dataset: DatasetSettings, prepared: Prepared, node: Mapping, sfm: Any = None) -> Lengths:
    """Read the headers of all clips, and say which are too long, before a model is loaded.

    Args:
        dataset: What the settings say of the corpus.
        prepared: What is evaluated.
        node: The model's configuration.
        sfm: The model, if it is loaded already.

    Raises:
        InputError: Clips are too long, and the settings do not say what becomes of them.
    """
    found = Lengths(dataset, durations([item.utterance for item in prepared.items]))
    model = str(node.get("name") or node.get("path")) if sfm is None else sfm.name
    most = known_seconds(node) if sfm is None else sfm.max_seconds
    long = found.check(model, most)
    if long and is_main():
        limits = dataset.audio
        deaf = sum(each > most + 1e-3 for each in found.seconds.values())
        whole = f", {deaf:,} longer than the {most:g} s that {model} hears whole" if most < math.inf else ""
        others = ", ".join(choice for choice in LONG if choice != limits.long_audio)
        print(
            f"Sound    {len(long):,} of {len(found.seconds):,} clips longer than {limits.max_seconds:g} s{whole}: "
            f"{some(long)}; {LONG.get(limits.long_audio, LONG['skip'])} "
            f"(dataset.audio.long_audio={limits.long_audio}; or {others})"
        )
    return found
