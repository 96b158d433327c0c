"""Metrics by stratum of utterances, gaps between groups of speakers, and clear against ambiguous utterances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from emoprobe.analysis.partition import UNKNOWN, Strata, make_strata
from emoprobe.errors import InputError
from emoprobe.metrics.functional import METRICS, TIE_TOLERANCE, evaluate, js_divergence, majority, metrics_of, wa
from emoprobe.metrics.functional.definition import MeanOverClips
from emoprobe.metrics.intervals import expanded_percentiles, mean_interval, resampled_ratio, within
from emoprobe.metrics.resampling import draw_clusters, number_clusters
from emoprobe.run.predictions import CellPredictions, read_cells

if TYPE_CHECKING:
    import pandas as pd


def stratify(
    predictions: pd.DataFrame,
    utterances: pd.DataFrame,
    labels: Sequence[str],
    *,
    by: str,
    metric: str = "js_divergence",
    metrics: Sequence[str] | None = None,
    width: float = 0.5,
    quantiles: int = 3,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """The metrics of every cell in every stratum of `~emoprobe.analysis.partition.make_strata`.

    Args:
        predictions: ``predictions.parquet`` of a run.
        utterances: ``utterances.parquet`` of the run.
        labels: Labels of the run, in order.
        by: What the strata are by, see `~emoprobe.analysis.partition.make_strata`.
        metric: The mean over utterances that has an interval.
        metrics: Names of the metrics; those of categories by default.
        width: Of the entropy ranges, bits.
        quantiles: How many.
        resamples: Of the bootstrap over speakers.
        level: Coverage of the interval.
        seed: Of the bootstrap.

    Returns:
        One row per cell and stratum: the cell's keys and ``fitted_on``; ``kind``, ``stratum``, ``lower``, ``upper``;
        ``num_utterances`` (scored), ``num_failed`` (without a distribution), ``num_majority``, ``num_speakers`` (known
        ones, among the scored utterances); the metrics, NaN in a stratum without scored utterances;
        ``js_divergence_low`` and ``js_divergence_high`` (of ``metric``), the bootstrap interval by speakers, an
        utterance of an unknown speaker being its own cluster; NaN with fewer than two clusters.

    Raises:
        InputError: As `~emoprobe.analysis.partition.make_strata`, a table lacks a column, or the metric is no mean
            over utterances.
    """
    import pandas as pd

    strata = make_strata(predictions, utterances, labels, by=by, width=width, quantiles=quantiles)
    of_clips, names, rows = _mean_over_clips(metric), tuple(metrics or metrics_of()), []
    for cell in read_cells(predictions, labels):
        which = np.array([strata.position[utterance] for utterance in cell.utterances])
        for i, stratum in enumerate(strata.strata):
            row: dict[str, object] = {**cell.head, "kind": strata.kind, "stratum": stratum.name}
            row |= {"lower": stratum.lower, "upper": stratum.upper}
            scores = _scores(cell, which == i, names)
            use = (which == i) & cell.scored
            values = of_clips.by_clip(cell.pred[use], cell.target[use])
            ends = mean_interval(values, cell.clusters[use], resamples=resamples, level=level, seed=seed)
            low, high = within(ends, metric)
            rows.append(row | scores | {f"{metric}_low": low, f"{metric}_high": high})
    return pd.DataFrame(rows)


def _mean_over_clips(metric: str) -> MeanOverClips:
    found = METRICS.find(metric, "metric")
    if not isinstance(found, MeanOverClips):
        means = [name for name, definition in METRICS.items() if isinstance(definition, MeanOverClips)]
        raise InputError(f"{metric!r} is no mean over utterances", field="metric", remedy=f"Use {', '.join(means)}.")
    return found


def _scores(cell: CellPredictions, inside: np.ndarray, metrics: tuple[str, ...]) -> dict[str, float]:
    use = inside & cell.scored
    found: dict[str, float] = dict.fromkeys(metrics, math.nan) | {"num_majority": 0}
    if use.any():
        found |= evaluate(cell.pred[use], cell.target[use], cell.votes[use], metrics=metrics)
    counts = {
        "num_utterances": int(use.sum()),
        "num_failed": int((inside & ~cell.scored).sum()),
        "num_majority": int(found.pop("num_majority")),
        "num_speakers": len(set(cell.clusters[use & cell.known])),
    }
    found.pop("num_utterances", None)
    return {**counts, **found}


def gaps(
    predictions: pd.DataFrame,
    utterances: pd.DataFrame,
    labels: Sequence[str],
    *,
    by: str,
    metric: str = "js_divergence",
    min_speakers: int = 2,
    quantiles: int = 3,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Difference between the best and the worst group of speakers of every cell.

    The interval is that of the difference between these two groups, speakers resampled within each, and is widened for
    few speakers by those of the smaller group (`emoprobe.metrics.intervals.expanded_percentiles`). Which two they are
    was seen in the same data: with more than two groups some gap is always found, so it is to be read beside
    ``gap_by_chance``, the mean gap when speakers are dealt to the groups at random, the sizes of the groups (in
    speakers) being kept.

    Args:
        predictions: ``predictions.parquet`` of a run.
        utterances: ``utterances.parquet`` of the run.
        labels: Labels of the run, in order.
        by: What the groups are by, see `~emoprobe.analysis.partition.make_strata`; ``unknown`` is no group.
        metric: A metric that is a mean over utterances, ``vote_nll`` or ``wa``.
        min_speakers: Groups with fewer speakers among their scored utterances are left out.
        quantiles: How many, where the groups are quantiles.
        resamples: Of the bootstrap, and of the random dealing.
        level: Coverage of the interval.
        seed: Of both.

    Returns:
        One row per cell: its keys and ``fitted_on``; ``kind``, ``metric``, ``num_groups``, ``num_groups_left_out``;
        ``best``, ``worst`` with ``best_value``, ``worst_value`` and ``best_speakers``, ``worst_speakers`` (an utterance
        of an unknown speaker counts as one); ``gap``, never negative, with ``gap_low`` and ``gap_high``;
        ``gap_by_chance`` and ``p_value`` (how often a random gap is as large), NaN where a speaker is in several
        groups. All NaN with fewer than two groups.

    Raises:
        InputError: As `~emoprobe.analysis.partition.make_strata`, or the metric is no such mean.
    """
    import pandas as pd

    strata = make_strata(predictions, utterances, labels, by=by, quantiles=quantiles)
    rows = []
    for cell in read_cells(predictions, labels):
        groups, left_out = _groups(cell, strata, metric, min_speakers)
        row = {**cell.head, "kind": by, "metric": metric, "num_groups": len(groups), "num_groups_left_out": left_out}
        rows.append(row | _gap(groups, metric, resamples=resamples, level=level, seed=seed))
    return pd.DataFrame(rows)


