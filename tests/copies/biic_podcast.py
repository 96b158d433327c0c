"""A made-up BIIC-Podcast: six clips with the ratings of students, in the files of MSP-Podcast."""

from __future__ import annotations

from pathlib import Path

from copies import Copy, Wrong
from copies.sound import write_sound

CONSENSUS, DETAILED = "Labels/labels_consensus.csv", "Labels/labels_detailed.csv"
LABEL_FILES = (CONSENSUS, DETAILED)
CLIPS = (
    ("1000_0321_0003", "H", "5.0", "5.333333", "4.666667", "Unknown", "Female", "Train"),
    ("1000_0321_0004", "N", "3.0", "4.0", "4.0", "Unknown", "Male", "Train"),
    ("1001_0007", "S", "2.5", "2.0", "3.0", "12.0", "Unknown", "Development"),
    ("1001_0011", "X", "4.0", "3.5", "4.5", "12", "Male", "Development"),
    ("1002_0001", "A", "6.0", "1.5", "6.0", "3", "Female", "Test"),
    ("1002_0002", "O", "4.0", "4.0", "4.0", "3", "Female", "Test"),
)
RATINGS = (
    (("S01", "Happy", "Happy,Excited", 5, 6, 5), ("S02", "Happy", "Happy", 5, 5, 4), ("S03", "Neutral", "", 5, 5, 5)),
    (("S01", "Neutral", "Neutral,Concerned", 3, 4, 4), ("S04", "Neutral", "Neutral", 3, 4, 4)),
    (("S02", "Sad", "Sad,Disappointed", 2, 2, 3), ("S03", "Sad", "Sad,Depressed", 3, 2, 3)),
    (("S01", "Angry", "Angry,Annoyed", 5, 3, 5), ("S02", "Contempt", "Contempt", 3, 4, 4)),
    (("S03", "Angry", "Angry,Frustrated", 6, 1, 6), ("S04", "Angry", "Angry", 6, 2, 6)),
    (("S01", "Other-\u7121\u5948", "Other-\u7121\u5948", 4, 4, 4), ("S04", "Surprise", "Surprise,Confused", 4, 4, 4)),
)


def write(root: Path) -> None:
    """Label files and sound."""
    (root / "Labels").mkdir(parents=True)
    text = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
    detailed = "FileName,WorkerID,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom\n"
    for (name, *facts), ratings in zip(CLIPS, RATINGS, strict=True):
        text += f"BIIC-PODCAST_{name}.wav,{','.join(facts)}\n"
        for who, main, beside, *numbers in ratings:
            given = ",".join(map(str, numbers))
            detailed += f'BIIC-PODCAST_{name}.wav,{who},{main},"{beside}",{given}\n'
        write_sound(root / "Audios" / f"BIIC-PODCAST_{name}.wav")
    (root / CONSENSUS).write_text(text)
    (root / DETAILED).write_text(detailed)


FIRST = "BIIC-PODCAST_1000_0321_0003"
COPIES = (
    Copy(
        "biic_podcast",
        write,
        said="""
            BIIC-PODCAST_1000_0321_0003 | - | train | happy(happy+excited) happy(happy) neutral
            BIIC-PODCAST_1000_0321_0004 | - | train | neutral(neutral+concerned) neutral(neutral)
            BIIC-PODCAST_1001_0007 | 12 | development | sad(sad+disappointed) sad(sad+depressed)
            BIIC-PODCAST_1001_0011 | 12 | development | anger(anger+annoyed) contempt(contempt)
            BIIC-PODCAST_1002_0001 | 3 | test | anger(anger+frustration) anger(anger)
            BIIC-PODCAST_1002_0002 | 3 | test | other(other) surprise(surprise+confused)
        """,
        label_files=LABEL_FILES,
        needed=LABEL_FILES,
        any_bytes=(DETAILED,),
        columns={
            CONSENSUS: ("FileName", "EmoClass", "SpkrID", "Split_Set"),
            DETAILED: ("FileName", "EmoClass_Major", "EmoClass_Second"),
        },
        again=(CONSENSUS, 2, 2),
        wrong=tuple(
            Wrong(file, old, new, what, field, FIRST)
            for file, old, new, what, field in (
                (CONSENSUS, ",Train", ",Test1", "'Test1' is none of train, development, test", "Split_Set"),
                (CONSENSUS, ",5.0,", ",0.5,", "'0.5' is not a number from 1 to 7", "arousal"),
                (DETAILED, ",5,6,5", ",5,9,5", "'9' is not a number from 1 to 7", "valence"),
                (DETAILED, "S01", "unknown", "'unknown' is not the id of a worker", "WorkerID"),
            )
        ),
        sound=(FIRST, f"Audios/{FIRST}.wav"),
        absent="Labels/labels_consensus.csv or Labels/labels.txt",
        partition=("official", "speaker"),
        holds=lambda utterance: utterance.split in (None, "train", "development", "test"),
    ),
)
