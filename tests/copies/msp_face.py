"""A made-up MSP-Face: five clips in the JSON files of its repository, with the sound that its script cuts."""

from __future__ import annotations

import json
from pathlib import Path

from copies import Copy
from copies.sound import write_sound

CONSENSUS, DETAILED = "Labels/label_consensus.json", "Labels/label_details.json"
PARTITION = "Doc/Partitions.txt"
LABEL_FILES = (CONSENSUS, DETAILED, PARTITION)
FACTS = ("EmoClass_Major", "EmoAct", "EmoDom", "EmoVal", "SpkrID", "Gender", "Split_Set")
CLIPS = (
    ("0263_0003", "C", "3.75", "4.583333333333333", "3.5", "261", "Male", "Train"),
    ("0253_0006", "H", "5.428571428571429", "5.0", "4.857142857142857", "27", "Female", "Train"),
    ("0001_0002", "X", "4", "4.5", "4.0", "264", "Male", "Validation"),
    ("0001_0005", "N", "3.5", "4.0", "4.0", "264", "Male", "Validation"),
    ("0490_0001", "U", "5.0", "4.0", "5.0", "98", "Male", "Test"),
)
VOTE = ("EmoClass_Major", "EmoClass_Second", "EmoAct", "EmoDom", "EmoVal")
RATINGS = (
    ((13, "Contempt", "Contempt,Annoyed", "4", "5", "3"), (2, "Angry", "Angry", "3.5", "4", "4")),
    ((13, "Happy", "Happy,Concerned,Excited", "6", "5", "5"), (1, "Happy", "Happy", "6", "6", "6")),
    ((1, "Sad", "Sad", "4", "4", "4"), (2, "Other-tired", "Other-tired,Sad", "4", "5", "4")),
    ((1, "Neutral", "", "3", "4", "4"), (2, "Neutral", "Neutral", "4", "4", "4")),
    ((13, "Surprise", "Surprise,Amused", "5", "5", "4"), (2, "Fear", "Fear", "5", "5", "4")),
)


def write(root: Path) -> None:
    """Label files, and the sound where download_segment_videos.py puts it, beside its video."""
    for folder in ("Labels", "Doc"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    consensus, detailed, partition = {}, {}, ""
    for (name, *facts), ratings in zip(CLIPS, RATINGS, strict=True):
        clip = f"MSP-FACE_{name}"
        consensus[f"{clip}.mp4"] = [dict(zip(FACTS, facts, strict=True))]
        votes = [{"Name": f"WORKER{who:07}"} | dict(zip(VOTE, vote, strict=True)) for who, *vote in ratings]
        detailed[f"{clip}.mp4"] = {"Workers": votes}
        partition += f"{facts[-1]}; {clip}.mp4\n"
        write_sound(root / "Segments" / clip / "Audio" / f"{clip}.wav")
        (root / "Segments" / clip / f"{clip}.mp4").write_bytes(b"video")
    (root / CONSENSUS).write_text(json.dumps(consensus, indent=4).replace("\n", "\r\n"))
    (root / DETAILED).write_text(json.dumps(detailed, indent=4))
    (root / PARTITION).write_text(partition)


COPIES = (
    Copy(
        "msp_face",
        write,
        said="""
            MSP-FACE_0263_0003 | 261 | train | contempt(contempt+annoyed) anger(anger)
            MSP-FACE_0253_0006 | 27 | train | happy(happy+concerned+excited) happy(happy)
            MSP-FACE_0001_0002 | 264 | development | sad(sad) other(other+sad)
            MSP-FACE_0001_0005 | 264 | development | neutral neutral(neutral)
            MSP-FACE_0490_0001 | 98 | test | surprise(surprise+amused) fear(fear)
        """,
        label_files=LABEL_FILES,
        needed=LABEL_FILES[:2],
        sound=("MSP-FACE_0253_0006", "Segments/MSP-FACE_0253_0006/Audio/MSP-FACE_0253_0006.wav"),
        absent="Labels/labels_consensus.csv or Labels/labels.txt",
        partition=("official", "speaker"),
        holds=lambda utterance: utterance.split in (None, "train", "development", "test"),
    ),
)