class _Group(NamedTuple):
    """A group's sums by speaker: its value is ``total.sum() / weight.sum()``.

    Args:
        name: Of the stratum.
        speakers: Sorted, ``[speakers]``.
        total: Sum of what the metric averages, ``[speakers]``.
        weight: What it is divided by, ``[speakers]``.
    """

    name: str
    speakers: np.ndarray
    total: np.ndarray
    weight: np.ndarray

    @property
    def value(self) -> float:
        """The metric of the group."""
        return float(self.total.sum() / self.weight.sum())


def _groups(cell: CellPredictions, strata: Strata, metric: str, min_speakers: int) -> tuple[list[_Group], int]:
    """The groups that are compared, and how many with utterances are not."""
    use = cell.scored
    if not use.any():
        return [], 0
    total, weight = _parts(metric, cell.pred[use], cell.target[use], cell.votes[use])
    which = np.array([strata.position[utterance] for utterance in cell.utterances[use]])
    clusters, groups, left_out = cell.clusters[use], [], 0
    for i, stratum in enumerate(strata.strata):
        inside = (which == i) & (weight > 0)
        if stratum.name == UNKNOWN or not inside.any():
            continue
        names = np.unique(clusters[inside].astype(str))
        if len(names) < min_speakers:
            left_out += 1
            continue
        numbers = number_clusters(clusters[inside], int(inside.sum()))
        sums = [np.bincount(numbers, weights=values[inside]) for values in (total, weight)]
        groups.append(_Group(stratum.name, names, *sums))
    return groups, left_out


