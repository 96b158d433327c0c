"""Vector scaling (Guo et al. 2017, arXiv 1706.04599)."""

from __future__ import annotations

from functools import partial

import numpy as np

from emoprobe.beliefs import posthoc
from emoprobe.beliefs.calibrations.base import CALIBRATIONS
from emoprobe.beliefs.calibrations.scaling import Scaling, Transform
from emoprobe.options import NotNegative, options


@CALIBRATIONS.register("vector")
@options("calibration.{name}")
class Vector(Scaling):
    """One weight and one bias per label; ``l2`` is the strength of the penalty of unequal weights and of biases."""

    l2: NotNegative = posthoc.VECTOR_L2

    def fit(self, log_probs: np.ndarray, target: np.ndarray) -> Transform:
        """Fit weights and biases."""
        return partial(posthoc.apply, posthoc.vector_scaling(log_probs, target, l2=self.l2, floor=self.floor))
