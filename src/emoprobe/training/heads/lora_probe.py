"""Adapters in the SFM and a linear head, trained together."""

from __future__ import annotations

from typing import Literal

from emoprobe.options import options
from emoprobe.training.heads.base import HEADS, Kinds, Layers
from emoprobe.training.heads.lora import Lora


@HEADS.register("lora_probe")
@options("head")
class LoraProbe(Lora):
    """Adapters, read through a head on the states that they change.

    Args:
        source: ``encoder``, or ``decoder``: the state at the prompt's answer position.
        layers: Of the encoder.
        kinds: Statistics over the encoder's frames.
    """

    source: Literal["encoder", "decoder"] = "decoder"
    layers: Layers = (-1,)
    kinds: Kinds = ("mean", "std")

    @property
    def asks(self) -> bool:
        return self.source == "decoder"
