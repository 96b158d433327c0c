"""A small network on frozen states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from emoprobe.options import Count, NotNegative, ShareBelowOne, options
from emoprobe.training.heads.base import HEADS, ProbeHead

if TYPE_CHECKING:
    from torch import nn


@HEADS.register("mlp_probe")
@options("head")
class MLPProbe(ProbeHead):
    """Hidden layers with dropout.

    Args:
        hidden: Units of each hidden layer.
        depth: Number of hidden layers.
        dropout: Share of hidden units dropped in training.
        activation: ``gelu`` or ``relu``.
        layer_norm: Normalise each hidden layer before its activation.
        noise: Standard deviation of what is added to the standardised features in training (Bishop 1995).
    """

    hidden: Count = 256
    depth: Count = 1
    dropout: ShareBelowOne = 0.3
    activation: Literal["gelu", "relu"] = "gelu"
    layer_norm: bool = False
    noise: NotNegative = 0.0

    def body(self, features: int, labels: int) -> nn.Module:
        from torch import nn

        from emoprobe.training.feature_head import Noise

        activation = {"gelu": nn.GELU, "relu": nn.ReLU}[self.activation]
        blocks: list[nn.Module] = [Noise(self.noise)] if self.noise else []
        for size in [features, *[self.hidden] * (self.depth - 1)]:
            blocks += [nn.Linear(size, self.hidden), *([nn.LayerNorm(self.hidden)] if self.layer_norm else [])]
            blocks += [activation(), nn.Dropout(self.dropout)]
        return nn.Sequential(*blocks, nn.Linear(self.hidden, labels))
