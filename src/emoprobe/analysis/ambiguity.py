"""Ambiguity as an outcome: whether a model finds ambiguous what raters do, and answers better where it is more sure.

A clip is as ambiguous as its raters' votes are spread, a model as unsure as its distribution is. Few votes are never as
spread as what they were drawn from, so means of human entropy are corrected, see `entropy_calibration`; ranks and
classes of clips are those of the votes as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from emoprobe.analysis.rows import ratings_of_frame
from emoprobe.beliefs.targets import Targets
from emoprobe.metrics.ceiling import Ratings, ratings_of
from emoprobe.metrics.functional import METRICS, TIE_TOLERANCE, entropy, js_divergence
from emoprobe.metrics.functional.classification import hits
from emoprobe.metrics.functional.definition import MeanOverClips
from emoprobe.metrics.intervals import expanded_percentiles
from emoprobe.metrics.ranking import auroc, average_precision, kendall_tau, risk_at, risk_coverage_area
from emoprobe.metrics.raters import sum_by
from emoprobe.metrics.resampling import WeightedMetrics, draw_clusters, number_clusters
from emoprobe.metrics.truths import Truths
from emoprobe.run.predictions import CellPredictions, read_cells

if TYPE_CHECKING:
    import pandas as pd

AMBIGUOUS_BITS = 1.0
"""Entropy of the votes from which on a clip is ambiguous: that of two labels with half of the votes each."""
MOST_PAIRED = 4000
"""Clips up to which Kendall's tau has an interval: it takes time and memory by their square."""
COVERAGES = tuple(i / 20 for i in range(1, 21))
BINS = 5
DRAWS = 20


class HumanSide(NamedTuple):
    """What is known of every evaluated clip's raters, in the order of the utterances table.

    Args:
        place: Utterance id -> row of the arrays; not of clips of which only the mean of the raters' numbers is known.
        votes: Vote counts, ``[utterances, labels]``.
        ratings: Single ratings, ``clip`` being a row.
        entropy: Corrected entropy of the raters in bits, expected given the votes; NaN where nobody can tell.
        disagreement: How often two raters of the clip differ; NaN of clips with fewer than two single ratings.
        note: Why there is no corrected entropy, empty where there is.
    """

    place: dict[str, int]
    votes: np.ndarray
    ratings: Ratings
    entropy: np.ndarray
    disagreement: np.ndarray
    note: str


def human_side(targets: Targets) -> HumanSide:
    """What the votes of the evaluated clips say by themselves.

    Args:
        targets: The human side.
    """
    raters = targets.frame["num_raters"].astype("Float64").to_numpy(float, na_value=math.nan)
    truths = Truths(targets.votes, targets.distribution, num_raters=raters, draws=DRAWS, metrics=targets.metrics)
    found = ratings_of_frame(targets.frame, targets) or ratings_of(targets.votes)
    size = found.votes.sum(axis=1)
    ratings = Ratings(found.clip[size > 0], found.votes[size > 0] / size[size > 0, None])
    spread = ~np.isnan(raters) if targets.num_means else np.ones(len(raters), dtype=bool)
    place = {str(name): i for i, name in enumerate(targets.frame.index) if spread[i]}
    bits = truths.expected(lambda truth: entropy(truth).numpy())
    return HumanSide(place, targets.votes, ratings, bits, disagreement(ratings, len(raters)), truths.note)


