"""A made-up copy of MSP-IMPROV: six sessions of two actors; the first clips have all that occurs in its label file."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import soundfile

from copies import Copy, Wrong

VARIANTS = """\
UTD-IMPROV-S01A-F01-S-FM01.avi; A; A:3.600000; V:1.800000; D:3.400000 ; N:4.000000;
W01; Anger; Anger,Frustrated; A:4.000000; V:2.000000; D:3.000000; N:4.000000;
W02; Angry; Anger, ; A:4.000000; V:2.000000; D:3.000000; N:4.000000;
W03; Neutral state; Neutral; A:2.000000; V:3.000000; D:NaN; N:4.000000;
W01; Sadness; Depressed; A:4.000000; V:2.000000; D:3.000000; N:4.000000;

UTD-IMPROV-S01A-M01-T-MF02.avi; X; A:NaN; V:2.500000; D:3.000000;
W01; Happiness; Excited,Happiness; A:4.000000; V:4.000000; D:3.000000;
W02; Other-annoyed; but, not; Frustrated,Other-bit cross, bored; A:4.000000; V:2.000000; D:3.000000;
W04; Sad
W05; Other (tr\xe8s las); Sadness; A:2.000000; V:2.000000; D:2.000000;

UTD-IMPROV-S02H-F01-R-FM03.avi; O; A:3.000000; V:3.000000; D:3.000000 ; N:NaN;
W01; Other; ; A:3.000000; V:3.000000; D:3.000000; N:3.000000;
W02; Happy; Happy; A:3.000000; V:3.000000; D:3.000000; N:3.000000;

"""


def _plain(session: int) -> str:
    """Eight clips of two actors, two of each class."""
    text = ""
    for number, (letter, word) in enumerate((("A", "Anger"), ("H", "Happiness"), ("S", "Sadness"), ("N", "Neutral"))):
        for actor in "FM":
            name = f"UTD-IMPROV-S{number + 3:02}{letter}-{actor}0{session}-{'SRPT'[number]}-FM01.avi"
            text += f"{name}; {letter}; A:3.000000; V:3.500000; D:3.000000 ; N:4.000000;\n"
            for rater, choice in enumerate((word, word, ("Anger", "Happiness", "Sadness", "Neutral")[session % 4])):
                text += f"W1{rater}; {choice}; {choice}; A:3.000000; V:3.000000; D:3.000000; N:4.000000;\n"
            text += "\n"
    return text


NAME = "UTD-IMPROV-S09N-F02-P-FM07.avi"
HEADER = f"{NAME}; N; A:3.000000; V:3.500000; D:3.000000 ; N:4.000000;\n"
SCORES = "A:4.000000; V:2.000000; D:3.000000; N:4.000000;"
# Before the first clip.
WRONG = tuple(
    Wrong(
        "Evalution.txt",
        VARIANTS,
        text + "\n" + VARIANTS,
        what,
        field,
        reason=reason,
        row=row,
        listed="MSP-IMPROV-S09N-F02-P-FM07" if text.startswith(NAME) else "",
    )
    for text, row, what, field, reason in (
        ("x" + HEADER, 1, "is not a clip such as", "clip", "bad_row"),
        (HEADER.replace("F02", "F07"), 1, "is not a clip such as", "clip", "bad_row"),
        (HEADER.replace("-P-", "-Q-"), 1, "is not a clip such as", "clip", "bad_row"),
        (HEADER.replace("-S09N", "-../S09N"), 1, "is not a clip such as", "clip", "bad_row"),
        (HEADER.replace(".avi", ".wav"), 1, "is not a clip such as", "clip", "bad_row"),
        (f"W1; Neutral; Neutral; {SCORES}\n", 1, "'W1' is not a clip such as", "clip", "bad_row"),
        (f"{NAME}; N; A:3.0; V:3.0;\n", 1, "the clip has 3 fields after its name", None, "bad_row"),
        (HEADER.replace("\n", " 1;\n"), 1, "the clip has 6 fields after its name", None, "bad_row"),
        (HEADER.replace("A:3", "V:3"), 1, "'V:3.000000' is not A:NUMBER", "A", "bad_row"),
        (HEADER.replace("A:3.000000", "A:three"), 1, "'A:three' is not A:NUMBER", "A", "bad_row"),
        (HEADER.replace("V:3.5", "V:inf"), 1, "is not V:NUMBER", "V", "bad_row"),
        (HEADER.replace("D:3.000000", "D:"), 1, "'D:' is not D:NUMBER", "D", "bad_row"),
        (HEADER.replace("N:4", "N:-4"), 1, "is not N:NUMBER", "N", "bad_row"),
        (HEADER.replace("A:3", "A:\u00b2"), 1, "is not A:NUMBER", "A", "bad_row"),
        (HEADER + f"; Neutral; Neutral; {SCORES}\n", 2, "is not RATER; main choice", None, "bad_votes"),
        (HEADER + f"W1; ; Neutral; {SCORES}\n", 2, "is not RATER; main choice", None, "bad_votes"),
        (HEADER + f"W1; {SCORES}\n", 2, "is not RATER; main choice", None, "bad_votes"),
        (HEADER + "junk\n", 2, "'junk' is not RATER; main choice", None, "bad_votes"),
        (HEADER + "W1; Neutral; Neutral; A:x; V:1;\n", 2, "'A:x' is not A:NUMBER", "A", "bad_row"),
    )
)
LABELS = VARIANTS + "".join(map(_plain, range(1, 7)))
LABEL_FILES = ("Evalution.txt",)


def write(root: Path) -> None:
    """Write the copy, with a fifth of a second of noise per clip."""
    root.mkdir(parents=True, exist_ok=True)
    (root / LABEL_FILES[0]).write_bytes(LABELS.encode("latin-1"))
    for line in LABELS.split("\n"):
        if line.startswith("UTD-IMPROV-"):
            name = line.split(".")[0].replace("UTD", "MSP")
            _, _, scenario, actor, condition, _ = name.split("-")
            sound = root / "Audio" / f"session{actor[2]}" / scenario / condition / f"{name}.wav"
            sound.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(zlib.crc32(name.encode())).normal(0, 0.1, 3200)
            soundfile.write(sound, noise.clip(-1, 1), 16000)


SAID = """
    MSP-IMPROV-S01A-F01-S-FM01 | F01 | - | anger(anger+frustration) anger(anger) neutral(neutral) sad(depressed)@1
    MSP-IMPROV-S01A-M01-T-MF02 | M01 | - | happy(excited+happy) other(frustration+other) sad other(sad)
    MSP-IMPROV-S02H-F01-R-FM03 | F01 | - | other happy(happy)
