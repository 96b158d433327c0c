"""Users' own tables in long form, one row per rating: within the table of the clips, or in a table beside it."""

from __future__ import annotations

import math
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from emoprobe.data.reading.fields import is_blank
from emoprobe.data.reading.files import Harvest, RowError
from emoprobe.data.reading.ratings import RatingColumns, Ratings, join
from emoprobe.data.reading.rows import RowReader
from emoprobe.data.reading.tables import SKIP_ROW, Table
from emoprobe.data.reading.targets import LABEL_COLUMNS, RATERS, Row, Scales, Targets
from emoprobe.data.utterance import Utterance
from emoprobe.errors import InputError

DIMENSIONS = ("valence", "arousal", "dominance", "intensity")
_CLIP_COLUMNS = ("utterance_id", "id", "path", "clip", "file")
_FACTS = ("speaker", "split", "transcript", "dialogue")
_BESIDE = ("secondary", "weight", "confidence", "time")
Dimensions: TypeAlias = Mapping[str, str] | Sequence[str]


@dataclass(frozen=True)
class RatingOptions:
    """What the columns of ratings are called; those that are None, or not there, say nothing.

    Args:
        rater: Who rated.
        label: What was chosen; ``label`` or ``emotion`` if None.
        secondary: What was named beside it.
        weight: How much the rating counts.
        confidence: How sure the rater was.
        time: When it was.
        dimensions: Dimension -> column, or dimensions whose columns are called so; those of `DIMENSIONS` and of the
            scales, where such columns are there, if None.
        scales: Dimension -> lowest and highest number.
    """

    rater: str | None = "rater"
    label: str | None = None
    secondary: str | None = "secondary"
    weight: str | None = "weight"
    confidence: str | None = "confidence"
    time: str | None = "time"
    dimensions: Dimensions | None = None
    scales: Scales = field(default_factory=dict)

    @property
    def means(self) -> dict[str, str]:
        """Dimension -> column of clips' means: those named, or else those of which the scale is told.

        Raises:
            InputError: The scale of one that is named is not.
        """
        named = named_dimensions(self.dimensions)
        for dimension in named or {}:
            if dimension not in self.scales:
                raise InputError(
                    f"the scale of {dimension!r:.80} is not told, and cannot be guessed from the numbers",
                    field="dataset.scales",
                    remedy=f"Say its lowest and highest number: dataset.scales={{{dimension}: [1,5]}}, for example.",
                )
        return {dimension: dimension for dimension in self.scales} if named is None else named

    def columns(self, clip: str, fields: Row, free: bool = False) -> RatingColumns:
        """What the columns of a table mean, of which ``fields`` is a row; other rows may have others if ``free``."""
        labels = [self.label] if self.label else [name for name in LABEL_COLUMNS if name in fields]
        named = named_dimensions(self.dimensions)
        if named is None:
            named = {each: each for each in dict.fromkeys((*DIMENSIONS, *self.scales)) if free or each in fields}
        beside = {name: getattr(self, name) for name in _BESIDE}
        return RatingColumns(
            clip=clip,
            rater=self.rater,
            label=labels[0] if len(labels) == 1 else None,
            **{name: column for name, column in beside.items() if free or column in fields},
            dimensions=named,
            scales=self.scales,
        )


def named_dimensions(dimensions: Dimensions | None) -> dict[str, str] | None:
    """Dimension -> column, as they were given."""
    if dimensions is None:
        return None
    if isinstance(dimensions, Mapping):
        return {str(dimension): str(column) for dimension, column in dimensions.items()}
    if isinstance(dimensions, str):
        dimensions = [dimensions]
    return {str(dimension): str(dimension) for dimension in dimensions}


