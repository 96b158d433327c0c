"""Ratings tables: one row per rating, joined with the clips they are of.

A reader of a corpus with a table of ratings and a table of clips says what their columns mean and what its clips are::

    ratings = Ratings(file, RatingColumns(clip="file", rater="annotator", label="emotion"))
    ratings.read(table_rows(file, ("file", "annotator", "emotion")), harvest)
    join(clips, ratings, harvest)
    return harvest.corpus(file)
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from emoprobe.data.reading.fields import NumberReader, emotion_word, identity, is_blank, words
from emoprobe.data.reading.files import ROW_REMEDY, Harvest, RowError
from emoprobe.data.reading.identities import refuse_alike_names, whole_numbers
from emoprobe.data.utterance import NOTHING, Numbers, Rating, Utterance

SEPARATORS = "|;,"
UNSURE = "Give single words, several of one rater separated by |."


@dataclass(frozen=True)
class RatingColumns:
    """What the columns of a ratings table mean; a table need not have those that are None.

    Args:
        clip: Id of the clip, as the clips have it.
        rater: Who rated; a rater whom nobody knows is another one in every rating.
        label: The emotion word or words chosen; an empty one is no choice.
        secondary: Words named beside it.
        weight: How much the rating counts, 0 or more.
        confidence: How sure the rater was, 0 to 1.
        time: When it was given.
        dimensions: Dimension -> column of its number; an empty cell is no rating of it.
        scales: Dimension -> lowest and highest number, where they are known.
        separators: Signs of which one may stand between several words of a cell.
        word: What a word or code of the table stands for; raises ValueError where it is none.
        clip_id: What a cell of ``clip`` stands for, such as a file name without its suffix.
        self_report: Whether the row's rater is the speaker.
    """

    clip: str
    rater: str | None = None
    label: str | None = None
    secondary: str | None = None
    weight: str | None = None
    confidence: str | None = None
    time: str | None = None
    dimensions: Mapping[str, str] = field(default_factory=dict)
    scales: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    separators: str = SEPARATORS
    word: Callable[[str], str] = emotion_word
    clip_id: Callable[[str], str] = str.strip
    self_report: Callable[[Mapping[str, object]], bool] | None = None

    @property
    def own(self) -> tuple[str, ...]:
        """All columns that are named, but that of the clip."""
        named = (self.rater, self.label, self.secondary, self.weight, self.confidence, self.time)
        return (*(column for column in named if column is not None), *self.dimensions.values())


class Ratings:
    """Ratings by clip, taken in row by row.

    Args:
        file: The table, for error messages.
        columns: What its columns mean.
        number: Reads cells with numbers.
        remedy: What to do about a bad row.

    Attributes:
        of: Clip -> its ratings, in the order of the rows.
        rows: Clip -> its first row.
        number: Reads cells with numbers.
    """

    def __init__(
        self, file: Path, columns: RatingColumns, *, number: NumberReader | None = None, remedy: str = ROW_REMEDY
    ) -> None:
        self.file, self.columns, self.remedy = file, columns, remedy
        self.of: dict[str, list[Rating]] = {}
        self.rows: dict[str, int] = {}
        self.number = number or NumberReader()
        # Of all that a large table says, little is different: clips share what their raters said.
        self._raters: dict[str, str | None] = {}
        self._first: dict[str, int] = {}  # rater -> row
        self._words: dict[str, tuple[str, ...]] = {}
        self._values: dict[tuple, Numbers] = {}
        self._dimension_columns = tuple(columns.dimensions.values())

    def read(self, rows: Iterable[tuple[int, Mapping | RowError]], harvest: Harvest) -> None:
        """Take in the rows of a table; bad ones are refused or listed.

        Raises:
            RowError: A row is bad, and bad rows are not skipped.
        """
        for row, fields in rows:
            try:
                if isinstance(fields, RowError):
                    raise fields
                self.add(row, fields)
            except RowError as error:
                clip = "" if isinstance(fields, RowError) else str(fields.get(self.columns.clip) or "")
                harvest.refuse(clip, error)

    def add(self, row: int, fields: Mapping, clip: str | None = None) -> None:
        """Take in one rating.

        Args:
            row: Its row.
            fields: Its values by column.
            clip: Id of the clip, where the caller knows it.

        Raises:
            RowError: It is of no clip, or says something that no rating can say.
        """
        columns = self.columns
        if clip is None:
            cell = fields.get(columns.clip)
            clip = columns.clip_id(cell) if isinstance(cell, str) else self._identity(row, columns.clip, cell)
            if not clip:
                self._fail(row, columns.clip, "the field is empty", "bad_row")
        before = self.of.get(clip)
        labels = () if columns.label is None else self._said(row, columns.label, fields.get(columns.label))
        secondary = (
            () if columns.secondary is None else self._said(row, columns.secondary, fields.get(columns.secondary))
        )
        values = self._dimensions(row, fields) if columns.dimensions else NOTHING
        if secondary and not labels:
            self._fail(row, columns.secondary, "there are secondary words, and no first choice")
        weight = self._amount(row, fields, columns.weight, math.inf) if columns.weight is not None else None
        confidence = self._amount(row, fields, columns.confidence, 1.0) if columns.confidence is not None else None
        rater = self._rater(row, fields)
        self.rows.setdefault(clip, row)
        if before is None:
            before = self.of[clip] = []
        if labels or values:
            before.append(
                Rating(
                    f"{clip}#{len(before) + 1}" if rater is None else rater,
                    labels,
                    secondary,
                    columns.self_report is not None and columns.self_report(fields),
                    values,
                    1.0 if weight is None else weight,
                    confidence,
                    self._time(row, fields) if columns.time is not None else None,
                )
            )

    def settle(self) -> None:
        """One id per rater: ``1.0`` is ``1`` where all numbers are whole; names that look alike are refused.

        Raises:
            InputError: Two raters differ in no more than case, zero padding, blanks or Unicode form.
        """
        names = whole_numbers(self._first)
        if names:
            for ratings in self.of.values():
                ratings[:] = [r._replace(rater=names[r.rater]) if r.rater in names else r for r in ratings]
        first: dict[str, int] = {}
        for name, row in self._first.items():
            first.setdefault(names.get(name, name), row)
        refuse_alike_names(first, self.file, self.columns.rater or "")

    def _fail(self, row: int, column: str | None, what: str, reason: str = "bad_votes", remedy: str = "") -> NoReturn:
        remedy = remedy or self.remedy
        raise RowError(what, reason=reason, file=self.file, row=row, field=column, remedy=remedy)

    def _identity(self, row: int, column: str, value: object) -> str | None:
        try:
            return identity(value)
        except ValueError as error:
            self._fail(row, column, str(error), "bad_row")

    def _rater(self, row: int, fields: Mapping) -> str | None:
        column = self.columns.rater
        if column is None:
            return None
        cell = fields.get(column)
        if isinstance(cell, str) and cell in self._raters:
            return self._raters[cell]
        name = self._identity(row, column, cell)
        if name is not None:
            name = sys.intern(name)
            self._first.setdefault(name, row)
        if isinstance(cell, str):
            self._raters[cell] = name
        return name

    def _said(self, row: int, column: str, cell: object) -> tuple[str, ...]:
        """The words of a cell."""
        if isinstance(cell, str):
            if cell in self._words:
                return self._words[cell]
        elif cell is None or cell != cell:
            return ()
        try:
            found = words_of(cell, self.columns.separators, self.columns.word)
        except ValueError as error:
            self._fail(row, column, str(error), remedy=f"{UNSURE} {self.remedy}")
        found = tuple(map(sys.intern, found))
        if isinstance(cell, str):
            self._words[cell] = found
        return found

    def _dimensions(self, row: int, fields: Mapping) -> Numbers:
        cells = tuple(map(fields.get, self._dimension_columns))
        # What text says of numbers is remembered; of numbers themselves, true would be 1.
        text = all(type(cell) is str for cell in cells)
        if text and cells in self._values:
            return self._values[cells]
        values: dict[str, float] = {}
        for (dimension, column), cell in zip(self.columns.dimensions.items(), cells, strict=True):
            if is_blank(cell):
                continue
            try:
                value = values[dimension] = self.number(cell)
            except ValueError as error:
                self._fail(row, column, str(error), "bad_row")
            if dimension in self.columns.scales:
                low, high = self.columns.scales[dimension]
                if not low <= value <= high:
                    remedy = f"Correct it, or say what the scale is: dataset.scales={{{dimension}: [LOW,HIGH]}}."
                    what = f"{value:g} is not on the scale of {dimension}, {low:g} to {high:g}"
                    self._fail(row, column, what, remedy=remedy)
        # Means with many decimals are all different, and would only fill the memory.
        if text and len(self._values) < 100_000:
            self._values[cells] = values
        return values

    def _amount(self, row: int, fields: Mapping, column: str, highest: float) -> float | None:
        """A weight or confidence; None where the cell is empty."""
        cell = fields.get(column)
        if is_blank(cell):
            return None
        try:
            amount = self.number(cell)
        except ValueError as error:
            self._fail(row, column, str(error), "bad_row")
        if not 0 <= amount <= highest:
            what = f"{amount:g} is not a number " + (f"from 0 to {highest:g}" if highest < math.inf else "of 0 or more")
            self._fail(row, column, what)
        return amount

    def _time(self, row: int, fields: Mapping) -> str | None:
        assert self.columns.time is not None
        try:
            return words(fields.get(self.columns.time))
        except ValueError as error:
            self._fail(row, self.columns.time, str(error), "bad_row")


def words_of(cell: object, separators: str = SEPARATORS, word: Callable[[str], str] = emotion_word) -> tuple[str, ...]:
    """The different emotion words of a cell: a list, or text in which one of the separators may stand between them.

    Raises:
        ValueError: It is no text, one of its words is none, or several separators stand in it.

    >>> words_of("happy|sad"), words_of(" sad ")
    (('happy', 'sad'), ('sad',))
    """
    if isinstance(cell, str):
        if cell.lstrip().startswith(("[", "{")):
            raise ValueError(f"{cell!r:.80} is a list or an object written as text")
        used = [sign for sign in separators if sign in cell]
        if len(used) > 1:
            raise ValueError(f"it is not clear which of {' '.join(used)} stands between the words of {cell!r:.80}")
        parts: list[object] = list(cell.split(used[0])) if used else [cell]
    elif isinstance(cell, (list, tuple)):
        parts = list(cell)
    else:
        raise ValueError(f"{cell!r:.80} is not text")
    found: dict[str, str] = {}
    for part in parts:
        if is_blank(part):
            continue
        if not isinstance(part, str):
            raise ValueError(f"{part!r:.80} is not text")
        name = word(part)
        found.setdefault(name.casefold(), name)
    return tuple(found.values())


def join(
    clips: Iterable[Utterance],
    ratings: Ratings,
    harvest: Harvest,
    *,
    same: Callable[[str], str | None] | None = None,
    remedy: str = "",
) -> None:
    """Give clips their ratings, and add them to a harvest; a clip without ratings stays, for the policy to judge.

    Args:
        clips: The clips, without ratings.
        ratings: Of the ratings table.
        harvest: Takes the utterances.
        same: Clip of the ratings table -> id of the clip; None where there is none. By default it is the id.
        remedy: What to do about ratings of a clip that is not there.

    Raises:
        RowError: A rating is of no clip, or an id is there twice, and bad rows are not skipped.
    """
    for clip in clips:
        with harvest.row(clip.id):
            harvest.add(clip)
    mine: dict[str, list[Rating]] = {}
    listed = {row.id for row in harvest.skipped}  # a clip that is left out takes its ratings with it
    for name, row in ratings.rows.items():
        found = name if same is None else same(name)
        if found is not None and found in harvest.utterances:
            mine.setdefault(found, []).extend(ratings.of[name])
        elif (found or name) not in listed:
            error = RowError(
                f"a rating of {name!r:.80}, which is none of the clips",
                file=ratings.file,
                row=row,
                field=ratings.columns.clip,
                reason="unknown_clip",
                remedy=remedy or ratings.remedy,
            )
            harvest.refuse(name, error)
    for name, given in mine.items():
        clip = harvest.utterances[name]
        scales = {**clip.scales, **ratings.columns.scales}
        harvest.utterances[name] = replace(clip, ratings=tuple(given), scales=scales)
