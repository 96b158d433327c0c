"""Manifests: a researcher's own corpus as CSV, TSV, JSONL or Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from copies import manifest as made
from hypothesis import given, settings
from hypothesis import strategies as st

from emoprobe.data.corpora.manifest import read_manifest
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.prepare import prepare
from emoprobe.data.utterance import Corpus, Rating, Utterance
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.recipes.inputs import prepare_run, read_corpus
from emoprobe.recipes.settings import read_dataset
from emoprobe.settings import compose

SKIP = "dataset.on_error=skip"
TARGETS = "votes_WORD"
GOOD = "path,votes_anger,votes_sad\na.wav,1,2\nb.wav,3,0\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def to(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Writes the same rows in any of the formats."""

    def to(suffix: str, rows: list[dict]) -> Path:
        path = tmp_path / f"manifest.{suffix}"
        if suffix == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        elif suffix == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if suffix == "tsv" else ",")
                writer.writeheader()
                writer.writerows(rows)
        return path

    return to


def only(corpus: Corpus) -> Utterance:
    (utterance,) = corpus.utterances
    return utterance


every_format = pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])


# -------------------------------------------------------------------------------------------------- the kinds of target


@every_format
def test_vote_counts(tmp_path: Path, table, suffix: str):
    path = table(
        suffix,
        [
            {
                "utterance_id": "u1",
                "path": "audio/a.wav",
                "speaker": "s1",
                "split": "test",
                "transcript": "Oh, no!",
                "votes_anger": 3,
                "votes_sad": 0,
                "mood": "grim",
            },
            {
                "utterance_id": "u2",
                "path": "audio/b.wav",
                "speaker": "s2",
                "split": "train",
                "transcript": "",
                "votes_anger": 1,
                "votes_sad": 1,
                "mood": "",
            },
        ],
    )
    corpus = read_manifest(path)
    first, second = corpus.utterances
    header = {"csv": 1, "tsv": 1}.get(suffix, 0)
    assert first == Utterance(
        id="u1",
        audio=tmp_path / "audio" / "a.wav",
        votes={"anger": 3.0, "sad": 0.0},
        num_raters=3,
        speaker="s1",
        split="test",
        transcript="Oh, no!",
        metadata={"mood": "grim"},
        file=path,
        row=header + 1,
    )
    assert (second.transcript, second.metadata, second.num_raters, second.row) == (None, {}, 2, header + 2)
    assert (corpus.card.name, corpus.card.synthetic, corpus.skipped) == ("manifest", False, ())


@every_format
def test_one_word_per_rater(table, suffix: str):
    words = "sad; anger;sad;" if suffix in ("csv", "tsv") else ["sad", "anger", "sad", None]
    utterance = only(read_manifest(table(suffix, [{"path": "a.wav", "ratings": words}])))
    assert utterance.votes == {"sad": 2.0, "anger": 1.0}
    assert utterance.num_raters == 3
    assert [rating.labels for rating in utterance.ratings] == [("sad",), ("anger",), ("sad",)]
    assert all(isinstance(rating, Rating) and not rating.self_report for rating in utterance.ratings)


def test_unknown_raters_are_never_the_same_person(write):
    corpus = read_manifest(write("m.csv", "path,ratings\na.wav,sad;sad\nb.wav,sad;happy\n"))
    raters = [rater for utterance in corpus.utterances for rater, *_ in utterance.ratings]
    assert len(set(raters)) == 4


@every_format
def test_shares(table, suffix: str):
    utterance = only(read_manifest(table(suffix, [{"path": "a.wav", "p_anger": 0.25, "p_sad": 0.7499}])))
    assert utterance.votes == {"anger": 0.25, "sad": 0.7499}
    assert utterance.num_raters is None


@every_format
def test_shares_of_a_known_number_of_raters(table, suffix: str):
    row = {"path": "a.wav", "p_anger": 0.25, "p_sad": 0.75, "num_raters": 8}
    utterance = only(read_manifest(table(suffix, [row])))
    assert utterance.num_raters == 8
    assert utterance.metadata == {}


