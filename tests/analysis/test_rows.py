"""Rows of the metric table: intervals, shuffles, the share of the range, and the human rows."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from emoprobe.analysis.options import AnalysisOptions
from emoprobe.analysis.rows import make_rows, ratings_of_frame
from emoprobe.beliefs.belief import Belief
from emoprobe.beliefs.distributions import Distributions
from emoprobe.beliefs.targets import Targets
from emoprobe.metrics.floors import floors
from emoprobe.metrics.functional import METRICS, evaluate, metrics_of
from emoprobe.run.cell import Cell
from emoprobe.run.predictions import clusters_of

LABELS = ("anger", "neutral", "sad")
SIZE = 60


@pytest.fixture(scope="module")
def targets() -> Targets:
    rng = np.random.default_rng(0)
    truth = rng.dirichlet([0.7, 1.2, 0.5], SIZE)
    votes = np.stack([rng.multinomial(8, p) for p in truth]).astype(float)
    frame = pd.DataFrame(votes, columns=[f"votes_{label}" for label in LABELS])
    frame["speaker"] = [f"s{i % 12}" for i in range(SIZE)]
    frame["num_raters"] = pd.array([8.0] * SIZE, dtype="Float64")
    frame.index = pd.Index([f"u{i}" for i in range(SIZE)], name="utterance_id")
    shares = votes / 8
    return Targets(frame, shares, votes, shares.mean(axis=0), "evaluated votes")


def belief(probs: np.ndarray, readout: str = "label_likelihood") -> Belief:
    with np.errstate(divide="ignore"):
        log_probs = np.log(probs)
    status = tuple("ok" if np.isfinite(row).all() else "undefined" for row in log_probs)
    return Belief(Cell("m", "p", readout, "sum", "none"), "", Distributions(log_probs, status))


@pytest.fixture(scope="module")
def predictions(targets: Targets) -> np.ndarray:
    noise = np.random.default_rng(1).dirichlet([1, 1, 1], SIZE)
    return 0.7 * targets.distribution + 0.3 * noise


def test_order_and_content_of_the_rows(targets: Targets, predictions: np.ndarray):
    rows = make_rows([belief(predictions)], targets, AnalysisOptions((), resamples=300))
    assert [(row["kind"], row["readout"]) for row in rows] == [
        ("readout", "label_likelihood"),
        ("floor", "uniform"),
        ("floor", "prior"),
        ("floor", "majority"),
        ("reference", "one_hot_of_top_vote"),
        ("reference", "half_against_half"),
        ("reference", "leave_one_rater_out"),
        ("ceiling", "human"),
    ]
    readout, prior, ceiling = rows[0], rows[2], rows[-1]
    assert readout["metrics"] == pytest.approx(evaluate(predictions, targets.distribution, targets.votes))
    low, high = readout["intervals"]["js_divergence"]
    assert low < readout["metrics"]["js_divergence"] < high
    assert set(readout["intervals"]) == {name for name in metrics_of() if "ece" not in name}
    assert not any("ece" in name for name in readout["share_of_range"])
    for name in metrics_of():
        definition = METRICS[name]
        if "ece" in name:
            continue
        value, floor, top = (row["metrics"][name] for row in (readout, prior, ceiling))
        share = readout["share_of_range"][name]
        better = top > floor if definition.higher_is_better else top < floor
        if better and math.isfinite(floor) and math.isfinite(top):
            assert share == pytest.approx((value - floor) / (top - floor))
        else:
            assert math.isnan(share)
    # The same distributions given to other clips: any one shuffle is near the mean over shuffles.
    other = np.random.default_rng(5).permutation(SIZE)
    one = evaluate(predictions[other], targets.distribution, targets.votes)["js_divergence"]
    assert readout["shuffled"]["js_divergence"] == pytest.approx(one, abs=0.06)
    assert readout["shuffled"]["js_divergence"] > readout["metrics"]["js_divergence"] + 0.1
    assert ceiling["num_utterances"] == SIZE


def test_failures_layers_and_no_resamples(targets: Targets, predictions: np.ndarray):
    broken = predictions.copy()
    broken[:3] = np.nan
    cells = [belief(broken), belief(predictions, "layerwise")]
    first, layer, *_ = make_rows(cells, targets, AnalysisOptions((), resamples=200))
    assert (first["num_utterances"], first["num_failed"]) == (SIZE - 3, 3)
    expected = evaluate(predictions[3:], targets.distribution[3:], targets.votes[3:])
    assert first["metrics"] == pytest.approx(expected)
    assert layer["intervals"] == layer["shuffled"] == {}
    none = make_rows(cells[:1], targets, AnalysisOptions((), resamples=0))
    assert all(row["intervals"] == {} for row in none)
    whole = make_rows(cells[:1], targets, AnalysisOptions((), failures="uniform", resamples=0))
    assert (whole[0]["num_utterances"], whole[0]["num_failed"]) == (SIZE, 3)
    all_failed = make_rows([belief(np.full((SIZE, 3), np.nan))], targets, AnalysisOptions((), resamples=50))
    assert all_failed[0]["metrics"] == all_failed[0]["share_of_range"] == {}


def test_floors_keep_their_values(targets: Targets):
    rows = {row["readout"]: row for row in make_rows([], targets, AnalysisOptions((), resamples=0))}
    for name, pred in floors(targets.distribution, targets.votes, prior=targets.prior).items():
        expected = evaluate(pred, targets.distribution, targets.votes)
        np.testing.assert_equal(rows[name]["metrics"], expected)


def test_speakers_are_clusters_and_unknown_ones_stand_for_themselves():
    frame = pd.DataFrame({"speaker": ["a", None, "a", ""]}, index=["u1", "u2", "u3", "a"])
    assert clusters_of(frame) == ["speaker a", "utterance u2", "speaker a", "utterance a"]


def test_ratings_of_single_raters(targets: Targets):
    frame = targets.frame[[f"votes_{label}" for label in LABELS]].head(2).copy()
    frame["rater_votes"] = [json.dumps({"r1": {"sad": 1.0}, "r2": {"anger": 0.5, "sad": 0.5}}), json.dumps({"r1": {}})]
    ratings = ratings_of_frame(frame, targets)
    np.testing.assert_array_equal(ratings.clip, [0, 0])
    np.testing.assert_array_equal(ratings.votes, [[0, 0, 1], [0.5, 0, 0.5]])
    frame.loc["u0", "rater_votes"] = None
    assert ratings_of_frame(frame, targets) is None
    assert ratings_of_frame(targets.frame, targets) is None
