"""What is derived from a score table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

from emoprobe.beliefs.calibrations.base import Calibration
from emoprobe.options import At, Distinct, Natural, Several, options
from emoprobe.readout.base import Stored


@options("analysis")
class AnalysisOptions:
    """What is derived from a score table.

    Args:
        calibrations: Calibrations to apply, in table order.
        readouts: Options of single readouts by their names, each an object of the class that the readout names
            (`emoprobe.readout.base.Stored.analysis`); those left out have their defaults.
        ensembles: Ways to combine the prompts of a run; a prompt asked in several label orders counts once.
        failures: ``exclude`` clips without a distribution from their row's metrics, or score them as ``uniform``; they
            are counted either way.
        resamples: Of speakers, for intervals; 0 for none.
        figures: Whether they are drawn.
    """

    calibrations: Annotated[Several[Calibration], At("calibration")]
    readouts: Annotated[Mapping[str, Any], At("analysis")] = field(default_factory=dict)
    ensembles: Distinct[Literal["arithmetic", "geometric"]] = ("arithmetic", "geometric")
    failures: Literal["exclude", "uniform"] = "exclude"
    resamples: Natural = 2000
    figures: bool = True

    def of(self, readout: type[Stored]) -> Any:
        """The options of a readout; None if it has none."""
        default = None if readout.analysis is None else readout.analysis()
        return self.readouts.get(readout.name, default)
