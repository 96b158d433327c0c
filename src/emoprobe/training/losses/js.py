"""Jensen-Shannon divergence, base 2."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from emoprobe.options import options
from emoprobe.training.losses.base import LOSSES, SoftLabelLoss, impossible

if TYPE_CHECKING:
    from torch import Tensor


@LOSSES.register("js")
@options("loss")
class JS(SoftLabelLoss):
    """Jensen-Shannon divergence."""

    def distance(self, log_probs: Tensor, target: Tensor) -> Tensor:
        return js(log_probs, target)


def js(log_probs: Tensor, target: Tensor) -> Tensor:
    """Jensen-Shannon divergence to base 2, in bits, 0 to 1; the metric ``js_divergence`` (Lin 1991).

    ``JS(p, t) = KL(p || m) / 2 + KL(t || m) / 2`` with ``m = (p + t) / 2`` and logarithms to base 2.

    Args:
        log_probs: Predicted log-probabilities (natural logarithm), ``[batch, labels]``.
        target: Human probabilities, ``[batch, labels]``.
    """
    import torch
    from torch.special import xlogy

    # In the logarithmic domain: the gradient of x ln x at x = exp(log_probs) is lost as soon as x underflows.
    log_middle = torch.logaddexp(log_probs.masked_fill(impossible(log_probs, target), 0), target.log()) - math.log(2)
    log_pred = log_probs.masked_fill(torch.isneginf(log_probs), 0)
    pred_part = log_probs.exp() * (log_pred - log_middle)
    target_part = xlogy(target, target) - target * log_middle
    return (pred_part + target_part).sum(dim=-1) / (2 * math.log(2))
