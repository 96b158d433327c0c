"""Dusha: single votes of annotators in TSV and JSONL, read from a made-up copy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from copies import dusha as copy
from copies.labels import label_set

from emoprobe.data.corpora.dusha import COLUMNS, read_dusha
from emoprobe.data.utterance import Rating
from emoprobe.errors import InputError
from emoprobe.recipes.inputs import prepare_run, read_corpus
from emoprobe.recipes.settings import read_dataset
from emoprobe.settings import compose

ROW = "Restore the file from the corpus, or leave the row out: dataset.on_error=skip"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    copy.write(tmp_path)
    return tmp_path


def rewrite(root: Path, old: str, new: str, file: str = copy.TRAIN) -> Path:
    text = (root / file).read_text(encoding="utf-8")
    assert old in text
    (root / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    return root / file


def by_id(corpus) -> dict:
    return {utterance.id: utterance for utterance in corpus.utterances}


# -------------------------------------------------------------------------------------------------------------- reading


def test_a_clip_whose_rows_stand_apart(root: Path):
    clip = by_id(read_dusha(root))["a1"]
    assert clip.ratings == (Rating("w1", ("anger",)), Rating("w2", ("neutral",)), Rating("w3", ("anger",)))
    assert (clip.votes, clip.num_raters) == ({}, None)
    assert (clip.speaker, clip.split, clip.transcript) == ("s1", "train", 'он сказал "нет')
    assert clip.audio == root / "crowd_train/wavs/a1.wav"
    assert clip.metadata == {"domain": "crowd", "duration": 2.5, "source": "s1", "acted_emotion": "anger"}
    assert (clip.file, clip.row) == (root / copy.TRAIN, 2)


def test_unknown_annotators_are_never_the_same_person(root: Path):
    clip = by_id(read_dusha(root))["b2"]
    # w1 voted twice, which the policy decides on.
    assert [rating.rater for rating in clip.ratings] == ["w1", "w1", "b2#3", "b2#4"]
    assert [rating.labels for rating in clip.ratings] == [("happy",), ("happy",), ("sad",), ("sad",)]
    assert clip.metadata["golden"] == "happy"


@pytest.mark.parametrize("nobody", ["nan", "None", "NULL"])
def test_annotators_and_facts_that_spell_unknown(root: Path, nobody: str):
    table = root / copy.TRAIN
    extra = [copy.vote("h8", "sad", nobody, nobody, said=nobody, acted=nobody, golden=nobody)] * 2
    table.write_text(table.read_text() + copy.tsv(tuple(extra)).partition("\n")[2])
    clip = by_id(read_dusha(root))["h8"]
    assert [rating.rater for rating in clip.ratings] == ["h8#1", "h8#2"]
    assert (clip.speaker, clip.transcript, clip.metadata) == (None, None, {"domain": "crowd", "duration": 2.5})


def test_a_podcast_in_jsonl(root: Path):
    clip = by_id(read_dusha(root))["g7"]
    assert clip.ratings == (Rating("w1", ("neutral",)), Rating("w9", ("happy",)))
    assert clip.speaker is None
    assert clip.metadata == {"domain": "podcast", "duration": 3.25, "source": "17"}
    assert clip.transcript is None


def test_a_row_without_a_vote(root: Path):
    rewrite(root, "2.5\tneutral\t\t\tneutral\ts1\tw4", "2.5\t\t\t\tneutral\ts1\tw4")
    assert by_id(read_dusha(root))["d4"].ratings == ()


def test_tsv_goes_before_jsonl(root: Path):
    (root / "crowd_train/raw_crowd_train.jsonl").write_text(copy.jsonl(copy.CROWD_TRAIN[:1]))
    assert len(by_id(read_dusha(root))["a1"].ratings) == 3


def test_the_same_in_both_forms(root: Path):
    expected = [(u.id, u.ratings, u.metadata, u.transcript) for u in read_dusha(root, "crowd_train").utterances]
    (root / copy.TRAIN).unlink()
    (root / "crowd_train/raw_crowd_train.jsonl").write_text(copy.jsonl(copy.CROWD_TRAIN))
    found = read_dusha(root, "crowd_train").utterances
    assert [(u.id, u.ratings, u.metadata, u.transcript) for u in found] == expected


@pytest.mark.parametrize("folder", [".", "crowd/crowd_train"])
def test_other_layouts(tmp_path: Path, folder: str):
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / "RAW_crowd_train.TSV").write_text(copy.tsv(copy.CROWD_TRAIN), encoding="utf-8")
    assert len(read_dusha(tmp_path).utterances) == 4


@pytest.mark.parametrize(
    ("subsets", "count"), [(None, 7), ("crowd_test", 2), (["CROWD_TRAIN", "podcast_train"], 5), (("crowd_train",), 4)]
)
def test_subsets(root: Path, subsets, count: int):
    assert len(read_dusha(root, subsets).utterances) == count


def test_numbers_of_all_kinds_as_ids(root: Path):
    row = {**copy.vote("h8", "sad", "", ""), "annotator_id": 12, "source_id": 3.5, "duration": 2, "speaker_text": None}
    (root / copy.PODCAST).write_text(copy.jsonl((row,)))
    clip = by_id(read_dusha(root, "podcast_train"))["h8"]
    assert (clip.ratings, clip.metadata["source"], clip.metadata["duration"]) == ((Rating("12", ("sad",)),), "3.5", 2.0)


# ---------------------------------------------------------------------------------------------------------------- sound


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "what", "field", "remedy"),
    [
        ({"subsets": ["crowd_dev"]}, "there is no table of 'crowd_dev'", "dataset.subsets", "Use some of crowd_test"),
        ({"subsets": []}, "no subset is chosen", "dataset.subsets", "or null"),
    ],
)
def test_options(root: Path, options: dict, what: str, field: str, remedy: str):
    with pytest.raises(InputError) as caught:
        read_dusha(root, **options)
    assert what in caught.value.what
    assert (caught.value.field, remedy in caught.value.remedy) == (field, True)


def test_a_table_that_is_there_twice(root: Path, refused):
    shutil.copytree(root / "crowd_train", root / "old/crowd_train")
    refused(
        lambda: read_dusha(root),
        "is there twice",
        file=root / "old" / copy.TRAIN,
        field="dataset.root",
        remedy="or remove the other",
    )


def test_rows_of_a_clip_that_disagree(root: Path, refused):
    text = (root / copy.TRAIN).read_text(encoding="utf-8").splitlines()
    text[4] = text[4].replace("wavs/a1.wav", "wavs/a2.wav")
    (root / copy.TRAIN).write_text("\n".join(text), encoding="utf-8")
    refused(
        lambda: read_dusha(root),
        "the path 'wavs/a2.wav' of clip 'a1' is 'wavs/a1.wav' in row 2",
        file=root / copy.TRAIN,
        row=5,
        field="audio_path",
        remedy=ROW,
    )


def test_a_clip_of_two_tables(root: Path, refused):
    file = rewrite(root, "d4\t", "e5\t")
    refused(
        lambda: read_dusha(root),
        "clip 'e5' is in raw_crowd_test.tsv too",
        file=file,
        row=11,
        field="hash_id",
        remedy=ROW,
        reason="duplicate_id",
    )


def test_empty_tables(root: Path, refused):
    (root / copy.TRAIN).write_text("")
    refused(lambda: read_dusha(root), "the file is empty", file=root / copy.TRAIN, remedy="Restore")
    (root / copy.TRAIN).write_text("\t".join(COLUMNS))
    what = "no usable utterance"
    refused(lambda: read_dusha(root, "crowd_train"), what, file=root / copy.TRAIN, remedy="Restore")


@pytest.mark.parametrize(
    ("value", "what", "field"),
    [
        ("{", "not a JSON object", None),
        ({"audio_path": "wavs/x.wav", "annotator_emo": "sad"}, "the field is empty", "hash_id"),
        ({**copy.vote("x", "sad", "w", "s"), "annotator_emo": ["sad"]}, "['sad'] is not text", "annotator_emo"),
        ({**copy.vote("x", "sad", "w", "s"), "source_id": True}, "True is not text", "source_id"),
        ({**copy.vote("x", "sad", "w", "s"), "duration": 10**400}, "'?' is not a number of seconds", "duration"),
        ({**copy.vote("x", "sad", "w", "s"), "duration": float("inf")}, "'?' is not a number", "duration"),
    ],
)
def test_bad_json_rows(root: Path, refused, value: object, what: str, field: str | None):
    file = root / copy.PODCAST
    file.write_text((value if isinstance(value, str) else json.dumps(value)) + "\n" + copy.jsonl(copy.PODCASTS))
    refused(lambda: read_dusha(root), what, file=file, row=1, field=field, remedy=ROW)
    assert len(read_dusha(root, on_error="skip").utterances) == 7


# ----------------------------------------------------------------------------------------------------------------- runs


def test_a_run(root: Path):
    config = compose(["dataset=dusha", f"dataset.root={root}", "labels=basic4"])
    corpus = read_corpus(read_dataset(config))
    prepared = prepare_run(read_dataset(config), corpus, label_set("basic4"))
    # anger, happy, neutral, sad
    shares = {item.utterance.id: list(item.target.distribution) for item in prepared.items}
    assert shares["a1"] == pytest.approx([2 / 3, 0, 1 / 3, 0])
    assert shares["b2"] == pytest.approx([0, 1 / 3, 0, 2 / 3])  # of w1's two votes the first counts
    assert shares["c3"] == [0, 0, 0, 1]  # other is dropped
    assert len(shares) == 7


def test_control_questions_can_be_left_out(root: Path):
    config = compose(["dataset=dusha", f"dataset.root={root}", "labels=basic4", "+dataset.keep.golden=none"])
    prepared = prepare_run(read_dataset(config), read_corpus(read_dataset(config)), label_set("basic4"))
    assert "b2" not in {item.utterance.id for item in prepared.items}
    assert len(prepared.items) == 6
