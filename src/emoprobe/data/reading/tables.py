"""Tables as people have them: text with any separator and encoding, packed or not, spreadsheets, JSONL, Parquet."""

from __future__ import annotations

import codecs
import csv
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from emoprobe.data.reading.encodings import OPTION, encoding_of, first_bytes, open_as_utf8
from emoprobe.data.reading.fields import NumberReader, is_blank
from emoprobe.data.reading.files import RowError, json_lines, text_lines
from emoprobe.data.reading.parquet import arrow_rows, parquet_rows
from emoprobe.errors import InputError

TEXT, SHEET, TYPED = (".csv", ".tsv", ".jsonl"), ".xlsx", (".parquet", ".arrow")
LEAVE_OUT = "or leave it out: dataset.on_error=skip."
SKIP_ROW = f"Correct the row, {LEAVE_OUT}"
_QUOTE = "Quote fields that hold the separator, or leave the row out: dataset.on_error=skip."
_CLOSE = "Close every quote, and double the quotes inside quoted fields."
_SAVE = "Save it as .xlsx or as CSV (UTF-8)."
_SEPARATORS = (",", ";", "\t", "|")
_EXCEL = re.compile(r'"?sep=(.)"?\s*', re.ASCII)  # its first line, which names the separator
_DIGITS = 10**15  # a spreadsheet keeps fifteen digits of a number
_FOREIGN = (
    (re.compile(rb"PK\x03\x04"), "a packed file, such as a spreadsheet (.xlsx, .ods, .numbers)"),
    (re.compile(rb"\xd0\xcf\x11\xe0"), "an old (.xls) or protected spreadsheet"),
    (re.compile(rb"PAR1"), "a Parquet file"),
    (re.compile(rb"\s*<(!doctype|html|table|\?xml|meta|style)", re.IGNORECASE), "a page of HTML or XML"),
)


def suffix_of(file: Path) -> str:
    """The suffix that tells a table's form: that before ``.gz``."""
    return Path(file.stem if file.suffix.lower() == ".gz" else file.name).suffix.lower()


