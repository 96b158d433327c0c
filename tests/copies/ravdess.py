"""A made-up RAVDESS: 24 speech clips of three actors, two songs, and sound of a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from copies import Copy

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


WORDS = ("neutral", "calm", "happy", "sad", "anger", "fear", "disgust", "surprise")
COPIES = (
    Copy(
        "ravdess",
        write,
        said="\n".join(f"{name} | {name[-2:]} | - | {WORDS[int(name[6:8]) - 1]}=1" for name in sorted(SPEECH)),
        sound=("03-01-03-01-02-01-24", "Actor_24/03-01-03-01-02-01-24.wav"),
        listed_by_sound=True,
        absent="Actor_01/03-01-01-01-01-01-01.wav",
    ),
)