@every_format
@pytest.mark.parametrize("column", ["label", "emotion"])
def test_one_label(table, suffix: str, column: str):
    utterance = only(read_manifest(table(suffix, [{"path": "a.wav", column: "sad"}])))
    assert (utterance.votes, utterance.num_raters, utterance.metadata) == ({"sad": 1.0}, 1, {})


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_objects_of_votes_and_of_shares(table, suffix: str):
    path = table(suffix, [{"path": "a.wav", "votes": {"anger": 2}}, {"path": "b.wav", "votes": {"sad": 3}}])
    assert [utterance.votes for utterance in read_manifest(path).utterances] == [{"anger": 2.0}, {"sad": 3.0}]
    path = table(suffix, [{"path": "a.wav", "distribution": {"anger": 0.5, "sad": 0.5}}])
    assert only(read_manifest(path)).votes == {"anger": 0.5, "sad": 0.5}


def test_a_row_of_jsonl_names_only_the_words_that_were_chosen(write):
    path = write("m.jsonl", '{"path": "a.wav", "votes_anger": 2}\n\n{"path": "b.wav", "votes_bored": 1}\n')
    first, second = read_manifest(path).utterances
    assert (first.votes, second.votes) == ({"anger": 2.0}, {"bored": 1.0})
    assert second.row == 3


def test_columns_of_other_names(write):
    path = write("m.csv", "file,name,ang,sad,who,fold,words,before\nx/a.wav,u1,2,1,bob,f1,hello,hi\n")
    names = {
        "path_column": "file",
        "id_column": "name",
        "speaker_column": "who",
        "split_column": "fold",
        "transcript_column": "words",
        "dialogue_column": "before",
    }
    for votes in (["ang", "sad"], {"anger": "ang", "sad": "sad"}):
        utterance = only(read_manifest(path, votes_columns=votes, **names))
        assert utterance.votes == {("anger" if isinstance(votes, dict) else "ang"): 2.0, "sad": 1.0}
        assert (utterance.id, utterance.speaker, utterance.split) == ("u1", "bob", "f1")
        assert (utterance.transcript, utterance.dialogue, utterance.metadata) == ("hello", "hi", {})


@every_format
def test_previous_turns(table, suffix: str):
    turns = 'A: Where were you?\nB: Out, with "friends".'
    rows = [{"path": "a.wav", "label": "sad", "dialogue": turns}, {"path": "b.wav", "label": "sad", "dialogue": " "}]
    first, second = read_manifest(table(suffix, rows)).utterances
    assert (first.dialogue, first.metadata) == (turns, {})
    assert (second.dialogue, second.metadata) == (None, {})


def test_without_previous_turns(write):
    assert only(read_manifest(write("m.csv", "path,label\na.wav,sad\n"))).dialogue is None


def test_another_column_of_previous_turns_leaves_the_default_one_a_fact(write):
    path = write("m.csv", "path,label,dialogue,context\na.wav,sad,17,Go on.\n")
    utterance = only(read_manifest(path, dialogue_column="context"))
    assert (utterance.dialogue, utterance.metadata) == ("Go on.", {"dialogue": "17"})


def test_previous_turns_as_a_list(write, refused):
    path = write("m.jsonl", '{"path": "a.wav", "label": "sad", "dialogue": ["Hi.", "Go on."]}\n')
    refused(lambda: read_manifest(path), "is not text", file=path, row=1, field="dialogue", remedy=SKIP)


def test_named_columns_decide_between_targets(write):
    path = write("m.csv", "path,votes_anger,votes_sad,ratings,p_anger,p_sad,label\na.wav,1,1,sad;sad,0.1,0.9,fear\n")
    assert only(read_manifest(path, votes_columns=["votes_anger", "votes_sad"])).votes == {"anger": 1.0, "sad": 1.0}
    assert only(read_manifest(path, ratings_column="ratings")).votes == {"sad": 2.0}
    assert only(read_manifest(path, distribution_columns=["p_anger", "p_sad"])).votes == {"anger": 0.1, "sad": 0.9}
    utterance = only(read_manifest(path, label_column="label"))
    assert utterance.votes == {"fear": 1.0}
    assert utterance.metadata["votes_anger"] == "1"


def test_a_label_beside_votes_is_their_summary(write):
    utterance = only(read_manifest(write("m.csv", "path,emotion,votes_sad\na.wav,fear,3\n")))
    assert (utterance.votes, utterance.metadata) == ({"sad": 3.0}, {"emotion": "fear"})


