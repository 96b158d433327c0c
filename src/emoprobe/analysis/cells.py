"""The cells of a predictions table as arrays: what every function of this room starts from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emoprobe.errors import InputError
from emoprobe.run.cell import EVALUATED_VOTES, KEYS

if TYPE_CHECKING:
    import pandas as pd

SETTING = ("model", "readout", "variant", "calibration")
"""Everything that makes a cell but its prompt."""


@dataclass(frozen=True)
class CellArrays:
    """One distribution per utterance under one model, prompt, readout, variant and calibration.

    Args:
        key: Values of `emoprobe.run.cell.KEYS`.
        fitted_on: What the cell was fitted on, as in the table.
        utterances: Utterance ids, ``[utterances]``.
        clusters: Speaker of each utterance; an utterance of nobody known is its own cluster, ``[utterances]``.
        known: Whether the speaker is known, ``[utterances]``.
        pred: Predicted probabilities, NaN where there is no distribution, ``[utterances, labels]``.
        target: Human probabilities, ``[utterances, labels]``.
        votes: Vote counts, ``[utterances, labels]``.
    """

    key: dict[str, str]
    fitted_on: str
    utterances: np.ndarray
    clusters: np.ndarray
    known: np.ndarray
    pred: np.ndarray
    target: np.ndarray
    votes: np.ndarray

    @property
    def scored(self) -> np.ndarray:
        """Which utterances have a distribution, ``[utterances]``."""
        return np.isfinite(self.pred).all(axis=1)

    @property
    def head(self) -> dict[str, str]:
        """What every row about this cell begins with."""
        return {**self.key, "fitted_on": self.fitted_on}


def check_columns(frame: pd.DataFrame, columns: Sequence[str], name: str) -> None:
    """Refuse a table that lacks a column.

    Raises:
        InputError: A column is missing.
    """
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise InputError(
            f"the {name} have no column {missing[0]!r}",
            field=missing[0],
            remedy=f"Give the {name} of a run folder and the labels of that run.",
        )


def read_cells(predictions: pd.DataFrame, labels: Sequence[str]) -> Iterator[CellArrays]:
    """The cells of a predictions table, in the order of their first rows.

    Args:
        predictions: ``predictions.parquet`` of a run.
        labels: Labels of the run, in order.

    Raises:
        InputError: A column is missing, or a cell holds an utterance twice.
    """
    columns = {prefix: [f"{prefix}_{label}" for label in labels] for prefix in ("p", "target", "votes")}
    needed = [*KEYS, "fitted_on", "utterance_id", "speaker", *(name for names in columns.values() for name in names)]
    check_columns(predictions, needed, "predictions")
    for key, rows in predictions.groupby(list(KEYS), observed=True, sort=False, dropna=False):
        repeated = rows["utterance_id"].duplicated()
        if repeated.any():
            raise InputError(
                f"utterance {rows['utterance_id'][repeated].iloc[0]!r} stands twice in one cell",
                field="utterance_id",
                remedy="Give the predictions of one run, or tell runs apart by their model names.",
            )
        utterances = rows["utterance_id"].astype(str).to_numpy(dtype=object)
        known = rows["speaker"].notna().to_numpy()
        speakers = rows["speaker"].astype(object).to_numpy()
        clusters = [
            f"speaker {speaker}" if is_known else f"utterance {name}"
            for speaker, is_known, name in zip(speakers, known, utterances, strict=True)
        ]
        arrays = {prefix: rows[names].to_numpy(np.float64) for prefix, names in columns.items()}
        yield CellArrays(
            key=dict(zip(KEYS, key, strict=True)),
            fitted_on=" + ".join(sorted(set(rows["fitted_on"].astype(object).fillna("")) - {""})),
            utterances=utterances,
            clusters=np.array(clusters, dtype=object),
            known=known,
            pred=arrays["p"],
            target=arrays["target"],
            votes=arrays["votes"],
        )


def clips_of(predictions: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """The human side of every utterance once, index = utterance id.

    Args:
        predictions: ``predictions.parquet`` of a run.
        labels: Labels of the run, in order.

    Raises:
        InputError: A column is missing, or the same utterance has two targets.
    """
    shares = [f"{prefix}_{label}" for prefix in ("target", "votes") for label in labels]
    check_columns(predictions, ["utterance_id", *shares], "predictions")
    clips = predictions.drop_duplicates(["utterance_id", *shares])
    repeated = clips["utterance_id"].duplicated()
    if repeated.any():
        raise InputError(
            f"utterance {clips['utterance_id'][repeated].iloc[0]!r} has different votes in different rows",
            field="utterance_id",
            remedy="Give predictions of one corpus under one soft-label policy.",
        )
    return clips.set_index("utterance_id")


def clusters_of(frame: pd.DataFrame) -> list[str]:
    """Whose errors stand or fall together: the speaker of each utterance, or the utterance where nobody knows it.

    Args:
        frame: With a column ``speaker`` and the utterance ids as its index.
    """
    speakers = frame["speaker"].astype(object)
    known = speakers.notna() & (speakers.astype(str) != "")
    return [
        f"speaker {who}" if there else f"utterance {name}"
        for name, who, there in zip(frame.index, speakers, known, strict=True)
    ]


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
