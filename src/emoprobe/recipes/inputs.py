"""What the settings ask for: a corpus, and what is evaluated of it."""

from __future__ import annotations

from typing import Literal

from emoprobe.data.prepare import Prepared, prepare
from emoprobe.data.utterance import Corpus
from emoprobe.labels import LabelSet
from emoprobe.recipes.settings import DatasetSettings
from emoprobe.settings import make


def read_corpus(dataset: DatasetSettings) -> Corpus:
    """Call the corpus reader that the settings name."""
    return make(dataset.reader, "dataset")


def prepare_run(
    dataset: DatasetSettings, corpus: Corpus, labels: LabelSet, missing_audio: Literal["ignore"] | None = None
) -> Prepared:
    """The utterances and targets that the settings ask for."""
    return prepare(
        corpus,
        labels,
        dataset.soft_label,
        split=dataset.split,
        keep=dataset.keep,
        limit=dataset.limit,
        missing_audio=missing_audio or dataset.missing_audio,
        on_error=dataset.on_error,
    )