def test_more_raters_than_votes(write):
    utterance = only(read_manifest(write("m.csv", "path,votes_sad,votes_anger,num_raters\na.wav,3,1,5\n")))
    assert (utterance.votes, utterance.num_raters) == ({"sad": 3.0, "anger": 1.0}, 5)


def test_rows_without_votes_are_left_to_the_policy(write, six: LabelSet):
    for content in (
        "path,votes_sad\na.wav,0\nb.wav,1\n",
        "path,ratings\na.wav,;\nb.wav,sad\n",
        "path,label\na.wav,\nb.wav,sad\n",
    ):
        corpus = read_manifest(write("m.csv", content))
        prepared = prepare(corpus, six, SoftLabelPolicy(no_votes="skip"), missing_audio="ignore")
        assert [item.utterance.id for item in prepared.items] == ["b"]
        assert [(row.id, row.reason, row.row) for row in prepared.skipped] == [("a", "no_votes", 2)]


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ("path,votes_sad,ratings", "more than one target (votes_sad, ratings)"),
        ("path,votes_sad,p_sad", "more than one target (votes_sad, p_sad)"),
        ("path,label,emotion", "more than one target (label, emotion)"),
        ("path,speaker,votes", "there is no target; there are path, speaker, votes"),
    ],
)
def test_ambiguous_or_absent_target(write, refused, header: str, what: str):
    path = write("m.csv", f"{header}\na.wav,1,1\n")
    for on_error in ("error", "skip"):
        error = refused(
            lambda on_error=on_error: read_manifest(path, on_error=on_error),
            what,
            file=path,
            row=1,
            field="votes",
            remedy=TARGETS,
        )
        assert "dataset.reader.votes_columns" in error.remedy
        assert header.replace(",", ", ") in error.what


def test_two_targets_named(write, refused):
    path = write("m.csv", "path,label,votes_sad\na.wav,sad,1\n")
    call = lambda: read_manifest(path, label_column="label", votes_columns=["votes_sad"])  # noqa: E731
    refused(call, "more than one target", file=path, row=1, field="votes", remedy=TARGETS)


def test_object_and_columns_of_votes(write, refused):
    path = write("m.jsonl", '{"path": "a.wav", "votes": {"sad": 1}, "votes_anger": 1}\n')
    what = "more than one target (votes, votes_anger)"
    refused(lambda: read_manifest(path), what, file=path, row=1, field="votes", remedy=TARGETS)


def test_kinds_may_not_change_within_a_file(write, refused):
    path = write("m.jsonl", '{"path": "a.wav", "votes": {"sad": 1}}\n{"path": "b.wav", "label": "sad"}\n')
    what = "the target is label here and votes before"
    refused(lambda: read_manifest(path), what, file=path, row=2, field="label", remedy=SKIP)


# ---------------------------------------------------------------------------------------------------------- bad numbers


@pytest.mark.parametrize(
    "value", ["-1", "", "x", "nan", "inf", "1_0", "0,5", "True", "1e999", "9" * 500, "1 2", "٣", "--1", "0x1"]
)
def test_bad_counts_in_text(write, refused, value: str):
    path = write("m.csv", f'path,votes_sad,votes_anger\na.wav,1,1\nb.wav,"{value}",1\n')
    what = "is not a number from 0 to 1e+09"
    refused(lambda: read_manifest(path), what, file=path, row=3, field="votes_sad", remedy=SKIP, reason="bad_votes")


@pytest.mark.parametrize(
    "value", ["true", "null", "NaN", "-Infinity", "1" + "0" * 400, "[1]", '{"a": 1}', '"many"', "-3"]
)
def test_bad_counts_in_json(write, refused, value: str):
    path = write("m.jsonl", f'{{"path": "a.wav", "votes": {{"sad": {value}}}}}\n')
    what = "is not a number from 0 to 1e+09"
    refused(lambda: read_manifest(path), what, file=path, row=1, field="sad", remedy=SKIP, reason="bad_votes")


def test_numbers_as_strings(write):
    path = write("m.jsonl", '{"path": "a.wav", "votes": {"sad": "3", "anger": " 2.0 ", "fear": "+1e0"}}\n')
    assert only(read_manifest(path)).votes == {"sad": 3.0, "anger": 2.0, "fear": 1.0}


