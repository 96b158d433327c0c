"""What a report needs of ``predictions.parquet``: one compact cell per row of the metric table."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emoprobe.errors import InputError
from emoprobe.run.cell import KEYS

if TYPE_CHECKING:
    import pandas as pd

BINS = 10
LEVELS = 65_534
"""Probabilities are kept as whole numbers of 1/65,534: rounded by at most 7.7e-6."""
FAILED = 65_535
"""Stands where a clip has no distribution."""
TOLERANCE = 1e-6
"""By how much a stated mean divergence may differ from that of the predictions: far above rounding."""


@dataclass(frozen=True)
class Cell:
    """One distribution per utterance, and what is drawn of all of them together.

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
class Predictions:
    """All cells of a run, every array in the order of ``utterances`` (sorted by id).

    Args:
        utterances: utterance_id, speaker, split, transcript, num_raters, duration_seconds, truncated.
        target: Soft labels ``[utterances, labels]``.
        votes: Vote counts ``[utterances, labels]``.
        cells: (model, prompt, readout, variant, calibration) -> cell.
        fingerprint: Hash of ids, soft labels and votes: equal where two runs speak of the same utterances.
    """

    utterances: pd.DataFrame
    target: np.ndarray
    votes: np.ndarray
    cells: dict[tuple[str, ...], Cell]
    fingerprint: str


def make_cell(probs: np.ndarray, target: np.ndarray, status: Sequence[str] = (), label_mass=None, texts=None) -> Cell:
    """A cell of exact probabilities; a row that holds a NaN has no distribution.

    Args:
        probs: Predicted probabilities ``[utterances, labels]``.
        target: Soft labels ``[utterances, labels]``.
        status: What became of each clip; ``ok`` throughout where it is left out.
        label_mass: Probability of the answer being a label, ``[utterances]``.
        texts: What the model wrote.

    Raises:
        InputError: A row is no distribution.
    """
    from emoprobe.metrics.functional import js_divergence

    scored = np.isfinite(probs).all(axis=1)
    js = np.full(len(probs), np.nan)
    if scored.any():
        js[scored] = js_divergence(probs[scored], target[scored], reduction="none").numpy()
    quantised = np.full(probs.shape, FAILED, np.uint16)
    quantised[scored] = np.rint(probs[scored] * LEVELS).astype(np.uint16)
    names, codes = np.unique(np.asarray(status or ["ok"] * len(probs), dtype=str), return_inverse=True)
    undefined = [math.nan] * probs.shape[1]
    return Cell(
        quantised,
        js,
        codes.astype(np.uint8),
        tuple(names.tolist()),
        label_mass,
        texts,
        probs[scored].mean(axis=0).tolist() if scored.any() else undefined,
        target[scored].mean(axis=0).tolist() if scored.any() else undefined,
        reliability_bins(probs[scored], target[scored]),
    )


def reliability_bins(pred: np.ndarray, target: np.ndarray, bins: int = BINS) -> list[tuple[int, float, float]]:
    """Count, mean prediction and mean human share by bin of the predicted probability, over utterances and labels.

    The bins are those of ``classwise_ece``: (b / B, (b + 1) / B], zero in the first.

    Args:
        pred: Predicted probabilities ``[utterances, labels]``.
        target: Soft labels ``[utterances, labels]``.
        bins: Number of equal bins B.

    Returns:
        One triple per bin; an empty bin has NaN means.
    """
    from emoprobe.metrics.functional import TIE_TOLERANCE

    which = np.clip(np.ceil(pred * bins - TIE_TOLERANCE) - 1, 0, bins - 1).astype(int).ravel()
    counts = np.bincount(which, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(which, values.ravel(), bins) / counts for values in (pred, target)]
    return list(zip(counts.tolist(), means[0].tolist(), means[1].tolist(), strict=True))


