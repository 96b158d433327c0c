"""What can be said of raters from their ratings: how far they agree, and how each differs from the others.

A rating is a vote ``[labels]`` that sums to one: one-hot, or divided among several labels or neighbouring points of a
scale. Only clips with two raters or more say anything of agreement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Agreement:
    """How far the raters of a corpus agree.

    Args:
        num_raters: Different raters.
        num_ratings: Their ratings.
        num_compared: Ratings of clips with two raters or more.
        observed: Chance that two raters of a clip say the same, each rating weighing alike; NaN without such a clip.
        alpha: Krippendorff's alpha: ``1 - observed / expected disagreement``, 1 where all agree, 0 by chance; nominal,
            or of points of a scale interval. NaN where nothing can be compared, or everybody says one thing.
    """

    num_raters: int
    num_ratings: int
    num_compared: int
    observed: float
    alpha: float


@dataclass(frozen=True)
class RaterStatistics:
    """One rater beside the others of the same clips.

    Args:
        rater: Id.
        num_ratings: How many ratings.
        share: Of all ratings.
        num_compared: How many of them are of clips that others rated too; the rest below is of these, NaN without any.
        agreement: Chance that another rater of the clip says the same.
        others: The same chance among the other raters of these clips; NaN where none has two others. An agreement far
            below it is a rater who differs, not clips on which everybody does.
        bias: Per label, how much more often the rater says it than the others of the same clips do, ``[labels]``, -1 to
            1; it sums to 0.
        mean_difference: Of a scale, how far the rater's numbers lie above the others' on average, in points; NaN of
            labels without order.
    """

    rater: str
    num_ratings: int
    share: float
    num_compared: int
    agreement: float
    others: float
    bias: np.ndarray
    mean_difference: float

    @property
    def total_bias(self) -> float:
        """Half the sum of the bias' sizes, 0 to 1: the share of ratings that another use of labels explains."""
        return float(np.abs(self.bias).sum() / 2)


def krippendorff_alpha(clip: np.ndarray, votes: np.ndarray, points: Sequence[float] | None = None) -> float:
    """Krippendorff's alpha (Content Analysis, 2004, chapter 11), by its matrix of coincidences.

    Ratings that are divided among labels count as parts of each.

    Args:
        clip: Number of the clip of each rating, ``[ratings]``.
        votes: The ratings, ``[ratings, labels]``, each summing to one.
        points: Numbers that the labels are, for the interval alpha (squared differences); None for the nominal one.

    Returns:
        At most 1; NaN where no clip has two ratings or no disagreement can be expected.

    >>> votes = np.eye(2)[[0, 0, 1, 1, 0, 1]]
    >>> krippendorff_alpha(np.array([0, 0, 1, 1, 2, 2]), votes)
    0.4444444444444444
    """
    clip, votes, sizes = _compared(clip, votes)
    if not len(clip):
        return math.nan
    total = sum_by(clip, votes)
    own = np.einsum("ra,rb->ab", votes / (sizes[clip] - 1)[:, None], votes)
    together = np.einsum("ca,cb->ab", total / (sizes - 1)[:, None], total) - own
    count = together.sum(axis=1)
    axis = np.arange(votes.shape[1]) if points is None else np.asarray(points, np.float64)
    far = (axis[:, None] - axis[None, :]) ** 2
    far = far if points is not None else (far > 0).astype(float)
    expected = (far * np.outer(count, count)).sum() / (count.sum() - 1)
    return float(1 - (far * together).sum() / expected) if expected > 0 else math.nan


def agreement(
    clip: np.ndarray, rater: Sequence[str], votes: np.ndarray, points: Sequence[float] | None = None
) -> Agreement:
    """How far raters agree; see `krippendorff_alpha` for the arguments.

    Args:
        clip: Number of the clip of each rating, ``[ratings]``.
        rater: Who gave each.
        votes: The ratings, ``[ratings, labels]``.
        points: Of a scale.
    """
    kept, compared, sizes = _compared(clip, votes)
    observed = math.nan
    if len(kept):
        same = (compared * (sum_by(kept, compared)[kept] - compared)).sum(axis=1) / (sizes[kept] - 1)
        observed = float(same.mean())
    return Agreement(len(set(rater)), len(clip), len(kept), observed, krippendorff_alpha(clip, votes, points))


def rater_statistics(
    clip: np.ndarray, rater: Sequence[str], votes: np.ndarray, points: Sequence[float] | None = None
) -> list[RaterStatistics]:
    """Every rater beside the others, those with most ratings first; see `agreement` for the arguments."""
    names, who = np.unique(np.asarray(rater, dtype=str), return_inverse=True)
    _, at, sizes = np.unique(clip, return_inverse=True, return_counts=True)
    total = sum_by(at, votes)
    size = sizes[at]
    rest = total[at] - votes
    several = size > 1
    same = (votes * rest).sum(axis=1) / np.maximum(size - 1, 1)
    # Pairs among the others: all ordered pairs of the clip without those of this rating.
    square = np.zeros(len(sizes))
    np.add.at(square, at, (votes**2).sum(axis=1))
    pairs = (rest**2).sum(axis=1) - (square[at] - (votes**2).sum(axis=1))
    others = np.where(size > 2, pairs / np.maximum((size - 1) * (size - 2), 1), math.nan)
    difference = votes - rest / np.maximum(size - 1, 1)[:, None]
    axis = None if points is None else np.asarray(points, np.float64)
    result = []
    order = np.argsort(who, kind="stable")
    for number, rows in enumerate(np.split(order, np.cumsum(np.bincount(who, minlength=len(names)))[:-1])):
        used = rows[several[rows]]
        known = others[used][~np.isnan(others[used])]
        bias = difference[used].mean(axis=0) if len(used) else np.full(votes.shape[1], math.nan)
        result.append(
            RaterStatistics(
                rater=str(names[number]),
                num_ratings=len(rows),
                share=len(rows) / len(clip),
                num_compared=len(used),
                agreement=float(same[used].mean()) if len(used) else math.nan,
                others=float(known.mean()) if len(known) else math.nan,
                bias=bias,
                mean_difference=math.nan if axis is None else float(bias @ axis),
            )
        )
    return sorted(result, key=lambda each: (-each.num_ratings, each.rater))


def _compared(clip: np.ndarray, votes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ratings of clips that have several: clip from 0, votes, and ratings of each clip."""
    _, at, sizes = np.unique(clip, return_inverse=True, return_counts=True)
    kept = sizes[at] > 1
    return (np.cumsum(sizes > 1) - 1)[at[kept]], votes[kept], sizes[sizes > 1]


def sum_by(clip: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """Votes of every clip, ``[clips, labels]``; clips are numbered from 0."""
    total = np.zeros((clip.max(initial=-1) + 1, votes.shape[1]))
    np.add.at(total, clip, votes)
    return total


def single_votes(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The single votes behind whole counts: the clip of each, ``[votes]``, and its one-hot ``[votes, labels]``.

    Args:
        counts: ``[clips, labels]``, whole but for rounding.

    >>> clip, votes = single_votes(np.array([[1, 0], [1, 2]]))
    >>> clip.tolist(), votes[:, 1].tolist()
    ([0, 1, 1, 1], [0.0, 0.0, 1.0, 1.0])
    """
    labels = counts.shape[1]
    cell = np.repeat(np.arange(counts.size), np.round(counts).astype(np.int64).ravel())
    return cell // labels, np.eye(labels)[cell % labels]
