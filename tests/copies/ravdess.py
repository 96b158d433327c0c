"""A made-up RAVDESS: 24 speech clips of three actors, two songs, and sound of a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from emoprobe.data.corpora.ravdess import read_ravdess
from emoprobe.data.utterance import Corpus

LABEL_FILES = ()  # labels are in the names
SPEECH = tuple(
    f"03-01-{emotion:02}-{2 if emotion == 5 else 1:02}-{1 + emotion % 2:02}-01-{actor:02}"
    for actor in (1, 2, 24)
    for emotion in range(1, 9)
)
OTHERS = ("03-02-03-01-01-01-01", "03-02-04-02-02-02-02", "01-01-03-01-01-01-01")


def write(root: Path) -> None:
    for number, name in enumerate((*SPEECH, *OTHERS)):
        folder = root / f"Actor_{name[-2:]}"
        folder.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).normal(0, 0.1, 3200)
        soundfile.write(folder / f"{name}.{'flac' if name in SPEECH[-2:] else 'wav'}", noise, 16_000)


def read(root: Path) -> Corpus:
    return read_ravdess(root)
