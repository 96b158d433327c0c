"""Data sets in the hub's forms: Parquet, Arrow, JSONL, CSV, local or downloaded, columns by name."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from copies import huggingface as copy
from copies.labels import label_set
from copies.sound import sound_bytes, write_sound

from emoprobe.data.corpora.huggingface import read_huggingface
from emoprobe.data.utterance import Corpus, Rating, Utterance
from emoprobe.errors import InputError
from emoprobe.recipes.inputs import prepare_run, read_corpus
from emoprobe.recipes.settings import read_dataset
from emoprobe.settings import compose

SKIP = "dataset.on_error=skip"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "voices"
    copy.write(root)
    return root


@pytest.fixture
def parquet(tmp_path: Path):
    """Writes rows to one Parquet file."""

    def make(rows: list[dict], name: str = "rows.parquet") -> Path:
        file = tmp_path / "parquet" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), file)
        return file

    return make


def only(corpus: Corpus) -> Utterance:
    (utterance,) = corpus.utterances
    return utterance


# -------------------------------------------------------------------------------------------------------------- reading


def test_sound_inside_and_numbered_labels(root: Path, cache: Path):
    corpus = read_huggingface(root)
    found = {utterance.id: utterance for utterance in corpus.utterances}
    first = found["s1_a"]
    assert (first.votes, first.num_raters, first.speaker, first.split) == ({"anger": 1.0}, 1, "s1", "train")
    assert first.audio.read_bytes() == sound_bytes("s1_a")
    assert first.audio.is_relative_to(cache)
    assert (first.metadata, first.file, first.row) == ({"age": 20}, root / copy.TRAIN, 1)
    assert found["s2_a"].metadata == {}
    # -1 says that there is no label.
    assert (found["s3_b"].votes, found["s3_b"].num_raters, found["s3_b"].split) == ({}, 0, "test")
    assert (corpus.card.name, corpus.card.title, len(found)) == ("voices", "voices (Hugging Face)", 6)


def test_one_file_and_a_name(root: Path):
    corpus = read_huggingface(root / copy.TEST, name="mine")
    assert ([u.split for u in corpus.utterances], corpus.card.name) == (["test", "test"], "mine")


def test_given_names_go_before_the_noted_ones(root: Path):
    corpus = read_huggingface(root, label_names=["a", "b", "c", "d"])
    assert {word for u in corpus.utterances for word in u.votes} == {"a", "b", "c", "d"}


def test_the_kinds_of_target(parquet):
    row = {"audio": "a.wav"}
    votes = only(read_huggingface(parquet([{**row, "votes_anger": 3, "votes_sad": 0}])))
    assert (votes.votes, votes.num_raters) == ({"anger": 3.0, "sad": 0.0}, 3)
    struct = only(read_huggingface(parquet([{**row, "votes": {"anger": 1, "sad": None}}])))
    assert (struct.votes, struct.num_raters) == ({"anger": 1.0}, 1)
    named = only(read_huggingface(parquet([{**row, "A": 2, "S": 1}]), votes_columns={"anger": "A", "sad": "S"}))
    assert named.votes == {"anger": 2.0, "sad": 1.0}
    shares = only(read_huggingface(parquet([{**row, "p_anger": 0.25, "p_sad": 0.75}])))
    assert (shares.votes, shares.num_raters) == ({"anger": 0.25, "sad": 0.75}, None)
    words = only(read_huggingface(parquet([{**row, "heard": ["sad", "anger"]}]), ratings_column="heard"))
    assert words.ratings == (Rating("a#1", ("sad",)), Rating("a#2", ("anger",)))
    numbers = only(read_huggingface(parquet([{**row, "ratings": [1, 0, 1]}]), label_names=["sad", "anger"]))
    assert [rating.labels for rating in numbers.ratings] == [("anger",), ("sad",), ("anger",)]
    label = only(read_huggingface(parquet([{**row, "emotion": "sad"}])))
    assert label.votes == {"sad": 1.0}


def test_all_columns(parquet):
    row = {"file": "x/a.wav", "key": "u1", "who": 7, "part": "dev", "text": "Oh!", "before": "A: no", "say": "sad"}
    file = parquet([{**row, "snr": 3.5}], "test-00000-of-00001.parquet")
    found = only(
        read_huggingface(
            file,
            audio_column="file",
            id_column="key",
            label_column="say",
            speaker_column="who",
            split_column="part",
            transcript_column="text",
            dialogue_column="before",
        )
    )
    assert found == Utterance(
        id="u1",
        audio=file.parent / "x/a.wav",
        votes={"sad": 1.0},
        num_raters=1,
        speaker="7",
        split="dev",
        transcript="Oh!",
        dialogue="A: no",
        metadata={"snr": 3.5},
        file=file,
        row=1,
    )


def test_a_number_beside_votes_needs_no_word(parquet):
    found = only(read_huggingface(parquet([{"audio": "a.wav", "label": 3, "votes_sad": 1}])))
    assert (found.votes, found.metadata) == ({"sad": 1.0}, {"label": "3"})


def test_other_bytes_are_no_facts(parquet):
    row = {"audio": "a.wav", "label": "sad", "video": {"bytes": b"x", "path": None}, "raw": b"x", "note": {"a": 1}}
    assert only(read_huggingface(parquet([row]))).metadata == {"note": '{"a": 1}'}


def test_sound_as_plain_bytes_has_its_checksum_as_id(parquet):
    found = only(read_huggingface(parquet([{"audio": sound_bytes("x"), "label": "sad"}])))
    assert found.audio.stem.startswith(found.id)
    assert len(found.id) == 16


@pytest.mark.parametrize("path", ["/cache/of/somebody/s1.wav", "C:\\data\\s1.wav"])
def test_sound_inside_with_a_path_of_elsewhere(parquet, path: str):
    found = only(read_huggingface(parquet([{"audio": {"bytes": b"RIFF", "path": path}, "label": "sad"}])))
    assert (found.id, found.audio.read_bytes()) == ("s1", b"RIFF")


# ---------------------------------------------------------------------------------------------------------------- forms


@pytest.mark.parametrize("stream", [True, False])
def test_saved_to_disk(tmp_path: Path, stream: bool):
    for split, keys in (("train", ["s1_a", "s1_b", "s2_a"]), ("validation", ["s2_b"])):
        table = copy.table(keys, list(range(len(keys))))
        copy.write_arrow(tmp_path / "saved" / split / "data-00000-of-00001.arrow", table, stream=stream)
        copy.write_arrow(tmp_path / "saved" / split / "cache-0123456789.arrow", table)
        (tmp_path / "saved" / split / "state.json").write_text("{}")
    corpus = read_huggingface(tmp_path / "saved")
    assert [(u.id, *u.votes, u.split, u.row) for u in corpus.utterances] == [
        ("s1_a", "anger", "train", 1),
        ("s1_b", "happy", "train", 2),
        ("s2_a", "neutral", "train", 3),
        ("s2_b", "anger", "validation", 1),
    ]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv"])
def test_text_files(tmp_path: Path, suffix: str):
    rows = [{"id": "a", "audio": "x/a.wav", "label": "1", "votes": ""}, {"id": "b", "audio": "b.wav", "label": "-1"}]
    separator = "\t" if suffix == "tsv" else ","
    lines = [separator.join(("id", "audio", "label"))]
    lines += [separator.join((row["id"], row["audio"], row["label"])) for row in rows]
    if suffix == "jsonl":
        lines = [json.dumps({key: row[key] for key in ("id", "audio", "label")}) for row in rows]
    file = tmp_path / f"test.{suffix}"
    file.write_bytes("\ufeff".encode() + "\r\n".join(lines).encode())
    first, second = read_huggingface(file, label_names=["sad", "anger"]).utterances
    assert (first.votes, first.audio, first.split) == ({"anger": 1.0}, tmp_path / "x/a.wav", "test")
    assert second.votes == {}


def test_paths_beside_their_table(tmp_path: Path):
    for part in ("train", "test"):
        folder = tmp_path / part
        write_sound(folder / "a.wav")
        (folder / "metadata.csv").write_text(f"id,file_name,label\n{part},a.wav,sad\n")
    found = read_huggingface(tmp_path, audio_column="file_name").utterances
    assert [(u.audio, u.split) for u in found] == [
        (tmp_path / "test/a.wav", "test"),
        (tmp_path / "train/a.wav", "train"),
    ]


def test_another_root(tmp_path: Path, parquet):
    write_sound(tmp_path / "sounds/a.wav")
    file = parquet([{"audio": "a.wav", "label": "sad"}])
    assert only(read_huggingface(file, root=tmp_path / "sounds")).audio == tmp_path / "sounds/a.wav"


def test_of_several_forms_one_is_read(root: Path):
    (root / "train.csv").write_text("audio,label\na.wav,sad\n")
    assert len(read_huggingface(root).utterances) == 6
    assert only(read_huggingface(root, files="*.csv")).split == "train"


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (None, {"train", "test"}),
        ([], {"train", "test"}),
        ("data/test*", {"test"}),
        (["data/t*"], {"train", "test"}),
        ({"fit": "data/train-*.parquet"}, {"fit"}),
        ({"fit": ["data/train-*"], "judge": ["data/test-*"]}, {"fit", "judge"}),
    ],
)
def test_patterns(root: Path, files, splits: set):
    assert {u.split for u in read_huggingface(root, files=files).utterances} == splits


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train-00000-of-00003.parquet", "train"),
        ("valid-00000-of-00001-8c32db53b3ba94c7.parquet", "valid"),
        ("default/validation/0000.parquet", "validation"),
        ("Dev.parquet", "dev"),
        ("test_0001.parquet", "test"),
        ("trained.parquet", None),
        ("0000.parquet", None),
    ],
)
def test_splits_that_names_tell(parquet, name: str, split: str | None):
    file = parquet([{"audio": "a.wav", "label": "sad"}], name)
    assert only(read_huggingface(file.parents[name.count("/")])).split == split


# ------------------------------------------------------------------------------------------------------------------ hub


def test_from_the_hub(root: Path, monkeypatch):
    asked = {}

    def download(name: str, **options) -> str:
        asked.update(options, name=name)
        return str(root)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    corpus = read_huggingface(hub="somebody/voices", revision="refs/convert/parquet")
    assert asked == {
        "name": "somebody/voices",
        "repo_type": "dataset",
        "revision": "refs/convert/parquet",
        "allow_patterns": ["*.parquet"],
    }
    assert (len(corpus.utterances), corpus.card.name, corpus.card.access) == (6, "somebody/voices", "somebody/voices")


@pytest.mark.parametrize("name", ["somebody/that-is-not-there-at-all", "no name", "../.."])
def test_what_the_hub_does_not_have(name: str):
    with pytest.raises(InputError, match="cannot be had from the hub") as caught:
        read_huggingface(hub=name)
    assert caught.value.field == "dataset.hub"
    assert "dataset.path" in caught.value.remedy


def test_a_data_set_made_by_a_script(tmp_path: Path, monkeypatch, refused):
    (tmp_path / "voices.py").write_text("raise SystemExit('executed')")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path))
    call = lambda: read_huggingface(hub="a/b")  # noqa: E731
    refused(call, "has no file of", file=tmp_path, field="dataset.path", remedy="refs/convert/parquet")


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "what", "field"),
    [
        ({"path": None}, "must be given", "dataset.path"),
        ({"hub": "a/b"}, "must be given", "dataset.path"),
        ({"path": "/nowhere"}, "no such file", "dataset.path"),
        ({"path": "a\0b"}, "no such file", "dataset.path"),
        ({"path": 7}, "is no path", "dataset.path"),
        ({"path": "pyproject.toml"}, "unknown kind of table '.toml'", "dataset.path"),
        ({"root": "/nowhere"}, "does not exist", "dataset.root"),
        ({"files": "x*"}, "no table matches 'x*'", "dataset.files"),
        ({"files": {"a": "data/*", "b": "data/test*"}}, "in the splits 'a' and 'b'", "dataset.files"),
        ({"label_names": "sad"}, "is not a list of words", "dataset.label_names"),
        ({"votes_columns": "A"}, "is not a list of columns", "dataset.reader.votes_columns"),
    ],
)
def test_options(root: Path, monkeypatch, options: dict, what: str, field: str):
    monkeypatch.chdir(Path(__file__).parents[3])
    with pytest.raises(InputError) as caught:
        read_huggingface(**{"path": root, **options})
    assert what in caught.value.what
    assert (caught.value.field, bool(caught.value.remedy)) == (field, True)


@pytest.mark.parametrize(
    ("row", "what", "field"),
    [
        ({"label": 4}, "the label 4 is none of the 2 there are", "label"),
        ({"label": -2}, "the label -2 is none of the 2 there are", "label"),
        ({"audio": ""}, "the field is empty", "audio"),
        ({"audio": "../x.wav"}, "leaves the root", "audio"),
        ({"audio": "/etc/passwd"}, "leaves the root", "audio"),
        ({"audio": "a\0.wav"}, "holds a control character", "audio"),
    ],
)
def test_bad_rows(parquet, refused, row: dict, what: str, field: str):
    good = {"audio": "good.wav", "label": 0, "id": "good"}
    file = parquet([good, {"audio": "bad.wav", "label": 1, "id": "bad", **row}])
    read = lambda on_error: read_huggingface(file, label_names=["sad", "anger"], on_error=on_error)  # noqa: E731
    refused(lambda: read("error"), what, file=file, row=2, field=field, remedy="")
    corpus = read("skip")
    assert [(row.id, row.row, row.file) for row in corpus.skipped] == [("bad", 2, str(file))]
    assert only(corpus).id == "good"


def test_a_number_without_a_word(parquet, refused):
    file = parquet([{"audio": "a.wav", "label": 3}])
    what = "the label 3 is a number without a word"
    refused(lambda: read_huggingface(file), what, file=file, row=1, field="label", remedy="dataset.label_names=[")


@pytest.mark.parametrize(
    ("audio", "what"),
    [
        ([1, 2], "is neither a path nor sound"),
        ([{"bytes": "text", "path": "a.wav"}] * 2, "'text' is not sound"),
        ([{"path": 1}] * 2, "is neither a path nor sound"),
    ],
)
def test_columns_of_other_kinds(parquet, audio: list, what: str):
    with pytest.raises(InputError, match="audio") as caught:
        read_huggingface(parquet([{"audio": value, "label": "sad"} for value in audio]))
    assert what in caught.value.what


def test_the_same_id_twice(parquet, refused):
    file = parquet([{"audio": "a.wav", "label": "sad"}] * 2)
    what = "utterance 'a' was there before, in row 1"
    refused(lambda: read_huggingface(file), what, file=file, row=2, field="id", remedy=SKIP, reason="duplicate_id")


def test_missing_columns(parquet, refused):
    file = parquet([{"file": "a.wav", "label": "sad"}])
    refused(lambda: read_huggingface(file), "'audio' is missing", file=file, field="audio", remedy="dataset.reader")
    file = parquet([{"audio": "a.wav", "mood": "sad"}])
    refused(lambda: read_huggingface(file), "there is no target", file=file, field="votes", remedy="label_column")


@pytest.mark.parametrize(
    "noted", ["{", "[]", '{"info": {"features": {"label": {"_type": "ClassLabel", "names": [1]}}}}']
)
def test_notes_that_are_none(root: Path, noted: str):
    table = pq.read_table(root / copy.TEST)
    pq.write_table(table.replace_schema_metadata({"huggingface": noted}), root / copy.TEST)
    with pytest.raises(InputError, match="a number without a word"):
        read_huggingface(root)


def test_notes_of_lists(tmp_path: Path):
    for feature in (
        [{"_type": "ClassLabel", "names": ["sad", "anger"]}],
        {"_type": "Sequence", "feature": {"_type": "ClassLabel", "names": ["sad", "anger"]}},
    ):
        noted = {"info": {"features": {"ratings": feature}}}
        table = pa.table({"audio": ["a.wav"], "ratings": [[1, 0]]})
        pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(noted)}), tmp_path / "a.parquet")
        assert only(read_huggingface(tmp_path)).votes == {"anger": 1.0, "sad": 1.0}


# ----------------------------------------------------------------------------------------------------------------- runs


def test_a_run(root: Path):
    overrides = ["dataset=huggingface", f"dataset.path={root}", "labels=basic4"]
    config = compose(overrides)
    corpus = read_corpus(read_dataset(config))
    prepared = prepare_run(read_dataset(config), corpus, label_set("basic4"))
    assert (len(prepared.items), [row.reason for row in prepared.skipped]) == (5, ["no_votes"])
    config = compose([*overrides, "dataset.split=test"])
    assert len(prepare_run(read_dataset(config), corpus, label_set("basic4")).items) == 1


def test_a_run_with_named_splits(root: Path):
    config = compose(
        [
            "dataset=huggingface",
            f"dataset.path={root}",
            "dataset.files={fit:data/train-*}",
            "dataset.label_names=[a,b,c,d]",
        ]
    )
    corpus = read_corpus(read_dataset(config))
    assert ({u.split for u in corpus.utterances}, {w for u in corpus.utterances for w in u.votes}) == (
        {"fit"},
        {"a", "b", "c", "d"},
    )


# --------------------------------------------------------------------------------- names of sound that are there twice


def sounding(file: Path, rows: list[tuple[bytes, str, str]], **more: list) -> None:
    audio = pa.array([{"bytes": sound, "path": path} for sound, path, _ in rows])
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"audio": audio, "label": [label for *_, label in rows], **more}), file)


def test_sound_of_one_name_in_two_splits(tmp_path: Path):
    for split in ("train", "test"):
        sounding(tmp_path / f"{split}.parquet", [(split.encode(), f"{i}.wav", "sad") for i in range(2)])
    corpus = read_huggingface(tmp_path)
    assert [u.id for u in corpus.utterances] == ["test/0", "test/1", "train/0", "train/1"]
    assert len({u.audio for u in corpus.utterances}) == 2
    (tmp_path / "test.parquet").unlink()
    assert [u.id for u in read_huggingface(tmp_path).utterances] == ["0", "1"]


def test_sound_of_one_name_in_one_split(tmp_path: Path, refused):
    rows = [(b"1", "s1/a.wav", "sad"), (b"2", "s2/a.wav", "sad")]
    sounding(tmp_path / "train.parquet", rows)
    assert [u.id for u in read_huggingface(tmp_path).utterances] == ["train/s1/a", "train/s2/a"]
    sounding(tmp_path / "train.parquet", [(sound, "audio.wav", label) for sound, _, label in rows])
    first, second = (u.id for u in read_huggingface(tmp_path).utterances)
    assert first.startswith("train/audio-")
    assert first != second
    sounding(tmp_path / "train.parquet", [(b"1", "audio.wav", "sad")] * 2)
    file = tmp_path / "train.parquet"
    refused(
        lambda: read_huggingface(tmp_path), "was there before, in row 1", file=file, row=2, field="id", remedy="skip"
    )


def test_raters_of_clips_that_are_told_apart(tmp_path: Path):
    for split in ("train", "test"):
        rows = [(split.encode(), "a.wav", "x")]
        sounding(tmp_path / f"{split}.parquet", rows, ratings=[["sad", "happy"]])
    corpus = read_huggingface(tmp_path, label_column=None)
    assert [r.rater for u in corpus.utterances for r in u.ratings] == ["test/a#1", "test/a#2", "train/a#1", "train/a#2"]


def test_ratings_of_sound_within_the_table(tmp_path: Path):
    for split in ("train", "test"):
        rows = [(split.encode(), "a.wav", "sad"), (split.encode(), "a.wav", "happy"), (b"b", "b.wav", "sad")]
        sounding(tmp_path / f"{split}.parquet", rows, rater=["r1", "", "r1"])
    corpus = read_huggingface(tmp_path)
    assert [(u.id, [r.rater for r in u.ratings]) for u in corpus.utterances] == [
        ("test/a", ["r1", "test/a#2"]),
        ("test/b", ["r1"]),
        ("train/a", ["r1", "train/a#2"]),
        ("train/b", ["r1"]),
    ]
    assert all(u.audio.is_file() for u in corpus.utterances)


def test_shards_of_one_split_may_divide_the_ratings_of_a_clip(tmp_path: Path):
    for shard in range(2):
        rows = [(b"a", "a.wav", "sad"), (b"b", f"b{shard}.wav", "sad")]
        sounding(tmp_path / f"train-0000{shard}-of-00002.parquet", rows, rater=[f"r{shard}", "r1"])
    corpus = read_huggingface(tmp_path)
    assert [(u.id, len(u.ratings)) for u in corpus.utterances] == [("a", 2), ("b0", 1), ("b1", 1)]


def test_classes_that_are_numbers_in_long_form(tmp_path: Path, refused):
    sounding(tmp_path / "train.parquet", [(b"a", "a.wav", 0), (b"a", "a.wav", 1)], rater=["r1", "r2"])
    (clip,) = read_huggingface(tmp_path, label_names=["sad", "happy"]).utterances
    assert [r.labels for r in clip.ratings] == [("sad",), ("happy",)]
    file = tmp_path / "train.parquet"
    what = "the label 0 is a number without a word"
    refused(lambda: read_huggingface(tmp_path), what, file=file, row=1, field="label", remedy="dataset.label_names")
