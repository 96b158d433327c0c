"""What beliefs follow, by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon

from emoprobe.analysis.controls import follow

LABELS = ["anger", "joy", "calm"]


def js(p, q) -> np.ndarray:
    return jensenshannon(np.asarray(p), np.asarray(q), base=2, axis=1) ** 2


@pytest.fixture
def tables(cell):
    rng = np.random.default_rng(1)
    votes = rng.multinomial(6, [1 / 3] * 3, 8)
    own, other = rng.dirichlet(np.ones(3), 8), rng.dirichlet(np.ones(3), 8)
    speakers = ["a", "a", "b", "b", "c", "c", "d", "e"]
    return votes, own, other, cell(own, votes, speakers=speakers), cell(other, votes, speakers=speakers)


def test_moves_and_tests_by_hand(tables):
    votes, own, other, plain, changed = tables
    ids = list(plain["utterance_id"])
    lent = dict(zip(ids, ids[3:] + ids[:3], strict=True))
    (row,) = follow(plain, {"swapped": (changed, lent)}, LABELS, resamples=200).to_dict("records")
    target = votes / votes.sum(axis=1, keepdims=True)
    order = [ids.index(lent[name]) for name in ids]
    assert (row["control"], row["num_utterances"], row["num_dropped"], row["num_conflicts"]) == ("swapped", 8, 0, 8)
    assert row["moved"] == pytest.approx(js(own, other).mean())
    assert row["moved_low"] < row["moved"] < row["moved_high"]
    assert row["js"] == pytest.approx(js(other, target).mean())
    assert row["worse"] == pytest.approx((js(other, target) - js(own, target)).mean())
    toward = js(other, own) - js(other, own[order])
    assert row["toward_donor"] == pytest.approx(toward.mean())
    assert row["toward_donor_raters"] == pytest.approx((js(other, target) - js(other, target[order])).mean())
    by_speaker = pd.Series(toward).groupby(list(plain["speaker"])).sum().to_numpy()
    signs = np.array(list(itertools.product([1, -1], repeat=5)))
    p = (np.abs(signs @ by_speaker) >= abs(by_speaker.sum()) - 1e-12).mean()
    assert row["toward_donor_p"] == pytest.approx(p)


def test_a_belief_that_does_not_move_follows_nothing(tables):
    _, _, _, plain, _ = tables
    (row,) = follow(plain, {"silence": (plain, {})}, LABELS, resamples=50).to_dict("records")
    assert (row["moved"], row["worse"], row["num_conflicts"]) == (0, 0, 0)
    assert np.isnan(row["toward_donor"])


def test_what_has_no_distribution_in_either_is_dropped_and_p_values_are_adjusted(tables, cell):
    votes, own, _, plain, changed = tables
    failed = changed.copy()
    failed.loc[failed.index[:2], [f"p_{label}" for label in LABELS]] = np.nan
    table = follow(plain, {"a": (failed, {}), "b": (changed, {})}, LABELS, resamples=50)
    assert list(table["num_utterances"]) == [6, 8]
    assert list(table["num_dropped"]) == [2, 0]
    assert table["js_own"][0] == pytest.approx(js(own[2:], (votes / 6)[2:]).mean())
    assert (table["worse_p_holm"] >= table["worse_p"]).all()
    assert table["worse_p_holm"].min() == pytest.approx(min(1, 2 * table["worse_p"].min()))
