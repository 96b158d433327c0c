"""Splits: no speaker in two parts, every clip tested once, the same answer for any order, and every refusal."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold

from emoprobe.data.corpora.demo import read_demo
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.prepare import Item, prepare
from emoprobe.data.reading.fields import known
from emoprobe.data.split_policy import PARTS, SplitPolicy
from emoprobe.data.splits import Split, count_folds, speaker_overlap, split_all, split_items
from emoprobe.data.utterance import Utterance
from emoprobe.data.votes import Target
from emoprobe.settings import compose, plain

TABLE = Path("/corpus/votes.csv")
PARTITION = "dataset.partition"


def clip(number: int, speaker: str | None, split: str | None = None, label: int | None = None, **facts) -> Item:
    """A clip whose top label is its number's parity, so that any two in a row differ."""
    votes = np.eye(2)[number % 2 if label is None else label]
    name = f"u{number:04d}"
    utterance = Utterance(
        name, Path(f"/{name}.wav"), {}, speaker=speaker, split=split, metadata=facts, file=TABLE, row=number + 2
    )
    return Item(utterance, Target(votes, votes, 1, 0.0))


def clips(sizes: dict[str, int]) -> list[Item]:
    """So many clips of each speaker."""
    speakers = [speaker for speaker, count in sizes.items() for _ in range(count)]
    return [clip(number, speaker) for number, speaker in enumerate(speakers)]


def ids(items) -> list[str]:
    return [item.utterance.id for item in items]


def speakers(items) -> set[str | None]:
    return {item.utterance.speaker for item in items}


def parts(split: Split) -> dict[str, list[str]]:
    return {part: ids(getattr(split, part)) for part in (*PARTS, "left_out")}


def all_folds(items, policy: SplitPolicy, number: int) -> list[Split]:
    return [split_items(items, replace(policy, fold=fold)) for fold in range(number)]


@pytest.fixture(scope="module")
def demo(request) -> tuple[Item, ...]:
    return prepare(read_demo(), request.getfixturevalue("six"), SoftLabelPolicy()).items


@pytest.fixture(scope="module")
def cremad_like() -> list[Item]:
    """91 actors of about 82 clips, as CREMA-D has them."""
    sizes = {f"{1001 + actor}": 82 - (actor % 17 == 5) - 5 * (actor == 18) for actor in range(91)}
    return clips(sizes)


# --------------------------------------------------------------------------------------------------------- properties

# At least two clips per speaker, so that every training part has both top labels.
NAMES = st.text("abc129._", min_size=1, max_size=4).filter(known)
SIZES = st.dictionaries(NAMES, st.integers(2, 9), min_size=3)


@settings(max_examples=60, deadline=None)
@given(
    sizes=SIZES,
    folds=st.integers(3, 6),
    seed=st.integers(0, 5),
    development=st.just("next") | st.floats(0.01, 0.4),
    kind=st.sampled_from(["kfold", "leave_one_out"]),
    data=st.data(),
)
def test_folds(sizes, folds, seed, development, kind, data):
    folds = len(sizes) if kind == "leave_one_out" else min(folds, len(sizes))
    items = clips(sizes)
    policy = SplitPolicy(kind, folds=folds, seed=seed, development=development)
    splits = all_folds(items, policy, folds)
    assert count_folds(items, policy) == folds
    assert [split.fold for split in splits] == list(range(folds))
    for split in splits:
        assert sorted(ids(split.train + split.development + split.test)) == ids(items)
        assert split.left_out == ()
        assert not speakers(split.train) & speakers(split.development)
        assert not speakers(split.train + split.development) & speakers(split.test)
        assert speaker_overlap(split) == {}
        if development != "next":
            share = development * len(speakers(split.train + split.development))
            assert len(speakers(split.development)) == max(1, round(share))
    assert Counter(name for split in splits for name in ids(split.test)) == Counter(ids(items))
    if kind == "leave_one_out":
        assert all(len(speakers(split.test)) == 1 for split in splits)
    shuffled = data.draw(st.permutations(items))
    assert [parts(split) for split in all_folds(shuffled, policy, folds)] == [parts(split) for split in splits]


