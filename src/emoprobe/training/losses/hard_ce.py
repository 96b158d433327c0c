"""Cross-entropy with the top vote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emoprobe.errors import InputError
from emoprobe.metrics.functional.ties import TIE_TOLERANCE
from emoprobe.options import options
from emoprobe.training.losses.base import LOSSES, SoftLabelLoss
from emoprobe.training.losses.soft_ce import soft_ce

if TYPE_CHECKING:
    from torch import Tensor


@LOSSES.register("hard_ce")
@options("loss")
class HardCE(SoftLabelLoss):
    """Cross-entropy with the top vote; tied tops share."""

    def __post_init__(self) -> None:
        if self.temperature != 1:
            raise InputError(
                f"a target temperature has no effect on {self.name}",
                field="loss.temperature",
                remedy="Leave it at 1.",
            )

    def per_clip(self, output: Tensor, human: Tensor) -> Tensor:
        # The top vote is smoothed, not searched for in a smoothed target.
        return self.distance(output, self.smoothed(top_votes(human)))

    def distance(self, log_probs: Tensor, target: Tensor) -> Tensor:
        return soft_ce(log_probs, target)


def hard_ce(log_probs: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with the top vote as a one-hot label, in nats; labels that tie for the top share it equally.

    Args:
        log_probs: Predicted log-probabilities (natural logarithm), ``[batch, labels]``.
        target: Human probabilities, ``[batch, labels]``.
    """
    return soft_ce(log_probs, top_votes(target))


def top_votes(target: Tensor) -> Tensor:
    """Weight 1 on the label with the highest share, or 1/m on each of m tied labels, ``[batch, labels]``.

    Args:
        target: Human probabilities, ``[batch, labels]``.
    """
    import torch

    # Equal shares may differ by rounding; different ones differ by the share of a vote.
    tolerance = max(TIE_TOLERANCE, 4 * torch.finfo(target.dtype).eps)
    top = (target >= target.amax(dim=-1, keepdim=True) - tolerance).to(target.dtype)
    return top / top.sum(dim=-1, keepdim=True)
