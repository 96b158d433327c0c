"""Paired tests keep their level, find differences and agree with scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from emoprobe.errors import InputError
from emoprobe.metrics.functional import METRICS, js_divergence
from emoprobe.metrics.intervals import bootstrap_intervals
from emoprobe.metrics.significance import holm, paired_test, paired_tests

LABELS = 4


def draw_runs(clusters: int, rng: np.random.Generator, advantage: float = 0.0):
    """Two runs of the same kind, each with its own strong habits per speaker; the first may be better."""
    speaker = np.repeat(np.arange(clusters), 2 + rng.poisson(8 * rng.gamma(2, 0.5, clusters)))
    truth = rng.dirichlet(np.full(LABELS, 0.5), len(speaker))
    votes = rng.multinomial(7, truth / truth.sum(axis=1, keepdims=True)).astype(float)

    def run(skill: float) -> np.ndarray:
        share = np.clip(skill + 0.2 * rng.standard_normal(clusters), 0, 1)[speaker, None]
        return share * truth + (1 - share) * rng.dirichlet(np.full(LABELS, 0.7), clusters)[speaker]

    return run(0.5 + advantage), run(0.5), votes / 7, votes, speaker


@pytest.mark.parametrize(("metric", "clusters"), [("js_divergence", 9), ("js_divergence", 30), ("uar", 30)])
def test_level_under_the_null(metric, clusters):
    """Rejections at 5 % are binomial; a test that ignores the speakers rejects far too often."""
    rng = np.random.default_rng(clusters)
    corpora, clustered, naive = 400, 0, 0
    for seed in range(corpora):
        *data, speaker = draw_runs(clusters, rng)
        clustered += paired_test(*data, speaker, metric, resamples=300, seed=seed).p_value <= 0.05
        if seed < 100:
            naive += paired_test(*data, range(len(speaker)), metric, resamples=300, seed=seed).p_value <= 0.05
    low, high = stats.binom.interval(0.998, corpora, 0.05)
    assert low <= clustered <= high
    assert naive > 20


def test_power_against_a_real_difference():
    rng = np.random.default_rng(0)
    tests = [paired_test(*draw_runs(30, rng, advantage=0.25), resamples=300) for _ in range(40)]
    assert sum(test.p_value <= 0.05 for test in tests) >= 36
    assert all(test.difference < 0 for test in tests if test.p_value <= 0.05)
    assert sum(test.high < 0 for test in tests) >= 34


@pytest.mark.parametrize("size", [5, 9, 11])
def test_agrees_with_scipy_on_single_clips(make, size):
    a, b = make(size, size, 4), make(size + 100, size, 4)
    values = [js_divergence(pred, a.target, reduction="none").numpy() for pred in (a.pred, b.pred)]
    expected = stats.permutation_test(
        values, lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis), permutation_type="samples", n_resamples=np.inf
    )
    test = paired_test(a.pred, b.pred, a.target, a.votes, range(size))
    assert test.difference == pytest.approx(expected.statistic)
    assert test.p_value == pytest.approx(expected.pvalue, rel=1e-12)
    differences = values[0] - values[1]
    assert test.effect_size == pytest.approx(differences.mean() / differences.std(ddof=1))
    assert (test.num_utterances, test.num_clusters) == (size, size)


def test_random_exchanges_estimate_the_enumerated_p_value(make):
    a, b = make(1, 60, 4), make(2, 60, 4)
    clusters = np.arange(60) % 12
    data = (a.pred, b.pred, a.target, a.votes, clusters)
    exact, drawn = (paired_test(*data, "macro_f1", resamples=number).p_value for number in (2048, 2047))
    assert exact * 2**11 == pytest.approx(round(exact * 2**11))
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 2047))
    assert drawn != exact


@pytest.mark.parametrize("metric", ["uar", "r2_per_class", "entropy_spearman", "vote_nll", "ece_5"])
def test_metrics_that_are_no_means_are_computed_on_exchanged_predictions(make, metric):
    a, b = make(3, 42, 4), make(4, 42, 4)
    clusters = np.arange(42) % 7
    differences = []
    for number in range(2**7):
        swap = ((number >> clusters) & 1)[:, None] == 1
        pair = np.where(swap, b.pred, a.pred), np.where(swap, a.pred, b.pred)
        differences.append(np.subtract(*(float(METRICS[metric](pred, a.target, a.votes)) for pred in pair)))
    test = paired_test(a.pred, b.pred, a.target, a.votes, clusters, metric)
    assert test.difference == pytest.approx(differences[0], abs=1e-12)
    assert test.p_value == pytest.approx(np.mean(np.abs(differences) >= abs(differences[0]) - 1e-12))
    per_cluster = [
        np.subtract(*(float(METRICS[metric](p[k], a.target[k], a.votes[k])) for p in (a.pred, b.pred)))
        for k in (clusters == c for c in range(7))
    ]
    assert test.effect_size == pytest.approx(np.mean(per_cluster) / np.std(per_cluster, ddof=1))


def test_exchanging_the_runs_turns_the_sign_only(make):
    a, b = make(5, 40, 3), make(6, 40, 3)
    clusters = np.arange(40) % 8
    one, other = (paired_test(*pair, a.target, a.votes, clusters) for pair in ((a.pred, b.pred), (b.pred, a.pred)))
    assert (one.difference, one.low, one.high) == pytest.approx((-other.difference, -other.high, -other.low))
    assert one.p_value == other.p_value
    assert one.effect_size == pytest.approx(-other.effect_size)
    assert one.low < one.difference < one.high


def test_interval_of_a_difference_is_paired():
    """Runs that share most of their errors differ by much less than either of their intervals is wide."""
    rng = np.random.default_rng(0)
    a, _, target, votes, speaker = draw_runs(30, rng)
    b = 0.95 * a + 0.05 / LABELS
    test = paired_test(a, b, target, votes, speaker)
    low, high = bootstrap_intervals(a, target, votes, speaker)["js_divergence"]
    assert test.high - test.low < (high - low) / 3


@pytest.mark.parametrize("metric", METRICS)
def test_a_run_does_not_differ_from_itself(make, metric):
    case = make(7, 30, 3)
    test = paired_test(case.pred, case.pred, case.target, case.votes, np.arange(30) % 6, metric, resamples=100)
    if metric == "kl_pred_target":  # infinite on both sides
        assert math.isnan(test.difference)
        assert math.isnan(test.p_value)
    else:
        assert (test.difference, test.low, test.high, test.p_value) == (0, 0, 0, 1)
    assert math.isnan(test.effect_size)


def test_undefined_tests_are_nan(make):
    a, b = make(8, 20, 3), make(9, 20, 3)
    one = paired_test(a.pred, b.pred, a.target, a.votes, ["s"] * 20)
    assert math.isfinite(one.difference)
    assert all(math.isnan(x) for x in (one.low, one.high, one.p_value, one.effect_size))
    certain = np.eye(3)[np.zeros(20, dtype=int)]
    infinite = paired_test(certain, b.pred, a.target, a.votes, np.arange(20) % 5, "vote_nll")
    assert infinite.difference == np.inf
    assert math.isnan(infinite.p_value)


def test_holm_by_hand():
    # Sorted .01, .02, .03, .04 times 4, 3, 2, 1 is .04, .06, .06, .04; running maximum .04, .06, .06, .06.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
    adjusted = holm([0.02, math.nan, 0.01])
    assert adjusted[0] == pytest.approx(0.02)
    assert adjusted[2] == pytest.approx(0.02)
    assert math.isnan(adjusted[1])
    with pytest.raises(InputError, match="between 0 and 1") as caught:
        holm([0.5, 1.5])
    assert caught.value.row == 2


def test_holm_keeps_the_family_wise_error_rate():
    p_values = np.random.default_rng(0).random((4000, 6))
    wrong = np.mean([min(holm(row)) <= 0.05 for row in p_values])
    assert wrong == pytest.approx(0.05, abs=0.011)


def test_all_pairs_on_common_utterances(make):
    a, b, c = make(1, 50, 4), make(2, 50, 4), make(3, 50, 4)
    gappy = b.pred.copy()
    gappy[:7] = np.nan
    partly = c.pred.copy()
    partly[5:9, 0] = np.nan
    clusters = np.arange(50) % 10
    found = paired_tests({"a": a.pred, "b": gappy, "c": partly}, a.target, a.votes, clusters, resamples=200)
    assert [(one.name_a, one.name_b, one.num_dropped) for one in found] == [("a", "b", 7), ("a", "c", 4), ("b", "c", 9)]
    kept = np.arange(50) >= 9
    expected = paired_test(b.pred[kept], c.pred[kept], a.target[kept], a.votes[kept], clusters[kept], resamples=200)
    assert found[2].test == expected
    assert [one.adjusted_p_value for one in found] == holm([one.test.p_value for one in found])


def test_runs_without_common_utterances(make):
    a = make(4, 10, 3)
    halves = np.repeat(a.pred[None], 2, axis=0)
    halves[0, :5], halves[1, 5:] = np.nan, np.nan
    (one,) = paired_tests({"a": halves[0], "b": halves[1]}, a.target, a.votes, range(10))
    assert (one.num_dropped, one.test.num_utterances) == (10, 0)
    assert math.isnan(one.test.p_value)
    assert math.isnan(one.adjusted_p_value)


def test_bad_input_is_an_error(make):
    a = make(5, 10, 3)
    with pytest.raises(InputError, match="unknown metric 'accuracy'"):
        paired_test(a.pred, a.pred, a.target, a.votes, range(10), "accuracy")
    with pytest.raises(InputError, match="NaN"):
        paired_test(np.where(a.pred > 0.5, np.nan, a.pred), a.pred, a.target, a.votes, range(10))
    with pytest.raises(InputError, match=r"the predictions of b have shape \[9, 3\]"):
        paired_tests({"a": a.pred, "b": a.pred[:9]}, a.target, a.votes, range(10))
