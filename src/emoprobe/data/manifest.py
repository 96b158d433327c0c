"""Manifests: a researcher's own corpus as CSV, TSV, JSONL or Parquet."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from emoprobe.data.utterance import Corpus, CorpusCard, Skipped, Utterance
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
LABEL_COLUMNS = ("label", "emotion")
MAX_VOTES = 1e9
SUM_TOLERANCE = 1e-3
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_SKIP = "Correct the row, or leave it out: dataset.on_error=skip."
_TARGETS = (
    "Give vote counts (columns votes_WORD), one word per rater (ratings), shares (p_WORD) or one label (label, "
    "emotion), or name the columns of one kind: dataset.reader.votes_columns, ratings_column, distribution_columns, "
    "label_column."
)

Row = Mapping[str, object]
Names = Sequence[str] | Mapping[str, str]


class _RowError(InputError):
    """One row is wrong; the others may be right."""

    def __init__(self, what: str, *, reason: str = "bad_row", remedy: str = _SKIP, **where) -> None:
        self.reason = reason
        super().__init__(what, remedy=remedy, **where)


@dataclass(frozen=True)
class Columns:
    """Which column means what, as the arguments of `read_manifest`; None lets the default names decide."""

    path: str = "path"
    id: str = "utterance_id"
    label: str | None = None
    votes: Names | None = None
    ratings: str | None = None
    distribution: Names | None = None
    speaker: str = "speaker"
    split: str = "split"
    transcript: str = "transcript"


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
    labels: LabelSet | None = None,
    on_error: Literal["error", "skip"] = "error",
    name: str | None = None,
) -> Corpus:
    """Read a manifest: one row per utterance, with exactly one kind of target.

    The kinds are vote counts, one word per rater, shares, and one label. Where no column of them is named, the default
    names decide; a label beside votes, ratings or shares is then taken for their summary and becomes metadata. All
    columns without another meaning become metadata. A column ``num_raters`` says how many raters there were.

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
        labels: Refuse emotion words that this label set does not know; None leaves them to the soft-label policy.
        on_error: ``error``, or ``skip`` to list bad rows and go on.
        name: Name of the corpus; the manifest's file name by default.

    Raises:
        InputError: The manifest or a row is malformed; it names file, row (the header is row 1; of JSONL the line; of
            Parquet the first row is row 1), field and remedy.
    """
    if on_error not in ("error", "skip"):
        raise InputError(f"unknown value {on_error!r}", field="dataset.on_error", remedy="Use error or skip.")
    path = Path(path).expanduser().absolute()
    folder = Path(root).expanduser().absolute() if root else path.parent
    _check_place(path, folder)
    columns = Columns(
        path=path_column,
        id=id_column,
        label=label_column,
        votes=_check_names(votes_columns, "votes_columns"),
        ratings=ratings_column,
        distribution=_check_names(distribution_columns, "distribution_columns"),
        speaker=speaker_column,
        split=split_column,
        transcript=transcript_column,
    )
    reader = _Reader(path, folder, columns, labels)
    utterances: dict[str, Utterance] = {}
    skipped: list[Skipped] = []
    for row, fields in _rows(path):
        try:
            if isinstance(fields, _RowError):
                raise fields
            utterance = reader.utterance(row, fields)
            if utterance.id in utterances:
                raise _RowError(
                    f"utterance id {utterance.id!r} was used before, in row {utterances[utterance.id].row}",
                    reason="duplicate_id",
                    file=path,
                    row=row,
                    field=id_column,
                    remedy="Give every utterance its own id, or keep the first: dataset.on_error=skip.",
                )
        except _RowError as error:
            if on_error != "skip":
                raise
            known = fields.get(id_column) if isinstance(fields, Mapping) else None
            skipped.append(Skipped(str(known or ""), error.reason, str(error), str(path), row))
            continue
        utterances[utterance.id] = utterance
    if not utterances:
        first = f"None of {len(skipped)} rows can be read; the first: {skipped[0].message}" if skipped else None
        raise InputError("the manifest has no usable rows", file=path, remedy=first or "Add a row per utterance.")
    return Corpus(_card(name or path.stem, path), tuple(utterances.values()), tuple(skipped))


def _card(name: str, path: Path) -> CorpusCard:
    return CorpusCard(
        name=name,
        title=f"{name} (manifest)",
        synthetic=False,
        licence="as its owner says",
        access=path.name,
        citation="",
        raters="as its owner says",
    )


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


def _check_names(names: Names | None, option: str) -> Names | None:
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


class _Reader:
    """Turns rows into utterances; the kind of target is settled by the first one."""

    def __init__(self, file: Path, root: Path, columns: Columns, labels: LabelSet | None) -> None:
        self.file, self.root, self.columns, self.labels = file, root, columns, labels
        self.real_root = Path(os.path.realpath(root))
        self.kind = ""
        # JSONL rows may differ in their columns; the others share them.
        self.header_row = None if file.suffix.lower() == ".jsonl" else 1

    def utterance(self, row: int, fields: Row) -> Utterance:
        columns = self.columns
        relative = self._text(row, fields, columns.path, required=True)
        audio = self._audio(row, relative)
        kind, source = self._target_kind(row, fields)
        pairs, raters = self._votes(row, fields, kind, source)
        for word in pairs if self.labels else ():
            if self.labels.resolve(word) is None:
                self._fail(row, kind, f"{word!r} is none of {', '.join(self.labels.labels)}", "outside_label_set")
        identity = self._text(row, fields, columns.id) or str(PurePosixPath(relative).with_suffix(""))
        words = self._words(row, fields, str(source)) if kind == "ratings" else []
        used = {columns.path, columns.id, columns.speaker, columns.split, columns.transcript}
        used |= set(self._target_columns(fields, kind, source))
        return Utterance(
            id=identity,
            audio=audio,
            votes=pairs,
            num_raters=self._num_raters(row, fields, raters),
            speaker=self._text(row, fields, columns.speaker) or None,
            split=self._text(row, fields, columns.split) or None,
            transcript=self._text(row, fields, columns.transcript) or None,
            # Who a rater is stays unknown, so nobody may be taken for the same person in two clips.
            ratings=tuple((f"{identity}#{i}", word) for i, word in enumerate(words, start=1)),
            metadata={key: _fact(value) for key, value in fields.items() if key not in used and not _blank(value)},
            file=self.file,
            row=row,
        )

    def _fail(self, row: int, field: str, what: str, reason: str = "bad_votes", remedy: str = _SKIP):
        raise _RowError(what, reason=reason, file=self.file, row=row, field=field, remedy=remedy)

    def _missing_column(self, row: int, column: str, fields: Row):
        kind = _RowError if self.header_row is None else InputError
        raise kind(
            f"the column {column!r} is missing; there are {', '.join(fields)}",
            file=self.file,
            row=self.header_row or row,
            field=column,
            remedy="Add the column, or name another one in the dataset config (dataset.reader).",
        )

    def _target_kind(self, row: int, fields: Row) -> tuple[str, Names | str | None]:
        columns = self.columns
        found = [
            (kind, source)
            for kind in ("votes", "ratings", "distribution", "label")
            if (source := getattr(columns, kind)) is not None
        ]
        if not found:
            found = [(kind, None) for kind in ("votes", "distribution") if self._target_columns(fields, kind, None)]
            found += [("ratings", "ratings")] if "ratings" in fields else []
        # A corpus with votes often names their winner too; the votes say more.
        found = found or [("label", name) for name in LABEL_COLUMNS if name in fields]
        if len(found) != 1:
            problem = "more than one target: " + ", ".join(s or k for k, s in found) if found else "no target"
            kind = _RowError if self.header_row is None else InputError
            raise kind(
                f"the manifest has {problem}; its columns are {', '.join(fields)}",
                file=self.file,
                row=self.header_row or row,
                field="votes",
                remedy=_TARGETS,
            )
        if self.kind not in ("", found[0][0]):
            self._fail(row, found[0][0], f"the target is {found[0][0]} here and {self.kind} before", "bad_row")
        self.kind = found[0][0]
        return found[0]

    def _target_columns(self, fields: Row, kind: str, source: Names | str | None) -> dict[str, str]:
        """Column -> emotion word (empty where the values hold the words)."""
        if isinstance(source, Mapping):
            return {str(column): str(word) for word, column in source.items()}
        prefix = {"votes": "votes_", "distribution": "p_"}.get(kind, "")
        if source is None:
            whole = {kind: ""} if isinstance(fields.get(kind), Mapping) else {}
            return whole | {name: name[len(prefix) :] for name in fields if name.startswith(prefix) and name != prefix}
        return (
            {source: ""} if isinstance(source, str) else {str(name): str(name).removeprefix(prefix) for name in source}
        )

    def _votes(
        self, row: int, fields: Row, kind: str, source: Names | str | None
    ) -> tuple[dict[str, float], int | None]:
        """Emotion word -> votes or share, and the number of raters as far as they tell it."""
        if kind == "ratings":
            words = self._words(row, fields, str(source))
            return {word: float(count) for word, count in Counter(words).items()}, len(words)
        if kind == "label":
            return {self._text(row, fields, str(source), required=True): 1.0}, 1
        columns = self._target_columns(fields, kind, source)
        if len(columns) > 1 and "" in columns.values():
            self._fail(row, kind, f"the target is given twice: {', '.join(columns)}", "bad_row")
        for column in columns:
            if column not in fields:
                self._missing_column(row, column, fields)
        values = [
            pair
            for column, word in columns.items()
            for pair in ([(word, column, fields[column])] if word else [(w, w, v) for w, v in fields[column].items()])
        ]
        votes = {str(word).strip(): self._number(row, column, value) for word, column, value in values}
        if len(votes) < len(values):
            self._fail(row, kind, f"a word occurs twice: {', '.join(str(word) for word, _, _ in values)}", "bad_row")
        return votes, self._check_sum(row, kind, votes)

    def _check_sum(self, row: int, kind: str, votes: Mapping[str, float]) -> int | None:
        total = math.fsum(votes.values())
        if kind == "distribution":
            if abs(total - 1) > SUM_TOLERANCE:
                self._fail(row, kind, f"the shares sum to {total:.4g}, not to 1")
            return None
        for word, count in votes.items():
            if count != int(count):
                self._fail(row, word, f"{count:g} is not a whole number of votes; give shares as p_WORD")
        return int(total)

    def _number(self, row: int, column: str, value: object) -> float:
        text = isinstance(value, str) and _NUMBER.fullmatch(value)
        if not text and (isinstance(value, (bool, str)) or not isinstance(value, (int, float))):
            self._fail(row, column, f"{value!r:.80} is not a number of votes")
        # Comparing before converting: an integer may be too large for a float.
        number = float(value) if text else value
        if not 0 <= number <= MAX_VOTES:
            self._fail(row, column, f"{str(value)[:80]} is not a number of votes (0 to {MAX_VOTES:g})")
        return float(number)

    def _num_raters(self, row: int, fields: Row, counted: int | None) -> int | None:
        value = fields.get("num_raters")
        if _blank(value):
            return counted
        number = self._number(row, "num_raters", value)
        if number < 1 or number != int(number):
            self._fail(row, "num_raters", f"{number:g} is not a whole number of raters")
        return int(number)

    def _words(self, row: int, fields: Row, column: str) -> list[str]:
        if column not in fields:
            self._missing_column(row, column, fields)
        value = fields[column]
        words = value.split(";") if isinstance(value, str) else value
        if not isinstance(words, (list, type(None))) or any(not isinstance(w, (str, type(None))) for w in words or ()):
            self._fail(row, column, f"{value!r:.80} is not a list of words, one per rater")
        words = [word.strip() for word in words or () if word and word.strip()]
        if not words:
            self._fail(row, column, "no rater gave a label", "no_votes")
        return words

    def _text(self, row: int, fields: Row, column: str, required: bool = False) -> str:
        if column not in fields and required:
            self._missing_column(row, column, fields)
        value = fields.get(column)
        if isinstance(value, (list, dict)):
            self._fail(row, column, f"{value!r:.80} is not text", "bad_row")
        text = "" if _blank(value) else str(value).strip()
        if required and not text:
            self._fail(row, column, "the field is empty", "bad_row")
        return text

    def _audio(self, row: int, relative: str) -> Path:
        """The audio path; it must stay inside the root, also after links are followed."""
        column = self.columns.path
        if any(ord(character) < 32 for character in relative):
            self._fail(row, column, f"the path {relative!r} holds a control character", "bad_row")
        try:
            audio = self.root / relative
            inside = Path(os.path.realpath(audio)).is_relative_to(self.real_root)
        except (OSError, ValueError) as error:
            self._fail(row, column, f"the path {relative!r:.80} cannot be followed: {error}", "bad_row")
        if not inside or Path(relative).is_absolute():
            remedy = "Give paths relative to dataset.root, and set that to the folder that really holds the audio."
            self._fail(row, column, f"the path {relative!r} leaves the root {self.root}", "bad_row", remedy)
        return audio


def _blank(value: object) -> bool:
    """Whether a field holds nothing: no value, NaN, or white space."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def _fact(value: object) -> str | float:
    """A metadata value: numbers stay numbers, all else becomes text."""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def _rows(path: Path) -> Iterator[tuple[int, Row | _RowError]]:
    """``(row, fields)`` with rows as a person counts them; a bad row comes as its error, so that it can be skipped."""
    if path.suffix.lower() == ".parquet":
        yield from _parquet_rows(path)
        return
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"byte {raw[error.start]:#04x} is not UTF-8",
            file=path,
            row=raw[: error.start].count(b"\n") + 1,
            remedy="Save the file as UTF-8.",
        ) from error
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}", file=path, remedy="Check it.") from error
    if not text.strip():
        raise InputError("the manifest is empty", file=path, remedy="Add a header and a row per utterance.")
    yield from _jsonl_rows(path, text) if path.suffix.lower() == ".jsonl" else _csv_rows(path, text)


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Row | _RowError]]:
    # newline=None understands the line ends of all systems.
    lines = io.StringIO(text, newline=None)
    reader = csv.reader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
    start = 1
    try:
        header = [name.strip() for name in next(reader)]
        _check_header(path, header)
        start = reader.line_num + 1
        for values in reader:
            if values and len(values) != len(header):
                what = f"the row has {len(values)} fields and the header {len(header)}"
                quote = "Quote fields that hold the separator, or leave the row out: dataset.on_error=skip."
                yield start, _RowError(what, file=path, row=start, remedy=quote)
            elif values:
                yield start, dict(zip(header, values, strict=True))
            start = reader.line_num + 1
    except csv.Error as error:
        remedy = "Close every quote, and double the quotes inside quoted fields."
        raise InputError(f"this is not CSV: {error}", file=path, row=start, remedy=remedy) from error


def _check_header(path: Path, header: Sequence[str]) -> None:
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise InputError(
            f"the column {twice[0]!r} occurs twice", file=path, row=1, field=twice[0], remedy="Rename or remove one."
        )


def _jsonl_rows(path: Path, text: str) -> Iterator[tuple[int, Row | _RowError]]:
    for row, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            yield row, _RowError(f"this line is not JSON: {error}", file=path, row=row)
            continue
        yield row, value if isinstance(value, dict) else _RowError("this is not a JSON object", file=path, row=row)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key occurs twice")
    return value


def _parquet_rows(path: Path) -> Iterator[tuple[int, Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
        rows = table.to_pylist()
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise InputError(
            f"this is not a readable Parquet file: {error}", file=path, remedy="Write it again."
        ) from error
    _check_header(path, table.column_names)
    for row, fields in enumerate(rows, start=1):
        # A struct has all words in every row; those that this row does not have are null.
        yield (
            row,
            {
                key: {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value
                for key, value in fields.items()
            },
        )
