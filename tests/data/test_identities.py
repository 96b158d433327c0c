"""One person is one speaker, one recording one utterance."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from emoprobe.data.reading.files import RowError
from emoprobe.data.reading.identities import SoundFiles, settle
from emoprobe.data.utterance import Corpus, CorpusCard, Utterance
from emoprobe.errors import InputError

CARD = CorpusCard("toy", "Toy", True, "CC0", "none", "none", "none")
TABLE = Path("/corpus/votes.csv")


def corpus(*speakers: str | None) -> Corpus:
    clips = (
        Utterance(f"u{i}", Path(f"/u{i}.wav"), {"sad": 1}, 1, speaker, file=TABLE, row=i + 2)
        for i, speaker in enumerate(speakers)
    )
    return Corpus(CARD, tuple(clips))


def named(*names: str) -> Corpus:
    clips = (Utterance(name, Path(f"/{i}.wav"), file=TABLE, row=i + 2) for i, name in enumerate(names))
    return Corpus(CARD, tuple(clips))


def speakers(found: Corpus) -> list[str | None]:
    return [utterance.speaker for utterance in found.utterances]


# ------------------------------------------------------------------------------------------------------------- speakers


@pytest.mark.parametrize(
    ("given", "settled"),
    [
        (("1", "1.0", "2.00", "10"), ["1", "1", "2", "10"]),
        (("1.0", "2.0", None), ["1", "2", None]),
        (("1.0", "S2"), ["1", "S2"]),
        (("1.0", "1.5", "2.5"), ["1.0", "1.5", "2.5"]),  # versions or measures, not whole numbers
        ((None, None), [None, None]),
        (("S1", "S2", "s3"), ["S1", "S2", "s3"]),
        (("1 1", "11", "1_1", "1-1"), ["1 1", "11", "1_1", "1-1"]),
        (("1.05", "1.5"), ["1.05", "1.5"]),
    ],
)
def test_whole_numbers_are_one_person(given, settled):
    assert speakers(settle(corpus(*given))) == settled


ALIKE = [
    ("S1", "s1"),
    ("1", "01"),
    ("S1", "S01"),
    ("spk 1", "spk1"),
    ("F1", "\uff261"),
    ("a", "a\u200b"),
    ("1.0", "01"),
]
ALIKE += [("ſam", "sam"), ("No 1", "no\u00a001"), ("Straße", "STRASSE")]


@pytest.mark.parametrize(("first", "second"), ALIKE)
def test_speakers_that_look_alike(refused, first: str, second: str):
    for pair in ((first, second), (second, first)):
        error = refused(
            lambda pair=pair: settle(corpus("x", *pair, "y"), speaker="who"),
            "differ only in case, zero padding, blanks",
            file=TABLE,
            row=4,
            field="who",
            remedy="in the same way",
        )
        assert "(row 3) and" in error.what
        assert "(row 4)" in error.what


def test_many_pairs_are_counted():
    names = [name for i in range(2, 9) for name in (f"s{i}", f"S{i}")]
    with pytest.raises(InputError, match=r"'s2' \(row 2\) and 'S2' \(row 3\); .*; 4 more"):
        settle(corpus(*names))


# ---------------------------------------------------------------------------------------------------------------- clips


def test_ids_of_clips_may_differ_in_case_and_padding():
    assert len(settle(named("a_1", "A_1", "a_01", "1", "01")).utterances) == 5


@pytest.mark.parametrize("pair", [("1", "1.0"), ("a", "a\u200b"), ("clip 1", "clip\u00a01"), ("ﬁ", "fi")])
def test_ids_of_clips_that_nobody_can_tell_apart(refused, pair):
    call = lambda: settle(named("x", *pair), utterance_id="name")  # noqa: E731
    refused(call, "differ only in blanks", file=TABLE, row=4, field="name", remedy="in the same way")


# ---------------------------------------------------------------------------------------------------------------- files


def clip(name: str, audio: Path, row: int) -> Utterance:
    return Utterance(name, audio, file=TABLE, row=row)


def taken(*paths: Path, facts=()) -> None:
    files = SoundFiles()
    for row, path in enumerate(paths, start=2):
        files.add(clip(f"u{row}", path, row), field="path", facts=facts)


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for name in ("a.wav", "b.wav", "B.wav", "sub/a.wav", "\u00e4.wav", "a\u0308.wav"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "link.wav").symlink_to("a.wav")
    (tmp_path / "way").symlink_to("sub")
    return tmp_path


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a.wav", "a.wav"),
        ("a.wav", "./a.wav"),
        ("a.wav", "sub/../a.wav"),
        ("a.wav", "link.wav"),
        ("sub/a.wav", "way/a.wav"),
        ("none.wav", "NONE.wav"),  # of files that are not there only names can be compared
        ("gone\u00e4.wav", "gonea\u0308.wav"),
        ("nowhere/x.wav", "nowhere/./x.wav"),
    ],
)
def test_one_file_by_two_paths(sounds: Path, refused, one: str, other: str):
    call = lambda: taken(sounds / "b.wav", Path(f"{sounds}/{one}"), Path(f"{sounds}/{other}"))  # noqa: E731
    error = refused(
        call, "the sound of 'u4' is that of 'u3', in row 3", file=TABLE, row=4, field="path", remedy="one row"
    )
    assert isinstance(error, RowError)
    assert error.reason == "duplicate_file"


def test_different_files(sounds: Path):
    names = ["a.wav", "b.wav", "B.wav", "sub/a.wav", "\u00e4.wav", "a\u0308.wav", "gone.wav"]
    for order in itertools.islice(itertools.permutations(names), 0, None, 500):
        taken(*(sounds / name for name in order))


def test_a_name_that_is_there_is_not_one_that_is_not(sounds: Path):
    taken(sounds / "sub/a.wav", sounds / "sub/A.wav")


def test_stretches_of_a_file_are_not_read(sounds: Path, refused):
    call = lambda: taken(sounds / "a.wav", sounds / "a.wav", facts=["path", "start_time", "end_time"])  # noqa: E731
    refused(
        call, "would count twice", file=TABLE, row=3, field="path", remedy="Stretches of a file (start_time, end_time)"
    )
