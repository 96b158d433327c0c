"""A linear layer on frozen states."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emoprobe.options import options
from emoprobe.training.heads.base import HEADS, ProbeHead

if TYPE_CHECKING:
    from torch import nn


@HEADS.register("linear_probe")
@options("head")
class LinearProbe(ProbeHead):
    """Multinomial logistic regression."""

    def body(self, features: int, labels: int) -> nn.Module:
        from torch import nn

        return nn.Linear(features, labels)
