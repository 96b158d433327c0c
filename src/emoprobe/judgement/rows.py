"""Rows of the metric table: readouts with intervals, floors, references and the human ceiling."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from emoprobe.cell import KEYS
from emoprobe.metrics.floors import floors
from emoprobe.metrics.functional import METRICS, evaluate

if TYPE_CHECKING:
    import pandas as pd

    from emoprobe.cell import AnalysisOptions, Cell, Targets

REFERENCE = "one_hot_of_top_vote"
SHUFFLES = 20
CALIBRATION_ERRORS = ("ece_5", "ece_10", "classwise_ece")
"""They have no ceiling, since the majority label of a few votes is more certain than a rater, and no interval, since a
bootstrap interval covers a small calibration error less often than it says."""


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


def make_rows(cells: Sequence[Cell], targets: Targets, options: AnalysisOptions) -> list[dict]:
    """One row per cell, then the floors, the references and the ceiling.

    A row holds ``kind`` (readout, floor, reference or ceiling), the cell's keys, ``fitted_on``, ``num_utterances``,
    ``num_failed``, ``statuses``, ``mean_label_mass`` (of text over the answers that can be read), of readouts
    ``mean_share_parsed`` (of drawn answers) and ``num_reasoning_cut`` (clips whose reasoning stopped at its limit),
    ``metrics``, ``intervals`` (95 %, speakers resampled; not of
    calibration errors), of readouts ``shuffled`` (their own distributions given to other clips) and ``share_of_range``
    (0 at the prior floor, 1 at the human ceiling). Single layers have no intervals and shuffles, as there are many.
    """
    clusters = clusters_of(targets.frame)
    below = floor_rows(targets, floors(targets.distribution, targets.votes, prior=targets.prior), options.resamples)
    above = human_rows(targets)
    floor = next(row["metrics"] for row in below if row["readout"] == "prior")
    ceiling = above[-1]["metrics"]
    rows = [_cell_row(cell, targets, options, clusters) for cell in cells]
    for row in rows:
        row["share_of_range"] = _shares(row["metrics"], floor, ceiling)
    return rows + below + above


def _cell_row(cell: Cell, targets: Targets, options: AnalysisOptions, clusters: Sequence[str]) -> dict:
    probs = cell.distributions.probs
    usable = np.isfinite(probs).all(axis=1)
    failed = int((~usable).sum())
    if options.failures == "uniform":
        probs = np.where(usable[:, None], probs, 1 / probs.shape[1])
        usable[:] = True
    kept = probs[usable], targets.distribution[usable], targets.votes[usable]
    statuses, counts = np.unique(cell.distributions.status, return_counts=True)
    row = {
        "kind": "readout",
        **{name: getattr(cell, name) for name in KEYS},
        "fitted_on": cell.fitted_on,
        "num_utterances": int(usable.sum()),
        "num_failed": failed,
        "statuses": dict(zip(statuses.tolist(), counts.tolist(), strict=True)),
        "mean_label_mass": _mean(cell.label_mass),
        "mean_share_parsed": _mean(cell.share_parsed),
        "num_reasoning_cut": 0 if cell.reasoning_cut is None else int(cell.reasoning_cut.sum()),
        "metrics": evaluate(*kept) if usable.any() else {},
        "intervals": {},
        "shuffled": {},
    }
    if usable.any() and options.resamples and cell.readout != "layerwise":
        from emoprobe.metrics.ceiling import shuffled_scores

        of = [name for name, keep in zip(clusters, usable, strict=True) if keep]
        row["intervals"] = _intervals(*kept, of, options.resamples)
        row["shuffled"] = shuffled_scores(*kept, repeats=SHUFFLES)
    return row


def _mean(values: np.ndarray | None) -> float | None:
    """Mean over the clips that have a value; None where none has."""
    known = np.empty(0) if values is None else values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _intervals(pred, target, votes, clusters: Sequence[str], resamples: int) -> dict[str, list[float]]:
    from emoprobe.metrics.intervals import bootstrap_intervals

    found = bootstrap_intervals(pred, target, votes, clusters, resamples=resamples)
    return {name: [float(end) for end in ends] for name, ends in found.items() if name not in CALIBRATION_ERRORS}


def floor_rows(targets: Targets, predictions: Mapping[str, np.ndarray], resamples: int = 0) -> list[dict]:
    """Rows of the floors ``uniform``, ``prior``, ``majority`` and the reference ``one_hot_of_top_vote``."""
    source = {"prior": targets.prior_source, "majority": targets.prior_source, REFERENCE: "evaluated votes"}
    clusters = clusters_of(targets.frame) if resamples else []
    rows = []
    for name, pred in predictions.items():
        kind = "reference" if name == REFERENCE else "floor"
        row = _plain_row(kind, name, len(pred), evaluate(pred, targets.distribution, targets.votes))
        row["fitted_on"] = source.get(name, "")
        if resamples:
            row["intervals"] = _intervals(pred, targets.distribution, targets.votes, clusters, resamples)
        rows.append(row)
    return rows


def human_rows(targets: Targets) -> list[dict]:
    """Raters against raters, as the literature has it, and the ceiling that is corrected for small samples."""
    from emoprobe.metrics.ceiling import human_ceiling

    raters = targets.frame["num_raters"].astype("Float64").to_numpy(float, na_value=math.nan)
    ceiling = human_ceiling(
        targets.votes, targets.distribution, num_raters=raters, ratings=ratings_of_frame(targets.frame, targets)
    )
    rows = [
        _plain_row("reference", "half_against_half", ceiling.num_utterances, ceiling.half_against_half),
        _plain_row("reference", "leave_one_rater_out", ceiling.num_utterances, ceiling.leave_one_out),
        _plain_row("ceiling", "human", ceiling.num_utterances, ceiling.values),
    ]
    for row in rows:
        row |= {"num_failed": ceiling.num_left_out, "note": ceiling.note, "fitted_on": "evaluated votes"}
    return rows


def ratings_of_frame(frame: pd.DataFrame, targets: Targets):
    """What single raters said, from the column ``rater_votes``; None where some clip's are not known.

    Args:
        frame: One row per utterance, as in ``utterances.parquet``.
        targets: For the labels and the order of the utterances.
    """
    from emoprobe.metrics.ceiling import Ratings

    if "rater_votes" not in frame or frame["rater_votes"].isna().any() or not len(frame):
        return None
    labels = [name.removeprefix("votes_") for name in frame.columns if name.startswith("votes_")]
    place = {label: i for i, label in enumerate(labels)}
    clips, votes = [], []
    for clip, text in enumerate(frame["rater_votes"]):
        for ballot in filter(None, json.loads(text).values()):
            row = np.zeros(len(labels))
            for label, weight in ballot.items():
                row[place[label]] = weight
            clips.append(clip)
            votes.append(row)
    return Ratings(np.array(clips), np.stack(votes)) if votes else None


def _plain_row(kind: str, name: str, count: int, metrics: Mapping[str, float]) -> dict:
    return {
        "kind": kind,
        **dict.fromkeys(KEYS, ""),
        "readout": name,
        "fitted_on": "",
        "num_utterances": count,
        "num_failed": 0,
        "statuses": {},
        "mean_label_mass": None,
        "metrics": dict(metrics),
        "intervals": {},
    }


def _shares(metrics: Mapping[str, float], floor: Mapping[str, float], ceiling: Mapping[str, float]) -> dict[str, float]:
    from emoprobe.metrics.ceiling import share_of_range

    return {
        name: share_of_range(metrics[name], floor[name], ceiling.get(name, math.nan), definition.higher_is_better)
        for name, definition in METRICS.items()
        if name in metrics and name not in CALIBRATION_ERRORS
    }
