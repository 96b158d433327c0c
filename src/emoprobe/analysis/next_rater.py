"""Whether a model's belief predicts the next rater better than the other raters do.

Every vote of a clip is left out in turn and predicted: by the model, which has seen no vote; by the other raters'
shares, drawn a little towards the corpus; by their majority label; and by the votes of all other clips. The strength
with which shares are drawn, and the probability that the majority label gets, are the ones that predict these very
votes best, so the raters are as strong as they can be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from emoprobe.analysis.ambiguity import HumanSide, Resamples, scored_cells
from emoprobe.metrics.ceiling import Ratings
from emoprobe.metrics.functional.arrays import xlogy
from emoprobe.metrics.functional.ties import top_labels
from emoprobe.metrics.raters import sum_by

if TYPE_CHECKING:
    import pandas as pd

SCORES = ("vote_nll", "brier")
PREDICTORS = ("others", "majority", "prior")


def nll(pred: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """Negative log-likelihood of votes in nats, ``[ratings]``; infinite where what was said had probability 0."""
    return -xlogy(votes, pred).sum(axis=-1)


def brier(pred: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """Squared difference from votes, a mean over labels, ``[ratings]``."""
    return ((pred - votes) ** 2).mean(axis=-1)


_SCORE = {"vote_nll": nll, "brier": brier}


def left_out_predictions(ratings: Ratings) -> dict[str, np.ndarray]:
    """What the others would have said of every rating, ``[ratings, labels]`` by name of `PREDICTORS`.

    * ``others``: ``(n_k + a q_k) / (n + a)`` with n the other raters' votes, q the prior.
    * ``majority``: probability b for their top label (its parts, where they tie), the rest for all others alike.
    * ``prior``: shares of all ratings of other clips, half a vote added to each label.

    Args:
        ratings: Of clips with two ratings or more, each summing to one.
    """
    from scipy.optimize import minimize_scalar

    clip, votes = ratings.clip, ratings.votes
    labels, by_clip = votes.shape[1], sum_by(clip, votes)
    elsewhere = by_clip.sum(axis=0) - by_clip + 0.5
    prior = (elsewhere / elsewhere.sum(axis=1, keepdims=True))[clip]
    rest = np.maximum(by_clip[clip] - votes, 0)
    size = rest.sum(axis=1, keepdims=True)
    top = top_labels(rest / size).astype(float)
    top /= top.sum(axis=1, keepdims=True)

    def smoothed(log_strength: float) -> np.ndarray:
        strength = math.exp(log_strength)
        return (rest + strength * prior) / (size + strength)

    def peaked(logit: float) -> np.ndarray:
        chance = 1 / (1 + math.exp(-logit))
        return chance * top + (1 - chance) * (1 - top) / (labels - 1) if labels > 1 else top

    strength = minimize_scalar(lambda x: nll(smoothed(x), votes).mean(), bounds=(-6, 8), method="bounded").x
    chance = minimize_scalar(lambda x: nll(peaked(x), votes).mean(), bounds=(-8, 8), method="bounded").x
    return {"others": smoothed(strength), "majority": peaked(chance), "prior": prior}


def next_rater(
    predictions: pd.DataFrame, labels: Sequence[str], human: HumanSide, *, resamples: int = 2000
) -> pd.DataFrame:
    """How well every vote is predicted by the model and by the votes that are left, paired clip by clip.

    Both scores are proper, and lower is better. Every vote weighs the same.

    Args:
        predictions: ``predictions.parquet`` of a run.
        labels: Labels of the run, in order.
        human: See `emoprobe.analysis.ambiguity.human_side`.
        resamples: Of speakers, 0 for no intervals.

    Returns:
        One row per cell and ``score`` (``vote_nll``, nats, or ``brier``): the cell's keys and ``fitted_on``;
        ``num_utterances`` (with a distribution and two single ratings or more), ``num_failed``, ``num_speakers``,
        ``num_votes``; ``of_model``, ``of_others``, ``of_majority`` and ``of_prior``, the mean scores; ``minus_others``,
        ``minus_majority`` and ``minus_prior``, the model's less theirs, with ``_low`` and ``_high``, the 95 % interval
        by speakers: below 0 the model predicts the next rater better. Infinite where a vote had probability 0.
    """
    import pandas as pd

    number = np.bincount(human.ratings.clip, minlength=len(human.votes))
    several = number[human.ratings.clip] > 1
    ratings = Ratings(human.ratings.clip[several], human.ratings.votes[several])
    rated = np.flatnonzero(number > 1)
    if not len(rated):
        return pd.DataFrame()
    position = np.full(len(human.votes), -1)
    position[rated] = np.arange(len(rated))
    ratings = Ratings(position[ratings.clip], ratings.votes)
    made = left_out_predictions(ratings)

    def totals(pred: np.ndarray, score: str) -> np.ndarray:
        return np.bincount(ratings.clip, _SCORE[score](pred, ratings.votes), len(rated))

    known = {score: {name: totals(pred, score) for name, pred in made.items()} for score in SCORES}
    rows = []
    for cell, place, head in scored_cells(predictions, labels, human):
        there = position[place] >= 0
        of = position[place][there]
        pred = np.full((len(rated), len(labels)), 1.0)
        pred[of] = cell.pred[there]
        for score in SCORES if len(of) else ():
            theirs = {name: values[of] for name, values in known[score].items()}
            ours = totals(pred[ratings.clip], score)[of]
            row = {**head, "score": score, "num_utterances": len(of), "num_votes": int(number[rated[of]].sum())}
            draws = Resamples(cell.clusters[there], resamples)
            weight = number[rated[of]].astype(float)
            row |= {
                f"of_{name}": float(values.sum() / weight.sum()) for name, values in {"model": ours, **theirs}.items()
            }
            for name, values in theirs.items():
                row |= draws.ratio(f"minus_{name}", ours - values, weight)
            rows.append(row)
    return pd.DataFrame(rows)
