"""What a row of a user's own table says of a clip: votes, raters' words, shares, one label, or means of dimensions."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn, TypeAlias

from emoprobe.data.reading.fields import emotion_word, is_blank, known, text_of
from emoprobe.data.reading.files import RowError
from emoprobe.data.reading.ratings import UNSURE, words_of
from emoprobe.data.reading.tables import LEAVE_OUT, SKIP_ROW, Table
from emoprobe.data.utterance import Numbers, Rating
from emoprobe.errors import InputError

LABEL_COLUMNS = ("label", "emotion")
RATERS = "num_raters"
MAX_VOTES = 1e9
Row: TypeAlias = Mapping[str, object]
Names: TypeAlias = Sequence[str] | Mapping[str, str]
Kind: TypeAlias = Literal["votes", "ratings", "distribution", "label", "means"]  # of a target
Scales: TypeAlias = Mapping[str, tuple[float, float]]

SUM_TOLERANCE = 1e-3
MOST_ROUNDED = 0.1  # that shares rounded down to nothing may lack in all
SHARE_TOLERANCE = 5e-3  # of a share written with two decimals
_THOUSANDS = re.compile(r"[1-9]\d{0,2}([.,]\d{3})+", re.ASCII)
_PREFIXES: dict[Kind, str] = {"votes": "votes_", "distribution": "p_"}
_TARGETS = (
    "Give vote counts (columns votes_WORD), one word per rater (ratings), shares (p_WORD) or one label (label, "
    "emotion), or name the columns of one kind: dataset.reader.votes_columns, ratings_column, distribution_columns, "
    "label_column; of valence and the like the scale, dataset.scales; of rows that are one rating each the column of "
    "the rater, rater_column."
)


def check_names(names: Names | None, option: str) -> Names | None:
    """The columns of a target, as they were given."""
    field = f"dataset.reader.{option}"
    if names is not None and (isinstance(names, str) or not isinstance(names, (Sequence, Mapping))):
        raise InputError(
            f"{names!r} is not a list of columns", field=field, remedy="Use [NAME,...] or {WORD:NAME,...}."
        )
    used = list(names.values() if isinstance(names, Mapping) else names or ())
    twice = [column for column, count in Counter(map(str, used)).items() if count > 1]
    if twice:
        raise InputError(f"the column {twice[0]!r} is named twice", field=field, remedy="Name each column once.")
    return names or None


def check_scales(scales: Mapping[str, Sequence[float]] | None) -> dict[str, tuple[float, float]]:
    """Lowest and highest number by dimension, as they were given.

    Raises:
        InputError: They are none.
    """
    checked: dict[str, tuple[float, float]] = {}
    if scales is not None and not isinstance(scales, Mapping):
        scales = {"": ()}
    for dimension, ends in (scales or {}).items():
        try:
            low, high = map(float, ends)
        except (TypeError, ValueError):
            low = high = math.nan
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            what = f"{ends!r:.80} is not the lowest and highest number of a scale"
            raise InputError(what, field="dataset.scales", remedy="Use {valence: [1,7]}, for example.")
        checked[str(dimension)] = (low, high)
    return checked


@dataclass(frozen=True)
class _Target:
    """Where the votes stand: column -> emotion word, an empty word where the column's values hold the words."""

    kind: Kind
    columns: Mapping[str, str]


class Said(NamedTuple):
    """What a row says.

    Args:
        votes: Emotion word -> votes or share.
        counted: The number of raters, as far as these tell it.
        ratings: What each rater said.
        means: Dimension -> mean.
    """

    votes: dict[str, float]
    counted: int | None
    ratings: Sequence[Rating]
    means: Numbers


