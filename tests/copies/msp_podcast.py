"""A made-up MSP-Podcast: seven clips, one of them of withheld labels, in every generation of its label files."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import soundfile

from copies import Copy

GENERATIONS = {
    "columns": ("Labels/labels_consensus.csv", "Labels/labels_detailed.csv", "Partitions.txt"),
    "field": ("Labels/labels_concensus.csv", "Labels/labels_detailed.csv"),
    "json": ("Labels/labels_concensus.csv", "Labels/labels_detailed.json"),
    "json_nested": ("Labels/labels_consensus.csv", "Labels/labels_detailed.json"),
    "blocks": ("Labels.txt", "Partitions.txt"),
    "list_json": ("labels/labels_consensus.json", "labels/labels_detailed.csv", "Partitions.txt"),
    "places": ("label/labels_concensus.csv", "label/labels_detailed.json"),
}
LABEL_FILES = GENERATIONS["columns"]
NAMES = tuple(
    f"MSP-PODCAST_{number}.wav"
    for number in ("0001_0008", "0001_0019", "0023_0048", "0023_0051_0002", "0100_0001", "0200_0003", "test3_0001")
)
# Consensus, arousal, valence, dominance, speaker, gender, split; the last clip is test3's and in no label file.
FACTS = (
    ("N", "3.2", "4.4", "3.8", "127", "Male", "Train"),
    ("A", "5.6", "2.2", "5.4", "127", "Male", "Train"),
    ("X", "4", "4.25", "4", "Unknown", "Unknown", "Train"),
    ("H", "5", "5.8", "4.6", "31", "Female", "Development"),
    ("S", "2.4", "2.0", "2.6", "1404", "Female", "Test1"),
    ("O", "4.0", "3.6", "4.2", "77", "Male", "Test2"),
)
# Worker's number, primary and secondary words.
RATINGS = (
    ((1, "Neutral", "Neutral,Concerned"), (2, "Neutral", ""), (3, "Happy", "Happy,Amused"), (4, "Neutral", "Neutral")),
    (
        (1, "Angry", "Angry,Annoyed,Frustrated"),
        (2, "Angry", "Angry"),
        (1, "Contempt", "Contempt"),
        (5, "Other-sarcastic, cold", "Dissapointed,Other-cold, hard"),
    ),
    ((1, "Sad", "Sad,Depressed"), (2, "Surprise", "Surprise,Confused"), (6, "Fear", "Fear"), (7, "Disgust", "Disgust")),
    ((2, "Happy", "Happy,Excited"), (3, "Happy", "Happy"), (6, "Neutral", "Neutral"), (7, "Happy", "Happy,Other")),
    ((3, "Sad", "Sad,Disappointed"), (4, "Sad", "Sad"), (5, "Neutral", "Neutral,Sad")),
    ((4, "Other-Curious", "Other-Curious,Amused"), (5, "Other", ""), (6, "Neutral", "Neutral")),
)


def worker(number: int) -> str:
    return f"WORKER{number:08d}"


def _table(file: Path, header: list[str], rows: list[list[str]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _line(*fields: str) -> str:
    return "; ".join(field for field in fields if field) + "; A:3.000000; V:4.000000; D:3.000000;"


def write_labels(root: Path, generation: str = "columns") -> None:
    """The label files of one generation."""
    listing, *rest = GENERATIONS[generation]
    for folder in ((root / listing).parent, *([root / "Labels"] if generation == "blocks" else [])):
        folder.mkdir(parents=True, exist_ok=True)
    if generation == "list_json":
        keys = ("EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set")
        clips = {name: dict(zip(keys, facts, strict=True)) for name, facts in zip(NAMES, FACTS, strict=False)}
        (root / listing).write_text(json.dumps(clips, indent=1))
    elif generation == "places":
        rows = [",".join((name, *facts)) for name, facts in zip(NAMES, FACTS, strict=False)]
        (root / listing).write_text("\n".join(rows) + "\n")
    elif generation != "blocks":
        header = ["FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set"]
        rows = [[name, *facts] for name, facts in zip(NAMES, FACTS, strict=False)]
        if generation == "field":
            rows = [[*row[:-1], row[-1].replace("Development", "Validation")] for row in rows]
        _table(root / listing, header, rows)
    flat = [(name, *rating) for name, ratings in zip(NAMES, RATINGS, strict=False) for rating in ratings]
    votes = {"EmoAct": "3", "EmoVal": "4", "EmoDom": "3"}
    if generation in ("columns", "list_json"):
        header = ["FileName", "WorkerID", "EmoClass_Major", "EmoClass_Second", *votes]
        rows = [[name, worker(who), main, beside, *votes.values()] for name, who, main, beside in flat]
        _table(root / rest[0], header, rows)
    elif generation == "field":
        rows = [[name, _line(worker(who), main, beside)] for name, who, main, beside in flat]
        _table(root / rest[0], ["FileName", "EmoDetail"], rows)
    elif generation == "blocks":
        lines = []
        for name, facts, ratings in zip(NAMES, FACTS, RATINGS, strict=False):
            lines.append(f"{name}; {facts[0]}; A:{facts[1]}; V:{facts[2]}; D:{facts[3]}; ")
            lines += [_line(worker(who), main, beside) + " " for who, main, beside in ratings]
            lines.append("")
        (root / listing).write_text("\n".join(lines) + "\n")
    else:
        clips = []
        for name, ratings in zip(NAMES, RATINGS, strict=False):
            values = [{"EmoClass_Major": main, "EmoClass_Second": beside, **votes} for _, main, beside in ratings]
            if generation == "json_nested":
                whole = [{"Name": worker(who)} | value for (who, _, _), value in zip(ratings, values, strict=True)]
                clips.append(f"{json.dumps(name)}: {json.dumps({'Workers': whole}, indent=1)}")
            else:
                # By hand, because a worker who rated twice makes a key that is there twice.
                pairs = [
                    f"{json.dumps(worker(who))}: {json.dumps(value)}"
                    for (who, _, _), value in zip(ratings, values, strict=True)
                ]
                clips.append(f"{json.dumps(name)}: {{{', '.join(pairs)}}}")
        (root / rest[0]).write_text("{" + ",\n".join(clips) + "}")
    if "Partitions.txt" in rest:
        splits = [*(facts[-1] for facts in FACTS), "Test3"]
        lines = [f"{split}; {name}" for split, name in zip(splits, NAMES, strict=True)]
        (root / "Partitions.txt").write_text("\n".join(lines) + "\n")


def write(root: Path, generation: str = "columns") -> None:
    """Label files, sound and transcripts."""
    write_labels(root, generation)
    for folder in ("Audios", "Transcripts"):
        (root / folder).mkdir(exist_ok=True)
    for number, name in enumerate(NAMES):
        noise = np.random.default_rng(number).normal(0, 0.1, 3200)
        soundfile.write(root / "Audios" / name, noise, 16_000)
        if number < 3:
            (root / "Transcripts" / name.replace(".wav", ".txt")).write_text(f" Words of clip {number}.\n")


SAID = """
    0001_0008 | 127 | train | neutral(neutral+concerned) neutral happy(happy+amused) neutral(neutral)
    0001_0019 | 127 | train | anger(anger+annoyed+frustration) anger(anger) contempt(contempt)@1 \
