"""Metrics of the points of a scale: references, edge cases, floors, ceilings and intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from emoprobe.labels import LabelSet, Scale
from emoprobe.metrics.ceiling import human_ceiling, shuffled_scores
from emoprobe.metrics.functional import (
    METRICS,
    ccc,
    emd,
    evaluate,
    expected,
    headline_of,
    metrics_of,
    pearson,
    rmse,
    spread,
)
from emoprobe.metrics.intervals import bootstrap_intervals
from emoprobe.metrics.significance import paired_test

NUMBERS = ("ccc", "pearson", "rmse", "emd")
HARD = {"wa", "uar", "macro_f1", "weighted_f1", "ece_5", "ece_10"}
POINTS = ("1", "2", "3", "4", "5")
WORDS = {point: {"numeral": [point]} for point in POINTS}
VALENCE = LabelSet("valence5", POINTS, WORDS, scale=Scale("valence", "very negative", "very positive"))


def simulate(clips: int, raters: int, seed: int, noise: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    """True distributions over five points, rounded normal ones, and the votes drawn from them."""
    rng = np.random.default_rng(seed)
    middle, width = rng.normal(2, 1, clips)[:, None], noise * np.exp(0.3 * rng.normal(size=clips))[:, None]
    below = stats.norm.cdf((np.arange(4) + 0.5 - middle) / width)
    truth = np.diff(below, axis=1, prepend=0, append=1)
    return truth, np.stack([rng.multinomial(raters, p) for p in truth]).astype(float)


def shares(votes: np.ndarray) -> np.ndarray:
    return votes / votes.sum(axis=1, keepdims=True)


def test_metrics_of_a_scale_come_first_and_those_of_one_right_label_are_left_out():
    of_scale, of_categories = metrics_of(VALENCE), metrics_of()
    assert of_scale[:5] == (*NUMBERS, "js_divergence")
    assert set(of_scale) == set(METRICS) - HARD
    assert of_categories == metrics_of(LabelSet("plain", POINTS, WORDS))  # numerals alone are no scale
    assert set(of_categories) == set(METRICS) - set(NUMBERS)
    assert (headline_of(VALENCE), headline_of()) == ("ccc", "js_divergence")


def test_an_evaluation_has_the_metrics_it_is_asked_for_in_their_order(make):
    case = make(1, 20, 5)
    found = evaluate(case.pred, case.target, case.votes, metrics=metrics_of(VALENCE))
    assert tuple(found) == (*metrics_of(VALENCE), "num_utterances", "num_majority")
    assert tuple(evaluate(case.pred, case.target))[:-2] == metrics_of()


def test_expected_value_and_spread_are_those_of_scipy(make):
    for row in make(2, 20, 5).pred:
        of = stats.rv_discrete(values=(np.arange(5), row))
        assert expected(row[None])[0] == pytest.approx(of.mean())
        assert spread(row[None])[0] == pytest.approx(of.std())


def test_ccc_is_that_of_torchmetrics_but_for_the_divisor_of_the_variances(make):
    """torchmetrics divides variances and covariance by n - 1: the same as Lin's where the means are equal."""
    import torch
    from torchmetrics import ConcordanceCorrCoef

    case = make(3, 40, 5)
    p, t = (torch.from_numpy(expected(side)) for side in (case.pred, case.target))
    metric = ConcordanceCorrCoef().set_dtype(torch.float64)
    theirs = float(metric(p, t))
    gap = float((p.mean() - t.mean()) ** 2)
    sizes = [float(np.cov(p.numpy(), t.numpy())[place]) for place in ((0, 0), (1, 1), (0, 1))]
    assert theirs == pytest.approx(2 * sizes[2] / (sizes[0] + sizes[1] + gap), rel=1e-6)
    ours = float(ccc(case.pred, case.target))
    assert ours == pytest.approx(2 * sizes[2] / (sizes[0] + sizes[1] + gap * 40 / 39), rel=1e-12)
    whole = np.concatenate([case.pred, case.pred[:, ::-1]]), np.concatenate([case.target, case.target[:, ::-1]])
    p, t = (torch.from_numpy(expected(side)) for side in whole)  # the means of both are that of the scale
    assert float(ccc(*whole)) == pytest.approx(float(metric(p, t)), rel=1e-6)


def test_ccc_pays_for_a_shift_and_a_narrow_prediction_and_pearson_does_not():
    target = np.eye(5)[[1, 2, 3, 1, 2, 3]]
    shifted = np.roll(target, 1, axis=1)
    narrow = 0.5 * target + 0.5 * np.eye(5)[2]
    assert float(pearson(shifted, target)) == pytest.approx(1) == float(pearson(narrow, target))
    assert float(ccc(shifted, target)) == pytest.approx(2 * (2 / 3) / (2 * (2 / 3) + 1))
    assert float(ccc(narrow, target)) == pytest.approx(2 * (1 / 3) / (2 / 3 + 1 / 6))
    assert float(rmse(shifted, target)) == pytest.approx(1) == float(emd(shifted, target))


