"""One row per rating, within the table of the clips or beside it: the same rules for manifests and hub data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import emoprobe
from emoprobe.data.corpora.huggingface import read_huggingface
from emoprobe.data.corpora.manifest import read_manifest
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.utterance import Corpus, Rating
from emoprobe.data.votes import rater_votes, soft_label
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet, Scale

SKIP = "dataset.on_error=skip"
READERS = {
    "manifest": lambda path, **options: read_manifest(path, **options),
    "huggingface": lambda path, **options: read_huggingface(
        path, audio_column="path", id_column="utterance_id", **options
    ),
}
POINTS = ("1", "2", "3", "4", "5")
VALENCE = LabelSet(
    "valence5", POINTS, {point: {"number": (point,)} for point in POINTS}, scale=Scale("valence", "bad", "good")
)
RATINGS = [
    {"path": "c0.wav", "rater": "r1", "emotion": "anger", "secondary": "sad"},
    {"path": "c0.wav", "rater": "r2", "emotion": "anger", "secondary": ""},
    {"path": "c1.wav", "rater": "r1", "emotion": "happy|sad", "secondary": ""},
    {"path": "c0.wav", "rater": "r3", "emotion": "sad", "secondary": "anger"},
    {"path": "c2.wav", "rater": "r3", "emotion": "", "secondary": ""},
]


@pytest.fixture(params=READERS)
def read(request) -> Callable[..., Corpus]:
    return READERS[request.param]


@pytest.fixture(params=["csv", "tsv", "jsonl", "parquet"])
def suffix(request) -> str:
    return request.param


def said(corpus: Corpus) -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    return {u.id: [(rating.rater, rating.labels) for rating in u.ratings] for u in corpus.utterances}


# ------------------------------------------------------------------------------------------------- within one table


def test_ratings_by_clip(read, table, suffix: str, six: LabelSet):
    corpus = read(table(RATINGS, suffix))
    assert said(corpus) == {
        "c0": [("r1", ("anger",)), ("r2", ("anger",)), ("r3", ("sad",))],
        "c1": [("r1", ("happy", "sad"))],
        "c2": [],
    }
    c0, c1, _ = corpus.utterances
    assert c0.ratings[0].secondary == ("sad",)
    assert soft_label(c0, six, SoftLabelPolicy()).votes.tolist() == [2, 0, 0, 0, 0, 1]
    assert soft_label(c0, six, SoftLabelPolicy(secondary=0.5)).votes[0] == pytest.approx(1 / 1.5 + 1 + 0.5 / 1.5)
    assert soft_label(c1, six, SoftLabelPolicy()).votes.tolist() == [0, 0, 0, 0.5, 0, 0.5]
    assert soft_label(c1, six, SoftLabelPolicy(several="each")).votes.tolist() == [0, 0, 0, 1, 0, 1]
    assert list(rater_votes(c0, six, SoftLabelPolicy())) == ["r1", "r2", "r3"]


def test_the_votes_of_ratings_in_a_data_frame(table):
    frame = emoprobe.load_corpus("manifest", path=table(RATINGS)).to_frame()
    assert frame["num_raters"].tolist()[:2] == [3, 1]
    assert frame["votes_anger"].tolist()[:1] == [2]
    assert frame.loc[1, ["votes_happy", "votes_sad"]].tolist() == [0.5, 0.5]


def test_columns_of_other_names(read, table, suffix: str):
    rows = [{"path": row["path"], "who": row["rater"], "heard": row["emotion"], "emotion": "acted"} for row in RATINGS]
    corpus = read(table(rows, suffix), rater_column="who", label_column="heard")
    assert said(corpus) == said(read(table(RATINGS, suffix)))
    assert corpus.utterances[0].metadata == {"emotion": "acted"}


def test_weight_confidence_and_time(read, table, suffix: str):
    rows = [{"path": "a.wav", "rater": "r1", "label": "sad", "weight": 2, "confidence": 0.5, "time": "10:30"}]
    (clip,) = read(table(rows, suffix)).utterances
    assert clip.ratings == (Rating("r1", ("sad",), weight=2.0, confidence=0.5, time="10:30"),)
    (clip,) = read(table(rows, suffix), weight_column=None, confidence_column=None, time_column=None).utterances
    assert clip.ratings == (Rating("r1", ("sad",)),)
    assert clip.metadata == {
        "weight": clip.metadata["weight"],
        "confidence": clip.metadata["confidence"],
        "time": "10:30",
    }


def test_raters_whom_nobody_knows_and_raters_that_are_numbers(read, table, suffix: str):
    rows = [
        {"path": "a.wav", "rater": "1", "label": "sad"},
        {"path": "a.wav", "rater": "nan", "label": "sad"},
        {"path": "a.wav", "rater": "", "label": "sad"},
        {"path": "b.wav", "rater": "1.0", "label": "sad"},
    ]
    corpus = read(table(rows, suffix))
    assert [r.rater for u in corpus.utterances for r in u.ratings] == ["1", "a#2", "a#3", "1"]


def test_facts_of_the_clip(read, table, suffix: str):
    facts = [
        {"speaker": "s1", "split": "train", "transcript": "Hi.", "age": "31", "seconds": "2"},
        {"speaker": "", "split": "train", "transcript": "", "age": "31", "seconds": "5"},
        {"speaker": "s1", "split": "train", "transcript": "Hi.", "age": "31", "seconds": "4"},
    ]
    rows = [{"path": "a.wav", "rater": f"r{i}", "label": "sad", **each} for i, each in enumerate(facts)]
    (clip,) = read(table(rows, suffix)).utterances
    assert (clip.speaker, clip.split, clip.transcript) == ("s1", "train", "Hi.")
    assert clip.metadata == {"age": "31"}  # how long a rater took is no fact of the clip


@pytest.mark.parametrize("fact", ["speaker", "split", "transcript", "dialogue"])
def test_facts_that_contradict_each_other(read, table, suffix: str, refused, fact: str):
    path = table(
        [{"path": "a.wav", "rater": f"r{i}", "label": "sad", fact: value} for i, value in enumerate("xxy")], suffix
    )
    header = suffix in ("csv", "tsv")
    what = f"the {fact} of 'a' is 'y' here and 'x' in row {1 + header}"
    refused(lambda: read(path), what, file=path, row=3 + header, field=fact, remedy=SKIP, reason="bad_fact")
    corpus = read(path, on_error="skip")
    assert said(corpus) == {"a": [("r0", ("sad",)), ("r1", ("sad",))]}
    assert [row.reason for row in corpus.skipped] == ["bad_fact"]


def test_one_clip_with_two_paths_and_two_clips_with_one(read, table, refused):
    rows = [{"utterance_id": f"u{i}", "path": f"{j}.wav", "rater": "r", "label": "sad"} for i, j in ((1, 1), (1, 2))]
    path = table(rows)
    refused(lambda: read(path), "the path of 'u1' is", file=path, row=3, field="path", remedy=SKIP)
    rows = [{"utterance_id": f"u{i}", "path": f"{j}.wav", "rater": "r", "label": "sad"} for i, j in ((1, 1), (2, 1))]
    path = table(rows)
    refused(lambda: read(path), "would count twice", file=path, row=3, field="path", remedy="one row")


def test_more_ratings_than_raters(read, table, refused):
    rows = [
        {"path": f"{clip}.wav", "rater": f"r{i}", "label": "sad", "num_raters": 2} for clip in "ab" for i in range(3)
    ]
    path = table(rows[:-1])
    what = "there are 3 ratings of 'a', and 2 raters"
    refused(lambda: read(path), what, file=path, row=2, field="num_raters", remedy=SKIP)
    corpus = read(path, on_error="skip")
    assert [(u.id, len(u.ratings)) for u in corpus.utterances] == [("b", 2)]
    assert [(row.id, row.reason) for row in corpus.skipped] == [("a", "bad_votes")]


def test_numbers_of_raters_that_contradict_each_other(read, table, refused):
    rows = [
        {"path": "a.wav", "rater": f"r{i}", "label": "sad", "num_raters": n} for i, n in enumerate(("5", "5.0", "6"))
    ]
    path = table(rows)
    what = "the num_raters of 'a' is '6' here and '5' in row 2"
    refused(lambda: read(path), what, file=path, row=4, field="num_raters", remedy=SKIP, reason="bad_fact")


@pytest.mark.parametrize(
    ("change", "what", "field"),
    [
        ({"weight": "-1"}, "-1 is not a number of 0 or more", "weight"),
        ({"confidence": "80"}, "80 is not a number from 0 to 1", "confidence"),
        ({"emotion": "sad;happy|fear"}, "it is not clear which of | ;", "emotion"),
        ({"emotion": "#N/A"}, "is no emotion word", "emotion"),
        ({"emotion": "", "secondary": "sad"}, "no first choice", "secondary"),
        ({"path": ""}, "the field is empty", "path"),
        ({"valence": "high"}, "'high' is not a number", "valence"),
        ({"valence": "9"}, "9 is not on the scale of valence, 1 to 7", "valence"),
    ],
)
def test_bad_ratings(read, table, refused, change: dict, what: str, field: str):
    good = {**RATINGS[0], "weight": "1", "confidence": "1", "valence": "3"}
    path = table([good, {**good, "rater": "r9", **change}])
    options = {"scales": {"valence": [1, 7]}}
    remedy = "dataset.scales={valence:" if "scale" in what else SKIP
    refused(lambda: read(path, **options), what, file=path, row=3, field=field, remedy=remedy)
    assert len(read(path, on_error="skip", **options).utterances[0].ratings) == 1


def test_raters_that_look_alike(read, table, refused):
    path = table([{"path": "a.wav", "rater": rater, "label": "sad"} for rater in ("Ann", "ann")])
    refused(lambda: read(path), "'Ann' (row 2) and 'ann' (row 3)", file=path, row=3, field="rater", remedy="same way")


@pytest.mark.parametrize("name", ["Rater", " RATER"])
def test_a_column_that_looks_like_the_raters(read, table, refused, name: str):
    path = table([{"path": "a.wav", name: "r1", "label": "sad"}])
    what = f"the column {name.strip()!r} is not 'rater'"
    refused(lambda: read(path), what, file=path, row=1, field=name.strip(), remedy="dataset.reader.rater_column")


def test_two_columns_of_labels(read, table, refused):
    path = table([{"path": "a.wav", "rater": "r1", "label": "sad", "emotion": "sad"}])
    refused(
        lambda: read(path), "(label, emotion)", file=path, row=1, field="emotion", remedy="dataset.reader.label_column"
    )


def test_rows_that_repeat_a_clip_without_a_rater(read, table, refused):
    path = table([{"path": "a.wav", "annotator": f"r{i}", "label": "sad"} for i in range(2)])
    with pytest.raises(InputError, match="was there before") as caught:
        READERS["manifest"](path)
    assert "dataset.reader.rater_column" in caught.value.remedy
    assert said(read(path, rater_column="annotator")) == {"a": [("r0", ("sad",)), ("r1", ("sad",))]}


def test_a_rater_beside_votes_is_a_fact(read, table, suffix: str):
    (clip,) = read(table([{"path": "a.wav", "rater": "team", "votes_sad": 2, "votes_happy": 1}], suffix)).utterances
    assert (clip.votes, clip.metadata, clip.ratings) == ({"sad": 2, "happy": 1}, {"rater": "team"}, ())


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_list_of_ratings_with_their_raters(read, table, suffix: str, refused):
    given = [{"rater": "r1", "label": "sad", "valence": 2}, {"rater": "r2", "label": "happy", "valence": 4}]
    path = table(
        [{"path": "a.wav", "speaker": "s1", "ratings": given}, {"path": "b.wav", "ratings": given[:1]}], suffix
    )
    a, b = read(path, scales={"valence": [1, 5]}).utterances
    assert a.ratings == (Rating("r1", ("sad",), values={"valence": 2}), Rating("r2", ("happy",), values={"valence": 4}))
    assert (a.speaker, a.metadata, len(b.ratings)) == ("s1", {}, 1)
    path = table([{"path": "a.wav", "ratings": [{"path": "b.wav", "rater": "r1", "label": "sad"}]}], suffix)
    refused(lambda: read(path), "is not one rating", file=path, row=1, field="ratings", remedy=SKIP)


# ---------------------------------------------------------------------------------------------------- two tables

CLIPS = [{"path": f"wav/c{i}.wav", "utterance_id": f"u{i}", "speaker": f"s{i}", "label": "acted"} for i in range(3)]


def beside(column: str, names: list[str]) -> list[dict]:
    return [{column: name, "rater": f"r{i}", "label": "sad"} for i, name in enumerate(names)]


@pytest.mark.parametrize(
    ("column", "names"),
    [
        ("utterance_id", ["u0", "u0", "u2"]),
        ("path", ["wav/c0.wav", "wav\\c0.wav", "./wav/c2.wav"]),
        ("file", ["c0.wav", "c0", "c2.wav"]),
        ("clip", ["u0", "wav/c0", "c2"]),
    ],
)
def test_a_table_of_ratings_beside_that_of_the_clips(read, table, suffix: str, column: str, names: list[str]):
    path, ratings = table(CLIPS, suffix), table(beside(column, names), "csv", "ratings")
    if read is READERS["huggingface"]:
        (path.parent / "set").mkdir()
        path = path.rename(path.parent / "set" / path.name)
    corpus = read(path, ratings=ratings)
    assert said(corpus) == {"u0": [("r0", ("sad",)), ("r1", ("sad",))], "u1": [], "u2": [("r2", ("sad",))]}
    assert [(u.speaker, u.metadata) for u in corpus.utterances] == [(f"s{i}", {"label": "acted"}) for i in range(3)]


def test_ratings_of_a_clip_that_is_not_there(table, refused):
    path, ratings = table(CLIPS), table(beside("clip", ["u0", "u7"]), "csv", "ratings")
    what = "a rating of 'u7', which is none of the clips"
    call = lambda **options: read_manifest(path, ratings=ratings, **options)  # noqa: E731
    refused(call, what, file=ratings, row=3, field="clip", remedy=SKIP, reason="unknown_clip")
    corpus = call(on_error="skip")
    assert said(corpus) == {"u0": [("r0", ("sad",))], "u1": [], "u2": []}
    assert [(row.id, row.reason) for row in corpus.skipped] == [("u7", "unknown_clip")]


def test_a_name_that_two_clips_have(table, refused):
    clips = [{"path": f"{folder}/c.wav"} for folder in "ab"]
    path, ratings = table(clips), table(beside("clip", ["c"]), "csv", "ratings")
    what = "a rating of 'c', which is none of the clips"
    refused(lambda: read_manifest(path, ratings=ratings), what, file=ratings, row=2, field="clip", remedy=SKIP)


def test_a_table_of_ratings_without_what_it_needs(table, refused, tmp_path: Path):
    path = table(CLIPS)
    ratings = table([{"clip": "u0", "label": "sad"}], "csv", "ratings")
    call = lambda **options: read_manifest(path, ratings=ratings, **options)  # noqa: E731
    refused(call, "the column 'rater' is missing", file=ratings, row=1, field="rater", remedy="rater_column=null")
    assert said(call(rater_column=None))["u0"] == [("u0#1", ("sad",))]
    ratings = table([{"clip": "u0", "rater": "r1"}], "csv", "ratings")
    refused(call, "there is no column of what", file=ratings, row=1, field="label", remedy="label_column")
    ratings = table([{"what": "u0", "rater": "r1", "label": "sad"}], "csv", "ratings")
    refused(call, "the column of the clips is missing", file=ratings, row=1, field="utterance_id", remedy="clip_column")
    assert said(call(clip_column="what"))["u0"] == [("r1", ("sad",))]
    ratings = tmp_path / "none.csv"
    refused(call, "does not exist", file=ratings, field="dataset.ratings", remedy="dataset.ratings")


def test_two_answers_to_one_question(table, refused):
    path = table([{"path": "a.wav", "votes_sad": 1, "votes_happy": 2}])
    ratings = table(beside("path", ["a.wav"]), "csv", "ratings")
    call = lambda: read_manifest(path, ratings=ratings)  # noqa: E731
    refused(call, "more than one target", file=path, row=1, field="votes_sad", remedy="dataset.ratings")


# ---------------------------------------------------------------------------------------------------- dimensions


def test_valence_of_every_rater(read, table, suffix: str):
    values = [(1, 5), (2, 4), (2.5, None)]
    rows = [{"path": "a.wav", "rater": f"r{i}", "valence": v, "arousal": a} for i, (v, a) in enumerate(values)]
    (clip,) = read(table(rows, suffix), scales={"valence": [1, 5], "arousal": [1, 5]}).utterances
    assert [r.values for r in clip.ratings] == [
        {"valence": 1, "arousal": 5},
        {"valence": 2, "arousal": 4},
        {"valence": 2.5},
    ]
    assert soft_label(clip, VALENCE, SoftLabelPolicy()).votes.tolist() == [1, 1.5, 0.5, 0, 0]


def test_a_scale_that_nobody_told(read, table, refused):
    path = table([{"path": "a.wav", "rater": f"r{i}", "valence": i} for i in (1, 2)])
    (clip,) = read(path).utterances
    with pytest.raises(InputError, match="does not say on which scale its valence is") as caught:
        soft_label(clip, VALENCE, SoftLabelPolicy())
    assert "dataset.scales" in caught.value.remedy
    path = table([{"path": "a.wav", "V": 3.5}])
    what = "the scale of 'valence' is not told, and cannot be guessed"
    call = lambda: read(path, dimensions={"valence": "V"})  # noqa: E731
    refused(call, what, file=None, field="dataset.scales", remedy="dataset.scales={valence: [1,5]}")


@pytest.mark.parametrize(
    "scales", [{"valence": [5, 1]}, {"valence": 7}, {"valence": ["a", "b"]}, [1, 7], {"valence": [1]}]
)
def test_no_scale(read, table, refused, scales):
    path = table([{"path": "a.wav", "valence": 3}])
    what = "is not the lowest and highest number"
    refused(lambda: read(path, scales=scales), what, file=None, field="dataset.scales", remedy="{valence: [1,7]}")


def test_means_of_clips(read, table, suffix: str):
    rows = [
        {"path": "a.wav", "label": "sad", "EmoVal": 3.5, "EmoAct": 2},
        {"path": "b.wav", "label": "sad", "EmoVal": 7},
    ]
    rows[1]["EmoAct"] = None
    options = {
        "dimensions": {"valence": "EmoVal", "arousal": "EmoAct"},
        "scales": {"valence": [1, 7], "arousal": [1, 7]},
    }
    a, b = read(table(rows, suffix), **options).utterances
    assert (a.means, b.means, a.votes) == ({"valence": 3.5, "arousal": 2}, {"valence": 7}, {"sad": 1})
    assert a.scales == {"valence": (1, 7), "arousal": (1, 7)}
    assert a.metadata == {}
    assert soft_label(b, VALENCE, SoftLabelPolicy()).votes.tolist() == [0, 0, 0, 0, 1]


def test_means_without_any_label_and_a_column_that_is_not_there(read, table, refused):
    path = table([{"path": "a.wav", "valence": 3}])
    (clip,) = read(path, scales={"valence": [1, 5]}).utterances
    assert (clip.means, clip.votes, clip.metadata) == ({"valence": 3}, {}, {})
    call = lambda: read(path, scales={"valence": [1, 5], "arousal": [1, 5]})  # noqa: E731
    refused(call, "no row has the column 'arousal'", file=path, field="arousal", remedy="Correct its name")
    refused(lambda: read(path), "there is no target", file=path, row=1, field="votes", remedy="dataset.scales")


def test_a_column_called_valence_stays_a_fact_where_no_scale_is_told(read, table):
    (clip,) = read(table([{"path": "a.wav", "label": "sad", "valence": "low"}])).utterances
    assert (clip.means, clip.metadata) == ({}, {"valence": "low"})


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_lists_of_the_raters_numbers(read, table, suffix: str, refused):
    rows = [{"path": "a.wav", "ratings": ["sad", "happy"], "valence": [2, 4]}]
    options = {"scales": {"valence": [1, 5]}}
    (clip,) = read(table(rows, suffix), **options).utterances
    assert clip.ratings == (
        Rating("a#1", ("sad",), values={"valence": 2}),
        Rating("a#2", ("happy",), values={"valence": 4}),
    )
    path = table([{"path": "a.wav", "ratings": ["sad", "happy"], "valence": [2, 4, 5]}], suffix)
    what = "there are ratings of 2 and of 3 raters"
    refused(lambda: read(path, **options), what, file=path, row=1, field="valence", remedy=SKIP)


# ------------------------------------------------------------------------------------------- several words of one rater


def test_several_words_in_one_label(read, table, suffix: str, six: LabelSet):
    a, b = read(table([{"path": "a.wav", "label": "happy|sad"}, {"path": "b.wav", "label": "sad"}], suffix)).utterances
    assert a.ratings == (Rating("a#1", ("happy", "sad")),)
    assert soft_label(a, six, SoftLabelPolicy()).votes.tolist() == [0, 0, 0, 0.5, 0, 0.5]
    assert (b.votes, b.num_raters, b.ratings) == ({"sad": 1}, 1, ())


def test_several_words_of_one_of_the_raters(read, table, suffix: str, refused):
    rows = [{"path": "a.wav", "ratings": "happy|sad; sad"}]
    (clip,) = read(table(rows, suffix)).utterances
    assert clip.ratings == (Rating("a#1", ("happy", "sad")), Rating("a#2", ("sad",)))
    for cell in ("happy|sad", "happy, sad"):
        path = table([{"path": "a.wav", "ratings": cell}], suffix)
        what = f"it is not clear whether {cell!r} is what one rater said or several"
        row = 2 if suffix in ("csv", "tsv") else 1
        refused(lambda path=path: read(path), what, file=path, row=row, field="ratings", remedy="Separate raters by ;")


@pytest.mark.parametrize("column", ["votes_happy|sad", "p_happy;sad"])
def test_a_column_of_several_words(read, table, refused, column: str):
    path = table([{"path": "a.wav", column: 1}])
    what = f"{column.split('_')[1]!r} is several words"
    refused(lambda: read(path), what, file=path, row=2, field=column, remedy="Count a rater's several words apart")
