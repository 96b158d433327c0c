"""Squared earth mover's distance, for labels that have an order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.options import options
from emoprobe.training.losses.base import LOSSES, SoftLabelLoss

if TYPE_CHECKING:
    from torch import Tensor


@LOSSES.register("emd")
@options("loss")
class EMD(SoftLabelLoss):
    """Squared earth mover's distance along the order of the labels.

    Args:
        ordered: The labels stand in a meaningful order; the points of a scale always do.
    """

    ordered: bool = False

    def of(self, labels: LabelSet) -> EMD:
        """Itself, of the points of a scale, or where the labels are said to be ordered.

        Raises:
            InputError: They are neither.
        """
        if not self.ordered and labels.scale is None:
            raise InputError(
                "the earth mover's distance needs labels in a meaningful order",
                field="loss.name",
                remedy=f"Those of {labels.name} are no points of a scale, as those of labels=valence5 are. Set "
                "loss.ordered=true if they are levels of one; else choose another loss.",
            )
        return self

    def distance(self, log_probs: Tensor, target: Tensor) -> Tensor:
        return emd(log_probs, target)


def emd(log_probs: Tensor, target: Tensor) -> Tensor:
    """Squared earth mover's distance along the order of the labels, ``sum_k (P_k - T_k)^2``, 0 to K - 1.

    P and T are the cumulative distributions. Neighbouring labels are one step apart, so the order must mean something
    (levels of arousal, not names of emotions). From Hou et al. 2016 (1611.05916), without their factor 1/K.

    Args:
        log_probs: Predicted log-probabilities (natural logarithm), ``[batch, labels]``.
        target: Human probabilities, ``[batch, labels]``, labels in their order.
    """
    return (log_probs.exp() - target).cumsum(dim=-1).square().sum(dim=-1)
