"""A made-up Emozionalmente: six clips by six actors, five answers to each (four to one), people and splits."""

from __future__ import annotations

import csv
from pathlib import Path

from copies import Copy, Wrong
from copies.sound import write_sound

CLIPS, RATINGS, PEOPLE = "metadata/samples.csv", "metadata/evaluations.csv", "metadata/users.csv"
# Clip -> actor, acted emotion, split, answers; rater i gives answer i.
SAID = {
    "1613655062436": ("ada", "neutrality", "train", "neutrality neutrality sadness neutrality joy"),
    "1613655062437": ("ada", "joy", "train", "joy joy joy joy joy"),
    "1616269438928": ("bo", "sadness", "train", "sadness fear fear neutrality"),
    "1616269438929": ("cleo", "anger", "dev", "anger anger disgust anger surprise"),
    "1616269438930": ("dan", "fear", "test", "fear sadness fear sadness disgust"),
    "1616269438931": ("eva", "surprise", "test", "surprise joy surprise surprise fear"),
}
SENTENCE = "Domani è un altro giorno"


def _table(file: Path, header: str, rows: list[tuple[object, ...]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle, lineterminator="\n").writerows([header.split(","), *rows])


def write(root: Path) -> None:
    clips = {name: (f"{name}.wav", SENTENCE, "italian", actor, acted) for name, (actor, acted, *_) in SAID.items()}
    header = "file_name,sentence,sentence_language,actor,emotion_expressed"
    _table(root / CLIPS, header, list(clips.values()))
    for split in ("train", "dev", "test"):
        rows = [clip for name, clip in clips.items() if SAID[name][2] == split]
        _table(root / "metadata" / "split" / f"{split}.csv", header, rows)
    # As people rated: by time, not by clip.
    ratings = [
        (f"{name}.wav", f"rater{number}", "bad" if number == 3 else "good", word)
        for number in range(1, 6)
        for name, (*_, answers) in SAID.items()
        for word in answers.split()[number - 1 : number]
    ]
    _table(root / RATINGS, "file_name,evaluator,audio_quality,emotion_recognized", ratings)
    people = [(actor, "f" if actor[-1] == "a" else "m", 30, "italian") for actor in ("ada", "bo", "cleo", "dan", "eva")]
    people += [(f"rater{number}", "f", 40 + number, "italian") for number in range(1, 6)]
    _table(root / PEOPLE, "username,gender,age,mother_tongue", people)
    for name in SAID:
        write_sound(root / "audio" / f"{name}.wav")


COPIES = (
    Copy(
        "emozionalmente",
        write,
        said="""
            1613655062436 | ada | train | neutral neutral sad neutral happy
            1613655062437 | ada | train | happy happy happy happy happy
            1616269438928 | bo | train | sad fear fear neutral
            1616269438929 | cleo | development | anger anger disgust anger surprise
            1616269438930 | dan | test | fear sad fear sad disgust
            1616269438931 | eva | test | surprise happy surprise surprise fear
        """,
        label_files=(CLIPS, RATINGS),
        needed=(CLIPS, RATINGS),
        examples=100,
        damaged=(CLIPS, RATINGS, PEOPLE, "metadata/split/train.csv"),
        columns={
            CLIPS: ("file_name", "sentence", "actor", "emotion_expressed"),
            RATINGS: ("file_name", "evaluator", "emotion_recognized"),
            PEOPLE: ("username", "gender", "age"),
        },
        against={CLIPS: RATINGS},  # ratings of a clip that is no longer listed
        again=(CLIPS, 2, 2),
        wrong=(
            Wrong(
                CLIPS,
                "ada,joy",
                "ada,bliss",
                "'bliss' is none of anger, disgust",
                "emotion_expressed",
                "1613655062437",
            ),
            Wrong(
                RATINGS,
                "1613655062437.wav,rater1,good,joy",
                "1613655062438.wav,rater1,good,joy",
                "a rating of '1613655062438', which is none of the clips",
                "file_name",
                "1613655062437",
                "happy happy happy happy",
                "unknown_clip",
            ),
            Wrong(
                RATINGS,
                "1613655062437.wav,rater1,good,joy",
                ",rater1,good,joy",
                "the field is empty",
                "file_name",
                "1613655062437",
                "happy happy happy happy",
            ),
            Wrong(PEOPLE, "ada,f,30", "ada,f,old", "'old' is not an age in years", "age", skips=False),
        ),
        other=(
            RATINGS,
            "rater1,good,sadness",
            "rater1,good,melancholy",
            "1616269438928 | bo | train | melancholy fear fear neutral",
        ),
        sound=("1616269438930", "audio/1616269438930.wav"),
        sound_field="file_name",
        absent=CLIPS,
        partition=("official", "speaker"),
    ),
)
