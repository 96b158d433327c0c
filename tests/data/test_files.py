"""Reading foreign label files: text, tables, JSON lines, rows that go wrong, and sound that stays in its folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from emoprobe.data.reading import files
from emoprobe.data.reading.files import (
    MAX_LINE,
    Harvest,
    RowError,
    SoundFolder,
    json_lines,
    open_root,
    parse_object,
    table_rows,
    text_lines,
    whole,
)
from emoprobe.data.utterance import CorpusCard, Utterance
from emoprobe.errors import InputError

CARD = CorpusCard("toy", "Toy", True, "CC0", "https://toy.example", "none", "none")
RESTORE = "Restore the file from the corpus."
SKIP = "Restore the file from the corpus, or leave the row out: dataset.on_error=skip."


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def to(content: str | bytes, name: str = "labels.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to


def utterance(name: str, row: int = 2, file: Path = Path("/toy/labels.csv")) -> Utterance:
    return Utterance(name, Path(f"/toy/{name}.wav"), {"sad": 1.0}, file=file, row=row)


# ------------------------------------------------------------------------------------------------------- lines of text


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends_of_every_system(write, end: str, last: bool):
    path = write(end.join(["one", "", " three\t", "four"]) + (end if last else ""))
    assert list(text_lines(path)) == [(1, "one"), (2, ""), (3, " three\t"), (4, "four")]


def test_mixed_line_ends(write):
    content = b"a\r\rb\r\n\r\nc\n\rd\x0be\x0cf\x1cg\xc2\x85h\xe2\x80\xa8i"
    lines = ["a", "", "b", "", "c", "", "d\x0be\x0cf\x1cg\x85h\u2028i"]
    assert [line for _, line in text_lines(write(content))] == lines


def test_an_empty_file_has_no_lines(write):
    assert list(text_lines(write(""))) == []
    assert list(text_lines(write("\n"))) == [(1, "")]


def test_a_byte_order_mark_is_dropped_at_the_start_only(write):
    path = write(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n")
    assert list(text_lines(path)) == [(1, "a"), (2, "\ufeffb")]
    assert next(text_lines(path, "latin-1")) == (1, "a")
    assert list(text_lines(write(b"\xef\xbb\xbf"))) == [(1, "")]


def test_encodings(write, refused):
    path = write(b"a\nGr\xfc\xdfe\n")
    assert list(text_lines(path, "latin-1")) == [(1, "a"), (2, "Grüße")]
    refused(lambda: list(text_lines(path)), "byte 0xfc is not UTF-8", file=path, row=2, remedy=RESTORE)
    path = write("a\n\x80")
    refused(lambda: list(text_lines(path, "ascii")), "byte 0xc2 is not ASCII", file=path, row=2, remedy=RESTORE)
    path = write("one".encode("utf-16"))
    refused(lambda: list(text_lines(path)), "byte 0xff is not UTF-8", file=path, row=1, remedy=RESTORE)


def test_nul_bytes_are_text(write):
    assert list(text_lines(write(b"a\0b\n"))) == [(1, "a\0b")]


def test_a_file_that_cannot_be_read(tmp_path: Path, refused):
    for path, what in ((tmp_path / "none.txt", "No such file"), (tmp_path, "Is a directory")):
        call = lambda path=path: list(text_lines(path, remedy="Look."))  # noqa: E731
        refused(call, f"the file cannot be read: {what}", file=path, remedy="Look.")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_the_longest_line(write, end: bytes):
    path = write(b"a" + end + b"b" * MAX_LINE + end + b"c" + end)
    assert [(number, len(line)) for number, line in text_lines(path)] == [(1, 1), (2, MAX_LINE), (3, 1)]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\r", b"\r\nc\n"])
@pytest.mark.parametrize("more", [1, 70_000])
def test_a_line_that_is_too_long(write, refused, end: bytes, more: int):
    path = write(b"a\n" + b"b" * (MAX_LINE + more) + end)
    refused(lambda: list(text_lines(path)), "longer than 1,000,000 bytes", file=path, row=2, remedy=RESTORE)


def test_an_endless_line_is_not_read_to_its_end(tmp_path: Path):
    path = tmp_path / "sparse"
    with path.open("wb") as handle:
        handle.truncate(1 << 36)  # 64 GiB of NUL bytes that take no room
    with pytest.raises(InputError, match="longer than"):
        list(text_lines(path))


def test_many_lines_of_an_old_system(write):
    # Without a line feed, the whole file is one line to most readers.
    assert sum(1 for _ in text_lines(write(b"a line of some length\r" * 100_000))) == 100_000


@settings(max_examples=300, deadline=None, derandomize=True)
@given(content=st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"bcd"])).map(b"".join), chunk=st.integers(1, 5))
def test_lines_do_not_depend_on_how_the_file_is_read(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, chunk: int
):
    path = tmp_path_factory.getbasetemp() / "chunks.txt"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_CHUNK", chunk)
        found = [line for _, line in text_lines(path)]
    with path.open(encoding="utf-8", newline=None) as handle:
        assert found == [line.removesuffix("\n") for line in handle]


# -------------------------------------------------------------------------------------------------------------- tables


def test_a_table(write):
    path = write('id , votes\nu1,3\n\n"u,2"," 4 "\n')
    assert list(table_rows(path, ("id", "votes"))) == [
        (2, {"id": "u1", "votes": "3"}),
        (4, {"id": "u,2", "votes": " 4 "}),
    ]


def test_other_delimiters_and_encodings(write):
    path = write(b"id;word\nu1;Gr\xfc\xdfe\n")
    assert list(table_rows(path, delimiter=";", encoding="latin-1")) == [(2, {"id": "u1", "word": "Grüße"})]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_row_numbers_after_cells_of_several_lines(write, end: str):
    path = write('"id\nof it",word\n\nu1,"one\n\ntwo"\nu2,x\nu3\nu4,"a ""b"""\n'.replace("\n", end))
    rows = list(table_rows(path))
    assert [row for row, _ in rows] == [4, 7, 8, 9]
    assert [fields for _, fields in rows if isinstance(fields, dict)] == [
        {"id\nof it": "u1", "word": "one\n\ntwo"},
        {"id\nof it": "u2", "word": "x"},
        {"id\nof it": "u4", "word": 'a "b"'},
    ]


