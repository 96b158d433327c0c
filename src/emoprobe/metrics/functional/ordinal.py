"""Agreement of numbers: what a prediction and the raters say on a scale, such as valence from 1 to 5.

The labels are the points of a scale, one apart and in ascending order (`emoprobe.labels.Scale`), and a distribution
over them has an expected value ``e = sum_k k p_k``. Metrics of agreement do not see where a scale begins, so points are
counted from 0 here; distances are in points of the scale. ``pred`` and ``target`` are probabilities
``[utterances, labels]``, and the result is a float64 scalar over all utterances; of `emd`, a mean over utterances,
``reduction="none"`` gives float64 ``[utterances]``. All raise InputError where
:func:`~emoprobe.metrics.functional.checks.check_pair` does.
"""

from __future__ import annotations

import math

from emoprobe.metrics.functional.arrays import Values, library
from emoprobe.metrics.functional.definition import Sum, mean_over_clips, of_sums

CONSTANT = 1e-12
"""Variance, in squared points, up to which values are all the same: rounding leaves as much."""


def expected(probabilities: Values) -> Values:
    """Expected value in points from the lowest one, float64 ``[utterances]``: ``sum_k k p_k``, k from 0.

    Args:
        probabilities: Distributions over the points of a scale, ``[utterances, labels]``.

    >>> import numpy as np
    >>> expected(np.array([[0.25, 0.75, 0.0], [0.0, 0.0, 1.0]])).tolist()
    [0.75, 2.0]
    """
    return (probabilities * _points(probabilities)).sum(-1)


def spread(probabilities: Values) -> Values:
    """Standard deviation in points, float64 ``[utterances]``: ``sqrt(sum_k (k - e)^2 p_k)``, e the expected value.

    Args:
        probabilities: Distributions over the points of a scale, ``[utterances, labels]``.

    >>> import numpy as np
    >>> spread(np.array([[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]])).tolist()
    [1.0, 0.0]
    """
    away = _points(probabilities) - expected(probabilities)[..., None]
    return (probabilities * away**2).sum(-1) ** 0.5


def _points(probabilities: Values) -> Values:
    xp = library(probabilities)
    return xp.arange(probabilities.shape[-1], dtype=xp.float64, device=probabilities.device)


# -- expected values over utterances -----------------------------------------------------------------------------------


def _moments(pred: Values, target: Values) -> tuple[Sum]:
    """Both expected values, their squares and their product, and the squared difference, ``[6]``.

    They are counted from the middle of the scale, against cancellation; it is the same for all predictions, so that
    sums can be averaged over draws.
    """
    xp, middle = library(pred), (pred.shape[-1] - 1) / 2
    p, t = expected(pred) - middle, expected(target) - middle
    return (Sum("ua->a", (xp.stack([p, t, p**2, t**2, p * t, (p - t) ** 2], -1),)),)


def _variances(number: Values, moments: Values) -> tuple[Values, Values, Values, Values]:
    """Variance of predicted and human expected values, their covariance, and the difference of their means."""
    means = moments / (number if isinstance(number, int) else number[..., None])
    p, t, pp, tt, pt = (means[..., i] for i in range(5))
    return pp - p**2, tt - t**2, pt - p * t, p - t


def _over(above: Values, below: Values, where: Values) -> Values:
    """A ratio, NaN where it is none; the inner `where` keeps 0/0, and with it a NaN gradient, out of the outer one."""
    xp = library(below)
    return xp.where(where, above / xp.where(where, below, 1.0), math.nan)


@of_sums(
    _moments,
    "Lin's concordance correlation of predicted and human expected values over utterances",
    short="CCC",
    higher_is_better=True,
    lower=-1.0,
    is_differentiable=True,
    suits="points",
)
def ccc(number: Values, moments: Values) -> Values:
    """Concordance correlation coefficient of predicted and human expected values, -1 to 1 (Lin 1989).

    ``2 s_pt / (s_p^2 + s_t^2 + (m_p - m_t)^2)`` with m the means over utterances and s the variances and the
    covariance, all divided by the number of utterances, as Lin has it and as audEERING's and the AVEC challenges' CCC
    are computed. Unlike :func:`pearson` it falls when a prediction is shifted or too narrow. A prediction that is the
    same for all utterances scores 0, as do raters who are; both, as for a single utterance, NaN.

    >>> import numpy as np
    >>> target = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> timid = np.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 0.5]])
    >>> float(ccc(target, target)), round(float(ccc(timid, target)), 3)
    (1.0, 0.8)
    """
    predicted, human, both, shift = _variances(number, moments)
    some = (predicted > CONSTANT) | (human > CONSTANT)
    varies = (predicted > CONSTANT) & (human > CONSTANT)
    return _over(library(both).where(varies, 2 * both, 0.0), predicted + human + shift**2, some)


@of_sums(
    _moments,
    "Pearson correlation of predicted and human expected values over utterances",
    short="Pearson",
    higher_is_better=True,
    lower=-1.0,
    is_differentiable=True,
    suits="points",
)
def pearson(number: Values, moments: Values) -> Values:
    """Pearson correlation of predicted and human expected values, -1 to 1.

    It does not see a shift, nor a prediction that is too narrow. NaN where either side is the same for all utterances.

    >>> import numpy as np
    >>> target = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> timid = np.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 0.5]])
    >>> round(float(pearson(timid, target)), 3)
    1.0
    """
    predicted, human, both, _ = _variances(number, moments)
    varies = (predicted > CONSTANT) & (human > CONSTANT)
    power = library(both).where(varies, predicted * human, 1.0)
    return _over(both, power**0.5, varies).clip(-1, 1)


@of_sums(
    _moments,
    "root mean square difference of predicted and human expected values, in points of the scale",
    short="RMSE",
    unit="points",
    upper=math.inf,
    is_differentiable=True,
    suits="points",
)
def rmse(number: Values, moments: Values) -> Values:
    """Root mean square difference of predicted and human expected values, in points, 0 to K - 1.

    >>> import numpy as np
    >>> float(rmse(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])))
    1.0
    """
    return (moments[..., 5] / number) ** 0.5


@mean_over_clips(
    "1-Wasserstein (earth mover's) distance along the points, in points of the scale",
    short="EMD",
    unit="points",
    upper=math.inf,
    suits="points",
)
def emd(pred: Values, target: Values) -> Values:
    """Earth mover's distance (1-Wasserstein) of two distributions over the points, in points, 0 to K - 1.

    ``sum_k |P_k - T_k|`` over the cumulative distributions: how far probability must be moved. It is at least the
    difference of the expected values, and equal to it where one distribution lies wholly above the other. (The training
    loss of this name takes the squares.)

    >>> import numpy as np
    >>> float(emd(np.array([[0.5, 0.0, 0.5]]), np.array([[0.0, 1.0, 0.0]])))
    1.0
    """
    return abs((pred - target).cumsum(-1)[..., :-1]).sum(-1)