def disagreement(ratings: Ratings, size: int) -> np.ndarray:
    """How often two of a clip's raters say different things: without bias ``1 - sum_k p_k^2``, however few they are.

    Args:
        ratings: Each summing to one.
        size: Number of clips.

    Returns:
        ``[utterances]``, 0 to 1; NaN of clips with fewer than two ratings.

    >>> votes = np.eye(2)[[0, 0, 1, 1, 1]]
    >>> disagreement(Ratings(np.array([0, 0, 0, 1, 1]), votes), 3).round(3).tolist()
    [0.667, 0.0, nan]
    """
    number = np.bincount(ratings.clip, minlength=size).astype(np.float64)
    total, own = np.zeros((size, ratings.votes.shape[1])), np.zeros(size)
    summed = sum_by(ratings.clip, ratings.votes)
    total[: len(summed)] = summed
    np.add.at(own, ratings.clip, (ratings.votes**2).sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(number > 1, 1 - ((total**2).sum(axis=1) - own) / (number * (number - 1)), math.nan)


class Resamples:
    """Statistics of some clips with their intervals by speakers, all on the same resamples.

    Args:
        clusters: Speaker of each clip, ``[utterances]``.
        resamples: How many, 0 for no intervals.
    """

    def __init__(self, clusters: np.ndarray, resamples: int) -> None:
        self.numbers = number_clusters(clusters, len(clusters))
        self.count = int(self.numbers.max()) + 1
        once = np.ones((1, self.count), dtype=np.int32)
        drawn = draw_clusters(np.random.default_rng(0), self.count, resamples if self.count > 1 else 0)
        self.weights = np.concatenate([once, drawn])
        """How often each speaker counts: once, then in each resample, ``[1 + resamples, speakers]``."""

    def interval(self, name: str, values: np.ndarray) -> dict[str, float]:
        """``name``, ``name_low`` and ``name_high`` of a statistic under the weights; NaN where there is none."""
        resampled = values[1:]
        low, high = expanded_percentiles(resampled, self.count) if len(resampled) else (math.nan, math.nan)
        return {name: float(values[0]), f"{name}_low": low, f"{name}_high": high}

    def mean(self, name: str, values: np.ndarray) -> dict[str, float]:
        """Of the mean of the values ``[utterances]`` that are not NaN."""
        known = np.isfinite(values)
        if not known.any():
            return dict.fromkeys((name, f"{name}_low", f"{name}_high"), math.nan)
        return self.ratio(name, np.where(known, values, 0.0), known.astype(np.float64))

    def ratio(self, name: str, total: np.ndarray, weight: np.ndarray) -> dict[str, float]:
        """Of a ratio of sums over utterances; ``total`` may be infinite, ``[utterances]`` each."""
        endless = np.isinf(total)
        sums = np.bincount(self.numbers, np.where(endless, 0.0, total), self.count)
        infinite = np.bincount(self.numbers, endless, self.count)
        weights = np.bincount(self.numbers, weight, self.count)

        drawn = self.weights.astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(drawn @ infinite > 0, math.inf, (drawn @ sums) / (drawn @ weights))
        return self.interval(name, values)


def scored_cells(predictions: pd.DataFrame, labels: Sequence[str], human: HumanSide) -> Iterator[tuple]:
    """Each cell with its clips that have a distribution, those clips' rows of the human side, and how many lack one."""
    for cell in read_cells(predictions, labels):
        told = np.array([name in human.place for name in cell.utterances], dtype=bool)
        kept = cell.in_order(cell.utterances[cell.scored & told])
        rows = np.array([human.place[name] for name in kept.utterances], dtype=int)
        sizes = {"num_utterances": len(rows), "num_failed": int((~cell.scored).sum())}
        sizes["num_speakers"] = len(set(kept.clusters[kept.known]))
        yield kept, rows, {**cell.head, **sizes}


def entropy_ranks(
    predictions: pd.DataFrame, labels: Sequence[str], human: HumanSide, *, resamples: int = 2000
) -> pd.DataFrame:
    """Does a model find ambiguous the clips that raters do: rank correlations, and how well it picks such clips out.

    A clip is ambiguous where the entropy of its votes is at least `AMBIGUOUS_BITS`, and has no majority where no label
    has more than half of them; either is looked for by the model's entropy.

    Args:
        predictions: ``predictions.parquet`` of a run.
        labels: Labels of the run, in order.
        human: See `human_side`.
        resamples: Of speakers, 0 for no intervals.

    Returns:
        One row per cell: its keys and ``fitted_on``; ``num_utterances`` with a distribution, ``num_failed``,
        ``num_speakers``; ``spearman`` and ``kendall`` (tau-b) of both entropies; ``num_ambiguous`` and
        ``num_no_majority``, each with ``auroc_`` (.5 is chance) and ``precision_`` (average precision; the share of
        such clips is chance). All have ``_low`` and ``_high``, the 95 % interval by speakers; Kendall's only up to
        `MOST_PAIRED` clips. NaN where a side is constant, or no or all clips are of the kind.
    """
    import pandas as pd

    rows = []
    for cell, _, row in scored_cells(predictions, labels, human):
        if len(cell.rows):
            row |= _ranks(cell, Resamples(cell.clusters, resamples))
        rows.append(row)
    return pd.DataFrame(rows)


def _ranks(cell: CellPredictions, draws: Resamples) -> dict[str, float]:
    ours, theirs = (entropy(part).numpy() for part in (cell.pred, cell.target))
    spearman = WeightedMetrics(cell.pred, cell.target, clusters=draws.numbers, metrics=["entropy_spearman"])
    row = draws.interval("spearman", spearman(draws.weights)["entropy_spearman"])
    paired = draws.weights if len(ours) <= MOST_PAIRED else draws.weights[:1]
    row |= draws.interval("kendall", kendall_tau(ours, theirs, draws.numbers, paired))
    kinds = {
        "ambiguous": theirs >= AMBIGUOUS_BITS - TIE_TOLERANCE,
        "no_majority": cell.target.max(axis=1) <= 0.5 + TIE_TOLERANCE,
    }
    for name, there in kinds.items():
        row[f"num_{name}"] = int(there.sum())
        how = (ours, there, draws.numbers, draws.weights)
        row |= draws.interval(f"auroc_{name}", auroc(*how))
        row |= draws.interval(f"precision_{name}", average_precision(*how))
    return row


def entropy_calibration(
    predictions: pd.DataFrame, labels: Sequence[str], human: HumanSide, *, bins: int = BINS, resamples: int = 2000
) -> pd.DataFrame:
    """Is a model as unsure as raters are apart: predicted against human entropy and disagreement, bin by bin.

    The entropy of few votes is too low, by half a bit and more with three raters. ``human_entropy`` is therefore that
    of the raters' true distributions, expected given the votes (`emoprobe.metrics.truths`): right on average over all
    clips; within a bin it is drawn towards that average, the more the fewer the raters. ``human_disagreement``, how
    often two raters differ, needs no such model and has no bias in any bin.

    Args:
        predictions: ``predictions.parquet`` of a run.
        labels: Labels of the run, in order.
        human: See `human_side`.
        bins: Of about as many clips each, by predicted entropy; equal entropies are never parted.
        resamples: Of speakers, 0 for no intervals.

    Returns:
        Rows per cell: one of all clips (``bin`` 0), then one per bin from 1. The cell's keys and ``fitted_on``;
        ``num_utterances``, ``num_failed``, ``num_speakers``; means ``predicted_entropy``, ``votes_entropy`` (of the
        votes as they are) and ``human_entropy``, bits; ``entropy_gap``, predicted minus human;
        ``predicted_disagreement``, ``1 - sum_k p_k^2``, ``human_disagreement`` and ``disagreement_gap``, of clips with
        two ratings or more. The gaps have ``_low`` and ``_high``, the 95 % interval by speakers.
    """
    import pandas as pd

    rows = []
    for cell, place, head in scored_cells(predictions, labels, human):
        if not len(cell.rows):
            rows.append({**head, "bin": 0})
            continue
        ours, votes = (entropy(part).numpy() for part in (cell.pred, cell.target))
        differing = np.where(np.isnan(human.disagreement[place]), math.nan, 1 - (cell.pred**2).sum(axis=1))
        edges = np.quantile(ours, np.arange(1, bins) / bins)
        which = np.searchsorted(edges + TIE_TOLERANCE, ours) + 1
        for number in (0, *np.unique(which)):
            kept = which == number if number else np.ones(len(ours), dtype=bool)
            draws = Resamples(cell.clusters[kept], resamples)
            row = {**head, "bin": int(number), "num_utterances": int(kept.sum())}
            row |= {"num_failed": 0 if number else head["num_failed"]}
            row |= {"predicted_entropy": float(ours[kept].mean()), "votes_entropy": float(votes[kept].mean())}
            known = human.entropy[place][kept]
            row["human_entropy"] = _mean(known)
            row |= draws.mean("entropy_gap", ours[kept] - known)
            row["predicted_disagreement"] = _mean(differing[kept])
            row["human_disagreement"] = _mean(human.disagreement[place][kept])
            row |= draws.mean("disagreement_gap", differing[kept] - human.disagreement[place][kept])
            rows.append(row)
    return pd.DataFrame(rows)


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


# -- selective answering -----------------------------------------------------------------------------------------------


def _risks(cell: CellPredictions, metric: str, categories: bool) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """``(name, loss, which clips have one)``: the distance from the raters, and missing their majority label."""
    distance = METRICS[metric]
    assert isinstance(distance, MeanOverClips)
    yield metric, np.asarray(distance.by_clip(cell.pred, cell.target)), np.ones(len(cell.pred), dtype=bool)
    if categories:
        right, unique = hits(cell.pred, cell.target)
        yield "error", 1 - right, unique > 0


def selective_answering(
    predictions: pd.DataFrame,
    labels: Sequence[str],
    human: HumanSide,
    *,
    metric: str = js_divergence.name,
    categories: bool = True,
    resamples: int = 2000,
) -> pd.DataFrame:
    """What a model would gain by answering only where it is sure: risk against coverage (Geifman et al. 2019).

    Clips are answered in the order of the model's confidence, its highest probability. The risk is the mean ``metric``
    of those answered, or the share of them whose top label is not the raters' majority label (clips whose raters tie
    for it are left out).

    Args:
        predictions: ``predictions.parquet`` of a run.
        labels: Labels of the run, in order.
        human: See `human_side`.
        metric: A mean over clips of which lower is better.
        categories: Whether there are right labels, so that errors can be counted.
        resamples: Of speakers, 0 for no intervals.

    Returns:
        One row per cell and ``risk``: the cell's keys and ``fitted_on``; ``num_utterances``, ``num_failed``,
        ``num_speakers``; ``all_answered``, the risk at full coverage; ``aurc``, the area under risk against coverage;
        ``oracle_aurc``, that of knowing every loss; ``excess_aurc``, what lies between (E-AURC); and ``gain``,
        ``all_answered - aurc``, above 0 where confidence tells anything. All but the oracle's have ``_low`` and
        ``_high``, the 95 % interval by speakers.
    """
    import pandas as pd

    rows = []
    for cell, _, head in scored_cells(predictions, labels, human):
        for name, loss, there in _risks(cell, metric, categories) if len(cell.rows) else ():
            row = {**head, "risk": name, "num_utterances": int(there.sum())}
            rows.append(row | (_areas(cell, loss, there, resamples) if there.any() else {}))
    return pd.DataFrame(rows)


def _areas(cell: CellPredictions, loss: np.ndarray, there: np.ndarray, resamples: int) -> dict[str, float]:
    draws = Resamples(cell.clusters[there], resamples)
    loss = loss[there]
    ours, oracle = (
        risk_coverage_area(order, loss, draws.numbers, draws.weights) for order in (cell.pred.max(axis=1)[there], -loss)
    )
    row = draws.mean("all_answered", loss) | draws.interval("aurc", ours)
    row |= {"oracle_aurc": float(oracle[0])} | draws.interval("excess_aurc", ours - oracle)
    by_speaker, size = (np.bincount(draws.numbers, of) for of in (loss, np.ones(len(loss))))
    return row | draws.interval("gain", (draws.weights @ by_speaker) / (draws.weights @ size) - ours)


def risk_coverage(
    predictions: pd.DataFrame,
    labels: Sequence[str],
    human: HumanSide,
    *,
    metric: str = js_divergence.name,
    categories: bool = True,
) -> pd.DataFrame:
    """The curves whose areas `selective_answering` tells: the risk of the most confident clips, a row per coverage.

    Args:
        predictions: ``predictions.parquet`` of a run.
        labels: Labels of the run, in order.
        human: See `human_side`.
        metric: As in `selective_answering`.
        categories: Likewise.

    Returns:
        The cell's keys and ``fitted_on``, ``risk``, ``coverage`` (`COVERAGES`), ``value``, and ``oracle``, the risk if
        every loss were known.
    """
    import pandas as pd

    rows = []
    for cell, _, head in scored_cells(predictions, labels, human):
        for name, loss, there in _risks(cell, metric, categories) if len(cell.rows) else ():
            if there.any():
                sure, lost = cell.pred.max(axis=1)[there], loss[there]
                head = {**cell.head, "risk": name}
                rows += [
                    {**head, "coverage": c, "value": risk_at(sure, lost, c), "oracle": risk_at(-lost, lost, c)}
                    for c in COVERAGES
                ]
    return pd.DataFrame(rows)
