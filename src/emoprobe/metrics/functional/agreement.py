"""Similarity and shape agreement of predicted and human distributions.

Everywhere p is the prediction, t the human target, k runs over labels; ``pred`` and ``target`` are
``[utterances, labels]``. The means over utterances give one float64 scalar or, with ``reduction="none"``, float64
``[utterances]``; the others give one float64 scalar for all utterances. All raise InputError where
:func:`~emoprobe.metrics.functional.checks.check_pair` does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from emoprobe.metrics.functional.arrays import Values, as_numpy, library, mean_where
from emoprobe.metrics.functional.definition import MetricDefinition, OfSums, Part, Sum, add, mean_over_clips
from emoprobe.metrics.functional.divergences import entropy
from emoprobe.metrics.functional.ties import TIE_TOLERANCE


@mean_over_clips("Bhattacharyya coefficient, sum over labels of sqrt(p t)", short="BC", higher_is_better=True)
def bhattacharyya(pred: Values, target: Values) -> Values:
    """Bhattacharyya coefficient, 0 to 1, 1 is best: ``sum_k sqrt(p_k t_k)`` (Bhattacharyya 1943).

    >>> import numpy as np
    >>> round(float(bhattacharyya(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]]))), 3)
    0.707
    """
    xp = library(pred)
    # Two roots, not the root of the product: that has no gradient where a label got no votes.
    return (xp.sqrt(pred) * xp.sqrt(target)).sum(-1).clip(None, 1)


@mean_over_clips("cosine similarity of the two probability vectors", higher_is_better=True)
def cosine(pred: Values, target: Values) -> Values:
    """Cosine similarity of the two probability vectors, 0 to 1: ``p.t / (|p| |t|)``.

    >>> import numpy as np
    >>> round(float(cosine(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]]))), 3)
    0.707
    """
    norm = library(pred).linalg.norm
    return ((pred * target).sum(-1) / (norm(pred, axis=-1) * norm(target, axis=-1))).clip(None, 1)


@mean_over_clips("squared Pearson correlation over the labels of one utterance", short="R2 clip", higher_is_better=True)
def r2_within_clip(pred: Values, target: Values) -> Values:
    """Squared Pearson correlation of the two vectors over the labels of one utterance, 0 to 1 (AER-LLM, 2409.18339).

    A constant vector on either side (uniform prediction, uniform votes) gives 0. The sign is lost: a prediction that
    ranks the labels backwards also scores. With two labels every non-constant pair scores 1.

    >>> import numpy as np
    >>> pred, target = np.array([[0.5, 0.25, 0.25], [0.2, 0.6, 0.2]]), np.array([[0.6, 0.2, 0.2], [0.5, 0.0, 0.5]])
    >>> [round(value, 3) for value in r2_within_clip(pred, target, reduction="none").tolist()]
    [1.0, 1.0]
    """
    xp = library(pred)
    p, t = pred - pred.mean(-1)[..., None], target - target.mean(-1)[..., None]
    varies = (_range(pred, axis=-1) > TIE_TOLERANCE) & (_range(target, axis=-1) > TIE_TOLERANCE)
    # The inner `where` keeps 0/0, and with it a NaN gradient, out of the rows that the outer one discards.
    power = xp.where(varies, xp.square(p).sum(-1) * xp.square(t).sum(-1), 1.0)
    return xp.where(varies, (xp.square((p * t).sum(-1)) / power).clip(None, 1), 0.0)


@mean_over_clips("squared difference averaged over labels", short="Brier")
def brier(pred: Values, target: Values) -> Values:
    """Brier score, lower is better: ``sum_k (p_k - t_k)^2 / K``, the mean over the K labels, so at most 2/K.

    The convention of 2603.08230; Brier's own (1950) is the sum over labels, K times as large.

    >>> import numpy as np
    >>> float(brier(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]])))
    0.25
    """
    return library(pred).square(pred - target).mean(-1)


def _range(values: Values, *, axis: int) -> Values:
    xp = library(values)
    return xp.amax(values, axis=axis) - xp.amin(values, axis=axis)


# -- R2 per class ------------------------------------------------------------------------------------------------------

# Below this weighted variance of a label's share the sums have lost too many digits, and its R2 is computed directly.
_SMALL_VARIANCE = 1e-4


def _determination(pred: Values, target: Values, weights: np.ndarray | None = None) -> Values:
    """R2 of each label, NaN where its share does not vary over the utterances, ``[labels]``."""
    xp = library(pred)

    def total(values: Values) -> Values:
        return values.sum(0) if weights is None else weights @ values

    middle = total(target) / (len(target) if weights is None else weights.sum())
    varies = _range(target, axis=0) > TIE_TOLERANCE
    # The inner `where` keeps 0/0, and with it a NaN gradient, out of the labels that the outer one discards.
    variance = xp.where(varies, total(xp.square(target - middle)), 1.0)
    return xp.where(varies, 1 - total(xp.square(target - pred)) / variance, math.nan)


def _moments(pred: Values, target: Values) -> tuple[Sum, ...]:
    pred, target = as_numpy(pred), as_numpy(target)
    centred = target - target.mean(axis=0)  # against cancellation
    return tuple(Sum("uk->k", (values,)) for values in ((target - pred) ** 2, centred, centred**2))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Determination(OfSums):
    """Coefficient of determination of each label over utterances, averaged over labels; 1 is best, may be negative.

    ``R2_k = 1 - sum_i (t_ik - p_ik)^2 / sum_i (t_ik - mean_i t_ik)^2``, as scikit-learn's ``r2_score`` and the code of
    2601.14620. A label whose target share is the same for all utterances has no variance to explain and is left out
    of the average (scikit-learn counts it as 0 or 1); NaN if no label is left, so also for a single utterance.

    Under weights it is a function of moments, but for labels that vary too little for these to be exact.

    >>> import numpy as np
    >>> target = np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> float(r2_per_class(target, target)), float(r2_per_class(np.full((2, 2), 0.5), target))
    (1.0, 0.0)
    """

    def value(self, pred: Values, target: Values, votes: Values | None = None) -> Values:
        r2 = _determination(pred, target)
        return mean_where(r2, r2 == r2)

    def part(self, pred: Values, target: Values, votes: Values | None, clusters: np.ndarray) -> Part:
        pred, target = as_numpy(pred), as_numpy(target)

        def directly(weights: np.ndarray, label: int) -> float:
            kept = weights > 0
            return _determination(pred[kept, label], target[kept, label], weights[kept]) if kept.any() else math.nan

        def finish(weights: np.ndarray, number: np.ndarray, *sums: np.ndarray) -> np.ndarray:
            r2, sure = self.finish(number, *sums)
            for row, label in np.argwhere(~sure):
                r2[row, label] = directly(weights[row, clusters], label)
            return mean_where(np.nan_to_num(r2, nan=0.0), ~np.isnan(r2))

        return Part(self.sums, lambda: self.sums(pred, target), finish, "moments")


def _from_moments(
    number: np.ndarray, residual: np.ndarray, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """R2 of each label, and whether its variance is large enough for it to be exact, ``[resamples, labels]`` each."""
    variance = second - first**2 / number[:, None]
    return 1 - residual / variance, variance > _SMALL_VARIANCE * number[:, None]


r2_per_class = add(
    _Determination(
        name="r2_per_class",
        definition="coefficient of determination of each label over utterances, averaged over labels that vary",
        higher_is_better=True,
        lower=-math.inf,
        is_differentiable=True,
        sums=_moments,
        finish=_from_moments,
    )
)


# -- rank correlation of entropies -------------------------------------------------------------------------------------


class _RankSums:
    """What Spearman's correlation of two sets of values is made of, under weights.

    The rank of utterances of one value is the weight below them and half their own. Which values are equal is decided
    once, on all utterances.

    Args:
        first: Values, ``[utterances]``.
        second: Others of the same utterances.
        clusters: Number of each utterance's cluster, ``[utterances]``.
    """

    def __init__(self, first: np.ndarray, second: np.ndarray, clusters: np.ndarray) -> None:
        first_group, second_group = _groups(first), _groups(second)
        # In the order of the first, so that only the ranks of the second have to be looked up.
        order = np.argsort(first_group, kind="stable")
        self._clusters = clusters[order]
        self._first_group, self._second_group = first_group[order], second_group[order]
        self._second_order = np.argsort(self._second_group, kind="stable")

    def __call__(self, weights: np.ndarray) -> tuple[float, float, float]:
        """Weighted sums of the product of both ranks and of the squares of either, for weights ``[clusters]``."""
        weights = weights[self._clusters]
        first = _centred_ranks(weights, self._first_group)[self._first_group]
        second = _centred_ranks(weights[self._second_order], self._second_group[self._second_order])
        second = second[self._second_group]
        weighted = weights * first
        return float(weighted @ second), float(weighted @ first), float(weights @ second**2)


def _groups(values: np.ndarray) -> np.ndarray:
    """Number of each value's group of equal values, ascending from 0. ``[utterances]``"""
    order = np.argsort(values, kind="stable")
    group = np.empty(len(values), dtype=np.int64)
    group[order] = np.concatenate([[0], np.cumsum(np.diff(values[order]) > TIE_TOLERANCE)])
    return group


