"""Every clip's true distribution, drawn given its votes: what the human ceiling is the mean of, and how sure it is.

The truths are taken to come from a mixture of Dirichlet distributions fitted to all clips' votes, see
`emoprobe.metrics.ceiling`.

**How many clips and raters it takes.** Only votes beyond a clip's first say anything about disagreement, so they are
what counts. Root-mean-square error of the ``js_divergence`` ceiling as a share of the distance from prior floor to
ceiling, on simulated corpora of raters of three kinds (one Dirichlet, two clusters of clips, logistic normal), the
worst of the three:

=========  ========  ========  ========  =========  =========  =========
raters     20 clips  30 clips  50 clips  100 clips  200 clips  400 clips
=========  ========  ========  ========  =========  =========  =========
2 per clip      .49       .40       .28        .20        .09        .11
3 per clip      .27       .24       .20        .09        .11        .08
5 per clip      .13       .12       .10        .08        .05        .04
8 per clip      .09       .08       .06        .04        .03        .02
=========  ========  ========  ========  =========  =========  =========

From `SURE_VOTES` votes beyond the clips' first on (100 clips of three raters, 50 of five) it is about a tenth; below,
single corpora were off by half of the distance and more. Two raters a clip take `SURE_PAIRS` clips for that, and fewer
than `SURE_CLIPS` leave a share of the range that is sure to a third of it at best, however many raters: either is said.
Raters who disagree about all clips alike leave little between floor and ceiling (.07): there the shares are four times
as large, and the interval says so.

**What the interval holds.** Whole clusters are resampled over the clips' expected scores. With fewer than
`REFIT_BELOW` votes beyond the first the mixture is also fitted anew to a few resamples of the clusters, and what that
moves the ceiling by is added. On corpora of 60 to 400 clips, 12 to 40 speakers and three to eight raters of the three
kinds, forty of each, 95 % intervals held the population's ceiling in 94 % of cases (85 to 100 by corpus), and the
share of the range of a model in 94 % (82 to 100); without the refits it was 35 to 95 and 45 to 90 %. However many
clips, a ceiling of few raters is too good by what the mixture cannot tell: of 1,500 clips by .03 to .08 of the range
with two raters, .02 to .04 with three and five, .00 to .02 with ten. A deviation of `MISFIT` over the raters per clip
is therefore added, without which intervals of 200 clips of two raters held the ceiling in 84 % of cases. With it, on 20
to 500 clips of 2 to 10 raters (``benchmarks/coverage.py``, 336 corpora of the three kinds), the interval of the ceiling
held it in 98 % of cases and that of the share in 99 %, at the worst of sixteen sizes in 90 and 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from emoprobe.errors import InputError
from emoprobe.metrics.dirichlet import DirichletMixture, fit_dirichlet_mixture
from emoprobe.metrics.functional import METRICS, evaluate, metrics_of
from emoprobe.metrics.functional.checks import Array, check_pair, check_votes
from emoprobe.metrics.intervals import Interval, expanded_percentiles
from emoprobe.metrics.resampling import Values, WeightedMetrics, average_measures, draw_clusters, number_clusters

MIN_UTTERANCES = 20
MIN_MEDIAN_VOTES = 2
SURE_VOTES = 200
"""Votes beyond each clip's first from which on a ceiling is sure to about a tenth of the range, see the module."""
SURE_CLIPS, SURE_PAIRS = 50, 500
"""Clips from which on the same holds, of any number of raters and of two."""
MISFIT = 0.1
"""Standard deviation of what the mixture misses, times raters per clip, as a part of the distance from prior to
ceiling."""
REFIT_BELOW = 2_000
"""Votes beyond each clip's first from which on the fit adds next to nothing to the interval."""
REFIT_DRAWS = 5


def resampled_metrics(metrics: Sequence[str] | None = None) -> tuple[str, ...]:
    """Metrics whose ceiling has an interval: those made of sums over utterances, but for calibration errors.

    Args:
        metrics: Of which names; those of categories by default.
    """
    return tuple(n for n in metrics or metrics_of() if METRICS[n].has_sums and not METRICS[n].noise_raises)