@settings(max_examples=60, deadline=None)
@given(sizes=SIZES, folds=st.integers(3, 6), seed=st.integers(0, 5))
def test_folds_are_as_even_as_scikit_learns(sizes, folds, seed):
    folds = min(folds, len(sizes))
    items = clips(sizes)
    found = sorted(len(split.test) for split in all_folds(items, SplitPolicy(folds=folds, seed=seed), folds))
    groups = [item.utterance.speaker for item in items]
    assert found == sorted(len(test) for _, test in GroupKFold(folds).split(items, groups=groups))
    assert found[-1] - found[0] <= max(sizes.values())


# ---------------------------------------------------------------------------------------------------------- the folds


def test_cremad_like(cremad_like):
    splits = all_folds(cremad_like, SplitPolicy(), 5)
    assert sorted(len(speakers(split.test)) for split in splits) == [18, 18, 18, 18, 19]
    for this, following in zip(splits, splits[1:] + splits[:1], strict=True):
        assert ids(this.development) == ids(following.test)
    sizes = [len(split.test) for split in splits]
    assert max(sizes) - min(sizes) <= 82


def test_development_share_of_speakers(cremad_like):
    split = split_items(cremad_like, SplitPolicy(development=0.15))
    rest = len(speakers(split.train + split.development))
    assert len(speakers(split.development)) == round(0.15 * rest) == 11


def test_the_seed_says_who_goes_together_and_the_fold_does_not(cremad_like):
    def together(seed: int) -> set[frozenset]:
        return {frozenset(speakers(split.test)) for split in all_folds(cremad_like, SplitPolicy(seed=seed), 5)}

    assert together(0) == together(0) != together(1)
    assert sum(len(fold) for fold in together(1)) == 91


def test_a_given_split_stays_what_it_was():
    # Published results rest on it: whoever changes it changes them.
    items = clips({name: 2 for name in "abcdefgh"})
    splits = all_folds(items, SplitPolicy(folds=4), 4)
    assert ["".join(sorted(speakers(split.test))) for split in splits] == ["ah", "cf", "bg", "de"]


def test_leave_one_out_goes_by_name_with_numbers_in_order():
    items = [clip(number, f"s{number}", session=name) for number, name in enumerate(["10", 2, 1.0, 1, "2", "10"])]
    splits = all_folds(items, SplitPolicy("leave_one_out", by="session"), 3)
    assert [ids(split.test) for split in splits] == [["u0002", "u0003"], ["u0001", "u0004"], ["u0000", "u0005"]]
    assert [ids(split.development) for split in splits] == [ids(splits[fold].test) for fold in (1, 2, 0)]


@pytest.mark.parametrize("pair", [("1", "1.0"), ("S1", "s1"), ("1", "01"), (1, "1.0")])
@pytest.mark.parametrize("kind", ["kfold", "leave_one_out"])
def test_groups_that_look_alike(refused, kind: str, pair):
    items = [clip(number, f"s{number}", session=name) for number, name in enumerate([*pair, "x", "y", "z"])]
    call = lambda: split_items(items, SplitPolicy(kind, by="session", folds=3))  # noqa: E731
    refused(call, "differ only in case, zero padding", file=TABLE, row=3, field="session", remedy="in the same way")


@pytest.mark.parametrize("kind", ["kfold", "official"])
def test_speakers_that_look_alike(refused, kind: str):
    parts_of = ("train", "train", "dev", "test", "test")
    items = [clip(number, name, parts_of[number]) for number, name in enumerate(["S1", "s2", "s3", "s4", "s1"])]
    call = lambda: split_items(items, SplitPolicy(kind, folds=3))  # noqa: E731
    refused(call, "'S1' (row 2) and 's1' (row 6)", file=TABLE, row=6, field="speaker", remedy="in the same way")