@pytest.mark.parametrize(("line", "count"), [("u2", 1), ("u2,1,2", 3), (" ", 1)])
def test_a_ragged_row_comes_as_its_error(write, line: str, count: int):
    path = write(f"id,votes\nu1,1\n{line}\nu3,3\n")
    rows = list(table_rows(path))
    assert [row for row, _ in rows] == [2, 3, 4]
    error = rows[1][1]
    assert isinstance(error, RowError)
    assert error.what == f"the row has {count} fields and the header 2"
    assert (error.file, error.row, error.reason, error.remedy) == (path, 3, "bad_row", SKIP)
    assert list(table_rows(path, row_remedy="Mend it."))[1][1].remedy == "Mend it."


def test_missing_columns(write, refused):
    path = write("id,votes\nu1,1\n")
    what = "the column 'word' is missing; there are 'id', 'votes'"
    refused(lambda: list(table_rows(path, ("id", "word"))), what, file=path, row=1, field="word", remedy=RESTORE)
    call = lambda: list(table_rows(path, ("word",), remedy="Mend it."))  # noqa: E731
    refused(call, what, file=path, row=1, field="word", remedy="Mend it.")


def test_columns_that_occur_twice(write, refused):
    path = write("id,votes,votes,x, x\nu1,1,2,3,4\n")
    call = lambda: list(table_rows(path, ("votes",)))  # noqa: E731
    refused(call, "the column 'votes' occurs twice", file=path, row=1, field="votes", remedy=RESTORE)
    assert list(table_rows(path, ("id",))) == [(2, {"id": "u1", "votes": "2", "x": "4"})]


def test_aliases_of_columns(write, refused):
    names = {"Gender": "gender", "sex": "gender"}
    for header in ("gender", "Gender", " sex "):
        path = write(f"{header},x\nm,1\n")
        assert list(table_rows(path, ("gender",), aliases=names)) == [(2, {"gender": "m", "x": "1"})]
    path = write("sex,Gender\nm,f\n")
    call = lambda: list(table_rows(path, ("gender",), aliases=names))  # noqa: E731
    refused(call, "'gender' occurs twice", file=path, row=1, field="gender", remedy=RESTORE)


