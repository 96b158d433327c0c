"""What one way of reading says a model believes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from emoprobe.beliefs.distributions import Distributions
    from emoprobe.run.cell import Cell


@dataclass(frozen=True)
class Belief:
    """One distribution per utterance under one model, prompt, readout, variant and calibration.

    Args:
        cell: Which.
        fitted_on: What it was fitted on, sources joined by " + ".
        distributions: One per utterance, with what became of the answer.
        label_mass: Probability, or of written answers their share, that is on labels, ``[utterances]``.
        share_parsed: Share of the drawn answers that state a distribution, ``[utterances]``.
        reasoning_cut: Whether the reasoning before the answer stopped at its limit, ``[utterances]``; None without any.
        generated_text: What the model wrote, ``[utterances]``; None where it writes nothing.
    """

    cell: Cell
    fitted_on: str
    distributions: Distributions
    label_mass: np.ndarray | None = None
    share_parsed: np.ndarray | None = None
    reasoning_cut: np.ndarray | None = None
    generated_text: Sequence[str | None] | None = None