@pytest.mark.parametrize("value", ["nan", "None", "NA", "-"])
def test_a_group_that_spells_unknown(refused, value: str):
    items = [clip(number, f"s{number}", session=value if number < 2 else number) for number in range(6)]
    call = lambda: split_items(items, SplitPolicy("leave_one_out", by="session"))  # noqa: E731
    refused(call, "2 of 6 clips have no session", file=TABLE, row=2, field="session", remedy="(dataset.partition.by)")


def test_a_group_that_has_lost_its_digits(refused):
    items = [clip(number, f"s{number}", source=1e17 + number) for number in range(6)]
    call = lambda: split_items(items, SplitPolicy("leave_one_out", by="source"))  # noqa: E731
    refused(call, "lost its last digits", file=TABLE, row=2, field="source", remedy="Use another fact")


def test_leave_one_out_of_few_takes_the_next_for_a_share():
    items = clips({f"Ses0{n}": 4 for n in range(1, 6)})
    by_share = all_folds(items, SplitPolicy("leave_one_out", development=0.2), 5)
    assert [parts(split) for split in by_share] == [
        parts(split) for split in all_folds(items, SplitPolicy("leave_one_out"), 5)
    ]


def test_leave_one_out_of_many_draws_every_group_equally_often():
    items = clips({f"{sex}{n:02d}": 2 for sex in "FM" for n in range(10)})
    splits = all_folds(items, SplitPolicy("leave_one_out", development=0.2), 20)
    assert Counter(name for split in splits for name in speakers(split.development)) == dict.fromkeys(
        speakers(items), 4
    )
    assert any({name[0] for name in speakers(split.development)} == {"F", "M"} for split in splits[:5])


def test_demo_corpus(demo):
    splits = all_folds(demo, SplitPolicy(folds=6), 6)
    assert [(len(s.train), len(s.development), len(s.test)) for s in splits] == [(128, 32, 32)] * 6
    voices = all_folds(demo, SplitPolicy("leave_one_out"), 12)
    assert [speakers(split.test) for split in voices] == [{f"spk{n:02d}"} for n in range(1, 13)]
    assert all(len(split.train) == 160 for split in voices)


def test_the_configuration_is_a_policy(demo):
    config = compose([])
    values = {**plain(config.dataset.partition), "fold": config.dataset.fold}
    policy = SplitPolicy(**values)
    assert policy == SplitPolicy()
    assert len(split_items(demo, policy).test) > 0


# ---------------------------------------------------------------------------------------------------- official splits


def official(*names: str | None) -> list[Item]:
    """Two clips of each split, each split with a speaker of its own."""
    return [clip(2 * i + j, f"s{i}", name) for i, name in enumerate(names) for j in (0, 1)]


@pytest.mark.parametrize("development", ["development", "dev", "Validation", "valid"])
def test_official(development):
    split = split_items(official("Train", development, "test"), SplitPolicy("official"))
    assert [sorted(speakers(getattr(split, part))) for part in PARTS] == [["s0"], ["s1"], ["s2"]]


def test_official_splits_by_other_names():
    policy = SplitPolicy("official", splits={"test": ["Test1", "TEST2"], "development": "tune"})
    split = split_items(official("train", "tune", "Test1", "test2", "test3", None), policy)
    assert [sorted(speakers(getattr(split, part))) for part in (*PARTS, "left_out")] == [
        ["s0"],
        ["s1"],
        ["s2", "s3"],
        ["s4", "s5"],
    ]
    assert count_folds(official("train", "tune"), policy) == 1
    assert policy.name == "official split; development: tune; test: test1 + test2"


