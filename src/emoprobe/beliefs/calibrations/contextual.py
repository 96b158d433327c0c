"""Contextual calibration (arXiv 2102.09690): divide by the label distribution under a content-free input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import log_softmax

from emoprobe.beliefs.calibrations.base import CALIBRATIONS, Calibrated, Evidence
from emoprobe.beliefs.calibrations.null_inputs import FITTED_ON, OfNullInputs
from emoprobe.options import options


@CALIBRATIONS.register("contextual")
@options("calibration.{name}")
class Contextual(OfNullInputs):
    """Divides by the mean label distribution under a null input."""

    def apply(self, evidence: Evidence) -> Calibrated | None:
        """``undefined`` everywhere if a null input has no distribution."""
        rows = self.rows(evidence)
        if rows is None:
            return None
        null = evidence.reading.derive(rows)
        if any(status != "ok" for status in null.status):
            return Calibrated(evidence.plain.undefined(), FITTED_ON)
        log_probs = contextual(evidence.plain.log_probs, null.probs)
        return Calibrated(replace(evidence.plain, log_probs=log_probs), FITTED_ON)


def contextual(log_probs: np.ndarray, null_probs: np.ndarray) -> np.ndarray:
    """``q(y|x) = p(y|x) / p0(y)``, renormalised; p0 is the mean distribution over the null inputs.

    Args:
        log_probs: ``[utterances, labels]`` nats.
        null_probs: ``[null inputs, labels]``.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        shifted = log_probs - np.log(null_probs.mean(axis=0))
    return log_softmax(shifted, axis=1)
