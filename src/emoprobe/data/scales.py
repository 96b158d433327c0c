"""Ratings of valence, arousal and other dimensions as votes for the points of a scale."""

from __future__ import annotations

import math

import numpy as np

from emoprobe.data.utterance import Utterance
from emoprobe.labels import LabelSet

_NEAR = 1e-9  # of a point, in steps of the scale: rounding of numbers such as .1


def on_points(value: float, scale: tuple[float, float], points: tuple[float, ...]) -> np.ndarray:
    """One number as a vote for the points of a scale, ``[points]`` float64; it sums to 1.

    The number is moved linearly from its scale to that of the points. Between two points the vote is divided so that
    its mean is the number: of 1 to 5, a 3.25 is .75 for 3 and .25 for 4.

    Args:
        value: The number.
        scale: Lowest and highest number that could have been given.
        points: Of the label set, ascending, one apart.

    Raises:
        ValueError: The number is not on its scale.

    >>> on_points(3.25, (1, 5), (1, 2, 3, 4, 5)).tolist(), on_points(50, (0, 100), (1, 2, 3)).tolist()
    ([0.0, 0.0, 0.75, 0.25, 0.0], [0.0, 1.0, 0.0])
    """
    low, high = scale
    if not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"{value:g} is not on the scale from {low:g} to {high:g}")
    last = len(points) - 1
    steps = (value - low) / (high - low) * last
    if abs(steps - round(steps)) < _NEAR:
        steps = float(round(steps))
    below = min(int(steps), last - 1)
    vote = np.zeros(last + 1)
    vote[below : below + 2] = below + 1 - steps, steps - below
    return vote


def scale_of(utterance: Utterance, labels: LabelSet) -> tuple[float, float]:
    """Lowest and highest number of the dimension that a label set asks about, as the utterance's corpus gives it.

    Raises:
        ValueError: The corpus does not say.
    """
    assert labels.scale is not None
    dimension = labels.scale.dimension
    if dimension not in utterance.scales:
        raise ValueError(f"the corpus does not say on which scale its {dimension} is")
    return utterance.scales[dimension]
