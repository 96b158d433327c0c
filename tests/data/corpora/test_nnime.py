"""NNIME by EMO-SUPERB's table: what it gives and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from copies import nnime as copy
from copies.labels import label_set

from emoprobe.data.corpora.emosuperb import read_emosuperb
from emoprobe.data.corpora.nnime import CARD, TOTALS, read_nnime
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.votes import soft_label
from emoprobe.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    copy.write(tmp_path)
    return tmp_path


def test_it_is_the_table_of_emosuperb(root: Path):
    corpus, table = read_nnime(root), read_emosuperb(root, "NNIME")
    assert corpus.utterances == table.utterances
    assert (corpus.card.name, corpus.card.title, corpus.card.words) == ("nnime", "NNIME", CARD.words)
    assert [(total.what, total.count(corpus), total.expected) for total in TOTALS] == [
        ("clips", 5, 5028),
        ("speakers", 3, 43),
    ]


def test_its_policy_and_no_other(root: Path):
    first = read_nnime(root).utterances[1]
    target = soft_label(first, label_set("nnime11"), SoftLabelPolicy(several="each"))
    assert target.distribution.tolist() == pytest.approx([1 / 2, 1 / 6, 0, 0, 1 / 3, 0, 0, 0, 0, 0, 0], abs=1e-5)
    with pytest.raises(InputError, match=r"these votes were counted with several=each, which cannot be undone"):
        soft_label(first, label_set("nnime11"), SoftLabelPolicy())
    with pytest.raises(InputError, match=r"votes for 'other' were left out"):
        soft_label(first, label_set("iemocap10"), SoftLabelPolicy(several="each", outside="drop"))


def test_means_are_of_two_dimensions(root: Path):
    first = read_nnime(root).utterances[0]
    assert first.means == {"arousal": 1.833333333, "valence": 3.0}
    target = soft_label(first, label_set("arousal5"), SoftLabelPolicy())
    assert target.distribution.tolist() == pytest.approx([1 / 6, 5 / 6, 0, 0, 0], abs=1e-6)
    with pytest.raises(InputError, match=r"no rating of its dominance"):
        soft_label(first, label_set("dominance5"), SoftLabelPolicy())
