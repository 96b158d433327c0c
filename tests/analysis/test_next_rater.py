"""Votes left out in turn: every number again by a plain loop over raters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from analysis.test_ambiguity import CASE, FAILED, LABELS, SIZE, targets_of

from emoprobe.analysis.ambiguity import human_side
from emoprobe.analysis.next_rater import left_out_predictions, next_rater
from emoprobe.metrics.ceiling import Ratings, ratings_of
from emoprobe.metrics.functional import evaluate


def loop(strength: float, chance: float) -> dict[str, np.ndarray]:
    """What others, majority and prior say of every vote."""
    found: dict[str, list] = {"others": [], "majority": [], "prior": []}
    for clip, votes in enumerate(CASE.votes):
        elsewhere = CASE.votes.sum(axis=0) - votes + 0.5
        prior = elsewhere / elsewhere.sum()
        for label in range(4):
            for _ in range(int(votes[label])):
                rest = votes.copy()
                rest[label] -= 1
                tied = rest == rest.max()
                found["others"].append((rest + strength * prior) / (rest.sum() + strength))
                found["majority"].append(np.where(tied, chance / tied.sum(), 0))
                found["majority"][-1] += (1 - chance) * (1 - tied / tied.sum()) / 3
                found["prior"].append(prior)
        assert clip < SIZE
    return {name: np.array(values) for name, values in found.items()}


def nll(made: dict[str, np.ndarray], name: str) -> float:
    said = np.concatenate([np.repeat(np.arange(4), votes.astype(int)) for votes in CASE.votes])
    return float(-np.log(made[name][np.arange(len(said)), said]).mean())


def test_the_raters_are_as_strong_as_they_can_be():
    found = left_out_predictions(ratings_of(CASE.votes))
    best = min((nll(loop(a, 0.5), "others"), a) for a in np.geomspace(0.1, 20, 40))
    assert nll(found, "others") == pytest.approx(best[0], abs=2e-3)
    assert nll(found, "others") <= best[0] + 1e-6
    best = min((nll(loop(1, b), "majority"), b) for b in np.linspace(0.05, 0.95, 37))
    assert nll(found, "majority") <= best[0] + 1e-6
    expected = loop(best_strength(found), best[1])
    np.testing.assert_allclose(found["others"], expected["others"], atol=1e-9)
    np.testing.assert_allclose(found["prior"], expected["prior"], atol=1e-12)
    for pred in found.values():
        np.testing.assert_allclose(pred.sum(axis=1), 1)


def best_strength(found: dict[str, np.ndarray]) -> float:
    """The strength that was found, out of the first vote: p = (n + a q) / (N + a)."""
    votes = CASE.votes[0]
    label = int(np.flatnonzero(votes)[0])
    rest, q = votes[label] - 1, found["prior"][0][label]
    p, size = found["others"][0][label], votes.sum() - 1
    return (p * size - rest) / (q - p)


def test_scores_are_paired_vote_by_vote(cell):
    table = next_rater(CASE.table(cell), LABELS, CASE.human, resamples=200).set_index("score")
    used = slice(0, SIZE - FAILED)
    pred, target, votes = CASE.pred[used], CASE.target[used], CASE.votes[used]
    row = table.loc["vote_nll"]
    assert row["num_votes"] == votes.sum()
    assert row["of_model"] == pytest.approx(evaluate(pred, target, votes)["vote_nll"])
    assert row["minus_others"] == pytest.approx(row["of_model"] - row["of_others"])
    assert row["minus_others_low"] < row["minus_others"] < row["minus_others_high"]
    assert row["of_others"] < row["of_majority"]
    clip, single = ratings_of(votes)
    assert table.loc["brier", "of_model"] == pytest.approx(((pred[clip] - single) ** 2).mean())


def test_who_knows_the_truth_beats_the_raters_and_who_excludes_a_vote_loses_infinitely(cell):
    rng = np.random.default_rng(3)
    truth = rng.dirichlet([0.5] * 4, 400)
    votes = rng.multinomial(4, truth).astype(float)
    human = human_side(targets_of(votes))
    speakers = [f"s{i % 20}" for i in range(400)]
    oracle = next_rater(cell(truth, votes, labels=LABELS, speakers=speakers), LABELS, human, resamples=300)
    assert (oracle["minus_others_high"] < 0).all()
    hard = np.eye(4)[truth.argmax(axis=1)]
    table = next_rater(cell(hard, votes, labels=LABELS, speakers=speakers), LABELS, human, resamples=300)
    row = table.set_index("score").loc["vote_nll"]
    assert row["of_model"] == row["minus_others"] == math.inf
    assert np.isfinite(table.set_index("score").loc["brier", "minus_others"])


def test_one_rater_a_clip_leaves_nobody_to_compare_with(cell):
    votes = np.eye(4)[np.arange(SIZE) % 4]
    table = cell(CASE.pred, votes, labels=LABELS)
    assert next_rater(table, LABELS, human_side(targets_of(votes))).empty


def test_divided_votes_are_left_out_whole():
    ratings = Ratings(np.array([0, 0, 0]), np.array([[0.5, 0.5, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]]))
    found = left_out_predictions(ratings)
    assert found["others"][0, 0] == pytest.approx(found["others"][0, 1])  # one vote each is left
    one = found["others"][1]  # half a vote and one
    assert one[1] - one[0] == pytest.approx(found["others"][2][0] - found["others"][2][1])
    assert one[1] > one[0] > one[2] == pytest.approx(one[3])
