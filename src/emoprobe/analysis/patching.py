"""One clip's sound in another's place: which is put into which, and how far the belief goes along."""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from emoprobe.metrics.functional.divergences import js_divergence
from emoprobe.metrics.intervals import expanded_percentiles, resampled_ratio
from emoprobe.metrics.resampling import draw_clusters, number_clusters

if TYPE_CHECKING:
    import pandas as pd


def choose_donors(ids: Sequence[str], samples: Sequence[int], seed: int) -> list[int]:
    """Of every clip the number of the one whose sound is put into it.

    The clips stand in a circle, in the order of the SHA-256 of seed and utterance id. A clip's donor is the next one
    that is at least as long, so that it can be cut to the clip's length; the next one of any length where none is.

    Args:
        ids: Utterance ids, at least two.
        samples: Lengths of the clips.
        seed: Draws the order.
    """
    circle = sorted(range(len(ids)), key=lambda i: sha256(f"{seed}|{ids[i]}".encode()).digest())
    place = {clip: i for i, clip in enumerate(circle)}
    donors = []
    for clip in range(len(ids)):
        after = [circle[(place[clip] + step) % len(circle)] for step in range(1, len(circle))]
        donors.append(next((other for other in after if samples[other] >= samples[clip]), after[0]))
    return donors


def fitted(waveform: np.ndarray, samples: int) -> np.ndarray:
    """A sound cut, or followed by silence, to a number of samples."""
    return np.pad(waveform[:samples], (0, max(0, samples - len(waveform))))


def distances(beliefs: np.ndarray, receiver: np.ndarray, donor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """JS divergences of patched beliefs, ``[layers, labels]``, from the receiver's and the donor's, ``[layers]``."""
    own, other = (np.broadcast_to(one, beliefs.shape) for one in (receiver, donor))
    return js_divergence(beliefs, own, reduction="none"), js_divergence(beliefs, other, reduction="none")


def by_layer(pairs: pd.DataFrame, *, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """How far the belief goes along with the sound, a row for each prompt and layer.

    ``share = sum JS(receiver, patched) / sum (JS(receiver, patched) + JS(patched, donor))`` over pairs: 1 where the
    belief is the donor's, 0 where it is still the receiver's. A pair whose beliefs hardly differ hardly counts.

    Args:
        pairs: A row for each pair, prompt and layer: ``prompt``, ``layer``, ``speaker`` (the receiver's),
            ``js_from_receiver``, ``js_from_donor``.
        resamples: Of the receivers' speakers, for the 95 % interval; 0 for none.
        seed: Of the draws.

    Returns:
        ``prompt``, ``layer``, ``num_pairs``, mean ``js_from_receiver`` and ``js_from_donor``, ``share``, ``share_low``,
        ``share_high``; NaN where no pair's beliefs differ.
    """
    import pandas as pd

    rows = []
    for (prompt, layer), part in pairs.groupby(["prompt", "layer"], sort=False):
        own = part["js_from_receiver"].to_numpy(np.float64)
        whole = own + part["js_from_donor"].to_numpy(np.float64)
        numbers = number_clusters(part["speaker"], len(part))
        total, weight = (np.bincount(numbers, weights=values) for values in (own, whole))
        low = high = math.nan
        if resamples and len(total) > 1 and whole.sum() > 0:
            drawn = draw_clusters(np.random.default_rng(seed), len(total), resamples)
            with np.errstate(invalid="ignore", divide="ignore"):
                low, high = expanded_percentiles(resampled_ratio(total, weight, drawn), len(total))
        rows.append(
            {
                "prompt": prompt,
                "layer": layer,
                "num_pairs": len(part),
                "js_from_receiver": own.mean(),
                "js_from_donor": part["js_from_donor"].mean(),
                "share": own.sum() / whole.sum() if whole.sum() > 0 else math.nan,
                "share_low": low,
                "share_high": high,
            }
        )
    return pd.DataFrame(rows)
