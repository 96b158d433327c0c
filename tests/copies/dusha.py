"""A made-up copy of Dusha: a crowd and a podcast part, as TSV and as JSONL."""

from __future__ import annotations

import json
from pathlib import Path

from copies import Copy, Wrong
from copies.sound import write_sound
from emoprobe.data.corpora.dusha import COLUMNS

TRAIN = "crowd_train/raw_crowd_train.tsv"
TEST = "crowd_test/raw_crowd_test.tsv"
PODCAST = "podcast_train/raw_podcast_train.jsonl"
LABEL_FILES = (TRAIN, PODCAST)


def vote(clip: str, emotion: str, annotator: str, source: str, *, said: str = "", acted: str = "", golden: str = ""):
    """A row: one annotator's vote."""
    path = f"wavs/{clip}.wav"
    return dict(zip(COLUMNS, (clip, path, "2.5", emotion, golden, said, acted, source, annotator), strict=True))


# The rows of a clip need not stand together, and quotes are letters like any other.
CROWD_TRAIN = (
    vote("a1", "angry", "w1", "s1", said='он сказал "нет', acted="angry"),
    vote("a1", "neutral", "w2", "s1", said='он сказал "нет', acted="angry"),
    vote("b2", "positive", "w1", "s2", said="да", acted="positive", golden="positive"),
    vote("a1", "angry", "w3", "s1", said='он сказал "нет', acted="angry"),
    vote("b2", "positive", "w1", "s2", said="да", acted="positive", golden="positive"),
    vote("b2", "sad", "", "s2"),
    vote("b2", "sad", "", "s2"),
    vote("c3", "sad", "w2", "s3", acted="sad"),
    vote("c3", "other", "w3", "s3", acted="sad"),
    vote("d4", "neutral", "w4", "s1", acted="neutral"),
)
CROWD_TEST = (vote("e5", "angry", "w1", "s4"), vote("f6", "sad", "w2", "s5"))
PODCASTS = (
    {**vote("g7", "neutral", "w1", ""), "duration": 3.25, "golden_emo": float("nan"), "source_id": 17.0},
    {**vote("g7", "positive", "w9", ""), "duration": 3.25, "golden_emo": None, "source_id": 17.0},
)


def tsv(rows: tuple[dict, ...]) -> str:
    return "".join("\t".join(map(str, row)) + "\n" for row in (COLUMNS, *(row.values() for row in rows)))


def jsonl(rows: tuple[dict, ...]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write(root: Path) -> None:
    for name, text in {TRAIN: tsv(CROWD_TRAIN), TEST: tsv(CROWD_TEST), PODCAST: jsonl(PODCASTS)}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    for name, rows in ((TRAIN, CROWD_TRAIN), (TEST, CROWD_TEST), (PODCAST, PODCASTS)):
        for path in {row["audio_path"] for row in rows}:
            write_sound((root / name).parent / path)


COPIES = (
    Copy(
        "dusha",
        write,
        said="""
            e5 | s4 | test | anger
            f6 | s5 | test | sad
            a1 | s1 | train | anger neutral anger
            b2 | s2 | train | happy happy@1 sad sad
            c3 | s3 | train | sad other
            d4 | s1 | train | neutral
            g7 | - | train | neutral happy
        """,
        label_files=(TRAIN, TEST, PODCAST),
        damaged=LABEL_FILES,
        columns={TRAIN: COLUMNS},
        # The clip has its other votes.
        wrong=tuple(
            Wrong(TRAIN, old, new, what, field, "a1", "neutral anger")
            for old, new, what, field in (
                ("a1\twavs", "\twavs", "the field is empty", "hash_id"),
                ("wavs/a1.wav", "", "the field is empty", "audio_path"),
                ("\t2.5\t", "\tlong\t", "'long' is not a number of seconds", "duration"),
                ("\t2.5\t", "\t-1\t", "'-1' is not a number of seconds", "duration"),
                ("\t2.5\t", "\t", "the row has 8 fields and the header 9", None),
            )
        ),
        other=(
            TRAIN,
            "2.5\tneutral\t\t\tneutral\ts1\tw4",
            "2.5\t Bored\t\t\tneutral\ts1\tw4",
            "d4 | s1 | train | bored",
        ),
        path=(TRAIN, "wavs/d4.wav"),
        sound=("c3", "crowd_train/wavs/c3.wav"),
        absent="crowd_train/raw_crowd_train.tsv",
        sound_field="audio_path",
        partition=("kfold", "source"),
    ),
)