@dataclass
class Targets:
    """Finds and reads the target of a table's rows.

    Args:
        file: For messages.
        table: The table.
        asked: Kind -> columns that the user named.
        dimensions: Dimension -> column of its mean, or of a list of the raters' numbers.
        scales: Dimension -> lowest and highest number.
    """

    file: Path
    table: Table
    asked: Mapping[Kind, Names | str]
    dimensions: Mapping[str, str] = field(default_factory=dict)
    scales: Scales = field(default_factory=dict)
    target: _Target | None = None  # that of the rows so far
    _known: dict[str, str] = field(default_factory=dict)  # words of columns

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the target so far."""
        return (*(self.target.columns if self.target else ()), *self.dimensions.values())

    def fail(self, row: int, field: str, what: str, reason: str = "bad_votes", remedy: str = SKIP_ROW) -> NoReturn:
        """Refuse a row."""
        raise RowError(what, reason=reason, file=self.file, row=row, field=field, remedy=remedy)

    def fail_columns(self, row: int, field: str, what: str, remedy: str, fields: Row) -> NoReturn:
        """Refuse the columns of a table, or of a row that may have its own."""
        what += f"; there are {', '.join(fields)}"
        if self.table.free:
            raise RowError(what, file=self.file, row=row, field=field, remedy=remedy)
        raise InputError(what, file=self.file, row=self.table.header, field=field, remedy=remedy)

    def value(self, row: int, fields: Row, column: str) -> object:
        """A field whose column must be there."""
        if column not in fields:
            remedy = "Add the column, or name another one in the dataset config (dataset.reader)."
            self.fail_columns(row, column, f"the column {column!r} is missing", remedy, fields)
        return fields[column]

    def number(self, row: int, column: str, value: object) -> float:
        """A number of votes or a share."""
        try:
            number = self.table.number(value)
        except ValueError as error:
            bounds = f" from 0 to {MAX_VOTES:g}" if str(error).endswith("is not a number") else ""
            self.fail(row, column, f"{error}{bounds}")
        if not 0 <= number <= MAX_VOTES:
            self.fail(row, column, f"{value!r:.80} is not a number from 0 to {MAX_VOTES:g}")
        return number

    def find(self, row: int, fields: Row) -> _Target:
        """Where the target of a row stands."""
        if self.target and not self.table.free:
            return self.target
        found = [_Target(kind, _named(kind, names)) for kind, names in self.asked.items()]
        found = found or self.standing(row, fields)
        if not found and any(column in fields for column in self.dimensions.values()):
            found = [_Target("means", {})]
        if len(found) != 1:
            names = ", ".join(column for target in found for column in target.columns)
            what = f"there is more than one target ({names})" if found else "there is no target"
            self.fail_columns(row, "votes", what, _TARGETS, fields)
        if self.target and found[0].kind != self.target.kind:
            what = f"the target is {found[0].kind} here and {self.target.kind} before"
            self.fail(row, found[0].kind, what, "bad_row")
        self.target = found[0]
        return self.target

    def standing(self, row: int, fields: Row) -> list[_Target]:
        """All targets that stand under their default names."""
        found = []
        for kind, prefix in _PREFIXES.items():
            found += [_Target(kind, {kind: ""})] if isinstance(fields.get(kind), Mapping) else []
            columns = {name: name[len(prefix) :] for name in fields if name.startswith(prefix) and name != prefix}
            found += [_Target(kind, columns)] if columns else []
            for name in fields:
                if columns and name not in columns and name.strip().casefold().startswith(prefix):
                    what = f"the column {name!r:.80} does not begin with {prefix!r}, but looks like it"
                    self.fail_columns(row, name, what, "Rename it; its votes would not count.", fields)
        found += [_Target("ratings", {"ratings": ""})] if "ratings" in fields else []
        # A corpus with votes often names their winner too; the votes say more.
        return found or [_Target("label", {name: ""}) for name in LABEL_COLUMNS if name in fields]

    def read(self, row: int, fields: Row, name: str) -> Said:
        """What a row says of the utterance ``name``."""
        target = self.find(row, fields)
        column = next(iter(target.columns), "")
        chosen: Sequence[tuple[str, ...]] = ()
        votes: dict[str, float] = {}
        counted: int | None = None
        if target.kind == "label":
            value = self.value(row, fields, column)
            if isinstance(value, (list, dict)):
                self.fail(row, column, f"{value!r:.80} is not text", "bad_row")
            label = self._words(row, column, value)
            chosen = [label] if len(label) > 1 else []
            votes, counted = ({label[0]: 1.0}, 1) if len(label) == 1 else ({}, len(chosen))
        elif target.kind == "ratings":
            chosen = self._ratings(row, column, self.value(row, fields, column))
            counted = len(chosen)
            if all(len(said) == 1 for said in chosen):
                votes = {word: float(count) for word, count in Counter(said[0] for said in chosen).items()}
        elif target.kind != "means":
            votes, counted = self._shares_or_counts(row, fields, target)
        means, given = self._dimensions(row, fields) if self.dimensions else ({}, {})
        return Said(votes, counted, self._raters(row, name, chosen, given), means)

    def _raters(
        self, row: int, name: str, chosen: Sequence[tuple[str, ...]], given: Mapping[str, Sequence[float | None]]
    ) -> list[Rating]:
        """Who the raters are is unknown, so nobody may be taken for the same person in two clips."""
        if not chosen and not given:
            return []
        counts = {len(values) for values in given.values()} | ({len(chosen)} if chosen else set())
        if len(counts) > 1:
            column = self.dimensions[next(iter(given))]
            self.fail(row, column, f"there are ratings of {' and of '.join(map(str, sorted(counts)))} raters")
        return [
            Rating(
                f"{name}#{i + 1}",
                chosen[i] if chosen else (),
                values={each: value for each, values in given.items() if (value := values[i]) is not None},
            )
            for i in range(max(counts, default=0))
        ]

    def _shares_or_counts(self, row: int, fields: Row, target: _Target) -> tuple[dict[str, float], int | None]:
        pairs: list[tuple[str, str, object]] = []  # word, column, value
        for column, word in target.columns.items():
            value = self.value(row, fields, column)
            if word:
                pairs.append((word, column, value))
            elif isinstance(value, Mapping):
                pairs += [(str(key), str(key), v) for key, v in value.items()]
            else:
                self.fail(row, column, f"{value!r:.80} is not an object of numbers by emotion word")
        votes: dict[str, float] = {}
        origin: dict[str, str] = {}
        for text, column, value in pairs:
            word = self._word(row, column, text)
            before = origin.setdefault(word.casefold(), column)
            if before != column:
                self.fail(row, column, f"the columns {before!r:.80} and {column!r:.80} are one emotion", "bad_row")
            votes[word] = self.number(row, column, value)
        total = math.fsum(votes.values())
        if target.kind == "distribution":
            over = abs(total - 1)
            if over > SUM_TOLERANCE and over >= rounding([value for _, _, value in pairs], down=total < 1):
                self.fail(row, target.kind, f"the shares sum to {total:.4g}, not to 1")
            return (votes if over <= SUM_TOLERANCE else {word: share / total for word, share in votes.items()}), None
        for (_, column, value), count in zip(pairs, votes.values(), strict=True):
            if not count.is_integer():
                self.fail(row, column, f"{count:g} is not a whole number of votes; shares are p_WORD")
            if self.table.number.comma and isinstance(value, str) and _THOUSANDS.fullmatch(value.strip()):
                self.fail(row, column, f"{value!r:.80} may be a thousand or a fraction")
        return votes, int(total)

    def _ratings(self, row: int, column: str, value: object) -> list[tuple[str, ...]]:
        """The words of each rater."""
        if isinstance(value, str) and ";" not in value and any(sign in value for sign in "|,"):
            what = f"it is not clear whether {value!r:.80} is what one rater said or several"
            self.fail(row, column, what, remedy=f"Separate raters by ;, as in 'happy|sad;sad', {LEAVE_OUT}")
        given = value.split(";") if isinstance(value, str) else [] if is_blank(value) else value
        if not isinstance(given, (list, tuple)) or not all(is_blank(w) or isinstance(w, (str, list)) for w in given):
            self.fail(row, column, f"{value!r:.80} is not a list of words, one per rater")
        return [said for word in given if not is_blank(word) and (said := self._words(row, column, word))]

    def _words(self, row: int, column: str, cell: object) -> tuple[str, ...]:
        """The words of one rater."""
        try:
            cell = text_of(cell)
            return words_of(cell if isinstance(cell, (str, list)) else "" if is_blank(cell) else str(cell))
        except ValueError as error:
            remedy = "Leave empty what nobody said, or leave the row out: dataset.on_error=skip."
            self.fail(row, column, str(error), remedy=remedy if "no emotion" in str(error) else f"{UNSURE} {SKIP_ROW}")

    def _word(self, row: int, column: str, text: str) -> str:
        """The word of a column or key."""
        if text in self._known:
            return self._known[text]
        try:
            word = emotion_word(text)
        except ValueError as error:
            remedy = "Leave empty what nobody said, or leave the row out: dataset.on_error=skip."
            self.fail(row, column, str(error), remedy=remedy)
        if "|" in word or ";" in word:
            remedy = "Count a rater's several words apart, or give the ratings themselves, a row each."
            self.fail(row, column, f"{word!r:.80} is several words", remedy=remedy)
        self._known[text] = word
        return word

    def _dimensions(self, row: int, fields: Row) -> tuple[dict[str, float], dict[str, list[float | None]]]:
        """Means by dimension, and the raters' own numbers where they are listed."""
        means: dict[str, float] = {}
        given: dict[str, list[float | None]] = {}
        for dimension, column in self.dimensions.items():
            value = fields.get(column)
            if isinstance(value, (list, tuple)):
                given[dimension] = [None if is_blank(each) else self._point(row, dimension, each) for each in value]
            elif not is_blank(value):
                means[dimension] = self._point(row, dimension, value)
        return means, given

    def _point(self, row: int, dimension: str, value: object) -> float:
        column = self.dimensions[dimension]
        try:
            point = self.table.number(value)
        except ValueError as error:
            self.fail(row, column, str(error))
        low, high = self.scales[dimension]
        if not low <= point <= high:
            what = f"{point:g} is not on the scale of {dimension}, {low:g} to {high:g}"
            remedy = f"Correct it, or say what the scale is: dataset.scales={{{dimension}: [LOW,HIGH]}}."
            self.fail(row, column, what, remedy=remedy)
        return point

    def num_raters(self, row: int, fields: Row, said: Said) -> int | None:
        """The number of raters; fewer votes than raters are abstentions."""
        value = fields.get(RATERS)
        if is_blank(value) or (isinstance(value, str) and known(value) is None):
            return said.counted
        number = self.number(row, RATERS, value)
        if not number.is_integer() or (number < 1 and (any(said.votes.values()) or said.ratings)):
            self.fail(row, RATERS, f"{number:g} is not a whole number of raters")
        kind = self.target.kind if self.target else ""
        for word, count in said.votes.items():
            if kind == "distribution":
                given = count * number
                if abs(given - round(given)) > min(SHARE_TOLERANCE * number, 0.25) + 1e-9:
                    what = f"a share of {count:g} for {word!r:.80} is {given:.4g} votes of {number:g} raters"
                    remedy = f"Correct the row; where raters gave parts of a vote, leave {RATERS} empty."
                    self.fail(row, RATERS, what, remedy=remedy)
            elif count > number:
                self.fail(row, RATERS, f"there are {count:g} votes for {word!r:.80}, and {number:g} raters")
        if len(said.ratings) > number:
            self.fail(row, RATERS, f"there are {len(said.ratings)} ratings, and {number:g} raters")
        return int(number)


def rounding(shares: Sequence[object], down: bool) -> float:
    """How far the sum of shares may be off by the rounding that the most decimals among them imply.

    Of shares that sum to too little, some were rounded down to nothing; of those that sum to too much, none.

    >>> round(rounding(["0.17", "0.17", "0.17", "0.17", "0.17", "0.16"], down=False), 3)
    0.03
    """
    texts = [f"{share:.7g}" if isinstance(share, float) else str(share).strip().replace(",", ".") for share in shares]
    numbers = [Decimal(text) for text in texts]
    exponents = (number.as_tuple().exponent for number in numbers)
    half = 0.5 * 10.0 ** min([0, *(each for each in exponents if isinstance(each, int))])
    some = sum(number != 0 for number in numbers) * half if half < 0.5 else 0.0
    # Sums of decimals are a little off as floats.
    return (max(some, min(len(numbers) * half, MOST_ROUNDED)) if down and some else some) - 1e-9


def _named(kind: Kind, source: Names | str) -> dict[str, str]:
    """Columns that the user named."""
    if isinstance(source, str):
        return {source: ""}
    if isinstance(source, Mapping):
        return {str(column): str(word) for word, column in source.items()}
    return {str(column): str(column).removeprefix(_PREFIXES[kind]) for column in source}
