"""Reading foreign label files: text that may be anything, rows with their numbers, sound that must stay in its root.

Readers of corpora are made of these pieces, so that every one of them fails in the same words: which file, which row,
what is wrong, what to do. Nothing is ever guessed from damaged input.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from emoprobe.data.reading.folders import Folders
from emoprobe.data.utterance import Corpus, CorpusCard, Skipped, Utterance
from emoprobe.errors import InputError

RESTORE = "Restore the file from the corpus"
SKIP = "or leave the row out: dataset.on_error=skip."
ROW_REMEDY = f"{RESTORE}, {SKIP}"
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".sph")
MAX_LINE = 1_000_000  # bytes; no label of a clip is longer
_CHUNK = 1 << 16  # bytes
_CONTROL = re.compile(r"[\x00-\x1f]")
_Fields = TypeVar("_Fields")


class RowError(InputError):
    """One row is wrong; the others may be right.

    Attributes:
        reason: Of `Skipped`.
    """

    def __init__(
        self,
        what: str,
        *,
        file: Path | None,
        row: int | None,
        field: str | None = None,
        reason: str = "bad_row",
        remedy: str = ROW_REMEDY,
    ) -> None:
        self.reason = reason
        super().__init__(what, file=file, row=row, field=field, remedy=remedy)


class Harvest:
    """Gathers the utterances of a corpus as they are read; a bad row stops the reading or is listed.

    Use it as ``with harvest.row(id, file, number): ... harvest.add(utterance)``.

    Args:
        card: The corpus's card.
        on_error: ``error`` or ``skip``.

    Raises:
        InputError: ``on_error`` is neither.
    """

    def __init__(self, card: CorpusCard, on_error: str = "error") -> None:
        if on_error not in ("error", "skip"):
            raise InputError(f"unknown value {on_error!r}", field="dataset.on_error", remedy="Use error or skip.")
        self.card, self.on_error = card, on_error
        self.utterances: dict[str, Utterance] = {}
        self.skipped: list[Skipped] = []

    @contextmanager
    def row(self, name: str = "") -> Iterator[None]:
        """Where a row is read; a `RowError` within it concerns this row alone. ``name`` is the utterance's id."""
        try:
            yield
        except RowError as error:
            self.refuse(name, error)

    def refuse(self, name: str, error: RowError) -> None:
        """List a bad row of the utterance ``name``, or raise its error."""
        if self.on_error != "skip":
            raise error
        self.skipped.append(Skipped(name, error.reason, str(error), str(error.file or ""), error.row))

    def add(self, utterance: Utterance, *, field: str | None = None, remedy: str = ROW_REMEDY) -> None:
        """Take an utterance.

        Args:
            utterance: The utterance.
            field: The column its id stands in.
            remedy: What to do where the id was there before.

        Raises:
            RowError: Its id was there before.
        """
        before = self.utterances.get(utterance.id)
        if before is not None:
            where = f", in row {before.row}" if before.row is not None else ""
            raise RowError(
                f"utterance {utterance.id!r} was there before{where}",
                file=utterance.file,
                row=utterance.row,
                field=field,
                reason="duplicate_id",
                remedy=remedy,
            )
        self.utterances[utterance.id] = utterance

    def corpus(self, file: Path, remedy: str = f"{RESTORE}.") -> Corpus:
        """All that was gathered.

        Args:
            file: Where the utterances should have come from.
            remedy: What to do where it has no rows at all.

        Raises:
            InputError: Nothing was gathered.
        """
        if not self.utterances:
            if self.skipped:
                remedy = f"{len(self.skipped)} rows were left out; the first: {self.skipped[0].message}"
            raise InputError("there is no usable utterance", file=file, remedy=remedy)
        return Corpus(self.card, tuple(self.utterances.values()), tuple(self.skipped))


def open_root(root: str | Path, card: CorpusCard, *needed: str) -> Path:
    """The absolute path of a corpus's top folder.

    Args:
        root: As the user gave it; ``~`` is understood.
        card: Of the corpus.
        needed: Relative paths of which one must exist.

    Raises:
        InputError: None of them does.
    """
    # os.path.expanduser, unlike Path.expanduser, does not raise where a user is unknown; os.path.exists does not raise
    # on a path that the system refuses.
    try:
        root = Path(os.path.expanduser(root)).absolute()
        found = not needed or any(os.path.exists(root / name) for name in needed)
    except (ValueError, TypeError) as error:
        raise InputError(f"{root!r:.80} is not a folder: {error}", field="dataset.root", remedy="Correct it.") from None
    if not found:
        raise InputError(
            f"this folder is not {card.title}: it has no {' or '.join(needed)}",
            file=root / needed[0],
            field="dataset.root",
            remedy=f"Get the corpus ({card.access}) and give its top folder.",
        )
    return root


