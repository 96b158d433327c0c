"""Dusha (Kondratenko et al. 2022): Russian speech with every annotator's vote."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.reading.fields import known, words
from emoprobe.data.reading.files import RESTORE, Harvest, RowError, SoundFolder, json_lines, open_root, text_lines
from emoprobe.data.utterance import Corpus, CorpusCard, Rating, Total, Utterance
from emoprobe.errors import InputError

WORDS = {"angry": "anger", "sad": "sad", "neutral": "neutral", "positive": "happy", "other": "other"}
CARD = CorpusCard(
    name="dusha",
    title="Dusha",
    synthetic=False,
    licence="its own licence; see the repository",
    access="https://github.com/salute-developers/golos/tree/master/dusha (crowd.tar; podcast.tar has no sound)",
    citation="Kondratenko, Sokolov, Karpov, Kutuzov, Savushkin, Minkin: Large Raw Emotional Dataset with Aggregation "
    "Mechanism. arXiv:2212.12266, 2022",
    raters="crowd workers with ids; several votes per clip, among anger, sad, neutral, happy (positive) and other",
    notes="Stated sizes: 201,850 clips of the crowd part (acted), 102,113 of the podcast part. Clips with a golden "
    "label were control questions for the annotators; its authors leave them out of their experiments, as "
    "dataset.keep.golden=none does. The authors aggregate the votes by Dawid-Skene; here they are counted. Who speaks "
    "in a podcast is unknown.",
    label_sets=("basic4",),
    words=tuple(WORDS.values()),
    splits="train and test of each part (crowd, podcast); no development part",
)
COLUMNS = (
    "hash_id",
    "audio_path",
    "duration",
    "annotator_emo",
    "golden_emo",
    "speaker_text",
    "speaker_emo",
    "source_id",
    "annotator_id",
)
_TABLE = re.compile(r"raw_(\w+)\.(tsv|jsonl)", re.ASCII | re.IGNORECASE)
_DEPTH = 2  # folders between the root and a table, as in crowd/crowd_train/raw_crowd_train.tsv
_NUMBER = re.compile(r"\d{1,9}(\.\d{1,20})?([eE]-?\d{1,2})?", re.ASCII)


def _part(domain: str, expected: int) -> Total:
    """Clips of one part; None where it was not read."""

    def count(corpus: Corpus) -> int | None:
        return sum(clip.metadata["domain"] == domain for clip in corpus.utterances) or None

    return Total(f"{domain} clips", expected, count, "Kondratenko et al. 2022")


TOTALS = (_part("crowd", 201_850), _part("podcast", 102_113))


@register("dusha", CARD, TOTALS)
def read_dusha(
    root: str | Path,
    subsets: Sequence[str] | str | None = None,
    on_error: Literal["error", "skip"] = "error",
) -> Corpus:
    """Read the tables of single votes, ``raw_<subset>.tsv`` or ``.jsonl``; sound is not decoded and may be missing.

    Args:
        root: Folder that holds the tables, itself or in the subsets' folders.
        subsets: Some of ``crowd_train``, ``crowd_test``, ``podcast_train``, ``podcast_test``; all that are there if
            None.
        on_error: ``error``, or ``skip`` to list bad rows and go on; the other votes of such a clip count.

    Returns:
        Corpus in the tables' order, one utterance per clip with its annotators' ratings; splits ``train`` and ``test``.
        ``metadata`` holds domain (``crowd``, ``podcast``), source, duration (seconds), acted_emotion, and golden, the
        right answer where the clip was a control question.

    Raises:
        InputError: The folder is not Dusha, a file is damaged, or a row is malformed.
    """
    harvest = Harvest(CARD, on_error)
    tables = _tables(open_root(root, CARD), subsets)
    votes = _Votes()
    for subset, file in tables.items():
        votes.open(subset, file)
        for row, fields in _rows(file):
            name = "" if isinstance(fields, RowError) else fields["hash_id"]
            with harvest.row(name):
                if isinstance(fields, RowError):
                    raise fields
                votes.add(row, fields)
    sounds = {file: SoundFolder(file.parent) for file in tables.values()}
    for name, clip in votes.clips.items():
        with harvest.row(name):
            harvest.add(clip.utterance(name, sounds[clip.table]))
    return harvest.corpus(next(iter(tables.values())))


def _tables(root: Path, subsets: Sequence[str] | str | None) -> dict[str, Path]:
    """Subset -> its table."""
    found: dict[str, Path] = {}
    for subset, file in _below(root, _DEPTH):
        before = found.setdefault(subset.lower(), file)
        if before.parent != file.parent:
            raise InputError(
                f"the table of {subset} is there twice, also as {before}",
                file=file,
                field="dataset.root",
                remedy="Give the folder that holds one of them, or remove the other.",
            )
        # Both forms hold the same votes.
        if file.suffix.lower() == ".tsv":
            found[subset.lower()] = file
    if not found:
        open_root(root, CARD, "crowd_train/raw_crowd_train.tsv", "crowd_train/raw_crowd_train.jsonl")
    if subsets is None:
        return dict(sorted(found.items()))
    asked = [subsets] if isinstance(subsets, str) else list(subsets)
    chosen = {}
    for name in asked:
        if str(name).strip().lower() not in found:
            raise InputError(
                f"there is no table of {name!r:.80}",
                file=root,
                field="dataset.subsets",
                remedy=f"Use some of {', '.join(sorted(found))}.",
            )
        chosen[str(name).strip().lower()] = found[str(name).strip().lower()]
    if not chosen:
        raise InputError(
            "no subset is chosen", field="dataset.subsets", remedy=f"Use some of {', '.join(sorted(found))}, or null."
        )
    return chosen


def _below(folder: Path, depth: int) -> Iterator[tuple[str, Path]]:
    """Subset and table, of those in a folder and its subfolders."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (OSError, ValueError):
        return
    for entry in entries:
        table = _TABLE.fullmatch(entry.name)
        if table and entry.is_file():
            yield table[1], folder / entry.name
        elif depth and entry.is_dir():
            yield from _below(folder / entry.name, depth - 1)


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str] | RowError]]:
    """``(row number, text by column)``; nothing is quoted in the TSV tables."""
    if file.suffix.lower() == ".jsonl":
        for row, value in json_lines(file):
            yield row, value if isinstance(value, RowError) else _texts(file, row, value)
        return
    header: list[str] = []
    for row, line in text_lines(file):
        if not header:
            header = [name.strip() for name in line.split("\t")]
            for name in COLUMNS:
                if header.count(name) != 1:
                    what = f"the column {name!r} " + ("occurs twice" if name in header else "is missing")
                    raise InputError(what, file=file, row=row, field=name, remedy=f"{RESTORE}.")
            continue
        values = line.split("\t")
        if len(values) == len(header):
            yield row, dict(zip(header, values, strict=True))
        elif line.strip():
            what = f"the row has {len(values)} fields and the header {len(header)}"
            yield row, RowError(what, file=file, row=row)
    if not header:
        raise InputError("the file is empty", file=file, remedy=f"{RESTORE}.")


