"""What an analysis is made of: its options, the human side, and one cell per way of reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emoprobe.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from emoprobe.calibration import Calibration
    from emoprobe.distributions import AveragedLogitsVariant, Distributions
    from emoprobe.labels import LabelSet

KEYS = ("model", "prompt", "readout", "variant", "calibration")
TRAINED = "trained"  # variant of a trained head
TEXT_READOUTS = ("generated_text", "sampled_text", "constrained_text")
KNOWS_VOTES = "knows_votes"
"""Option of a trained head's rows: it was trained on some of the evaluated clips, or on their speakers."""
EVALUATED_VOTES, EVALUATED_INPUTS = "evaluated votes", "evaluated inputs"
"""What ``fitted_on`` names where something saw the votes it is judged by, or only the sound of the evaluated clips."""


def saw_its_votes(fitted_on: str) -> bool:
    """Whether something was fitted on the very votes that it is judged by: its scores are no result.

    Args:
        fitted_on: Sources joined by " + ", as in every table.
    """
    return EVALUATED_VOTES in fitted_on.split(" + ")


def has_rank(row: Mapping) -> bool:
    """Whether a row of the metric table may be ranked, printed bold, or called the best of anything.

    It is a readout that has a distribution of every clip, since others are scored on other clips, and that did not see
    the votes it is judged by. One that saw the evaluated clips' sound (``*``) or other speakers' votes (``†``) has one.

    Args:
        row: With ``kind``, ``num_failed`` and ``fitted_on``.
    """
    return row["kind"] == "readout" and not row["num_failed"] and not saw_its_votes(row["fitted_on"])


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


@dataclass(frozen=True)
class Targets:
    """The evaluated utterances' human side, row by row as in ``utterances.parquet``.

    Args:
        frame: One row per evaluated utterance, index = utterance id.
        distribution: Soft labels ``[utterances, labels]``.
        votes: Vote counts ``[utterances, labels]``.
        prior: Vote prior ``[labels]`` of the training split, or of the evaluated utterances.
        prior_source: ``training votes`` or ``evaluated votes``.
    """

    frame: pd.DataFrame
    distribution: np.ndarray
    votes: np.ndarray
    prior: np.ndarray
    prior_source: str


@dataclass(frozen=True)
class Cell:
    """One distribution per utterance under one model, prompt, readout, variant and calibration.

    Args:
        label_mass: Probability, or of written answers their share, that is on labels, ``[utterances]``.
        share_parsed: Share of the drawn answers that state a distribution, ``[utterances]``.
        reasoning_cut: Whether the reasoning before the answer stopped at its limit, ``[utterances]``; None without any.
    """

    model: str
    prompt: str
    readout: str
    variant: str
    calibration: str
    fitted_on: str
    distributions: Distributions
    label_mass: np.ndarray | None = None
    share_parsed: np.ndarray | None = None
    reasoning_cut: np.ndarray | None = None
    generated_text: list[str] | None = None


def make_targets(utterances: pd.DataFrame, labels: LabelSet) -> Targets:
    """Targets of the evaluated utterances, and the vote prior that may be known of them.

    The prior is that of the training split's utterances that are not evaluated; where there are none it is that of the
    evaluated utterances, and every row that uses it says so.
    """
    import numpy as np

    from emoprobe.metrics.floors import vote_prior

    evaluated = utterances[utterances["role"] == "evaluated"].set_index("utterance_id")
    votes = evaluated[[f"votes_{label}" for label in labels.labels]].to_numpy(np.float64)
    target = evaluated[[f"target_{label}" for label in labels.labels]].to_numpy(np.float64)
    training = utterances[utterances["role"] == "training"]
    source = training if len(training) else evaluated
    counts = source[[f"votes_{label}" for label in labels.labels]].to_numpy(np.float64)
    prior = np.asarray(vote_prior(counts), dtype=np.float64)
    return Targets(evaluated, target, votes, prior, "training votes" if len(training) else EVALUATED_VOTES)