def test_shares_among_the_votes(write, refused):
    path = write("m.csv", "path,votes_sad,votes_anger\na.wav,0.6,0.4\n")
    what = "0.6 is not a whole number of votes; shares are p_WORD"
    refused(lambda: read_manifest(path), what, file=path, row=2, field="votes_sad", remedy=SKIP, reason="bad_votes")


@pytest.mark.parametrize(
    ("shares", "total"), [("0.5,0.4", "0.9"), ("0,0", "0"), ("0.502,0.5", "1.002"), ("60,40", "100")]
)
def test_shares_that_do_not_sum_to_one(write, refused, shares: str, total: str):
    path = write("m.csv", f"path,p_sad,p_anger\na.wav,{shares}\n")
    what = f"the shares sum to {total}, not to 1"
    refused(lambda: read_manifest(path), what, file=path, row=2, field="distribution", remedy=SKIP, reason="bad_votes")


def test_negative_share(write, refused):
    path = write("m.csv", "path,p_sad,p_anger\na.wav,1.5,-0.5\n")
    refused(lambda: read_manifest(path), "'-0.5' is not", file=path, row=2, field="p_anger", remedy=SKIP)


@pytest.mark.parametrize("value", ["0", "2.5", "few", "-1"])
def test_bad_number_of_raters(write, refused, value: str):
    path = write("m.csv", f"path,label,num_raters\na.wav,sad,{value}\n")
    refused(lambda: read_manifest(path), "is not a", file=path, row=2, field="num_raters", remedy=SKIP)


@pytest.mark.parametrize("value", ["3", "[1, 2]", '{"bob": "sad"}', "true", '[{"sad": 1}]'])
def test_bad_ratings(write, refused, value: str):
    path = write("m.jsonl", f'{{"path": "a.wav", "ratings": {value}}}\n')
    what = "is not a list of words, one per rater"
    refused(lambda: read_manifest(path), what, file=path, row=1, field="ratings", remedy=SKIP, reason="bad_votes")


def test_votes_that_are_no_object_any_more(write, refused):
    path = write("m.jsonl", '{"path": "a.wav", "votes": {"sad": 1}}\n{"path": "b.wav", "votes": 3}\n')
    refused(lambda: read_manifest(path), "there is no target", file=path, row=2, field="votes", remedy=TARGETS)


def test_one_emotion_twice(write, refused):
    path = write("m.csv", "path,votes_sad,sad\na.wav,1,1\n")
    call = lambda: read_manifest(path, votes_columns=["votes_sad", "sad"])  # noqa: E731
    refused(call, "'votes_sad' and 'sad' are one emotion", file=path, row=2, field="sad", remedy=SKIP)


def test_words_outside_the_label_set(write, refused, six: LabelSet):
    path = write("m.csv", "path,label\na.wav,Angry\nb.wav,bored\n")
    assert len(read_manifest(path).utterances) == 2
    refused(
        lambda: read_manifest(path, labels=six),
        "'bored' is none of anger, disgust",
        file=path,
        row=3,
        field="label",
        remedy=SKIP,
        reason="outside_label_set",
    )


# ------------------------------------------------------------------------------------------------------ files and rows


def test_jsonl_with_byte_order_mark_and_carriage_returns(write):
    path = write("m.jsonl", b'\xef\xbb\xbf{"path": "a.wav", "label": "sad"}\r\n{"path": "b.wav", "label": "sad"}\r\n')
    assert [utterance.id for utterance in read_manifest(path).utterances] == ["a", "b"]


def test_quoted_fields_may_hold_line_ends_and_separators(write, refused):
    content = 'path,transcript,votes_sad\na.wav,"one,\ntwo ""three""\nfour",1\n\nb.wav,five,2\nc.wav,six,x\n'
    path = write("m.csv", content)
    corpus = read_manifest(path, on_error="skip")
    first, second = corpus.utterances
    assert first.transcript == 'one,\ntwo "three"\nfour'
    assert (first.row, second.row) == (2, 6)
    refused(lambda: read_manifest(path), "'x' is not", file=path, row=7, field="votes_sad", remedy=SKIP)


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_inside_quotes_are_those_of_every_system(write, end: str):
    content = 'path,transcript,votes_sad\na.wav,"one\ntwo",1\nb.wav,three,2\n'.replace("\n", end)
    first, second = read_manifest(write("m.csv", content)).utterances
    assert (first.transcript, first.row, second.row) == ("one\ntwo", 2, 4)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_latin_1(write, refused, suffix: str):
    path = write(f"m.{suffix}", b"path,label\na.wav,sad\n\xfcber.wav,sad\n")
    refused(lambda: read_manifest(path), "byte 0xfc is not UTF-8", file=path, row=3, remedy="Save the file as UTF-8")


