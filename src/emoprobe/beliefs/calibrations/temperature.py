"""Temperature scaling (Guo et al. 2017, arXiv 1706.04599)."""

from __future__ import annotations

from functools import partial

import numpy as np

from emoprobe.beliefs import posthoc
from emoprobe.beliefs.calibrations.base import CALIBRATIONS
from emoprobe.beliefs.calibrations.scaling import Scaling, Transform
from emoprobe.options import options


@CALIBRATIONS.register("temperature")
@options("calibration.{name}")
class Temperature(Scaling):
    """One temperature; ``l2`` is the strength of the penalty of its inverse."""

    def fit(self, log_probs: np.ndarray, target: np.ndarray) -> Transform:
        """Fit the temperature."""
        return partial(posthoc.apply, posthoc.temperature_scaling(log_probs, target, l2=self.l2, floor=self.floor))