def test_official_split_that_shares_speakers(refused):
    names = ("Joey", "Ross", "Rachel", "Monica", "Phoebe")
    items = [
        clip(5 * i + j, name, part) for i, part in enumerate(("train", "dev", "test")) for j, name in enumerate(names)
    ]
    call = lambda **options: split_items(items, SplitPolicy("official", **options))  # noqa: E731
    error = refused(
        call,
        "share the speaker Joey (development, test, train), Monica",
        file=None,
        field=PARTITION,
        remedy="overlap=true",
    )
    assert "Phoebe" in error.what
    assert "and 2 more" in error.what
    assert speaker_overlap(call(allow_overlap=True)) == {name: set(PARTS) for name in names}


def test_official_split_of_sessions_with_shared_speakers_or_shared_sessions(refused):
    parts_ = ("train", "dev", "test")
    shared_speaker = [clip(2 * i + j, "x", part, session=i) for i, part in enumerate(parts_) for j in (0, 1)]
    shared_session = [clip(2 * i + j, f"s{i}", part, session=7) for i, part in enumerate(parts_) for j in (0, 1)]
    for items, what in ((shared_speaker, "share the speaker x"), (shared_session, "share the session 7")):
        policy = SplitPolicy("official", by="session")
        refused(
            lambda i=items, p=policy: split_items(i, p), what, file=None, field=PARTITION, remedy="allow it by name"
        )
        assert len(split_items(items, replace(policy, allow_overlap=True)).test) == 2


def test_official_split_with_unknown_speakers(refused):
    items = [clip(i, None, part) for i, part in enumerate(("train", "train", "dev", "test"))]
    refused(
        lambda: split_items(items, SplitPolicy("official")),
        "4 of 4 clips have no speaker; utterance u0000 is one",
        file=TABLE,
        row=2,
        field="speaker",
        remedy="unknown_speakers=allow",
    )
    assert len(split_items(items, SplitPolicy("official", allow_overlap=True)).train) == 2
    assert len(split_items(items, SplitPolicy("official", unknown_speakers="allow")).train) == 2
    known = [*items, clip(4, "x", "train"), clip(5, "x", "test")]
    refused(
        lambda: split_items(known, SplitPolicy("official", unknown_speakers="allow")),
        "share the speaker x (test, train)",
        file=None,
        field=PARTITION,
        remedy="allow_overlap=true",
    )


def test_official_split_without_development(refused):
    refused(
        lambda: split_items(official("train", "Test1", "Test2"), SplitPolicy("official")),
        "the development part is empty",
        file=None,
        field=PARTITION,
        remedy="have Test1, Test2, train. Name it, '++dataset.partition.splits.development=NAME'",
    )


def test_official_kind_for_a_corpus_without_splits(refused):
    call = lambda: split_items(official(None), SplitPolicy("official"))  # noqa: E731
    refused(
        call, "the training part is empty", file=None, field=PARTITION, remedy="The clips have no splits; make folds"
    )


def test_an_official_split_has_one_fold_and_no_share(refused):
    call = lambda: split_items(official("train", "dev", "test"), SplitPolicy("official", fold=1))  # noqa: E731
    refused(call, "no fold 1 of official; there is one", file=None, field="dataset.fold", remedy="dataset.fold=0.")
    call = lambda: SplitPolicy("official", development=0.1)  # noqa: E731
    refused(call, "has its own", file=None, field=f"{PARTITION}.development", remedy="kind=kfold")


# ------------------------------------------------------------------------------------------------------------- refusals


def test_a_fold_that_does_not_exist(refused, demo):
    options = {"file": None, "field": "dataset.fold"}
    call = lambda: split_items(demo, SplitPolicy(fold=5))  # noqa: E731
    refused(call, "no fold 5 of kfold; there are 5", remedy="Use dataset.fold=0 to 4.", **options)
    call = lambda: split_items(demo, SplitPolicy("leave_one_out", fold=12))  # noqa: E731
    refused(call, "there are 12, counted from 0", remedy="Use dataset.fold=0 to 11.", **options)


