"""A row of a user's own table as an utterance: manifests and data sets of the hub have the same columns."""

from __future__ import annotations

import json
import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Literal, NoReturn, TypeAlias

from emoprobe.data.fields import NO_WORD, identity, is_blank, known, words
from emoprobe.data.files import RowError, SoundFolder
from emoprobe.data.utterance import Rating, Utterance
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet

LABEL_COLUMNS = ("label", "emotion")
MAX_VOTES = 1e9
Row: TypeAlias = Mapping[str, object]
Names: TypeAlias = Sequence[str] | Mapping[str, str]
Kind: TypeAlias = Literal["votes", "ratings", "distribution", "label"]  # of a target

SUM_TOLERANCE = 1e-3
SHARE_TOLERANCE = 5e-3  # of a share written with two decimals
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_RATERS = "num_raters"
_DEFAULT_COLUMNS = {"path", "audio", "utterance_id", "id", "speaker", "split", "transcript", "dialogue", _RATERS}
_PREFIXES: dict[Kind, str] = {"votes": "votes_", "distribution": "p_"}
_SKIP = "Correct the row, or leave it out: dataset.on_error=skip."
_TARGETS = (
    "Give vote counts (columns votes_WORD), one word per rater (ratings), shares (p_WORD) or one label (label, "
    "emotion), or name the columns of one kind: dataset.reader.votes_columns, ratings_column, distribution_columns, "
    "label_column."
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


@dataclass(frozen=True)
class _Target:
    """Where the votes stand: column -> emotion word, an empty word where the column's values hold the words."""

    kind: Kind
    columns: Mapping[str, str]


@dataclass
class RowReader:
    """Turns rows into utterances; the columns are those that `read_manifest` was given."""

    file: Path
    sound: SoundFolder
    path: str
    id: str
    speaker: str
    split: str
    transcript: str
    dialogue: str
    asked: Mapping[Kind, Names | str]
    labels: LabelSet | None
    target: _Target | None = None  # that of the rows so far
    there: set[str] = field(default_factory=set)  # columns of the rows so far

    def __post_init__(self) -> None:
        # Each JSONL row has columns of its own; elsewhere a missing column concerns the whole file, not one row.
        self.free = self.file.suffix.lower() == ".jsonl"

    @property
    def own(self) -> tuple[str, ...]:
        """Columns with a meaning, other than the target's."""
        return (self.path, self.id, self.speaker, self.split, self.transcript, self.dialogue, _RATERS)

    def check_columns(self) -> None:
        """Refuse a column that was named and that no row has: what it should have told would be unknown in silence.

        Raises:
            InputError: There is one.
        """
        for column in self.own:
            if column not in self.there and column not in _DEFAULT_COLUMNS:
                what = f"no row has the column {column!r:.80}; there are {', '.join(sorted(self.there))}"
                raise InputError(what, file=self.file, field=column, remedy="Correct its name (dataset.reader).")

    def utterance(self, row: int, fields: Row) -> Utterance:
        if not self.there.issuperset(fields):
            self._check_spelling(row, fields)
            self.there.update(fields)
        relative = self._path(row, fields)
        audio = self.sound.find(relative, file=self.file, row=row, field=self.path, remedy=_SKIP)
        target = self._target(row, fields)
        votes, raters, chosen = self._votes(row, fields, target)
        labels = self.labels
        for word in votes:
            if labels and labels.resolve(word) is None:
                known = ", ".join(labels.labels)
                self._fail(row, target.kind, f"{word!r} is none of {known}", "outside_label_set")
        name = self._id(row, fields, self.id)
        name = name or unicodedata.normalize("NFC", os.path.splitext(os.path.normpath(relative))[0])
        used = {*self.own, *target.columns}
        facts = {key: _fact(value) for key, value in fields.items() if key not in used}
        return Utterance(
            id=name,
            audio=audio,
            votes=votes,
            num_raters=self._num_raters(row, fields, target, votes, raters),
            speaker=self._id(row, fields, self.speaker),
            split=self._id(row, fields, self.split),
            transcript=self._words(row, fields, self.transcript),
            dialogue=self._words(row, fields, self.dialogue),
            # Who the raters are is unknown, so nobody may be taken for the same person in two clips.
            ratings=tuple(Rating(f"{name}#{i}", (word,)) for i, word in enumerate(chosen, start=1)),
            metadata={key: fact for key, fact in facts.items() if fact is not None},
            file=self.file,
            row=row,
        )

    def _fail(self, row: int, field: str, what: str, reason: str = "bad_votes", remedy: str = _SKIP) -> NoReturn:
        raise RowError(what, reason=reason, file=self.file, row=row, field=field, remedy=remedy)

    def _fail_columns(self, row: int, field: str, what: str, remedy: str, fields: Row) -> NoReturn:
        what += f"; there are {', '.join(fields)}"
        if self.free:
            raise RowError(what, file=self.file, row=row, field=field, remedy=remedy)
        header = None if self.file.suffix.lower() == ".parquet" else 1
        raise InputError(what, file=self.file, row=header, field=field, remedy=remedy)

    def _value(self, row: int, fields: Row, column: str) -> object:
        if column not in fields:
            remedy = "Add the column, or name another one in the dataset config (dataset.reader)."
            self._fail_columns(row, column, f"the column {column!r} is missing", remedy, fields)
        return fields[column]

    def _check_spelling(self, row: int, fields: Row) -> None:
        """Refuse a column whose name is that of a known one but for case and blanks: it would be passed over."""
        for column in self.own:
            for other in fields:
                if column not in fields and other.strip().casefold() == column.casefold():
                    what = f"the column {other!r:.80} is not {column!r:.80}, but looks like it"
                    self._fail_columns(row, other, what, "Rename it, or name it in the dataset config.", fields)

    def _path(self, row: int, fields: Row) -> str:
        value = self._value(row, fields, self.path)
        if is_blank(value):
            self._fail(row, self.path, "the field is empty", "bad_row")
        if not isinstance(value, str):
            self._fail(row, self.path, f"{value!r:.80} is not text", "bad_row")
        return value.strip()

    def _id(self, row: int, fields: Row, column: str) -> str | None:
        try:
            return identity(fields.get(column))
        except ValueError as error:
            self._fail(row, column, str(error), "bad_row")

    def _words(self, row: int, fields: Row, column: str) -> str | None:
        try:
            return words(fields.get(column))
        except ValueError as error:
            self._fail(row, column, str(error), "bad_row")

    def _target(self, row: int, fields: Row) -> _Target:
        if self.target and not self.free:
            return self.target
        found = [_Target(kind, _named(kind, names)) for kind, names in self.asked.items()]
        found = found or self._default_targets(row, fields)
        if len(found) != 1:
            names = ", ".join(column for target in found for column in target.columns)
            what = f"there is more than one target ({names})" if found else "there is no target"
            self._fail_columns(row, "votes", what, _TARGETS, fields)
        if self.target and found[0].kind != self.target.kind:
            what = f"the target is {found[0].kind} here and {self.target.kind} before"
            self._fail(row, found[0].kind, what, "bad_row")
        self.target = found[0]
        return self.target

    def _default_targets(self, row: int, fields: Row) -> list[_Target]:
        """All targets that stand under their default names."""
        found = []
        for kind, prefix in _PREFIXES.items():
            found += [_Target(kind, {kind: ""})] if isinstance(fields.get(kind), Mapping) else []
            columns = {name: name[len(prefix) :] for name in fields if name.startswith(prefix) and name != prefix}
            found += [_Target(kind, columns)] if columns else []
            for name in fields:
                if columns and name not in columns and name.strip().casefold().startswith(prefix):
                    what = f"the column {name!r:.80} does not begin with {prefix!r}, but looks like it"
                    self._fail_columns(row, name, what, "Rename it; its votes would not count.", fields)
        found += [_Target("ratings", {"ratings": ""})] if "ratings" in fields else []
        # A corpus with votes often names their winner too; the votes say more.
        return found or [_Target("label", {name: ""}) for name in LABEL_COLUMNS if name in fields]

    def _votes(self, row: int, fields: Row, target: _Target) -> tuple[dict[str, float], int | None, list[str]]:
        """Emotion word -> votes or share; the number of raters as far as these tell it; the raters' words."""
        column = next(iter(target.columns))
        if target.kind == "label":
            value = self._value(row, fields, column)
            if isinstance(value, (list, dict, bytes)):
                self._fail(row, column, f"{value!r:.80} is not text", "bad_row")
            label = "" if is_blank(value) else self._word(row, column, str(value))
            return ({label: 1.0}, 1, []) if label else ({}, 0, [])
        if target.kind == "ratings":
            chosen = self._ratings(row, column, self._value(row, fields, column))
            return {word: float(count) for word, count in Counter(chosen).items()}, len(chosen), chosen
        pairs: list[tuple[str, str, object]] = []  # word, column, value
        for column, word in target.columns.items():
            value = self._value(row, fields, column)
            if word:
                pairs.append((word, column, value))
            elif isinstance(value, Mapping):
                pairs += [(str(key), str(key), v) for key, v in value.items()]
            else:
                self._fail(row, column, f"{value!r:.80} is not an object of numbers by emotion word")
        votes: dict[str, float] = {}
        origin: dict[str, str] = {}
        for text, column, value in pairs:
            word = self._word(row, column, text)
            before = origin.setdefault(word.casefold(), column)
            if before != column:
                self._fail(row, column, f"the columns {before!r:.80} and {column!r:.80} are one emotion", "bad_row")
            votes[word] = self._number(row, column, value)
        total = math.fsum(votes.values())
        if target.kind == "distribution":
            if abs(total - 1) > SUM_TOLERANCE:
                self._fail(row, target.kind, f"the shares sum to {total:.4g}, not to 1")
            return votes, None, []
        for word, count in votes.items():
            if not count.is_integer():
                what = f"{count:g} is not a whole number of votes; shares are p_WORD"
                self._fail(row, origin[word.casefold()], what)
        return votes, int(total), []

    def _ratings(self, row: int, column: str, value: object) -> list[str]:
        given = value.split(";") if isinstance(value, str) else [] if is_blank(value) else value
        if not isinstance(given, list) or not all(is_blank(word) or isinstance(word, str) for word in given):
            self._fail(row, column, f"{value!r:.80} is not a list of words, one per rater")
        return [self._word(row, column, word) for word in given if not is_blank(word)]

    def _word(self, row: int, column: str, text: str) -> str:
        word = unicodedata.normalize("NFC", text).strip()
        if word.lower() in NO_WORD:
            remedy = "Leave empty what nobody said, or leave the row out: dataset.on_error=skip."
            self._fail(row, column, f"{word!r} is no emotion word", remedy=remedy)
        return word

    def _num_raters(
        self, row: int, fields: Row, target: _Target, votes: Mapping[str, float], counted: int | None
    ) -> int | None:
        value = fields.get(_RATERS)
        if is_blank(value) or (isinstance(value, str) and known(value) is None):
            return counted
        number = self._number(row, _RATERS, value)
        if number < 1 or not number.is_integer():
            self._fail(row, _RATERS, f"{number:g} is not a whole number of raters")
        for word, count in votes.items():
            if target.kind == "distribution":
                given = count * number
                if abs(given - round(given)) > min(SHARE_TOLERANCE * number, 0.25) + 1e-9:
                    what = f"a share of {count:g} for {word!r:.80} is {given:.4g} votes of {number:g} raters"
                    remedy = f"Correct the row; where raters gave parts of a vote, leave {_RATERS} empty."
                    self._fail(row, _RATERS, what, remedy=remedy)
            elif count > number:
                self._fail(row, _RATERS, f"there are {count:g} votes for {word!r:.80}, and {number:g} raters")
        if target.kind == "ratings" and counted is not None and counted > number:
            self._fail(row, _RATERS, f"there are {counted} ratings, and {number:g} raters")
        return int(number)

    def _number(self, row: int, column: str, value: object) -> float:
        number = float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value
        # An integer is compared before it is converted: it may be too large for a float.
        if isinstance(number, (int, float, Decimal)) and not isinstance(number, bool) and 0 <= number <= MAX_VOTES:
            return float(number)
        self._fail(row, column, f"{value!r:.80} is not a number from 0 to {MAX_VOTES:g}")


def _named(kind: Kind, source: Names | str) -> dict[str, str]:
    """Columns that the user named."""
    if isinstance(source, str):
        return {source: ""}
    if isinstance(source, Mapping):
        return {str(column): str(word) for word, column in source.items()}
    return {str(column): str(column).removeprefix(_PREFIXES[kind]) for column in source}


def _fact(value: object) -> str | float | None:
    """A metadata value: numbers stay numbers, all else becomes text; None where the cell holds nothing."""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    if is_blank(value):
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    return words(str(value))


def without_null(value: object) -> object:
    """A struct of Parquet has the words of all rows in every row; those that a row does not have are null."""
    return {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value
