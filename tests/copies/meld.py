"""A made-up MELD: three dialogues in three tables, sound converted from films."""

from __future__ import annotations

import csv
from pathlib import Path

from copies import Copy, Wrong
from copies.sound import write_sound

TABLES = ("train/train_sent_emo.csv", "dev_sent_emo.csv", "test_sent_emo.csv")
FOLDERS = ("train/train_splits", "dev_splits_complete", "output_repeated_splits_test")
HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
# Table -> utterance, speaker, emotion, sentiment, dialogue, turn
TURNS = (
    (
        ("also I was the point person.", "Chandler", "neutral", "neutral", 0, 0),
        ("You must\u2019ve had your hands full.", "The Interviewer", "surprise", "positive", 0, 1),
        ("That I did, \u201cthat\u201d I did.", "Chandler", "joy", "positive", 0, 2),
        ("No, no, no!", "Ross", "anger", "negative", 1, 3),
    ),
    (
        ("Oh my God, he\u2019s lost it.", "Phoebe", "sadness", "negative", 0, 0),
        ("What?", "Monica", "fear", "negative", 0, 1),
    ),
    (("Push!", "Joey", "disgust", "negative", 1, 1), ("Push 'em out!", "Chandler", "joy", "positive", 1, 2)),
)


def write(root: Path) -> None:
    for table, folder, turns in zip(TABLES, FOLDERS, TURNS, strict=True):
        (root / table).parent.mkdir(parents=True, exist_ok=True)
        with (root / table).open("w", newline="", encoding="utf-8") as handle:
            rows = [
                (number, *turn, 8, 21, f"00:16:{10 + number},059", f"00:16:{11 + number},731")
                for number, turn in enumerate(turns, 1)
            ]
            csv.writer(handle, lineterminator="\n").writerows([HEADER.split(","), *rows])
        for turn in turns:
            write_sound(root / folder / f"dia{turn[4]}_utt{turn[5]}.wav")


COPIES = (
    Copy(
        "meld",
        write,
        said="""
            train_dia0_utt0 | Chandler | train | neutral=1
            train_dia0_utt1 | The Interviewer | train | surprise=1
            train_dia0_utt2 | Chandler | train | happy=1
            train_dia1_utt3 | Ross | train | anger=1
            dev_dia0_utt0 | Phoebe | development | sad=1
            dev_dia0_utt1 | Monica | development | fear=1
            test_dia1_utt1 | Joey | test | disgust=1
            test_dia1_utt2 | Chandler | test | happy=1
        """,
        label_files=TABLES,
        columns={table: ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID") for table in TABLES},
        again=(TABLES[0], 5, 5),
        wrong=(
            Wrong(
                TABLES[0],
                "Ross,anger",
                "Ross,rage",
                "'rage' is none of anger, disgust",
                "Emotion",
                "train_dia1_utt3",
                reason="bad_votes",
            ),
            Wrong(TABLES[0], "negative,1,3", "negative,x,3", "'x' is not a number", "Dialogue_ID", "train_dia1_utt3"),
            Wrong(
                TABLES[0], "negative,1,3", "negative,1,3.0", "'3.0' is not a number", "Utterance_ID", "train_dia1_utt3"
            ),
            Wrong(TABLES[0], "negative,1,3,", "negative,1,", "10 fields and the header 11", None, "train_dia1_utt3"),
        ),
        examples=100,
        sound=("train_dia1_utt3", "train/train_splits/dia1_utt3.wav"),
        sound_field="Dialogue_ID",
        absent="train_sent_emo.csv or data/MELD/train_sent_emo.csv",
        partition=("official", "dialogue"),
        key=lambda name: name.split("_utt")[0].rpartition("dia")[2],
    ),
)
