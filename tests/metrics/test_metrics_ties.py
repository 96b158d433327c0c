"""The rule for ties: tied raters leave an utterance without majority label, a tied prediction is a fair draw."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, recall_score

from emoprobe.metrics.functional import ece, evaluate, macro_f1, majority, predicted_labels, uar, wa, weighted_f1

HARD = ("wa", "uar", "macro_f1", "weighted_f1", "ece_5", "ece_10")


@pytest.mark.parametrize("labels", range(2, 9))
def test_uniform_prediction_has_chance_accuracy_whatever_the_label_order(make, labels):
    target = make(labels, 50, labels).target
    uniform = np.full_like(target, 1 / labels)
    assert wa(uniform, target).item() == pytest.approx(1 / labels, abs=1e-12)
    assert uar(uniform, target).item() == pytest.approx(1 / labels, abs=1e-12)
    assert ece(uniform, target, bins=10).item() == pytest.approx(0, abs=1e-12)


def test_tied_prediction_scores_the_mean_of_all_ways_to_break_the_tie():
    target = np.eye(3)[[0, 0, 1, 2]]
    pred = np.array([[0.4, 0.4, 0.2], [0.6, 0.3, 0.1], [1 / 3, 1 / 3, 1 / 3], [0.0, 0.5, 0.5]])
    tied = [np.flatnonzero(row == row.max()) for row in pred]
    draws = list(itertools.product(*tied))
    truth = [0, 0, 1, 2]
    assert wa(pred, target).item() == pytest.approx(np.mean([accuracy_score(truth, draw) for draw in draws]))
    recalls = [recall_score(truth, draw, labels=[0, 1, 2], average="macro") for draw in draws]
    assert uar(pred, target).item() == pytest.approx(np.mean(recalls))


def test_f1_of_tied_predictions_worked_by_hand():
    # Majority labels 0, 0, 1; the second prediction is half 0 and half 1.
    target = np.eye(2)[[0, 0, 1]]
    pred = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])
    first, second = 2 * 1.5 / (2 + 1.5), 2 * 1 / (1 + 1.5)
    assert macro_f1(pred, target).item() == pytest.approx((first + second) / 2)
    assert weighted_f1(pred, target).item() == pytest.approx((2 * first + second) / 3)


def test_utterances_on_whose_label_raters_tie_do_not_touch_hard_scores_and_are_counted(make):
    case = make(3, 30, 4)
    decided = majority(case.target).unique.numpy()
    assert 0 < decided.sum() < 30, "the case must have both"
    everything, kept = evaluate(case.pred, case.target), evaluate(case.pred[decided], case.target[decided])
    for name in HARD:
        assert everything[name] == pytest.approx(kept[name], abs=1e-12)
    assert everything["num_utterances"] == 30
    assert everything["num_majority"] == kept["num_majority"] == decided.sum()
    assert everything["brier"] != pytest.approx(kept["brier"], abs=1e-6), "distances use all utterances"


def test_majority_names_the_label_and_says_where_raters_tie():
    target = np.array([[0.6, 0.2, 0.2], [0.2, 0.4, 0.4], [0.1, 0.1 + 0.2, 0.6], [1 / 3, 1 / 3, 1 / 3]])
    label, unique = majority(target)
    assert label.tolist() == [0, 1, 2, 0]
    assert unique.tolist() == [True, False, True, False]


def test_shares_that_differ_by_rounding_only_are_a_tie():
    # 0.1 + 0.2 is 0.30000000000000004.
    target = np.array([[0.1 + 0.2, 0.3, 0.4 - 1e-17, 0.0], [0.1 + 0.2, 0.3, 0.2, 0.2]])
    assert majority(target).unique.tolist() == [True, False]
    pred = np.array([[0.1 + 0.2, 0.3, 0.2, 0.2], [0.3 + 1e-8, 0.3 - 1e-8, 0.2, 0.2]])
    np.testing.assert_allclose(predicted_labels(pred), [[0.5, 0.5, 0, 0], [1, 0, 0, 0]])


def test_without_any_majority_hard_scores_are_undefined_and_the_others_are_not():
    target = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]])
    values = evaluate(np.array([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]]), target)
    assert all(np.isnan(values[name]) for name in HARD)
    assert values["num_majority"] == 0
    assert np.isfinite([values["js_divergence"], values["vote_nll"], values["classwise_ece"]]).all()


def test_tied_confidence_counts_in_parts_in_the_calibration_error():
    # Confidence .5, right half of the time by a fair draw, then confidence .8 and right: only the second has a gap.
    pred = np.array([[0.5, 0.5, 0.0], [0.1, 0.8, 0.1]])
    target = np.eye(3)[[0, 1]]
    assert ece(pred, target, bins=5).item() == pytest.approx(0.2 / 2)