def test_more_folds_than_groups(refused):
    field = f"{PARTITION}.folds"
    call = lambda: split_items(clips({"a": 3, "b": 3, "c": 3}), SplitPolicy())  # noqa: E731
    refused(call, "have 3 different values of speaker", file=None, field=field, remedy=f"{field}=3")
    call = lambda: split_items(clips({"a": 3}), SplitPolicy())  # noqa: E731
    refused(call, "have 1 different", file=None, field=field, remedy="Use another fact")


@pytest.mark.parametrize(
    ("sizes", "policy", "part"),
    [
        ({"a": 2, "b": 2}, SplitPolicy(folds=2), "training"),
        ({"a": 2, "b": 2}, SplitPolicy("leave_one_out"), "training"),
        ({"a": 2, "b": 2, "c": 2}, SplitPolicy(folds=3, development=0.9), "training"),
        ({"a": 2}, SplitPolicy("leave_one_out"), "training"),
    ],
)
def test_an_empty_part(refused, sizes, policy, part):
    call = lambda: split_items(clips(sizes), policy)  # noqa: E731
    refused(call, f"the {part} part is empty", file=None, field=PARTITION, remedy="at least three folds")


def test_no_clips(refused):
    refused(lambda: split_items([], SplitPolicy()), "no clip", file=None, field="dataset", remedy="dataset.limit")


def test_nothing_to_learn(refused):
    items = [clip(number, f"s{number}", label=int(number == 0)) for number in range(6)]
    policy = SplitPolicy("leave_one_out")
    call = lambda: split_items(items, policy)  # noqa: E731
    refused(
        call, "all 4 training clips have the same soft label", file=None, field=PARTITION, remedy="another label set"
    )
    assert len(split_items(items, replace(policy, fold=2)).train) == 4


def test_soft_labels_that_differ_below_the_same_top_are_something_to_learn():
    shares = [np.array([0.9 - 0.1 * number, 0.1 + 0.1 * number]) for number in range(4)]
    items = [clip(number, f"s{number}") for number in range(4)]
    items = [replace(item, target=replace(item.target, distribution=p)) for item, p in zip(items, shares, strict=True)]
    assert len(split_items(items, SplitPolicy("leave_one_out")).train) == 2


def test_a_tie_between_labels_is_something_to_learn():
    half = np.array([0.5, 0.5])
    items = [Item(clip(number, f"s{number}").utterance, Target(half, half, 2, 0.0)) for number in range(3)]
    assert len(split_items(items, SplitPolicy("leave_one_out")).train) == 1


@pytest.mark.parametrize("value", [None, float("nan"), " "])
@pytest.mark.parametrize("kind", ["kfold", "leave_one_out"])
def test_clips_without_the_group(refused, kind, value):
    items = [clip(number, f"s{number}", session=number % 5) for number in range(10)]
    items[4] = clip(4, "s4", gender="female", **({} if value is None else {"session": value}))
    error = refused(
        lambda: split_items(items[::-1], SplitPolicy(kind, by="session")),
        "1 of 10 clips have no session; utterance u0004 is one",
        file=TABLE,
        row=6,
        field="session",
        remedy="another fact (dataset.partition.by): speaker, gender.",
    )
    assert "allow_overlap" not in error.remedy


def test_folds_by_another_fact_must_not_share_speakers(refused):
    items = [clip(number, f"s{number % 4}", sentence=f"t{number % 5}") for number in range(40)]
    policy = SplitPolicy(by="sentence")
    call = lambda: split_items(items, policy)  # noqa: E731
    refused(call, "share the speaker s0", file=None, field=PARTITION, remedy=f"{PARTITION}.by=speaker")
    split = split_items(items, replace(policy, allow_overlap=True))
    assert {item.utterance.metadata["sentence"] for item in split.test}.isdisjoint(
        item.utterance.metadata["sentence"] for item in split.train + split.development
    )
    assert set(speaker_overlap(split)) == {"s0", "s1", "s2", "s3"}


