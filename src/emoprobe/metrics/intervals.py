"""Intervals of means over utterances whose errors are not independent: those of one speaker stand or fall together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emoprobe.errors import InputError


def cluster_bootstrap(
    values: np.ndarray, clusters: Sequence[object], *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean, resampling whole clusters (Davison and Hinkley 1997, section 3.8).

    Args:
        values: One value per utterance, finite, ``[utterances]``.
        clusters: Cluster of each utterance, for example its speaker.
        resamples: How many times as many clusters as there are, are drawn with replacement.
        level: Coverage, between 0 and 1.
        seed: Of the draws.

    Returns:
        Lower and upper end; NaN where there are fewer than two clusters.

    Raises:
        InputError: The sizes differ, or there are no values.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) != len(clusters) or not len(values):
        raise InputError(f"{values.shape} values and {len(clusters)} clusters", field="clusters")
    names, number = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    count = len(names)
    if count < 2:
        return float("nan"), float("nan")
    sums, sizes = np.bincount(number, weights=values), np.bincount(number).astype(np.float64)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)
    means = (drawn @ sums) / (drawn @ sizes)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
