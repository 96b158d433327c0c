"""Similarity and shape agreement of predicted and human distributions.

Everywhere p is the prediction, t the human target, k runs over labels; ``pred`` and ``target`` are
``[utterances, labels]``. Functions with a ``reduction`` give the mean over utterances (a float64 scalar) or, with
``"none"``, float64 ``[utterances]``; the others give one float64 scalar for all utterances. All raise InputError where
:func:`~emoprobe.metrics.functional.checks.check_pair` does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from emoprobe.metrics.functional.checks import Array, Reduction, check_pair, reduce
from emoprobe.metrics.functional.divergences import entropy
from emoprobe.metrics.functional.ties import TIE_TOLERANCE


def bhattacharyya(pred: Array, target: Array, *, reduction: Reduction = "mean") -> Tensor:
    """Bhattacharyya coefficient, 0 to 1, 1 is best: ``sum_k sqrt(p_k t_k)`` (Bhattacharyya 1943)."""
    pred, target = check_pair(pred, target)
    # Two roots, not the root of the product: that has no gradient where a label got no votes.
    return reduce((pred.sqrt() * target.sqrt()).sum(dim=-1).clamp(max=1), reduction)


def cosine(pred: Array, target: Array, *, reduction: Reduction = "mean") -> Tensor:
    """Cosine similarity of the two probability vectors, 0 to 1: ``p.t / (|p| |t|)``."""
    pred, target = check_pair(pred, target)
    similarity = (pred * target).sum(dim=-1) / (pred.norm(dim=-1) * target.norm(dim=-1))
    return reduce(similarity.clamp(max=1), reduction)


def r2_within_clip(pred: Array, target: Array, *, reduction: Reduction = "mean") -> Tensor:
    """Squared Pearson correlation of the two vectors over the labels of one utterance, 0 to 1 (AER-LLM, 2409.18339).

    A constant vector on either side (uniform prediction, uniform votes) gives 0. The sign is lost: a prediction that
    ranks the labels backwards also scores. With two labels every non-constant pair scores 1.
    """
    pred, target = check_pair(pred, target)
    p, t = pred - pred.mean(dim=-1, keepdim=True), target - target.mean(dim=-1, keepdim=True)
    varies = (_range(pred, dim=-1) > TIE_TOLERANCE) & (_range(target, dim=-1) > TIE_TOLERANCE)
    # The inner `where` keeps 0/0, and with it a NaN gradient, out of the rows that the outer one discards.
    power = torch.where(varies, p.square().sum(dim=-1) * t.square().sum(dim=-1), 1.0)
    return reduce(torch.where(varies, ((p * t).sum(dim=-1).square() / power).clamp(max=1), 0.0), reduction)


def r2_per_class(pred: Array, target: Array) -> Tensor:
    """Coefficient of determination of each label over utterances, averaged over labels; 1 is best, may be negative.

    ``R2_k = 1 - sum_i (t_ik - p_ik)^2 / sum_i (t_ik - mean_i t_ik)^2``, as scikit-learn's ``r2_score`` and the code of
    2601.14620. A label whose target share is the same for all utterances has no variance to explain and is left out
    of the average (scikit-learn counts it as 0 or 1); NaN if no label is left, so also for a single utterance.
    """
    pred, target = check_pair(pred, target)
    residual = (target - pred).square().sum(dim=0)
    variance = (target - target.mean(dim=0)).square().sum(dim=0)
    varies = _range(target, dim=0) > TIE_TOLERANCE
    return (1 - residual[varies] / variance[varies]).mean()


def brier(pred: Array, target: Array, *, reduction: Reduction = "mean") -> Tensor:
    """Brier score, lower is better: ``sum_k (p_k - t_k)^2 / K``, the mean over the K labels, so at most 2/K.

    The convention of 2603.08230; Brier's own (1950) is the sum over labels, K times as large.
    """
    pred, target = check_pair(pred, target)
    return reduce((pred - target).square().mean(dim=-1), reduction)


def entropy_spearman(pred: Array, target: Array) -> Tensor:
    """Spearman correlation over utterances of predicted and human entropy, -1 to 1.

    Equal entropies (to 1e-9 bits) get the mean of their ranks. NaN if all utterances have the same entropy on either
    side, as a constant prediction has.
    """
    pred, target = check_pair(pred, target)
    p, t = (ranks - ranks.mean() for ranks in (_average_ranks(entropy(pred)), _average_ranks(entropy(target))))
    return ((p * t).sum() / (p.norm() * t.norm())).clamp(-1, 1)


def _range(values: Tensor, *, dim: int) -> Tensor:
    return values.amax(dim=dim) - values.amin(dim=dim)


def _average_ranks(values: Tensor) -> Tensor:
    """Ranks from 1; values that differ by rounding only share the mean of their ranks. ``[utterances]``"""
    ordered, order = values.detach().sort()
    group = torch.cat([ordered.new_zeros(1), (ordered.diff() > TIE_TOLERANCE).to(ordered)]).cumsum(0).long()
    size = torch.bincount(group).to(ordered)
    mean_rank = size.cumsum(0) - (size - 1) / 2
    return torch.empty_like(ordered).scatter_(0, order, mean_rank[group])
