"""What a perfect model would score: the human ceiling, and the floor of a model that does not listen.

A clip has a true distribution: the probabilities of the vote of a rater drawn from the pool. What is observed is the
shares of a few votes, so even a model that knew the truth would not reach a distance of zero. The ceiling is the score
of the truth against the observed votes, ``E[metric(truth, observed)]``.

**Raw resampling of raters does not give it.** Half of a clip's raters against the other half, or one rater against the
rest, has sampling noise on both sides and fewer votes on each, a bound that a model can pass easily. Both are given for
comparison with the literature.

**The corrected ceiling is empirical Bayes.** The truths are taken to come from a mixture of Dirichlet distributions,
fitted to all clips' votes by maximum marginal (Dirichlet-multinomial) likelihood with the number of components of the
lowest AIC. Given a clip's votes, its truth then follows a mixture of Dirichlets again. A draw from that, together with
the votes, is a draw from the joint law of truth and votes; its scores, averaged over draws, are the ceiling.
Extrapolating scores of k raters against k in 1/k would be simpler, but is less exact and suits smooth metrics only:
on simulated corpora of about nine raters it misses the true ``js_divergence`` by .01 to .03, this by .00 to .01.

**How to read it.** On proper scores (``vote_nll``, ``kl_target_pred``, ``brier``) no prediction that has not seen the
votes beats the truth in expectation. On others one can: shares of few votes are more extreme than the truth, so
``js_divergence`` and ``bhattacharyya`` reward a prediction that is sharper than the truth (with ten raters by about
.01, with three by .02). There a score past the ceiling means such a prediction, not one better than human.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from emoprobe.metrics.functional import evaluate, metrics_of
from emoprobe.metrics.functional.arrays import Values
from emoprobe.metrics.functional.checks import Array, check_pair, check_votes
from emoprobe.metrics.functional.table import SIZES
from emoprobe.metrics.raters import single_votes, sum_by
from emoprobe.metrics.resampling import metric_values
from emoprobe.metrics.truths import Truths, check_repeats


@dataclass(frozen=True)
class Ceiling:
    """Scores between humans, every one a dictionary from metric to value.

    Args:
        values: The corrected ceiling: of the true distributions against the observed votes.
        half_against_half: Of half of a clip's raters against the other half.
        leave_one_out: Of one rater against the rest.
        num_utterances: Clips used.
        num_left_out: Clips with one vote, or of which only shares are known.
        note: Why values are NaN, or how many clips were left out; empty where there is nothing to say.
    """

    values: dict[str, float]
    half_against_half: dict[str, float]
    leave_one_out: dict[str, float]
    num_utterances: int
    num_left_out: int
    note: str


class Ratings(NamedTuple):
    """Single ratings.

    Args:
        clip: Number of the clip of each rating, ``[ratings]``.
        votes: What the rater said, ``[ratings, labels]``: one-hot, or weights of several labels.
    """

    clip: np.ndarray
    votes: np.ndarray


def ratings_of(votes: Array) -> Ratings:
    """The single ratings behind vote counts.

    Args:
        votes: Vote counts, ``[utterances, labels]``.

    Returns:
        One one-hot rating per vote; none of a clip whose counts are not whole numbers.

    Raises:
        InputError: The votes are no matrix, are negative, not finite, or an utterance has none.
    """
    counts = check_votes(votes).cpu().numpy()
    whole = (np.abs(counts - np.round(counts)) < 1e-9).all(axis=1)
    return Ratings(*single_votes(np.where(whole[:, None], counts, 0)))


def half_against_half(
    ratings: Ratings, *, repeats: int = 20, seed: int = 0, metrics: Sequence[str] | None = None
) -> dict[str, float]:
    """Scores of half of each clip's raters, drawn at random, as prediction of as many others.

    With an odd number of raters one stays out; clips with one rater are left out.

    Args:
        ratings: See :func:`ratings_of`.
        repeats: Random splits to average over.
        seed: Of the splits.
        metrics: Names of the metrics; those of categories by default.

    Returns:
        Metric -> mean over the splits; NaN without a clip of two raters.
    """
    clip, votes, sizes = _rated(ratings)
    if not len(clip):
        return dict.fromkeys(metrics or metrics_of(), math.nan)
    rng = np.random.default_rng(seed)
    half = (sizes // 2)[clip]
    place = np.arange(len(clip)) - (np.cumsum(sizes) - sizes)[clip]

    def split() -> dict[str, float]:
        shuffled = votes[np.lexsort((rng.random(len(clip)), clip))]
        first, second = (sum_by(clip, shuffled * part[:, None]) for part in (place < half, place // half == 1))
        return evaluate(_shares(first), _shares(second), second, metrics=metrics)

    return _average(split, repeats)


def leave_one_out(ratings: Ratings, *, metrics: Sequence[str] | None = None) -> dict[str, float]:
    """Scores of every rater in turn as prediction of the rest of the clip's raters; every clip weighs the same.

    A single rater's vote is a certain prediction, so ``vote_nll`` and ``kl_target_pred`` are infinite as soon as two
    raters disagree. Clips with one rater are left out.

    Args:
        ratings: See :func:`ratings_of`.
        metrics: Names of the metrics; those of categories by default.

    Returns:
        Metric -> value; NaN without a clip of two raters.
    """
    clip, votes, sizes = _rated(ratings)
    if not len(clip):
        return dict.fromkeys(metrics or metrics_of(), math.nan)
    rest = np.maximum(sum_by(clip, votes)[clip] - votes, 0)
    values = metric_values(_shares(votes), _shares(rest), rest, (1 / sizes[clip])[None], metrics=metrics)
    return {name: float(found[0]) for name, found in values.items()}


def human_ceiling(
    votes: Array,
    target: Array | None = None,
    *,
    num_raters: np.ndarray | None = None,
    ratings: Ratings | None = None,
    truths: Truths | None = None,
    draws: int = 20,
    seed: int = 0,
    metrics: Sequence[str] | None = None,
) -> Ceiling:
    """The ceiling of every metric, see the module.

    Args:
        votes: Vote counts, ``[utterances, labels]``.
        target: What predictions are scored against, ``[utterances, labels]``; the vote shares by default.
        num_raters: How many raters each clip had, NaN where only shares are known, ``[utterances]``; the sum of the
            votes by default. Where raters gave several labels each, the votes count as that many and no more.
        ratings: Single ratings for the two raw figures, with clips numbered as rows of ``votes``; by default those
            that the counts imply.
        truths: Those of the same votes, where they have been made already.
        draws: Draws of all truths to average over.
        seed: Of the draws, of the fit's starts and of the raw splits.
        metrics: Names of the metrics, if there are no truths that know them; those of categories by default.

    Returns:
        The ceiling. Its ``values`` are NaN, with a note, where fewer than 20 clips can be used or half of them have
        fewer than two votes.

    Raises:
        InputError: A shape, a value or a row sum is wrong.
    """
    if truths is None:
        truths = Truths(votes, target, num_raters=num_raters, draws=draws, seed=seed, metrics=metrics)
    ratings = ratings_of(votes) if ratings is None else ratings
    ratings = Ratings(*(np.asarray(part)[truths.usable[ratings.clip]] for part in ratings))
    return Ceiling(
        values=truths.scores(),
        half_against_half=half_against_half(ratings, seed=seed, metrics=truths.metrics),
        leave_one_out=leave_one_out(ratings, metrics=truths.metrics),
        num_utterances=int(truths.usable.sum()),
        num_left_out=int((~truths.usable).sum()),
        note=truths.note,
    )


LEAST_GAIN = 0.01
"""By how much a ceiling must be better than the floor for shares of the range to say anything: 1 % of the larger."""


def share_of_range(value: float, floor: float, ceiling: float, higher_is_better: bool) -> float:
    """Where a score lies between floor and ceiling: 0 at the floor, 1 at the ceiling, negative below the floor.

    Args:
        value: The score.
        floor: Score of a model that knows nothing.
        ceiling: Score of a perfect model.
        higher_is_better: Direction of the metric.

    Returns:
        ``(value - floor) / (ceiling - floor)``; NaN where the ceiling is not better than the floor by `LEAST_GAIN` of
        the larger of both, or one of them is not finite.
    """
    return float(resampled_share(np.float64(value), np.float64(floor), np.float64(ceiling), higher_is_better))


def resampled_share(value: Values, floor: Values, ceiling: Values, higher_is_better: bool) -> np.ndarray:
    """`share_of_range` on resamples that all three have in common, ``[resamples]``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = ceiling - floor if higher_is_better else floor - ceiling
        wide = gain > LEAST_GAIN * np.maximum(np.abs(floor), np.abs(ceiling))
        return np.where(np.isfinite(gain) & wide, (value - floor) / (ceiling - floor), math.nan)