class Table:
    """The rows of a table: ``(row number, values by column)``, a bad row as its error.

    Rows without anything in them are passed over, as are columns without a name and without values, and the nameless
    first column in which pandas keeps an index.

    Args:
        file: The table; its suffix (``.csv``, ``.tsv``, ``.jsonl``, each with ``.gz`` or without; ``.xlsx``,
            ``.parquet``, ``.arrow``) tells its form.
        delimiter: Between the cells of text; told by the header if None.
        encoding: Of text; UTF-8 if None, or UTF-16 or 32 where the first bytes say so.
        sheet: Name of a spreadsheet's sheet; the only one that is not empty if None.

    Attributes:
        number: Reads its numbers; a comma may stand before their fraction where commas do not separate cells.
        header: Row of the header, None where there is none.
        free: Whether every row may have columns of its own.

    Raises:
        InputError: When it is read: the table is damaged as a whole, or is none.
    """

    def __init__(
        self, file: Path, *, delimiter: str | None = None, encoding: str | None = None, sheet: str | None = None
    ) -> None:
        self.file, self.suffix = file, suffix_of(file)
        self.delimiter, self.encoding, self.sheet = _check_delimiter(delimiter), encoding, sheet
        self.free = self.suffix == ".jsonl"
        self.header: int | None = None if self.suffix in TYPED else 1
        self.number = NumberReader(comma=self.suffix == SHEET)

    def __iter__(self) -> Iterator[tuple[int, Mapping[str, object] | RowError]]:
        if self.suffix in TYPED:
            read = (
                parquet_rows(self.file, remedy="Write it again.")
                if self.suffix == ".parquet"
                else arrow_rows(self.file)
            )
            for row, fields in read:
                yield row, {column: without_null(value) for column, value in fields.items()}
            return
        self._check_content()
        if self.suffix == SHEET:
            yield from self._named(sheet_rows(self.file, self.sheet))
            return
        self._check_text()
        first = next((line for _, line in self._lines() if line.strip()), "")
        if not first:
            raise InputError("the manifest is empty", file=self.file, remedy="Add a header and a row per utterance.")
        if self.free:
            yield from json_lines(self.file, open=self._open, remedy=self._save_text(), row_remedy=SKIP_ROW)
            return
        told = _EXCEL.fullmatch(first)
        delimiter = self.delimiter or (told[1] if told else separator_of(first, "\t" if self.suffix == ".tsv" else ","))
        self.number.comma = delimiter != ","
        yield from self._named(self._cells(delimiter, bool(told)))

    def _open(self, file: Path) -> BinaryIO:
        return open_as_utf8(file, self.encoding)

    def _save_text(self) -> str:
        return (
            f"Save the file as UTF-8, or say what it is, such as {OPTION}=cp1252 (Windows, Western Europe) or utf-16."
        )

    def _lines(self) -> Iterator[tuple[int, str]]:
        return text_lines(self.file, open=self._open, remedy=self._save_text())

    def _check_text(self) -> None:
        """Read all of the text before any row of it: another encoding explains whatever else is wrong.

        Raises:
            InputError: It is not in its encoding, or cannot be read.
        """
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            with self._open(self.file) as handle:
                while chunk := handle.read(1 << 20):
                    decoder.decode(chunk)
                decoder.decode(b"", final=True)
        except (UnicodeDecodeError, OSError):
            for _ in self._lines():  # says where
                pass

    def _check_content(self) -> None:
        """Refuse what the name says nothing of."""
        head = first_bytes(self.file)
        if encoding_of(head) != "utf-8":
            head = head.replace(b"\0", b"")
        found = next((what for sign, what in _FOREIGN if sign.match(head.lstrip(b"\xef\xbb\xbf\xff\xfe"))), "text")
        if self.suffix == SHEET and (found == _FOREIGN[0][1] or not head):
            return
        if found != ("text" if self.suffix != SHEET else ""):
            what = f"by its name this is {self.suffix}, by its content {found}"
            raise InputError(what, file=self.file, field="dataset.path", remedy=f"Name it as what it is. {_SAVE}")

    def _cells(self, delimiter: str, told: bool) -> Iterator[tuple[int, Sequence[str]]]:
        """Cells by line; those in quotes may have several lines."""
        start = reached = 1

        def lines() -> Iterator[str]:
            nonlocal reached, told
            for number, line in self._lines():
                reached = number
                passed, told = told and bool(line.strip()), told and not line.strip()
                yield "\n" if passed else line + "\n"

        try:
            for values in csv.reader(lines(), delimiter=delimiter, strict=True, skipinitialspace=delimiter != "\t"):
                if values:
                    yield start, values
                start = reached + 1
        except csv.Error as error:
            raise InputError(f"this is not a table: {error}", file=self.file, row=start, remedy=_CLOSE) from None

    def _named(self, lines: Iterable[tuple[int, Sequence]]) -> Iterator[tuple[int, dict[str, object] | RowError]]:
        header: list[str] = []
        nameless: list[int] = []
        for row, values in lines:
            if is_blank(values[0]) and all(map(is_blank, values)):
                continue
            if not header:
                header = self._header(row, values)
                nameless = [at for at, name in enumerate(header) if not name]
                continue
            if len(values) > len(header) and all(map(is_blank, values[len(header) :])):
                values = values[: len(header)]
            if len(values) != len(header):
                what = f"the row has {len(values)} fields and the header {len(header)}"
                yield row, RowError(what, file=self.file, row=row, remedy=_QUOTE)
                continue
            fields = dict(zip(header, values, strict=True))
            if nameless:
                del fields[""]
                odd = [at for at in nameless if at and not is_blank(values[at])]
                if odd:
                    what = f"{values[odd[0]]!r:.80} stands in column {odd[0] + 1}, which has no name"
                    yield row, RowError(what, file=self.file, row=row, remedy="Name the column in the header.")
                    continue
            yield row, fields

    def _header(self, row: int, values: Sequence[object]) -> list[str]:
        self.header = row
        header = ["" if is_blank(name) else unicodedata.normalize("NFC", str(name)).strip() for name in values]
        if header[0].startswith("#") and len(header) == 1:
            what = f"the table begins with {header[0]!r:.80}, not with a header"
            raise InputError(what, file=self.file, row=row, remedy="Remove comments: the header is the first line.")
        for name, count in Counter(header).items():
            if name and count > 1:
                what = f"the column {name!r:.80} occurs twice; there are {', '.join(map(repr, header))}"[:380]
                remedy = "Rename or remove one of the columns."
                raise InputError(what, file=self.file, row=row, field=name, remedy=remedy)
        return header