def _parts(metric: str, pred: np.ndarray, target: np.ndarray, votes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a metric sums over utterances and by what it divides, ``[utterances]`` each."""
    if metric not in METRICS or not METRICS[metric].is_ratio:
        ratios = [name for name, definition in METRICS.items() if definition.is_ratio]
        raise InputError(f"gaps of {metric!r} are not available", field="metric", remedy=f"Use {', '.join(ratios)}.")
    total, weight = METRICS[metric].terms(pred, target, votes)
    return total.numpy(), weight.numpy()


def _gap(groups: list[_Group], metric: str, *, resamples: int, level: float, seed: int) -> dict[str, object]:
    row: dict[str, object] = {"best": "", "worst": "", "best_value": math.nan, "worst_value": math.nan}
    row |= {"best_speakers": 0, "worst_speakers": 0}
    row |= dict.fromkeys(("gap", "gap_low", "gap_high", "gap_by_chance", "p_value"), math.nan)
    if len(groups) < 2:
        return row
    sign = -1 if METRICS[metric].higher_is_better else 1
    best, *_, worst = sorted(groups, key=lambda group: sign * group.value)
    gap = sign * (worst.value - best.value)
    row |= {"best_speakers": len(best.speakers), "worst_speakers": len(worst.speakers)}
    row |= {"best": best.name, "worst": worst.name, "best_value": best.value, "worst_value": worst.value, "gap": gap}
    if not all(np.isfinite(group.total).all() for group in groups):
        return row  # a divergence is infinite somewhere
    generator = np.random.default_rng(seed)
    drawn = [draw_clusters(generator, len(group.total), resamples) for group in (best, worst)]
    ends = [resampled_ratio(group.total, group.weight, of) for group, of in zip((best, worst), drawn, strict=True)]
    smaller = min(len(best.speakers), len(worst.speakers))
    low, high = expanded_percentiles(sign * (ends[1] - ends[0]), smaller, level=level)
    widest = METRICS[metric].upper - METRICS[metric].lower
    row["gap_low"], row["gap_high"] = np.clip([low, high], -widest, widest).tolist()
    speakers = np.concatenate([group.speakers for group in groups])
    if len(set(speakers)) == len(speakers):
        random = _dealt(groups, resamples, generator)
        row["gap_by_chance"] = float(random.mean())
        row["p_value"] = float((1 + np.count_nonzero(random >= gap - 1e-12)) / (1 + resamples))
    return row


def _dealt(groups: list[_Group], resamples: int, generator: np.random.Generator) -> np.ndarray:
    """Largest minus smallest value when speakers are dealt to the groups at random, ``[resamples]``."""
    total, weight = (np.concatenate([getattr(group, name) for group in groups]) for name in ("total", "weight"))
    group_of = np.repeat(np.arange(len(groups)), [len(group.speakers) for group in groups])
    dealt = generator.permuted(np.tile(group_of, (resamples, 1)), axis=1)
    values = np.stack([((dealt == i) @ total) / ((dealt == i) @ weight) for i in range(len(groups))])
    return values.max(axis=0) - values.min(axis=0)


def clear_and_ambiguous(
    predictions: pd.DataFrame,
    labels: Sequence[str],
    *,
    share: float = 2 / 3,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Accuracy where raters agree, beside divergence where they do not: two abilities that one mean hides.

    ``clear``: some label has at least ``share`` of the votes. ``no_majority``: the top label is not unique.
    ``between``: all others.

    Args:
        predictions: ``predictions.parquet`` of a run.
        labels: Labels of the run, in order.
        share: Of the votes, above one half.
        resamples: Of the bootstrap over speakers.
        level: Coverage of the intervals.
        seed: Of the bootstrap.

    Returns:
        One row per cell: ``wa_clear`` with ``wa_clear_low`` and ``wa_clear_high``; ``js_divergence_clear``,
        ``js_divergence_between``, ``js_divergence_no_majority``, the last with ``_low`` and ``_high``; for each of the
        three sets ``num_utterances_...`` (scored) and ``num_failed_...``. NaN where a set has no scored utterance.

    Raises:
        InputError: The share is not above one half and at most 1, or a column is missing.
    """
    import pandas as pd

    if not 0.5 < share <= 1:
        raise InputError(f"the share is {share}", field="share", remedy="Use a share above 1/2 and at most 1.")
    rows = []
    for cell in read_cells(predictions, labels):
        unique = majority(cell.target).unique.numpy()
        clear = cell.target.max(axis=1) >= share - TIE_TOLERANCE
        row: dict[str, object] = {**cell.head}
        for name, inside in (("clear", clear), ("between", unique & ~clear), ("no_majority", ~unique)):
            use = inside & cell.scored
            values = js_divergence.by_clip(cell.pred[use], cell.target[use])
            row[f"num_utterances_{name}"], row[f"num_failed_{name}"] = int(use.sum()), int((inside & ~use).sum())
            row[f"js_divergence_{name}"] = float(values.mean()) if len(values) else math.nan
            if name == "clear":
                values = wa.terms(cell.pred[use], cell.target[use]).total.numpy() if use.any() else np.empty(0)
                row["wa_clear"] = float(values.mean()) if len(values) else math.nan
            if name != "between":
                ends = mean_interval(values, cell.clusters[use], resamples=resamples, level=level, seed=seed)
                metric = {"clear": "wa_clear", "no_majority": "js_divergence_no_majority"}[name]
                row[f"{metric}_low"], row[f"{metric}_high"] = ends
        rows.append(row)
    return pd.DataFrame(rows)
