"""What a value is measured by: the floors and the human ceiling of the very clips that it was computed on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from emoprobe.metrics.ceiling import resampled_share, share_of_range
from emoprobe.metrics.floors import CONSTANT_FLOORS, floors
from emoprobe.metrics.functional import METRICS, evaluate
from emoprobe.metrics.intervals import expanded_percentiles, tail_probability, within
from emoprobe.metrics.resampling import Values, WeightedMetrics, draw_clusters, number_clusters
from emoprobe.metrics.truths import Truths
from emoprobe.run.cell import EVALUATED_VOTES
from emoprobe.run.predictions import clusters_of

if TYPE_CHECKING:
    from emoprobe.beliefs.targets import Targets

LEVEL = 0.95
REFITS = 20
"""Resamples to which the ceiling's mixture is fitted anew, at most one per fifty resamples."""
DRAWN = 40_000
"""True distributions to draw of all clips together, four to twenty of each: more change no mean over many clips."""
Intervals = dict[str, list[float]]


def placed_metrics(metrics: Sequence[str]) -> tuple[str, ...]:
    """Those of some metrics that have a range and an interval: all but calibration errors.

    Those have no ceiling, since the majority label of a few votes is more certain than a rater, and no interval, since
    a bootstrap interval covers a small one less often than it says.
    """
    return tuple(name for name in metrics if not METRICS[name].noise_raises)


class Yardstick:
    """Floors and ceiling of one set of clips, and one set of resamples of their speakers that all values share.

    They are what an evaluation of these clips alone would have: a prior of evaluated votes is one of these clips'.

    Args:
        targets: Of all clips.
        kept: Which clips it is of, boolean ``[utterances]``, at least one.
        resamples: Of speakers, 0 for no intervals.
    """

    def __init__(self, targets: Targets, kept: np.ndarray, resamples: int) -> None:
        self.metrics, self._placed = targets.metrics, placed_metrics(targets.metrics)
        self.target, self.votes = targets.distribution[kept], targets.votes[kept]
        prior = None if targets.prior_source == EVALUATED_VOTES else targets.prior
        self.predictions = floors(self.target, self.votes, prior=prior)
        self.floors = {name: self.scores(pred) for name, pred in self.predictions.items()}
        raters = targets.frame["num_raters"].astype("Float64").to_numpy(float, na_value=math.nan)[kept]
        draws = max(4, min(20, DRAWN // len(raters)))
        self.truths = Truths(self.votes, self.target, num_raters=raters, draws=draws, metrics=self.metrics)
        self.ceiling = self.truths.scores()
        clusters = [name for name, keep in zip(clusters_of(targets.frame), kept, strict=True) if keep]
        self._numbers = number_clusters(clusters, len(clusters))
        self.num_clusters = int(self._numbers.max()) + 1
        self._drawn = draw_clusters(np.random.default_rng(0), self.num_clusters, resamples)
        self._resampled: tuple[Values, Values] | None = None
        self._resampled_floors: dict[str, Values] = {}

    def scores(self, pred: np.ndarray) -> dict[str, float]:
        """Metrics of a prediction of these clips, and the two numbers of utterances."""
        return evaluate(pred, self.target, self.votes, metrics=self.metrics)

    def resample(self, pred: np.ndarray) -> Values:
        """Values of a prediction of these clips on the resamples, metric of `placed_metrics` -> ``[resamples]``."""
        measure = WeightedMetrics(pred, self.target, self.votes, clusters=self._numbers, metrics=self._placed)
        return measure(self._drawn)

    def ends_of_metrics(self, values: Values) -> Intervals:
        """`ends` of what the metrics themselves can be."""
        return {name: list(within((low, high), name)) for name, (low, high) in self.ends(values).items()}

    def ends(self, values: Values) -> Intervals:
        """Intervals of resampled values; metrics that have none, as with a single speaker, are left out."""
        found = {name: expanded_percentiles(array, self.num_clusters, level=LEVEL) for name, array in values.items()}
        return {name: list(pair) for name, pair in found.items() if not math.isnan(pair[0])}

    @property
    def _ends_of_range(self) -> tuple[Values, Values]:
        """The prior floor and the ceiling on the resamples, computed once."""
        if self._resampled is None:
            refits = min(REFITS, len(self._drawn) // 50) if self.num_clusters > 1 else 0
            ceiling = self.truths.resampled(self._numbers, self._drawn, refits=refits, misfit=self.num_clusters > 1)
            self._resampled = self._resampled_floor("prior"), ceiling
        return self._resampled

    def _resampled_floor(self, name: str) -> Values:
        """A floor on the resamples, computed once."""
        if name not in self._resampled_floors:
            self._resampled_floors[name] = self.resample(self.predictions[name])
        return self._resampled_floors[name]

    def floor_intervals(self, name: str) -> Intervals:
        """Of a floor; empty without resamples."""
        return self.ends_of_metrics(self._resampled_floor(name)) if len(self._drawn) else {}

    def floor_differences(self, values: Values) -> dict[str, Intervals]:
        """Floor -> intervals of resampled values minus the floor's on the same resamples, so paired by speaker."""
        with np.errstate(invalid="ignore"):
            return {
                floor: self.ends({name: values[name] - of for name, of in self._resampled_floor(floor).items()})
                for floor in CONSTANT_FLOORS
            }

    @property
    def ceiling_intervals(self) -> Intervals:
        """Of the ceiling; empty without resamples, or where there is no ceiling."""
        return self.ends_of_metrics(self._ends_of_range[1]) if len(self._drawn) else {}

    def shares(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Where values lie between the prior floor (0) and the ceiling (1) of these clips."""
        floor = self.floors["prior"]
        return {
            name: share_of_range(metrics[name], floor[name], self.ceiling[name], METRICS[name].higher_is_better)
            for name in self._placed
        }

    def share_intervals(self, values: Values) -> Intervals:
        """Intervals of the shares: value, floor and ceiling vary together, over the same resamples.

        Where the ceiling is no better than the floor in more resamples than an interval leaves out at one end, the
        share has no bound, and no interval is given.
        """
        floor, ceiling = self._ends_of_range
        tail = tail_probability(self.num_clusters, LEVEL) if self.num_clusters > 1 else 0.0
        found = {}
        for name, top in ceiling.items():
            share = resampled_share(values[name], floor[name], top, METRICS[name].higher_is_better)
            if np.isnan(share).mean() <= tail:
                found[name] = share
        return self.ends(found)


class Yardsticks:
    """The yardstick of every set of clips that is asked for, each made once.

    Args:
        targets: Of all clips.
        resamples: As in `Yardstick`.
    """

    def __init__(self, targets: Targets, resamples: int) -> None:
        self._targets, self._resamples = targets, resamples
        self._made: dict[bytes, Yardstick] = {}
        self.whole = self.of(np.ones(len(targets.distribution), dtype=bool))

    def of(self, kept: np.ndarray) -> Yardstick:
        """That of some clips, boolean ``[utterances]``."""
        key = np.packbits(kept).tobytes()
        if key not in self._made:
            self._made[key] = Yardstick(self._targets, kept, self._resamples)
        return self._made[key]
