"""A made-up copy of EMO-SUPERB's table of NNIME; its first column has no name."""

from __future__ import annotations

from pathlib import Path

from copies import Copy, Wrong
from copies.emosuperb import ELEVEN, NNIME, config, line, smoothed
from copies.sound import write_sound

CONFIG = "data/NNIME/Secondary/config.json"
LABEL_FILES = (NNIME, CONFIG)
# Counts of labels: angry, frustrated, disappointed, sad, fear, neutral, surprise, excited, happy, relax, joy.
CLIPS = (
    ("neutral_02_A_048", (0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 1), 1.833333333, 3, "3", "Female", "Train"),
    ("angry_01_A_002", (3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0), 4.2, 1.4, "3.0", "Female", "Train"),
    ("neutral_03_B_036", (1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0), 1.5, 2.2, "6", "Male", "Test"),
    ("happy_05_B_007", (0, 0, 0, 0, 0, 0, 1, 2, 3, 0, 0), 3.6, 4.4, "6", "Male", "Test"),
    ("sad_14_A_015", (0, 0, 0, 5, 1, 0, 0, 0, 0, 0, 0), 1.4, 2.8, "27", "Female", "Development"),
)
FIRST = CLIPS[0][0]


def write(root: Path) -> None:
    """The table, its config and sound."""
    (root / NNIME).parent.mkdir(parents=True)
    text = line("", *ELEVEN, "EmoAct", "EmoVal", "SpkrID", "Gender", "Split_Set")
    for name, counts, *rest in CLIPS:
        text += line(f"{name}.wav", *smoothed(counts), *rest)
        write_sound(root / "data/NNIME/Audios" / f"{name}.wav")
    (root / NNIME).write_text(text)
    (root / CONFIG).write_text(config(ELEVEN, "NTHU-NNIME corpus - 11 classes"))


COPIES = (
    Copy(
        "nnime",
        write,
        said="""
            neutral_02_A_048 | 3 | train | neutral=0.8 joy=0.2
            angry_01_A_002 | 3 | train | anger=0.5 frustration=0.3333 disappointed=0.1667
            neutral_03_B_036 | 6 | test | anger=0.3333 frustration=0.3333 relaxed=0.3333
            happy_05_B_007 | 6 | test | surprise=0.1667 excited=0.3333 happy=0.5
            sad_14_A_015 | 27 | development | sad=0.8333 fear=0.1667
        """,
        label_files=LABEL_FILES,
        needed=LABEL_FILES,
        columns={NNIME: (*ELEVEN, "SpkrID", "Gender", "Split_Set")},
        against={CONFIG: NNIME},
        wrong=(
            Wrong(NNIME, ",Train", ",Trian", "'Trian' is none of train", "Split_Set", FIRST),
            Wrong(NNIME, "1.833333333", "x", "'x' is not a number", "EmoAct", FIRST, reason="bad_votes"),
        ),
        again=(NNIME, 2, 2),
        sound=(FIRST, f"data/NNIME/Audios/{FIRST}.wav"),
        absent="data/NNIME/Primary or NNIME/Primary or NNIME/Secondary",
        holds=lambda utterance: abs(sum(utterance.votes.values()) - 1) < 1e-9,
        sound_field="FileName",
        partition=("official", "speaker"),
    ),
)
