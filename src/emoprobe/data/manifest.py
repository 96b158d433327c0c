"""Manifests: a researcher's own corpus as CSV, TSV, JSONL or Parquet."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from emoprobe.data.utterance import Corpus, CorpusCard, Skipped, Utterance
from emoprobe.errors import InputError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
LABEL_COLUMNS = ("label", "emotion")
MAX_FIELD = 1_000_000  # characters; a longer field is a broken quote, not a transcript
SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Columns:
    """Which column means what; None lets the default names decide.

    Args:
        path: Audio path, relative to the root.
        id: Utterance id; the path without its suffix where the column is absent.
        label: One label per clip.
        votes: Vote counts: column names, or emotion word -> column; default ``votes_WORD``.
        ratings: One word per rater: a list, or text separated by ``;``.
        distribution: Shares: column names, or emotion word -> column; default ``p_WORD``.
        speaker: Speaker id.
        split: Split name.
        transcript: Words spoken.
    """

    path: str = "path"
    id: str = "utterance_id"
    label: str | None = None
    votes: Sequence[str] | Mapping[str, str] | None = None
    ratings: str | None = None
    distribution: Sequence[str] | Mapping[str, str] | None = None
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
    votes_columns: Sequence[str] | Mapping[str, str] | None = None,
    ratings_column: str | None = None,
    distribution_columns: Sequence[str] | Mapping[str, str] | None = None,
    speaker_column: str = "speaker",
    split_column: str = "split",
    transcript_column: str = "transcript",
    on_error: str = "error",
    name: str | None = None,
) -> Corpus:
    """Read a manifest; columns as in `Columns`. Exactly one kind of target must be there.

    Args:
        path: The manifest; its suffix tells the format.
        root: Folder that audio paths are relative to and may not leave, also through links; default: the manifest's.
        on_error: ``error``, or ``skip`` to list bad rows and go on.
        name: Name of the corpus; default: the manifest's file name.

    Raises:
        InputError: The manifest or a row is malformed; the message names file, row and field.
    """
    path = Path(path).expanduser().absolute()
    columns = Columns(
        path_column,
        id_column,
        label_column,
        votes_columns,
        ratings_column,
        distribution_columns,
        speaker_column,
        split_column,
        transcript_column,
    )
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"unknown manifest format {path.suffix!r}", file=path, remedy=f"Use one of {SUFFIXES}.")
    if not path.is_file():
        raise InputError("the manifest does not exist", file=path, field="dataset.path")
    folder = Path(root).expanduser().absolute() if root else path.parent
    if not folder.is_dir():
        raise InputError("the root folder does not exist", file=folder, field="dataset.root")
    reader = _Reader(path, folder.resolve(), columns)
    utterances: dict[str, Utterance] = {}
    skipped: list[Skipped] = []
    for row, fields in _rows(path):
        try:
            if isinstance(fields, InputError):
                raise fields
            utterance = reader.utterance(row, fields)
            if utterance.id in utterances:
                first = utterances[utterance.id].row
                raise InputError(
                    f"utterance id {utterance.id!r} was used before, in row {first}",
                    file=path,
                    row=row,
                    field=columns.id,
                    remedy="Give every utterance its own id.",
                )
        except InputError as error:
            if on_error != "skip" or _concerns_all(error, path):
                raise
            duplicate = error.field == columns.id and "used before" in error.what
            known = str(fields.get(columns.id) or "") if isinstance(fields, Mapping) else ""
            skipped.append(Skipped(known, "duplicate_id" if duplicate else "bad_row", str(error), str(path), row))
            continue
        utterances[utterance.id] = utterance
    if not utterances and not skipped:
        raise InputError("the manifest has no rows", file=path)
    title = name or path.stem
    card = CorpusCard(
        name=title,
        title=f"{title} (manifest)",
        synthetic=False,
        licence="as its owner says",
        access=path.name,
        citation="",
        raters="as its owner says",
    )
    return Corpus(card, tuple(utterances.values()), tuple(skipped))


class _Reader:
    """Turns one row into an utterance; the kind of target is settled by the first row's columns."""

    def __init__(self, file: Path, root: Path, columns: Columns) -> None:
        self.file, self.root, self.columns = file, root, columns
        self.kind: tuple[str, object] | None = None

    def utterance(self, row: int, fields: Mapping[str, object]) -> Utterance:
        columns = self.columns
        if self.kind is None:
            self.kind = self._target_kind(row, fields)
        kind, source = self.kind
        relative = self._text(row, fields, columns.path, required=True)
        audio = self._audio(row, relative)
        ratings: tuple[tuple[str, str], ...] = ()
        raters: int | None
        if kind == "votes":
            votes = self._numbers(row, self._pairs(row, fields, source, "votes", "votes_"))
            raters = round(sum(votes.values()))
        elif kind == "ratings":
            words = self._ratings(row, fields, str(source))
            ratings = tuple((str(i), word) for i, word in enumerate(words))
            votes = {word: float(count) for word, count in Counter(words).items()}
            raters = len(words)
        elif kind == "distribution":
            votes = self._numbers(row, self._pairs(row, fields, source, "distribution", "p_"))
            total = math.fsum(votes.values())
            if abs(total - 1) > SUM_TOLERANCE:
                raise self._error(row, "distribution", f"the shares sum to {total:.4g}, not to 1")
            raters = None
        else:
            votes = {self._text(row, fields, str(source), required=True): 1.0}
            raters = 1
        used = {columns.path, columns.id, columns.speaker, columns.split, columns.transcript, "votes", "distribution"}
        facts = {
            key: value if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
            for key, value in fields.items()
            if key not in used and not key.startswith(("votes_", "p_")) and value not in (None, "")
        }
        return Utterance(
            id=self._text(row, fields, columns.id) or str(PurePosixPath(relative).with_suffix("")),
            audio=audio,
            votes=votes,
            num_raters=raters,
            speaker=self._text(row, fields, columns.speaker) or None,
            split=self._text(row, fields, columns.split) or None,
            transcript=self._text(row, fields, columns.transcript) or None,
            ratings=ratings,
            metadata=facts,
            file=self.file,
            row=row,
        )

    def _error(self, row: int, field: str, what: str, remedy: str = "") -> InputError:
        return InputError(
            what,
            file=self.file,
            row=row,
            field=field,
            remedy=remedy or "Correct the row, or leave it out: dataset.on_error=skip.",
        )

    def _target_kind(self, row: int, fields: Mapping[str, object]) -> tuple[str, object]:
        columns = self.columns
        asked = [
            (kind, source)
            for kind, source in (
                ("votes", columns.votes),
                ("ratings", columns.ratings),
                ("distribution", columns.distribution),
                ("label", columns.label),
            )
            if source
        ]
        found = asked or [
            *([("votes", None)] if "votes" in fields or any(key.startswith("votes_") for key in fields) else []),
            *([("ratings", "ratings")] if "ratings" in fields else []),
            *([("distribution", None)] if "distribution" in fields or any(k.startswith("p_") for k in fields) else []),
        ]
        # A corpus with votes often names its consensus too; the votes say more.
        found = found or [("label", name) for name in LABEL_COLUMNS if name in fields][:1]
        if len(found) == 1:
            return found[0]
        problem = "more than one kind of target: " + ", ".join(k for k, _ in found) if found else "no target"
        raise InputError(
            f"the manifest has {problem}; its columns are {', '.join(fields)}",
            file=self.file,
            field="votes",
            remedy="Give vote counts (votes_WORD), one word per rater (ratings), shares (p_WORD) or one label (label), "
            "or name the columns: dataset.reader.votes_columns, ratings_column, distribution_columns, label_column.",
        )

    def _pairs(self, row: int, fields: Mapping, source: object, key: str, prefix: str) -> dict[str, object]:
        """Emotion word -> raw value."""
        if source is None and isinstance(fields.get(key), Mapping):
            return dict(fields[key])
        if source is None:
            names = {name.removeprefix(prefix): name for name in fields if name.startswith(prefix)}
        elif isinstance(source, Mapping):
            names = dict(source)
        else:
            names = {name.removeprefix(prefix): name for name in source}
        for name in names.values():
            if name not in fields:
                raise InputError(
                    f"the column {name!r} is missing; there are {', '.join(fields)}",
                    file=self.file,
                    row=row if self.file.suffix == ".jsonl" else 1,
                    field=name,
                    remedy="Add the column, or name another in the dataset config.",
                )
        return {word: fields[name] for word, name in names.items()}

    def _numbers(self, row: int, pairs: Mapping[str, object]) -> dict[str, float]:
        numbers = {}
        for word, value in pairs.items():
            try:
                number = float(value) if not isinstance(value, bool) and value not in (None, "") else math.nan
            except (TypeError, ValueError, OverflowError):
                number = math.nan
            if not math.isfinite(number) or number < 0:
                raise self._error(row, word, f"{value!r} is not a number of votes (0 or more)")
            numbers[str(word)] = number
        if not any(numbers.values()):
            raise self._error(row, "votes", "all votes are zero")
        return numbers

    def _ratings(self, row: int, fields: Mapping, column: str) -> list[str]:
        value = fields.get(column)
        words = value if isinstance(value, (list, tuple)) else str(value or "").split(";")
        words = [str(word).strip() for word in words if word is not None and str(word).strip()]
        if not words:
            raise self._error(row, column, "no rater gave a label")
        return words

    def _text(self, row: int, fields: Mapping, column: str, required: bool = False) -> str:
        if column not in fields and required:
            raise InputError(
                f"the column {column!r} is missing; there are {', '.join(fields)}",
                file=self.file,
                row=row if self.file.suffix == ".jsonl" else 1,
                field=column,
                remedy="Add the column, or name another in the dataset config.",
            )
        value = fields.get(column)
        text = "" if value is None or value != value else str(value).strip()
        if required and not text:
            raise self._error(row, column, "the field is empty")
        return text

    def _audio(self, row: int, relative: str) -> Path:
        """The audio path; it must stay inside the root, also after links are followed."""
        remedy = "Use a path inside the root, or set dataset.root to the folder that holds the audio."
        if "\0" in relative or "\n" in relative:
            raise self._error(row, self.columns.path, "the path holds a control character")
        try:
            audio = self.root / relative
            inside = audio.resolve().is_relative_to(self.root)
        except (OSError, RuntimeError, ValueError) as error:
            raise self._error(row, self.columns.path, f"the path cannot be followed: {error}") from error
        if not inside or Path(relative).is_absolute():
            raise self._error(row, self.columns.path, f"the path {relative!r} leaves the root {self.root}", remedy)
        return audio


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, object] | InputError]]:
    """``(row, fields)`` with rows as a person counts them; a bad row comes as its error, so that it can be skipped."""
    if path.suffix.lower() == ".parquet":
        yield from _parquet_rows(path)
        return
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InputError(
            f"byte {error.object[error.start]:#04x} is not UTF-8", file=path, row=line, remedy="Save it as UTF-8."
        ) from error
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}", file=path) from error
    if not text.strip():
        raise InputError("the manifest is empty", file=path)
    yield from _jsonl_rows(path, text) if path.suffix.lower() == ".jsonl" else _csv_rows(path, text)


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, object] | InputError]]:
    previous = csv.field_size_limit(MAX_FIELD)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        header = [name.strip() for name in next(reader, [])]
        twice = [name for name, count in Counter(header).items() if count > 1]
        if twice:
            raise InputError(f"the column {twice[0]!r} occurs twice", file=path, row=1, field=twice[0])
        start = reader.line_num + 1
        for values in reader:
            if values and len(values) != len(header):
                what = f"the row has {len(values)} fields and the header {len(header)}"
                yield start, InputError(what, file=path, row=start, remedy="Quote fields that hold the separator.")
            elif values:
                yield start, dict(zip(header, values, strict=True))
            start = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"this is not CSV: {error}", file=path, row=reader.line_num) from error
    finally:
        csv.field_size_limit(previous)


def _jsonl_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, object] | InputError]]:
    for row, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield row, InputError(f"this line is not JSON: {error}", file=path, row=row)
            continue
        if isinstance(value, dict):
            yield row, value
        else:
            yield row, InputError("this line is not a JSON object", file=path, row=row)


def _parquet_rows(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"this is not a readable Parquet file: {error}", file=path) from error
    # A table has no header row; its first row is row 1.
    yield from enumerate(rows, start=1)


def _concerns_all(error: InputError, path: Path) -> bool:
    """Whether the error lies in the file or its header rather than in one row."""
    return error.row is None or (error.row == 1 and path.suffix.lower() in (".csv", ".tsv"))