def test_utf_16(write, refused):
    path = write("m.csv", GOOD.encode())
    plain = read_manifest(path).utterances
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        assert read_manifest(write("m.csv", GOOD.encode(encoding))).utterances == plain
    path = write("m.csv", GOOD.encode("utf-16") + b"\x00")
    refused(lambda: read_manifest(path), "is not UTF-16", file=path, row=1, remedy="dataset.reader.encoding")


@pytest.mark.parametrize("line", ["b.wav,1", "b.wav,1,2,3", "b.wav;1;2"])
def test_ragged_row(write, refused, line: str):
    path = write("m.csv", f"{GOOD}{line}\n")
    refused(lambda: read_manifest(path), "fields and the header 3", file=path, row=4, remedy=SKIP, reason="bad_row")


@pytest.mark.parametrize("content", ["", "\n \n", "\ufeff"])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_empty_file(write, refused, suffix: str, content: str):
    path = write(f"m.{suffix}", content)
    refused(lambda: read_manifest(path), "the manifest is empty", file=path, remedy="Add a header")


def test_header_only(write, refused):
    path = write("m.csv", "path,votes_sad\n")
    refused(lambda: read_manifest(path), "there is no usable utterance", file=path, remedy="Add a row")


def test_only_bad_rows(write, refused):
    path = write("m.csv", "path,votes_sad\na.wav,x\nb.wav,y\n")
    remedy = "2 rows were left out; the first: 'x' is not a number"
    refused(lambda: read_manifest(path, on_error="skip"), "no usable utterance", file=path, remedy=remedy)


def test_column_twice(write, refused):
    path = write("m.csv", "path,label, label\na.wav,sad,sad\n")
    refused(lambda: read_manifest(path), "'label' occurs twice", file=path, row=1, field="label", remedy="Rename")


@pytest.mark.parametrize(
    ("options", "column"),
    [
        ({"path_column": "file"}, "file"),
        ({"votes_columns": ["votes_sad", "votes_joy"]}, "votes_joy"),
        ({"votes_columns": {"sad": "votes_sad", "joy": "n_joy"}}, "n_joy"),
        ({"ratings_column": "raters"}, "raters"),
        ({"distribution_columns": ["p_sad"]}, "p_sad"),
        ({"label_column": "class"}, "class"),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_missing_column(table, refused, suffix: str, options: dict, column: str):
    path = table(suffix, [{"path": "a.wav", "votes_sad": 1, "votes_anger": 1}])
    error = refused(
        lambda: read_manifest(path, **options),
        f"the column {column!r} is missing; there are path, votes_sad, votes_anger",
        file=path,
        row=None if suffix == "parquet" else 1,
        field=column,
        remedy="dataset.reader",
    )
    assert error.field == column


@pytest.mark.parametrize(
    ("options", "what", "field"),
    [
        ({"votes_columns": "votes_sad"}, "is not a list of columns", "dataset.reader.votes_columns"),
        ({"distribution_columns": 3}, "is not a list of columns", "dataset.reader.distribution_columns"),
        ({"votes_columns": {"sad": "x", "anger": "x"}}, "'x' is named twice", "dataset.reader.votes_columns"),
    ],
)
def test_wrong_options(write, refused, options: dict, what: str, field: str):
    path = write("m.csv", GOOD)
    refused(lambda: read_manifest(path, **options), what, file=None, field=field, remedy="e")


def test_without_ids_the_path_is_the_id(write):
    path = write(
        "m.jsonl", '{"path": "s1/a.b.wav", "label": "sad"}\n{"utterance_id": 7, "path": "c", "label": "sad"}\n'
    )
    assert [utterance.id for utterance in read_manifest(path).utterances] == ["s1/a.b", "7"]


def test_skip_lists_every_bad_row(write):
    content = "utterance_id,path,votes_sad\nu1,a.wav,1\nu2,,1\nu3,c.wav,-1\nu4,../d.wav,1\nu5,e.wav\nu6,f.wav,2\n"
    path = write("m.csv", content)
    corpus = read_manifest(path, on_error="skip")
    assert [utterance.id for utterance in corpus.utterances] == ["u1", "u6"]
    assert [(row.id, row.reason, row.row, row.file) for row in corpus.skipped] == [
        ("u2", "bad_row", 3, str(path)),
        ("u3", "bad_votes", 4, str(path)),
        ("u4", "bad_row", 5, str(path)),
        ("", "bad_row", 6, str(path)),
    ]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "this line is not a JSON object"),
        ("[1]", "this line is not a JSON object: it is not an object"),
        ("null", "this line is not a JSON object: it is not an object"),
        ("[" * 100_000, "this line is not a JSON object"),
        ('{"path": ' + "1" * 5000 + "}", "this line is not a JSON object"),
        ('{"path": "a.wav", "votes": {"sad": 1, "sad": 2}}', "a key occurs twice"),
        ('{"path": "a.wav", "label": "\\ud800"}', "surrogates"),
    ],
)
def test_bad_json(write, refused, line: str, what: str):
    path = write("m.jsonl", f'{{"path": "b.wav", "label": "sad"}}\n{line}\n')
    refused(lambda: read_manifest(path), what, file=path, row=2, remedy=SKIP, reason="bad_row")
    assert len(read_manifest(path, on_error="skip").skipped) == 1


