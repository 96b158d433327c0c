"""The shared test helper of the metrics: one check that every metric goes through, and the cases it is checked on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from emoprobe.metrics.classes import EmotionMetric, metric_class
from emoprobe.metrics.functional import METRICS


@dataclass(frozen=True)
class Case:
    """Distributions ``[utterances, labels]`` and the vote counts that the target is the share of."""

    pred: np.ndarray
    target: np.ndarray
    votes: np.ndarray


Reference = Callable[[np.ndarray, np.ndarray, np.ndarray], float]


def make_case(seed: int, utterances: int, labels: int) -> Case:
    """Random predictions without zeros or ties, against the votes of 3 to 12 raters (with zeros and ties)."""
    rng = np.random.default_rng(seed)
    prior = rng.dirichlet(np.ones(labels), size=utterances)
    votes = np.stack([rng.multinomial(rng.integers(3, 13), p) for p in prior]).astype(float)
    pred = rng.dirichlet(np.full(labels, 2.0), size=utterances)
    return Case(pred, votes / votes.sum(axis=1, keepdims=True), votes)


def with_zeros_and_ties(case: Case, seed: int) -> Case:
    """Predictions as a text answer gives them: tenths, with zeros, ties, one-hot and uniform rows."""
    rng = np.random.default_rng(seed)
    labels = case.pred.shape[1]
    pred = np.stack([rng.multinomial(10, p) / 10 for p in case.pred])
    pred[0], pred[1] = np.eye(labels)[0], 1 / labels
    pred[2] = case.target[2]
    return Case(pred, case.target, case.votes)


def without_first_label(case: Case) -> Case:
    """Nobody votes for the first label, but it is predicted."""
    votes = case.votes.copy()
    votes[:, 0] = 0
    votes[:, 1] += votes.sum(axis=1) == 0
    return Case(case.pred, votes / votes.sum(axis=1, keepdims=True), votes)


CASES = {f"{labels} labels": make_case(labels, 40, labels) for labels in range(2, 9)} | {
    "one utterance": make_case(20, 1, 5),
    "zeros and ties, 5 labels": with_zeros_and_ties(make_case(21, 60, 5), 21),
    "zeros and ties, 2 labels": with_zeros_and_ties(make_case(22, 30, 2), 22),
    "missing label": without_first_label(make_case(23, 40, 4)),
    "uniform prediction": Case(np.full((40, 6), 1 / 6), make_case(24, 40, 6).target, make_case(24, 40, 6).votes),
    "constant prediction": Case(
        np.tile([0.5, 0.3, 0.2], (40, 1)), make_case(25, 40, 3).target, make_case(25, 40, 3).votes
    ),
    "nothing but ties between raters": Case(
        make_case(26, 4, 4).pred, np.tile([0.5, 0.5, 0, 0], (4, 1)), np.tile([2.0, 2, 0, 0], (4, 1))
    ),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture
def make() -> Callable[[int, int, int], Case]:
    return make_case


@pytest.fixture
def check_metric() -> Callable[[str, Reference, Case], None]:
    """The one check: a metric, as function and as class, equals a reference however the data arrive."""
    return _check_metric


def _check_metric(name: str, reference: Reference, case: Case) -> None:
    metric, cls = METRICS[name], metric_class(name)
    expected = reference(case.pred, case.target, case.votes)
    arrays = (case.pred, case.target, case.votes)
    tensors = tuple(torch.from_numpy(array) for array in arrays)

    _assert_same(metric(*arrays), expected)
    _assert_same(metric(*tensors), expected)
    for seed in range(2):
        _assert_same(_run(cls, tensors, seed).compute(), expected)
    _assert_same(_run_on_two_ranks(cls, tensors).compute(), expected)

    order = np.random.default_rng(0).permutation(len(case.pred))
    labels = np.random.default_rng(1).permutation(case.pred.shape[1])
    if metric.suits == "points":  # of which only the direction is free
        labels = np.arange(case.pred.shape[1])[::-1]
    _assert_same(metric(*(array[order] for array in arrays)), expected)
    _assert_same(metric(*(array[:, labels] for array in arrays)), expected)

    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        reduced = tuple(tensor.to(dtype) for tensor in tensors)
        pred, target, votes = (tensor.double().numpy() for tensor in reduced)
        rounded = reference(pred / pred.sum(axis=1, keepdims=True), target / target.sum(axis=1, keepdims=True), votes)
        _assert_same(metric(*reduced), rounded)
        _assert_same(_run(cls, reduced, 0).compute(), rounded)

    assert np.isnan(expected) or metric.lower - 1e-9 <= expected <= metric.upper + 1e-9


def _run(cls: type[EmotionMetric], tensors: tuple[torch.Tensor, ...], seed: int) -> EmotionMetric:
    """The class, updated batch by batch at random splits."""
    metric, rng = cls(), np.random.default_rng(seed)
    number = len(tensors[0])
    cuts = sorted(rng.choice(np.arange(1, number), size=min(5, number - 1), replace=False)) if number > 1 else []
    for start, stop in zip([0, *cuts], [*cuts, number], strict=True):
        _update(metric, tuple(tensor[start:stop] for tensor in tensors))
    return metric


def _run_on_two_ranks(cls: type[EmotionMetric], tensors: tuple[torch.Tensor, ...]) -> EmotionMetric:
    """What two processes see, every other utterance each, merged."""
    number = len(tensors[0])
    ranks = [_run(cls, tuple(tensor[rank::2] for tensor in tensors), rank) for rank in range(min(2, number))]
    for other in ranks[1:]:
        ranks[0].merge_state(other)
    return ranks[0]


def _update(metric: EmotionMetric, batch: tuple[torch.Tensor, ...]) -> None:
    if metric.definition.needs_votes:
        metric.update(*batch)
    else:
        metric.update(*batch[:2])


def _assert_same(value: torch.Tensor, expected: float) -> None:
    assert value.dtype == torch.float64
    assert value.ndim == 0
    np.testing.assert_allclose(value.item(), expected, rtol=1e-9, atol=2e-8)
