"""A researcher's own small corpus: three speakers, sound, and a manifest of vote counts with everything optional."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from emoprobe.data.corpora.manifest import read_manifest
from emoprobe.data.utterance import Corpus

MANIFEST = """\
utterance_id,path,speaker,split,transcript,dialogue,age,votes_anger,votes_happy,votes_sad
u1,audio/anna_1.wav,anna,train,"Oh, no!","A: It broke.
B: ""Again""?",31,3,0,1
u2,audio/anna_2.wav,anna,train,Fine.,,31,0,2,0
u3,audio/bob_1.wav,bob,development,Why?,,,1,1,1
u4,audio/bob_2.wav,bob,development,Nobody voted.,,,0,0,0

u5,audio/caro_1.wav,caro,test,Grüße!,,27,0,4,1
u6,audio/caro_2.wav,caro,test,,,27,0,0,2
"""
LABEL_FILES = ("manifest.csv",)


def write(root: Path) -> None:
    """Write the copy below a folder."""
    (root / "audio").mkdir(parents=True, exist_ok=True)
    names = ("anna_1.wav", "anna_2.WAV", "bob_1.wav", "bob_2.wav", "caro_1.wav", "caro_2.wav")
    for number, name in enumerate(names):
        samples = np.random.default_rng(number).normal(0, 0.05, 3_200)
        soundfile.write(root / "audio" / name, samples, 16_000, format="WAV")
    (root / "manifest.csv").write_text(MANIFEST, encoding="utf-8")


def read(root: Path) -> Corpus:
    """Read it."""
    return read_manifest(root / "manifest.csv")