def test_text_that_is_a_list(write, refused):
    path = write("m.jsonl", '{"path": ["a.wav"], "label": "sad"}\n')
    refused(lambda: read_manifest(path), "is not text", file=path, row=1, field="path", remedy=SKIP)


def test_metadata_are_numbers_or_text(write):
    row = {"path": "a.wav", "label": "sad", "age": 31, "snr": 2.5, "calm": True, "tags": ["x", "é"], "none": None}
    facts = only(read_manifest(write("m.jsonl", json.dumps(row)))).metadata
    assert facts == {"age": 31, "snr": 2.5, "calm": "True", "tags": '["x", "é"]'}


def test_unknown_format(write, refused):
    path = write("m.ods", b"PK")
    refused(lambda: read_manifest(path), "format '.ods'", file=path, field="dataset.path", remedy=".csv, .tsv")


def test_a_spreadsheet(tmp_path: Path, workbook):
    rows = [
        ["path", "speaker", "p_sad", "p_happy", "age"],
        ["a.wav", 127.0, 0.25, 0.75, 31],
        [],
        ["b.wav", "s2", "0,5", "0,5"],
    ]
    a, b = read_manifest(workbook(tmp_path / "m.xlsx", Clips=rows)).utterances
    assert (a.speaker, a.votes, a.metadata, a.row) == ("127", {"sad": 0.25, "happy": 0.75}, {"age": 31}, 2)
    assert (b.speaker, b.votes, b.metadata, b.row) == ("s2", {"sad": 0.5, "happy": 0.5}, {}, 4)


def test_clips_and_ratings_in_one_spreadsheet(tmp_path: Path, workbook):
    clips = [["path", "speaker"], ["a.wav", 1], ["b.wav", 2]]
    ratings = [
        ["path", "rater", "label", "valence"],
        ["a.wav", 1, "sad", 2],
        ["a.wav", 2, "happy", 6.5],
        ["b.wav", 1, "sad", 7],
    ]
    path = workbook(tmp_path / "m.xlsx", Clips=clips, Ratings=ratings)
    options = {"ratings": path, "sheet": "Clips", "ratings_sheet": "Ratings", "scales": {"valence": [1, 7]}}
    a, b = read_manifest(path, **options).utterances
    assert [(r.rater, r.labels, r.values) for r in a.ratings] == [
        ("1", ("sad",), {"valence": 2}),
        ("2", ("happy",), {"valence": 6.5}),
    ]
    assert [r.rater for r in b.ratings] == ["1"]


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        ("speaker", datetime(2024, 1, 3), "2024-01-03 00:00:00 is a date"),
        ("utterance_id", datetime(2024, 1, 3), "is a date"),
        ("speaker", 12345678901234567, "a number without its last digits"),
        ("speaker", True, "True is not text"),
        ("path", 5, "5 is not text"),
        ("votes_sad", "#N/A", "None is not a number"),
        ("votes_sad", None, "'' is not a number"),
    ],
)
def test_cells_of_a_spreadsheet_that_are_not_what_was_written(
    tmp_path: Path, refused, column: str, value, what: str, workbook
):
    head, row = ["path", "utterance_id", "speaker", "votes_sad"], ["a.wav", "u1", "s1", 2]
    row[head.index(column)] = value
    path = workbook(tmp_path / "m.xlsx", Clips=[head, row])
    refused(lambda: read_manifest(path), what, file=path, row=2, field=column, remedy=SKIP)


