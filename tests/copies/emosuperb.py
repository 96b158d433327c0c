"""A made-up copy of EMO-SUPERB's data folder: three corpora with the headers that occur."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from copies import Copy, Wrong
from copies.sound import write_sound

SIX = ("angry", "sad", "disgust", "fear", "neutral", "happy")
NINE = ("frustrated", "angry", "sad", "disgust", "excited", "fear", "neutral", "surprise", "happy")
ELEVEN = ("angry", "frustrated", "disappointed", "sad", "fear", "neutral", "surprise", "excited", "happy")
ELEVEN += ("relax", "joy")
TABLE = "data/CREMA-D/Primary/labels_consensus_1.csv"
CONFIG = "data/CREMA-D/Primary/config.json"
IEMOCAP = "data/IEMOCAP/Secondary/labels_consensus_1.csv"
NNIME = "data/NNIME/Secondary/labels_consensus_1.csv"
LABEL_FILES = (TABLE, CONFIG)

# Counts of votes, then speaker, gender, split.
CREMAD = (
    ("1001_DFA_ANG_XX", (6, 0, 3, 0, 1, 0), "1001", "Male", "Train"),
    ("1001_IEO_SAD_LO", (0, 5, 0, 0, 5, 0), "1001", "Male", "Train"),
    ("1002_IEO_NEU_XX", (0, 0, 0, 0, 8, 0), "1002", "Female", "Train"),
    ("1002_TAI_HAP_XX", (0, 0, 0, 0, 1, 2), "1002", "Female", "Train"),
    ("1003_MTI_FEA_XX", (0, 1, 1, 4, 1, 0), "1003", "Female", "Development"),
    ("1003_MTI_HAP_XX", (0, 0, 0, 0, 4, 5), "1003", "Female", "Development"),
    ("1004_IWW_SAD_XX", (1, 6, 0, 0, 3, 0), "1004", "Unknown", "Test"),
    ("1004_IWW_ANG_XX", (7, 0, 2, 0, 0, 0), "1004", "Unknown", "Test"),
)


def smoothed(counts: Sequence[int]) -> list[float]:
    """Shares smoothed and rounded as in the tables."""
    floor = 0.05 / (len(counts) - 1)
    return [round(0.95 * n / sum(counts) + floor * (1 - n / sum(counts)), 6) for n in counts]


def line(*cells: object) -> str:
    return ",".join(str(cell) for cell in cells) + "\n"


def config(classes: Sequence[str], description: str) -> str:
    value = {
        "data_split_type": {"train": "Train", "dev": "Development", "test": "Test"},
        "categorical": {"emo_type": list(classes)},
        "dimensional": {"max_score": 5, "min_score": 1},
        "description": description,
    }
    return json.dumps(value, indent=4)


def cremad() -> str:
    text = line("FileName", *SIX, "SpkrID", "Gender", "Split_Set")
    return text + "".join(line(f"{name}.wav", *smoothed(counts), *rest) for name, counts, *rest in CREMAD)


def iemocap() -> str:
    rest = ("EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set")
    third = smoothed((1, 0, 0, 0, 2, 0, 0, 0, 0))
    return (
        line("FileName", *NINE, *rest)
        + line("Ses01F_impro01_F000.wav", *third, 3.333333, 2.0, 3.0, "01", "Female", "Train")
        + line("Ses01F_impro01_M000.wav", *smoothed((0, 0, 3, 0, 0, 0, 0, 0, 0)), 2.5, 1.5, "", "01", "Male", "Train")
        + line("Ses02F_impro01_M000.wav", *smoothed((0, 2, 0, 0, 0, 0, 2, 0, 0)), 2, 3, 4, "02", "Male", "Test")
        + line(
            "Ses03F_impro01_F000.wav", *smoothed((0, 0, 0, 0, 0, 0, 3, 0, 0)), 2, 3, 4, "03", "Female", "Development"
        )
    )


def nnime() -> str:
    """Its first column has no name, and its attributes are two."""
    return (
        line("", *ELEVEN, "EmoAct", "EmoVal", "SpkrID", "Gender", "Split_Set")
        + line(
            "neutral_02_A_048.wav", *smoothed((0,) * 5 + (4,) + (0,) * 4 + (1,)), 1.833333333, 3, 3, "Female", "Train"
        )
        + line("neutral_03_B_036.wav", *smoothed((1, 1) + (0,) * 7 + (1, 0)), 1.5, 2.2, 6, "Male", "Test")
        + line("sad_14_A_015.wav", *smoothed((0, 0, 0, 1) + (0,) * 7), 1.4, 2.8, 27, "Female", "Development")
    )


def write(root: Path) -> None:
    files = {
        TABLE: cremad(),
        CONFIG: config(SIX, "CREMA-D corpus - 6 classes"),
        IEMOCAP: iemocap(),
        "data/IEMOCAP/Secondary/config.json": config(NINE, "IEMOCAP corpus - 9 class"),
        NNIME: nnime(),
        "data/NNIME/Secondary/config.json": config(ELEVEN, "NTHU-NNIME corpus - 11 classes"),
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name, *_ in CREMAD:
        write_sound(root / "data/CREMA-D/Audios" / f"{name}.wav")


COPIES = (
    Copy(
        "emosuperb",
        write,
        said="""
            1001_DFA_ANG_XX | 1001 | train | anger=0.6 disgust=0.3 neutral=0.1
            1001_IEO_SAD_LO | 1001 | train | sad=0.5 neutral=0.5
            1002_IEO_NEU_XX | 1002 | train | neutral=1
            1002_TAI_HAP_XX | 1002 | train | neutral=0.3333 happy=0.6667
            1003_MTI_FEA_XX | 1003 | development | sad=0.1429 disgust=0.1429 fear=0.5714 neutral=0.1429
            1003_MTI_HAP_XX | 1003 | development | neutral=0.4444 happy=0.5556
            1004_IWW_SAD_XX | 1004 | test | anger=0.1 sad=0.6 neutral=0.3
            1004_IWW_ANG_XX | 1004 | test | anger=0.7778 disgust=0.2222
        """,
        label_files=LABEL_FILES,
        needed=LABEL_FILES,
        columns={TABLE: ("FileName", *SIX, "SpkrID", "Gender", "Split_Set")},
        against={CONFIG: TABLE},
        wrong=tuple(
            Wrong(TABLE, old, new, what, field, "1001_DFA_ANG_XX", reason=reason)
            for old, new, what, field, reason in (
                ("0.574", "0.674", "the shares sum to 1.1, not to 1", "votes", "bad_votes"),
                ("0.574,0.01", "0.584,0", "a share of 0 is less than the smoothing of 0.01", "votes", "bad_votes"),
                ("0.574", "nan", "'nan' is not a number", "angry", "bad_votes"),
                ("0.574", "", "'' is not a number", "angry", "bad_votes"),
                ("0.574", "1e999", "the shares sum to inf", "votes", "bad_votes"),
                ("Train", "Training", "'Training' is none of train, development, test", "Split_Set", "bad_row"),
                ("1001_DFA_ANG_XX.wav", "", "'' is not the name of a file", "FileName", "bad_row"),
                ("1001_DFA_ANG_XX.wav", "../x.wav", "'../x.wav' is not the name of a file", "FileName", "bad_row"),
                (",Male,Train", ",Male", "the row has 9 fields and the header 10", None, "bad_row"),
            )
        ),
        again=(TABLE, 2, 2),
        sound=("1001_DFA_ANG_XX", "data/CREMA-D/Audios/1001_DFA_ANG_XX.wav"),
        absent="data/CREMA-D/Primary or CREMA-D/Primary or CREMA-D/Secondary",
        holds=lambda utterance: abs(sum(utterance.votes.values()) - 1) < 1e-9,
        sound_field="FileName",
        partition=("official", "speaker"),
    ),
)