def _open(file: Path) -> BinaryIO:
    return file.open("rb")


def text_lines(
    file: Path,
    encoding: str = "utf-8",
    *,
    remedy: str = f"{RESTORE}.",
    open: Callable[[Path], BinaryIO] = _open,
) -> Iterator[tuple[int, str]]:
    """``(line number, line without its end)`` of a text file, one at a time; any system's line ends, a BOM is dropped.

    Args:
        file: The file.
        encoding: One in which line ends are single bytes.
        remedy: What to do about a file that is no such text.
        open: Opens the file.

    Raises:
        InputError: The file cannot be read, is not text in this encoding, or has an endless line.
    """
    number = 0
    try:
        with open(file) as handle:
            for number, line in enumerate(_raw_lines(handle), start=1):
                if len(line) > MAX_LINE:
                    what = f"the line is longer than {MAX_LINE:,} bytes"
                    raise InputError(what, file=file, row=number, remedy=remedy)
                text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                yield number, text.decode(encoding)
    except UnicodeDecodeError as error:
        what = f"byte {error.object[error.start]:#04x} is not {error.encoding.upper()}"
        raise InputError(what, file=file, row=max(number, 1), remedy=remedy) from None
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror or error}", file=file, remedy=remedy) from None


def _raw_lines(handle: BinaryIO) -> Iterator[bytes]:
    """Lines without their ends; of a line that is too long, only a beginning that is too long."""
    rest = b""
    while len(rest) <= MAX_LINE + 1 and (chunk := handle.read(_CHUNK)):
        lines = (rest + chunk).splitlines(keepends=True)
        # The last line may go on in the next chunk; so may its end, after a carriage return.
        rest = b"" if chunk.endswith(b"\n") else lines.pop()
        for line in lines:
            yield line.removesuffix(b"\n").removesuffix(b"\r")
    if rest:
        yield rest.removesuffix(b"\r")


def table_rows(
    file: Path,
    needed: Sequence[str] = (),
    *,
    delimiter: str = ",",
    encoding: str = "utf-8",
    header: Sequence[str] | None = None,
    aliases: Mapping[str, str] | None = None,
    remedy: str = f"{RESTORE}.",
    row_remedy: str = ROW_REMEDY,
) -> Iterator[tuple[int, dict[str, str] | RowError]]:
    """``(row number, cells by column)`` of a CSV file with a header; a ragged row comes as its error.

    Args:
        file: The table; it is read as it goes, and quoted cells may have several lines.
        needed: Columns that must be there, once.
        delimiter: Between cells.
        encoding: Of the text.
        header: Columns of a table whose first row is no header.
        aliases: Other spellings of a column -> its name; header names are stripped. Of other columns that occur twice,
            the last counts.
        remedy: What to do about a damaged table.
        row_remedy: What to do about a ragged row.

    Raises:
        InputError: The table is damaged as a whole.
    """
    start = reached = 1

    def lines() -> Iterator[str]:
        nonlocal reached
        for number, line in text_lines(file, encoding, remedy=remedy):
            reached = number
            yield line + "\n"

    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    try:
        bare = header is not None
        header = [name.strip() for name in (next(reader, []) if header is None else header)]
        header = [(aliases or {}).get(name, name) for name in header]
        counts = Counter(header)
        for name in needed:
            if counts[name] != 1:
                what = f"the column {name!r:.80} " + ("occurs twice" if name in counts else "is missing")
                what += f"; there are {', '.join(map(repr, header))}"[:300]
                raise InputError(what, file=file, row=1, field=name, remedy=remedy)
        start = 1 if bare else reached + 1
        for values in reader:
            if values and len(values) != len(header):
                what = f"the row has {len(values)} fields and the header {len(header)}"
                yield start, RowError(what, file=file, row=start, remedy=row_remedy)
            elif values:
                yield start, dict(zip(header, values, strict=True))
            start = reached + 1
    except csv.Error as error:
        raise InputError(f"this is not a table: {error}", file=file, row=start, remedy=remedy) from None


