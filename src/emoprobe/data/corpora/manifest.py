"""Manifests: a researcher's own corpus as CSV, TSV, JSONL or Parquet."""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NoReturn

from emoprobe.data.files import Harvest, RowError, SoundFolder, json_lines, table_rows, text_lines
from emoprobe.data.parquet import parquet_rows
from emoprobe.data.utterance import Corpus, CorpusCard, Rating, Utterance
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet

CARD = CorpusCard(
    name="manifest",
    title="Your own corpus (manifest)",
    synthetic=False,
    licence="as its owner says",
    access="a CSV, TSV, JSONL or Parquet file: dataset.path=FILE",
    citation="as its owner says",
    raters="as its owner says",
    splits="its column split",
)
SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
LABEL_COLUMNS = ("label", "emotion")
MAX_VOTES = 1e9
SUM_TOLERANCE = 1e-3
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_PREFIXES = {"votes": "votes_", "distribution": "p_"}
_SKIP = "Correct the row, or leave it out: dataset.on_error=skip."
_QUOTE = "Quote fields that hold the separator, or leave the row out: dataset.on_error=skip."
_CLOSE = "Close every quote, and double the quotes inside quoted fields."
_TARGETS = (
    "Give vote counts (columns votes_WORD), one word per rater (ratings), shares (p_WORD) or one label (label, "
    "emotion), or name the columns of one kind: dataset.reader.votes_columns, ratings_column, distribution_columns, "
    "label_column."
)

Row = Mapping[str, object]
Names = Sequence[str] | Mapping[str, str]


def read_manifest(
    path: str | Path,
    root: str | Path | None = None,
    *,
    path_column: str = "path",
    id_column: str = "utterance_id",
    label_column: str | None = None,
    votes_columns: Names | None = None,
    ratings_column: str | None = None,
    distribution_columns: Names | None = None,
    speaker_column: str = "speaker",
    split_column: str = "split",
    transcript_column: str = "transcript",
    dialogue_column: str = "dialogue",
    labels: LabelSet | None = None,
    on_error: Literal["error", "skip"] = "error",
    name: str | None = None,
) -> Corpus:
    """Read a manifest: one row per utterance, with exactly one kind of target.

    The kinds are vote counts, one word per rater, shares, and one label. Where no column of them is named, the default
    names decide; a label beside votes, ratings or shares is then taken for their summary and becomes metadata. All
    columns without another meaning become metadata. A column ``num_raters`` says how many raters there were. Rows
    without any vote are read, and left to the soft-label policy.

    Args:
        path: The manifest; its suffix (.csv, .tsv, .jsonl, .parquet) tells the format. Text is UTF-8.
        root: Folder that audio paths are relative to; the manifest's own by default. It may be a link, but no path may
            leave the folder that it leads to, by ``..`` or by links.
        path_column: Audio path.
        id_column: Utterance id; the path without its suffix where there is no such column or value.
        label_column: One label per clip; default ``label`` or ``emotion``.
        votes_columns: Vote counts: columns, or emotion word -> column; default ``votes_WORD``, or in JSONL and Parquet
            an object ``votes`` of counts by word.
        ratings_column: One word per rater: a list, or words separated by ``;``; default ``ratings``.
        distribution_columns: Shares that sum to 1: columns, or emotion word -> column; default ``p_WORD``, or in JSONL
            and Parquet an object ``distribution``.
        speaker_column: Speaker id.
        split_column: Split name.
        transcript_column: Words spoken.
        dialogue_column: Text of the previous turns, as it should be shown to a model; it may have several lines.
        labels: Refuse emotion words that this label set does not know; None leaves them to the soft-label policy.
        on_error: ``error``, or ``skip`` to list bad rows and go on.
        name: Name of the corpus; the manifest's file name by default.

    Raises:
        InputError: The manifest or a row is malformed; it names file, row (the header is row 1; of JSONL the line; of
            Parquet the first row is row 1), field and remedy.
    """
    # os.path.expanduser, unlike Path.expanduser, does not raise where a user is unknown.
    path = Path(os.path.expanduser(path)).absolute()
    folder = Path(os.path.expanduser(root)).absolute() if root else path.parent
    harvest = Harvest(
        replace(CARD, name=name or path.stem, title=f"{name or path.stem} (manifest)", access=path.name), on_error
    )
    _check_place(path, folder)
    asked = {
        "votes": check_names(votes_columns, "votes_columns"),
        "ratings": ratings_column,
        "distribution": check_names(distribution_columns, "distribution_columns"),
        "label": label_column,
    }
    reader = RowReader(
        file=path,
        sound=SoundFolder(folder, suffixes=()),
        path=path_column,
        id=id_column,
        speaker=speaker_column,
        split=split_column,
        transcript=transcript_column,
        dialogue=dialogue_column,
        asked={kind: names for kind, names in asked.items() if names is not None},
        labels=labels,
    )
    duplicate = "Give every utterance its own id, or keep the first: dataset.on_error=skip."
    for row, fields in _rows(path):
        bad = isinstance(fields, RowError)
        with harvest.row("" if bad else str(fields.get(id_column) or fields.get(path_column) or "")):
            if bad:
                raise fields
            harvest.add(reader.utterance(row, fields), field=id_column, remedy=duplicate)
    return harvest.corpus(path, remedy="Add a row per utterance.")


