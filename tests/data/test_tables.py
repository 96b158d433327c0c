"""Tables as people have them are read as what they are, or refused in one line."""

from __future__ import annotations

import gzip
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from emoprobe.data.reading.files import MAX_LINE, RowError
from emoprobe.data.reading.tables import Table, separator_of
from emoprobe.errors import InputError

HEAD = ["path", "votes_sad", "votes_happy"]
TWO = [{"path": "a.wav", "votes_sad": "1", "votes_happy": "2"}, {"path": "b.wav", "votes_sad": "0", "votes_happy": "3"}]
PLAIN = "path,votes_sad,votes_happy\na.wav,1,2\nb.wav,0,3\n"


def read(path: Path, **options) -> list[dict]:
    found = []
    for _, fields in Table(path, **options):
        if isinstance(fields, RowError):
            raise fields
        found.append(dict(fields))
    return found


@pytest.fixture
def write(tmp_path: Path):
    def to(content: str | bytes, name: str = "t.csv") -> Path:
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return tmp_path / name

    return to


# ----------------------------------------------------------------------------------------------- separators and lines


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_the_header_tells_the_separator(write, sign: str, name: str):
    assert read(write(PLAIN.replace(",", sign), name)) == TWO
    assert read(write(PLAIN.replace(",", sign), name), delimiter="tab" if sign == "\t" else sign) == TWO


def test_separators_within_names(write):
    path = write('path;"votes_sad, or nearly";age\na.wav;1;"2;3"\n')
    assert read(path) == [{"path": "a.wav", "votes_sad, or nearly": "1", "age": "2;3"}]
    assert separator_of("path", "\t") == "\t"


@pytest.mark.parametrize("sign", ["", ",,", '"', "\n", 3])
def test_no_separator(write, refused, sign):
    what = "is not a sign that separates cells"
    refused(
        lambda: read(write(PLAIN), delimiter=sign), what, file=None, field="dataset.reader.delimiter", remedy="or tab"
    )


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_blanks_empty_lines_and_lines_of_separators(write, end: str):
    lines = ["", " , ,", "path , votes_sad,\u00a0votes_happy", "a.wav, 1,2", ",,", "", "b.wav ,0 , 3", " , ,", ""]
    rows = list(Table(write(end.join(lines))))
    assert [row for row, _ in rows] == [4, 7]
    assert [{key: value.strip() for key, value in fields.items()} for _, fields in rows] == TWO


def test_mixed_ends_of_lines(write):
    assert read(write(PLAIN.replace("\n", "\r\n", 1).replace("3\n", "3\r"))) == TWO


def test_cells_of_several_lines(write):
    path = write('path;text;x\na.wav;"one\ntwo; three ""four""";1\nb.wav;;2\n')
    assert [(row, fields["text"]) for row, fields in Table(path)] == [(2, 'one\ntwo; three "four"'), (4, "")]


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "\ufeffsep=;"])
def test_the_first_line_of_excel(write, first: str):
    rows = list(Table(write(f"{first}\n{PLAIN.replace(',', ';')}")))
    assert [row for row, _ in rows] == [3, 4]
    assert [dict(fields) for _, fields in rows] == TWO


def test_a_header_in_quotes_after_a_mark(write):
    assert read(write('\ufeff"path", "votes_sad", "votes_happy"\n"a.wav", "1", "2"\nb.wav,0,3\n')) == TWO


def test_trailing_separators_and_an_index(write):
    assert read(write("path,votes_sad,votes_happy,,\na.wav,1,2,,\nb.wav,0,3\n".replace("3\n", "3,,\n"))) == TWO
    assert read(write(PLAIN.replace("\n", ",\n").replace("happy,", "happy"))) == TWO
    assert read(write(",path,votes_sad,votes_happy\n0,a.wav,1,2\n1,b.wav,0,3\n")) == TWO


def test_values_in_a_column_without_a_name(write, refused):
    path = write("path,votes_sad,\na.wav,1,2\n")
    refused(lambda: read(path), "'2' stands in column 3, which has no name", file=path, row=2, remedy="Name the column")


