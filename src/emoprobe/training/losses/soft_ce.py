"""Cross-entropy with the vote shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emoprobe.options import options
from emoprobe.training.losses.base import LOSSES, SoftLabelLoss, impossible

if TYPE_CHECKING:
    from torch import Tensor


@LOSSES.register("soft_ce")
@options("loss")
class SoftCE(SoftLabelLoss):
    """Cross-entropy with the vote shares."""

    def distance(self, log_probs: Tensor, target: Tensor) -> Tensor:
        return soft_ce(log_probs, target)


def soft_ce(log_probs: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with the soft label, in nats: ``-sum_k t_k ln p_k``.

    Its gradient is that of :func:`soft_kl`; its minimum is the entropy of the target, not 0.

    Args:
        log_probs: Predicted log-probabilities (natural logarithm), ``[batch, labels]``.
        target: Human probabilities, ``[batch, labels]``.
    """
    # Only 0 times minus infinity is set to its limit 0; a NaN beside a share of 0 is kept.
    return -(target * log_probs.masked_fill(impossible(log_probs, target), 0)).sum(dim=-1)
