"""Values worked by hand, conventions that the sister papers disagree on, gradients, and properties that always hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torchmetrics.functional.classification import multiclass_calibration_error

from emoprobe.errors import InputError
from emoprobe.metrics import functional as F
from emoprobe.metrics.functional import METRICS, evaluate

DIFFERENTIABLE = [name for name, metric in METRICS.items() if metric.is_differentiable]


def test_one_utterance_worked_by_hand():
    pred, target = np.array([[0.25, 0.75]]), np.array([[1.0, 0.0]])
    values = evaluate(pred, target, np.array([[4, 0]]))
    middle = (0.625, 0.375)
    js = (0.25 * math.log2(0.25 / middle[0]) + 0.75 * math.log2(0.75 / middle[1]) + math.log2(1 / middle[0])) / 2
    expected = {
        "kl_target_pred": math.log(4),
        "kl_pred_target": math.inf,
        "js_divergence": js,
        "js_distance": math.sqrt(js),
        "bhattacharyya": 0.5,
        "r2_within_clip": 1.0,  # the sign is lost: the ranking is reversed
        "r2_per_class": math.nan,
        "total_variation": 0.75,
        "cosine": 0.25 / math.sqrt(0.0625 + 0.5625),
        "brier": 0.5625,
        "vote_nll": math.log(4),
        "ece_5": 0.75,
        "ece_10": 0.75,
        "classwise_ece": 0.75,
        "wa": 0.0,
        "uar": 0.0,
        "macro_f1": 0.0,
        "weighted_f1": 0.0,
        "entropy_spearman": math.nan,
        "num_utterances": 1,
        "num_majority": 1,
    }
    assert list(values) == list(expected)
    for name, value in expected.items():
        assert values[name] == pytest.approx(value, abs=1e-12, nan_ok=True), name


def test_perfect_prediction_has_the_best_value_of_every_metric(make):
    case = make(1, 40, 5)
    values = evaluate(case.target, case.target, case.votes, metrics=tuple(METRICS))
    for name in set(METRICS) - {"vote_nll", "ece_5", "ece_10"}:  # these reward certainty or do not see shares
        metric = METRICS[name]
        assert values[name] == pytest.approx(metric.upper if metric.higher_is_better else metric.lower, abs=1e-7), name


def test_probability_zero_for_a_voted_label_is_infinitely_bad_and_never_clipped():
    pred, target = np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[0.9, 0.1], [0.5, 0.5]])
    values = evaluate(pred, target)
    assert values["kl_target_pred"] == values["vote_nll"] == math.inf
    assert F.kl_target_pred(pred, target, reduction="none").tolist() == [math.inf, 0]


def test_js_distance_averages_roots_and_is_no_root_of_the_average(make):
    case = make(2, 20, 4)
    per_utterance = F.js_divergence(case.pred, case.target, reduction="none")
    assert F.js_distance(case.pred, case.target).item() == pytest.approx(per_utterance.sqrt().mean().item())
    assert F.js_distance(case.pred, case.target) < F.js_divergence(case.pred, case.target).sqrt() - 1e-4


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.per_utterance])
def test_without_reduction_there_is_one_value_for_each_utterance(name, make):
    case = make(3, 12, 4)
    values = METRICS[name](case.pred, case.target, reduction="none")
    alone = [METRICS[name](case.pred[i : i + 1], case.target[i : i + 1]).item() for i in range(12)]
    np.testing.assert_allclose(values, alone, atol=1e-12)


def test_r2_within_clip_of_a_constant_vector_is_zero_on_either_side():
    flat, peaked = np.full((1, 6), 1 / 6), np.array([[0.5, 0.1, 0.1, 0.1, 0.1, 0.1]])
    assert F.r2_within_clip(flat, peaked) == F.r2_within_clip(peaked, flat) == F.r2_within_clip(flat, flat) == 0


def test_r2_per_class_leaves_out_labels_whose_share_never_changes():
    target = np.array([[0.2, 0.8, 0.0], [0.6, 0.4, 0.0]])
    pred = np.array([[0.2, 0.7, 0.1], [0.5, 0.4, 0.1]])
    first, second = 1 - 0.01 / 0.08, 1 - 0.01 / 0.08
    assert F.r2_per_class(pred, target).item() == pytest.approx((first + second) / 2)
    assert math.isnan(F.r2_per_class(pred, np.tile([0.2, 0.8, 0.0], (2, 1))))


def test_vote_nll_weighs_votes_with_counts_and_utterances_without():
    pred = np.array([[0.5, 0.5], [0.2, 0.8]])
    votes = np.array([[1, 1], [0, 8]])
    target = votes / votes.sum(axis=1, keepdims=True)
    with_counts = (2 * math.log(2) - 8 * math.log(0.8)) / 10
    without = (math.log(2) - math.log(0.8)) / 2
    assert F.vote_nll(pred, target, votes).item() == pytest.approx(with_counts)
    assert F.vote_nll(pred, target).item() == pytest.approx(without)
    assert evaluate(pred, target, votes)["vote_nll"] == pytest.approx(with_counts)


def test_terms_of_vote_nll_are_the_losses_of_utterances_and_their_votes():
    pred, votes = np.array([[0.5, 0.5], [0.2, 0.8]]), np.array([[1, 1], [0, 8]])
    loss, weight = F.vote_nll.terms(pred, votes / votes.sum(axis=1, keepdims=True), votes)
    np.testing.assert_allclose(loss, [2 * math.log(2), -8 * math.log(0.8)])
    assert weight.tolist() == [2, 8]


@pytest.mark.parametrize("bins", [1, 5, 10, 15])
def test_ece_equals_torchmetrics_away_from_bin_edges(make, bins):
    case = make(4, 200, 5)
    label, unique = F.majority(case.target)
    pred = torch.from_numpy(case.pred)
    expected = multiclass_calibration_error(pred[unique], label[unique], num_classes=5, n_bins=bins, norm="l1")
    assert F.ece(case.pred, case.target, bins=bins).item() == pytest.approx(expected.item(), abs=1e-6)


def test_confidence_on_a_bin_edge_belongs_to_the_bin_below():
    # .7 * 10 is 7.000000000000001 in floating point, and still .7 shares the bin (.6, .7] with .65.
    target = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert F.ece(np.array([[0.7, 0.3], [0.65, 0.35]]), target, bins=10).item() == pytest.approx((0.7 - 0.35) / 2)
    assert F.ece(np.array([[0.7, 0.3], [0.71, 0.29]]), target, bins=10).item() == pytest.approx((0.7 + 0.29) / 2)


def test_classwise_ece_worked_by_hand():
    # Label 0: bin (.7, .8] holds .75 and .8 against shares 1 and .5; bin (.1, .2] holds .2 against .2. Label 1 mirrors.
    pred = np.array([[0.75, 0.25], [0.8, 0.2], [0.2, 0.8]])
    target = np.array([[1.0, 0.0], [0.5, 0.5], [0.2, 0.8]])
    first = abs(0.75 - 1 + 0.8 - 0.5)
    second = abs(0.25 - 0.0) + abs(0.2 - 0.5) + 0
    assert F.classwise_ece(pred, target).item() == pytest.approx((first + second) / 3 / 2)


def test_entropies_that_differ_by_rounding_share_a_rank():
    # The first two targets are the same votes in another order.
    target = np.array([[0.1, 0.2, 0.7], [0.7, 0.1, 0.2], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    pred = np.array([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1], [0.9, 0.05, 0.05], [0.4, 0.3, 0.3]])
    human, predicted = np.array([2.5, 2.5, 1, 4]) - 2.5, np.array([3, 2, 1, 4]) - 2.5
    expected = (human @ predicted) / np.sqrt((human @ human) * (predicted @ predicted))
    assert F.entropy_spearman(pred, target).item() == pytest.approx(expected)


def test_entropy_is_in_bits():
    np.testing.assert_allclose(F.entropy(np.array([[0.25] * 4, [1.0, 0, 0, 0], [0.5, 0.5, 0, 0]])), [2, 0, 1])


def test_f1_and_uar_do_not_average_over_labels_that_are_nobodys_majority():
    # Label 2 is predicted once and never right: it costs label 0 recall, and is no term of the averages.
    target, pred = np.eye(3)[[0, 0, 1, 1]], np.eye(3)[[0, 2, 1, 1]]
    assert F.uar(pred, target).item() == pytest.approx(0.75)
    assert F.macro_f1(pred, target).item() == pytest.approx((2 / 3 + 1) / 2)
    np.testing.assert_allclose(F.confusion_matrix(pred, target), [[1, 0, 1], [0, 2, 0], [0, 0, 0]])


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradient_equals_finite_differences_at_interior_points(name):
    generator = torch.Generator().manual_seed(0)
    pred = torch.rand(4, 3, generator=generator, dtype=torch.float64).add(0.5)
    target = torch.rand(4, 3, generator=generator, dtype=torch.float64).add(0.5)
    pred, target = pred / pred.sum(1, keepdim=True), target / target.sum(1, keepdim=True)
    pred.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: METRICS[name](p, target), (pred,), eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in DIFFERENTIABLE if name != "kl_pred_target"])
def test_gradient_is_finite_where_labels_got_no_votes(name):
    logits = torch.tensor([[0.3, -1.0, 2.0], [0.0, 0.0, 0.0]], requires_grad=True)
    METRICS[name](logits.softmax(dim=-1), torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().sum() > 0


@st.composite
def distribution_pairs(draw):
    shape = (draw(st.integers(1, 6)), draw(st.integers(2, 8)))
    counts = hnp.arrays(np.int64, shape, elements=st.integers(0, 9))
    pair = [draw(counts) for _ in range(2)]
    return tuple(
        (c + (c.sum(1, keepdims=True) == 0)) / (c + (c.sum(1, keepdims=True) == 0)).sum(1)[:, None] for c in pair
    )


@settings(max_examples=60, deadline=None)
@given(distribution_pairs())
def test_every_value_lies_within_its_bounds(pair):
    for name, value in list(evaluate(*pair, metrics=tuple(METRICS)).items())[: len(METRICS)]:
        assert math.isnan(value) or METRICS[name].lower - 1e-9 <= value <= METRICS[name].upper + 1e-9, name


@settings(max_examples=60, deadline=None)
@given(distribution_pairs())
def test_symmetric_measures_do_not_care_which_side_is_the_prediction(pair):
    p, t = pair
    for name in (
        "js_divergence",
        "js_distance",
        "bhattacharyya",
        "r2_within_clip",
        "total_variation",
        "cosine",
        "brier",
    ):
        assert METRICS[name](p, t).item() == pytest.approx(METRICS[name](t, p).item(), abs=1e-9), name
    assert METRICS["kl_target_pred"](p, t) == METRICS["kl_pred_target"](t, p)


@settings(max_examples=60, deadline=None)
@given(distribution_pairs())
def test_known_inequalities_between_measures_hold_for_every_utterance(pair):
    js = F.js_divergence(*pair, reduction="none")
    tv = F.total_variation(*pair, reduction="none")
    bc = F.bhattacharyya(*pair, reduction="none")
    assert (js <= tv + 1e-9).all()  # Lin 1991, base 2
    assert (1 - bc <= tv + 1e-9).all()  # Kraft
    assert (tv <= (1 - bc**2).clamp(min=0).sqrt() + 1e-9).all()
    assert (2 * tv**2 <= F.kl_target_pred(*pair, reduction="none") + 1e-9).all()  # Pinsker


def test_by_clip_has_nan_where_either_side_is_no_distribution():
    pred = np.array([[0.5, 0.5], [np.nan, np.nan], [1.0, 0.0]])
    target = np.array([[0.5, 0.5], [0.5, 0.5], [np.nan, np.nan]])
    np.testing.assert_array_equal(F.js_divergence.by_clip(pred, target), [0, np.nan, np.nan])
    with pytest.raises(InputError, match="not to one"):
        F.js_divergence.by_clip(pred * 2, target)


def test_terms_make_the_metric_again_and_other_metrics_have_none(make):
    case = make(7, 30, 4)
    for name, metric in METRICS.items():
        if metric.is_ratio:
            total, weight = metric.terms(case.pred, case.target, case.votes)
            assert (total.sum() / weight.sum()).item() == pytest.approx(
                evaluate(case.pred, case.target, case.votes, metrics=[name])[name]
            )
        else:
            with pytest.raises(InputError, match=name):
                metric.terms(case.pred, case.target)
