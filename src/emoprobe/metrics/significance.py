"""Whether two runs differ on the same utterances: paired tests by whole clusters.

The p-value is that of a paired permutation test. If the runs do not differ, exchanging the predictions of the two on
all utterances of a cluster (a speaker) changes nothing, so the difference is compared with those after random exchanges
of whole clusters. Metrics that are no means are computed anew on the exchanged predictions. Intervals are those of
:func:`~emoprobe.metrics.intervals.expanded_percentiles`, both runs on the same resampled clusters.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from emoprobe.errors import InputError
from emoprobe.metrics.functional.checks import Array
from emoprobe.metrics.intervals import check_resamples, expanded_percentiles
from emoprobe.metrics.resampling import WeightedMetrics, draw_clusters, number_clusters


@dataclass(frozen=True)
class PairedTest:
    """How run a differs from run b.

    Args:
        metric: Name in :data:`~emoprobe.metrics.functional.METRICS`.
        difference: Value of a minus value of b.
        low: Lower end of the difference's 95 % cluster-bootstrap interval.
        high: Upper end.
        p_value: Two-sided, of the permutation test; its smallest possible value is ``2 ** (1 - num_clusters)``.
        effect_size: Cohen's d_z: mean over clusters of the difference within the cluster, divided by its standard
            deviation over clusters (Cohen 1988, section 2.3.5); NaN where that is undefined.
        num_utterances: Utterances compared.
        num_clusters: Their clusters.
    """

    metric: str
    difference: float
    low: float
    high: float
    p_value: float
    effect_size: float
    num_utterances: int
    num_clusters: int


@dataclass(frozen=True)
class AdjustedTest:
    """One of several paired tests.

    Args:
        name_a: First run.
        name_b: Second run.
        test: On the utterances that have a distribution in both.
        adjusted_p_value: The p-value after :func:`holm` over all comparisons of the family.
        num_dropped: Utterances left out, because either run has no distribution for them.
    """

    name_a: str
    name_b: str
    test: PairedTest
    adjusted_p_value: float
    num_dropped: int


def paired_test(
    pred_a: Array,
    pred_b: Array,
    target: Array,
    votes: Array | None,
    clusters: Sequence[object],
    metric: str = "js_divergence",
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> PairedTest:
    """Compare two runs on the same utterances.

    All ``2 ** clusters`` exchanges are enumerated where ``2 ** (clusters - 1)`` is at most ``resamples`` (an exchange
    and its complement differ in sign only); otherwise ``resamples`` random ones are drawn, and the observed one counts
    among them (Phipson and Smyth 2010), so that the p-value is never zero.

    Args:
        pred_a: Distributions of run a, ``[utterances, labels]``.
        pred_b: Distributions of run b, ``[utterances, labels]``.
        target: Human probabilities, ``[utterances, labels]``.
        votes: Vote counts, ``[utterances, labels]``, or None.
        clusters: Cluster of each utterance, for example its speaker.
        metric: Name of the metric.
        resamples: Bootstrap resamples, and most random exchanges.
        seed: Of both.

    Returns:
        The test. Interval, p-value and effect size are NaN with fewer than two clusters; p-value and effect size also
        where the difference is not finite.

    Raises:
        InputError: A shape, a value, a row sum, a cluster, the metric or the number of resamples is wrong.
    """
    check_resamples(resamples)
    numbers = number_clusters(clusters, len(target))
    count = int(numbers.max()) + 1
    a, b = (WeightedMetrics(pred, target, votes, clusters=numbers, metrics=[metric]) for pred in (pred_a, pred_b))

    def differences(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return a(weights)[metric] - b(weights)[metric]

    rng = np.random.default_rng(seed)
    observed = float(differences(np.ones((1, count)))[0])
    low, high = expanded_percentiles(differences(draw_clusters(rng, count, resamples)), count)
    p_value, effect_size = math.nan, math.nan
    if count > 1 and math.isfinite(observed):
        both = _Both(pred_a, pred_b, target, votes, numbers, metric)
        p_value = _p_value(both, observed, count, resamples, rng)
        effect_size = _standardised(differences(np.eye(count)))
    return PairedTest(metric, observed, low, high, p_value, effect_size, len(numbers), count)


class _Both:
    """The predictions of both runs as one data set of twice the clusters: an exchange is a weighting of it."""

    def __init__(
        self, pred_a: Array, pred_b: Array, target: Array, votes: Array | None, numbers: np.ndarray, metric: str
    ) -> None:
        count = int(numbers.max()) + 1
        self._metric = metric
        self._measure = WeightedMetrics(
            _stack((pred_a, pred_b)),
            _stack((target, target)),
            None if votes is None else _stack((votes, votes)),
            clusters=np.concatenate([numbers, numbers + count]),
            metrics=[metric],
        )

    def differences(self, exchanged: np.ndarray) -> np.ndarray:
        """Value of a minus value of b after exchanging clusters, boolean ``[exchanges, clusters]``."""
        kept = ~exchanged
        first = self._measure(np.concatenate([kept, exchanged], axis=1))[self._metric]
        second = self._measure(np.concatenate([exchanged, kept], axis=1))[self._metric]
        with np.errstate(invalid="ignore"):
            return first - second


def _stack(pair: Sequence[Array]) -> np.ndarray:
    return np.concatenate([np.asarray(values, dtype=np.float64) for values in pair])


def _p_value(both: _Both, observed: float, count: int, resamples: int, rng: np.random.Generator) -> float:
    complete = count <= 63 and 2 ** (count - 1) <= resamples
    if complete:
        # The last cluster stays: the other half of the exchanges has the same absolute differences.
        number = np.arange(2 ** (count - 1))
        exchanged = (number[:, None] >> np.arange(count) & 1).astype(bool)
    else:
        exchanged = rng.random((resamples, count)) < 0.5
    found = np.abs(both.differences(exchanged))
    # Rounding must not tell apart equal differences; an undefined one speaks against nothing.
    extreme = ~(found < abs(observed) - 1e-12 - 1e-9 * abs(observed))
    return float(extreme.mean() if complete else (extreme.sum() + 1) / (resamples + 1))


def _standardised(differences: np.ndarray) -> float:
    """Mean over standard deviation of the clusters' differences; clusters in which the metric is undefined left out."""
    defined = differences[~np.isnan(differences)]
    if len(defined) < 2 or not np.isfinite(defined).all():
        return math.nan
    spread = defined.std(ddof=1)
    return float(defined.mean() / spread) if spread > 1e-12 * np.abs(defined).max() else math.nan


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of a family of tests, keeping the family-wise error rate (Holm 1979).

    Sorted upwards, the j-th of m becomes the largest of ``(m - i + 1) p_i`` for i up to j, at most 1.

    Args:
        p_values: Of the family; NaN (no test was possible) stays NaN and does not count in m.

    Returns:
        In the same order.

    Raises:
        InputError: A p-value is not between 0 and 1.
    """
    values = np.asarray(p_values, dtype=np.float64)
    bad = next((row for row, p in enumerate(values, start=1) if not math.isnan(p) and not 0 <= p <= 1), None)
    if values.ndim != 1 or bad is not None:
        raise InputError("a p-value is not between 0 and 1", field="p_values", row=bad)
    order = np.argsort(values, kind="stable")[: int((~np.isnan(values)).sum())]
    factors = len(order) - np.arange(len(order))
    adjusted = np.full(len(values), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * values[order]), 1) if len(order) else []
    return adjusted.tolist()


def paired_tests(
    predictions: Mapping[str, np.ndarray],
    target: np.ndarray,
    votes: np.ndarray | None,
    clusters: Sequence[object],
    metric: str = "js_divergence",
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> list[AdjustedTest]:
    """Paired tests of all pairs of runs, with p-values adjusted over all of them.

    Args:
        predictions: Name -> distributions of the same utterances, ``[utterances, labels]``; a row with NaN has none.
        target: Human probabilities, ``[utterances, labels]``.
        votes: Vote counts, ``[utterances, labels]``, or None.
        clusters: Cluster of each utterance.
        metric: Name of the metric.
        resamples: As in :func:`paired_test`.
        seed: As in :func:`paired_test`.

    Returns:
        One comparison per pair, in the order of the mapping. Where no utterance has a distribution in both, the test is
        all NaN.

    Raises:
        InputError: As in :func:`paired_test`, or the runs are not of the same utterances.
    """
    target = np.asarray(target, dtype=np.float64)
    votes = None if votes is None else np.asarray(votes, dtype=np.float64)
    numbers = number_clusters(clusters, len(target))
    arrays = {name: np.asarray(pred, dtype=np.float64) for name, pred in predictions.items()}
    for name, pred in arrays.items():
        if pred.shape != target.shape:
            what = f"the predictions of {name} have shape {list(pred.shape)}, the target {list(target.shape)}"
            raise InputError(what, field="predictions", remedy="Give the same utterances and labels in the same order.")
    tests, dropped = [], []
    for a, b in itertools.combinations(arrays, 2):
        kept = ~(np.isnan(arrays[a]) | np.isnan(arrays[b])).any(axis=1)
        dropped.append(int((~kept).sum()))
        tests.append(
            paired_test(
                arrays[a][kept],
                arrays[b][kept],
                target[kept],
                None if votes is None else votes[kept],
                numbers[kept].tolist(),
                metric,
                resamples=resamples,
                seed=seed,
            )
            if kept.any()
            else PairedTest(metric, math.nan, math.nan, math.nan, math.nan, math.nan, num_utterances=0, num_clusters=0)
        )
    adjusted = holm([test.p_value for test in tests])
    return [
        AdjustedTest(a, b, test, p, num)
        for (a, b), test, p, num in zip(itertools.combinations(arrays, 2), tests, adjusted, dropped, strict=True)
    ]
