"""The distributions of one way of reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from emoprobe.beliefs.distributions import Distributions


@dataclass(frozen=True)
class Cell:
    """One distribution per utterance under one model, prompt, readout, variant and calibration.

    Args:
        label_mass: Probability, or of written answers their share, that is on labels, ``[utterances]``.
        share_parsed: Share of the drawn answers that state a distribution, ``[utterances]``.
        reasoning_cut: Whether the reasoning before the answer stopped at its limit, ``[utterances]``; None without any.
    """

    model: str
    prompt: str
    readout: str
    variant: str
    calibration: str
    fitted_on: str
    distributions: Distributions
    label_mass: np.ndarray | None = None
    share_parsed: np.ndarray | None = None
    reasoning_cut: np.ndarray | None = None
    generated_text: list[str] | None = None
