"""A made-up EmoDB: eight clips of three speakers, and what listeners said of them and of a clip never published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from copies import Copy, Wrong

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


COPIES = (
    Copy(
        "emodb",
        write,
        said="""
            03a01Wa | 03 | - | anger=1
            03a02Nc | 03 | - | neutral=1
            03b10Fa | 03 | - | happy=1
            08a04Tb | 08 | - | sad=1
            08a05Lb | 08 | - | boredom=1
            08b01Ea | 08 | - | disgust=1
            14b02Aa | 14 | - | fear=1
            14b09Nd | 14 | - | neutral=1
        """,
        label_files=LABEL_FILES,
        wrong=tuple(
            Wrong(LABEL_FILES[0], old, new, what, field, skips=False)
            for old, new, what, field in (
                ("100,00    \t75", "100.00    \t75", "'100.00' is not a percentage", "erkannt"),
                ("\t75,00", "\t175,00", "'175,00' is not a percentage", "natuerlich"),
                ("\t100,00    \t75", "\t\t75", "'' is not a percentage", "erkannt"),
                ("\t100,00    \t75", "\t²5\t75", "'²5' is not a percentage", "erkannt"),
                ("\t75,00     ", "", "the row has 3 fields and the header 4", None),
                ("03a02Nc", "03a01Wa", "'03a01wa' was there before, with other shares", "Satz"),
            )
        ),
        examples=400,
        separator=b"\t",
        encoding="latin-1",
        any_bytes=LABEL_FILES,
        columns={LABEL_FILES[0]: ("Satz", "erkannt", "natuerlich")},
        sound=("03a01Wa", "wav/03a01Wa.wav"),
        listed_by_sound=True,
        absent="wav/03a01Fa.wav",
        holds=lambda utterance: (
            sum(utterance.votes.values()) == 1
            and all(0 <= utterance.metadata.get(fact, 0) <= 1 for fact in ("recognised", "natural"))
        ),
        partition=("leave_one_out", "speaker"),
    ),
)
