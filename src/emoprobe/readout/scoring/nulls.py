"""Content-free inputs: what a model answers to them is its prior, which calibrations take out (arXiv 2102.09690)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from emoprobe.options import Count, Distinct, OneOf, Positive, options
from emoprobe.run.scores import NULLS

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class NullInput:
    """A content-free input; ``waveform`` is None where the model hears nothing at all."""

    kind: str
    draw: int
    waveform: Tensor | None

    @property
    def sha256(self) -> str:
        """Of the waveform's float32 bytes; empty without a waveform."""
        return "" if self.waveform is None else hashlib.sha256(self.waveform.numpy().tobytes()).hexdigest()


@options("null_inputs")
class NullInputs:
    """Which content-free inputs a run scores beside its clips.

    Args:
        kinds: Some of ``silence`` (digital), ``noise`` (Gaussian), ``no_audio``.
        seconds: Their duration.
        noise_draws: Independent noise clips.
        noise_rms: Standard deviation of the noise, of full scale.
    """

    kinds: Distinct[Annotated[str, OneOf(NULLS)]]
    seconds: Positive
    noise_draws: Count
    noise_rms: Positive

    def make(self, sampling_rate: int, seed: int) -> list[NullInput]:
        """The inputs, the noise drawn with ``seed``."""
        import torch

        length = round(self.seconds * sampling_rate)
        generator = torch.Generator().manual_seed(seed)
        inputs = []
        for kind in self.kinds:
            for draw in range(self.noise_draws if kind == "noise" else 1):
                noise = torch.randn(length, generator=generator) * self.noise_rms if kind == "noise" else None
                inputs.append(NullInput(kind, draw, torch.zeros(length) if kind == "silence" else noise))
        return inputs
