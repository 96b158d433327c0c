"""Votes: soft labels under a policy, ambiguity, and what a run works on."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.prepare import prepare
from emoprobe.data.scales import on_points
from emoprobe.data.utterance import Corpus, CorpusCard, Rating, Skipped, Utterance
from emoprobe.data.votes import VoteError, ambiguity, rater_votes, soft_label
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet, Scale

CARD = CorpusCard("toy", "Toy", True, "CC0", "none", "none", "none")
TABLE = Path("/corpus/votes.csv")


def utterance(votes: dict, number: int = 1, **options) -> Utterance:
    audio = options.pop("audio", Path(f"/corpus/u{number}.wav"))
    raters = options.pop("num_raters", 5)
    return Utterance(f"u{number}", audio, votes, num_raters=raters, file=TABLE, row=number + 1, **options)


def corpus(*utterances: Utterance, skipped: tuple[Skipped, ...] = ()) -> Corpus:
    return Corpus(CARD, utterances, skipped)


def words_label_set(*labels: str) -> LabelSet:
    return LabelSet("words", labels, {label: {"noun": (label,)} for label in labels})


# --------------------------------------------------------------------------------------------------------- soft label


def test_relative_frequency(six: LabelSet):
    target = soft_label(utterance({"anger": 1, "sad": 3, "neutral": 1}), six, SoftLabelPolicy())
    np.testing.assert_array_equal(target.votes, [1, 0, 0, 0, 1, 3])
    np.testing.assert_allclose(target.distribution, [0.2, 0, 0, 0, 0.2, 0.6])
    assert target.votes.dtype == target.distribution.dtype == np.float64
    assert (target.num_raters, target.outside_votes) == (5, 0)


def test_smoothing_by_hand(six: LabelSet):
    # 0.9 * (3/4, 1/4, 0, ...) + 0.1 / 6
    target = soft_label(utterance({"anger": 3, "disgust": 1}), six, SoftLabelPolicy(smoothing=0.1))
    share = 0.1 / 6
    np.testing.assert_allclose(target.distribution, [0.675 + share, 0.225 + share, share, share, share, share])
    np.testing.assert_array_equal(target.votes, [3, 1, 0, 0, 0, 0])


def test_words_are_found_by_alias_and_without_case(six: LabelSet):
    target = soft_label(utterance({"Angry": 1, "ANGER": 2, " sad ": 1}), six, SoftLabelPolicy())
    np.testing.assert_array_equal(target.votes, [3, 0, 0, 0, 0, 1])


def test_merging_comes_before_the_label_sets_own_words(six: LabelSet):
    policy = SoftLabelPolicy(merge={"Excited": "happiness", "fear": "sad"})
    target = soft_label(utterance({"excited": 2, "happy": 1, "fear": 2}), six, policy)
    np.testing.assert_array_equal(target.votes, [0, 0, 0, 3, 0, 2])
    assert target.outside_votes == 0


def test_shares_stay_shares(six: LabelSet):
    target = soft_label(utterance({"anger": 0.2505, "sad": 0.75}, num_raters=None), six, SoftLabelPolicy(min_raters=9))
    assert target.num_raters is None
    assert target.distribution.sum() == pytest.approx(1, abs=1e-15)
    np.testing.assert_array_equal(target.votes, [0.2505, 0, 0, 0, 0, 0.75])


def test_outside_drop(six: LabelSet):
    target = soft_label(utterance({"anger": 1, "sad": 1, "bored": 3}), six, SoftLabelPolicy(outside="drop"))
    np.testing.assert_allclose(target.distribution, [0.5, 0, 0, 0, 0, 0.5])
    assert target.outside_votes == 3


def test_outside_other():
    labels = words_label_set("anger", "other")
    policy = SoftLabelPolicy(outside="other", min_raters=5)
    target = soft_label(utterance({"anger": 1, "bored": 2, "proud": 1, "other": 1}), labels, policy)
    np.testing.assert_allclose(target.distribution, [0.2, 0.8])
    assert target.outside_votes == 3


def test_outside_other_needs_that_label(six: LabelSet, refused):
    policy = SoftLabelPolicy(outside="other")
    error = refused(
        lambda: soft_label(utterance({"bored": 1}), six, policy),
        "'other', which is not a label",
        file=None,
        field="dataset.soft_label.outside",
        remedy="Add the label other",
    )
    assert not isinstance(error, VoteError)  # the policy is wrong, not this utterance


@pytest.mark.parametrize("outside", ["error", "drop_clip"])
def test_outside_word_is_named_with_file_row_and_remedy(six: LabelSet, refused, outside: str):
    error = refused(
        lambda: soft_label(utterance({"anger": 4, "bored": 1}, 7), six, SoftLabelPolicy(outside=outside)),
        "a vote for 'bored'",
        file=TABLE,
        row=8,
        field="votes",
        remedy="++dataset.soft_label.merge.bored=LABEL",
        reason="outside_label_set",
    )
    assert "dataset.soft_label.outside=drop" in error.remedy
    assert "u7" in error.what


def test_a_word_that_nobody_chose_is_not_outside(six: LabelSet):
    assert soft_label(utterance({"anger": 4, "bored": 0}), six, SoftLabelPolicy()).outside_votes == 0


def test_merging_into_no_label(six: LabelSet, refused):
    policy = SoftLabelPolicy(merge={"excited": "hapy"})
    call = [lambda: soft_label(utterance({"excited": 1}), six, policy)]
    call.append(lambda: prepare(corpus(utterance({"anger": 1})), six, policy, missing_audio="ignore"))
    for each in call:
        refused(each, "'hapy', which is not a label", file=None, field="dataset.soft_label.merge", remedy="anger, disg")


@pytest.mark.parametrize(
    "count", [-1, -0.5, math.nan, math.inf, -math.inf, 10**400, "3", None, True, [1], 1 + 1j, np.bool_(True)]
)
def test_bad_votes(six: LabelSet, refused, count: object):
    refused(
        lambda: soft_label(utterance({"anger": count, "sad": 1}), six, SoftLabelPolicy()),
        f"{count!r} for 'anger' is not a number of votes",
        file=TABLE,
        row=2,
        field="votes",
        remedy="dataset.on_error=skip",
        reason="bad_votes",
    )


@pytest.mark.parametrize("votes", [{}, {"anger": 0, "sad": 0.0}, {"bored": 2}])
def test_no_votes(six: LabelSet, refused, votes: dict):
    refused(
        lambda: soft_label(utterance(votes), six, SoftLabelPolicy(outside="drop")),
        "no votes for any label",
        file=TABLE,
        row=2,
        field="votes",
        remedy="dataset.soft_label.no_votes=skip",
        reason="no_votes",
    )


def test_too_few_raters_counts_those_inside_the_label_set(six: LabelSet, refused):
    policy = SoftLabelPolicy(outside="drop", min_raters=3)
    assert soft_label(utterance({"anger": 3, "bored": 2}), six, policy).votes.sum() == 3
    refused(
        lambda: soft_label(utterance({"anger": 2, "bored": 3}), six, policy),
        "2 raters chose a label of the set, and 3 are needed",
        file=TABLE,
        row=2,
        field="votes",
        remedy="Lower dataset.soft_label.min_raters",
        reason="too_few_raters",
    )


def test_too_few_raters_of_shares_with_a_known_number_of_raters(six: LabelSet):
    shares = utterance({"anger": 0.3, "sad": 0.3, "bored": 0.4}, num_raters=10)
    soft_label(shares, six, SoftLabelPolicy(outside="drop", min_raters=6))
    with pytest.raises(VoteError, match="6 raters"):
        soft_label(shares, six, SoftLabelPolicy(outside="drop", min_raters=7))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(counts=st.lists(st.integers(0, 50), min_size=6, max_size=6), smoothing=st.floats(0, 0.99))
def test_always_a_distribution(six: LabelSet, counts: list[int], smoothing: float):
    votes = dict(zip(six.labels, counts, strict=True))
    if not any(counts):
        with pytest.raises(VoteError):
            soft_label(utterance(votes), six, SoftLabelPolicy(smoothing=smoothing))
        return
    p = soft_label(utterance(votes, num_raters=sum(counts)), six, SoftLabelPolicy(smoothing=smoothing)).distribution
    assert p.sum() == pytest.approx(1, abs=1e-12)
    assert (p >= 0).all()
    # Smoothing keeps the order of the labels.
    assert (np.diff(p[np.argsort(counts)]) >= -1e-15).all()


# -------------------------------------------------------------------------------------------------------------- policy


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"smoothing": 1.0}, "smoothing"),
        ({"smoothing": -0.1}, "smoothing"),
        ({"smoothing": math.nan}, "smoothing"),
        ({"smoothing": "0.1"}, "smoothing"),
        ({"smoothing": True}, "smoothing"),
        ({"outside": "ignore"}, "outside"),
        ({"no_votes": "drop"}, "no_votes"),
        ({"min_raters": 0}, "min_raters"),
        ({"min_raters": 2.5}, "min_raters"),
        ({"min_raters": None}, "min_raters"),
        ({"merge": {"Excited": "happy", "excited": "sad"}}, "merge"),
        ({"several": "both"}, "several"),
        ({"secondary": 1.5}, "secondary"),
        ({"secondary": math.nan}, "secondary"),
        ({"self_reports": "no"}, "self_reports"),
        ({"repeated_raters": "mean"}, "repeated_raters"),
        ({"agreement": "none"}, "agreement"),
        ({"min_entropy": -1}, "min_entropy"),
        ({"min_entropy": None}, "min_entropy"),
        ({"max_entropy": "1"}, "max_entropy"),
    ],
)
def test_wrong_policy(options: dict, field: str):
    with pytest.raises(InputError) as caught:
        SoftLabelPolicy(**options)
    assert caught.value.field == f"dataset.soft_label.{field}"


def test_hash_names_the_policy_and_nothing_else():
    # Stored results are found again by this value, so it must never change for the same policy.
    assert SoftLabelPolicy().hash == "a92eb102002fb4dc"
    same = [
        SoftLabelPolicy(merge={"a": "sad", "b": "happy"}),
        SoftLabelPolicy(smoothing=0, merge={"B": "happy", "A": "sad"}),
    ]
    assert len({policy.hash for policy in same}) == 1
    different = [
        SoftLabelPolicy(),
        SoftLabelPolicy(several="each"),
        SoftLabelPolicy(secondary=0.5),
        SoftLabelPolicy(self_reports=True),
        SoftLabelPolicy(repeated_raters="last"),
        SoftLabelPolicy(agreement="tied"),
        SoftLabelPolicy(min_entropy=1.0),
        SoftLabelPolicy(max_entropy=1.0),
        SoftLabelPolicy(smoothing=0.1),
        SoftLabelPolicy(merge={"a": "sad"}),
        *(SoftLabelPolicy(outside=outside) for outside in ("drop", "other", "drop_clip")),
        SoftLabelPolicy(no_votes="skip"),
        SoftLabelPolicy(min_raters=2),
    ]
    assert len({policy.hash for policy in different}) == len(different)


def test_name_says_what_is_done():
    name = SoftLabelPolicy(smoothing=0.05, merge={"excited": "happy"}, outside="drop", min_raters=3).name
    for part in ("relative frequency", "0.05", "excited counts as happy", "drop", "at least 3 raters"):
        assert part in name


# ----------------------------------------------------------------------------------------------------------- ambiguity


def test_ambiguity_is_entropy_in_bits():
    rows = np.random.default_rng(0).dirichlet(np.full(6, 0.3), size=50)
    rows[0] = [1, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(ambiguity(rows), scipy.stats.entropy(rows, base=2, axis=1), atol=1e-12)
    assert ambiguity(rows).shape == (50,)


@pytest.mark.parametrize(
    ("distribution", "bits"),
    [([1, 0, 0], 0.0), ([0.5, 0.5], 1.0), ([0.25] * 4, 2.0), ([0.8, 0.2], 0.7219280948873623)],
)
def test_ambiguity_by_hand(distribution: list[float], bits: float):
    value = ambiguity(np.array(distribution))
    assert isinstance(value, float)
    assert value == pytest.approx(bits, abs=1e-15)
    assert math.copysign(1, value) == 1


# ------------------------------------------------------------------------------------------------------------- prepare


@pytest.fixture
def sounds(tmp_path: Path) -> list[Path]:
    """Sound files u1 to u6, of which 2, 3 and 5 do not exist."""
    files = [tmp_path / f"u{number}.wav" for number in range(1, 7)]
    for number in (1, 4, 6):
        files[number - 1].touch()
    return files


def make(number: int, votes: dict | None = None, **options) -> Utterance:
    return utterance({"anger": 1} if votes is None else votes, number, **options)


def ids(items) -> list[str]:
    return [item.utterance.id for item in items]


def test_everything_in_order(six: LabelSet):
    for split in (None, "all"):
        chosen = corpus(make(2, split="test"), make(1, split="train"), make(3))
        prepared = prepare(chosen, six, SoftLabelPolicy(), split=split, missing_audio="ignore")
        assert ids(prepared.items) == ["u2", "u1", "u3"]
        assert (prepared.others, prepared.skipped) == ((), ())


def test_a_split_with_the_training_split_beside_it(six: LabelSet):
    splits = ["train", "test", "development", "train", "test", None]
    chosen = corpus(*(make(number, split=split) for number, split in enumerate(splits)))
    prepared = prepare(chosen, six, SoftLabelPolicy(), split="test", missing_audio="ignore")
    assert ids(prepared.items) == ["u1", "u4"]
    assert ids(prepared.others) == ["u0", "u3"]
    prepared = prepare(chosen, six, SoftLabelPolicy(), split="train", missing_audio="ignore")
    assert ids(prepared.items) == ["u0", "u3"]
    assert prepared.others == ()


def test_training_votes_that_cannot_be_used_are_not_passed_over(six: LabelSet):
    chosen = corpus(make(1, split="test"), make(2, {"bored": 1}, split="train"), make(3, split="train"))
    with pytest.raises(VoteError, match="bored"):
        prepare(chosen, six, SoftLabelPolicy(), split="test", missing_audio="ignore")
    policy = SoftLabelPolicy(outside="drop_clip")
    prepared = prepare(chosen, six, policy, split="test", missing_audio="ignore")
    assert ids(prepared.others) == ["u3"]
    assert prepared.skipped == ()


def test_the_training_split_in_another_case_is_the_prior_too(six: LabelSet):
    chosen = corpus(make(1, split="Test"), make(2, split="Train"), make(3, split="TRAIN"))
    prepared = prepare(chosen, six, SoftLabelPolicy(), split="test", missing_audio="ignore")
    assert ids(prepared.others) == ["u2", "u3"]
    assert prepare(chosen, six, SoftLabelPolicy(), split="TRAIN", missing_audio="ignore").others == ()


# --------------------------------------------------------------------------------- votes that were counted by others


@pytest.mark.parametrize("votes", [{"anger": 3, "sad": 3}, {"anger": 3, "bored": 3}])
def test_more_votes_than_raters(six: LabelSet, refused, votes: dict):
    clip = utterance(votes)
    call = lambda: soft_label(clip, six, SoftLabelPolicy(outside="drop"))  # noqa: E731
    remedy = "dataset.soft_label.several=each"
    refused(call, "6 votes of 5 raters", file=TABLE, row=2, field="votes", remedy=remedy, reason="bad_votes")
    assert soft_label(clip, six, SoftLabelPolicy(outside="drop", several="each")).num_raters == 5


def test_raters_who_chose_nothing_are_not_enough_raters(six: LabelSet):
    clip = utterance({"anger": 2, "sad": 1})  # of five raters
    assert soft_label(clip, six, SoftLabelPolicy(min_raters=3)).num_raters == 5
    with pytest.raises(VoteError, match="3 raters chose a label of the set, and 4 are needed"):
        soft_label(clip, six, SoftLabelPolicy(min_raters=4))


def test_a_policy_that_published_votes_do_not_follow(six: LabelSet, refused):
    counted = {"self_reports": True, "several": "each"}
    clip = utterance({"anger": 0.5, "sad": 0.5}, num_raters=None, counted=counted)
    for policy in (SoftLabelPolicy(), SoftLabelPolicy(self_reports=True), SoftLabelPolicy(several="each")):
        error = refused(
            lambda policy=policy: soft_label(clip, six, policy),
            "counted with self_reports=true, several=each, which cannot be undone",
            file=TABLE,
            row=2,
            field="dataset.soft_label.self_reports",
            remedy="dataset.soft_label.self_reports=true dataset.soft_label.several=each",
        )
        assert not isinstance(error, VoteError)  # leaving out the clip does not help
    policy = SoftLabelPolicy(**counted)
    np.testing.assert_array_equal(soft_label(clip, six, policy).votes, [0.5, 0, 0, 0, 0, 0.5])
    assert "self-reports count" in policy.name


def test_words_of_a_known_corpus_may_share_a_label(six: LabelSet):
    votes = {"anger": 1, "angry": 1, "sad": 1}
    with pytest.raises(InputError, match="are both the label 'anger'"):
        prepare(corpus(utterance(votes)), six, SoftLabelPolicy(), missing_audio="ignore")
    known = Corpus(replace(CARD, words=tuple(votes)), (utterance(votes),))
    (item,) = prepare(known, six, SoftLabelPolicy(), missing_audio="ignore").items
    np.testing.assert_array_equal(item.target.votes, [2, 0, 0, 0, 0, 1])


def test_unknown_split(six: LabelSet, refused):
    chosen = corpus(make(1, split="train"), make(2, split="test"), make(3))
    refused(
        lambda: prepare(chosen, six, SoftLabelPolicy(), split="dev"),
        "no split 'dev'; it has test, train",
        file=None,
        field="dataset.split",
        remedy="all, test, train",
    )


def test_missing_audio_is_counted_and_named(six: LabelSet, sounds: list[Path], refused):
    chosen = corpus(*(make(number, audio=sounds[number - 1]) for number in range(1, 7)))
    error = refused(
        lambda: prepare(chosen, six, SoftLabelPolicy()),
        "the sound of 3 of 6 utterances is missing (u2.wav, u3.wav, u5.wav)",
        file=sounds[1],
        field="dataset.missing_audio",
        remedy="dataset.missing_audio=skip",
    )
    assert isinstance(error, InputError)


def test_missing_audio_names_only_the_first_few(six: LabelSet, tmp_path: Path):
    chosen = corpus(*(make(number, audio=tmp_path / f"u{number}.wav") for number in range(500)))
    with pytest.raises(InputError, match=r"500 of 500 utterances is missing \(u0.wav, u1.wav, u2.wav, \.\.\.\)"):
        prepare(chosen, six, SoftLabelPolicy())


def test_missing_audio_skip(six: LabelSet, sounds: list[Path]):
    chosen = corpus(*(make(number, audio=sounds[number - 1]) for number in range(1, 7)))
    prepared = prepare(chosen, six, SoftLabelPolicy(), missing_audio="skip")
    assert ids(prepared.items) == ["u1", "u4", "u6"]
    assert [(row.id, row.reason, row.file) for row in prepared.skipped] == [
        (f"u{number}", "missing_audio", str(sounds[number - 1])) for number in (2, 3, 5)
    ]


def test_missing_audio_ignore(six: LabelSet, sounds: list[Path]):
    chosen = corpus(*(make(number, audio=sounds[number - 1]) for number in range(1, 7)))
    assert len(prepare(chosen, six, SoftLabelPolicy(), missing_audio="ignore").items) == 6


def test_bad_votes_stop_the_run_or_are_listed(six: LabelSet):
    chosen = corpus(make(1), make(2, {"anger": -1}), make(3, {"bored": 1}), make(4, {}))
    for policy in (SoftLabelPolicy(), SoftLabelPolicy(no_votes="skip", outside="drop_clip")):
        with pytest.raises(VoteError, match="u2"):
            prepare(chosen, six, policy, missing_audio="ignore")
    prepared = prepare(chosen, six, SoftLabelPolicy(), missing_audio="ignore", on_error="skip")
    assert ids(prepared.items) == ["u1"]
    assert [(row.id, row.reason, row.row) for row in prepared.skipped] == [
        ("u2", "bad_votes", 3),
        ("u3", "outside_label_set", 4),
        ("u4", "no_votes", 5),
    ]
    assert all(row.file == str(TABLE) and row.id in row.message for row in prepared.skipped)


def test_what_the_policy_leaves_out_is_listed_without_on_error(six: LabelSet):
    chosen = corpus(make(1, {"anger": 4}), make(2, {}), make(3, {"anger": 4, "bored": 1}), make(4, {"anger": 1}))
    policy = SoftLabelPolicy(no_votes="skip", outside="drop_clip", min_raters=2)
    prepared = prepare(
        replace(chosen, utterances=tuple(replace(u, num_raters=int(sum(u.votes.values()))) for u in chosen.utterances)),
        six,
        policy,
        missing_audio="ignore",
    )
    assert ids(prepared.items) == ["u1"]
    assert [row.reason for row in prepared.skipped] == ["no_votes", "outside_label_set", "too_few_raters"]
    with pytest.raises(VoteError, match="no votes"):
        prepare(chosen, six, replace(policy, no_votes="error"), missing_audio="ignore")


def test_what_the_reader_skipped_stays_listed(six: LabelSet):
    row = Skipped("x", "bad_row", "ragged", "votes.csv", 9)
    prepared = prepare(corpus(make(1), skipped=(row,)), six, SoftLabelPolicy(), missing_audio="ignore")
    assert prepared.skipped == (row,)


def test_nothing_left(six: LabelSet, refused):
    chosen = corpus(make(1, {}), make(2, {}))
    refused(
        lambda: prepare(chosen, six, SoftLabelPolicy(no_votes="skip"), missing_audio="ignore"),
        "no utterance of toy is left; left out: {'no_votes': 2}",
        file=None,
        field="dataset",
        remedy="utterance u1: no votes",
    )
    with pytest.raises(InputError, match="no utterance of toy is left"):
        prepare(corpus(), six, SoftLabelPolicy())


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"missing_audio": "no"}, "dataset.missing_audio"),
        ({"on_error": "ignore"}, "dataset.on_error"),
        ({"limit": 0}, "dataset.limit"),
        ({"limit": 2.5}, "dataset.limit"),
        ({"limit": "ten"}, "dataset.limit"),
    ],
)
def test_wrong_options(six: LabelSet, options: dict, field: str):
    with pytest.raises(InputError) as caught:
        prepare(corpus(make(1)), six, SoftLabelPolicy(), **options)
    assert caught.value.field == field


# --------------------------------------------------------------------------------------------------------------- limit


def limited(six: LabelSet, speakers: list[str | None], limit: int) -> list[Utterance]:
    chosen = corpus(*(make(number, speaker=speaker) for number, speaker in enumerate(speakers)))
    prepared = prepare(chosen, six, SoftLabelPolicy(), limit=limit, missing_audio="ignore")
    return [item.utterance for item in prepared.items]


@pytest.mark.parametrize("order", ["by speaker", "interleaved"])
@pytest.mark.parametrize("limit", [6, 7, 12, 30, 59])
def test_limit_hears_all_speakers_equally(six: LabelSet, order: str, limit: int):
    speakers = [f"s{number // 10 if order == 'by speaker' else number % 6}" for number in range(60)]
    chosen = limited(six, speakers, limit)
    counts = Counter(utterance.speaker for utterance in chosen)
    assert len(chosen) == limit
    assert len(counts) == 6
    assert max(counts.values()) - min(counts.values()) <= 1


def test_limit_hears_a_speaker_of_one_clip(six: LabelSet):
    # One each, and the other seven by what is left of each: 499, 0 and 299, hence 4.4, 0 and 2.6.
    chosen = limited(six, ["big"] * 500 + ["tiny"] + ["large"] * 300, 10)
    counts = Counter(utterance.speaker for utterance in chosen)
    assert counts == {"big": 5, "tiny": 1, "large": 4}


def test_limit_spreads_within_a_speaker(six: LabelSet):
    numbers = [int(utterance.id[1:]) for utterance in limited(six, [None] * 100, 4)]
    assert numbers == [12, 37, 62, 87]


def test_limit_takes_other_sentences_from_other_speakers(six: LabelSet):
    # Each speaker says the same ten sentences in the same order.
    chosen = limited(six, [f"s{number // 10}" for number in range(100)], 10)
    assert {int(utterance.id[1:]) % 10 for utterance in chosen} == set(range(10))


def test_limit_below_the_number_of_speakers(six: LabelSet):
    chosen = limited(six, [f"s{number // 3}" for number in range(30)], 4)
    assert [utterance.speaker for utterance in chosen] == ["s0", "s2", "s5", "s7"]


def test_limit_above_the_number_of_utterances(six: LabelSet):
    assert len(limited(six, ["a", "b"], 10)) == 2


@settings(max_examples=100, deadline=None, derandomize=True)
# Lists as long as this, or the limit would hardly ever be below their length.
@given(speakers=st.lists(st.sampled_from("abcdefg"), min_size=15, max_size=60), limit=st.integers(1, 20))
def test_limit_is_always_exact_ordered_and_repeatable(six: LabelSet, speakers: list[str], limit: int):
    chosen = limited(six, speakers, limit)
    numbers = [int(utterance.id[1:]) for utterance in chosen]
    assert len(set(numbers)) == len(numbers) == min(limit, len(speakers))
    assert numbers == sorted(numbers)
    assert len({utterance.speaker for utterance in chosen}) >= min(limit, len(set(speakers)))
    assert chosen == limited(six, speakers, limit)


def test_limit_keeps_the_corpus_order_of_interleaved_speakers(six: LabelSet):
    # Two each: the halves of a's 0, 2, 4, 6 and of b's 1, 3, 5, 7, entered at a quarter and at three quarters.
    assert [utterance.id for utterance in limited(six, list("abababab"), 4)] == ["u0", "u3", "u4", "u7"]


def test_limit_counts_only_usable_utterances(six: LabelSet):
    chosen = corpus(*(make(number, {} if number % 2 else None) for number in range(10)))
    prepared = prepare(chosen, six, SoftLabelPolicy(no_votes="skip"), limit=5, missing_audio="ignore")
    assert ids(prepared.items) == ["u0", "u2", "u4", "u6", "u8"]


# ------------------------------------------------------------------------------------------------------------- ratings

# Three raters, of whom one chose two words and one named two more beside the choice; the speaker; and one rater twice.
RATED = Utterance(
    id="u1",
    audio=Path("u1.wav"),
    ratings=(
        Rating("r1", ("anger",)),
        Rating("r2", ("anger", "sad")),
        Rating("r3", ("sad",), secondary=("fear", "Sad", "disgust")),
        Rating("me", ("happy",), self_report=True),
        Rating("r1", ("neutral",)),
        Rating("r4", ()),
    ),
    votes={"fear": 100.0},  # where there are ratings, these are counted
)


@pytest.mark.parametrize(
    ("options", "expected", "raters"),
    [
        ({}, {"anger": 1.5, "sad": 1.5}, 3),
        ({"several": "each"}, {"anger": 2, "sad": 2}, 3),
        ({"secondary": 0.5}, {"anger": 1.5, "sad": 0.5 + 2 / 3, "fear": 1 / 6, "disgust": 1 / 6}, 3),
        ({"secondary": 1.0}, {"anger": 1.5, "sad": 1.0, "fear": 0.25, "disgust": 0.25}, 3),
        ({"several": "each", "secondary": 0.5}, {"anger": 2, "sad": 2, "fear": 0.5, "disgust": 0.5}, 3),
        ({"self_reports": True}, {"anger": 1.5, "sad": 1.5, "happy": 1}, 4),
        ({"repeated_raters": "last"}, {"anger": 0.5, "sad": 1.5, "neutral": 1}, 3),
        ({"repeated_raters": "all"}, {"anger": 1.5, "sad": 1.5, "neutral": 1}, 4),
    ],
)
def test_ratings_under_every_policy(six: LabelSet, options: dict, expected: dict, raters: int):
    policy = SoftLabelPolicy(**options)
    target = soft_label(RATED, six, policy)
    votes = [expected.get(label, 0) for label in six.labels]
    np.testing.assert_allclose(target.votes, votes, atol=1e-12)
    np.testing.assert_allclose(target.distribution, np.array(votes) / sum(votes), atol=1e-12)
    assert target.num_raters == raters
    by_rater = rater_votes(RATED, six, policy)
    np.testing.assert_allclose(sum(by_rater.values()), votes, atol=1e-12)
    assert ("me" in by_rater) == policy.self_reports


def test_thirds_of_three_raters_make_one_whole_vote(six: LabelSet):
    ratings = tuple(Rating(f"r{i}", ("anger", "sad", "fear")) for i in range(3))
    target = soft_label(replace(RATED, ratings=ratings), six, SoftLabelPolicy())
    assert target.votes.tolist() == [1.0, 0.0, 1.0, 0.0, 0.0, 1.0]


def test_ratings_outside_the_label_set(six: LabelSet):
    ratings = (Rating("r1", ("bored", "sad")), Rating("r2", ("bored",)), Rating("r3", ("sad",)))
    rated = replace(RATED, ratings=ratings)
    target = soft_label(rated, six, SoftLabelPolicy(outside="drop"))
    assert (target.votes[5], target.outside_votes, target.num_raters) == (1.5, 1.5, 3)
    assert set(rater_votes(rated, six, SoftLabelPolicy(outside="drop"))) == {"r1", "r3"}
    # Two raters chose a label of the set, one of them among others.
    assert soft_label(rated, six, SoftLabelPolicy(outside="drop", min_raters=2)).votes[5] == 1.5
    with pytest.raises(VoteError, match="2 raters chose a label of the set, and 3 are needed"):
        soft_label(rated, six, SoftLabelPolicy(outside="drop", min_raters=3))
    merged = soft_label(rated, six, SoftLabelPolicy(merge={"bored": "neutral"}))
    assert (merged.votes[4], merged.votes[5]) == (1.5, 1.5)


@pytest.mark.parametrize(
    ("counts", "kinds", "bits"),
    [
        ((4, 0, 0, 0, 0, 0), {"majority"}, 0.0),
        ((3, 1, 0, 0, 0, 0), {"majority"}, 0.8112781244591328),
        ((2, 1, 1, 0, 0, 0), {"no_majority"}, 1.5),
        ((2, 2, 0, 0, 0, 0), {"no_majority", "tied"}, 1.0),
    ],
)
def test_subsets_by_agreement_and_entropy(six: LabelSet, counts: tuple, kinds: set, bits: float):
    clip = utterance(dict(zip(six.labels, counts, strict=True)))
    for agreement in ("majority", "no_majority", "tied"):
        policy = SoftLabelPolicy(agreement=agreement)
        if agreement in kinds:
            assert soft_label(clip, six, policy).votes.tolist() == list(counts)
            continue
        with pytest.raises(VoteError) as caught:
            soft_label(clip, six, policy)
        assert caught.value.reason == "not_in_subset"
    for bounds, kept in (((0, bits), True), ((bits, None), True), ((bits + 0.01, None), False)):
        policy = SoftLabelPolicy(min_entropy=bounds[0], max_entropy=bounds[1])
        if kept:
            soft_label(clip, six, policy)
        else:
            with pytest.raises(VoteError):
                soft_label(clip, six, policy)


def test_prepare_lists_what_is_not_in_the_subset(six: LabelSet, tmp_path: Path):
    clear, split = utterance({"anger": 3}), replace(utterance({"anger": 1, "sad": 1}), id="u2")
    corpus = Corpus(CARD, (clear, split))
    prepared = prepare(corpus, six, SoftLabelPolicy(agreement="no_majority"), missing_audio="ignore")
    assert [item.utterance.id for item in prepared.items] == ["u2"]
    assert [(row.id, row.reason) for row in prepared.skipped] == [(clear.id, "not_in_subset")]


def test_prepare_keeps_by_fact(six: LabelSet, refused):
    clips = [
        replace(utterance({"anger": 1}), id=f"u{i}", speaker=f"s{i}", metadata={"consensus": word, "session": i})
        for i, word in enumerate(("anger", "sad", "no_agreement"))
    ]
    corpus = Corpus(CARD, tuple(clips))

    def kept(keep: dict) -> list[str]:
        prepared = prepare(corpus, six, SoftLabelPolicy(), keep=keep, missing_audio="ignore")
        return [item.utterance.id for item in prepared.items]

    assert kept({"consensus": ["Anger", "sad", "fear"]}) == ["u0", "u1"]
    assert kept({"consensus": ["anger", "sad"], "session": 1}) == ["u1"]
    assert kept({"speaker": "s2"}) == ["u2"]
    refused(
        lambda: kept({"consensus": "joy"}),
        "no utterance has one of ['joy'] as its consensus",
        file=None,
        field="dataset.keep.consensus",
        remedy="There are anger, no_agreement, sad.",
    )
    refused(
        lambda: kept({"dialect": "x"}),
        "as its dialect",
        file=None,
        field="dataset.keep.dialect",
        remedy="The corpus does not tell this fact.",
    )


def test_words_that_the_corpus_does_not_know_are_never_dropped(six: LabelSet):
    card = replace(CARD, words=("anger", "sad", "bored"))
    ratings = (Rating("r1", ("anger",), secondary=("gloom",)), Rating("r2", ("bored",)))
    known, unknown = replace(RATED, ratings=ratings), replace(RATED, id="u2", votes={"angr": 1}, ratings=())
    policy = SoftLabelPolicy(outside="drop")
    assert len(prepare(Corpus(card, (known,)), six, policy, missing_audio="ignore").items) == 1
    with pytest.raises(VoteError, match="'angr' is none of the corpus's emotion words"):
        prepare(Corpus(card, (known, unknown)), six, policy, missing_audio="ignore")
    with pytest.raises(VoteError, match="'gloom'"):
        prepare(Corpus(card, (known,)), six, replace(policy, secondary=0.5), missing_audio="ignore")
    mapped = replace(policy, merge={"angr": "anger"})
    assert len(prepare(Corpus(card, (known, unknown)), six, mapped, missing_audio="ignore").items) == 2
    skipped = prepare(Corpus(card, (known, unknown)), six, policy, missing_audio="ignore", on_error="skip").skipped
    assert [(row.id, row.reason) for row in skipped] == [("u2", "bad_votes")]


# ------------------------------------------------------------------------------------------------- scales and weights

VALENCE = LabelSet(
    "valence5",
    ("1", "2", "3", "4", "5"),
    {str(point): {"numeral": [str(point)]} for point in range(1, 6)},
    scale=Scale("valence", "very negative", "very positive"),
)


def rated(*values: float, scale: tuple[float, float] = (1, 5), **facts: object) -> Utterance:
    ratings = tuple(Rating(f"r{i}", values={"valence": value}) for i, value in enumerate(values))
    return Utterance("a", Path("a.wav"), ratings=ratings, scales={"valence": scale}, **facts)


@given(st.floats(-1, 1), st.integers(2, 9))
def test_a_number_between_two_points_keeps_its_mean(value: float, size: int):
    points = tuple(range(1, size + 1))
    vote = on_points(value, (-1, 1), points)
    assert vote.sum() == pytest.approx(1)
    assert (vote > 0).sum() <= 2
    assert vote @ points == pytest.approx(1 + (value + 1) / 2 * (size - 1), abs=1e-6)


def test_ratings_of_a_dimension_are_votes_for_the_points_of_its_scale():
    target = soft_label(rated(1, 3, 3.25), VALENCE, SoftLabelPolicy())
    np.testing.assert_allclose(target.votes, [1, 0, 1.75, 0.25, 0])
    np.testing.assert_allclose(target.distribution, target.votes / 3)
    assert target.num_raters == 3
    ballots = rater_votes(rated(1, 3, 3.25), VALENCE, SoftLabelPolicy())
    np.testing.assert_allclose(sum(ballots.values()), target.votes)
    wide = soft_label(rated(-1, 1, 0, scale=(-1, 1)), VALENCE, SoftLabelPolicy())
    np.testing.assert_allclose(wide.votes, [1, 0, 1, 0, 1])


def test_a_mean_alone_is_one_number_of_nobody():
    target = soft_label(rated(means={"valence": 2.5}), VALENCE, SoftLabelPolicy(min_raters=2))
    np.testing.assert_allclose(target.votes, [0, 0.5, 0.5, 0, 0])
    assert target.num_raters is None
    # What single raters said goes before.
    assert soft_label(rated(4, means={"valence": 2.5}), VALENCE, SoftLabelPolicy()).votes[3] == 1


def test_a_number_off_its_scale_and_a_scale_that_nobody_stated_are_refused():
    with pytest.raises(VoteError, match="6 is not on the scale from 1 to 5") as caught:
        soft_label(rated(6), VALENCE, SoftLabelPolicy())
    assert caught.value.reason == "bad_votes"
    with pytest.raises(VoteError, match="does not say on which scale its valence is"):
        soft_label(replace(rated(3), scales={}), VALENCE, SoftLabelPolicy())
    with pytest.raises(VoteError, match="no rating of its valence") as caught:
        soft_label(rated(), VALENCE, SoftLabelPolicy())
    assert caught.value.reason == "no_votes"


def test_weights_of_ratings_are_relative_to_the_clips_others():
    two = words_label_set("happy", "sad")
    ratings = (Rating("a", ("happy",), weight=3), Rating("b", ("sad",)), Rating("c", ("sad",), weight=0))
    clip = utterance({}, num_raters=None, ratings=ratings)
    target = soft_label(clip, two, SoftLabelPolicy())
    assert (target.votes.tolist(), target.num_raters) == ([1.5, 0.5], 2)
    np.testing.assert_allclose(sum(rater_votes(clip, two, SoftLabelPolicy()).values()), target.votes)
    assert soft_label(clip, two, SoftLabelPolicy(weigh_by="nothing")).votes.tolist() == [1, 2]
    sure = tuple(r._replace(weight=1, confidence=c) for r, c in zip(ratings, (1, 0.5, None), strict=True))
    target = soft_label(replace(clip, ratings=sure), two, SoftLabelPolicy(weigh_by="confidence"))
    np.testing.assert_allclose(target.votes, [1 / 0.75, (0.5 + 0.75) / 0.75])