def read_predictions(file: Path, labels: Sequence[str], rows: Sequence[Mapping]) -> Predictions:
    """Read ``predictions.parquet`` and check that the rows of ``metrics.json`` were computed from it.

    Args:
        file: The file.
        labels: The run's labels, in order.
        rows: Rows of the metric table, values as floats.

    Raises:
        InputError: The file is damaged, lacks a column, or does not belong to the rows.
    """
    import pandas as pd
    import pyarrow as pa

    columns = ["speaker", "split", "transcript", "num_raters", "duration_seconds", "truncated"]
    shares = {kind: [f"{kind}_{label}" for label in labels] for kind in ("target", "votes", "p")}
    if not file.is_file():
        raise InputError(f"{file.name} is missing", file=file)
    try:
        frame = pd.read_parquet(file)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"this is not a readable Parquet file: {' '.join(str(error).split())}", file=file) from error
    needed = ["utterance_id", *columns, *KEYS, *(name for names in shares.values() for name in names), "status"]
    lacking = [name for name in needed if name not in frame]
    if lacking:
        raise InputError(f"the column {lacking[0]!r} is missing", file=file)
    if frame["utterance_id"].isna().any():
        raise InputError("a row has no utterance_id", file=file)
    ids, codes_of_ids = np.unique(frame["utterance_id"].to_numpy(str), return_inverse=True)
    groups = frame.groupby(list(KEYS), observed=True, sort=False).indices
    places = {}
    for key, positions in groups.items():
        if not np.array_equal(np.sort(codes_of_ids[positions]), np.arange(len(ids))):
            raise InputError(f"the cell {_in_words(key)} does not hold every utterance once", file=file)
        places[key] = positions[np.argsort(codes_of_ids[positions])]
    if not places:
        raise InputError("the file holds no cell", file=file)
    first = frame.iloc[next(iter(places.values()))]
    target, votes = (first[shares[kind]].to_numpy(np.float64) for kind in ("target", "votes"))
    cells = {}
    mass = frame["label_mass"].to_numpy(np.float64) if "label_mass" in frame else np.full(len(frame), np.nan)
    texts = frame["generated_text"] if "generated_text" in frame else pd.Series([None] * len(frame), dtype=object)
    probs, status = frame[shares["p"]].to_numpy(np.float64), frame["status"].astype(str)
    for key, positions in places.items():
        written = texts.iloc[positions]
        try:
            cells[key] = make_cell(
                probs[positions],
                target,
                status.iloc[positions].tolist(),
                mass[positions].astype(np.float32) if np.isfinite(mass[positions]).any() else None,
                [None if pd.isna(text) else str(text) for text in written] if written.notna().any() else None,
            )
        except InputError as error:
            raise InputError(f"{error.what}, in the cell {_in_words(key)}", file=file) from error
    _check_rows(rows, cells, target, file)
    human = first[["utterance_id", *columns]].reset_index(drop=True)
    return Predictions(human, target, votes, cells, _fingerprint(ids, target, votes))


def key_of(row: Mapping) -> tuple[str, ...]:
    """The cell that a row of the metric table speaks of."""
    return tuple(row[name] for name in KEYS)


def _check_rows(rows: Sequence[Mapping], cells: Mapping[tuple, Cell], target: np.ndarray, file: Path) -> None:
    """Every readout's row has a cell of its size and its mean divergence."""
    from emoprobe.metrics.functional import js_divergence

    of_uniform = js_divergence(np.full_like(target, 1 / target.shape[1]), target, reduction="none").numpy()
    for row in rows:
        if row["kind"] != "readout":
            continue
        cell = cells.get(key_of(row))
        if cell is None:
            raise InputError(f"metrics.json has a row for {_in_words(key_of(row))}, which is not here", file=file)
        scored = np.isfinite(cell.js)
        # analysis.failures=uniform scores the clips without a distribution as uniform
        filled = row["num_utterances"] == len(scored) and row["num_failed"] > 0
        size = len(scored) if filled else int(scored.sum())
        if (row["num_utterances"], row["num_failed"]) != (size, len(scored) - int(scored.sum())):
            raise InputError(f"metrics.json counts other clips for {_in_words(key_of(row))}", file=file)
        stated = row["metrics"].get("js_divergence", math.nan)
        values = np.where(scored, cell.js, of_uniform) if filled else cell.js[scored]
        if len(values) and not abs(values.mean() - stated) < TOLERANCE:
            raise InputError(
                f"metrics.json states a JS divergence of {stated} for {_in_words(key_of(row))} and these predictions "
                f"have {values.mean():.6f}",
                file=file,
            )


def _in_words(key: Sequence[str]) -> str:
    return ", ".join(part for part in key if part)


def _fingerprint(ids: np.ndarray, target: np.ndarray, votes: np.ndarray) -> str:
    digest = hashlib.sha256("\0".join(ids.tolist()).encode("utf-8", "surrogatepass"))
    for values in (target, votes):
        digest.update(np.round(values, 9).astype("<f8").tobytes())
    return digest.hexdigest()[:16]
