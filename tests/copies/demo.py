"""A small folder like the demo corpus: three speakers, two clips each, one per split."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import soundfile

from copies import Copy
from emoprobe.data.corpora.demo import WORDS

# Utterance -> speaker, gender, split, words spoken, label of each rater in turn.
CLIPS = {
    "spk01_clear": ("spk01", "female", "train", "How dare you!", "anger anger disgust"),
    "spk01_blend": ("spk01", "female", "train", 'She said: "Go", and went.', "sad neutral"),
    "spk02_clear": ("spk02", "male", "development", "What a day.", "happy happy happy happy"),
    "spk02_mild": ("spk02", "male", "development", "The bus is late.", "neutral sad"),
    "spk03_clear": ("spk03", "female", "test", "Who is there?", "fear fear disgust"),
    "spk03_conflict": ("spk03", "female", "test", "I am so glad.", "happy sad sad"),
}
TRUTH = (0.5, 0.2, 0.1, 0.1, 0.1, 0.0)  # no label need be likely
LABEL_FILES = ("manifest.csv", "ratings.csv")
HEADER = (
    *("utterance_id", "path", "speaker", "gender", "voice", "split", "transcript", "kind", "intended_prosody"),
    *("blend_prosody", "blend_weight", "intended_wording", "strength"),
    *(f"votes_{word}" for word in WORDS),
    *(f"true_{word}" for word in WORDS),
    "num_raters",
)


def write(root: Path) -> None:
    """Write the copy below a folder."""
    (root / "audio").mkdir(parents=True, exist_ok=True)
    manifest: list[list[object]] = [list(HEADER)]
    ratings: list[list[object]] = [["utterance_id", "rater", "label"]]
    for number, (name, (speaker, gender, split, words, given)) in enumerate(CLIPS.items()):
        samples = np.random.default_rng(number).normal(0, 0.05, 3_200)
        soundfile.write(root / "audio" / f"{name}.flac", samples, 16_000)
        labels = given.split()
        facts = [name.split("_")[1], labels[0], labels[-1], "0.25", labels[0], "0.95"]
        counts = [labels.count(word) for word in WORDS]
        truth = [f"{share:.8f}" for share in TRUTH]
        who = [name, f"audio/{name}.flac", speaker, gender, "en-us+f1", split, words]
        manifest.append([*who, *facts, *counts, *truth, len(labels)])
        ratings += [[name, f"r{rater:02}", label] for rater, label in enumerate(labels, start=1)]
    for file, rows in (("manifest.csv", manifest), ("ratings.csv", ratings)):
        with (root / file).open("w", newline="", encoding="utf-8") as handle:
            csv.writer(handle, lineterminator="\n").writerows(rows)


COPIES = (
    Copy(
        "demo",
        write,
        said="""
            spk01_clear | spk01 | train | anger anger disgust
            spk01_blend | spk01 | train | sad neutral
            spk02_clear | spk02 | development | happy happy happy happy
            spk02_mild | spk02 | development | neutral sad
            spk03_clear | spk03 | test | fear fear disgust
            spk03_conflict | spk03 | test | happy sad sad
        """,
        label_files=LABEL_FILES,
        needed=LABEL_FILES,
        columns={LABEL_FILES[0]: HEADER, LABEL_FILES[1]: ("utterance_id", "rater", "label")},
        against={LABEL_FILES[0]: LABEL_FILES[1], LABEL_FILES[1]: LABEL_FILES[0]},
        again=(LABEL_FILES[0], 2, 2),
        path=(LABEL_FILES[0], "audio/spk02_mild.flac"),
        sound=("spk02_mild", "audio/spk02_mild.flac"),
        skips=False,
        place="dataset.reader.root",
        absent="manifest.csv",
        overrides=("dataset.split=all",),
        holds=lambda utterance: sum(utterance.votes.values()) == len(utterance.ratings),
    ),
)
