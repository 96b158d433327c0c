"""EmoNet-Voice Bench: ratings of one emotion a row in Parquet, sound inside, read from a made-up copy."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from copies import emonet_voice as copy
from copies.labels import label_set
from copies.sound import sound_bytes

from emoprobe.data.corpora.emonet_voice import CARD, TOTALS, read_emonet_voice
from emoprobe.data.reading.parquet import store_sound
from emoprobe.data.utterance import Rating
from emoprobe.errors import InputError
from emoprobe.recipes.inputs import prepare_run, read_corpus
from emoprobe.recipes.settings import read_dataset
from emoprobe.settings import compose

ROW = "Restore the file from the corpus, or leave the row out: dataset.on_error=skip"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "corpus"
    copy.write(root)
    return root


@pytest.fixture
def rows(tmp_path: Path):
    """Writes a copy of one file with these rows."""

    def make(audio: list, labels: list) -> Path:
        root = tmp_path / "rows"
        root.mkdir(exist_ok=True)
        pq.write_table(copy.table(audio, labels), root / "test.parquet")
        return root

    return make


def label(*scores: object, emotion: str = "Anger") -> str:
    return str([{f"human-{i}": {emotion: score}} for i, score in enumerate(scores, start=1)])


# -------------------------------------------------------------------------------------------------------------- reading


def test_ratings_of_the_target(root: Path, cache: Path):
    corpus = read_emonet_voice(root)
    first, second, third, fourth = corpus.utterances
    assert first.ratings == (Rating("human-1", ("weak",)), Rating("human-4", ("strong",)))
    assert (first.id, first.speaker, first.split, first.votes) == ("0a1b2c3d_1:Shame", None, None, {})
    assert (first.metadata, first.file, first.row) == ({"target_emotion": "Shame"}, root / copy.FIRST, 1)
    assert first.audio.read_bytes() == sound_bytes(copy.PATHS[0])
    assert first.audio.is_relative_to(cache)
    assert first.audio.suffix == ".wav"
    # Names are written as in an address.
    assert second.metadata == {"target_emotion": "Impatience and Irritability"}
    assert [rating.labels for rating in second.ratings] == [("absent",), ("absent",)]
    assert third.metadata == {"target_emotion": "Anger", "authenticity": 1.5, "arousal": 2.0}
    assert third.ratings == (Rating("human-1", ("strong",)), Rating("human-3", ("strong",)))
    # A row about arousal alone has that as its target; a path leads below the root.
    assert (fourth.id, fourth.metadata) == ("99_1:Arousal", {"target_emotion": "Arousal"})
    assert fourth.audio == root / "clips/99_1.wav"
    assert corpus.card.words == ("absent", "weak", "strong")


def test_sound_is_written_once(root: Path, cache: Path):
    first = read_emonet_voice(root).utterances[0].audio
    os.utime(first, (1, 1))
    again = read_emonet_voice(root).utterances[0].audio
    assert (again, again.stat().st_mtime) == (first, 1)
    first.write_bytes(b"cut")
    assert read_emonet_voice(root).utterances[0].audio.read_bytes() == sound_bytes(copy.PATHS[0])
    assert [file.name for file in first.parent.iterdir() if file.name.startswith(".")] == []


def test_another_cache(root: Path, tmp_path: Path):
    audio = read_emonet_voice(root, cache_dir=tmp_path / "mine").utterances[0].audio
    assert audio.is_relative_to(tmp_path / "mine")


@pytest.mark.parametrize(
    ("name", "form", "suffix"),
    [("a.WAV", "WAV", ".wav"), (None, "FLAC", ".flac"), ("x", "OGG", ".ogg"), ("a.exe", "WAV", ".wav")],
)
def test_suffix_of_stored_sound(name: str | None, form: str, suffix: str):
    assert store_sound(sound_bytes("x", form), name).suffix == suffix


def test_sound_without_a_path(rows):
    only = read_emonet_voice(rows([{"bytes": b"sound", "path": None}], [label(1, 2)])).utterances[0]
    digest = hashlib.sha256(b"sound").hexdigest()
    assert (only.id, only.audio.name) == (f"{digest[:16]}:Anger", f"{digest}.wav")


def test_path_in_place_of_sound(rows):
    root = rows([{"bytes": None, "path": "a/b.wav"}], [label(0)])
    assert read_emonet_voice(root).utterances[0].audio == root / "a/b.wav"


def test_whole_numbers_as_floats(rows):
    assert read_emonet_voice(rows(["a.wav"], [label(1.0, 2)])).utterances[0].ratings[0].labels == ("weak",)


def test_the_same_clip_with_two_targets(rows):
    root = rows(["a.wav", "a.wav"], [label(1), label(2, emotion="Awe")])
    assert [u.id for u in read_emonet_voice(root).utterances] == ["a:Anger", "a:Awe"]


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (None, "it is not text"),
        ("", "invalid syntax"),
        ("[", "was never closed"),
        ("[]", "it is not a list of ratings"),
        ("{'human-1': {'Anger': 1}}", "it is not a list of ratings"),
        ("[{'human-1': {'Anger': 1}, 'human-2': {'Anger': 1}}]", "is not one rater's rating"),
        ("[{'human-1': 1}]", "is not one rater's rating"),
        ("[{1: {'Anger': 1}}]", "is not one rater's rating"),
        ("[{'': {'Anger': 1}}]", "is not one rater's rating"),
        ("[{'human-1': {}}]", "the raters scored nothing, not one emotion"),
        ("[{'human-1': {7: 1}}]", "7 is not an emotion"),
        ("[{'human-1': {'%00': 1}}]", "'%00' is not an emotion"),
        ("[{'human-1': {'\\ud800': 1}}]", "is not an emotion"),
        (label(3), "3 is not a score of 0, 1 or 2"),
        (label(True), "True is not a score of 0, 1 or 2"),
        (label(0.5), "0.5 is not a score of 0, 1 or 2"),
        (label("1"), "'1' is not a score of 0, 1 or 2"),
        ("[{'a': {'Anger': 1}}, {'b': {'Awe': 1}}]", "the raters scored Anger, Awe, not one emotion"),
        ("[{'a': {'Anger': 1}}, {'b': {'Arousal': 1}}]", "a rater did not score 'Anger'"),
        ("[{'a': {'Arousal': 1, 'Authenticity': 1}}]", "the raters scored Arousal, Authenticity"),
        ("__import__('os').system('true')", "cannot be read"),
        ("[1 for x in ()]", "cannot be read"),
        (" " * 100_001, "longer than 100,000 characters"),
        ("-" * 99_999 + "1", "cannot be read"),
        ("[" * 99_999, "cannot be read"),
        ("1+" * 49_000 + "1", "cannot be read"),
        ("9" * 90_000, "cannot be read"),
    ],
)
def test_bad_labels(rows, refused, bad: str | None, what: str):
    root = rows(["good.wav", "bad.wav"], [label(1, 2), bad])
    file = root / "test.parquet"
    call = lambda: read_emonet_voice(root)  # noqa: E731
    refused(call, what, file=file, row=2, field="label", remedy=ROW, reason="bad_votes")
    corpus = read_emonet_voice(root, on_error="skip")
    assert [(row.id, row.row, row.file) for row in corpus.skipped] == [("bad", 2, str(file))]
    assert len(corpus.utterances) == 1


@pytest.mark.parametrize(
    ("audio", "what"),
    [
        (None, "there is neither sound nor a path"),
        (" ", "there is neither sound nor a path"),
        ("../x.wav", "leaves the root"),
        ("/etc/passwd", "leaves the root"),
        ("a\nb.wav", "holds a control character"),
    ],
)
def test_bad_audio(rows, audio: str | None, what: str):
    root = rows(["good.wav", audio], [label(1), label(1)])
    with pytest.raises(InputError) as caught:
        read_emonet_voice(root)
    assert what in caught.value.what
    assert (caught.value.file, caught.value.row, caught.value.field) == (root / "test.parquet", 2, "audioId")


def test_the_same_row_twice(rows, refused):
    root = rows(["a.wav", "a.wav"], [label(1), label(2)])
    refused(
        lambda: read_emonet_voice(root),
        "utterance 'a:Anger' was there before, in row 1",
        file=root / "test.parquet",
        row=2,
        field="audioId",
        remedy=ROW,
        reason="duplicate_id",
    )


@pytest.mark.parametrize("column", ["audioId", "label"])
def test_missing_column(root: Path, refused, column: str):
    table = pq.read_table(root / copy.SECOND)
    pq.write_table(table.rename_columns({column: "x"}), root / copy.SECOND)
    what = f"the column {column!r} is missing"
    refused(lambda: read_emonet_voice(root), what, file=root / copy.SECOND, field=column, remedy="Restore")


@pytest.mark.parametrize("column", [pa.array([1, 2]), pa.array([[b"x"], None])])
def test_columns_of_other_kinds(tmp_path: Path, column):
    root = tmp_path / "other"
    root.mkdir()
    pq.write_table(pa.table({"audioId": column, "label": [label(1), label(1)]}), root / "a.parquet")
    with pytest.raises(InputError, match="is not a path"):
        read_emonet_voice(root)


def test_a_cache_that_cannot_be_written(root: Path, cache: Path):
    cache.write_text("a file")
    with pytest.raises(InputError, match="EMOPROBE_CACHE") as caught:
        read_emonet_voice(root)
    assert caught.value.file.is_relative_to(cache)


# ----------------------------------------------------------------------------------------------------------------- runs


def test_a_run(root: Path):
    config = compose(["dataset=emonet_voice", f"dataset.root={root}", "labels=presence3"])
    corpus = read_corpus(read_dataset(config))
    prepared = prepare_run(read_dataset(config), corpus, label_set("presence3"))
    shares = [list(item.target.distribution) for item in prepared.items]
    # absent, weak, strong; of the last row's rater, who scored twice, the first score counts.
    assert shares == [[0, 0.5, 0.5], [1, 0, 0], [0, 0, 1], [0, 1, 0]]
    config = compose(["dataset=emonet_voice", f"dataset.root={root}", "+dataset.keep.target_emotion=Anger"])
    assert len(prepare_run(read_dataset(config), corpus, label_set("presence3")).items) == 1


def test_the_card():
    assert not CARD.synthetic  # people heard it
    assert "text-to-speech" in CARD.notes
    assert TOTALS[0].expected == 12_600
