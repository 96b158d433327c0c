"""Metrics under weights equal the metrics of the data set that the weights stand for."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from emoprobe.errors import InputError
from emoprobe.metrics import functional, resampling
from emoprobe.metrics.functional import METRICS
from emoprobe.metrics.resampling import WeightedMetrics, draw_clusters, number_clusters

evaluate, metric_values = (
    partial(function, metrics=tuple(METRICS)) for function in (functional.evaluate, resampling.metric_values)
)


def assert_same(values: dict[str, np.ndarray], expected: list[dict[str, float]]) -> None:
    assert tuple(values) == tuple(METRICS)
    for name, found in values.items():
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, [row[name] for row in expected], rtol=1e-10, atol=1e-10, err_msg=name)


def repeated(case, counts: np.ndarray) -> dict[str, float]:
    """The metrics of the data set with every utterance written down as often as it counts."""
    rows = np.repeat(np.arange(len(counts)), counts)
    return evaluate(case.pred[rows], case.target[rows], case.votes[rows])


def nonempty(counts: np.ndarray) -> np.ndarray:
    return counts[counts.sum(axis=1) > 0]


def test_weights_of_one_change_nothing(case):
    ones = np.ones((2, len(case.pred)))
    assert_same(metric_values(case.pred, case.target, case.votes, ones), [evaluate(*vars(case).values())] * 2)
    without = metric_values(case.pred, case.target, None, ones[:1])
    assert_same(without, [evaluate(case.pred, case.target)])


def test_whole_weights_repeat_utterances(case):
    rng = np.random.default_rng(0)
    size = len(case.pred)
    # Also resamples of one or two utterances, in which labels and majorities are missing.
    few = np.stack([np.bincount(rng.integers(size, size=n), minlength=size) for n in (1, 1, 2, 2, 3, 4)])
    counts = np.concatenate([rng.poisson(1, (30, size)), few])
    counts = nonempty(counts)
    values = metric_values(case.pred, case.target, case.votes, counts)
    assert_same(values, [repeated(case, row) for row in counts])


def test_clusters_count_as_all_of_their_utterances(case):
    rng = np.random.default_rng(1)
    clusters = number_clusters(rng.integers(0, 7, len(case.pred)), len(case.pred))
    counts = nonempty(draw_clusters(rng, clusters.max() + 1, 20))
    values = metric_values(case.pred, case.target, case.votes, counts, clusters=clusters)
    assert_same(values, [repeated(case, row[clusters]) for row in counts])


def test_exchanged_predictions_are_a_weighting_of_both(make):
    a, b = make(1, 50, 4), make(2, 50, 4)
    swapped = np.random.default_rng(0).integers(0, 2, (10, 50))
    both = np.concatenate([a.pred, b.pred]), np.concatenate([a.target] * 2), np.concatenate([a.votes] * 2)
    values = metric_values(*both, np.concatenate([1 - swapped, swapped], axis=1))
    expected = [evaluate(np.where(row[:, None] == 1, b.pred, a.pred), a.target, a.votes) for row in swapped]
    assert_same(values, expected)


def test_weights_need_not_be_whole_and_their_scale_does_not_matter(make):
    case = make(3, 40, 5)
    weights = np.random.default_rng(0).integers(0, 5, (10, 40))
    halves = metric_values(case.pred, case.target, case.votes, weights / 4)
    assert_same(halves, [repeated(case, row) for row in weights])


def test_infinities_count_only_where_they_are_drawn():
    pred, target = np.array([[1.0, 0.0], [0.6, 0.4], [0.5, 0.5]]), np.array([[0.5, 0.5], [0.5, 0.5], [0.2, 0.8]])
    values = metric_values(pred, target, None, np.array([[0, 1, 1], [1, 1, 1]]))
    for name in ("kl_target_pred", "vote_nll"):
        assert np.isfinite(values[name]).tolist() == [True, False]
        assert values[name][1] == np.inf


def test_almost_equal_shares_still_have_variance():
    """R2 of a label whose share moves by a millionth, beside one that does not move at all."""
    rng = np.random.default_rng(0)
    target = np.tile([0.2, 0.3, 0.5], (30, 1))
    target[:, 1] += 1e-6 * rng.standard_normal(30)
    target[:, 2] = 1 - target[:, 0] - target[:, 1]
    pred = target[:, [1, 0, 2]]
    counts = rng.poisson(1, (20, 30))
    values = metric_values(pred, target, None, counts)
    expected = [evaluate(np.repeat(pred, row, axis=0), np.repeat(target, row, axis=0)) for row in counts]
    np.testing.assert_allclose(values["r2_per_class"], [row["r2_per_class"] for row in expected], rtol=1e-6)


def test_chunks_and_single_metrics_change_nothing(make, monkeypatch):
    case = make(4, 60, 6)
    weights = np.random.default_rng(0).poisson(1, (50, 60))
    whole = metric_values(case.pred, case.target, case.votes, weights)
    monkeypatch.setattr(resampling, "CHUNK", 700)
    split = metric_values(case.pred, case.target, case.votes, weights)
    for name in METRICS:
        alone = metric_values(case.pred, case.target, case.votes, weights, metrics=[name])
        assert tuple(alone) == (name,)
        np.testing.assert_allclose(alone[name], whole[name], rtol=1e-12)
        np.testing.assert_allclose(split[name], whole[name], rtol=1e-12)


def test_no_weight_at_all_is_nan_and_no_resamples_are_none(make):
    case = make(5, 10, 3)
    measure = WeightedMetrics(case.pred, case.target, case.votes)
    assert all(np.isnan(found).all() for found in measure(np.zeros((1, 10))).values())
    assert all(found.shape == (0,) for found in measure(np.zeros((0, 10))).values())


def test_clusters_are_drawn_with_replacement():
    drawn = draw_clusters(np.random.default_rng(0), 5, 20_000)
    assert (drawn.sum(axis=1) == 5).all()
    # Multinomial: each count has mean 1, variance 1 - 1/5 and covariance -1/5 with the others.
    np.testing.assert_allclose(np.cov(drawn.T), np.eye(5) - 1 / 5, atol=0.03)
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.02)


def test_clusters_are_numbered_by_name():
    import pandas as pd

    assert number_clusters(["b", "a", "b", 7], 4).tolist() == [2, 1, 2, 0]
    assert number_clusters(pd.Series(["x", "y", "x"], dtype="category"), 3).tolist() == [0, 1, 0]
    for missing in (["a", None], ["a", float("nan")], ["a", ""], pd.Series(["a", pd.NA], dtype="string")):
        with pytest.raises(InputError, match="has no cluster") as caught:
            number_clusters(missing, 2)
        assert caught.value.row == 2


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"weights": np.ones(10)}, "shape"),
        ({"weights": np.ones((2, 9))}, "shape"),
        ({"weights": -np.ones((1, 10))}, "negative"),
        ({"weights": np.full((1, 10), np.nan)}, "not finite"),
        ({"clusters": np.arange(9)}, "whole numbers"),
        ({"clusters": np.full(10, -1)}, "whole numbers"),
        ({"clusters": np.linspace(0, 1, 10)}, "whole numbers"),
        ({"metrics": ["accuracy"]}, "unknown metric 'accuracy'"),
    ],
)
def test_bad_input_is_an_error(make, change, what):
    case = make(6, 10, 3)
    options = {"weights": np.ones((1, 10))} | change
    with pytest.raises(InputError, match=what):
        metric_values(case.pred, case.target, case.votes, **options)
    with pytest.raises(InputError, match="clusters for"):
        number_clusters(["a"], 2)
