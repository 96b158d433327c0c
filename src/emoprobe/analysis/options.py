"""What is derived from a score table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emoprobe.errors import InputError

if TYPE_CHECKING:
    from emoprobe.beliefs.calibration import Calibration
    from emoprobe.beliefs.distributions import AveragedLogitsVariant


@dataclass(frozen=True)
class AnalysisOptions:
    """What is derived from a score table.

    Args:
        calibrations: Calibrations to apply, in table order.
        label_likelihood: Normalisations of the label likelihood.
        averaged_logits: Named readings of the averaged logits.
        ensembles: Ways to combine the prompts of a run; a prompt asked in several label orders counts once.
        min_parsed: Least share of the drawn answers about a clip that must state a distribution; else the clip fails.
        failures: ``exclude`` clips without a distribution from their row's metrics, or score them as ``uniform``; they
            are counted either way.
        resamples: Of speakers, for intervals; 0 for none.
    """

    calibrations: Sequence[Calibration]
    label_likelihood: Sequence[str] = ("sum",)
    averaged_logits: Mapping[str, AveragedLogitsVariant] = field(default_factory=dict)
    ensembles: Sequence[str] = ("arithmetic", "geometric")
    failures: str = "exclude"
    min_parsed: float = 0.5
    resamples: int = 2000

    def __post_init__(self) -> None:
        if self.failures not in ("exclude", "uniform"):
            raise InputError(
                f"unknown rule {self.failures!r}", field="analysis.failures", remedy="Use exclude or uniform."
            )
        if type(self.min_parsed) not in (int, float) or not 0 <= self.min_parsed <= 1:
            what = f"{self.min_parsed!r} is not a share"
            raise InputError(what, field="analysis.min_parsed", remedy="Use 0.5, or another number from 0 to 1.")
        if not isinstance(self.resamples, int) or isinstance(self.resamples, bool) or self.resamples < 0:
            what = f"{self.resamples!r} is not a number of resamples"
            raise InputError(what, field="analysis.resamples", remedy="Use 2000, or 0 for no intervals.")
