"""The ratings of MSP-Podcast's workers, in each of the three forms that its releases have them in."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from emoprobe.data.corpora.msp_podcast.card import CARD, WORDS
from emoprobe.data.corpora.msp_podcast.facts import column_names
from emoprobe.data.corpora.msp_podcast.release import (
    SKIP_CLIP,
    Clip,
    Release,
    add_facts,
    fields_of,
    json_of,
    numbers,
    read_header,
)
from emoprobe.data.reading.fields import known
from emoprobe.data.reading.files import RESTORE, RowError, table_rows, text_lines
from emoprobe.data.utterance import Rating
from emoprobe.errors import InputError

_OTHER = re.compile(r"other(?![^\W_]).*", re.DOTALL)
_COLUMNS = ("FileName", "EmoDetail", "EmoClass_Major", "EmoClass_Second", "EmoAct", "EmoVal", "EmoDom")
_WORKER_LINE = re.compile(r"\s*WORKER", re.IGNORECASE)
# What a worker wrote for Other is in no known encoding, and every byte is a character of this one.
FREE_TEXT = "latin-1"


def read_csv(file: Path, release: Release) -> None:
    """``labels_detailed.csv``: the rating in one field (``EmoDetail``) or in columns."""
    header = read_header(file, FREE_TEXT)
    aliases = column_names(header, _COLUMNS, {})
    there = {aliases.get(name, name) for name in header}
    worker = "" if "EmoDetail" in there else _worker_column(file, header)
    needed = {"FileName", "EmoDetail"}
    if worker:
        # A release without secondary emotions has them in no column of another name.
        second = {"EmoClass_Second"} if there - {worker, *_COLUMNS} else set()
        needed = {"FileName", "EmoClass_Major", *second, *(there & set(_COLUMNS))}
    columns = [name for name in (*_COLUMNS, worker) if name in needed | {worker}]
    ragged = set()
    for row, cells in table_rows(file, [name for name in columns if name], encoding=FREE_TEXT, aliases=aliases):
        clip_id = ""
        try:
            if isinstance(cells, RowError):
                ragged.add(row)
                raise cells
            clip_id = release.clip_id(cells["FileName"], file, row)
            if worker:
                words = (cells[worker], _main(cells["EmoClass_Major"]), _beside(cells.get("EmoClass_Second", "")))
                given = (cells.get("EmoAct", ""), cells.get("EmoVal", ""), cells.get("EmoDom", ""))
            else:
                front, given = _front_and_numbers(cells["EmoDetail"], file, row)
                words = _detail(front)
            release.rate(clip_id, _rating(*words, given, file, row), file, row)
        except RowError as error:
            release.refuse(error, clip_id)
    if ragged:
        lines = (line for row, line in text_lines(file, FREE_TEXT) if row in ragged)
        release.broken |= {match[1] for line in lines if (match := release.clip_name.search(line))}


def _worker_column(file: Path, header: Sequence[str]) -> str:
    named = [name for name in header if name.lower().strip("<>").startswith("worker")]
    if len(named) != 1:
        what = f"the workers' column {'occurs twice' if named else 'is missing'}; there are {', '.join(header)}"
        raise InputError(f"{what:.300}", file=file, row=1, field="WorkerID", remedy=f"{RESTORE}.")
    return named[0]


def read_blocks(file: Path, release: Release) -> None:
    """``labels.txt``: a line per clip, then a line per rating; makes the clips where no other file lists them."""
    listed = release.listing != file
    clip_id = None
    for row, line in text_lines(file, FREE_TEXT):
        head, rated = bool(release.clip_name.match(line.lstrip())), bool(_WORKER_LINE.match(line))
        if not head and not rated and ";" not in line:
            continue
        try:
            if head:
                # The ratings below a bad line must not count for the clip above it.
                clip_id = ""
            front, given = _front_and_numbers(line, file, row)
            if head:
                if len(front) != 2:
                    raise RowError(f"{line!r:.80} is not FILE; EMOTION; A: V: D:", file=file, row=row)
                name = release.clip_id(front[0], file, row)
                if not listed:
                    clip = Clip(front[0], file, row)
                    add_facts(clip, front[1], given)
                    release.add(name, clip)
                clip_id = name
            elif not rated:
                raise RowError(f"{line!r:.80} begins with neither a clip nor a worker", file=file, row=row)
            elif clip_id is None:
                raise RowError("a rating stands before the first clip", file=file, row=row)
            elif clip_id:
                release.rate(clip_id, _rating(*_detail(front), given, file, row), file, row)
        except RowError as error:
            release.refuse(error, clip_id or _guess(line, release))
            # A line that is unlike any other may have been that of the next clip.
            clip_id = clip_id if rated else ""


def _guess(line: str, release: Release) -> str:
    match = release.clip_name.search(line)
    return match[1] if match else ""


def _front_and_numbers(text: str, file: Path, row: int) -> tuple[list[str], tuple[str, str, str]]:
    """``A; B; ...; A:1; V:2; D:3;`` from its end, since free text may hold semicolons."""
    parts = fields_of(text)
    front, tail = parts[:-3], parts[-3:]
    if len(front) < 2 or [part[:2] for part in tail] != ["A:", "V:", "D:"]:
        what = f"{text!r:.200} does not have two fields or more and then A:, V: and D:"
        raise RowError(what, file=file, row=row, field="EmoDetail", remedy=SKIP_CLIP)
    return front, (tail[0][2:], tail[1][2:], tail[2][2:])


def _detail(front: Sequence[str]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Worker, main and secondary words of ``WORKER; MAIN[; SECONDARY]``."""
    labels = _main(front[1])
    # With more fields than that, the free text for Other has had semicolons.
    return front[0], labels, _beside(",".join(front[2:]), len(front) > 3 and labels == ("other",))


