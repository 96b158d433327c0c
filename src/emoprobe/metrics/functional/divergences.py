"""Distances between a predicted and a human distribution, one value per utterance.

Everywhere p is the prediction, t the human target, k runs over labels; ``pred`` and ``target`` are
``[utterances, labels]``, and the result is the mean over utterances (a float64 scalar) or, with ``reduction="none"``,
float64 ``[utterances]``. All raise InputError where :func:`~emoprobe.metrics.functional.checks.check_pair` does.
"""

from __future__ import annotations

import math

from emoprobe.metrics.functional.arrays import Values, xlogy
from emoprobe.metrics.functional.checks import Array, check_distributions
from emoprobe.metrics.functional.definition import mean_over_clips


@mean_over_clips("KL(target || prediction), natural logarithm", unit="nats", upper=math.inf)
def kl_target_pred(pred: Values, target: Values) -> Values:
    """Kullback-Leibler divergence of the prediction from the target, in nats.

    ``KL(t || p) = sum_k t_k ln(t_k / p_k)``, exact: no smoothing. A label without votes adds 0; a label with votes
    that is predicted with probability 0 makes it infinite.

    >>> import numpy as np
    >>> float(kl_target_pred(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]])))
    0.6931471805599453
    """
    return _kl(target, pred)


@mean_over_clips("KL(prediction || target), natural logarithm", unit="nats", upper=math.inf)
def kl_pred_target(pred: Values, target: Values) -> Values:
    """Kullback-Leibler divergence of the target from the prediction, in nats.

    ``KL(p || t) = sum_k p_k ln(p_k / t_k)``, exact: no smoothing. It is infinite as soon as any label without votes is
    predicted with probability above 0, so against raw vote shares it is infinite for nearly every prediction.

    >>> import numpy as np
    >>> float(kl_pred_target(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]])))
    inf
    """
    return _kl(pred, target)


@mean_over_clips("Jensen-Shannon divergence, base 2, no root", short="JS", unit="bits")
def js_divergence(pred: Values, target: Values) -> Values:
    """Jensen-Shannon divergence to base 2, in bits, 0 to 1 (Lin 1991); not its square root.

    ``JS(p, t) = KL(p || m) / 2 + KL(t || m) / 2`` with ``m = (p + t) / 2`` and logarithms to base 2.

    >>> import numpy as np
    >>> pred, target = np.array([[0.5, 0.5], [0.0, 1.0]]), np.array([[0.5, 0.5], [1.0, 0.0]])
    >>> js_divergence(pred, target, reduction="none").tolist(), float(js_divergence(pred, target))
    ([0.0, 1.0], 0.5)
    """
    return _js(pred, target)


@mean_over_clips("mean over utterances of the root of the base-2 Jensen-Shannon divergence")
def js_distance(pred: Values, target: Values) -> Values:
    """Jensen-Shannon distance to base 2, 0 to 1: the root of each utterance's :func:`js_divergence`, then averaged.

    Times ``sqrt(ln 2) = .833`` it is the natural-logarithm distance that AER-LLM (2409.18339) reports as "JS". Its
    gradient is infinite where prediction and target agree.

    >>> import numpy as np
    >>> float(js_distance(np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])))
    1.0
    """
    return _js(pred, target) ** 0.5


@mean_over_clips("total variation distance, half the sum over labels of |p - t|")
def total_variation(pred: Values, target: Values) -> Values:
    """Total variation distance, 0 to 1: ``sum_k |p_k - t_k| / 2``.

    >>> import numpy as np
    >>> float(total_variation(np.array([[0.5, 0.5]]), np.array([[0.75, 0.25]])))
    0.25
    """
    return abs(pred - target).sum(-1) / 2


def entropy(probabilities: Array) -> Values:
    """Shannon entropy in bits, float64 ``[utterances]``: ``-sum_k p_k log2 p_k``.

    Args:
        probabilities: Distributions, ``[utterances, labels]``.

    Raises:
        InputError: The rows are not distributions.

    >>> import numpy as np
    >>> entropy(np.array([[0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0.0, 0.0]])).tolist()
    [2.0, 1.0]
    """
    return entropy_of(check_distributions(probabilities, field="probabilities"))


def entropy_of(probabilities: Values) -> Values:
    """:func:`entropy` of checked distributions."""
    return (-xlogy(probabilities, probabilities).sum(-1) / math.log(2)).clip(0) + 0.0  # no -0.0


def _kl(p: Values, q: Values) -> Values:
    # Rounding may leave -1e-17 where the two agree; a divergence is never negative.
    return (xlogy(p, p) - xlogy(p, q)).sum(-1).clip(0)


def _js(p: Values, q: Values) -> Values:
    middle = (p + q) / 2
    return ((_kl(p, middle) + _kl(q, middle)) / (2 * math.log(2))).clip(None, 1)
