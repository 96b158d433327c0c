"""The human side of what is evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from emoprobe.labels import LabelSet
from emoprobe.metrics.floors import vote_prior
from emoprobe.metrics.functional import metrics_of
from emoprobe.run.cell import EVALUATED_VOTES


@dataclass(frozen=True)
class Targets:
    """The evaluated utterances' human side, row by row as in ``utterances.parquet``.

    Args:
        frame: One row per evaluated utterance, index = utterance id.
        distribution: Soft labels ``[utterances, labels]``.
        votes: Vote counts ``[utterances, labels]``.
        prior: Vote prior ``[labels]`` of the training split, or of the evaluated utterances.
        prior_source: ``training votes`` or ``evaluated votes``.
        metrics: Names of the metrics of the label set; those of categories by default.
        num_means: Clips whose raters gave numbers of which only the mean is known.
    """

    frame: pd.DataFrame
    distribution: np.ndarray
    votes: np.ndarray
    prior: np.ndarray
    prior_source: str
    metrics: tuple[str, ...] = field(default_factory=metrics_of)
    num_means: int = 0


def make_targets(utterances: pd.DataFrame, labels: LabelSet) -> Targets:
    """Targets of the evaluated utterances, and the vote prior that may be known of them.

    The prior is that of the training split's utterances that are not evaluated; where there are none it is that of the
    evaluated utterances, and every row that uses it says so.
    """
    evaluated = utterances[utterances["role"] == "evaluated"].set_index("utterance_id")
    votes = evaluated[[f"votes_{label}" for label in labels.labels]].to_numpy(np.float64)
    target = evaluated[[f"target_{label}" for label in labels.labels]].to_numpy(np.float64)
    training = utterances[utterances["role"] == "training"]
    source = training if len(training) else evaluated
    counts = source[[f"votes_{label}" for label in labels.labels]].to_numpy(np.float64)
    prior = np.asarray(vote_prior(counts), dtype=np.float64)
    name = "training votes" if len(training) else EVALUATED_VOTES
    means = 0 if labels.scale is None else int(evaluated["num_raters"].isna().sum())
    return Targets(evaluated, target, votes, prior, name, metrics_of(labels), means)


def no_targets(ids: Sequence[str], labels: LabelSet) -> Targets:
    """The human side of clips that nobody has voted on: NaN throughout."""
    unknown = np.full((len(ids), len(labels)), np.nan)
    return Targets(pd.DataFrame(index=list(ids)), unknown, unknown, unknown[0], "no votes")
