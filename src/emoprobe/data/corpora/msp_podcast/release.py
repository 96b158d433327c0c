"""The clips of a release of MSP-Podcast, or of a corpus of its kind, as its tables tell of them one after the other."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from emoprobe.data.corpora.msp_podcast.card import CONSENSUS, DIMENSIONS, SCALE
from emoprobe.data.reading.fields import known
from emoprobe.data.reading.files import RESTORE, Harvest, RowError, text_lines
from emoprobe.data.utterance import NOTHING, CorpusCard, Numbers, Rating
from emoprobe.errors import InputError

_NUMBER = re.compile(r"\d(?:\.\d{1,20})?", re.ASCII)
SKIP_CLIP = f"{RESTORE}, or leave the clip out: dataset.on_error=skip."


@dataclass(frozen=True)
class Family:
    """What corpora with the files of MSP-Podcast differ in.

    Args:
        card: Of the corpus.
        splits: Its splits in lower case -> ours.
        suffixes: Of the clips' names in its tables.
        folders: Where its sound lies, anywhere below; the first that is there.
    """

    card: CorpusCard
    splits: Mapping[str, str]
    suffixes: tuple[str, ...] = ("wav", "flac")
    folders: tuple[str, ...] = ("Audios", "Audio")

    @property
    def clip_name(self) -> re.Pattern[str]:
        """Matches the name of a clip; its group is the id."""
        suffixes = "|".join(self.suffixes)
        return re.compile(rf"([A-Z0-9][\w.-]{{0,199}})\.(?:{suffixes})", re.ASCII | re.IGNORECASE)


@dataclass(slots=True)
class Clip:
    """What is known of a clip so far."""

    name: str
    file: Path
    row: int | None
    split: str | None = None
    speaker: str | None = None
    metadata: dict[str, str | float] = field(default_factory=dict)
    means: Numbers = field(default_factory=dict)
    ratings: list[Rating] = field(default_factory=list)
    first_rating: tuple[Path, int | None] | None = None


class Release:
    """The clips so far. A clip with a wrong rating is left out as a whole: the other ratings are not its vote."""

    def __init__(self, harvest: Harvest, listing: Path, family: Family) -> None:
        self.harvest, self.listing, self.family = harvest, listing, family
        self.clip_name = family.clip_name
        self.clips: dict[str, Clip] = {}
        self.broken: set[str] = set()

    def refuse(self, error: RowError, clip_id: str) -> None:
        if error.reason != "duplicate_id":
            self.broken.add(clip_id)
        with self.harvest.row(clip_id):
            raise error

    def add(self, clip_id: str, clip: Clip) -> None:
        before = self.clips.get(clip_id)
        if before is not None:
            where = f", in row {before.row}" if before.row else ""
            what = f"clip {clip_id} was there before{where}"
            raise RowError(what, file=clip.file, row=clip.row, field="FileName", reason="duplicate_id")
        self.clips[clip_id] = clip

    def rate(self, clip_id: str, rating: Rating, file: Path, row: int | None) -> None:
        clip = self.clips.get(clip_id)
        if clip is None:
            if clip_id in self.broken:
                return
            what = f"clip {clip_id} has ratings here, but {self.listing} does not have it"
            raise RowError(what, file=file, row=row, field="FileName", remedy=SKIP_CLIP)
        if not clip.ratings:
            clip.first_rating = file, row
        clip.ratings.append(rating)

    def clip_id(self, name: str, file: Path, row: int | None) -> str:
        match = self.clip_name.fullmatch(name.strip())
        if not match:
            raise RowError(f"{name!r:.80} is not the name of a sound file", file=file, row=row, field="FileName")
        return match[1]

    def split(self, text: str, file: Path, row: int | None) -> str | None:
        name, splits = known_name(text), self.family.splits
        if name is not None and name.lower() not in splits:
            what = f"{name!r:.80} is none of {', '.join(splits)}"
            raise RowError(what, file=file, row=row, field="Split_Set")
        return None if name is None else splits[name.lower()]


def add_facts(clip: Clip, code: str, means: tuple[str, str, str]) -> None:
    """Consensus and mean arousal, valence and dominance."""
    code = code.strip()
    if code.lower() not in ("", "nan"):
        clip.metadata["consensus"] = CONSENSUS.get(code.upper(), sys.intern(code.lower()))
    clip.means = numbers(means, clip.file, clip.row)
    clip.metadata |= clip.means


def numbers(texts: tuple[str, str, str], file: Path, row: int | None, remedy: str | None = None) -> Numbers:
    """Arousal, valence and dominance as far as they were given; the same texts give the same object.

    Raises:
        RowError: One is not on the scale.
    """
    try:
        return _numbers(texts)
    except _ScaleError as error:
        what = f"{error.text!r:.80} is not a number from {SCALE[0]:g} to {SCALE[1]:g}"
        more = {"remedy": remedy} if remedy else {}
        raise RowError(what, file=file, row=row, field=error.dimension, **more) from None


class _ScaleError(ValueError):
    def __init__(self, dimension: str, text: str) -> None:
        self.dimension, self.text = dimension, text


@lru_cache(maxsize=100_000)
def _numbers(texts: tuple[str, str, str]) -> Numbers:
    found: dict[str, float] = {}
    for dimension, text in zip(DIMENSIONS, texts, strict=True):
        number = known(text)
        if number is None:
            continue
        if not _NUMBER.fullmatch(number) or not SCALE[0] <= float(number) <= SCALE[1]:
            raise _ScaleError(dimension, number)
        found[dimension] = float(number)
    return found or NOTHING


def known_name(text: str) -> str | None:
    name = known(text)
    return None if name is None else sys.intern(name)


def fields_of(line: str) -> list[str]:
    parts = [part.strip() for part in line.split(";")]
    while parts and not parts[-1]:
        parts.pop()
    return parts


def read_header(file: Path, encoding: str) -> list[str]:
    """Column names; empty where there are none, which is reported where the table is read."""
    first = next(text_lines(file, encoding), (1, ""))[1]
    try:
        return [name.strip() for name in next(csv.reader([first]), [])]
    except csv.Error:
        return []


def json_of(file: Path, hook: Callable[[list[tuple[str, object]]], object]) -> object:
    """What a JSON file holds.

    Args:
        file: The file.
        hook: Makes something of every object in it, out of its pairs.

    Raises:
        InputError: It cannot be read, or is not JSON.
    """
    try:
        return json.loads(file.read_bytes().decode("utf-8-sig"), object_pairs_hook=hook)
    except OSError as error:
        what = f"the file cannot be read: {error.strerror or error}"
        raise InputError(what, file=file, remedy=f"{RESTORE}.") from None
    except (ValueError, RecursionError) as error:
        row = getattr(error, "lineno", None)
        raise InputError(f"this is not JSON: {error!s:.200}", file=file, row=row, remedy=f"{RESTORE}.") from None