def test_an_empty_table(write, refused):
    for content in ("", "\n", "\ufeff"):
        path = write(content)
        assert list(table_rows(path)) == []
        call = lambda path=path: list(table_rows(path, ("id",)))  # noqa: E731
        refused(call, "the column 'id' is missing; there are ", file=path, row=1, field="id", remedy=RESTORE)


@pytest.mark.parametrize("damage", ['"u2', '"u2"x,1', '"' + "x" * 200_000 + '",1', '"u2\n' * 60_000])
def test_damaged_quotes(write, refused, damage: str):
    path = write(f"id,votes\nu1,1\n{damage}")
    refused(lambda: list(table_rows(path)), "this is not a table", file=path, row=3, remedy=RESTORE)


def test_nul_bytes_and_control_characters_in_cells(write):
    assert list(table_rows(write("id,votes\nu\0,\x1b\n"))) == [(2, {"id": "u\0", "votes": "\x1b"})]


def test_another_encoding_of_a_table(write, refused):
    path = write(b"id,votes\nu1,1\n\xfc,2\n")
    call = lambda: list(table_rows(path, remedy="Save it anew."))  # noqa: E731
    refused(call, "byte 0xfc is not UTF-8", file=path, row=3, remedy="Save it anew.")


def test_a_table_is_read_as_it_goes(write):
    rows = table_rows(write(b"id\n" + b"u\n" * 50_000 + b"\xff\n"))
    assert next(rows) == (2, {"id": "u"})


def test_a_header_of_very_many_columns_is_refused_quickly(write):
    path = write("," * (MAX_LINE - 1) + "\n1\n")
    start = time.perf_counter()
    with pytest.raises(InputError):
        list(table_rows(path, ("id",)))
    assert time.perf_counter() - start < 10


def test_whole(write, refused):
    path = write("id\nu1\nu2,x\n")
    rows = whole(table_rows(path))
    assert next(rows) == (2, {"id": "u1"})
    refused(lambda: next(rows), "the row has 2 fields", file=path, row=3, remedy=SKIP, reason="bad_row")


# ---------------------------------------------------------------------------------------------------------- JSON lines


def test_json_lines(write):
    path = write('{"id": "u1", "n": [1, 2.5, null]}\r\n\r\n  \n{"id": "\\ud83d\\ude00 ü"}', "labels.jsonl")
    assert list(json_lines(path)) == [(1, {"id": "u1", "n": [1, 2.5, None]}), (4, {"id": "😀 ü"})]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "Expecting property name"),
        ("[1]", "it is not an object"),
        ("null", "it is not an object"),
        ('{"a": 1} {"b": 2}', "Extra data"),
        ('{"a": {"b": 1, "b": 2}}', "a key occurs twice"),
        ('{"a": "\\ud800"}', "surrogates not allowed"),
        ('{"a": "\\uDE00\\uD83D"}', "surrogates not allowed"),
        ("[" * 100_000, "recursion"),
        ('{"a": ' + "1" * 5_000 + "}", "digits"),
        ('{"a": "\0"}', "Invalid control character"),
    ],
)
def test_bad_json_lines_come_as_their_errors(write, line: str, what: str):
    path = write(f'{{"a": 1}}\n{line}\n{{"a": 3}}\n', "labels.jsonl")
    rows = list(json_lines(path))
    assert [row for row, _ in rows] == [1, 2, 3]
    error = rows[1][1]
    assert isinstance(error, RowError)
    assert error.what.startswith("this line is not a JSON object: ")
    assert what in error.what
    assert len(error.what) < 300
    assert (error.file, error.row, error.reason, error.remedy) == (path, 2, "bad_row", SKIP)
    assert list(json_lines(path, row_remedy="Mend it."))[1][1].remedy == "Mend it."


def test_another_encoding_of_json_lines(write, refused):
    path = write(b'{"a": 1}\n{"a": "\xfc"}\n', "labels.jsonl")
    call = lambda: list(json_lines(path, remedy="Save it anew."))  # noqa: E731
    refused(call, "byte 0xfc is not UTF-8", file=path, row=2, remedy="Save it anew.")


def test_parse_object():
    assert parse_object('{"a": {"b": 1}, "c": "\\\\ud800"}') == {"a": {"b": 1}, "c": "\\ud800"}
    for text in ("", "[]", '"a"', '{"a": 1, "a": 1}', '{"\\udc00": 1}'):
        with pytest.raises(ValueError, match=r"."):
            parse_object(text)


# --------------------------------------------------------------------------------------------------------- gathering