@pytest.mark.parametrize("header", ["path,votes_sad,votes_sad", "path,votes_sad, votes_sad ", "path,a\u0308,\u00e4"])
def test_columns_that_occur_twice(write, refused, header: str):
    path = write(f"{header}\na.wav,1,2\n")
    name = "votes_sad" if "sad" in header else "\u00e4"
    refused(lambda: read(path), "occurs twice", file=path, row=1, field=name, remedy="Rename or remove one")


def test_a_comment_is_no_header(write, refused):
    path = write(f"# made by a program\n{PLAIN}")
    refused(lambda: read(path), "begins with '# made by", file=path, row=1, remedy="Remove comments")


def test_an_open_quote(write, refused):
    path = write('path,x\na.wav,"b\nc.wav,d\n')
    refused(lambda: read(path), "this is not a table", file=path, row=2, remedy="Close every quote")


# ------------------------------------------------------------------------------------------- encodings and packed files


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "shift_jis"]
)
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
@pytest.mark.parametrize("packed", [False, True])
def test_encodings(write, encoding: str, name: str, packed: bool):
    text = "\u65e5\u672c" if encoding == "shift_jis" else "\u00e4\u00df"
    content = f'{{"path": "{text}.wav"}}\n' if name == "t.jsonl" else f"path,x\n{text}.wav,1\n"
    data = content.encode(encoding)
    path = write(gzip.compress(data) if packed else data, name)
    told = encoding if encoding in ("cp1252", "shift_jis") else None
    assert [fields["path"] for fields in read(path, encoding=told)] == [f"{text}.wav"]


def test_a_mark_goes_before_what_was_told(write):
    path = write("path,x\n\u00e4.wav,1\n".encode("utf-8-sig"))
    assert read(path, encoding="cp1252") == [{"path": "\u00e4.wav", "x": "1"}]


def test_packed_whatever_its_name(write):
    assert read(write(gzip.compress(PLAIN.encode()), "t.csv.gz")) == TWO
    assert read(write(gzip.compress(PLAIN.encode()), "t.csv")) == TWO
    assert read(write(PLAIN, "t.csv.gz")) == TWO


def test_letters_of_one_byte_are_never_guessed(write, refused):
    path = write(PLAIN.replace("b.wav", "\u00e4.wav").encode("cp1252"))
    refused(lambda: read(path), "byte 0xe4 is not UTF-8", file=path, row=3, remedy="dataset.reader.encoding=cp1252")


@pytest.mark.parametrize("encoding", ["utf8000", "base64", "rot13", ""])
def test_no_encoding(write, refused, encoding: str):
    call = lambda: read(write(PLAIN), encoding=encoding)  # noqa: E731
    if not encoding:
        assert call() == TWO
        return
    what = f"'{encoding}' is no encoding of text"
    refused(call, what, file=None, field="dataset.reader.encoding", remedy="such as utf-8")


def test_a_damaged_packed_file(write, refused):
    path = write(gzip.compress(PLAIN.encode())[:-6])
    refused(lambda: read(path), "it was packed by gzip and is damaged", file=path, remedy="")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04rest", "a packed file"),
        (b"\xd0\xcf\x11\xe0\xa1", "an old (.xls) or protected spreadsheet"),
        (b"PAR1xx", "a Parquet file"),
        (b"\xef\xbb\xbf\n<html><table>", "a page of HTML or XML"),
        ("<table>".encode("utf-16"), "a page of HTML or XML"),
    ],
)
@pytest.mark.parametrize("name", ["t.csv", "t.xlsx"])
def test_what_is_not_what_its_name_says(write, refused, content: bytes, what: str, name: str):
    path = write(content, name)
    if name == "t.xlsx" and content.startswith(b"PK"):
        refused(lambda: read(path), "the file cannot be read", file=path, remedy="Save it as .xlsx")
        return
    refused(lambda: read(path), what, file=path, field="dataset.path", remedy="Name it as what it is")


def test_text_that_is_called_a_spreadsheet(write, refused):
    path = write(PLAIN, "t.xlsx")
    refused(lambda: read(path), "by its content text", file=path, field="dataset.path", remedy="Save it as .xlsx")


# -------------------------------------------------------------------------------------------------------- spreadsheets


