"""Emozionalmente: facts of clips and people, splits, ratings, parts that are missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from copies import emozionalmente as copy
from copies.labels import label_set

from emoprobe.data.corpora.emozionalmente import TOTALS, read_emozionalmente
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.utterance import Rating
from emoprobe.data.votes import soft_label
from emoprobe.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    copy.write(tmp_path / "corpus")
    return tmp_path / "corpus"


def test_a_clip(root: Path):
    clip = read_emozionalmente(root).utterances[0]
    assert (clip.id, clip.speaker, clip.split) == ("1613655062436", "ada", "train")
    assert clip.transcript == "Domani è un altro giorno"
    assert clip.audio == root / "audio" / "1613655062436.wav"
    assert clip.ratings[2] == Rating("rater3", ("sad",))
    assert [rating.rater for rating in clip.ratings] == [f"rater{number}" for number in range(1, 6)]
    assert clip.metadata == {
        "acted_emotion": "neutral",
        "audio_quality": 0.8,
        "gender": "f",
        "age": 30,
        "mother_tongue": "italian",
    }
    target = soft_label(clip, label_set("ekman7"), SoftLabelPolicy())
    # anger, disgust, fear, happy, neutral, sad, surprise
    np.testing.assert_allclose(target.distribution, [0, 0, 0, 0.2, 0.6, 0.2, 0])
    assert target.num_raters == 5


def test_what_is_optional(root: Path):
    whole = read_emozionalmente(root)
    shutil.rmtree(root / "metadata" / "split")
    assert {clip.split for clip in read_emozionalmente(root).utterances} == {None}
    (root / "metadata" / "users.csv").unlink()
    clips = read_emozionalmente(root).utterances
    assert {tuple(clip.metadata) for clip in clips} == {("acted_emotion", "audio_quality")}
    assert [clip.ratings for clip in clips] == [clip.ratings for clip in whole.utterances]


@pytest.mark.parametrize("inner", ["emozionalmente_dataset", "Emozionalmente"])
def test_the_folder_of_the_archive(root: Path, tmp_path: Path, inner: str):
    words = [clip.ratings for clip in read_emozionalmente(root).utterances]
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "__MACOSX").mkdir()
    root.rename(tmp_path / "outer" / inner)
    clips = read_emozionalmente(tmp_path / "outer").utterances
    assert [clip.ratings for clip in clips] == words
    assert clips[0].audio == tmp_path / "outer" / inner / "audio" / "1613655062436.wav"


def test_a_clip_in_two_splits(root: Path):
    file = root / "metadata" / "split" / "test.csv"
    file.write_text(file.read_text() + "1613655062437.wav,x,italian,ada,joy\n")
    with pytest.raises(InputError, match="clip '1613655062437' is in test too") as caught:
        read_emozionalmente(root)
    assert (caught.value.file, caught.value.row, caught.value.field) == (file.with_name("train.csv"), 3, "file_name")


def test_a_rater_who_rates_a_clip_again_counts_once(root: Path):
    file = root / copy.RATINGS
    file.write_text(file.read_text() + "1613655062436.wav,rater5,good,anger\n")
    clip = read_emozionalmente(root).utterances[0]
    assert len(clip.ratings) == 6
    assert soft_label(clip, label_set("ekman7"), SoftLabelPolicy()).num_raters == 5


def test_a_clip_without_ratings_stays_for_the_policy(root: Path):
    file = root / copy.RATINGS
    file.write_text("\n".join(row for row in file.read_text().splitlines() if "062437" not in row) + "\n")
    corpus = read_emozionalmente(root)
    assert (len(corpus.utterances), corpus.utterances[1].ratings) == (6, ())
    assert "audio_quality" not in corpus.utterances[1].metadata


def test_a_clip_that_is_left_out_takes_its_ratings_with_it(root: Path):
    file = root / copy.CLIPS
    file.write_text(file.read_text(encoding="utf-8").replace("ada,joy", "ada,bliss"), encoding="utf-8")
    corpus = read_emozionalmente(root, on_error="skip")
    assert [(row.id, row.row) for row in corpus.skipped] == [("1613655062437", 3)]
    assert len(corpus.utterances) == 5


def test_totals_count_actors_raters_and_acted_clips(root: Path):
    corpus = read_emozionalmente(root)
    counts = {total.what: total.count(corpus) for total in TOTALS}
    assert (counts["clips"], counts["actors"], counts["raters"]) == (6, 5, 5)
    assert [counts[f"clips acted as {word}"] for word in ("anger", "disgust", "happy")] == [1, 0, 1]
    assert {total.what: total.expected for total in TOTALS}["clips acted as sad"] == 986
