"""Rank statistics against scipy, scikit-learn and plain loops, and under weights against repeated data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau
from sklearn.metrics import average_precision_score, roc_auc_score

from emoprobe.metrics.ranking import auroc, average_precision, kendall_tau, risk_at, risk_coverage_area
from emoprobe.metrics.resampling import draw_clusters

RNG = np.random.default_rng(0)
SIZE, CLUSTERS = 60, 7
SCORES = RNG.integers(0, 12, SIZE) / 4  # with many ties
OTHERS = np.round(SCORES + RNG.normal(0, 1, SIZE), 1)
POSITIVE = OTHERS > 1.5
LOSS = RNG.random(SIZE)
CLUSTER = RNG.permutation(np.arange(SIZE) % CLUSTERS)
WEIGHTS = np.concatenate([np.ones((1, CLUSTERS), dtype=int), draw_clusters(RNG, CLUSTERS, 5)])


def plain_area(confidence: np.ndarray, loss: np.ndarray) -> float:
    """Mean over k of the mean loss of the first k, averaged over many random orders of equal confidence."""
    rng = np.random.default_rng(1)
    counts = np.arange(1, len(loss) + 1)
    orders = [np.lexsort((rng.random(len(loss)), -confidence)) for _ in range(4000)]
    return float(np.mean([(np.cumsum(loss[order]) / counts).mean() for order in orders]))


CASES = {
    "kendall": (
        lambda weights: kendall_tau(SCORES, OTHERS, CLUSTER, weights),
        lambda rows: kendalltau(SCORES[rows], OTHERS[rows]).statistic,
    ),
    "auroc": (
        lambda weights: auroc(SCORES, POSITIVE, CLUSTER, weights),
        lambda rows: roc_auc_score(POSITIVE[rows], SCORES[rows]),
    ),
    "average_precision": (
        lambda weights: average_precision(SCORES, POSITIVE, CLUSTER, weights),
        lambda rows: average_precision_score(POSITIVE[rows], SCORES[rows]),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_of_all_utterances_and_of_repeated_ones(name):
    ours, reference = CASES[name]
    expected = [reference(np.repeat(np.arange(SIZE), weights[CLUSTER])) for weights in WEIGHTS]
    np.testing.assert_allclose(ours(WEIGHTS), expected, atol=1e-12)


def test_area_under_risk_and_coverage():
    areas = risk_coverage_area(SCORES, LOSS, CLUSTER, WEIGHTS)
    for area, weights in zip(areas, WEIGHTS, strict=True):
        rows = np.repeat(np.arange(SIZE), weights[CLUSTER])
        assert area == pytest.approx(plain_area(SCORES[rows], LOSS[rows]), abs=2e-3)
    untied = RNG.permutation(SIZE)
    order = np.argsort(-untied)
    exact = np.mean([LOSS[order][: k + 1].mean() for k in range(SIZE)])
    assert risk_coverage_area(untied, LOSS, CLUSTER, WEIGHTS[:1])[0] == pytest.approx(exact, abs=1e-12)
    constant = risk_coverage_area(np.zeros(SIZE), LOSS, CLUSTER, WEIGHTS[:1])[0]
    assert constant == pytest.approx(LOSS.mean(), abs=1e-12)  # who knows nothing of its errors leaves none out


def test_the_most_confident_are_answered():
    assert risk_at(np.array([3.0, 1, 2, 2]), np.array([0.0, 1, 0.5, 0.7]), 0.5) == pytest.approx((0 + 0.6) / 2)
    assert risk_at(SCORES, LOSS, 1) == pytest.approx(LOSS.mean())


def test_what_is_undefined_is_nan():
    same, none = np.ones(SIZE), np.zeros(SIZE, dtype=bool)
    assert np.isnan(kendall_tau(same, OTHERS, CLUSTER, WEIGHTS)).all()
    assert np.isnan(auroc(SCORES, none, CLUSTER, WEIGHTS)).all()
    assert np.isnan(average_precision(SCORES, none, CLUSTER, WEIGHTS)).all()
    assert auroc(same, POSITIVE, CLUSTER, WEIGHTS) == pytest.approx(0.5)