class _Vote(NamedTuple):
    """A rating as JSON has it, of which only these values are kept: there are a million."""

    name: object
    main: object
    beside: object
    arousal: object
    valence: object
    dominance: object


class _Object(tuple):
    """Keys and values of a JSON object; unlike those of a dict, keys can repeat."""

    __slots__ = ()


def _json_object(pairs: list[tuple[str, object]]) -> _Vote | _Object:
    values = dict(pairs)
    if "EmoClass_Major" not in values:
        return _Object(pairs)
    if len(values) < len(pairs):
        raise ValueError("a rating has a key twice")
    kept = map(values.get, ("Name", "EmoClass_Major", "EmoClass_Second", "EmoAct", "EmoVal", "EmoDom"))
    return _Vote(*(sys.intern(value) if type(value) is str else value for value in kept))


def read_json(file: Path, release: Release) -> None:
    """``labels_detailed.json``: clip -> worker -> rating, or clip -> Workers -> ratings with a Name."""
    clips = json_of(file, _json_object)
    if not isinstance(clips, _Object):
        raise InputError("this is not an object of clips", file=file, remedy=f"{RESTORE}.")
    seen: set[str] = set()
    for name, ratings in clips:
        clip_id = ""
        try:
            clip_id = release.clip_id(name, file, None)
            if clip_id in seen:
                what = f"clip {clip_id} is there twice"
                raise RowError(what, file=file, row=None, field="FileName", remedy=SKIP_CLIP)
            seen.add(clip_id)
            for worker, vote in _votes(clip_id, ratings, file):
                words = (_text(vote.main, clip_id, file), _text(vote.beside, clip_id, file))
                given = (_number(vote.arousal), _number(vote.valence), _number(vote.dominance))
                worker = _text(worker, clip_id, file)
                rating = _rating(worker, _main(words[0]), _beside(words[1]), given, file, None)
                release.rate(clip_id, rating, file, None)
        except RowError as error:
            release.refuse(error, clip_id)


def _votes(clip_id: str, ratings: object, file: Path) -> Iterator[tuple[object, _Vote]]:
    if isinstance(ratings, _Object):
        ratings = dict(ratings).get("Workers", ratings)
    pairs: Iterable = ratings if isinstance(ratings, _Object) else ()
    if type(ratings) is list:
        pairs = (("", rating) for rating in ratings)
    elif not isinstance(ratings, _Object):
        what = f"the ratings of clip {clip_id} are neither an object nor a list"
        raise RowError(what, file=file, row=None, field="Workers", remedy=SKIP_CLIP)
    for key, vote in pairs:
        if not isinstance(vote, _Vote):
            what = f"a rating of clip {clip_id} has no EmoClass_Major"
            raise RowError(what, file=file, row=None, field="EmoClass_Major", remedy=SKIP_CLIP)
        yield (key if vote.name is None else vote.name), vote


def _text(value: object, clip_id: str, file: Path) -> str:
    """A JSON value that must be a string, nothing, or a list of strings."""
    if type(value) is list and all(type(part) is str for part in value):
        value = ",".join(value)
    if value is not None and type(value) is not str:
        what = f"a rating of clip {clip_id} has {value!r:.80} where a word should be"
        raise RowError(what, file=file, row=None, field="EmoClass_Major", remedy=SKIP_CLIP)
    return value or ""


def _number(value: object) -> str:
    """A JSON value that must be a number, as text."""
    return value if type(value) is str else "" if value is None else str(value)


def _rating(
    worker: str,
    main: tuple[str, ...],
    beside: tuple[str, ...],
    given: tuple[str, str, str],
    file: Path,
    row: int | None,
) -> Rating:
    name = _worker(worker)
    if not name:
        what = f"{worker.strip()!r:.80} is not the id of a worker"
        raise RowError(what, file=file, row=row, field="WorkerID", remedy=SKIP_CLIP)
    return Rating(name, main, beside, False, numbers(given, file, row, SKIP_CLIP))


@lru_cache(maxsize=100_000)
def _worker(text: str) -> str:
    """A worker's id; empty where it is none."""
    name = text.strip()
    # Of workers that nobody knows, all but one rating of a clip would be taken for repeated ones.
    known_one = known(name) is not None and name.isprintable() and len(name) <= 100
    return sys.intern(name) if known_one else ""


@lru_cache(maxsize=10_000)
def _main(text: str) -> tuple[str, ...]:
    word = _word(text)
    return (word,) if word else ()


@lru_cache(maxsize=100_000)
def _beside(text: str, free: bool = False) -> tuple[str, ...]:
    """Secondary words of a comma-separated list; ``free``: it begins within free text."""
    words: dict[str, None] = {}
    for part in text.split(","):
        word = _word(part)
        # Free text for Other has commas too: what follows it and is no emotion word belongs to it.
        if word and (word in CARD.words or not free):
            words[word] = None
        free = free or word == "other"
    return tuple(words)


def _word(text: str) -> str:
    word = text.strip().lower()
    return "other" if _OTHER.fullmatch(word) else sys.intern(WORDS.get(word, word))
