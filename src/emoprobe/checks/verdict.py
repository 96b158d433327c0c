"""What one check of a model says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Verdict:
    """One check.

    Args:
        check: What was compared.
        difference: The largest difference found; None where nothing could be compared.
        tolerance: What is allowed: at most this, or at least this where ``least`` is set; infinite where the check only
            tells how it is.
        least: Whether the difference must reach the tolerance (the sound must matter).
        note: Units, or why the check does not apply.
    """

    check: str
    difference: float | None
    tolerance: float = 0.0
    least: bool = False
    note: str = "nats"

    @property
    def applies(self) -> bool:
        """Whether anything was compared."""
        return self.difference is not None

    @property
    def passed(self) -> bool:
        """Whether the check passed; one that does not apply has not failed."""
        if self.difference is None:
            return True
        return self.difference >= self.tolerance if self.least else self.difference <= self.tolerance


def gap(a: Tensor, b: Tensor) -> float:
    """Largest absolute difference; infinite where a number is not finite."""
    found = (a - b).abs().max().item()
    return found if math.isfinite(found) else math.inf


def relative_gap(a: Tensor, b: Tensor) -> float:
    """`gap`, in units of the second's standard deviation; infinite where the shapes differ."""
    if a.shape != b.shape:
        return math.inf
    return gap(a, b) / max(b.std(correction=0).item(), 1e-12)