def test_gathering():
    harvest = Harvest(CARD)
    for number, name in enumerate("abc"):
        with harvest.row(name):
            harvest.add(utterance(name, number))
    corpus = harvest.corpus(Path("/toy/labels.csv"))
    assert [each.id for each in corpus.utterances] == ["a", "b", "c"]
    assert (corpus.card, corpus.skipped) == (CARD, ())


def test_a_bad_row_stops_the_reading_or_is_listed():
    file = Path("/toy/labels.csv")
    for on_error in ("error", "skip"):
        harvest = Harvest(CARD, on_error)
        harvest.add(utterance("a"))

        def read(harvest: Harvest = harvest) -> None:
            with harvest.row("b"):
                raise RowError("it is odd", file=file, row=3, field="votes", reason="bad_votes")

        if on_error == "error":
            with pytest.raises(RowError, match="it is odd"):
                read()
            continue
        read()
        (skipped,) = harvest.corpus(file).skipped
        assert (skipped.id, skipped.reason, skipped.file, skipped.row) == ("b", "bad_votes", str(file), 3)
        assert skipped.message == f"it is odd (file {file}, row 3, field votes). {SKIP}"


def test_a_bad_file_is_never_skipped():
    harvest = Harvest(CARD, "skip")

    def read() -> None:
        with harvest.row("a"):
            raise InputError("the file is odd")

    with pytest.raises(InputError, match="the file is odd"):
        read()


def test_the_same_utterance_twice(refused):
    harvest = Harvest(CARD, "skip")
    first, again = utterance("a", 2), utterance("a", 5)
    harvest.add(first)
    what = "utterance 'a' was there before, in row 2"
    refused(lambda: harvest.add(again), what, file=first.file, row=5, remedy=SKIP, reason="duplicate_id")
    call = lambda: harvest.add(again, field="id", remedy="Rename it.")  # noqa: E731
    refused(call, what, file=first.file, row=5, field="id", remedy="Rename it.", reason="duplicate_id")
    with harvest.row("a"):
        harvest.add(again)
    corpus = harvest.corpus(Path("/toy"))
    assert corpus.utterances == (first,)
    assert [each.reason for each in corpus.skipped] == ["duplicate_id"]


def test_nothing_gathered(refused):
    file, harvest = Path("/toy/labels.csv"), Harvest(CARD, "skip")
    refused(lambda: harvest.corpus(file), "there is no usable utterance", file=file, remedy=RESTORE)
    refused(lambda: harvest.corpus(file, "Add rows."), "there is no usable utterance", file=file, remedy="Add rows.")
    for row in (2, 3):
        with harvest.row("a"):
            raise RowError(f"odd {row}", file=file, row=row)
    refused(lambda: harvest.corpus(file, "Add rows."), "", file=file, remedy="2 rows were left out; the first: odd 2 (")


def test_unknown_ways_with_errors(refused):
    what = "unknown value 'ignore'"
    refused(lambda: Harvest(CARD, "ignore"), what, file=None, field="dataset.on_error", remedy="Use error or skip.")


# ------------------------------------------------------------------------------------------------------------- folders


def test_open_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused):
    (tmp_path / "b").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    for root in (tmp_path, str(tmp_path), ".", f"~/{tmp_path.name}", tmp_path / "b" / ".."):
        opened = open_root(root, CARD, "a.csv", "b")
        assert opened.is_absolute()
        assert opened.samefile(tmp_path)
    assert open_root("none", CARD) == tmp_path / "none"
    what = "this folder is not Toy: it has no a.csv or c"
    remedy = "Get the corpus (https://toy.example) and give its top folder."
    call = lambda: open_root(tmp_path, CARD, "a.csv", "c")  # noqa: E731
    refused(call, what, file=tmp_path / "a.csv", field="dataset.root", remedy=remedy)


@pytest.mark.parametrize("root", ["~no-such-user/corpus", "a" * 5_000, "a\0b", "\ud800"])
def test_roots_that_are_no_folders(refused, root: str):
    file = Path(root).absolute() / "a.csv"
    call = lambda: open_root(root, CARD, "a.csv")  # noqa: E731
    refused(call, "this folder is not Toy", file=file, field="dataset.root", remedy="Get the corpus")