def _texts(file: Path, row: int, value: Mapping[str, object]) -> dict[str, str] | RowError:
    """The values of a JSON object as a TSV table would have them."""
    texts = {}
    for name in COLUMNS:
        found = value.get(name)
        if found is None or found != found:  # null, or NaN as pandas writes it
            texts[name] = ""
        elif isinstance(found, str):
            texts[name] = found
        elif isinstance(found, (int, float)) and not isinstance(found, bool):
            # An integer beyond any id or duration would take its time to be written out.
            small = -(10**15) < found < 10**15
            whole = small and isinstance(found, float) and found.is_integer() and name != "duration"
            texts[name] = json.dumps(int(found) if whole else found) if small else "?"
        else:
            return RowError(f"{found!r:.80} is not text", file=file, row=row, field=name)
    return texts


@dataclass(slots=True)
class _Clip:
    """What the rows of one clip say."""

    subset: str
    table: Path
    row: int  # its first
    audio: str
    facts: dict[str, str | float]
    transcript: str | None
    ratings: list[Rating] = field(default_factory=list)

    def utterance(self, name: str, sounds: SoundFolder) -> Utterance:
        domain, _, split = self.subset.partition("_")
        return Utterance(
            id=name,
            audio=sounds.find(self.audio, file=self.table, row=self.row, field="audio_path"),
            ratings=tuple(self.ratings),
            speaker=str(self.facts["source"]) if domain == "crowd" and "source" in self.facts else None,
            split=split if split in ("train", "test") else None,
            transcript=self.transcript,
            metadata=self.facts,
            file=self.table,
            row=self.row,
        )


