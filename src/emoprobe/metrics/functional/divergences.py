"""Distances between a predicted and a human distribution, one value per utterance.

Everywhere p is the prediction, t the human target, k runs over labels; ``pred`` and ``target`` are
``[utterances, labels]``, and the result is the mean over utterances (a float64 scalar) or, with ``reduction="none"``,
float64 ``[utterances]``. All raise InputError where :func:`~emoprobe.metrics.functional.checks.check_pair` does.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.special import xlogy

from emoprobe.metrics.functional.checks import Array, Reduction, check_distributions, check_pair, reduce


def kl_target_pred(pred: Array, target: Array, *, reduction: Reduction = "mean") -> Tensor:
    """Kullback-Leibler divergence of the prediction from the target, in nats.

    ``KL(t || p) = sum_k t_k ln(t_k / p_k)``, exact: no smoothing. A label without votes adds 0; a label with votes
    that is predicted with probability 0 makes it infinite.
    """
    pred, target = check_pair(pred, target)
    return reduce(_kl(target, pred), reduction)


def kl_pred_target(pred: Array, target: Array, *, reduction: Reduction = "mean") -> Tensor:
    """Kullback-Leibler divergence of the target from the prediction, in nats.

    ``KL(p || t) = sum_k p_k ln(p_k / t_k)``, exact: no smoothing. It is infinite as soon as any label without votes is
    predicted with probability above 0, so against raw vote shares it is infinite for nearly every prediction.
    """
    pred, target = check_pair(pred, target)
    return reduce(_kl(pred, target), reduction)


def js_divergence(pred: Array, target: Array, *, reduction: Reduction = "mean") -> Tensor:
    """Jensen-Shannon divergence to base 2, in bits, 0 to 1 (Lin 1991); not its square root.

    ``JS(p, t) = KL(p || m) / 2 + KL(t || m) / 2`` with ``m = (p + t) / 2`` and logarithms to base 2.
    """
    pred, target = check_pair(pred, target)
    return reduce(_js(pred, target), reduction)


def js_distance(pred: Array, target: Array, *, reduction: Reduction = "mean") -> Tensor:
    """Jensen-Shannon distance to base 2, 0 to 1: the root of each utterance's :func:`js_divergence`, then averaged.

    Times ``sqrt(ln 2) = .833`` it is the natural-logarithm distance that AER-LLM (2409.18339) reports as "JS". Its
    gradient is infinite where prediction and target agree.
    """
    pred, target = check_pair(pred, target)
    return reduce(_js(pred, target).sqrt(), reduction)


def total_variation(pred: Array, target: Array, *, reduction: Reduction = "mean") -> Tensor:
    """Total variation distance, 0 to 1: ``sum_k |p_k - t_k| / 2``."""
    pred, target = check_pair(pred, target)
    return reduce((pred - target).abs().sum(dim=-1) / 2, reduction)


def entropy(probabilities: Array) -> Tensor:
    """Shannon entropy in bits, float64 ``[utterances]``: ``-sum_k p_k log2 p_k``.

    Args:
        probabilities: Distributions, ``[utterances, labels]``.

    Raises:
        InputError: The rows are not distributions.
    """
    probabilities = check_distributions(probabilities, field="probabilities")
    return (-xlogy(probabilities, probabilities).sum(dim=-1) / math.log(2)).clamp(min=0)


def _kl(p: Tensor, q: Tensor) -> Tensor:
    # Rounding may leave -1e-17 where the two agree; a divergence is never negative.
    return (xlogy(p, p) - xlogy(p, q)).sum(dim=-1).clamp(min=0)


def _js(p: Tensor, q: Tensor) -> Tensor:
    middle = (p + q) / 2
    return ((_kl(p, middle) + _kl(q, middle)) / (2 * math.log(2))).clamp(max=1)
