"""What a report keeps of a run's predictions: one compact summary per cell, so that many runs fit into memory."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emoprobe.errors import InputError
from emoprobe.metrics.functional import js_divergence, reliability_bins
from emoprobe.run.integrity import OF_A_CLIP

if TYPE_CHECKING:
    import pandas as pd

    from emoprobe.run.cell import Cell
    from emoprobe.run.folder import RunFolder
    from emoprobe.run.predictions import CellPredictions

BINS = 10
LEVELS = 65_534
"""Probabilities are kept as whole numbers of 1/65,534: rounded by at most 7.7e-6."""
FAILED = 65_535
"""Stands where a clip has no distribution."""


@dataclass(frozen=True)
class CellSummary:
    """The predictions of a cell, rounded, and what is drawn of all of them together.

    Args:
        quantised: Probabilities in units of 1/`LEVELS`, `FAILED` where there is none; uint16 ``[utterances, labels]``.
        js: JS divergence from the raters in bits, NaN where there is none; float32 ``[utterances]``.
        status: Index into ``statuses``, uint8 ``[utterances]``.
        statuses: Names of what became of a clip.
        label_mass: Probability of the answer being a label; float32 ``[utterances]``, None where the readout has none.
        texts: What the model wrote, None where the readout writes nothing.
        mean: Mean probability of each label over clips with a distribution, ``[labels]``.
        human_mean: Mean soft label over the same clips, ``[labels]``.
        bins: Per bin of the predicted probability (`BINS` equal ones, all labels together): count, mean prediction,
            mean human share.
    """

    quantised: np.ndarray
    js: np.ndarray
    status: np.ndarray
    statuses: tuple[str, ...]
    label_mass: np.ndarray | None
    texts: list[str | None] | None
    mean: list[float]
    human_mean: list[float]
    bins: list[tuple[int, float, float]]


@dataclass(frozen=True)
class Summary:
    """All cells of a run, every array in the order of ``utterances`` (sorted by id).

    Args:
        utterances: utterance_id, and `emoprobe.run.integrity.OF_A_CLIP`.
        target: Soft labels ``[utterances, labels]``.
        votes: Vote counts ``[utterances, labels]``.
        cells: Cell -> its summary.
        fingerprint: Hash of ids, soft labels and votes: equal where two runs speak of the same utterances.
    """

    utterances: pd.DataFrame
    target: np.ndarray
    votes: np.ndarray
    cells: dict[Cell, CellSummary]
    fingerprint: str


def summarise_cell(
    probs: np.ndarray,
    target: np.ndarray,
    status: Sequence[str] | np.ndarray = (),
    label_mass: np.ndarray | None = None,
    texts: list[str | None] | None = None,
) -> CellSummary:
    """A summary of exact probabilities; a row that holds a NaN has no distribution.

    Args:
        probs: Predicted probabilities ``[utterances, labels]``.
        target: Soft labels ``[utterances, labels]``.
        status: What became of each clip; ``ok`` throughout where it is left out.
        label_mass: Probability of the answer being a label, ``[utterances]``.
        texts: What the model wrote, ``[utterances]``.
    """
    scored = np.isfinite(probs).all(axis=1)
    js = js_divergence.by_clip(probs, target)
    quantised = np.full(probs.shape, FAILED, np.uint16)
    quantised[scored] = np.rint(probs[scored] * LEVELS).astype(np.uint16)
    names, codes = np.unique(np.asarray(status if len(status) else ["ok"] * len(probs), dtype=str), return_inverse=True)
    undefined = [math.nan] * probs.shape[1]
    bins = reliability_bins(probs[scored], target[scored], BINS)
    return CellSummary(
        quantised,
        js,
        codes.astype(np.uint8),
        tuple(names.tolist()),
        label_mass,
        texts,
        probs[scored].mean(axis=0).tolist() if scored.any() else undefined,
        target[scored].mean(axis=0).tolist() if scored.any() else undefined,
        list(zip(*(of.tolist() for of in bins), strict=True)),
    )


def summarise(run: RunFolder) -> Summary:
    """What a report keeps of a run's predictions.

    Raises:
        InputError: The predictions are missing, damaged, not what the run wrote, or hold no cell.
    """
    cells: dict[Cell, CellSummary] = {}
    first: CellPredictions | None = None
    for each in run.cells():
        ids = sorted(each.utterances) if first is None else first.utterances
        found = each.in_order(ids)
        first = first or found
        mass = found.label_mass
        cells[each.cell] = summarise_cell(
            found.pred,
            first.target,
            found.status,
            None if mass is None else mass.astype(np.float32),
            found.texts,
        )
    if first is None:
        raise InputError("the run's predictions hold no cell", file=run.folder)
    human = first.rows[["utterance_id", *OF_A_CLIP]].reset_index(drop=True)
    return Summary(human, first.target, first.votes, cells, _fingerprint(first.utterances, first.target, first.votes))


def _fingerprint(ids: np.ndarray, target: np.ndarray, votes: np.ndarray) -> str:
    digest = hashlib.sha256("\0".join(ids.tolist()).encode("utf-8", "surrogatepass"))
    for values in (target, votes):
        digest.update(np.round(values, 9).astype("<f8").tobytes())
    return digest.hexdigest()[:16]