def one_by_one(table: Table, options: RatingOptions) -> Iterator[tuple[int, Row | RowError]]:
    """The rows of a table; one whose ``ratings`` are objects (``[{"rater": "r1", "label": "sad"}]``) as several.

    The rows that it becomes are one rating each and repeat what it says of the clip.
    """
    for row, fields in table:
        given = None if isinstance(fields, RowError) else fields.get("ratings")
        first = given[0] if isinstance(given, list) and given else None
        if isinstance(fields, RowError) or not isinstance(given, list) or options.rater not in _keys(first):
            yield row, fields
            continue
        clip = {column: value for column, value in fields.items() if column != "ratings"}
        for item in given:
            if not isinstance(item, dict) or item.keys() & clip.keys():
                what = f"{item!r:.80} is not one rating, with columns of its own"
                yield row, RowError(what, file=table.file, row=row, field="ratings", remedy=SKIP_ROW)
            else:
                yield row, {**clip, **item}


def _keys(value: object) -> Iterable[object]:
    return value.keys() if isinstance(value, dict) else ()


def is_long(fields: Row, options: RatingOptions, targets: Targets, row: int) -> bool:
    """Whether the rows of a table are ratings: there is a rater, and what the rater said.

    Raises:
        InputError: A column looks like the rater's.
    """
    if options.rater is None or any(kind != "label" for kind in targets.asked):
        return False
    columns = options.columns("", fields)
    said = [column for column in (columns.label, *columns.dimensions.values()) if column in fields]
    wide = [found for found in targets.standing(row, fields) if found.kind != "label"]
    if wide or not (said or len([name for name in LABEL_COLUMNS if name in fields]) > 1):
        return False
    if options.rater in fields:
        return True
    for other in fields:
        if other.strip().casefold() == options.rater.casefold():
            what = f"the column {other!r:.80} is not {options.rater!r:.80}, but looks like it"
            targets.fail_columns(row, other, what, "Rename it, or name it: dataset.reader.rater_column.", fields)
    return False


def check_said(columns: RatingColumns, fields: Row, targets: Targets, row: int) -> None:
    """Refuse a ratings table that lacks a column, or has one twice over.

    Raises:
        InputError: It does.
    """
    several = [name for name in LABEL_COLUMNS if name in fields]
    if columns.label is None and len(several) > 1:
        what, remedy = f"there is more than one target ({', '.join(several)})", "Name one: dataset.reader.label_column."
        targets.fail_columns(row, several[1], what, remedy, fields)
    missing = [] if targets.table.free else [column for column in columns.own if column not in fields]
    if missing:
        option = "rater_column" if missing[0] == columns.rater else "label_column"
        remedy = f"Name the right one: dataset.reader.{option}."
        if missing[0] == columns.rater:
            remedy += " Where nobody knows who the raters are: dataset.reader.rater_column=null."
        targets.fail_columns(row, missing[0], f"the column {missing[0]!r:.80} is missing", remedy, fields)
    if columns.label is None and not columns.dimensions:
        what, remedy = "there is no column of what the raters said", "Name it: dataset.reader.label_column."
        targets.fail_columns(row, "label", what, remedy, fields)
    for other in fields:
        for column in (*_BESIDE, *DIMENSIONS):
            if other != column and column not in fields and other.strip().casefold() == column:
                what = f"the column {other!r:.80} is not {column!r:.80}, but looks like it"
                targets.fail_columns(row, other, what, "Rename it.", fields)


def refuse_targets(targets: Targets, row: int, fields: Row) -> None:
    """Refuse a table of clips that says what raters said, where a table of ratings does.

    Raises:
        InputError: It does.
    """
    names = [column for found in targets.standing(row, fields) if found.kind != "label" for column in found.columns]
    if names:
        what = f"there is more than one target: ratings in a table of their own, and {', '.join(names)[:200]}"
        remedy = "Leave out one of the two: dataset.ratings, or these columns."
        targets.fail_columns(row, names[0], what, remedy, fields)


