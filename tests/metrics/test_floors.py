"""The baselines that need no model."""

from __future__ import annotations

import numpy as np
import pytest

from emoprobe.errors import InputError
from emoprobe.metrics.floors import FLOORS, floors, vote_prior
from emoprobe.metrics.functional import evaluate

VOTES = np.array([[6, 2, 2], [0, 2, 2], [1, 0, 0]])
TARGET = VOTES / VOTES.sum(axis=1, keepdims=True)


def test_floors_worked_by_hand():
    rows = floors(TARGET, VOTES)
    assert tuple(rows) == FLOORS == ("uniform", "prior", "majority", "one_hot_of_top_vote")
    assert all(row.shape == (3, 3) and row.dtype == np.float64 for row in rows.values())
    np.testing.assert_allclose(rows["uniform"], 1 / 3)
    prior = [(0.6 + 0 + 1) / 3, (0.2 + 0.5 + 0) / 3, (0.2 + 0.5 + 0) / 3]
    np.testing.assert_allclose(rows["prior"], np.tile(prior, (3, 1)))
    np.testing.assert_array_equal(rows["majority"], np.tile([1, 0, 0], (3, 1)))
    np.testing.assert_array_equal(rows["one_hot_of_top_vote"], [[1, 0, 0], [0, 1, 0], [1, 0, 0]])


def test_prior_gives_every_utterance_the_same_weight_however_many_raters_it_had():
    np.testing.assert_allclose(vote_prior(np.array([[9, 1], [0, 1]])), [0.45, 0.55])
    np.testing.assert_allclose(vote_prior(VOTES), vote_prior(TARGET))


def test_prior_is_the_best_constant_prediction(make):
    case = make(1, 60, 4)
    best = evaluate(floors(case.target, case.votes)["prior"], case.target)
    rng = np.random.default_rng(0)
    for scale in (0.003, 0.03):
        other = np.abs(vote_prior(case.votes) + scale * rng.standard_normal(4))
        values = evaluate(np.tile(other / other.sum(), (60, 1)), case.target)
        assert values["kl_target_pred"] > best["kl_target_pred"]
        assert values["brier"] > best["brier"]


def test_given_prior_is_used_and_so_is_its_top_label():
    rows = floors(TARGET, VOTES, prior=np.array([0.1, 0.3, 0.6]))
    np.testing.assert_allclose(rows["prior"], np.tile([0.1, 0.3, 0.6], (3, 1)))
    np.testing.assert_array_equal(rows["majority"], np.tile([0, 0, 1], (3, 1)))
    np.testing.assert_array_equal(rows["one_hot_of_top_vote"], [[1, 0, 0], [0, 1, 0], [1, 0, 0]])


def test_first_label_is_taken_where_the_prior_ties():
    np.testing.assert_array_equal(floors(TARGET, prior=np.array([0.2, 0.4, 0.4]))["majority"][0], [0, 1, 0])


def test_scores_of_the_top_vote_do_not_depend_on_which_tied_label_is_taken(make):
    case = make(2, 40, 5)
    first = floors(case.target, case.votes)["one_hot_of_top_vote"]
    last = floors(case.target[:, ::-1], case.votes[:, ::-1])["one_hot_of_top_vote"][:, ::-1]
    assert (first != last).any(), "the case must have ties"
    # Calibration and R2 per label sum over utterances label by label, so they do see it.
    names = ("js_divergence", "js_distance", "bhattacharyya", "r2_within_clip", "brier", "cosine", "wa", "macro_f1")
    for name in names:
        assert evaluate(first, case.target)[name] == pytest.approx(evaluate(last, case.target)[name], abs=1e-12), name
    assert evaluate(first, case.target)["wa"] == 1


def test_shares_serve_where_there_are_no_counts():
    with_votes, without = floors(TARGET, VOTES), floors(TARGET)
    for name in FLOORS:
        np.testing.assert_allclose(with_votes[name], without[name])


def test_rows_can_be_changed_without_changing_each_other():
    prior = floors(TARGET)["prior"]
    prior[0] = 0
    assert prior[1].sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("prior", "what"),
    [
        (np.array([0.5, 0.5]), "the prior has 2 labels, the target 3"),
        (np.array([5.0, 3.0, 2.0]), "sum to 10"),
        (np.array([np.nan, 0.5, 0.5]), "NaN"),
        (np.array([-0.5, 1.0, 0.5]), "negative"),
    ],
)
def test_bad_priors_are_errors(prior, what):
    with pytest.raises(InputError, match=what) as caught:
        floors(TARGET, prior=prior)
    assert caught.value.field == "prior"


def test_bad_votes_are_errors():
    with pytest.raises(InputError, match="no votes") as caught:
        vote_prior(np.array([[1, 2], [0, 0]]))
    assert (caught.value.field, caught.value.row) == ("votes", 2)
    with pytest.raises(InputError, match="differs from the predictions' shape"):
        floors(TARGET, VOTES[:2])
    with pytest.raises(InputError, match="sum to 10"):
        floors(VOTES.astype(float))