def _check_delimiter(delimiter: object) -> str | None:
    if isinstance(delimiter, str):
        delimiter = {"\\t": "\t", "tab": "\t"}.get(delimiter, delimiter)
    if delimiter is None or (isinstance(delimiter, str) and len(delimiter) == 1 and delimiter not in '"\r\n'):
        return delimiter
    what = f"{delimiter!r:.80} is not a sign that separates cells"
    raise InputError(what, field="dataset.reader.delimiter", remedy="Use one of , ; | or tab.")


def separator_of(header: str, usual: str) -> str:
    """The sign that separates the cells of a header; the usual one where it does, or where none does.

    >>> separator_of("path;speaker;label, as heard", ",")
    ';'
    """
    parts = {sign: _parts(header, sign) for sign in _SEPARATORS}
    most = max(parts.values())
    return usual if parts[usual] == most else next(sign for sign in _SEPARATORS if parts[sign] == most)


def _parts(header: str, sign: str) -> int:
    try:
        return len(next(csv.reader([header], delimiter=sign), []))
    except csv.Error:  # a cell that is too long
        return 1


def sheet_rows(file: Path, sheet: str | None = None) -> Iterator[tuple[int, Sequence[object]]]:
    """``(row number, values)`` of a spreadsheet, as pandas reads it.

    Args:
        file: The spreadsheet (.xlsx).
        sheet: Name of the sheet; the only one that is not empty if None.

    Raises:
        InputError: It cannot be read, or the sheet is not there or not the only one.
    """
    import pandas as pd

    if find_spec("openpyxl") is None:
        remedy = 'Run pip install "emoprobe[excel]" (in a checkout: pip install -e ".[excel]"), or save it as CSV.'
        raise InputError("reading .xlsx needs the package openpyxl", file=file, remedy=remedy)
    try:
        sheets = pd.read_excel(
            file, sheet_name=None, header=None, dtype=object, na_filter=False, engine="openpyxl", index_col=None
        )
    except Exception as error:  # of zip, XML or openpyxl, whatever the damage leads to
        what = f"the file cannot be read: {type(error).__name__}, {error!s:.200}".replace("\n", " ").rstrip(". ")
        raise InputError(what, file=file, remedy=_SAVE) from None
    names = [name for name, cells in sheets.items() if cells.size]
    if sheet is None and len(names) == 1:
        sheet = str(names[0])
    if sheet not in sheets:
        what = (
            f"there is no sheet {sheet!r:.80}" if sheet is not None else f"{len(names) or 'no'} sheets hold something"
        )
        remedy = f"Name one, dataset.reader.sheet or ratings_sheet; there are {', '.join(map(str, sheets))}."
        raise InputError(what, file=file, field="dataset.reader.sheet", remedy=remedy)
    for at, values in enumerate(sheets[sheet].itertuples(index=False, name=None), start=1):
        yield at, [_sheet_value(value) for value in values]


def _sheet_value(value: object) -> object:
    """A whole number of more digits than a spreadsheet keeps is written without those it has lost."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _DIGITS:
        return f"{value:.15g}"
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def without_null(value: object) -> object:
    """A struct of Parquet has the words of all rows in every row; those that a row does not have are null."""
    return {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value