def test_a_root_that_is_no_path(refused):
    call = lambda: open_root(None, CARD, "a.csv")  # noqa: E731
    refused(call, "None is not a folder", file=None, field="dataset.root", remedy="Correct it.")


# --------------------------------------------------------------------------------------------------------------- sound


@pytest.fixture
def sound(tmp_path: Path) -> Iterator[Path]:
    """A root with sound, beside a folder that is none of its business."""
    root = tmp_path / "root"
    for name in ("root/wav/Deep", "root/store", "outside"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("a.wav", "B.WAV", "c.flac", "d.txt", "e.wav", "E.wav", "E.WAV", "Deep/f.Wav", "x.y.wav"):
        (root / "wav" / name).touch()
    (tmp_path / "outside" / "a.wav").touch()
    (root / "store" / "1").touch()
    return root


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("wav/a.wav", "wav/a.wav"),
        ("wav/A.Wav", "wav/a.wav"),
        ("wav/a", "wav/a.wav"),
        ("wav/a.mp3", "wav/a.wav"),
        ("wav/b.wav", "wav/B.WAV"),
        ("wav/C.wav", "wav/c.flac"),
        ("wav/d.txt", "wav/d.txt"),
        ("wav/d.wav", "wav/d.wav"),  # no sound, so it stays as asked for
        ("wav/e.wav", "wav/e.wav"),
        ("wav/E.wav", "wav/E.wav"),
        ("wav/E.WAV", "wav/E.WAV"),
        ("wav/x.y", "wav/x.y.wav"),
        ("wav/Deep/F.wav", "wav/Deep/f.Wav"),
        ("wav/../wav/./a.wav", "wav/../wav/a.wav"),
        ("wav/nowhere/a.wav", "wav/nowhere/a.wav"),
        ("store/1", "store/1"),
    ],
)
def test_finding_sound(sound: Path, asked: str, found: str):
    folder = SoundFolder(sound)
    assert folder.find(asked) == sound / found
    assert folder.find(Path(asked)) == sound / found


def test_some_suffixes_only(sound: Path):
    assert SoundFolder(sound, (".wav",)).find("wav/c.wav") == sound / "wav/c.wav"
    assert SoundFolder(sound, ()).find("wav/A.WAV") == sound / "wav/a.wav"
    assert SoundFolder(sound, ()).find("wav/a") == sound / "wav/a"


def test_names_that_differ_in_case_alone_are_always_found_alike(sound: Path):
    assert {SoundFolder(sound).find("wav/e.WAV").name for _ in range(3)} == {"e.wav"}


def test_names_in_another_unicode_form(sound: Path):
    (sound / "wav" / "a\u0308.wav").write_bytes(b"")
    for name in ("wav/\u00e4.wav", "wav/a\u0308.wav", "wav/\u00c4.WAV"):
        assert SoundFolder(sound).find(name).name == "a\u0308.wav"
    (sound / "wav" / "\u00e4.wav").write_bytes(b"")
    assert SoundFolder(sound).find("wav/\u00e4.wav").name == "\u00e4.wav"
    assert SoundFolder(sound).find("wav/a\u0308.wav").name == "a\u0308.wav"


@pytest.mark.parametrize(
    "relative",
    ["../outside/a.wav", "wav/../../outside/a.wav", "/etc/passwd", "..", ".", "", "/", "wav/../..", "x/../.."],
)
def test_paths_that_leave_the_root(sound: Path, refused, relative: str):
    call = lambda: SoundFolder(sound).find(relative, file=Path("/l.csv"), row=7, field="file")  # noqa: E731
    what = f"the path {relative!r} leaves the root {sound}"
    refused(call, what, file=Path("/l.csv"), row=7, field="file", remedy="dataset.root", reason="bad_row")


def test_an_absolute_path_into_the_root(sound: Path):
    assert SoundFolder(sound).find(sound / "wav" / "A.wav") == sound / "wav" / "a.wav"
    with pytest.raises(RowError, match="leaves the root"):
        SoundFolder(sound).find(sound / ".." / "outside" / "a.wav")


@pytest.mark.parametrize("relative", ["a\0.wav", "a\n.wav", "\x1f"])
def test_control_characters(sound: Path, refused, relative: str):
    call = lambda: SoundFolder(sound).find(relative)  # noqa: E731
    refused(call, "holds a control character", file=None, field="path", remedy=SKIP, reason="bad_row")
    call = lambda: SoundFolder(sound).find(relative, remedy="Mend it.")  # noqa: E731
    refused(call, "holds a control character", file=None, field="path", remedy="Mend it.")