@dataclass
class _Votes:
    """Gathers votes by clip; the rows of one clip may stand anywhere in their table."""

    clips: dict[str, _Clip] = field(default_factory=dict)
    # An annotator has a handful of different ratings, whose objects all clips share.
    _ratings: dict[tuple[str, str], Rating] = field(default_factory=dict)
    _subset: str = ""
    _table: Path = field(default_factory=Path)

    def open(self, subset: str, table: Path) -> None:
        self._subset, self._table = subset, table

    def add(self, row: int, fields: Mapping[str, str]) -> None:
        table = self._table
        name = fields["hash_id"].strip()
        audio = fields["audio_path"].strip()
        for column, text in (("hash_id", name), ("audio_path", audio)):
            if not text:
                raise RowError("the field is empty", file=table, row=row, field=column)
        clip = self.clips.get(name)
        if clip is None:
            clip = self.clips[name] = self._clip(row, audio, fields)
        elif clip.table != table:
            what = f"clip {name!r:.80} is in {clip.table.name} too"
            raise RowError(what, file=table, row=row, field="hash_id", reason="duplicate_id")
        elif clip.audio != audio:
            what = f"the path {audio!r:.200} of clip {name!r:.80} is {clip.audio!r:.200} in row {clip.row}"
            raise RowError(what, file=table, row=row, field="audio_path")
        vote = _word(fields["annotator_emo"])
        if not vote:
            return
        annotator = known(fields["annotator_id"])
        if annotator:
            key = (annotator, vote)
            rating = self._ratings.get(key)
            if rating is None:
                rating = self._ratings[key] = Rating(sys.intern(annotator), (vote,))
            elif any(rating is before for before in clip.ratings):
                # Within a clip every rating is an object of its own: that is how the policy tells repeated ones apart.
                rating = Rating(*rating)
        else:
            # An unknown annotator may not be taken for the same person in two votes.
            rating = Rating(f"{name}#{len(clip.ratings) + 1}", (vote,))
        clip.ratings.append(rating)

    def _clip(self, row: int, audio: str, fields: Mapping[str, str]) -> _Clip:
        domain = self._subset.partition("_")[0]
        facts: dict[str, str | float] = {"domain": sys.intern(domain)}
        duration = fields["duration"].strip()
        if duration:
            if not _NUMBER.fullmatch(duration):
                what = f"{duration!r:.80} is not a number of seconds"
                raise RowError(what, file=self._table, row=row, field="duration")
            facts["duration"] = float(duration)
        if source := known(fields["source_id"]):
            facts["source"] = sys.intern(source)
        for column, fact in (("speaker_emo", "acted_emotion"), ("golden_emo", "golden")):
            if known(fields[column]):
                facts[fact] = _word(fields[column])
        transcript = words(fields["speaker_text"])
        return _Clip(self._subset, self._table, row, audio, facts, transcript)


def _word(text: str) -> str:
    word = text.strip().lower()
    return WORDS.get(word) or sys.intern(word)