def test_unknown_speakers_do_not_stop_folds_by_session():
    items = [clip(number, None, session=number % 5) for number in range(20)]
    assert len(split_items(items, SplitPolicy(by="session")).test) == 4


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"kind": "random"}, f"{PARTITION}.kind"),
        ({"by": ""}, f"{PARTITION}.by"),
        ({"by": None}, f"{PARTITION}.by"),
        ({"folds": 1}, f"{PARTITION}.folds"),
        ({"folds": 2.5}, f"{PARTITION}.folds"),
        ({"fold": -1}, "dataset.fold"),
        ({"fold": "all"}, "dataset.fold"),
        ({"fold": True}, "dataset.fold"),
        ({"seed": None}, f"{PARTITION}.seed"),
        ({"allow_overlap": "no"}, f"{PARTITION}.allow_overlap"),
        *[({"development": value}, f"{PARTITION}.development") for value in ("last", 0.0, 1.0, 1, float("nan"), None)],
        ({"splits": {"validation": "dev"}}, f"{PARTITION}.splits"),
        ({"splits": {"test": "Dev"}}, f"{PARTITION}.splits"),
    ],
)
def test_wrong_options(refused, options, field):
    refused(lambda: SplitPolicy(**options), "", file=None, field=field, remedy="")


# ----------------------------------------------------------------------------------------------------------- the record


def test_names():
    assert SplitPolicy().name == "5 folds by speaker; fold 0 tested; development: next; seed 0"
    policy = SplitPolicy("leave_one_out", by="session", fold=3, development=0.15, allow_overlap=True)
    assert policy.name == (
        "leave one session out; fold 3 tested; development: 0.15 of the rest; seed 0; overlap allowed"
    )
    assert SplitPolicy("official").name == "official split"


def test_hash():
    policies = [
        SplitPolicy(),
        SplitPolicy(fold=1),
        SplitPolicy(seed=1),
        SplitPolicy(by="session"),
        SplitPolicy(splits={"test": "test1"}),
    ]
    assert len({policy.hash for policy in policies}) == len(policies)
    assert SplitPolicy(splits={"test": "Test"}).hash == SplitPolicy().hash
    assert len(SplitPolicy().hash) == 16


def test_rotating_development_folds():
    """Six speakers in three folds: member 0 and 2 develop on the next fold, member 1 on the one after."""
    items = [clip(i, f"s{i // 2}") for i in range(12)]
    policy = SplitPolicy(folds=3, development="rotate")
    splits = [split_items(items, policy, member) for member in range(3)]
    assert splits[0] == split_items(items, replace(policy, development="next")) == splits[2]
    assert splits[0].test == splits[1].test
    assert splits[0].development == splits[1].train
    assert splits[1].development == splits[0].train
    assert "development: rotate" in policy.name


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(2, 6), min_size=3, max_size=8), st.integers(2, 9), st.integers(0, 9), st.data())
def test_on_all_clips_member_i_leaves_out_fold_i(sizes, members, seed, data):
    items = clips({f"s{i}": size for i, size in enumerate(sizes)})
    shuffled = data.draw(st.permutations(items))
    number = data.draw(st.integers(3, len(sizes)))
    policy = SplitPolicy(folds=number, seed=seed, development="rotate")
    folds = all_folds(items, replace(policy, development="next"), number)
    splits = split_all(shuffled, policy, members)
    everyone = {item.utterance.speaker for item in items}
    assert len(splits) == members
    for i, split in enumerate(splits):
        assert split.development == folds[i % number].test
        assert ids(split.train) == sorted(set(ids(items)) - set(ids(split.development)))
        assert not split.test
        assert split.name == "all"
        assert not speakers(split.train) & speakers(split.development)
    assert set().union(*(speakers(split.train) for split in splits)) == everyone