def json_lines(
    file: Path,
    *,
    remedy: str = f"{RESTORE}.",
    row_remedy: str = ROW_REMEDY,
    open: Callable[[Path], BinaryIO] = _open,
) -> Iterator[tuple[int, dict | RowError]]:
    """``(line number, object)`` of a JSONL file; blank lines are passed over, a bad line comes as its error.

    Args:
        file: The file.
        remedy: What to do about a file that is no text.
        row_remedy: What to do about a bad line.
        open: Opens the file.

    Raises:
        InputError: The file is no text.
    """
    for row, line in text_lines(file, remedy=remedy, open=open):
        if not line.strip():
            continue
        value: dict | RowError
        try:
            value = parse_object(line)
        except (ValueError, RecursionError) as error:
            what = f"this line is not a JSON object: {error!s:.200}"
            value = RowError(what, file=file, row=row, remedy=row_remedy)
        yield row, value


def whole(rows: Iterable[tuple[int, _Fields | RowError]]) -> Iterator[tuple[int, _Fields]]:
    """The rows of a file in which no row may be bad.

    Raises:
        RowError: A row is bad.
    """
    for row, fields in rows:
        if isinstance(fields, RowError):
            raise fields
        yield row, fields


def parse_object(text: str) -> dict:
    """One JSON object without repeated keys and without half surrogate pairs, which could be written to no file.

    Raises:
        ValueError: It is something else.
    """
    value = json.loads(text, object_pairs_hook=_unique)
    if "\\ud" in text.lower():
        json.dumps(value, ensure_ascii=False).encode()
    if not isinstance(value, dict):
        raise ValueError("it is not an object")
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key occurs twice")
    return value


class SoundFolder:
    """Finds sound below a folder, by name without case or by relative path, and never outside of it.

    Args:
        root: The folder; it may be a link, and hold links that stay inside.
        suffixes: Suffixes of sound in lower case; a name with one of them, or with none, is also found with another.
        converted: Whether a name with the suffix of any sound or film, whose file is not there or is a film, is found
            with the suffix of another sound, if there is exactly one.
    """

    def __init__(self, root: Path, suffixes: Sequence[str] = AUDIO_SUFFIXES, *, converted: bool = False) -> None:
        self.root, self.suffixes = root, tuple(suffixes)
        self.inside = os.path.join(os.path.realpath(root), "")  # with a slash at its end
        self._folders = Folders(self.suffixes, AUDIO_SUFFIXES if converted else ())

    def find(
        self,
        relative: str | Path,
        *,
        file: Path | None = None,
        row: int | None = None,
        field: str = "path",
        remedy: str = ROW_REMEDY,
    ) -> Path:
        """The file at a relative path, whatever the case or Unicode form of its name; as asked for if there is none.

        Args:
            relative: The path; an absolute one must lie below the folder.
            file: File the path comes from.
            row: Its row.
            field: Its column.
            remedy: What to do about a path that is none.

        Raises:
            RowError: The path leaves the folder, by ``..``, a link or an absolute path, or is no path, or several files
                might be meant.
        """
        relative = str(relative)
        if _CONTROL.search(relative):
            what = f"the path {relative!r:.80} holds a control character"
            raise RowError(what, file=file, row=row, field=field, remedy=remedy)
        try:
            found, real = self._folders.follow(self.root, self.below(relative))
        except (OSError, ValueError) as error:
            what = f"the path {relative!r:.80} cannot be followed: {error}"
            raise RowError(what, file=file, row=row, field=field, remedy=remedy) from None
        if not real.startswith(self.inside):
            raise RowError(
                f"the path {relative!r:.200} leaves the root {self.root}",
                file=file,
                row=row,
                field=field,
                remedy="Give paths relative to dataset.root, and set that to a folder that really holds all of the "
                "sound.",
            )
        return found

    def below(self, path: str) -> str:
        """An absolute path below the folder as one relative to it; any other as it is."""
        if not os.path.isabs(path):
            return path
        path = os.path.normpath(path)
        tops = (os.path.join(os.path.normpath(self.root), ""), self.inside)
        return next((path.removeprefix(top) for top in tops if path.startswith(top)), path)