class Truths:
    """The true distributions of some clips given their votes, ready to be scored and resampled.

    Args:
        votes: Vote counts, ``[utterances, labels]``.
        target: What predictions are scored against, ``[utterances, labels]``; the vote shares by default.
        num_raters: As in `emoprobe.metrics.ceiling.human_ceiling`, ``[utterances]``.
        draws: Draws of all truths to average over.
        seed: Of the draws and of the fit's starts.
        metrics: Names of the metrics; those of categories by default.

    Raises:
        InputError: A shape, a value or a row sum is wrong.
    """

    def __init__(
        self,
        votes: Array,
        target: Array | None = None,
        *,
        num_raters: np.ndarray | None = None,
        draws: int = 20,
        seed: int = 0,
        metrics: Sequence[str] | None = None,
    ) -> None:
        check_repeats(draws)
        self.metrics = tuple(metrics or metrics_of())
        checked = check_votes(votes)
        shares = checked / checked.sum(dim=1, keepdim=True)
        _, wanted = check_pair(shares, shares if target is None else target)
        counts, observed = checked.cpu().numpy(), wanted.cpu().numpy()
        known = _known_votes(counts, num_raters)
        self.usable = known > 1 + 1e-9
        self.spare_votes = float((known - 1)[self.usable].sum())
        self._draws, self._seed = draws, seed
        self._votes, self._observed = counts[self.usable], observed[self.usable]
        self._scaled = self._votes * np.minimum(known[self.usable] / self._votes.sum(axis=1), 1)[:, None]
        number, left_out = int(self.usable.sum()), int((~self.usable).sum())
        self.note = f"{left_out} of {len(counts)} clips have one vote or shares only and are left out"
        self._fit: DirichletMixture | None = None
        if number < MIN_UTTERANCES or np.median(known) < MIN_MEDIAN_VOTES:
            self.note = (
                f"no ceiling: {number} of {len(counts)} clips have two votes or more; "
                f"at least {MIN_UTTERANCES}, and half of all, are needed"
            )
        else:
            self._fit = fit_dirichlet_mixture(self._scaled, seed=seed)
            self.note = self.note if left_out else ""

    @property
    def doubt(self) -> str:
        """Why the ceiling is not to be relied on, empty where it is: see the module."""
        if self._fit is None:
            return ""
        clips = int(self.usable.sum())
        if self.spare_votes < SURE_VOTES:
            return f"rough: {self.spare_votes:g} votes beyond each clip's first, and {SURE_VOTES} are needed"
        if clips < SURE_CLIPS:
            return f"rough: {clips} clips, and {SURE_CLIPS} are needed"
        if self._raters < 2.5 and clips < SURE_PAIRS:
            return f"rough: {clips} clips of about two raters, and {SURE_PAIRS} are needed"
        return ""

    @property
    def _raters(self) -> float:
        """Mean independent votes of a usable clip."""
        return self.spare_votes / int(self.usable.sum()) + 1

    def _drawn(self, prior: DirichletMixture, count: int) -> Iterator[np.ndarray]:
        """``[usable utterances, labels]`` each."""
        rng = np.random.default_rng(self._seed)
        return (prior.draw(self._scaled, rng) for _ in range(count))

    def scores(self) -> dict[str, float]:
        """Metric -> mean score of the truths against the observed votes; NaN where there is no ceiling."""
        if self._fit is None:
            return dict.fromkeys(self.metrics, math.nan)
        drawn = self._drawn(self._fit, self._draws)
        found = [evaluate(truth, self._observed, self._votes, metrics=self.metrics) for truth in drawn]
        return {name: float(np.mean([values[name] for values in found])) for name in self.metrics}

    def expected(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Expected value of a function of each clip's truth given its votes.

        Its mean over clips is free of the bias of few votes, as far as the mixture fits. It is no unbiased value of a
        single clip: each is drawn towards the corpus, the more the fewer its votes.

        Args:
            function: ``[usable utterances, labels]`` to ``[usable utterances]``.

        Returns:
            ``[utterances]``; NaN of clips that are not usable, and where there is no ceiling.
        """
        found = np.full(len(self.usable), np.nan)
        if self._fit is not None:
            found[self.usable] = np.mean([function(truth) for truth in self._drawn(self._fit, self._draws)], axis=0)
        return found

    def resampled(self, clusters: np.ndarray, drawn: np.ndarray, *, refits: int = 0, misfit: bool = False) -> Values:
        """The ceiling on resamples of clusters.

        Args:
            clusters: Number of each utterance's cluster from 0, ``[utterances]``.
            drawn: How often each cluster was drawn, ``[resamples, clusters]``.
            refits: How many of the resamples the mixture is fitted to anew.
            misfit: Whether what no mixture tells is added, a normal deviation of `MISFIT`.

        Returns:
            Metric of `resampled_metrics` -> ``[resamples]``; empty where there is no ceiling.
        """
        if self._fit is None:
            return {}
        numbers = clusters[self.usable]
        values = self._measure(self._fit, numbers, self._draws)(drawn[:, : numbers.max() + 1])
        if misfit:
            values = self._with_misfit(values)
        if self.spare_votes >= REFIT_BELOW or refits < 2:
            return values
        moved = self._moved(numbers, drawn[:refits])
        which = np.arange(len(drawn)) % len(next(iter(moved.values())))
        return {name: found + moved[name][which] for name, found in values.items()}

    def intervals(
        self, clusters: Sequence[object] | np.ndarray, *, resamples: int = 2000, refits: int = 20
    ) -> dict[str, Interval]:
        """95 % interval of the ceiling of every metric that has one, clusters resampled.

        Args:
            clusters: Cluster of each utterance, for example its speaker.
            resamples: How often clusters are drawn.
            refits: As in `resampled`.
        """
        numbers = number_clusters(clusters, len(self.usable))
        count = int(numbers.max()) + 1
        drawn = draw_clusters(np.random.default_rng(self._seed), count, resamples)
        values = self.resampled(numbers, drawn, refits=refits if count > 1 else 0, misfit=True)
        ends = {name: expanded_percentiles(found, count) for name, found in values.items()}
        return {name: pair for name, pair in ends.items() if not math.isnan(pair[0])}

    def _with_misfit(self, values: Values) -> Values:
        """Values ``[resamples]`` moved by one deviation each, which all metrics share."""
        mean = np.broadcast_to(self._observed.mean(axis=0), self._observed.shape)
        floor, ceiling = evaluate(mean, self._observed, self._votes, metrics=self.metrics), self.scores()
        size = len(next(iter(values.values())))
        deviation = np.random.default_rng(self._seed).normal(0, MISFIT / self._raters, size)
        with np.errstate(invalid="ignore"):
            scale = {name: abs(ceiling[name] - floor[name]) for name in values}
        return {n: found + (deviation * scale[n] if math.isfinite(scale[n]) else 0.0) for n, found in values.items()}

    def _measure(self, prior: DirichletMixture, numbers: np.ndarray, draws: int) -> WeightedMetrics:
        names = resampled_metrics(self.metrics)
        return average_measures(
            WeightedMetrics(truth, self._observed, self._votes, clusters=numbers, metrics=names)
            for truth in self._drawn(prior, draws)
        )

    def _moved(self, numbers: np.ndarray, drawn: np.ndarray) -> Values:
        """What fits to resamples move the ceiling of the clips by, beside the mean fit, ``[refits]``."""
        once = np.ones((1, int(numbers.max()) + 1))
        found = []
        for times in drawn:
            rows = np.repeat(self._scaled, times[numbers], axis=0)
            prior = fit_dirichlet_mixture(rows, seed=self._seed, starts=1)  # the width stays, half of the time
            if prior is not None:
                found.append(self._measure(prior, numbers, REFIT_DRAWS)(once))
        moved = {name: np.array([values[name][0] for values in found]) for name in resampled_metrics(self.metrics)}
        factor = math.sqrt(len(found) / max(1, len(found) - 1))
        with np.errstate(invalid="ignore"):
            moved = {name: factor * (values - values.mean()) for name, values in moved.items()}
        return {name: np.where(np.isfinite(values), values, 0.0) for name, values in moved.items()}


def check_repeats(repeats: int) -> None:
    """Refuse what is no number of repetitions.

    Raises:
        InputError: It is not a whole number above zero.
    """
    if not isinstance(repeats, int) or repeats < 1:
        raise InputError(
            f"the number of repeats is {repeats!r}", field="repeats", remedy="Give a whole number above 0."
        )


def _known_votes(counts: np.ndarray, num_raters: np.ndarray | None) -> np.ndarray:
    """Independent votes of each clip, ``[utterances]``; 0 where only shares are known."""
    total = counts.sum(axis=1)
    if num_raters is None:
        return total
    raters = np.asarray(num_raters, dtype=np.float64)
    if raters.shape != total.shape:
        raise InputError(f"{raters.shape} numbers of raters for {len(total)} clips", field="num_raters")
    return np.where(np.isnan(raters), 0.0, np.minimum(raters, total))
