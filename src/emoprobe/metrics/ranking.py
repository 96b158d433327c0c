"""Rank statistics under many weightings of the utterances at once: Kendall's tau-b, AUROC, average precision, AURC.

A weight is how often an utterance's cluster counts, as in `emoprobe.metrics.resampling`. At weights of one the values
are those of scipy and scikit-learn; at whole weights they are those of the data set with every utterance repeated as
often. Scores closer than `TIE_TOLERANCE` are equal.
"""

from __future__ import annotations

import math

import numpy as np

from emoprobe.metrics.functional.ties import TIE_TOLERANCE

CHUNK = 4_000_000
"""Numbers held at a time; bounds the memory, not the result."""


def tie_groups(values: np.ndarray) -> np.ndarray:
    """Number of each value's group of equal values, ascending from 0, ``[utterances]``."""
    order = np.argsort(values, kind="stable")
    group = np.empty(len(values), dtype=np.int64)
    group[order] = np.concatenate([[0], np.cumsum(np.diff(values[order]) > TIE_TOLERANCE)])
    return group


class _Groups:
    """Sums over the utterances of each group of equal scores, under weights of clusters.

    Args:
        scores: ``[utterances]``.
        clusters: Number of each utterance's cluster, ``[utterances]``.
    """

    def __init__(self, scores: np.ndarray, clusters: np.ndarray) -> None:
        group = tie_groups(scores)
        self._order = np.argsort(group, kind="stable")
        self._starts = np.flatnonzero(np.diff(group[self._order], prepend=-1))
        self._of = clusters[self._order]

    def __call__(self, weights: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Weighted sums of values ``[utterances]`` of each group, ascending by score, ``[resamples, groups]``."""
        return np.add.reduceat(weights[:, self._of] * values[self._order], self._starts, axis=1)


def _chunks(weights: np.ndarray, size: int) -> list[np.ndarray]:
    step = max(1, CHUNK // max(size, 1))
    return [weights[start : start + step].astype(np.float64) for start in range(0, len(weights), step)]


def kendall_tau(first: np.ndarray, second: np.ndarray, clusters: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of two sets of values (Kendall 1945), the pairs of equal values in the denominator.

    The concordant less the discordant pairs are summed once for each pair of clusters, so it takes time and memory by
    the square of the utterances and of the clusters.

    Args:
        first: ``[utterances]``.
        second: ``[utterances]``.
        clusters: Number of each utterance's cluster from 0, ``[utterances]``.
        weights: Of clusters, ``[resamples, clusters]``.

    Returns:
        ``[resamples]``, -1 to 1; NaN where either side is constant.
    """
    a, b = tie_groups(first), tie_groups(second)
    order = np.argsort(clusters, kind="stable")
    a, b, which = a[order], b[order], clusters[order]
    starts = np.flatnonzero(np.diff(which, prepend=-1))
    between = np.zeros((weights.shape[1], len(starts)))
    step = max(1, CHUNK // len(a))
    for begin in range(0, len(a), step):
        rows = slice(begin, begin + step)
        agree = np.sign(a[rows, None] - a) * np.sign(b[rows, None] - b)
        np.add.at(between, which[rows], np.add.reduceat(agree, starts, axis=1))
    weights = weights.astype(np.float64)
    excess = ((weights @ between) * weights[:, which[starts]]).sum(axis=1)
    differing = [_differing_pairs(group, which, weights) for group in (a, b)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip(excess / np.sqrt(differing[0] * differing[1]), -1, 1)


def _differing_pairs(values: np.ndarray, clusters: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weight of the ordered pairs of different values, ``[resamples]``."""
    groups, ones = _Groups(values, clusters), np.ones(len(values))
    sizes = [groups(chunk, ones) for chunk in _chunks(weights, len(values))]
    return np.concatenate([size.sum(axis=1) ** 2 - (size**2).sum(axis=1) for size in sizes])


def auroc(scores: np.ndarray, positive: np.ndarray, clusters: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve: the chance that a positive utterance has the higher score, equal scores half.

    Args:
        scores: ``[utterances]``.
        positive: Boolean ``[utterances]``.
        clusters: Number of each utterance's cluster from 0, ``[utterances]``.
        weights: Of clusters, ``[resamples, clusters]``.

    Returns:
        ``[resamples]``, 0 to 1; NaN where all or no utterances are positive.
    """
    groups, found = _Groups(scores, clusters), []
    for chunk in _chunks(weights, len(scores)):
        inside, outside = groups(chunk, positive.astype(float)), groups(chunk, (~positive).astype(float))
        below = np.cumsum(outside, axis=1) - outside / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append((inside * below).sum(axis=1) / (inside.sum(axis=1) * outside.sum(axis=1)))
    return np.concatenate(found)


def average_precision(
    scores: np.ndarray, positive: np.ndarray, clusters: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Average precision: the sum over thresholds of precision times the gain in recall, as scikit-learn has it.

    Args:
        scores: ``[utterances]``.
        positive: Boolean ``[utterances]``.
        clusters: Number of each utterance's cluster from 0, ``[utterances]``.
        weights: Of clusters, ``[resamples, clusters]``.

    Returns:
        ``[resamples]``, 0 to 1; a score that tells nothing has the share of the positive. NaN where none is positive.
    """
    groups, found = _Groups(-scores, clusters), []
    for chunk in _chunks(weights, len(scores)):
        inside, number = groups(chunk, positive.astype(float)), groups(chunk, np.ones(len(scores)))
        precision = np.cumsum(inside, axis=1) / np.maximum(np.cumsum(number, axis=1), 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append((inside * precision).sum(axis=1) / inside.sum(axis=1))
    return np.concatenate(found)


def risk_coverage_area(
    confidence: np.ndarray, loss: np.ndarray, clusters: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """AURC: the mean loss of the k utterances of the highest confidence, averaged over k (Geifman et al. 2019).

    Utterances of equal confidence are taken in random order, of which this is the expectation:
    ``sum_{j=1..m} (S + j l) / (K + j)`` over m of them, with K utterances of losses S before and l their own mean.

    Args:
        confidence: ``[utterances]``.
        loss: ``[utterances]``.
        clusters: Number of each utterance's cluster from 0, ``[utterances]``.
        weights: Whole, of clusters, ``[resamples, clusters]``.

    Returns:
        ``[resamples]``, in the unit of the loss; NaN where all weights are zero.
    """
    groups, found = _Groups(-confidence, clusters), []
    most = int((weights @ np.bincount(clusters, minlength=weights.shape[1])).max(initial=0))
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, most + 1))])
    for chunk in _chunks(weights, len(loss)):
        number, total = groups(chunk, np.ones(len(loss))), groups(chunk, loss)
        until = np.cumsum(number, axis=1)
        before, lost = until - number, np.cumsum(total, axis=1) - total
        own = total / np.maximum(number, 1)
        steps = harmonic[until.astype(np.int64)] - harmonic[before.astype(np.int64)]
        with np.errstate(invalid="ignore"):
            found.append((total + (lost - before * own) * steps).sum(axis=1) / until[:, -1])
    return np.concatenate(found)


def risk_at(confidence: np.ndarray, loss: np.ndarray, coverage: float) -> float:
    """Mean loss of the most confident utterances, equal confidence in random order (its expectation).

    Args:
        confidence: ``[utterances]``, at least one.
        loss: ``[utterances]``.
        coverage: Share of the utterances that is answered, above 0, at most 1; rounded up to whole utterances.
    """
    group = tie_groups(-confidence)
    number = np.bincount(group)
    even = (np.bincount(group, weights=loss) / number)[group]
    kept = np.argsort(group, kind="stable")[: max(1, math.ceil(coverage * len(loss) - TIE_TOLERANCE))]
    return float(even[kept].mean())