def test_no_manifest(tmp_path: Path, refused):
    path = tmp_path / "m.csv"
    refused(lambda: read_manifest(path), "does not exist", file=path, field="dataset.path", remedy="dataset.path")
    path.mkdir()
    refused(lambda: read_manifest(path), "this is a folder", file=path, field="dataset.path", remedy="dataset.path")


def test_home_of_nobody(write, refused):
    name, path = "~no-such-user/m.csv", write("m.csv", GOOD)
    error = refused(
        lambda: read_manifest(name),
        "does not exist",
        file=Path(name).absolute(),
        field="dataset.path",
        remedy="dataset.path",
    )
    assert "~no-such-user" in str(error)
    root = Path("~no-such-user").absolute()
    call = lambda: read_manifest(path, "~no-such-user")  # noqa: E731
    refused(call, "root folder does not exist", file=root, field="dataset.root", remedy="Check")


def test_no_root(write, tmp_path: Path, refused):
    path, root = write("m.csv", GOOD), tmp_path / "nowhere"
    call = lambda: read_manifest(path, root)  # noqa: E731
    refused(call, "root folder does not exist", file=root, field="dataset.root", remedy="Check")


def test_name(write):
    assert read_manifest(write("m.csv", GOOD), name="mine").card.name == "mine"


# -------------------------------------------------------------------------------------------------------------- Parquet


