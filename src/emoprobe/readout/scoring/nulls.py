"""Content-free inputs: what a model answers to them is its prior, which calibrations take out (arXiv 2102.09690)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emoprobe.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

KINDS = ("silence", "noise", "no_audio")


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


@dataclass(frozen=True)
class NullInputs:
    """Which content-free inputs a run scores beside its clips.

    Args:
        kinds: Some of ``silence`` (digital), ``noise`` (Gaussian), ``no_audio``.
        seconds: Their duration.
        noise_draws: Independent noise clips.
        noise_rms: Standard deviation of the noise, of full scale.

    Raises:
        InputError: An option is wrong.
    """

    kinds: Sequence[str]
    seconds: float
    noise_draws: int
    noise_rms: float

    def __post_init__(self) -> None:
        for i, kind in enumerate(self.kinds):
            if kind not in KINDS:
                what = f"unknown null input {kind!r}"
                raise InputError(what, field="null_inputs.kinds", remedy=f"Use some of {', '.join(KINDS)}.")
            if kind in self.kinds[:i]:
                raise InputError(
                    f"{kind!r} is asked for twice", field="null_inputs.kinds", remedy="Name each kind once."
                )
        for name in ("seconds", "noise_draws", "noise_rms"):
            value = getattr(self, name)
            whole = name != "noise_draws" or isinstance(value, int)
            if isinstance(value, bool) or not isinstance(value, int | float) or not whole or not 0 < value < math.inf:
                needed = "a whole number of at least 1" if name == "noise_draws" else "a positive number"
                raise InputError(f"{value!r} is not {needed}", field=f"null_inputs.{name}")

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
