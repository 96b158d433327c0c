"""What is derived from a score table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Literal

from pydantic import BeforeValidator

from emoprobe.beliefs.calibration import Calibration
from emoprobe.beliefs.distributions import AVERAGED_LOGITS, NORMALIZATIONS, AveragedLogitsVariant
from emoprobe.options import At, Distinct, Natural, OneOf, Several, Share, options, valid

AVERAGED = Distinct[Annotated[str, OneOf(AVERAGED_LOGITS)]]


def _variants(names: object) -> object:
    if isinstance(names, Mapping):
        return names
    return {name: AVERAGED_LOGITS[name] for name in valid(AVERAGED, names, "analysis.averaged_logits")}


@options("analysis")
class AnalysisOptions:
    """What is derived from a score table.

    Args:
        calibrations: Calibrations to apply, in table order.
        label_likelihood: Normalisations of the label likelihood.
        averaged_logits: Readings of the averaged logits, by name; a list names some of `AVERAGED_LOGITS`.
        ensembles: Ways to combine the prompts of a run; a prompt asked in several label orders counts once.
        min_parsed: Least share of the drawn answers about a clip that must state a distribution; else the clip fails.
        failures: ``exclude`` clips without a distribution from their row's metrics, or score them as ``uniform``; they
            are counted either way.
        resamples: Of speakers, for intervals; 0 for none.
    """

    calibrations: Annotated[Several[Calibration], At("calibration")]
    label_likelihood: Distinct[Annotated[str, OneOf(NORMALIZATIONS)]] = ("sum",)
    averaged_logits: Annotated[Mapping[str, AveragedLogitsVariant], BeforeValidator(_variants)] = field(
        default_factory=dict
    )
    ensembles: Distinct[Literal["arithmetic", "geometric"]] = ("arithmetic", "geometric")
    failures: Literal["exclude", "uniform"] = "exclude"
    min_parsed: Share = 0.5
    resamples: Natural = 2000