@pytest.mark.parametrize("constant", [[0.2, 0.2, 0.2, 0.2, 0.2], [0.1, 0.2, 0.3, 0.4, 0.0]])
def test_constant_sides_have_no_correlation_and_no_concordance(make, constant):
    case, same = make(4, 30, 5), np.tile(constant, (30, 1))
    assert float(ccc(same, case.target)) == 0 == float(ccc(case.pred, same))
    assert math.isnan(pearson(same, case.target))
    assert math.isnan(pearson(case.pred, same))
    assert math.isnan(ccc(same, same))
    assert math.isnan(ccc(case.pred[:1], case.target[:1]))
    assert float(rmse(same, same)) == 0
    ends = bootstrap_intervals(same, case.target, case.votes, np.arange(30) % 6, resamples=50, metrics=NUMBERS)
    assert ends["ccc"] == (0, 0)
    assert all(map(math.isnan, ends["pearson"]))


def test_emd_is_at_least_the_difference_of_the_numbers_and_never_beyond_the_scale(make):
    case = make(5, 60, 5)
    values = emd(case.pred, case.target, reduction="none").numpy()
    assert (values >= abs(expected(case.pred) - expected(case.target)) - 1e-12).all()
    assert float(emd(np.eye(5)[:1], np.eye(5)[-1:])) == 4


def test_shuffling_leaves_no_concordance(make):
    truth, votes = simulate(200, 5, 0)
    found = shuffled_scores(truth, shares(votes), votes, metrics=NUMBERS)
    assert tuple(found) == NUMBERS
    assert abs(found["ccc"]) < 0.05
    assert abs(found["pearson"]) < 0.05


def test_a_perfect_model_of_the_raters_reaches_the_ceiling():
    for raters, noise, tolerance in ((3, 0.9, 0.04), (5, 0.6, 0.02), (10, 0.6, 0.01)):
        gaps = []
        for seed in range(4):
            truth, votes = simulate(200, raters, seed, noise)
            best = evaluate(truth, shares(votes), votes, metrics=metrics_of(VALENCE))
            found = human_ceiling(votes, draws=5, metrics=metrics_of(VALENCE))
            assert tuple(found.values) == tuple(found.half_against_half) == metrics_of(VALENCE)
            assert found.half_against_half["ccc"] < found.values["ccc"] > found.leave_one_out["ccc"]
            gaps.append([best[name] - found.values[name] for name in ("ccc", "pearson", "js_divergence")])
        assert np.abs(np.mean(gaps, axis=0)).max() < tolerance, (raters, noise)


def test_ceiling_of_one_rater_against_the_rest_is_the_concordance_of_single_numbers():
    votes = simulate(30, 4, 1)[1]
    left, rest = [], []
    for row in votes:
        numbers = np.repeat(np.arange(5), row.astype(int))
        left += list(numbers)
        rest += [np.delete(numbers, i).mean() for i in range(4)]
    expected_ccc = 2 * np.cov(left, rest, bias=True)[0, 1]
    expected_ccc /= np.var(left) + np.var(rest) + (np.mean(left) - np.mean(rest)) ** 2
    assert human_ceiling(votes, draws=1, metrics=NUMBERS).leave_one_out["ccc"] == pytest.approx(expected_ccc)


def test_intervals_hold_the_value_of_the_population_about_as_often_as_they_say():
    """Speakers share a bias, so their clips are not independent."""
    rng = np.random.default_rng(0)

    def corpus(speakers: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        bias = np.repeat(rng.normal(0, 0.5, speakers), 8)
        truth = rng.dirichlet([0.8] * 5, 8 * speakers)
        heard = np.clip(expected(truth) + bias + rng.normal(0, 0.5, 8 * speakers), 0, 3.999)
        pred = np.zeros_like(truth)
        low = heard.astype(int)
        pred[np.arange(len(pred)), low], pred[np.arange(len(pred)), low + 1] = 1 - (heard - low), heard - low
        return pred, truth, np.repeat(np.arange(speakers), 8)

    whole = corpus(20_000)
    truth = evaluate(*whole[:2], metrics=NUMBERS)
    held = dict.fromkeys(NUMBERS, 0)
    for _ in range(100):
        pred, target, speakers = corpus(24)
        ends = bootstrap_intervals(pred, target, None, speakers, resamples=300, metrics=NUMBERS)
        for name in NUMBERS:
            held[name] += ends[name][0] <= truth[name] <= ends[name][1]
    assert all(86 <= count <= 100 for count in held.values()), held


def test_paired_test_tells_a_better_model_by_its_concordance():
    truth, votes = simulate(160, 5, 3)
    blurred = 0.4 * truth + 0.6 * truth.mean(axis=0)
    test = paired_test(truth, blurred, shares(votes), votes, np.arange(160) % 16, "ccc", resamples=300)
    assert test.difference == pytest.approx(
        float(ccc(truth, shares(votes))) - float(ccc(blurred, shares(votes))), abs=1e-12
    )
    assert test.low > 0
    assert test.p_value < 0.01
