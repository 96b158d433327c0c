"""Splits whose parts share no rater."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emoprobe.data.corpora.demo import read_demo
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.prepare import Item, prepare
from emoprobe.data.rater_split import divide_raters, rater_groups
from emoprobe.data.split_policy import PARTS, SplitPolicy
from emoprobe.data.splits import split_items
from emoprobe.data.utterance import Corpus, CorpusCard, Rating, Utterance
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet

POLICY = SoftLabelPolicy()
CARD = CorpusCard("toy", "Toy", True, "CC0", "none", "none", "none")


@pytest.fixture
def items(six: LabelSet) -> tuple[Item, ...]:
    return prepare(read_demo(), six, POLICY).items


def toy(six: LabelSet, *ratings: tuple[Rating, ...], **facts: object) -> tuple[Item, ...]:
    clips = [
        Utterance(f"u{i}", Path(f"u{i}.wav"), ratings=given, speaker=f"s{i}", **facts)
        for i, given in enumerate(ratings)
    ]
    return prepare(Corpus(CARD, tuple(clips)), six, POLICY, missing_audio="ignore").items


def test_no_rater_of_the_test_part_is_in_another_and_every_rating_is_tested_once(items, six):
    policy = SplitPolicy(folds=4, rater_folds=4)
    groups = rater_groups(items, six, POLICY, policy)
    assert len(groups) == 4
    assert sum(map(len, groups)) == len(set().union(*groups)) == 24
    sizes = [sum(rating.rater in group for item in items for rating in item.utterance.ratings) for group in groups]
    assert max(sizes) < 1.1 * min(sizes)
    for fold in range(4):
        whole = split_items(items, replace(policy, fold=fold))
        divided = divide_raters(whole, groups, six, POLICY)
        heard = {
            part: {rating.rater for item in getattr(divided, part) for rating in item.utterance.ratings}
            for part in PARTS
        }
        assert heard["test"] == groups[fold]
        assert heard["train"] == heard["development"] == set().union(*groups) - groups[fold]
        of = {item.utterance.id: item for item in whole.test}
        for item in divided.test:
            before = of[item.utterance.id]
            said = [rating for rating in before.utterance.ratings if rating.rater in groups[fold]]
            votes = [
                sum(six.resolve(word) == label for rating in said for word in rating.labels) for label in six.labels
            ]
            np.testing.assert_array_equal(item.target.votes, votes)
            assert item.target.num_raters == len(said) > 0
        assert len(divided.train) == len(whole.train)  # three quarters of eight raters are always some
        assert divided.fold == fold
    assert rater_groups(items[::-1], six, POLICY, policy) == groups
    assert rater_groups(items, six, POLICY, replace(policy, seed=1)) != groups


def test_more_folds_than_groups_begin_anew(items, six):
    policy = SplitPolicy(kind="leave_one_out", rater_folds=2, fold=3)
    groups = rater_groups(items, six, POLICY, policy)
    test = divide_raters(split_items(items, policy), groups, six, POLICY).test
    assert {rating.rater for item in test for rating in item.utterance.ratings} <= groups[1]


def test_clips_that_nobody_of_a_part_has_rated_are_in_none(six):
    words = ("happy", "sad", "fear")
    both = [(Rating("a", (word,)), Rating("b", (word,))) for word in words]
    alone = [(Rating(rater, (word,)),) for rater in "ab" for word in words]
    items = toy(six, *both, *alone)
    whole = split_items(items, SplitPolicy(folds=3, rater_folds=2))
    divided = divide_raters(whole, [{"a"}, {"b"}], six, POLICY)
    for part, rater in (("train", "b"), ("development", "b"), ("test", "a")):
        rated = [
            item.utterance.id for item in getattr(whole, part) if rater in {r.rater for r in item.utterance.ratings}
        ]
        assert [item.utterance.id for item in getattr(divided, part)] == rated
    with pytest.raises(InputError, match="the test part of fold0 was rated by"):
        divide_raters(whole, [{"c"}, {"a", "b"}], six, POLICY)


@pytest.mark.parametrize(
    ("ratings", "facts", "message"),
    [
        ([(), (Rating("a", ("sad",)),)], {"votes": {"happy": 2}}, "nobody knows whose they are"),
        ([(Rating("u0#1", ("sad",)),), (Rating("u1#1", ("sad",)),)], {}, "no rater has rated two clips"),
        ([(Rating("a", ("sad",)), Rating("b", ("sad",)))] * 2, {}, "3 groups of raters are asked for, and there are 2"),
    ],
)
def test_raters_that_cannot_be_kept_apart_are_refused(six, ratings, facts, message):
    with pytest.raises(InputError, match=message) as caught:
        rater_groups(toy(six, *ratings, **facts), six, POLICY, SplitPolicy(rater_folds=3))
    assert caught.value.field == "dataset.partition.rater_folds"
    assert caught.value.remedy


def test_one_group_is_none():
    with pytest.raises(InputError, match="leaves nobody for training"):
        SplitPolicy(rater_folds=1)
    assert SplitPolicy().hash == SplitPolicy(rater_folds=0).hash != SplitPolicy(rater_folds=2).hash
    assert "raters in 2 groups" in SplitPolicy(rater_folds=2).name