def _centred_ranks(weights: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Rank of each group minus the mean rank, ``[groups]``."""
    size = np.bincount(group, weights=weights)
    below = np.cumsum(size)
    return below - size / 2 - below[-1] / 2


@dataclass(frozen=True, kw_only=True, eq=False)
class _EntropySpearman(MetricDefinition):
    """Spearman correlation over utterances of predicted and human entropy, -1 to 1.

    Equal entropies (to 1e-9 bits) get the mean of their ranks. NaN if all utterances have the same entropy on either
    side, as a constant prediction has.

    It is no function of sums: utterances are sorted once, and the ranks under weights are cumulative sums of these.

    >>> import numpy as np
    >>> pred, target = np.array([[0.5, 0.5], [0.7, 0.3], [0.9, 0.1]]), np.array([[0.6, 0.4], [0.8, 0.2], [1.0, 0.0]])
    >>> round(float(entropy_spearman(pred, target)), 6)
    1.0
    """

    has_sums: ClassVar[bool] = False

    def value(self, pred: Values, target: Values, votes: Values | None = None) -> Values:
        product, first, second = self._ranks(pred, target, np.arange(len(pred)))(np.ones(len(pred)))
        power = math.sqrt(first) * math.sqrt(second)
        found = np.clip(product / power, -1, 1) if power else math.nan
        xp = library(pred)
        return xp.asarray(found, dtype=xp.float64, device=pred.device)

    def part(self, pred: Values, target: Values, votes: Values | None, clusters: np.ndarray) -> Part:
        ranks = self._ranks(pred, target, clusters)

        def finish(weights: np.ndarray, number: np.ndarray) -> np.ndarray:
            product, first, second = np.array([ranks(row) for row in weights]).reshape(-1, 3).T
            return np.clip(product / np.sqrt(first * second), -1, 1)

        return Part(self, tuple, finish)

    @staticmethod
    def _ranks(pred: Values, target: Values, clusters: np.ndarray) -> _RankSums:
        return _RankSums(as_numpy(entropy(pred)), as_numpy(entropy(target)), clusters)


entropy_spearman = add(
    _EntropySpearman(
        name="entropy_spearman",
        definition="Spearman correlation of predicted and human entropy over utterances",
        short="rho(H)",
        higher_is_better=True,
        lower=-1.0,
    )
)
