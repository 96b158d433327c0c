"""Clips that were heard in windows: one belief out of those of their windows.

Windows of a clip are equally long (to a sample), so that the mean over windows is the mean over seconds. What is
averaged is the distribution over the labels, each window's by itself: a mean of unnormalised likelihoods would be that
of the window in which the model is surest that the answer is a label at all. Calibrations see the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from emoprobe.beliefs.distributions import Distributions
from emoprobe.beliefs.reading import Reading
from emoprobe.errors import InputError
from emoprobe.run.scores import WINDOW, WINDOWS


def arranged(clips: pa.Table, ids: Sequence[str], where: str) -> pa.Table:
    """Rows of one cell, in the order of the utterances, windows in theirs.

    Args:
        clips: Rows of the cell.
        ids: Utterances.
        where: The cell, for the error.

    Raises:
        InputError: An utterance or a window of one is missing.
    """
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(clips["utterance_id"].to_pylist()):
        rows.setdefault(name, []).append(row)
    lacking = [name for name in ids if name not in rows]
    if lacking:
        raise InputError(f"{where} was not asked of {lacking[0]!r} and {len(lacking) - 1} more scored clips")
    if WINDOW in clips.column_names:
        number, many = (clips[name].to_pylist() for name in (WINDOW, WINDOWS))
        for name in ids:
            rows[name].sort(key=lambda row: number[row] or 0)
            first = rows[name][0]
            wanted = [None] if number[first] is None else list(range(many[first]))
            if [number[row] for row in rows[name]] != wanted:
                raise InputError(f"{where} was not asked of every window of {name!r}", remedy="Run the probe again.")
    return clips.take([row for name in ids for row in rows[name]])


def over_windows(reading: Reading) -> Reading:
    """The reading of rows whose windows, where a clip has some, become one; see `arranged`."""
    scores, texts = reading.form_scores, reading.texts
    return replace(
        reading,
        derive=lambda rows: mean_distributions(reading.derive(rows), starts(rows)),
        form_scores=None if scores is None else lambda rows: mean_scores(scores(rows), starts(rows)),
        texts=None if texts is None else lambda rows: ["\n".join(each) for each in _groups(texts(rows), starts(rows))],
    )


def starts(rows: pa.Table) -> np.ndarray:
    """The first row of every clip or null input."""
    if WINDOW not in rows.column_names:
        return np.arange(len(rows))
    return np.flatnonzero(rows[WINDOW].fill_null(0).to_numpy() == 0)


def mean_distributions(found: Distributions, first: np.ndarray) -> Distributions:
    """Means over windows of probabilities, of the label mass and of the share of parsed draws.

    A clip has a distribution if each of its windows has one; otherwise it has the status of the first that has none.

    Args:
        found: Of every window, ``[windows, labels]``.
        first: The first window of each clip, ``[clips]``.
    """
    if len(first) == len(found.status):
        return found
    sizes = np.diff(first, append=len(found.status))
    single = found.log_probs[first]
    with np.errstate(divide="ignore"):
        means = np.log(np.add.reduceat(found.probs, first) / sizes[:, None])
    mass, parsed = found.label_mass, found.share_parsed
    return Distributions(
        np.where((sizes == 1)[:, None], single, means),  # clips in one piece stay as they are, to the bit
        tuple(next((s for s in group if s != "ok"), "ok") for group in _groups(found.status, first)),
        None if mass is None else np.add.reduceat(mass, first) / sizes,
        None if parsed is None else np.add.reduceat(parsed, first) / sizes,
    )


def mean_scores(scores: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Log-scores of surface forms whose shares are the mean of the windows' shares, and their sum that of the sums.

    Args:
        scores: ``[windows, forms]`` nats.
        first: The first window of each clip, ``[clips]``.
    """
    if len(first) == len(scores):
        return scores
    from scipy.special import logsumexp

    sizes = np.diff(first, append=len(scores))
    mass = logsumexp(scores, axis=1, keepdims=True)
    shares = np.add.reduceat(np.exp(scores - mass), first) / sizes[:, None]
    top = np.maximum.reduceat(mass, first)  # of sums that no float holds
    sums = top + np.log(np.add.reduceat(np.exp(mass - np.repeat(top, sizes, axis=0)), first) / sizes[:, None])
    with np.errstate(divide="ignore"):
        return np.where((sizes == 1)[:, None], scores[first], np.log(shares) + sums)


def _groups(values: Sequence, first: np.ndarray) -> list[Sequence]:
    ends = [*first[1:].tolist(), len(values)]
    return [values[a:b] for a, b in zip(first.tolist(), ends, strict=True)]
