"""A ratings table and its clips: what every row says, and what is refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from emoprobe.data.reading.files import Harvest, table_rows
from emoprobe.data.reading.ratings import RatingColumns, Ratings, join, words_of
from emoprobe.data.utterance import Corpus, CorpusCard, Rating, Utterance

CARD = CorpusCard("toy", "Toy", True, "none", "none", "none", "three")
COLUMNS = RatingColumns(
    clip="clip",
    rater="who",
    label="emotion",
    secondary="also",
    weight="weight",
    confidence="sure",
    time="when",
    dimensions={"valence": "v"},
    scales={"valence": (1, 7)},
)
HEAD = "clip,who,emotion,also,weight,sure,when,v\n"
SKIP = "dataset.on_error=skip"


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Corpus]:
    def call(text: str, columns: RatingColumns = COLUMNS, *, on_error: str = "error", clips: str = "ab", **more):
        file = tmp_path / "ratings.csv"
        file.write_text(HEAD + text, encoding="utf-8")
        harvest = Harvest(CARD, on_error)
        ratings = Ratings(file, columns)
        ratings.read(table_rows(file, ("clip",)), harvest)
        ratings.settle()
        join((Utterance(clip, Path(f"/{clip}.wav")) for clip in clips), ratings, harvest, **more)
        return harvest.corpus(file)

    return call


def test_what_a_row_says(read):
    a, b = read("a,r1,sad,happy,2,.5,10:30,3\na,r2,happy|sad,,,,,\nb,r1,,,,,,6.5\nb,,sad,,,,,\n").utterances
    assert a.ratings == (
        Rating("r1", ("sad",), ("happy",), False, {"valence": 3.0}, 2.0, 0.5, "10:30"),
        Rating("r2", ("happy", "sad")),
    )
    assert b.ratings == (Rating("r1", values={"valence": 6.5}), Rating("b#2", ("sad",)))
    assert a.scales == b.scales == {"valence": (1, 7)}


def test_a_clip_without_ratings_stays(read):
    a, b, c = read("a,r1,sad,,,,,\nb,r1,,,,,,\n", clips="abc").utterances
    assert (len(a.ratings), b.ratings, c.ratings) == (1, (), ())


def test_raters_whom_nobody_knows_are_different_ones(read):
    a, b = read("a,,sad,,,,,\na,nan,sad,,,,,\nb,unknown,sad,,,,,\n").utterances
    assert [r.rater for r in (*a.ratings, *b.ratings)] == ["a#1", "a#2", "b#1"]


def test_one_rater_written_by_two_programs(read):
    a, b = read("a,1,sad,,,,,\na,2.0,sad,,,,,\nb,1.0,sad,,,,,\n").utterances
    assert [r.rater for r in (*a.ratings, *b.ratings)] == ["1", "2", "1"]


def test_a_rater_who_is_the_speaker_and_codes_for_words_and_clips(read):
    columns = RatingColumns(
        clip="clip",
        rater="who",
        label="emotion",
        word=lambda code: {"S": "sad"}[code],
        clip_id=lambda cell: cell.strip().removesuffix(".wav"),
        self_report=lambda fields: fields["who"] == "actor",
    )
    a, _ = read("a.wav,actor,S,,,,,\na,r1,S,,,,,\n", columns).utterances
    assert a.ratings == (Rating("actor", ("sad",), self_report=True), Rating("r1", ("sad",)))


def test_names_of_clips_that_differ_between_the_tables(read):
    a, b = read("A,r1,sad,,,,,\na,r2,happy,,,,,\n", same=str.lower).utterances
    assert [r.rater for r in a.ratings] == ["r1", "r2"]
    assert not b.ratings


@pytest.mark.parametrize(
    ("line", "what", "field"),
    [
        ("c,r1,sad,,,,,", "a rating of 'c', which is none of the clips", "clip"),
        (",r1,sad,,,,,", "the field is empty", "clip"),
        ("a,r1,sad,,-1,,,", "-1 is not a number of 0 or more", "weight"),
        ("a,r1,sad,,nan,,,", "'nan' is not a number", "weight"),
        ("a,r1,sad,,,1.2,,", "1.2 is not a number from 0 to 1", "sure"),
        ("a,r1,sad,,,80%,,", "'80%' is not a number", "sure"),
        ("a,r1,sad,,,,,high", "'high' is not a number", "v"),
        ("a,r1,sad,,,,,\u0663", "is not a number", "v"),
        ("a,r1,sad,,,,,8", "8 is not on the scale of valence, 1 to 7", "v"),
        ("a,r1,N/A,,,,,", "'N/A' is no emotion word", "emotion"),
        ("a,r1,sad;happy|fear,,,,,", "it is not clear which of | ; stands between", "emotion"),
        ("a,r1,,sad,,,,", "there are secondary words, and no first choice", "also"),
        ("a,1.5e12,sad,,,,,", "a number without its last digits", "who"),
    ],
)
def test_what_no_rating_says(read, tmp_path: Path, refused, line: str, what: str, field: str):
    call = lambda **options: read(f"a,r0,sad,,,,,\n{line}\n", **options)  # noqa: E731
    remedy = "dataset.scales={valence: [LOW,HIGH]}" if "scale" in what else SKIP
    refused(call, what, file=tmp_path / "ratings.csv", row=3, field=field, remedy=remedy)
    corpus = call(on_error="skip")
    assert [len(u.ratings) for u in corpus.utterances] == [1, 0]
    assert [(s.row, s.id) for s in corpus.skipped] == [(3, line.split(",")[0])]


def test_raters_that_look_alike(read, tmp_path: Path, refused):
    call = lambda: read("a,R1,sad,,,,,\nb,r1,sad,,,,,\n")  # noqa: E731
    what = "'R1' (row 2) and 'r1' (row 3)"
    refused(call, what, file=tmp_path / "ratings.csv", row=3, field="who", remedy="in the same way")


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("sad", ("sad",)),
        (" happy | sad ", ("happy", "sad")),
        ("happy;sad;", ("happy", "sad")),
        ("happy, sad", ("happy", "sad")),
        ("Sad,sad", ("Sad",)),
        (["sad", None, "happy"], ("sad", "happy")),
        ("a\u0308rger", ("\u00e4rger",)),
    ],
)
def test_words_of_a_cell(cell, words):
    assert words_of(cell) == words


@pytest.mark.parametrize("cell", [3, b"sad", ["sad", 2], {"sad": 1}, "nan", "sad|--", "['sad', 'happy']", '["sad"]'])
def test_no_words(cell):
    with pytest.raises(ValueError, match=r"is not text|no emotion word|written as text"):
        words_of(cell)


def test_many_ratings_share_what_they_say(tmp_path: Path):
    rows = [
        (i + 2, {"clip": f"c{i // 6}", "rater": f"r{i % 999}", "label": ("sad", "happy")[i % 2]}) for i in range(60_000)
    ]
    harvest, ratings = Harvest(CARD), Ratings(tmp_path, RatingColumns("clip", "rater", "label"))
    start = time.process_time()
    ratings.read(rows, harvest)
    join((Utterance(f"c{i}", Path("/c.wav")) for i in range(10_000)), ratings, harvest)
    assert time.process_time() - start < 2  # about .3 s
    assert len({id(r.labels) for u in harvest.utterances.values() for r in u.ratings}) == 2
