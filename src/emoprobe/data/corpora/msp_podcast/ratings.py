"""The ratings of MSP-Podcast's workers, in each of the three forms that its releases have them in."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from emoprobe.data.corpora.msp_podcast.card import CARD, WORDS
from emoprobe.data.corpora.msp_podcast.release import (
    SKIP_CLIP,
    SOUND_FILE,
    Clip,
    Release,
    add_facts,
    fields_of,
    read_clip_id,
    read_header,
)
from emoprobe.data.fields import known
from emoprobe.data.files import RESTORE, RowError, table_rows, text_lines
from emoprobe.data.utterance import Rating
from emoprobe.errors import InputError

_OTHER = re.compile(r"other\s*(?:-.*)?", re.DOTALL)
_WORKER_LINE = re.compile(r"\s*WORKER", re.IGNORECASE)
# What a worker wrote for Other is in no known encoding, and every byte is a character of this one.
FREE_TEXT = "latin-1"


def read_csv(file: Path, release: Release) -> None:
    """``labels_detailed.csv``: the rating in one field (``EmoDetail``) or in columns."""
    header = read_header(file, FREE_TEXT)
    worker = "" if "EmoDetail" in header else _worker_column(file, header)
    needed = ("FileName", worker, "EmoClass_Major", "EmoClass_Second") if worker else ("FileName", "EmoDetail")
    ragged = set()
    for row, cells in table_rows(file, needed, encoding=FREE_TEXT):
        clip_id = ""
        try:
            if isinstance(cells, RowError):
                ragged.add(row)
                raise cells
            clip_id = read_clip_id(cells["FileName"], file, row)
            if worker:
                words = (cells[worker], _main(cells["EmoClass_Major"]), _beside(cells["EmoClass_Second"]))
            else:
                words = _detail(_front_and_attributes(cells["EmoDetail"], file, row)[0])
            release.rate(clip_id, _rating(*words, file, row), file, row)
        except RowError as error:
            release.refuse(error, clip_id)
    if ragged:
        lines = (line for row, line in text_lines(file, FREE_TEXT) if row in ragged)
        release.broken |= {match[1] for line in lines if (match := SOUND_FILE.search(line))}


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
        head, rated = bool(SOUND_FILE.match(line.lstrip())), bool(_WORKER_LINE.match(line))
        if not head and not rated and ";" not in line:
            continue
        try:
            if head:
                # The ratings below a bad line must not count for the clip above it.
                clip_id = ""
            front, attributes = _front_and_attributes(line, file, row)
            if head:
                if len(front) != 2:
                    raise RowError(f"{line!r:.80} is not FILE; EMOTION; A: V: D:", file=file, row=row)
                name = read_clip_id(front[0], file, row)
                if not listed:
                    clip = Clip(front[0], file, row)
                    add_facts(clip, front[1], attributes)
                    release.add(name, clip)
                clip_id = name
            elif not rated:
                raise RowError(f"{line!r:.80} begins with neither a clip nor a worker", file=file, row=row)
            elif clip_id is None:
                raise RowError("a rating stands before the first clip", file=file, row=row)
            elif clip_id:
                release.rate(clip_id, _rating(*_detail(front), file, row), file, row)
        except RowError as error:
            release.refuse(error, clip_id or _guess(line))
            # A line that is unlike any other may have been that of the next clip.
            clip_id = clip_id if rated else ""


def _guess(line: str) -> str:
    match = SOUND_FILE.search(line)
    return match[1] if match else ""


def _front_and_attributes(text: str, file: Path, row: int) -> tuple[list[str], dict[str, str]]:
    """``A; B; ...; A:1; V:2; D:3;`` from its end, since free text may hold semicolons."""
    parts = fields_of(text)
    front, tail = parts[:-3], parts[-3:]
    if len(front) < 2 or [part[:2] for part in tail] != ["A:", "V:", "D:"]:
        what = f"{text!r:.200} does not have two fields or more and then A:, V: and D:"
        raise RowError(what, file=file, row=row, field="EmoDetail", remedy=SKIP_CLIP)
    return front, dict(zip(("arousal", "valence", "dominance"), (part[2:] for part in tail), strict=True))


def _detail(front: Sequence[str]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Worker, main and secondary words of ``WORKER; MAIN[; SECONDARY]``."""
    labels = _main(front[1])
    # With more fields than that, the free text for Other has had semicolons.
    return front[0], labels, _beside(",".join(front[2:]), len(front) > 3 and labels == ("other",))


class _Vote(NamedTuple):
    """A rating as JSON has it, of which only three values are kept: there are a million."""

    name: object
    main: object
    beside: object


class _Object(tuple):
    """Keys and values of a JSON object; unlike those of a dict, keys can repeat."""

    __slots__ = ()


def _json_object(pairs: list[tuple[str, object]]) -> _Vote | _Object:
    values = dict(pairs)
    if "EmoClass_Major" not in values:
        return _Object(pairs)
    if len(values) < len(pairs):
        raise ValueError("a rating has a key twice")
    kept = (values.get(key) for key in ("Name", "EmoClass_Major", "EmoClass_Second"))
    return _Vote(*(sys.intern(value) if type(value) is str else value for value in kept))


def read_json(file: Path, release: Release) -> None:
    """``labels_detailed.json``: clip -> worker -> rating, or clip -> Workers -> ratings with a Name."""
    try:
        clips = json.loads(file.read_bytes().decode("utf-8-sig"), object_pairs_hook=_json_object)
    except OSError as error:
        what = f"the file cannot be read: {error.strerror or error}"
        raise InputError(what, file=file, remedy=f"{RESTORE}.") from None
    except (ValueError, RecursionError) as error:
        row = getattr(error, "lineno", None)
        raise InputError(f"this is not JSON: {error!s:.200}", file=file, row=row, remedy=f"{RESTORE}.") from None
    if not isinstance(clips, _Object):
        raise InputError("this is not an object of clips", file=file, remedy=f"{RESTORE}.")
    seen: set[str] = set()
    for name, ratings in clips:
        clip_id = ""
        try:
            clip_id = read_clip_id(name, file, None)
            if clip_id in seen:
                what = f"clip {clip_id} is there twice"
                raise RowError(what, file=file, row=None, field="FileName", remedy=SKIP_CLIP)
            seen.add(clip_id)
            for worker, vote in _votes(clip_id, ratings, file):
                words = (_text(vote.main, clip_id, file), _text(vote.beside, clip_id, file))
                rating = _rating(_text(worker, clip_id, file), _main(words[0]), _beside(words[1]), file, None)
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


def _rating(worker: str, main: tuple[str, ...], beside: tuple[str, ...], file: Path, row: int | None) -> Rating:
    worker = worker.strip()
    # Of workers that nobody knows, all but one rating of a clip would be taken for repeated ones.
    if known(worker) is None or not worker.isprintable() or len(worker) > 100:
        what = f"{worker!r:.80} is not the id of a worker"
        raise RowError(what, file=file, row=row, field="WorkerID", remedy=SKIP_CLIP)
    return Rating(sys.intern(worker), main, beside)


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