def _check_place(path: Path, folder: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"unknown manifest format {path.suffix!r}",
            file=path,
            field="dataset.path",
            remedy=f"Use one of {', '.join(SUFFIXES)}.",
        )
    if not os.path.isfile(path):
        what = "this is a folder, not a manifest" if os.path.isdir(path) else "the manifest does not exist"
        raise InputError(what, file=path, field="dataset.path", remedy="Check dataset.path.")
    if not os.path.isdir(folder):
        raise InputError("the root folder does not exist", file=folder, field="dataset.root", remedy="Check it.")


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

    kind: Literal["votes", "ratings", "distribution", "label"]
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
    asked: Mapping[str, Names | str]
    labels: LabelSet | None
    target: _Target | None = None  # that of the rows so far

    def __post_init__(self) -> None:
        # Each JSONL row has columns of its own; elsewhere a missing column concerns the whole file, not one row.
        self.free = self.file.suffix.lower() == ".jsonl"

    def utterance(self, row: int, fields: Row) -> Utterance:
        relative = self._text(row, fields, self.path, required=True)
        audio = self.sound.find(relative, file=self.file, row=row, field=self.path, remedy=_SKIP)
        target = self._target(row, fields)
        votes, raters, words = self._votes(row, fields, target)
        for word in votes if self.labels else ():
            if self.labels.resolve(word) is None:
                known = ", ".join(self.labels.labels)
                self._fail(row, target.kind, f"{word!r} is none of {known}", "outside_label_set")
        identity = self._text(row, fields, self.id) or os.path.splitext(relative)[0]
        own = {self.path, self.id, self.speaker, self.split, self.transcript, self.dialogue, "num_raters"}
        used = {*own, *target.columns}
        return Utterance(
            id=identity,
            audio=audio,
            votes=votes,
            num_raters=self._num_raters(row, fields, raters),
            speaker=self._text(row, fields, self.speaker) or None,
            split=self._text(row, fields, self.split) or None,
            transcript=self._text(row, fields, self.transcript) or None,
            dialogue=self._text(row, fields, self.dialogue) or None,
            # Who the raters are is unknown, so nobody may be taken for the same person in two clips.
            ratings=tuple(Rating(f"{identity}#{i}", (word,)) for i, word in enumerate(words, start=1)),
            metadata={key: _fact(value) for key, value in fields.items() if key not in used and not _blank(value)},
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

    def _text(self, row: int, fields: Row, column: str, required: bool = False) -> str:
        value = self._value(row, fields, column) if required else fields.get(column)
        if isinstance(value, (list, dict)):
            self._fail(row, column, f"{value!r:.80} is not text", "bad_row")
        if required and _blank(value):
            self._fail(row, column, "the field is empty", "bad_row")
        return "" if _blank(value) else str(value).strip()

    def _target(self, row: int, fields: Row) -> _Target:
        if self.target and not self.free:
            return self.target
        found = [_Target(kind, _named(kind, names)) for kind, names in self.asked.items()]
        found = found or _default_targets(fields)
        if len(found) != 1:
            names = ", ".join(column for target in found for column in target.columns)
            what = f"there is more than one target ({names})" if found else "there is no target"
            self._fail_columns(row, "votes", what, _TARGETS, fields)
        if self.target and found[0].kind != self.target.kind:
            what = f"the target is {found[0].kind} here and {self.target.kind} before"
            self._fail(row, found[0].kind, what, "bad_row")
        self.target = found[0]
        return self.target

    def _votes(self, row: int, fields: Row, target: _Target) -> tuple[dict[str, float], int | None, list[str]]:
        """Emotion word -> votes or share; the number of raters as far as these tell it; the raters' words."""
        column = next(iter(target.columns))
        if target.kind == "label":
            self._value(row, fields, column)
            label = self._text(row, fields, column)
            return ({label: 1.0}, 1, []) if label else ({}, 0, [])
        if target.kind == "ratings":
            words = self._words(row, column, self._value(row, fields, column))
            return {word: float(count) for word, count in Counter(words).items()}, len(words), words
        pairs: list[tuple[str, str, object]] = []  # word, column, value
        for column, word in target.columns.items():
            value = self._value(row, fields, column)
            if not word and not isinstance(value, Mapping):
                self._fail(row, column, f"{value!r:.80} is not an object of numbers by emotion word")
            pairs += [(word, column, value)] if word else [(str(key), str(key), v) for key, v in value.items()]
        votes = {word.strip(): self._number(row, column, value) for word, column, value in pairs}
        if len(votes) < len(pairs):
            self._fail(row, target.kind, f"an emotion occurs twice: {', '.join(w for w, _, _ in pairs)}", "bad_row")
        total = math.fsum(votes.values())
        if target.kind == "distribution":
            if abs(total - 1) > SUM_TOLERANCE:
                self._fail(row, target.kind, f"the shares sum to {total:.4g}, not to 1")
            return votes, None, []
        for word, column, _ in pairs:
            if not votes[word.strip()].is_integer():
                self._fail(row, column, f"{votes[word.strip()]:g} is not a whole number of votes; shares are p_WORD")
        return votes, int(total), []

    def _words(self, row: int, column: str, value: object) -> list[str]:
        words = value.split(";") if isinstance(value, str) else [] if _blank(value) else value
        if not isinstance(words, list) or not all(word is None or isinstance(word, str) for word in words):
            self._fail(row, column, f"{value!r:.80} is not a list of words, one per rater")
        return [word.strip() for word in words if not _blank(word)]

    def _num_raters(self, row: int, fields: Row, counted: int | None) -> int | None:
        value = fields.get("num_raters")
        if _blank(value):
            return counted
        number = self._number(row, "num_raters", value)
        if number < 1 or not number.is_integer():
            self._fail(row, "num_raters", f"{number:g} is not a whole number of raters")
        return int(number)

    def _number(self, row: int, column: str, value: object) -> float:
        written = isinstance(value, str) and _NUMBER.fullmatch(value)
        if written or (isinstance(value, (int, float)) and not isinstance(value, bool)):
            # An integer is compared before it is converted: it may be too large for a float.
            number = float(value) if written else value
            if 0 <= number <= MAX_VOTES:
                return float(number)
        self._fail(row, column, f"{value!r:.80} is not a number from 0 to {MAX_VOTES:g}")


def _named(kind: str, source: Names | str) -> dict[str, str]:
    """Columns that the user named."""
    if isinstance(source, str):
        return {source: ""}
    if isinstance(source, Mapping):
        return {str(column): str(word) for word, column in source.items()}
    return {str(column): str(column).removeprefix(_PREFIXES[kind]) for column in source}


def _default_targets(fields: Row) -> list[_Target]:
    """All targets that stand under their default names."""
    found = []
    for kind, prefix in _PREFIXES.items():
        found += [_Target(kind, {kind: ""})] if isinstance(fields.get(kind), Mapping) else []
        columns = {name: name[len(prefix) :] for name in fields if name.startswith(prefix) and name != prefix}
        found += [_Target(kind, columns)] if columns else []
    found += [_Target("ratings", {"ratings": ""})] if "ratings" in fields else []
    # A corpus with votes often names their winner too; the votes say more.
    return found or [_Target("label", {name: ""}) for name in LABEL_COLUMNS if name in fields]


def _blank(value: object) -> bool:
    """Whether a field holds nothing: no value, NaN, or white space."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def _fact(value: object) -> str | float:
    """A metadata value: numbers stay numbers, all else becomes text."""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def _rows(path: Path) -> Iterator[tuple[int, Row | RowError]]:
    """``(row, fields)`` with rows as a person counts them; a bad row comes as its error, so that it can be skipped."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        for row, fields in parquet_rows(path, remedy="Write it again."):
            yield row, {column: without_null(value) for column, value in fields.items()}
        return
    # All of the text is read before any row of it: another encoding explains whatever else is wrong.
    lines = text_lines(path, remedy="Save the file as UTF-8, where it may be read.")
    if not sum(bool(line.strip()) for _, line in lines):
        raise InputError("the manifest is empty", file=path, remedy="Add a header and a row per utterance.")
    if suffix == ".jsonl":
        yield from json_lines(path, row_remedy=_SKIP)
    else:
        delimiter = "\t" if suffix == ".tsv" else ","
        yield from table_rows(path, delimiter=delimiter, unique=True, remedy=_CLOSE, row_remedy=_QUOTE)


def without_null(value: object) -> object:
    """A struct of Parquet has the words of all rows in every row; those that a row does not have are null."""
    return {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value