def test_damaged_parquet(table, refused):
    path = table("parquet", [{"path": "a.wav", "label": "sad"}])
    data = path.read_bytes()
    for content in (b"", b"PAR1", data[: len(data) // 2], data[:4] + bytes(len(data) - 8) + data[-4:]):
        path.write_bytes(content)
        refused(lambda: read_manifest(path), "the file cannot be read", file=path, remedy="Write it again")


def test_parquet_with_nulls(table, refused):
    path = table("parquet", [{"path": "a.wav", "votes_sad": 1}, {"path": "b.wav", "votes_sad": None}])
    refused(lambda: read_manifest(path), "None is not a number", file=path, row=2, field="votes_sad", remedy=SKIP)


def test_parquet_in_a_folder_that_looks_like_a_partition(tmp_path: Path):
    folder = tmp_path / "speaker=bob"
    folder.mkdir()
    pq.write_table(pa.table({"path": ["a.wav"], "label": ["sad"]}), folder / "m.parquet")
    assert only(read_manifest(folder / "m.parquet")).speaker is None


def test_parquet_columns_twice(tmp_path: Path, refused):
    path = tmp_path / "m.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["a.wav"])] * 2, names=["path", "path"]), path)
    refused(lambda: read_manifest(path), "'path' occurs twice", file=path, field="path", remedy="Write it again")


# ----------------------------------------------------------------------------------------------- paths stay in the root


def test_paths_inside_the_root(write, tmp_path: Path):
    path = write("m.csv", "path,label\nx/../a.wav,sad\n./b.wav,sad\n")
    assert [u.audio.resolve() for u in read_manifest(path).utterances] == [tmp_path / "a.wav", tmp_path / "b.wav"]


def test_a_neighbour_whose_name_begins_like_the_root(write, tmp_path: Path, refused):
    (tmp_path / "root").mkdir()
    path = write("m.csv", "path,label\n../root2/a.wav,sad\n")
    call = lambda: read_manifest(path, tmp_path / "root")  # noqa: E731
    refused(call, "leaves the root", file=path, row=2, field="path", remedy="dataset.root")


def test_links_that_leave_the_root(write, tmp_path: Path, refused):
    outside = tmp_path / "outside"
    root = tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (root / "inner").symlink_to(outside)
    (root / "a.wav").symlink_to(outside / "a.wav")
    for audio in ("inner/a.wav", "a.wav"):
        path = write("m.csv", f"path,label\n{audio},sad\n")
        call = lambda path=path: read_manifest(path, root)  # noqa: E731
        refused(call, "leaves the root", file=path, row=2, field="path", remedy="dataset.root")


def test_the_root_itself_may_be_a_link(write, tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.wav").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    utterance = only(read_manifest(write("m.csv", "path,label\na.wav,sad\n"), tmp_path / "link"))
    assert utterance.audio == tmp_path / "link" / "a.wav"
    assert utterance.audio.exists()


def test_sound_whose_name_differs_in_case(write, tmp_path: Path):
    for name in ("a.WAV", "b.wav", "B.wav", "c.flac"):
        (tmp_path / name).touch()
    path = write("m.csv", "path,label\na.wav,sad\nb.wav,sad\nB.wav,sad\nc.wav,sad\n./a.WAV,sad\n")
    corpus = read_manifest(path, on_error="skip")
    # Sound that was converted is found, if it is the only one of its name.
    assert [utterance.audio.name for utterance in corpus.utterances] == ["a.WAV", "b.wav", "B.wav", "c.flac"]
    # One file under two names is one clip.
    assert [(row.id, row.reason, row.row) for row in corpus.skipped] == [("./a.WAV", "duplicate_id", 6)]


@pytest.mark.parametrize("audio", ["", "  ", "a\\u0000.wav", "a\\n.wav"])
def test_paths_that_are_no_paths(write, refused, audio: str):
    path = write("m.jsonl", f'{{"path": "{audio}", "label": "sad"}}\n')
    refused(lambda: read_manifest(path), "", file=path, row=1, field="path", remedy=SKIP, reason="bad_row")


# ------------------------------------------------------------------------------------------------------------ any bytes


def corpus_or_error(path: Path, on_error: str) -> Corpus | InputError:
    try:
        return read_manifest(path, on_error=on_error)
    except InputError as error:
        return error


def check_outcome(path: Path, on_error: str) -> None:
    """A corpus whose votes are numbers and whose paths stay inside, or an error that names the manifest."""
    outcome = corpus_or_error(path, on_error)
    if isinstance(outcome, InputError):
        assert outcome.file == path
        assert outcome.remedy
        return
    assert outcome.utterances
    for utterance in outcome.utterances:
        assert all(0 <= count <= 1e9 for count in utterance.votes.values())
        assert utterance.audio.resolve().is_relative_to(path.parent)


CELL = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**25),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.sampled_from(["sad", None, 1]), max_size=3),
    st.dictionaries(st.sampled_from(["sad", "anger"]), st.integers(-1, 5), max_size=2),
)
KEY = st.sampled_from(
    ["path", "utterance_id", "votes", "votes_sad", "p_sad", "ratings", "label", "num_raters", "speaker"]
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(rows=st.lists(st.dictionaries(KEY, CELL, max_size=6), min_size=1, max_size=3), skip=st.booleans())
def test_any_values_in_jsonl(tmp_path_factory: pytest.TempPathFactory, rows: list[dict], skip: bool):
    path = tmp_path_factory.getbasetemp() / "values.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    check_outcome(path, "skip" if skip else "error")


# ----------------------------------------------------------------------------------------------- a small made-up corpus


def test_a_made_up_corpus(tmp_path: Path, six: LabelSet):
    made.write(tmp_path)
    corpus = read_manifest(tmp_path / "manifest.csv")
    first, second = corpus.utterances[:2]
    assert (first.votes, first.num_raters) == ({"anger": 3.0, "happy": 0.0, "sad": 1.0}, 4)
    assert (first.transcript, first.dialogue) == ("Oh, no!", 'A: It broke.\nB: "Again"?')
    assert (first.row, second.row, corpus.utterances[4].row) == (2, 4, 8)
    assert second.audio.name == "anna_2.WAV"
    config = compose(["dataset=manifest", f"dataset.path={tmp_path / 'manifest.csv'}"])
    prepared = prepare_run(read_dataset(config), read_corpus(read_dataset(config)), six)
    assert [item.utterance.id for item in prepared.items] == ["u1", "u2", "u3", "u5", "u6"]
    np.testing.assert_array_equal(prepared.items[0].target.votes, [3, 0, 0, 0, 0, 1])
    assert [(row.id, row.reason) for row in prepared.skipped] == [("u4", "no_votes")]


# --------------------------------------------------------------------------------------------------------------- import