def test_a_spreadsheet(tmp_path: Path, workbook):
    rows = [
        [],
        ["path ", "votes_sad", "speaker", None],
        ["a.wav", 1, 127.0, None],
        [None] * 4,
        ["b.wav", 2.5, "x", None],
    ]
    path = workbook(tmp_path / "t.xlsx", Notes=[], Votes=rows)
    expected = [
        (3, {"path": "a.wav", "votes_sad": 1, "speaker": 127}),
        (5, {"path": "b.wav", "votes_sad": 2.5, "speaker": "x"}),
    ]
    assert list(Table(path)) == expected
    assert list(Table(path, sheet="Votes")) == expected
    assert type(dict(list(Table(path)))[3]["speaker"]) is int


def test_which_sheet(tmp_path: Path, refused, workbook):
    path = workbook(tmp_path / "t.xlsx", One=[["a"], [1]], Two=[["b"], [2]])
    refused(
        lambda: read(path),
        "2 sheets hold something",
        file=path,
        field="dataset.reader.sheet",
        remedy="there are One, Two",
    )
    refused(
        lambda: read(path, sheet="3"), "there is no sheet '3'", file=path, field="dataset.reader.sheet", remedy="One"
    )
    assert read(path, sheet="Two") == [{"b": 2}]


def test_cells_that_lost_what_they_were(tmp_path: Path, workbook):
    day = datetime(2024, 1, 3)
    path = workbook(tmp_path / "t.xlsx", S=[["id", "day", "error", "no"], [12345678901234567, day, "#N/A", None]])
    (fields,) = read(path)
    assert fields["id"] == "1.23456789012346e+16"
    assert fields["day"] == day


def test_a_spreadsheet_without_its_package(tmp_path: Path, refused, monkeypatch, workbook):
    path = workbook(tmp_path / "t.xlsx", S=[["a"], [1]])
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    refused(lambda: read(path), "needs the package openpyxl", file=path, remedy='pip install "emoprobe[excel]"')


# ------------------------------------------------------------------------------------------------------------- numbers


def test_decimal_commas_where_commas_separate_no_cells(write):
    for sign, comma in ((";", True), ("\t", True), (",", False)):
        table = Table(write(PLAIN.replace(",", sign)))
        list(table)
        assert table.number.comma is comma
        if comma:
            assert table.number("0,25") == 0.25
            assert table.number("3") == 3
            with pytest.raises(ValueError, match="another decimal sign"):
                table.number("0.25")
        else:
            with pytest.raises(ValueError, match="is not a number"):
                table.number("0,25")


@pytest.mark.parametrize(
    "text", ["40%", "1.234,5", "1,234.5", "1 000", "\uff11", "\u0663", "1e", "0x1", "inf", "nan", ""]
)
def test_no_numbers(write, text: str):
    table = Table(write(PLAIN.replace(",", ";")))
    list(table)
    with pytest.raises(ValueError, match=r"is not a number|another decimal sign"):
        table.number(text)


# ------------------------------------------------------------------------------------------------------------ any bytes


def test_a_header_of_very_many_columns_is_refused_quickly(write):
    path = write("path" + "," * (MAX_LINE - 9) + "\n1\n")
    start = time.perf_counter()
    with pytest.raises(InputError):
        read(path)
    assert time.perf_counter() - start < 10


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    content=st.one_of(
        st.binary(max_size=80),
        st.text(alphabet='pathx,;\t\n"| \r\u00e4=', max_size=80).map(str.encode),
        st.text(alphabet="pa,;\n\u00e4", max_size=40).map(lambda text: text.encode("utf-16")),
        st.binary(max_size=40).map(lambda data: gzip.compress(b"path,x\n")[: 30 + len(data)] + data),
    ),
    name=st.sampled_from(["t.csv", "t.tsv", "t.jsonl", "t.csv.gz", "t.xlsx"]),
)
@example(content=b"\xff\xfe", name="t.csv")
@example(content=b"\x1f\x8b", name="t.jsonl")
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str):
    """Whatever a file holds, it is read or refused by name."""
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    try:
        rows = list(Table(path))
    except InputError as error:
        assert error.file == path  # noqa: PT017
        return
    assert all(isinstance(fields, (dict, RowError)) for _, fields in rows)