@pytest.mark.parametrize("relative", ["\ud800.wav", "a" * 5_000, "a/" * 3_000 + "b", "wav/\ud800/a.wav"])
def test_paths_that_no_system_takes(sound: Path, relative: str):
    try:
        assert SoundFolder(sound).find(relative) == sound / relative
    except RowError as error:
        assert "cannot be followed" in error.what  # noqa: PT017


def test_links_that_stay_inside(sound: Path):
    (sound / "wav" / "g.wav").symlink_to("../store/1")
    (sound / "link").symlink_to(sound / "wav", target_is_directory=True)
    (sound / "wav" / "gone.wav").symlink_to(sound / "store" / "2")
    folder = SoundFolder(sound)
    assert folder.find("wav/G.WAV") == sound / "wav" / "g.wav"
    assert folder.find("link/b.wav") == sound / "link" / "B.WAV"
    assert folder.find("wav/gone.wav") == sound / "wav" / "gone.wav"


def test_links_that_lead_out(sound: Path, tmp_path: Path):
    (sound / "wav" / "g.wav").symlink_to(tmp_path / "outside" / "a.wav")
    (sound / "wav" / "gone.wav").symlink_to(tmp_path / "outside" / "none.wav")
    (sound / "wav" / "chain.wav").symlink_to("g.wav")
    (sound / "link").symlink_to(tmp_path / "outside", target_is_directory=True)
    folder = SoundFolder(sound)
    for relative in ("wav/g.wav", "wav/G", "wav/gone.wav", "wav/chain.wav", "link/a.wav", "link/none.wav", "link"):
        with pytest.raises(RowError, match="leaves the root"):
            folder.find(relative)


def test_a_link_to_itself(sound: Path):
    (sound / "wav" / "loop.wav").symlink_to("loop.wav")
    assert SoundFolder(sound).find("wav/loop.wav") == sound / "wav" / "loop.wav"


def test_a_neighbour_whose_name_begins_like_the_root(sound: Path, tmp_path: Path):
    (tmp_path / "root2").mkdir()
    with pytest.raises(RowError, match="leaves the root"):
        SoundFolder(sound).find("../root2/a.wav")


def test_the_root_may_be_a_link(sound: Path, tmp_path: Path):
    (tmp_path / "link").symlink_to(sound)
    assert SoundFolder(tmp_path / "link").find("wav/A") == tmp_path / "link" / "wav" / "a.wav"
    assert SoundFolder(tmp_path / "nowhere").find("a.wav") == tmp_path / "nowhere" / "a.wav"


def test_sound_of_a_large_corpus_is_found_within_seconds(tmp_path: Path):
    folder = SoundFolder(tmp_path)
    start = time.perf_counter()
    for number in range(100_000):
        folder.find(f"wav/{number}.wav")
    assert time.perf_counter() - start < 20  # about 2 s alone on a machine


# ------------------------------------------------------------------------------------------------------------ any bytes

CONTENT = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from([b"id", b",", b'"', b"\n", b"\r", b"\0", b"\xff", b"{", b"}", b":", b'"a"', b"1"])).map(
        b"".join
    ),
)


@settings(max_examples=600, deadline=None, derandomize=True)
@given(content=CONTENT, encoding=st.sampled_from(["utf-8", "latin-1", "ascii"]))
@example(content=b'"', encoding="utf-8")
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes, encoding: str):
    """Whatever a file holds, it is read or refused by name."""
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    readers = (
        lambda: [(row, line) for row, line in text_lines(path, encoding)],
        lambda: list(table_rows(path, encoding=encoding)),
        lambda: list(table_rows(path, ("id",), delimiter="\t")),
        lambda: list(json_lines(path)),
    )
    for read in readers:
        found = rows_or_error(read)
        if isinstance(found, InputError):
            assert found.file == path
            assert found.remedy
            continue
        assert [row for row, _ in found] == sorted({row for row, _ in found})
        for row, value in found:
            assert not isinstance(value, RowError) or (value.file, value.row) == (path, row)
            if isinstance(value, dict):
                json.dumps(value, ensure_ascii=False).encode()


def rows_or_error(read: Callable[[], list]) -> list | InputError:
    try:
        return read()
    except InputError as error:
        return error
