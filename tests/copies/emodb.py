"""A made-up EmoDB: eight clips of three speakers, and what listeners said of them and of a clip never published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from emoprobe.data.corpora.emodb import read_emodb
from emoprobe.data.utterance import Corpus

LABEL_FILES = ("erkennung.txt",)
CLIPS = ("03a01Wa", "03a02Nc", "03b10Fa", "08a05Lb", "08b01Ea", "08a04Tb", "14b02Aa", "14b09Nd")
LISTENERS = (
    "Nr.\tSatz\terkannt\tnatuerlich",
    "1  \t03a01Wa.wav\t100,00    \t75,00     ",
    "2  \t03a02Nc.wav\t95,00     \t60,00     ",
    "3  \t03a07Ab.wav\t65,00     \t35,00     ",
    "4  \t03b10Fa.wav\t80,00     \t100,00    ",
    "5  \t08a05Lb.wav\t85,00     \t90,00     ",
    "6  \t08b01Ea.wav\t90,00     \t70,00     ",
    "7  \t14b02Aa.wav\t100,00    \t65,00     ",
    "8  \t14b09Nd.wav\t95,00     \t80,00     ",
)


def write(root: Path) -> None:
    (root / "wav").mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(CLIPS):
        noise = np.random.default_rng(number).normal(0, 0.1, 3200)
        soundfile.write(root / "wav" / f"{name}.wav", noise, 16_000)
    (root / "erkennung.txt").write_bytes("\r\n".join((*LISTENERS, "")).encode("latin-1"))


def read(root: Path) -> Corpus:
    return read_emodb(root)
