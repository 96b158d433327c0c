"""KL(votes || prediction)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emoprobe.options import options
from emoprobe.training.losses.base import LOSSES, SoftLabelLoss
from emoprobe.training.losses.soft_ce import soft_ce

if TYPE_CHECKING:
    from torch import Tensor


@LOSSES.register("soft_kl")
@options("loss")
class SoftKL(SoftLabelLoss):
    """Kullback-Leibler divergence of the prediction from the vote shares."""

    def distance(self, log_probs: Tensor, target: Tensor) -> Tensor:
        return soft_kl(log_probs, target)


def soft_kl(log_probs: Tensor, target: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the prediction from the target, in nats: ``sum_k t_k (ln t_k - ln p_k)``.

    Args:
        log_probs: Predicted log-probabilities (natural logarithm), ``[batch, labels]``.
        target: Human probabilities, ``[batch, labels]``.
    """
    from torch.special import xlogy

    return xlogy(target, target).sum(dim=-1) + soft_ce(log_probs, target)