class LongForm:
    """Clips and their ratings, from rows that are one rating each and repeat what they say of the clip.

    Facts of a clip that its rows contradict are refused. Columns without a meaning of their own are facts of the clip
    where they never differ between its rows; else they are facts of ratings, and not kept.

    Args:
        columns: Of the ratings.
        file: The table.
        table: It.

    Attributes:
        clips: The clips so far.
        last: Of the row that was last.
    """

    def __init__(self, columns: RatingColumns, file: Path, table: Table) -> None:
        self.columns = columns
        self.ratings = Ratings(file, columns, number=table.number, remedy=SKIP_ROW)
        self.clips: dict[str, Utterance] = {}
        self._first: dict[str, dict[str, object]] = {}  # clip -> fields of its first row
        self._of: dict[tuple, str] = {}  # what rows say of a clip -> the clip
        self._varying: set[str] = set()
        self._told = set(columns.own)  # columns that are compared elsewhere, or no more
        self._reader: RowReader | None = None
        self._own: tuple[str, ...] = ()

    def add(self, reader: RowReader, row: int, fields: Row, name: str | None = None) -> bool:
        """Take in a row.

        Args:
            reader: Reads facts of clips.
            row: Its number.
            fields: Its values.
            name: Of the clip, where it is not what the row says by itself.

        Returns:
            Whether the clip is new.

        Raises:
            RowError: The row is wrong, or contradicts another of its clip.
        """
        if reader is not self._reader:
            self._reader, self._own = reader, reader.own
            self._told.update(self._own)
            self.ratings.file, self.ratings.number = reader.file, reader.targets.table.number
        key = (*map(fields.get, self._own), name)
        try:
            clip_id = self._of.get(key)
        except TypeError:  # a list or an object, which no such field is
            key, clip_id = (), None
        clip = None
        if clip_id is None:
            clip = reader.clip(row, fields, self.columns.own)
            clip = clip if name is None else replace(clip, id=name)
            clip_id = clip.id
            if clip_id in self.clips:
                clip = self._agreed(reader, self.clips[clip_id], clip, fields)
        self.ratings.add(row, fields, clip_id)
        new = clip_id not in self.clips
        if clip is not None:
            self.clips[clip_id] = clip
            self.last = clip
            if key:
                self._of[key] = clip_id
        if new:
            self._first[clip_id] = dict(fields)
        else:
            self._compare(self._first[clip_id], fields)
        return new

    def _agreed(self, reader: RowReader, clip: Utterance, other: Utterance, fields: Row) -> Utterance:
        """The clip with what another of its rows knows."""
        told = {}
        for fact in _FACTS:
            before, now = getattr(clip, fact), getattr(other, fact)
            if now is not None and before is None:
                told[fact] = now
            elif now is not None and _plain(now) != _plain(before):
                self._contradicts(getattr(reader, fact), clip, other, before, now)
        if clip.audio != other.audio:
            self._contradicts(reader.path, clip, other, str(clip.audio), str(other.audio))
        raters = self._first[clip.id].get(RATERS)
        told_here = fields.get(RATERS)
        if not (is_blank(raters) or is_blank(told_here)) and self._count(raters) != self._count(told_here):
            self._contradicts(RATERS, clip, other, raters, told_here)
        return replace(clip, **told) if told else clip

    def _contradicts(self, column: str, clip: Utterance, other: Utterance, before: object, now: object) -> None:
        what = f"the {column} of {clip.id!r:.80} is {now!r:.80} here and {before!r:.80} in row {clip.row}"
        raise self._wrong(other, other.row, column, what, "bad_fact")

    def _compare(self, first: dict[str, object], fields: Row) -> None:
        """Find columns that differ between the rows of a clip."""
        told = self._told
        if told.issuperset(fields):
            return
        for column, value in fields.items():
            if column not in told and value != first.get(column) and not is_blank(value):
                if is_blank(first.get(column)):
                    first[column] = value
                else:
                    told.add(column)
                    self._varying.add(column)

    def utterances(self, harvest: Harvest) -> Iterator[Utterance]:
        """The clips with their ratings; those that have more ratings than raters are refused or listed.

        Raises:
            InputError: Two raters look alike, or a clip has more ratings than raters.
        """
        self.ratings.settle()
        for name, clip in self.clips.items():
            facts = {fact: value for fact, value in clip.metadata.items() if fact not in self._varying}
            ratings = tuple(self.ratings.of.get(name, ()))
            raters = self._first[name].get(RATERS)
            if not is_blank(raters) and self._count(raters) < len({rating.rater for rating in ratings}):
                what = f"there are {len(ratings)} ratings of {name!r:.80}, and {raters} raters"
                harvest.refuse(name, self._wrong(clip, clip.row, RATERS, what, "bad_votes"))
                continue
            yield replace(clip, metadata=facts, ratings=ratings, scales=self.columns.scales)

    def _count(self, value: object) -> float:
        try:
            return self.ratings.number(value)
        except ValueError:
            return math.inf

    def _wrong(self, clip: Utterance, row: int | None, field: str, what: str, reason: str) -> RowError:
        return RowError(what, file=clip.file, row=row, field=field, reason=reason, remedy=SKIP_ROW)


