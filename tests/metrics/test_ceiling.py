"""The human ceiling recovers the score of the true distributions, which the raw figures miss by far."""

from __future__ import annotations

import csv
import importlib.util
import io
import itertools
import math
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import check_grad
from scipy.special import logsumexp

from emoprobe.errors import InputError
from emoprobe.metrics import dirichlet
from emoprobe.metrics.ceiling import (
    Ratings,
    half_against_half,
    human_ceiling,
    leave_one_out,
    ratings_of,
    share_of_range,
    shuffled_scores,
)
from emoprobe.metrics.dirichlet import DirichletMixture, fit_dirichlet_mixture
from emoprobe.metrics.functional import METRICS, evaluate, metrics_of

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_demo_corpus.py"


def shares(votes: np.ndarray) -> np.ndarray:
    return votes / votes.sum(axis=1, keepdims=True)


def draw_votes(truth: np.ndarray, rng: np.random.Generator, low: int = 8, high: int = 10) -> np.ndarray:
    return rng.multinomial(rng.integers(low, high + 1, len(truth)), truth).astype(float)


def dirichlet_raters(size: int, rng: np.random.Generator) -> np.ndarray:
    return rng.dirichlet([0.2, 0.4, 0.6, 0.8, 1.0], size)


def two_clusters(size: int, rng: np.random.Generator) -> np.ndarray:
    clear = rng.random(size) < 0.5
    return np.where(clear[:, None], rng.dirichlet([20, 2, 1, 1, 1], size), rng.dirichlet([1, 1, 6, 8, 4], size))


