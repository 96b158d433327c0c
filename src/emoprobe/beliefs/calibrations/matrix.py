"""Matrix scaling, on log-probabilities Dirichlet calibration (Kull et al. 2019, arXiv 1910.12656)."""

from __future__ import annotations

from functools import partial

import numpy as np

from emoprobe.beliefs import posthoc
from emoprobe.beliefs.calibrations.base import CALIBRATIONS
from emoprobe.beliefs.calibrations.scaling import Scaling, Transform
from emoprobe.options import NotNegative, options


@CALIBRATIONS.register("matrix")
@options("calibration.{name}")
class Matrix(Scaling):
    """A full matrix and a bias; ``l2`` is the strength of the penalty of off-diagonal weights and of biases (ODIR)."""

    l2: NotNegative = posthoc.MATRIX_L2

    def fit(self, log_probs: np.ndarray, target: np.ndarray) -> Transform:
        """Fit the matrix and the biases."""
        return partial(posthoc.apply, posthoc.matrix_scaling(log_probs, target, l2=self.l2, floor=self.floor))
