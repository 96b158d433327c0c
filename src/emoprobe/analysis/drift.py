"""How alike two models' states and beliefs about the same clips are, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from emoprobe.errors import InputError
from emoprobe.metrics.functional.divergences import js_divergence
from emoprobe.metrics.intervals import mean_interval

if TYPE_CHECKING:
    import pandas as pd


def linear_cka(one: np.ndarray, other: np.ndarray) -> float:
    """Linear centred kernel alignment of two sets of states of the same clips (Kornblith et al. 2019, 1905.00414).

    ``CKA = ||Y'X||_F^2 / (||X'X||_F ||Y'Y||_F)`` of columns with their means taken off: 1 where the states are the same
    but for rotation and scale, near 0 where they have nothing in common. With few clips it is too high.

    Args:
        one: ``[clips, width]``.
        other: ``[clips, other width]``.

    Returns:
        From 0 to 1; NaN where all clips have the same state on either side.

    Raises:
        InputError: They are not of the same clips, or of fewer than two.

    >>> states = np.array([[0.0, 1.0], [2.0, 0.0], [1.0, 5.0]])
    >>> round(linear_cka(states, 3 * states[:, ::-1] + 1), 6)
    1.0
    """
    if one.ndim != 2 or other.ndim != 2 or len(one) != len(other) or len(one) < 2:
        raise InputError(f"states of shapes {one.shape} and {other.shape} are not of the same two clips or more")
    x, y = (states.astype(np.float64) - states.mean(axis=0, dtype=np.float64) for states in (one, other))
    # By clips and not by columns: states are mostly wider than clips are many.
    k, m = x @ x.T, y @ y.T
    scale = np.linalg.norm(k) * np.linalg.norm(m)
    return float((k * m).sum() / scale) if scale > 0 else math.nan


def drift_by_layer(
    before: Mapping[str, Mapping[int, np.ndarray]],
    after: Mapping[str, Mapping[int, np.ndarray]],
    beliefs: tuple[np.ndarray, np.ndarray] | None,
    speakers: Sequence[str],
    *,
    resamples: int = 2000,
) -> pd.DataFrame:
    """What changed between two models, a row for each part and layer.

    Args:
        before: Part (``encoder``, ``decoder``) -> layer -> states of the clips, ``[clips, width]``.
        after: The same of the other model.
        beliefs: Distributions of both at every decoder layer, ``[clips, layers, labels]``; None where there are none.
        speakers: Of each clip, of whom clips stand or fall together.
        resamples: Of speakers, for the 95 % interval of the divergence; 0 for none.

    Returns:
        ``part``, ``layer``, ``num_clips``, ``cka``, ``js`` (mean JS divergence of the two beliefs about a clip, bits),
        ``js_low``, ``js_high``; NaN of the encoder, whose states are no beliefs.
    """
    import pandas as pd

    rows = []
    for part, states in before.items():
        for layer, one in states.items():
            other = after[part][layer]
            row = {"part": part, "layer": layer, "num_clips": len(one), "cka": linear_cka(one, other)}
            row |= dict.fromkeys(("js", "js_low", "js_high"), math.nan)
            if part == "decoder" and beliefs is not None:
                each = js_divergence(beliefs[0][:, layer], beliefs[1][:, layer], reduction="none")
                row["js"] = float(each.mean())
                if resamples:
                    row["js_low"], row["js_high"] = mean_interval(each, speakers, resamples=resamples)
            rows.append(row)
    return pd.DataFrame(rows)