"""


def _said(session: int) -> str:
    """What `_plain` writes."""
    words = ("anger", "happy", "sad", "neutral")
    third = words[session % 4]
    return "".join(
        f"MSP-IMPROV-S{number + 3:02}{'AHSN'[number]}-{actor}0{session}-{'SRPT'[number]}-FM01 "
        f"| {actor}0{session} | - | {word}({word}) {word}({word}) {third}({third})\n"
        for number, word in enumerate(words)
        for actor in "FM"
    )


def _thin(root: Path) -> None:
    text = LABELS[: LABELS.index("UTD-IMPROV-S04H-F01")]
    (root / LABEL_FILES[0]).write_bytes(text.encode("latin-1"))


OTHER = "MSP-IMPROV-S01A-F01-S-FM01 | F01 | - | bored(sleepy) anger(anger) neutral(neutral) sad(depressed)@1"
COPIES = (
    Copy(
        "msp_improv",
        write,
        said=SAID + "".join(map(_said, range(1, 7))),
        label_files=LABEL_FILES,
        needed=LABEL_FILES,
        thin=_thin,
        examples=600,
        encoding="latin-1",
        any_bytes=LABEL_FILES,
        again=(LABEL_FILES[0], 1, 5),
        wrong=WRONG,
        other=(LABEL_FILES[0], "W01; Anger; Anger,Frustrated;", "W01; Bored; Sleepy;", OTHER),
        sound=("MSP-IMPROV-S01A-F01-S-FM01", "Audio/session1/S01A/S/MSP-IMPROV-S01A-F01-S-FM01.wav"),
        absent="Evalution.txt or Evaluation.txt",
        key=lambda name: name.removeprefix("MSP"),
        partition=("leave_one_out", "session"),
    ),
)
