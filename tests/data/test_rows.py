"""A row of a user's own table: the same rules for a manifest and for a data set of the hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emoprobe.data.corpora.huggingface import read_huggingface
from emoprobe.data.corpora.manifest import read_manifest
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.prepare import prepare
from emoprobe.data.split_policy import SplitPolicy
from emoprobe.data.splits import split_items
from emoprobe.data.utterance import Corpus
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.run.predictions import clusters_of
from emoprobe.run.writing import utterances_frame

SKIP = "dataset.on_error=skip"
READERS = {
    "manifest": lambda path, **options: read_manifest(path, **options),
    "huggingface": lambda path, **options: read_huggingface(
        path, audio_column="path", id_column="utterance_id", **options
    ),
}
FORMATS = ("csv", "tsv", "jsonl", "parquet")


@pytest.fixture(params=READERS)
def read(request) -> Callable[..., Corpus]:
    return READERS[request.param]


@pytest.fixture(params=FORMATS)
def suffix(request) -> str:
    return request.param


def rows(column: str, values: list, **more) -> list[dict]:
    return [
        {"path": f"c{i}.wav", column: value, "votes_sad": 1 + i % 2, "votes_anger": 1, **more}
        for i, value in enumerate(values)
    ]


def speakers(corpus: Corpus) -> list[str | None]:
    return [utterance.speaker for utterance in corpus.utterances]


# --------------------------------------------------------------------------------------------------- nobody is nobody


def test_speakers_that_nobody_knows(read, table, suffix: str):
    given = ["nan", "NaN", "None", "NULL", "NA", "n/a", "<NA>", "-", " ", "Unknown", "s1", "s2 "]
    assert speakers(read(table(rows("speaker", given), suffix))) == [None] * 10 + ["s1", "s2"]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_nulls_and_numbers_that_are_none(read, table, suffix: str):
    assert speakers(read(table(rows("speaker", [None, "a", None]), suffix))) == [None, "a", None]
    assert speakers(read(table(rows("speaker", [float("nan"), 3.0, 4.0]), suffix))) == [None, "3", "4"]


def test_ids_and_splits_that_nobody_knows(read, table, suffix: str):
    made = rows("utterance_id", ["nan", "None", "u3"], split="NaN")
    corpus = read(table(made, suffix))
    assert [(u.id, u.split) for u in corpus.utterances] == [("c0", None), ("c1", None), ("u3", None)]


def test_words_spoken(read, table, suffix: str):
    given = ["nan", "None", "<NA>", "NA", "none", "null", "None.", "na"]
    corpus = read(table(rows("transcript", given, dialogue="NaN", mood="nan"), suffix))
    assert [u.transcript for u in corpus.utterances] == [None] * 4 + ["none", "null", "None.", "na"]
    assert all(u.dialogue is None and u.metadata == {} for u in corpus.utterances)


def test_unknown_speakers_are_refused_by_folds_and_clusters_of_their_own(read, table, six: LabelSet, refused):
    path = table(rows("speaker", ["nan", "nan", "NaN", "s1", "s1", "s2"]))
    prepared = prepare(read(path), six, SoftLabelPolicy(), missing_audio="ignore")
    call = lambda: split_items(prepared.items, SplitPolicy("leave_one_out"))  # noqa: E731
    what = "3 of 6 clips have no speaker; utterance c0 is one"
    refused(call, what, file=path, row=2, field="speaker", remedy="divide by another fact")
    frame = utterances_frame(prepared, six, SoftLabelPolicy()).set_index("utterance_id")
    known = ["speaker s1", "speaker s1", "speaker s2"]
    assert clusters_of(frame) == ["utterance c0", "utterance c1", "utterance c2", *known]


def test_a_group_that_is_not_known(table, six: LabelSet, refused):
    path = table(rows("session", ["1", "2", "?", "3"], speaker="s1"))
    prepared = prepare(read_manifest(path), six, SoftLabelPolicy(), missing_audio="ignore")
    call = lambda: split_items(prepared.items, SplitPolicy("leave_one_out", by="session"))  # noqa: E731
    refused(call, "1 of 4 clips have no session", file=path, row=4, field="session", remedy="Add it")


# ------------------------------------------------------------------------------------------------------- one person


def test_one_person_written_by_two_programs(read, table, suffix: str):
    given = ["1", "1.0", "2", "2.0 ", "10"]
    assert speakers(read(table(rows("speaker", given), suffix))) == ["1", "1", "2", "2", "10"]


def test_numbers_of_both_kinds(read, table):
    path = table(rows("speaker", [1, 1.0, 2, "2.0"]), "jsonl")
    assert speakers(read(path)) == ["1", "1", "2", "2"]


def test_one_person_in_two_tables_of_two_types(tmp_path: Path):
    for split, values in (("train", [1, 2]), ("test", [1.0, None])):
        made = pa.Table.from_pylist([{**row, "path": f"{split}{row['path']}"} for row in rows("speaker", values)])
        pq.write_table(made, tmp_path / f"{split}.parquet")
    corpus = READERS["huggingface"](tmp_path)
    assert [(u.split, u.speaker) for u in corpus.utterances] == [
        ("test", "1"),
        ("test", None),
        ("train", "1"),
        ("train", "2"),
    ]


@pytest.mark.parametrize(("first", "second"), [("S1", "s1"), ("1", "01"), ("S1", "S1\u200b"), ("Ann", "\uff21nn")])
def test_people_that_look_alike(read, table, suffix: str, refused, first: str, second: str):
    path = table(rows("speaker", [first, "x", second]), suffix)
    row = 4 if suffix in ("csv", "tsv") else 3
    refused(lambda: read(path), "differ only in", file=path, row=row, field="speaker", remedy="in the same way")


def test_two_unicode_forms_are_one_name(read, table, suffix: str):
    assert len(set(speakers(read(table(rows("speaker", ["Zo\u00eb", "Zoe\u0308"]), suffix))))) == 1


@pytest.mark.parametrize("value", [True, 1e17, [1], {"name": "bob"}])
def test_speakers_that_are_none(read, table, refused, value):
    path = table(rows("speaker", ["a", value]), "jsonl")
    refused(lambda: read(path), "", file=path, row=2, field="speaker", remedy=SKIP, reason="bad_row")


def test_ids_without_their_last_digits(read, table, refused):
    path = table(rows("speaker", ["s", "4.5E+15"]))
    refused(lambda: read(path), "without its last digits", file=path, row=3, field="speaker", remedy=SKIP)


def test_utterance_ids_of_two_programs(read, table, refused):
    path = table(rows("utterance_id", ["1", "1.0"]))
    refused(lambda: read(path), "'1' (row 2) and '1.0' (row 3)", file=path, row=3, field="utterance_id", remedy="same")


# ------------------------------------------------------------------------------------------------------- one recording


@pytest.mark.parametrize("other", ["./c0.wav", "x/../c0.wav", "C0.WAV", "link.wav"])
def test_one_file_under_two_ids(read, table, tmp_path: Path, refused, other: str):
    (tmp_path / "c0.wav").write_bytes(b"sound")
    (tmp_path / "x").mkdir()
    (tmp_path / "link.wav").symlink_to("c0.wav")
    path = table([{"path": name, "label": "sad", "utterance_id": f"u{i}"} for i, name in enumerate(("c0.wav", other))])
    refused(
        lambda: read(path), "the sound of 'u1' is that of 'u0', in row 2", file=path, row=3, field="path", remedy=SKIP
    )
    corpus = read(path, on_error="skip")
    assert corpus.utterances[0].audio == tmp_path / "c0.wav"
    assert [(each.reason, each.row) for each in corpus.skipped] == [("duplicate_file", 3)]


def test_one_name_in_two_unicode_forms(read, table, tmp_path: Path, refused):
    (tmp_path / "\u00e4.wav").write_bytes(b"sound")
    path = table([{"path": name, "label": "sad"} for name in ("\u00e4.wav", "a\u0308.wav")])
    refused(lambda: read(path), "'ä' was there before", file=path, row=3, field="utterance_id", remedy=SKIP)
    path = table(
        [{"path": name, "label": "sad", "utterance_id": str(len(name))} for name in ("\u00e4.wav", "a\u0308.wav")]
    )
    refused(lambda: read(path), "the sound of '6' is that of '5'", file=path, row=3, field="path", remedy=SKIP)


def test_the_other_unicode_form_is_found(read, table, tmp_path: Path):
    (tmp_path / "a\u0308.wav").write_bytes(b"sound")
    (utterance,) = read(table([{"path": "\u00e4.wav", "label": "sad"}])).utterances
    assert utterance.audio.read_bytes() == b"sound"


def test_stretches_of_one_file(read, table, refused):
    made = [{"path": "a.wav", "utterance_id": f"u{i}", "label": "sad", "start": i, "end": i + 1} for i in range(2)]
    path = table(made)
    refused(lambda: read(path), "would count twice", file=path, row=3, field="path", remedy="(start, end) are not read")


# --------------------------------------------------------------------------------------------------------------- votes


def targets(corpus: Corpus, six: LabelSet, **policy):
    return prepare(corpus, six, SoftLabelPolicy(**policy), missing_audio="ignore").items


@pytest.mark.parametrize("kind", ["votes", "p"])
def test_two_columns_of_one_label(read, table, suffix: str, six: LabelSet, refused, kind: str):
    value = 1 if kind == "votes" else 0.5
    path = table([{"path": "a.wav", f"{kind}_anger": value, f"{kind}_angry": value}], suffix)
    row = 2 if suffix in ("csv", "tsv") else 1
    what = f"'anger' and 'angry' (such as columns {kind}_anger and {kind}_angry) are both the label 'anger'"
    remedy = "++dataset.soft_label.merge.angry=anger"
    for on_error in ("error", "skip"):
        corpus = read(path, on_error=on_error)
        refused(lambda c=corpus: targets(c, six), what, file=path, row=row, field=f"{kind}_angry", remedy=remedy)
    # What the policy merges by name is meant.
    (item,) = targets(read(path), six, merge={"angry": "anger"})
    assert item.target.distribution[0] == 1


def test_two_words_of_one_label_in_an_object(read, table, six: LabelSet, refused):
    path = table(
        [{"path": "a.wav", "votes": {"sad": 1}}, {"path": "b.wav", "votes": {"happy": 1, "happiness": 2}}], "jsonl"
    )
    refused(
        lambda: targets(read(path), six),
        "'happy' and 'happiness'",
        file=path,
        row=2,
        field="votes_happiness",
        remedy="Keep",
    )


def test_raters_may_use_two_words_for_one_label(read, table, six: LabelSet):
    (item,) = targets(read(table([{"path": "a.wav", "ratings": "angry;anger;sad"}])), six)
    np.testing.assert_array_equal(item.target.votes, [2, 0, 0, 0, 0, 1])


@pytest.mark.parametrize("names", [("votes_anger", "votes_Anger"), ("votes_sad", "votes_ sad"), ("p_sad", "p_SAD")])
def test_one_word_in_two_spellings(read, table, suffix: str, refused, names):
    value = 1 if names[0].startswith("votes") else 0.5
    path = table([{"path": "a.wav", **dict.fromkeys(names, value)}], suffix)
    row = 2 if suffix in ("csv", "tsv") else 1
    what = f"the columns {names[0]!r} and {names[1]!r} are one emotion"
    refused(lambda: read(path), what, file=path, row=row, field=names[1], remedy=SKIP)


@pytest.mark.parametrize("column", ["Votes_fear", "VOTES_FEAR"])
def test_a_column_that_looks_like_votes(read, table, suffix: str, refused, column: str):
    path = table(rows(column, [2]), suffix)
    row = {"csv": 1, "tsv": 1, "jsonl": 1}.get(suffix)
    refused(lambda: read(path), f"the column {column!r} does not begin with 'votes_'", file=path, row=row, field=column,
            remedy="its votes would not count")  # fmt: skip


def test_numbers_of_a_database_are_numbers(read, table, refused):
    """Sums of SQL are decimals."""
    row = {"path": "a.wav", "speaker": Decimal("7.0"), "votes_anger": Decimal("2"), "votes_sad": Decimal("1.0")}
    (utterance,) = read(table([row], "parquet")).utterances
    assert (utterance.votes, utterance.num_raters, utterance.speaker) == ({"anger": 2.0, "sad": 1.0}, 3, "7")
    path = table([row | {"votes_sad": Decimal("1.5")}], "parquet")
    refused(lambda: read(path), "1.5 is not a whole number", file=path, row=1, field="votes_sad", remedy=SKIP)


def test_columns_of_parquet_are_not_stripped(read, table, refused):
    path = table([{"path": "a.wav", "votes_sad": 1, " votes_anger": 2}], "parquet")
    refused(lambda: read(path), "looks like it", file=path, field=" votes_anger", remedy="Rename it")


@pytest.mark.parametrize(
    ("column", "looks"), [("Speaker", "speaker"), ("TRANSCRIPT", "transcript"), ("Split", "split")]
)
def test_a_column_that_looks_like_another(read, table, suffix: str, refused, column: str, looks: str):
    path = table(rows(column, ["x"]), suffix)
    row = {"csv": 1, "tsv": 1, "jsonl": 1}.get(suffix)
    what = f"the column {column!r} is not {looks!r}, but looks like it"
    refused(lambda: read(path), what, file=path, row=row, field=column, remedy="Rename it")


def test_a_named_column_that_is_nowhere(read, table, suffix: str, refused):
    path = table(rows("talker", ["a", "b"]), suffix)
    assert speakers(read(path, speaker_column="talker")) == ["a", "b"]
    call = lambda: read(path, speaker_column="tallker")  # noqa: E731
    refused(call, "no row has the column 'tallker'", file=path, field="tallker", remedy="Correct its name")


@pytest.mark.parametrize("word", ["nan", "NaN", "NULL", "<NA>", "-", "n/a"])
def test_a_missing_rating_is_no_word(read, table, refused, word: str):
    path = table([{"path": "a.wav", "ratings": "sad;fear"}, {"path": "b.wav", "ratings": f"sad;{word};sad"}])
    refused(lambda: read(path), f"{word!r} is no emotion word", file=path, row=3, field="ratings", remedy="Leave empty")
    path = table([{"path": "a.wav", "label": word}])
    refused(lambda: read(path), "is no emotion word", file=path, row=2, field="label", remedy="Leave empty")
    path = table([{"path": "a.wav", "votes_sad": 1, f"votes_{word}": 1}])
    refused(lambda: read(path), "is no emotion word", file=path, row=2, field=f"votes_{word}", remedy="Leave empty")


@pytest.mark.parametrize("word", ["none", "None", "NA"])
def test_none_may_be_a_choice(read, table, six: LabelSet, word: str):
    corpus = read(table([{"path": "a.wav", "ratings": f"sad;{word}"}]))
    assert corpus.utterances[0].votes == {"sad": 1.0, word: 1.0}
    with pytest.raises(InputError, match=f"a vote for '{word}', which is none of"):
        targets(corpus, six)
    (item,) = targets(corpus, six, outside="drop")
    assert (item.target.outside_votes, item.target.num_raters) == (1, 2)


# ---------------------------------------------------------------------------------------------------- number of raters


@pytest.mark.parametrize(
    ("target", "raters", "what"),
    [
        ({"votes_anger": 4, "votes_sad": 3}, 2, "there are 4 votes for 'anger', and 2 raters"),
        ({"votes_anger": 1, "votes_sad": 3}, 2, "there are 3 votes for 'sad', and 2 raters"),
        ({"ratings": "sad;fear;sad"}, 2, "there are 3 ratings, and 2 raters"),
        ({"p_anger": 0.5, "p_sad": 0.5}, 3, "a share of 0.5 for 'anger' is 1.5 votes of 3 raters"),
        ({"p_anger": 0.9, "p_sad": 0.1}, 5, "a share of 0.9 for 'anger' is 4.5 votes of 5 raters"),
    ],
)
def test_raters_who_cannot_have_voted_so(read, table, suffix: str, refused, target: dict, raters: int, what: str):
    path = table([{"path": "a.wav", **target, "num_raters": raters}], suffix)
    row = 2 if suffix in ("csv", "tsv") else 1
    refused(
        lambda: read(path), what, file=path, row=row, field="num_raters", remedy="Correct the row", reason="bad_votes"
    )


@pytest.mark.parametrize(
    ("target", "raters"),
    [
        ({"votes_anger": 1, "votes_sad": 3}, 4),
        ({"votes_anger": 1, "votes_sad": 3}, 6),  # two chose nothing of these
        ({"ratings": "sad;fear;sad"}, 3),
        ({"ratings": "sad;fear;sad"}, 4),
        ({"p_anger": 0.33, "p_sad": 0.67}, 3),
        ({"p_anger": 0.143, "p_sad": 0.857}, 7),
        ({"p_anger": 0.13, "p_sad": 0.87}, 1_000),
        ({"votes_anger": 1, "votes_sad": 3}, "nan"),
    ],
)
def test_raters_who_can(read, table, six: LabelSet, target: dict, raters):
    (item,) = targets(read(table([{"path": "a.wav", **target, "num_raters": raters}])), six)
    assert item.target.distribution.sum() == pytest.approx(1)


def test_several_labels_per_rater_are_a_policy(read, table, six: LabelSet):
    corpus = read(table([{"path": "a.wav", "votes_anger": 2, "votes_sad": 1, "num_raters": 2}]))
    with pytest.raises(InputError, match=r"3 votes of 2 raters .*dataset\.soft_label\.several=each"):
        targets(corpus, six)
    (item,) = targets(corpus, six, several="each")
    np.testing.assert_allclose(item.target.distribution, [2 / 3, 0, 0, 0, 0, 1 / 3])
    assert item.target.num_raters == 2


# ---------------------------------------------------------------------------------------------------- of the hub alone


@pytest.mark.parametrize("value", ["nan", None, float("nan")])
def test_the_split_of_the_file_stands_where_a_row_has_none(tmp_path: Path, value):
    text = json.dumps({"path": "a.wav", "label": "sad", "split": value})
    (tmp_path / "train.jsonl").write_text(text + "\n")
    assert READERS["huggingface"](tmp_path).utterances[0].split == "train"


def test_numbers_of_labels_in_a_column_with_gaps(tmp_path: Path):
    made = [{"path": f"{i}.wav", "label": value} for i, value in enumerate([1.0, None, 0.0])]
    pq.write_table(pa.Table.from_pylist(made), tmp_path / "t.parquet")
    corpus = READERS["huggingface"](tmp_path, label_names=["sad", "fear"])
    assert [u.votes for u in corpus.utterances] == [{"fear": 1.0}, {}, {"sad": 1.0}]
    with pytest.raises(InputError, match="the label 1 is a number without a word"):
        READERS["huggingface"](tmp_path)


def test_speakers_that_are_a_class(tmp_path: Path):
    made = pa.table({"path": ["a.wav", "b.wav", "c.wav"], "label": ["sad"] * 3, "speaker": [1, -1, 0]})
    noted = {"info": {"features": {"speaker": {"_type": "ClassLabel", "names": ["ann", "bob"]}}}}
    pq.write_table(made.replace_schema_metadata({"huggingface": json.dumps(noted)}), tmp_path / "t.parquet")
    corpus = READERS["huggingface"](tmp_path, label_names=["x", "y"])
    assert speakers(corpus) == ["bob", None, "ann"]


# ------------------------------------------------------------------------------------------------ shares and counts


@pytest.mark.parametrize(
    "shares",
    [
        (0.17, 0.17, 0.17, 0.17, 0.17, 0.16),
        (0.3, 0.3, 0.3, 0, 0, 0),
        (0.2,) * 6,
        (0.167, 0.167, 0.167, 0.167, 0.167, 0.167),
        (0.99, 0, 0, 0, 0, 0),
        (0.33, 0.33, 0.33, 0.0, 0.0, 0.0),
    ],
)
def test_shares_that_were_rounded(read, table, suffix: str, shares: tuple[float, ...]):
    path = table(
        [{"path": "a.wav", **{f"p_{word}": share for word, share in zip("abcdef", shares, strict=True)}}], suffix
    )
    (clip,) = read(path).utterances
    assert sum(clip.votes.values()) == pytest.approx(1, abs=1e-9 if abs(sum(shares) - 1) > 1e-3 else 1.1e-3)
    assert [clip.votes[word] * sum(shares) for word in "abcdef"] == pytest.approx(shares, rel=2e-3)


@pytest.mark.parametrize(
    "shares",
    [(0.5, 0.3, 0, 0), (0.17, 0.17, 0.6, 0), (0.96, 0, 0, 0), (1, 1, 0, 0), (0.4, 0.4, 0.4, 0), (17, 83, 0, 0)],
)
def test_shares_that_no_rounding_explains(read, table, suffix: str, shares: tuple[float, ...], refused):
    path = table(
        [{"path": "a.wav", **{f"p_{word}": share for word, share in zip("abcd", shares, strict=True)}}], suffix
    )
    row = 2 if suffix in ("csv", "tsv") else 1
    refused(lambda: read(path), "the shares sum to", file=path, row=row, field="distribution", remedy=SKIP)


def test_shares_in_single_precision(read, tmp_path: Path):
    columns = {f"p_{word}": pa.array([0.17 if word != "f" else 0.16], pa.float32()) for word in "abcdef"}
    pq.write_table(pa.table({"path": ["a.wav"], **columns}), tmp_path / "t.parquet")
    (clip,) = read(tmp_path / "t.parquet").utterances
    assert sum(clip.votes.values()) == pytest.approx(1, abs=1e-9)


def test_more_votes_than_raters(read, table, suffix: str, six: LabelSet, refused):
    """Several labels of one rater are told by a policy; else seven votes of five raters are an error."""
    made = [{"path": "a.wav", "num_raters": 5, "votes_sad": 4, "votes_happy": 3}]
    path = table(made, suffix)
    corpus = read(path)
    call = lambda **policy: prepare(corpus, six, SoftLabelPolicy(**policy), missing_audio="ignore")  # noqa: E731
    row = 2 if suffix in ("csv", "tsv") else 1
    refused(call, "7 votes of 5 raters", file=path, row=row, field="votes", remedy="several=each")
    assert call(several="each").items[0].target.votes.sum() == 7
    path = table([{**made[0], "votes_sad": 6}], suffix)
    refused(lambda: read(path), "6 votes for 'sad', and 5 raters", file=path, row=row, field="num_raters", remedy=SKIP)


def test_raters_who_abstained(read, table, suffix: str, six: LabelSet):
    (clip,) = read(table([{"path": "a.wav", "num_raters": 9, "votes_sad": 4, "votes_happy": 3}], suffix)).utterances
    assert clip.num_raters == 9
    (clip,) = read(table([{"path": "a.wav", "num_raters": 0, "votes_sad": 0, "votes_happy": 0}], suffix)).utterances
    assert clip.num_raters == 0


def test_thousands_that_may_be_fractions(read, tmp_path: Path, refused):
    path = tmp_path / "t.csv"
    for cell in ("1.000", "1,000"):
        path.write_text(f"path;votes_sad\na.wav;{cell}\n")
        what = f"'{cell}' may be a thousand or a fraction"
        refused(lambda: read(path), what, file=path, row=2, field="votes_sad", remedy=SKIP)


def test_numbers_with_two_decimal_signs(read, tmp_path: Path, refused):
    path = tmp_path / "t.csv"
    path.write_text("path;p_sad;p_happy\na.wav;0,4;0.6\n")
    refused(lambda: read(path), "another decimal sign", file=path, row=2, field="p_happy", remedy=SKIP)


@pytest.mark.parametrize("columns", [("votes_angry", "votes_Angry"), ("votes_angry", "votes_\u1eabngry")])
def test_columns_that_would_be_added_up(read, table, suffix: str, refused, columns: tuple[str, str]):
    path = table([{"path": "a.wav", columns[0]: 1, columns[1]: 2, "votes_sad": 1}], suffix)
    if columns[1].isascii():
        row = 2 if suffix in ("csv", "tsv") else 1
        refused(lambda: read(path), "are one emotion", file=path, row=row, field=columns[1], remedy=SKIP)
    else:
        assert len(read(path).utterances[0].votes) == 3


def test_ids_that_are_bytes(read, tmp_path: Path, refused):
    columns = {"path": [b"a.wav"], "utterance_id": [b"u1"], "speaker": [b"s\xc3\xa4"], "label": [b"sad"]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    if read is READERS["huggingface"]:  # bytes of a sound column are sound
        columns["path"] = ["a.wav"]
        pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    (clip,) = read(tmp_path / "t.parquet").utterances
    assert (clip.id, clip.speaker, clip.votes) == ("u1", "s\u00e4", {"sad": 1})
    pq.write_table(pa.table({**columns, "speaker": [b"\xff"]}), tmp_path / "t.parquet")
    file = tmp_path / "t.parquet"
    refused(lambda: read(file), "is not text", file=file, row=1, field="speaker", remedy=SKIP)
