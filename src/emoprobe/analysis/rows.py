"""Rows of the metric table: readouts with intervals, floors, references and the human ceiling."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from emoprobe.analysis.yardsticks import Yardstick, Yardsticks
from emoprobe.metrics.ceiling import Ratings, human_ceiling, shuffled_scores
from emoprobe.readout.base import names_of
from emoprobe.run.cell import EVALUATED_VOTES, KEYS

if TYPE_CHECKING:
    import pandas as pd

    from emoprobe.analysis.options import AnalysisOptions
    from emoprobe.beliefs.belief import Belief
    from emoprobe.beliefs.targets import Targets

REFERENCE = "one_hot_of_top_vote"
SHUFFLES = 20


def make_rows(beliefs: Sequence[Belief], targets: Targets, options: AnalysisOptions) -> list[dict]:
    """One row per belief, then the floors, the references and the ceiling.

    A row holds ``kind`` (readout, floor, reference or ceiling), its cell's names, ``fitted_on``, ``num_utterances``,
    ``num_failed``, ``num_speakers`` (a clip of an unknown one counts as one), ``statuses``, ``mean_label_mass`` (of
    text over the answers that can be read), of readouts ``mean_share_parsed`` (of drawn answers) and
    ``num_reasoning_cut`` (clips whose reasoning stopped at its limit), ``metrics``, ``intervals`` (95 %, speakers
    resampled; not of calibration errors; none with a single speaker), of readouts ``shuffled`` (their own distributions
    given to other clips), ``share_of_range`` (0 at the prior floor, 1 at the human ceiling), its ``range_intervals``
    and ``minus_floor``: floor -> intervals of the row's metrics minus the floor's, paired by speaker. ``doubt`` says
    why a ceiling, or a share of the range below it, is not to be relied on. Single layers have no intervals and
    shuffles, as there are many.

    What a readout is measured by are the floors and the ceiling of the clips that its own metrics are of: where it
    failed on some, they are in its ``floors`` and ``ceiling``, else they are those of the other rows. ``num_means`` is
    of how many clips only the mean of the raters' numbers is known, where there are any.
    """
    yardsticks = Yardsticks(targets, options.resamples)
    rows = [_belief_row(belief, options, yardsticks) for belief in beliefs]
    return _marked(rows + _floor_rows(targets, yardsticks.whole) + _human_rows(targets, yardsticks.whole), targets)


def human_side(targets: Targets, resamples: int) -> list[dict]:
    """Rows of the floors, the references and the ceiling alone: what votes say without any model.

    Args:
        targets: The human side.
        resamples: Of speakers, for intervals; 0 for none.
    """
    whole = Yardsticks(targets, resamples).whole
    return _marked(_floor_rows(targets, whole) + _human_rows(targets, whole), targets)


def _marked(rows: list[dict], targets: Targets) -> list[dict]:
    """Rows that say of how many clips only the raters' mean is known, where there are any."""
    return [row | {"num_means": targets.num_means} for row in rows] if targets.num_means else rows


def _belief_row(belief: Belief, options: AnalysisOptions, yardsticks: Yardsticks) -> dict:
    probs = belief.distributions.probs
    usable = np.isfinite(probs).all(axis=1)
    failed = int((~usable).sum())
    if options.failures == "uniform":
        probs = np.where(usable[:, None], probs, 1 / probs.shape[1])
        usable[:] = True
    statuses, counts = np.unique(belief.distributions.status, return_counts=True)
    row = {
        "kind": "readout",
        **belief.cell._asdict(),
        "fitted_on": belief.fitted_on,
        "num_utterances": int(usable.sum()),
        "num_failed": failed,
        "num_speakers": 0,
        "statuses": dict(zip(statuses.tolist(), counts.tolist(), strict=True)),
        "mean_label_mass": _mean(belief.label_mass),
        "mean_share_parsed": _mean(belief.share_parsed),
        "num_reasoning_cut": 0 if belief.reasoning_cut is None else int(belief.reasoning_cut.sum()),
        "metrics": {},
        **{name: {} for name in ("intervals", "shuffled", "share_of_range", "range_intervals", "floors", "ceiling")},
        "minus_floor": {},
        "doubt": "",
    }
    if not usable.any():
        return row
    own, pred = yardsticks.of(usable), probs[usable]
    row["metrics"] = own.scores(pred)
    row |= {"num_speakers": own.num_clusters, "share_of_range": own.shares(row["metrics"]), "doubt": own.truths.doubt}
    if not usable.all():
        row |= {"floors": own.floors, "ceiling": own.ceiling}
    if options.resamples and belief.cell.readout not in names_of("layers"):
        values = own.resample(pred)
        row |= {"intervals": own.ends_of_metrics(values), "range_intervals": own.share_intervals(values)}
        row["minus_floor"] = own.floor_differences(values)
        row["shuffled"] = shuffled_scores(pred, own.target, own.votes, repeats=SHUFFLES, metrics=own.metrics)
    return row


def _mean(values: np.ndarray | None) -> float | None:
    """Mean over the clips that have a value; None where none has."""
    known = np.empty(0) if values is None else values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _floor_rows(targets: Targets, whole: Yardstick) -> list[dict]:
    """Rows of the floors ``uniform``, ``prior``, ``majority`` and the reference ``one_hot_of_top_vote``."""
    source = {"prior": targets.prior_source, "majority": targets.prior_source, REFERENCE: EVALUATED_VOTES}
    rows = []
    for name, metrics in whole.floors.items():
        row = _plain_row("reference" if name == REFERENCE else "floor", name, len(whole.target), metrics)
        row |= {"fitted_on": source.get(name, ""), "num_speakers": whole.num_clusters}
        row["intervals"] = whole.floor_intervals(name)
        rows.append(row)
    return rows


def _human_rows(targets: Targets, whole: Yardstick) -> list[dict]:
    """Raters against raters, as the literature has it, and the ceiling that is corrected for small samples."""
    ratings = ratings_of_frame(targets.frame, targets)
    found = human_ceiling(targets.votes, targets.distribution, ratings=ratings, truths=whole.truths)
    rows = [
        _plain_row("reference", "half_against_half", found.num_utterances, found.half_against_half),
        _plain_row("reference", "leave_one_rater_out", found.num_utterances, found.leave_one_out),
        _plain_row("ceiling", "human", found.num_utterances, whole.ceiling),
    ]
    for row in rows:
        row |= {"num_failed": found.num_left_out, "note": found.note, "fitted_on": EVALUATED_VOTES}
        row["num_speakers"] = whole.num_clusters
    rows[-1] |= {"intervals": whole.ceiling_intervals, "doubt": whole.truths.doubt}
    return rows


def ratings_of_frame(frame: pd.DataFrame, targets: Targets) -> Ratings | None:
    """What single raters said, from the column ``rater_votes``; None where some clip's are not known.

    Args:
        frame: One row per utterance, as in ``utterances.parquet``.
        targets: For the labels and the order of the utterances.
    """
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