other(disappointed+other)
    0023_0048 | - | train | sad(sad+depressed) surprise(surprise+confused) fear(fear) disgust(disgust)
    0023_0051_0002 | 31 | development | happy(happy+excited) happy(happy) neutral(neutral) happy(happy+other)
    0100_0001 | 1404 | test1 | sad(sad+disappointed) sad(sad) neutral(neutral+sad)
    0200_0003 | 77 | test2 | other(other+amused) other neutral(neutral)
    test3_0001 | - | test3 |
"""
COLUMNS = {
    "listing": ("FileName", "EmoClass", "SpkrID", "Split_Set"),
    "columns": ("FileName", "EmoClass_Major", "EmoClass_Second"),
    "list_json": ("FileName", "EmoClass_Major", "EmoClass_Second"),
    "field": ("FileName",),
}


def _copy(generation: str) -> Copy:
    listing, *rest = GENERATIONS[generation]
    blocks = generation == "blocks"
    said = [f"MSP-PODCAST_{line.strip()}" for line in SAID.strip().split("\n")]
    if "Partitions.txt" not in rest:
        said = said[:-1]  # the clip of test3 is in the partition alone
    if blocks:
        said = [re.sub(r" \| .*? \|", " | - |", line, count=1) for line in said]  # their file names no speakers
    columns = {} if generation in ("blocks", "list_json", "places") else {listing: COLUMNS["listing"]}
    return Copy(
        "msp_podcast",
        lambda root: write(root, generation),
        said="\n".join(said),
        variant=generation,
        label_files=GENERATIONS[generation],
        needed=(listing,) if blocks else (listing, rest[0]),
        any_bytes=(listing,) if blocks else (rest[0],) if rest[0].endswith("csv") else (),
        columns=columns | ({rest[0]: COLUMNS[generation]} if generation in COLUMNS else {}),
        again=None if generation == "list_json" else (listing, 1, 6) if blocks else (listing, 2, 2),
        sound=(Path(NAMES[0]).stem, f"Audios/{NAMES[0]}"),
        absent="Labels/labels_consensus.csv or Labels/labels.txt",
        partition=("official", "speaker"),
        key=lambda name: "WORKER" if blocks and "test3" not in name else name,  # a clip's first rating
        holds=lambda utterance: utterance.split in (None, "train", "development", "test1", "test2", "test3"),
    )


COPIES = tuple(map(_copy, GENERATIONS))