def logistic_normal(size: int, rng: np.random.Generator) -> np.ndarray:
    """No mixture of Dirichlets."""
    scores = 2 * rng.standard_normal((size, 5)) + np.linspace(0, 2, 5)
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def demo():
    """``(truth, votes)`` of the demo corpus's rater model, for any number of rounds of 48 utterances."""
    spec = importlib.util.spec_from_file_location("make_demo_corpus", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = script
    spec.loader.exec_module(script)

    def tables(seed: int, rounds: int) -> tuple[np.ndarray, np.ndarray]:
        rows = list(csv.DictReader(io.StringIO(script.make_tables(seed, rounds)["manifest.csv"])))
        truth, votes = (
            np.array([[float(row[f"{kind}_{label}"]) for label in script.EMOTIONS] for row in rows])
            for kind in ("true", "votes")
        )
        return shares(truth), votes

    return tables


def assert_recovers(truth: np.ndarray, votes: np.ndarray) -> None:
    """The errors allowed are a few times the noise of such a corpus; the raw figures are far outside."""
    oracle = evaluate(truth, shares(votes), votes)
    found = human_ceiling(votes, draws=10)
    assert found.values["js_divergence"] == pytest.approx(oracle["js_divergence"], abs=0.01)
    assert found.values["bhattacharyya"] == pytest.approx(oracle["bhattacharyya"], abs=0.01)
    assert found.values["brier"] == pytest.approx(oracle["brier"], abs=0.002)
    assert found.values["vote_nll"] == pytest.approx(oracle["vote_nll"], abs=0.04)
    assert found.values["total_variation"] == pytest.approx(oracle["total_variation"], abs=0.015)
    for name in ("r2_within_clip", "r2_per_class", "wa", "cosine"):
        assert found.values[name] == pytest.approx(oracle[name], abs=0.03), name
    for raw in (found.half_against_half, found.leave_one_out):
        assert raw["js_divergence"] > oracle["js_divergence"] + 0.08
        assert raw["bhattacharyya"] < oracle["bhattacharyya"] - 0.08
        assert raw["brier"] > 2 * oracle["brier"]
    assert (found.num_utterances, found.num_left_out, found.note) == (len(votes), 0, "")


@pytest.mark.parametrize("raters", [dirichlet_raters, two_clusters, logistic_normal])
@pytest.mark.parametrize("seed", [0, 1])
def test_ceiling_is_the_score_of_the_true_distributions(raters, seed):
    rng = np.random.default_rng(seed)
    truth = raters(1500, rng)
    assert_recovers(truth, draw_votes(truth, rng))


@pytest.mark.parametrize("seed", [0, 1])
def test_ceiling_of_the_demo_corpus_s_rater_model(demo, seed):
    assert_recovers(*demo(seed, 20))


def test_ceiling_of_few_clips_is_rougher(demo):
    """As many clips as the bundled corpus has; the scores are somewhat too good."""
    errors = []
    for seed in range(4):
        truth, votes = demo(seed, 4)
        ceiling = human_ceiling(votes, draws=5).values["js_divergence"]
        errors.append(ceiling - evaluate(truth, shares(votes))["js_divergence"])
    assert np.abs(errors).max() < 0.02


def test_ceiling_of_three_raters():
    rng = np.random.default_rng(0)
    truth = dirichlet_raters(2000, rng)
    votes = draw_votes(truth, rng, 3, 3)
    oracle, found = evaluate(truth, shares(votes), votes), human_ceiling(votes, draws=10)
    assert found.values["js_divergence"] == pytest.approx(oracle["js_divergence"], abs=0.012)
    assert found.values["brier"] == pytest.approx(oracle["brier"], abs=0.003)


def test_brier_agrees_with_the_unbiased_formula_that_needs_no_model():
    """E |votes / m - p|^2 has the unbiased estimate sum_k n_k (m - n_k) / (m^2 (m - 1))."""
    rng = np.random.default_rng(0)
    votes = draw_votes(logistic_normal(1500, rng), rng, 3, 12)
    number = votes.sum(axis=1, keepdims=True)
    exact = (votes * (number - votes) / (number**2 * (number - 1))).sum(axis=1).mean() / votes.shape[1]
    assert human_ceiling(votes, draws=5).values["brier"] == pytest.approx(exact, abs=0.001)


def test_ceiling_scores_against_the_given_target():
    rng = np.random.default_rng(0)
    votes = draw_votes(dirichlet_raters(300, rng), rng)
    smooth = 0.5 * shares(votes) + 0.1
    plain, other = (human_ceiling(votes, target, draws=3).values for target in (None, smooth))
    assert plain == human_ceiling(votes, shares(votes), draws=3).values
    assert math.isinf(plain["kl_pred_target"])
    assert math.isfinite(other["kl_pred_target"])
    assert plain["vote_nll"] == other["vote_nll"]


# -- raters against raters ---------------------------------------------------------------------------------------------


def test_half_against_half_is_the_mean_over_all_splits():
    votes = np.array([[2.0, 1, 1], [0, 4, 0], [1, 2, 1]])
    expected = 0.0
    for row in votes:
        labels = np.repeat(np.arange(3), row.astype(int))
        splits = []
        for chosen in itertools.combinations(range(4), 2):
            mask = np.isin(np.arange(4), chosen)
            pair = [np.bincount(labels[part], minlength=3)[None] / 2 for part in (mask, ~mask)]
            splits.append(evaluate(*pair)["js_divergence"])
        expected += np.mean(splits) / 3
    found = half_against_half(ratings_of(votes), repeats=800)
    assert found["js_divergence"] == pytest.approx(expected, abs=0.015)
    assert tuple(found) == metrics_of()


def test_halves_are_equal_and_disjoint(monkeypatch):
    from emoprobe.metrics import ceiling

    votes = np.array([[5.0, 0, 2], [1, 1, 0], [0, 1, 0], [3, 3, 3]])
    seen = []
    nothing = dict.fromkeys(metrics_of(), 0.0)
    monkeypatch.setattr(ceiling, "evaluate", lambda *data, metrics: seen.append(data) or nothing)
    half_against_half(ratings_of(votes), repeats=50)
    for pred, target, second in seen:
        assert second.sum(axis=1).tolist() == [3, 1, 4]  # the third clip has one rater
        first = pred * second.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(target, shares(second))
        assert (first + second <= votes[[0, 1, 3]] + 1e-9).all()
    assert len({pred.tobytes() for pred, _, _ in seen}) > 5


def test_leave_one_out_is_the_mean_over_raters():
    votes = np.array([[2.0, 1, 0], [0, 3, 2], [1, 1, 2], [0, 1, 0]])
    expected = dict.fromkeys(("js_divergence", "brier", "cosine"), 0.0)
    for row in votes[:3]:
        for label in range(3):
            rest = row - np.eye(3)[label]
            values = evaluate(np.eye(3)[[label]], rest[None] / rest.sum()) if row[label] else dict.fromkeys(expected, 0)
            for name in expected:
                expected[name] += row[label] / row.sum() * values[name] / 3
    found = leave_one_out(ratings_of(votes))
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name
    assert math.isinf(found["vote_nll"])


def test_single_ratings_may_name_several_labels():
    """Two raters of a clip, one of whom splits the vote; listed in any order."""
    ratings = Ratings(np.array([5, 2, 5, 2, 9]), np.array([[1, 0.0], [0.5, 0.5], [0, 1], [1, 0], [1, 0]]))
    brier = evaluate(np.array([[0.5, 0.5], [1, 0]]), np.array([[1, 0.0], [0, 1]]))["brier"]
    assert half_against_half(ratings)["brier"] == pytest.approx(brier)
    assert leave_one_out(ratings)["brier"] == pytest.approx(brier)


def test_counts_that_are_not_whole_have_no_single_ratings():
    found = ratings_of(np.array([[1.5, 0.5], [2, 1]]))
    assert found.clip.tolist() == [1, 1, 1]
    assert found.votes.tolist() == [[1, 0], [1, 0], [0, 1]]
    empty = ratings_of(np.array([[1.5, 0.5]]))
    for raw in (half_against_half(empty), leave_one_out(empty)):
        assert all(math.isnan(value) for value in raw.values())


# -- which clips can be used -------------------------------------------------------------------------------------------


def test_clips_with_one_vote_or_shares_only_are_left_out():
    rng = np.random.default_rng(0)
    votes = draw_votes(dirichlet_raters(60, rng), rng)
    known = votes.sum(axis=1)
    mixed, raters = votes.copy(), known.copy()
    mixed[:5] = np.eye(5)
    mixed[5:9], raters[5:9] = shares(votes[5:9]), np.nan
    raters[:5] = 1
    found = human_ceiling(mixed, num_raters=raters, draws=2)
    assert (found.num_utterances, found.num_left_out) == (51, 9)
    assert found.note == "9 of 60 clips have one vote or shares only and are left out"
    expected = human_ceiling(votes[9:], draws=2)
    assert found.values == expected.values
    assert found.half_against_half == expected.half_against_half
    np.testing.assert_equal(found.leave_one_out, expected.leave_one_out)


def test_labels_beyond_the_raters_are_not_more_votes():
    """Three raters who named two labels each are three votes; where outside votes were dropped there are fewer."""
    rng = np.random.default_rng(0)
    votes = draw_votes(dirichlet_raters(400, rng), rng, 3, 3)
    single = human_ceiling(votes, draws=2).values
    doubled = human_ceiling(2 * votes, num_raters=np.full(400, 3), draws=2).values
    for name in ("js_divergence", "brier", "wa"):
        assert doubled[name] == pytest.approx(single[name], abs=1e-6), name
    assert human_ceiling(votes, num_raters=np.full(400, 5), draws=2).values == single


@pytest.mark.parametrize(
    ("votes", "what"),
    [
        (np.tile([2.0, 1], (19, 1)), "19 of 19 clips"),
        (np.concatenate([np.tile([2.0, 1], (20, 1)), np.tile([0.0, 1], (21, 1))]), "20 of 41 clips"),
        (np.tile([0.3, 0.7], (50, 1)), "0 of 50 clips"),
    ],
)
def test_too_few_votes_have_no_ceiling(votes, what):
    found = human_ceiling(votes)
    assert what in found.note
    assert tuple(found.values) == metrics_of()
    assert all(math.isnan(value) for value in found.values.values())


def test_unanimous_votes_and_repeated_seeds():
    unanimous = 5 * np.eye(3)[np.arange(60) % 3]
    assert human_ceiling(unanimous, draws=3).values["js_divergence"] < 0.01
    rng = np.random.default_rng(0)
    votes = draw_votes(dirichlet_raters(80, rng), rng)
    first, again, other = (human_ceiling(votes, draws=2, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_equal(asdict(first), asdict(again))
    assert first.values["js_divergence"] != other.values["js_divergence"]
    assert first.half_against_half["js_divergence"] != other.half_against_half["js_divergence"]


# -- the mixture -------------------------------------------------------------------------------------------------------


def test_likelihood_is_scipys_and_its_gradient_is_right():
    rng = np.random.default_rng(0)
    votes, alpha = rng.integers(0, 5, (30, 4)) + np.eye(4)[0], rng.gamma(1, size=(3, 4))
    table = dirichlet._VoteTable(votes)
    found = table.log_likelihood(alpha)
    for component, row in enumerate(alpha):
        number = votes.sum(axis=1).astype(int)
        expected = stats.dirichlet_multinomial.logpmf(votes.astype(int), row, number)
        coefficient = stats.multinomial.logpmf(votes, number, np.full(4, 0.25)) - number * np.log(0.25)
        np.testing.assert_allclose(found[:, component], expected - coefficient, rtol=1e-10)
    weights = rng.random((30, 3))
    error = check_grad(
        lambda x: (weights * table.log_likelihood(x.reshape(3, 4))).sum(),
        lambda x: table.gradient(x.reshape(3, 4), weights).ravel(),
        alpha.ravel(),
    )
    assert error < 1e-4 * np.abs(table.gradient(alpha, weights)).max()


def test_fit_finds_the_parameters_votes_were_drawn_with():
    rng = np.random.default_rng(0)
    alpha = np.array([[8.0, 1, 1], [0.5, 2, 4]])
    component = (rng.random(20_000) < 0.3).astype(int)
    truth = np.where(component[:, None] == 0, rng.dirichlet(alpha[0], 20_000), rng.dirichlet(alpha[1], 20_000))
    found = fit_dirichlet_mixture(draw_votes(truth, rng, 10, 14))
    assert len(found.alpha) == 2
    order = np.argsort(found.log_weights)[::-1]
    np.testing.assert_allclose(np.exp(found.log_weights[order]), [0.7, 0.3], atol=0.02)
    np.testing.assert_allclose(found.alpha[order], alpha, rtol=0.15)


def test_draws_follow_the_posterior():
    """Against Bayes' rule by brute force: prior draws weighted by the likelihood of the votes."""
    mixture = DirichletMixture(np.log([0.4, 0.6]), np.array([[0.05, 0.5, 2.0], [3.0, 1.0, 1.0]]), 0.0)
    rng = np.random.default_rng(0)
    votes = np.array([2.0, 1.5, 0.0])
    drawn = mixture.draw(np.tile(votes, (40_000, 1)), rng)
    np.testing.assert_allclose(drawn.sum(axis=1), 1)
    component = rng.choice(2, p=[0.4, 0.6], size=400_000)
    prior = np.stack([rng.dirichlet(row, 400_000) for row in mixture.alpha])[component, np.arange(400_000)]
    weight = np.exp((votes * np.log(np.maximum(prior, 1e-300))).sum(axis=1))
    for power in (1, 2):
        expected = weight @ prior**power / weight.sum()
        np.testing.assert_allclose((drawn**power).mean(axis=0), expected, atol=0.006)


def test_tiny_parameters_leave_no_nan():
    mixture = DirichletMixture(np.zeros(1), np.full((1, 4), 1e-3), 0.0)
    drawn = mixture.draw(np.array([[1.0, 0, 0, 0]] * 500), np.random.default_rng(0))
    assert np.isfinite(drawn).all()
    np.testing.assert_allclose(drawn.sum(axis=1), 1)
    assert np.isclose(logsumexp(mixture.log_weights), 0)


# -- floor and range ---------------------------------------------------------------------------------------------------


def test_share_of_range_by_hand():
    assert share_of_range(0.2, 0.3, 0.1, higher_is_better=False) == pytest.approx(0.5)
    assert share_of_range(0.5, 0.2, 0.8, higher_is_better=True) == pytest.approx(0.5)
    assert share_of_range(0.4, 0.3, 0.1, higher_is_better=False) == pytest.approx(-0.5)
    assert share_of_range(0.9, 0.2, 0.8, higher_is_better=True) > 1
    assert math.isnan(
        share_of_range(0.4, 0.30001, 0.3, higher_is_better=False)
    )  # a range of no width: -10,000 says nothing
    for floor, ceiling, higher in ((0.3, 0.1, True), (0.1, 0.3, False), (0.2, 0.2, True), (math.inf, 0.1, False)):
        assert math.isnan(share_of_range(0.2, floor, ceiling, higher_is_better=higher))
    assert math.isnan(share_of_range(0.2, 0.3, math.nan, higher_is_better=False))


def test_shuffled_scores_are_the_mean_over_other_clips_predictions(make):
    case = make(1, 12, 4)
    pairs = [(i, j) for i in range(12) for j in range(12) if i != j]
    rows, sources = np.array(pairs).T
    expected = evaluate(case.pred[sources], case.target[rows], case.votes[rows])
    found = shuffled_scores(case.pred, case.target, case.votes, repeats=600)
    assert tuple(found) == metrics_of()
    for name in ("js_divergence", "brier", "vote_nll", "wa", "r2_within_clip"):
        assert found[name] == pytest.approx(expected[name], rel=0.05), name


def test_no_clip_keeps_its_prediction():
    certain = np.eye(3)
    assert shuffled_scores(certain, certain)["wa"] == 0
    assert math.isnan(shuffled_scores(certain[:1], certain[:1])["wa"])


def test_a_constant_prediction_loses_nothing_by_shuffling(make):
    case = make(2, 30, 4)
    constant = np.tile([0.1, 0.2, 0.3, 0.4], (30, 1))
    found, plain = (
        score(constant, case.target, case.votes, metrics=tuple(METRICS)) for score in (shuffled_scores, evaluate)
    )
    for name in METRICS:
        np.testing.assert_allclose(found[name], plain[name], rtol=1e-9)


def test_bad_input_is_an_error(make):
    case = make(3, 30, 4)
    with pytest.raises(InputError, match="number of repeats is 0"):
        human_ceiling(case.votes, draws=0)
    with pytest.raises(InputError, match="numbers of raters for 30 clips"):
        human_ceiling(case.votes, num_raters=np.ones(29))
    with pytest.raises(InputError, match="no votes"):
        human_ceiling(np.zeros((30, 4)))
    with pytest.raises(InputError, match="shape") as caught:
        human_ceiling(case.votes, case.target[:20])
    assert caught.value.field == "target"
    with pytest.raises(InputError, match="number of repeats"):
        shuffled_scores(case.pred, case.target, repeats=1.5)