def add_table(
    harvest: Harvest,
    clips: Sequence[Utterance],
    reader: RowReader,
    table: Table,
    options: RatingOptions,
    clip: str | None = None,
) -> None:
    """Give clips the ratings of a table of their own, and add them to a harvest.

    Args:
        harvest: Takes the utterances.
        clips: The clips.
        reader: That read them.
        table: Of the ratings.
        options: What its columns are called.
        clip: Column of the clip; if None, that of the clips' ids or paths, or one of a usual name.

    Raises:
        InputError: The table is malformed, or rates a clip that is not there.
    """
    targets = replace(reader.targets, file=table.file, table=table)
    ratings: Ratings | None = None
    for row, fields in table:
        with harvest.row():
            if isinstance(fields, RowError):
                raise fields
            if ratings is None:
                names = (clip,) if clip else (reader.id, reader.path, *_CLIP_COLUMNS)
                column = next((name for name in names if name in fields), None)
                if column is None:
                    remedy = "Name it: dataset.reader.clip_column."
                    what = f"the column of the clips is missing, {clip or ' or '.join(dict.fromkeys(names))}"
                    targets.fail_columns(row, clip or names[0], what, remedy, fields)
                columns = options.columns(column, fields, table.free)
                check_said(columns, fields, targets, row)
                ratings = Ratings(table.file, columns, number=table.number, remedy=SKIP_ROW)
            ratings.add(row, fields)
    if ratings is None:
        raise InputError("there is no rating", file=table.file, field="dataset.ratings", remedy="Add a row per rating.")
    ratings.settle()
    named = _Names(clips, reader)
    remedy = "Add the clip to the manifest, correct the name, or leave such ratings out: dataset.on_error=skip."
    join(clips, ratings, harvest, same=named.find, remedy=remedy)


class _Names:
    """The names by which a table of ratings may call clips: id, path, path without suffix, file name, its stem."""

    def __init__(self, clips: Sequence[Utterance], reader: RowReader) -> None:
        self._reader = reader
        self._by: list[dict[str, str | None]] = [{} for _ in range(5)]
        for clip in clips:
            path = os.path.relpath(clip.audio, reader.sound.root)
            for names, name in zip(self._by, (clip.id, *_spellings(path)), strict=True):
                key = unicodedata.normalize("NFC", name)
                names[key] = clip.id if names.get(key, clip.id) == clip.id else None

    def find(self, name: str) -> str | None:
        """The clip of a name; None where there is none, or more than one."""
        try:
            path = self._reader.sound.below(self._reader.local(name))
        except ValueError:
            path = name
        key = unicodedata.normalize("NFC", name)
        if key in self._by[0]:
            return self._by[0][key]
        path = unicodedata.normalize("NFC", os.path.normpath(path))
        return next((names[path] for names in self._by[1:] if names.get(path) is not None), None)


def _spellings(path: str) -> tuple[str, str, str, str]:
    name = os.path.basename(path)
    return path, os.path.splitext(path)[0], name, os.path.splitext(name)[0]


def _plain(name: str) -> str:
    return name.removesuffix(".0")
