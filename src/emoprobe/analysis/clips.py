"""Values of single clips and their means over resampled speakers; floors as cells of a predictions table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from emoprobe.run.cell import EVALUATED_VOTES, KEYS
from emoprobe.run.predictions import check_columns, clips_of

if TYPE_CHECKING:
    import pandas as pd


def is_combination(prompt: str) -> bool:
    """Whether a prompt's name stands for several prompts: an ensemble, or the mean over a prompt's label orders."""
    return prompt.startswith("ensemble_") or "@mean(" in prompt


def js_per_utterance(pred: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence to base 2, ``[utterances]``; NaN where either side is no distribution.

    Args:
        pred: Probabilities, ``[utterances, labels]``.
        target: Probabilities, ``[utterances, labels]``.
    """
    from emoprobe.metrics.functional import js_divergence

    both = np.isfinite(pred).all(axis=1) & np.isfinite(target).all(axis=1)
    values = np.full(len(pred), np.nan)
    if both.any():
        values[both] = js_divergence(pred[both], target[both], reduction="none").numpy()
    return values


def mean_interval(
    values: np.ndarray, clusters: np.ndarray, *, resamples: int, level: float, seed: int
) -> tuple[float, float]:
    """Interval of a mean over utterances, whole clusters resampled, as in `emoprobe.metrics.intervals`.

    Args:
        values: One finite value per utterance, ``[utterances]``.
        clusters: Cluster of each utterance, ``[utterances]``.
        resamples: How often clusters are drawn with replacement.
        level: Coverage.
        seed: Of the draws.

    Returns:
        Lower and upper end; NaN with fewer than two clusters. For the values of a metric it is what
        `~emoprobe.metrics.intervals.bootstrap_intervals` gives with the same seed.
    """
    from emoprobe.metrics.intervals import expanded_percentiles

    if len(set(clusters)) < 2:
        return math.nan, math.nan
    total, weight = sums_by_cluster(values, clusters), sums_by_cluster(np.ones(len(values)), clusters)
    means = resampled_ratio(total, weight, resamples, np.random.default_rng(seed))
    return expanded_percentiles(means, len(total), level=level)


def sums_by_cluster(values: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Sum over the utterances of each cluster, clusters in the order of their names, ``[clusters]``."""
    from emoprobe.metrics.resampling import number_clusters

    return np.bincount(number_clusters(clusters, len(values)), weights=values)


def resampled_ratio(
    total: np.ndarray, weight: np.ndarray, resamples: int, generator: np.random.Generator
) -> np.ndarray:
    """``sum total / sum weight`` over as many clusters as there are, drawn with replacement, ``[resamples]``."""
    from emoprobe.metrics.resampling import draw_clusters

    drawn = draw_clusters(generator, len(total), resamples).astype(np.float64)
    return (drawn @ total) / (drawn @ weight)


def floor_predictions(predictions: pd.DataFrame, utterances: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """The floors and the reference as cells, to go through the same functions as a model's.

    Args:
        predictions: ``predictions.parquet`` of a run.
        utterances: ``utterances.parquet`` of the run; the vote prior is that of its training part, where it has one,
            else that of the evaluated utterances.
        labels: Labels of the run, in order.

    Returns:
        Rows of a predictions table, ``readout`` being one of `emoprobe.metrics.floors.FLOORS`.

    Raises:
        InputError: A column is missing.
    """
    import pandas as pd

    from emoprobe.metrics.floors import floors, vote_prior

    clips = clips_of(predictions, labels)
    votes = [f"votes_{label}" for label in labels]
    check_columns(utterances, ["role", *votes], "utterances")
    training = utterances[utterances["role"] == "training"]
    prior_of = training if len(training) else clips
    source = "training votes" if len(training) else EVALUATED_VOTES
    target = clips[[f"target_{label}" for label in labels]].to_numpy(np.float64)
    counts = clips[votes].to_numpy(np.float64)
    fitted_on = {"prior": source, "majority": source, "one_hot_of_top_vote": EVALUATED_VOTES}
    parts = []
    made = floors(target, counts, prior=vote_prior(prior_of[votes].to_numpy(np.float64)))
    for name, pred in made.items():
        part = clips.reset_index().assign(
            **dict.fromkeys(KEYS, ""), fitted_on=fitted_on.get(name, ""), status="ok", label_mass=np.nan
        )
        part["readout"] = name
        part[[f"p_{label}" for label in labels]] = pred
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
