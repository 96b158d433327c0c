"""Opinion pools: one distribution out of two, with a weight fitted on votes. Pure functions.

``geometric`` (logarithmic pool): ``q = a^w b^(1-w) / Z``; ``arithmetic`` (linear pool): ``q = w a + (1 - w) b`` (Genest
and Zidek 1986, doi:10.1214/ss/1177013825). The weight in [0, 1] minimises the mean ``KL(target || q)``, which is convex
in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax

from emoprobe.beliefs.crossfit import Part, Plan, fit_parts
from emoprobe.beliefs.posthoc import FLOOR, has_distribution, least_clips, without_zeros

POOLS = ("geometric", "arithmetic")


def pooled(log_a: np.ndarray, log_b: np.ndarray, weight: float, pool: str = "geometric") -> np.ndarray:
    """Log-probabilities of the fused distributions, ``[utterances, labels]`` nats.

    Args:
        log_a: Natural logarithms, ``[utterances, labels]``; a row that is NaN in either stays NaN.
        log_b: The same of the other run.
        weight: Of the first, in [0, 1].
        pool: ``geometric`` or ``arithmetic``.

    >>> one, other = np.log([[0.8, 0.2]]), np.log([[0.4, 0.6]])
    >>> np.exp(pooled(one, other, 0.5, "arithmetic")).round(3).tolist()
    [[0.6, 0.4]]
    """
    if pool == "geometric":
        # A probability of zero to the power of zero is one.
        terms = [w * log if w else np.zeros_like(log) for w, log in ((weight, log_a), (1 - weight, log_b))]
        terms = [np.where(np.isnan(log), np.nan, term) for log, term in zip((log_a, log_b), terms, strict=True)]
        return log_softmax(terms[0] + terms[1], axis=1)
    with np.errstate(divide="ignore"):
        return np.logaddexp(np.log(weight) + log_a, np.log1p(-weight) + log_b)


def best_weight(log_a: np.ndarray, log_b: np.ndarray, target: np.ndarray, pool: str = "geometric") -> float:
    """The weight of the first in [0, 1] with the lowest mean ``KL(target || q)``; one half where all are alike.

    Args:
        log_a: Natural logarithms without infinities, ``[utterances, labels]``.
        log_b: The same of the other run.
        target: Soft labels ``[utterances, labels]``.
        pool: ``geometric`` or ``arithmetic``.
    """
    from scipy.optimize import brentq

    def slope(weight: float) -> float:
        if pool == "geometric":
            fused = np.exp(pooled(log_a, log_b, weight, pool))
            return float(((fused - target) * (log_a - log_b)).sum(axis=1).mean())
        a, b = np.exp(log_a), np.exp(log_b)
        return float(-(target * (a - b) / (weight * a + (1 - weight) * b)).sum(axis=1).mean())

    # Convex: the slope only rises.
    low, high = slope(0.0), slope(1.0)
    if max(abs(low), abs(high)) < 1e-12:
        return 0.5
    if low >= 0:
        return 0.0
    if high <= 0:
        return 1.0
    return float(brentq(slope, 0.0, 1.0, xtol=1e-12))


def fuse_cells(
    log_a: np.ndarray,
    log_b: np.ndarray,
    target: np.ndarray,
    plan: Plan,
    ids: Sequence[str],
    *,
    pool: str = "geometric",
    floor: float = FLOOR,
) -> tuple[np.ndarray, list[tuple[Part, int, float | None]]]:
    """Every utterance's fused distribution, under a weight fitted on other utterances.

    Args:
        log_a: Natural logarithms, ``[utterances, labels]``; NaN rows have no distribution.
        log_b: The same of the other run.
        target: Soft labels ``[utterances, labels]``.
        plan: Whose votes are used for whom.
        ids: The utterances.
        pool: ``geometric`` or ``arithmetic``.
        floor: See `emoprobe.beliefs.posthoc.without_zeros`.

    Returns:
        Natural logarithms ``[utterances, labels]``, and per part of the plan the part, the number of utterances that
        its weight was fitted on, and the weight; None where there were too few.
    """
    usable = has_distribution(log_a) & has_distribution(log_b)
    log_a, log_b = (np.where(usable[:, None], log, np.nan) for log in (log_a, log_b))
    log_a, log_b = (without_zeros(log, floor) for log in (log_a, log_b))
    result = np.full_like(log_a, np.nan)
    parts = []

    def fit(rows: np.ndarray) -> float:
        return best_weight(log_a[rows], log_b[rows], target[rows], pool)

    for part, rows, weight in fit_parts(plan, ids, usable, least_clips(log_a.shape[1]), fit):
        parts.append((part, len(rows), weight))
        if weight is not None:
            result[part.apply] = pooled(log_a[part.apply], log_b[part.apply], weight, pool)
    return result, parts