def shuffled_scores(
    pred: Array,
    target: Array,
    votes: Array | None = None,
    *,
    repeats: int = 20,
    seed: int = 0,
    metrics: Sequence[str] | None = None,
) -> dict[str, float]:
    """Scores of a model's own predictions given to other clips: what it gets right without listening.

    Args:
        pred: Predicted probabilities, ``[utterances, labels]``.
        target: Human probabilities, ``[utterances, labels]``.
        votes: Vote counts, ``[utterances, labels]``.
        repeats: Random permutations to average over; no clip keeps its own prediction.
        seed: Of the permutations.
        metrics: Names of the metrics; those of categories by default.

    Returns:
        Metric -> mean over the permutations; NaN for a single clip.

    Raises:
        InputError: A shape, a value or a row sum is wrong.
    """
    pred, target = check_pair(pred, target)
    votes = None if votes is None else check_votes(votes, like=pred)
    rng = np.random.default_rng(seed)

    def shuffle() -> dict[str, float]:
        # One cycle through all clips in random order.
        order = rng.permutation(len(pred))
        source = np.empty_like(order)
        source[order] = np.roll(order, 1)
        return evaluate(pred[source], target, votes, metrics=metrics)

    return _average(shuffle, repeats) if len(pred) > 1 else dict.fromkeys(metrics or metrics_of(), math.nan)


def _average(score: Callable[[], dict[str, float]], repeats: int) -> dict[str, float]:
    """Mean of the metrics over calls."""
    check_repeats(repeats)
    found = [score() for _ in range(repeats)]
    return {name: float(np.mean([values[name] for values in found])) for name in found[0] if name not in SIZES}


def _rated(ratings: Ratings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ratings of clips with two raters or more: clip from 0 ascending, votes, and raters of each clip."""
    given = ratings.votes.sum(axis=1) > 0
    _, clip, sizes = np.unique(ratings.clip[given], return_inverse=True, return_counts=True)
    kept = sizes[clip] > 1
    clip, votes = (np.cumsum(sizes > 1) - 1)[clip[kept]], ratings.votes[given][kept]
    order = np.argsort(clip, kind="stable")
    return clip[order], votes[order], sizes[sizes > 1]


def _shares(votes: np.ndarray) -> np.ndarray:
    return votes / votes.sum(axis=1, keepdims=True)
