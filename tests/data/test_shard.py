"""Parts of a corpus: which clips are in which follows from their ids, and all parts together are the whole."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.prepare import Prepared, prepare
from emoprobe.data.shard import Shard, read_shard
from emoprobe.data.utterance import Corpus, CorpusCard, Skipped, Utterance
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.recipes.settings import read_probe, read_train
from emoprobe.settings import compose

CARD = CorpusCard("toy", "Toy", True, "CC0", "none", "none", "none")
LABELS = LabelSet("two", ("anger", "sad"), {label: {"noun": (label,)} for label in ("anger", "sad")})


def corpus(count: int, **options) -> Corpus:
    rows = [
        Utterance(f"clip_{i:04d}", Path(f"/no/{i}.wav"), {"anger": 1 + i % 3, "sad": 2}, 3 + i % 3, speaker=f"s{i % 7}")
        for i in range(count)
    ]
    left_out = (Skipped("", "bad_row", "no id"), *(Skipped(f"bad_{i}", "bad_row", "bad") for i in range(20)))
    return Corpus(CARD, tuple(replace(row, **options) for row in rows), left_out)


def parts_of(of: int, count: int = 300, **options) -> list[Prepared]:
    given = {"missing_audio": "ignore", **options}
    return [prepare(corpus(count), LABELS, SoftLabelPolicy(), shard=Shard(k + 1, of), **given) for k in range(of)]


def ids(prepared: Prepared) -> list[str]:
    return [item.utterance.id for item in prepared.items]


@pytest.mark.parametrize("options", [{}, {"limit": 41}, {"limit": 5}, {"missing_audio": "skip"}])
def test_all_parts_together_are_the_whole_and_none_is_in_two(options, monkeypatch):
    monkeypatch.setattr("os.path.exists", lambda path: not str(path).endswith("7.wav"))
    parts = parts_of(4, **options)
    whole = prepare(corpus(300), LABELS, SoftLabelPolicy(), **{"missing_audio": "ignore", **options})
    found = {name: part.division.places[name] for part in parts for name in ids(part)}
    assert sum(len(ids(part)) for part in parts) == len(found)
    assert sorted(found, key=found.get) == ids(whole)
    left_out = [row for part in parts for row in part.skipped]
    assert sorted(left_out, key=str) == sorted(whole.skipped, key=str)
    assert len({str(part.division.facts | {"part": ""}) for part in parts}) == 1


def test_a_part_is_that_of_the_ids_hash_and_about_as_large_as_the_others():
    sizes = [len(ids(part)) for part in parts_of(8, 4000)]
    assert all(abs(size - 500) < 5 * 500**0.5 for size in sizes)
    for name in ("clip_0001", "", "Zürich", "\udcff"):
        number = int(hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16], 16) % 8 + 1
        assert [k for k in range(1, 9) if Shard(k, 8).holds(name)] == [number]
    assert Shard(1, 1).holds("anything")


def test_a_clip_more_moves_no_other_and_is_noticed():
    before, after = parts_of(4, 300), parts_of(4, 301)
    for old, new in zip(before, after, strict=True):
        assert set(ids(old)) <= set(ids(new))
        assert old.division.facts["sha256"] != new.division.facts["sha256"]


def test_a_part_may_be_empty_and_a_corpus_may_not():
    assert [len(ids(part)) for part in parts_of(16, 2)].count(0) >= 14
    with pytest.raises(InputError, match="no utterance of toy is left"):
        prepare(corpus(0), LABELS, SoftLabelPolicy(), shard=Shard(1, 2))


def test_a_part_looks_for_its_own_files_only(monkeypatch):
    looked = []
    monkeypatch.setattr("os.path.exists", lambda path: looked.append(path) or True)
    part = prepare(corpus(300), LABELS, SoftLabelPolicy(), shard=Shard(1, 4))
    assert len(looked) == len(ids(part)) < 150


BAD = (
    "0/4",
    "5/4",
    "a/b",
    "3/0",
    "3.5/4",
    "-1/4",
    "1/-4",
    "3",
    "3/",
    "/4",
    "1/4/8",
    "1/2000000",
    "1/99999999999999",
    "½/4",
)


@pytest.mark.parametrize("given", [*BAD, "", " 1/4", 3, 0.75, True, [1, 4], {}])
def test_what_is_no_part_is_refused_in_one_line(given):
    with pytest.raises(
        InputError, match=r"is no part K/N of a corpus \(field dataset\.shard\)\. Give K from 1"
    ) as error:
        read_shard(given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "shard"),
    [
        ("dataset.shard=3/64", Shard(3, 64)),
        ("dataset.shard=03/64", Shard(3, 64)),
        ("dataset.shard='3/64'", Shard(3, 64)),
        ("dataset.shard=null", None),
        ("dataset.shard=${oc.env:SLURM_ARRAY_TASK_ID}/64", Shard(7, 64)),
        ("dataset.shard='${oc.env:SLURM_ARRAY_TASK_ID}/${oc.env:SLURM_ARRAY_TASK_COUNT}'", Shard(7, 8)),
    ],
)
def test_it_is_given_on_the_command_line_without_quotes(override, shard, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "8")
    assert read_probe(compose([override, "output_dir=out"])).dataset.shard == shard


@pytest.mark.parametrize("given", BAD[:8])
def test_a_configuration_with_none_is_refused(given):
    with pytest.raises(InputError, match=r"field dataset\.shard"):
        read_probe(compose([f"dataset.shard={given}", "output_dir=out"]))


def test_a_training_takes_no_part():
    with pytest.raises(InputError, match=r"not part 1/4 of it \(field dataset\.shard\)"):
        read_train(compose(["dataset.shard=1/4", "output_dir=out"], "train"))
