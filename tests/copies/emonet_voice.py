"""A made-up copy of EmoNet-Voice Bench: two Parquet files, with sound in one and paths in the other."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from copies import Copy
from copies.sound import sound_bytes, write_sound

FIRST = "data/train-00000-of-00002.parquet"
SECOND = "data/train-00001-of-00002.parquet"
LABEL_FILES = (FIRST, SECOND)
LABELS = (
    "[{'human-1': {'Shame': 1}}, {'human-4': {'Shame': 2}}]",
    "[{'human-1': {'Impatience%20and%20Irritability': 0}}, {'human-2': {'Impatience%20and%20Irritability': 0}}]",
    "[{'human-1': {'Anger': 2, 'Authenticity': 1, 'Arousal': 2}}, {'human-3': {'Anger': 2, 'Authenticity': 2}}]",
    "[{'human-2': {'Arousal': 1}}, {'human-2': {'Arousal': 2}}]",
)
PATHS = ("0a1b2c3d_1.wav", "0a1b2c3d_2.wav", "4e5f6071_1.wav")


def table(audio: list[object], labels: list[object]) -> pa.Table:
    form = pa.struct([("bytes", pa.binary()), ("path", pa.string())]) if isinstance(audio[0], dict) else pa.string()
    return pa.table({"audioId": pa.array(audio, form), "label": pa.array(labels), "other": ["x"] * len(labels)})


def write(root: Path) -> None:
    (root / "data").mkdir(parents=True, exist_ok=True)
    inside = [{"bytes": sound_bytes(path), "path": path} for path in PATHS]
    pq.write_table(table(inside, list(LABELS[:3])), root / FIRST)
    pq.write_table(table(["clips/99_1.wav"], [LABELS[3]]), root / SECOND)
    write_sound(root / "clips/99_1.wav")


def thin(root: Path) -> None:
    """Without sound, damage often hits what pyarrow must understand."""
    inside = [{"bytes": b"RIFF" + path.encode(), "path": path} for path in PATHS]
    pq.write_table(table(inside, list(LABELS[:3])), root / FIRST, compression="none")


COPIES = (
    Copy(
        "emonet_voice",
        write,
        said="""
            0a1b2c3d_1:Shame | - | - | weak strong
            0a1b2c3d_2:Impatience and Irritability | - | - | absent absent
            4e5f6071_1:Anger | - | - | strong strong
            99_1:Arousal | - | - | weak strong@1
        """,
        label_files=LABEL_FILES,
        thin=thin,
        examples=400,
        encoding=None,
        sound=("99_1:Arousal", "clips/99_1.wav"),
        sound_beside=False,
        absent="data/train-00000-of-00001.parquet",
        sound_field="audioId",
        partition=("kfold", "target_emotion"),
    ),
)
