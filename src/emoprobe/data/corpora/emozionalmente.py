"""Emozionalmente (Catania et al. 2025): Italian, acted, and what five listeners heard in every clip."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

from emoprobe.data.corpora import register
from emoprobe.data.reading.collection import list_names
from emoprobe.data.reading.fields import emotion_word, known, words
from emoprobe.data.reading.files import RESTORE, Harvest, RowError, SoundFolder, open_root, table_rows, whole
from emoprobe.data.reading.ratings import RatingColumns, Ratings, join
from emoprobe.data.utterance import Corpus, CorpusCard, Total, Utterance
from emoprobe.errors import InputError

Facts: TypeAlias = dict[str, str | float]
WORDS = {
    "anger": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "joy": "happy",
    "neutrality": "neutral",
    "sadness": "sad",
    "surprise": "surprise",
}
CARD = CorpusCard(
    name="emozionalmente",
    title="Emozionalmente",
    synthetic=False,
    licence="CC BY 4.0",
    access="https://zenodo.org/records/12616095",
    citation="Catania, Wilke, Garzotto: Emozionalmente: A Crowdsourced Corpus of Simulated Emotional Speech in "
    "Italian. IEEE Transactions on Audio, Speech and Language Processing 33, 1142-1155, 2025. "
    "doi:10.1109/TASLPRO.2025.3540662",
    raters="829 crowd raters with ids; five a clip heard it and chose one of seven emotions",
    notes="Italian, 18 sentences by 431 amateurs, most on their own devices. The votes are what listeners heard; what "
    "was acted is a fact (acted_emotion). Raters also said whether the sound is good: audio_quality is the share who "
    "did. The files' columns are those of version 1.1 as three public readers of it name them.",
    label_sets=("ekman7",),
    words=tuple(WORDS.values()),
    splits="train, dev (development) and test, which share no speaker (version 1.1)",
)
CLIPS_FILE = Path("metadata") / "samples.csv"
RATINGS_FILE = Path("metadata") / "evaluations.csv"
PEOPLE_FILE = Path("metadata") / "users.csv"
SPLITS_FOLDER = Path("metadata") / "split"
_SPLITS = {"train": "train", "dev": "development", "test": "test"}
_COLUMNS = RatingColumns(
    clip="file_name",
    rater="evaluator",
    label="emotion_recognized",
    separators="",
    word=lambda text: _word(text),
    clip_id=lambda name: os.path.splitext(name.strip())[0],
)
_OPTIONAL = f"{RESTORE}, or remove it: it is optional."


def _acted(word: str) -> Total:
    def count(corpus: Corpus) -> int:
        return sum(clip.metadata["acted_emotion"] == word for clip in corpus.utterances)

    return Total(f"clips acted as {word}", 986, count, "the released samples.csv, as EmoBox counts it")


TOTALS = (
    Total("clips", 6902, lambda corpus: len(corpus.utterances), "Catania et al. 2025"),
    Total("actors", 431, lambda corpus: len({clip.speaker for clip in corpus.utterances}), "Catania et al. 2025"),
    Total(
        "raters",
        829,
        lambda corpus: len({rating.rater for clip in corpus.utterances for rating in clip.ratings}),
        "Catania et al. 2025",
    ),
    *map(_acted, CARD.words),
)


@register("emozionalmente", CARD, TOTALS)
def read_emozionalmente(root: str | Path, on_error: Literal["error", "skip"] = "error") -> Corpus:
    """Read the tables of clips, ratings and people, and the splits where they are; sound may be missing.

    Args:
        root: Folder with ``metadata/`` and ``audio/``, or one that holds such a folder.
        on_error: ``error``, or ``skip`` to list bad rows and go on.

    Returns:
        Corpus in the order of ``samples.csv``, with the raters' answers; splits ``train``, ``development``, ``test``.
        ``metadata`` holds acted_emotion, audio_quality (share of raters who found the sound good) and, of known actors,
        gender, age (years) and mother_tongue.

    Raises:
        InputError: The folder is not Emozionalmente, or a row is malformed.
    """
    harvest = Harvest(CARD, on_error)
    top = _top(open_root(root, CARD))
    table, ratings = top / CLIPS_FILE, Ratings(top / RATINGS_FILE, _COLUMNS)
    people, splits = _people(top / PEOPLE_FILE), _splits(top / SPLITS_FOLDER)
    good: Counter[str] = Counter()
    ratings.read(_heard(ratings.file, good), harvest)
    sounds = SoundFolder(top / "audio")
    clips = []
    for row, cells in table_rows(table, ("file_name", "sentence", "actor", "emotion_expressed")):
        with harvest.row("" if isinstance(cells, RowError) else _COLUMNS.clip_id(cells["file_name"])):
            if isinstance(cells, RowError):
                raise cells
            clip = _clip(table, row, cells, sounds, people)
            given = len(ratings.of.get(clip.id, ()))
            facts = {"audio_quality": good[clip.id] / given} if given else {}
            clips.append(replace(clip, split=splits.get(clip.id), metadata={**clip.metadata, **facts}))
    join(clips, ratings, harvest)
    return harvest.corpus(table)


def _top(root: Path) -> Path:
    """The folder that holds ``metadata/``: the root, or one folder in it."""
    for folder in (root, *(root / name for name in list_names(root))):
        if os.path.isfile(folder / CLIPS_FILE):
            return folder
    return open_root(root, CARD, str(CLIPS_FILE))


def _word(text: str) -> str:
    word = emotion_word(text)
    return WORDS.get(word.lower(), word)


def _heard(file: Path, good: Counter[str]) -> Iterator[tuple[int, Mapping[str, str] | RowError]]:
    """The rows of the ratings; counts by clip whose raters found the sound good."""
    for row, cells in table_rows(file, ("file_name", "evaluator", "emotion_recognized")):
        if not isinstance(cells, RowError) and cells.get("audio_quality", "").strip().lower() == "good":
            good[_COLUMNS.clip_id(cells["file_name"])] += 1
        yield row, cells


def _clip(
    table: Path,
    row: int,
    cells: Mapping[str, str],
    sounds: SoundFolder,
    people: Mapping[str, Mapping[str, str | float]],
) -> Utterance:
    name = cells["file_name"].strip()
    if not name:
        raise RowError("the field is empty", file=table, row=row, field="file_name")
    acted = cells["emotion_expressed"].strip().lower()
    if acted not in WORDS:
        what = f"{cells['emotion_expressed']!r:.80} is none of {', '.join(WORDS)}"
        raise RowError(what, file=table, row=row, field="emotion_expressed")
    actor = known(cells["actor"])
    return Utterance(
        id=_COLUMNS.clip_id(name),
        audio=sounds.find(name, file=table, row=row, field="file_name"),
        speaker=actor and sys.intern(actor),
        transcript=words(cells["sentence"]),
        metadata={"acted_emotion": WORDS[acted], **(people.get(actor, {}) if actor else {})},
        file=table,
        row=row,
    )


def _people(file: Path) -> dict[str, Facts]:
    """User -> gender, age, mother tongue, as far as they are known; nothing where the file is absent."""
    if not os.path.isfile(file):
        return {}
    people = {}
    for row, cells in whole(table_rows(file, ("username", "gender", "age"), remedy=_OPTIONAL, row_remedy=_OPTIONAL)):
        facts: Facts = {}
        for column in ("gender", "mother_tongue"):
            fact = known(cells.get(column, ""))
            if fact is not None:
                facts[column] = sys.intern(fact.lower())
        age = known(cells["age"])
        if age is not None:
            facts["age"] = _age(age, file, row)
        people[cells["username"].strip()] = facts
    return people


def _age(text: str, file: Path, row: int) -> float:
    try:
        age = float(text)
    except ValueError:
        age = -1.0
    if not 0 < age < 130:
        raise InputError(f"{text!r:.80} is not an age in years", file=file, row=row, field="age", remedy=_OPTIONAL)
    return age


def _splits(folder: Path) -> dict[str, str]:
    """Clip -> its split; nothing where the folder is absent."""
    splits: dict[str, str] = {}
    for name in list_names(folder):
        stem, suffix = os.path.splitext(name.lower())
        if suffix != ".csv" or stem not in _SPLITS:
            continue
        for row, cells in whole(table_rows(folder / name, ("file_name",), remedy=_OPTIONAL, row_remedy=_OPTIONAL)):
            clip, split = _COLUMNS.clip_id(cells["file_name"]), _SPLITS[stem]
            if splits.setdefault(clip, split) != split:
                what = f"clip {clip!r:.80} is in {splits[clip]} too"
                raise InputError(what, file=folder / name, row=row, field="file_name", remedy=_OPTIONAL)
    return splits
