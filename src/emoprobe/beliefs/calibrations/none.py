"""No calibration: distributions as the model gives them."""

from __future__ import annotations

from emoprobe.beliefs.calibrations.base import CALIBRATIONS, Calibrated, Calibration, Evidence
from emoprobe.options import Name, options


@CALIBRATIONS.register("none")
@options("calibration.{name}")
class Uncalibrated(Calibration):
    """Distributions as the model gives them."""

    name: Name = "none"

    def apply(self, evidence: Evidence) -> Calibrated:
        """The distributions as they are."""
        return Calibrated(evidence.plain, "")
