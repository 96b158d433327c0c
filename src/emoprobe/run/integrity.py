"""Whether a run folder still holds what the run wrote: sums that must come out, and tables that must agree.

A finished run's record seals its score table and its human side, the metric table the predictions and its own rows
(`emoprobe.run.sealing`). What can be told without a seal is told here, and names the row: targets against votes,
log-probabilities against their sums, cells against each other, metric rows against predictions. `emoprobe.run.folder`
asks for all of it. Who wants to keep an edit takes the entry ``files`` out of ``run.json`` and ``metrics.json``: the
run is then one without a seal.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emoprobe.errors import InputError
from emoprobe.metrics.functional import js_divergence
from emoprobe.run import files
from emoprobe.run.cell import KEYS, Cell, in_words
from emoprobe.run.predictions import read_cells
from emoprobe.run.sealing import REMEDY

if TYPE_CHECKING:
    import pandas as pd

    from emoprobe.run.record import Record

OF_A_CLIP = ("speaker", "split", "transcript", "num_raters", "duration_seconds", "truncated")
"""What the predictions say of every clip, beside its target and votes."""
SHARES = 1e-6
"""By how much shares may miss their sum, a target its votes, or a stated mean divergence that of the predictions."""


def check_columns(frame: pd.DataFrame, needed: Sequence[str], file: Path) -> None:
    """Refuse a table without a column of its run."""
    lacking = [name for name in needed if name not in frame.columns]
    if lacking:
        raise InputError(f"the table has no column {lacking[0]!r}", file=file, field=lacking[0], remedy=REMEDY)


def refuse(names: Sequence[str], what: str, file: Path, field: str) -> None:
    if names:
        more = f", and {len(names) - 1} more" if len(names) > 1 else ""
        raise InputError(f"utterance {names[0]!r} {what}{more}", file=file, field=field, remedy=REMEDY)


def check_same_clips(frame: pd.DataFrame, keys: Sequence[str], file: Path) -> None:
    """Refuse cells that do not hold the same clips, each once."""
    import pandas as pd

    codes, ids = pd.factorize(frame["utterance_id"].astype(object))
    cells = frame.groupby(list(keys), observed=True, sort=False, dropna=False).indices
    for key, rows in cells.items():
        times = np.bincount(codes[rows], minlength=len(ids))
        for wrong, what in ((times == 0, "is missing"), (times > 1, "stands twice")):
            if wrong.any():
                what = f"{what} in the cell {in_words(key)}, unlike in others"
                refuse(ids[wrong].tolist(), what, file, "utterance_id")


# -- the human side ----------------------------------------------------------------------------------------------------


def check_utterances(utterances: pd.DataFrame, record: Record, file: Path) -> None:
    """Refuse votes and targets that contradict themselves or each other.

    Args:
        utterances: The human side.
        record: For the labels and the smoothing of the soft-label policy.
        file: Where they were read.

    Raises:
        InputError: An utterance stands twice, a vote is negative, shares do not sum to one, a target is not what the
            policy makes of the votes, or the votes are not the sum of the single raters'.
    """
    labels = record.labels.labels
    needed = [f"{kind}_{label}" for kind in ("votes", "target") for label in labels]
    check_columns(utterances, ["utterance_id", "role", "speaker", "num_raters", *needed], file)
    ids = utterances["utterance_id"]
    twice = ids[ids.duplicated()].tolist()
    refuse(twice, "stands twice", file, "utterance_id")
    names = [f"votes_{label}" for label in labels]
    votes = utterances[names].to_numpy(np.float64)
    _refuse_cell(utterances, ~(np.isfinite(votes) & (votes >= 0)), names, "is no number of votes", file)
    _refuse_cell(utterances, votes.sum(axis=1) <= 0, names, "has no vote", file)
    _check_shares(utterances, labels, "target", file)
    target = utterances[[f"target_{label}" for label in labels]].to_numpy(np.float64)
    smoothing = _smoothing(record.soft_label_policy.name)
    made = (1 - smoothing) * votes / votes.sum(axis=1, keepdims=True) + smoothing / len(labels)
    allowed = SHARES if smoothing == 0 else 1e-5  # the policy's name has six digits
    what = "is not the share of its votes that the soft-label policy makes"
    _refuse_cell(utterances, np.abs(target - made) > allowed, [f"target_{label}" for label in labels], what, file)
    if "rater_votes" in utterances:
        known = utterances["rater_votes"].notna().to_numpy()
        given = np.array([_sum_of_ballots(text, labels) for text in utterances["rater_votes"][known]])
        wrong = np.zeros_like(votes, dtype=bool)
        if known.any():
            wrong[known] = ~(np.abs(given - votes[known]) < 1e-6)
        _refuse_cell(utterances, wrong, names, "is not the sum of the single raters' votes (rater_votes)", file)


def _smoothing(policy: str) -> float:
    """The smoothing that a policy's name states."""
    found = re.search(r"(?:^|; )smoothing ([0-9.e+-]+)", policy)
    return float(found[1]) if found else 0.0


def _sum_of_ballots(text: str, labels: Sequence[str]) -> list[float]:
    try:
        ballots = list(json.loads(text).values())
        return [sum(ballot.get(label, 0.0) for ballot in ballots) for label in labels]
    except (ValueError, TypeError, AttributeError):
        return [np.nan] * len(labels)


def _check_shares(
    frame: pd.DataFrame, labels: Sequence[str], prefix: str, file: Path, *, may_lack: bool = False
) -> None:
    """Refuse shares that are negative or do not sum to one; rows of NaN where a distribution may be missing."""
    names = [f"{prefix}_{label}" for label in labels]
    shares = frame[names].to_numpy(np.float64)
    lacks = np.isnan(shares).all(axis=1) if may_lack else np.zeros(len(shares), dtype=bool)
    shares = np.where(lacks[:, None], 1 / max(1, len(labels)), shares)
    off = np.abs(shares.sum(axis=1) - 1)
    _refuse_cell(frame, ~(shares >= 0), names, "is no share", file)
    _refuse_cell(frame, ~(off <= SHARES), names, "has shares that do not sum to 1", file)


def _refuse_cell(frame: pd.DataFrame, wrong: np.ndarray, columns: Sequence[str], what: str, file: Path) -> None:
    """Refuse the first marked value of ``[rows, columns]``, or the first marked row of ``[rows]``."""
    if not wrong.any():
        return
    rows = wrong.any(axis=1) if wrong.ndim == 2 else wrong
    row = int(rows.argmax())
    column = columns[int(wrong[row].argmax())] if wrong.ndim == 2 else columns[0]
    which = f"{column} of " if wrong.ndim == 2 else ""
    first = frame.iloc[row]
    where = f" in the cell {Cell.of(first)}" if set(KEYS) <= set(frame.columns) else ""
    more = f", and {int(rows.sum()) - 1} more rows" if rows.sum() > 1 else ""
    what = f"{which}utterance {first['utterance_id']!r}{where} {what}{more}"
    raise InputError(what, file=file, row=row + 1, field=column, remedy=REMEDY)


# -- predictions and metric rows --------------------------------------------------------------------------------------


def check_predictions(predictions: pd.DataFrame, labels: Sequence[str], file: Path) -> None:
    """Refuse predictions that are none, or cells that do not hold the same clips.

    Args:
        predictions: The predictions.
        labels: Labels of the run, in order.
        file: Where they were read.

    Raises:
        InputError: A column is missing, a distribution is none, or a cell lacks a clip or holds it twice.
    """
    shares = [f"{kind}_{label}" for kind in ("p", "votes", "target") for label in labels]
    check_columns(predictions, ["utterance_id", *OF_A_CLIP, *KEYS, "fitted_on", "status", *shares], file)
    _refuse_cell(predictions, predictions["utterance_id"].isna().to_numpy(), ["utterance_id"], "is empty", file)
    _check_shares(predictions, labels, "p", file, may_lack=True)
    check_same_clips(predictions, KEYS, file)


def check_human_side(predictions: pd.DataFrame, utterances: pd.DataFrame, labels: Sequence[str], file: Path) -> None:
    """Refuse predictions beside other votes or targets than the run's.

    Args:
        predictions: The predictions.
        utterances: The human side.
        labels: Labels of the run, in order.
        file: Where the predictions were read.

    Raises:
        InputError: An utterance is not the run's, or has another target or other votes.
    """
    import pandas as pd

    ids = predictions["utterance_id"].astype(object)
    place = pd.Index(utterances["utterance_id"].astype(object)).get_indexer(ids)
    _refuse_cell(predictions, place < 0, ["utterance_id"], "is not in the run's utterances", file)
    names = [f"{kind}_{label}" for kind in ("target", "votes") for label in labels]
    here, there = predictions[names].to_numpy(np.float64), utterances[names].to_numpy(np.float64)[place]
    _refuse_cell(predictions, ~(np.abs(here - there) <= 1e-9), names, f"is another than in {files.UTTERANCES}", file)


def check_rows(rows: Sequence[Mapping], predictions: pd.DataFrame, labels: Sequence[str], file: Path) -> None:
    """Refuse metric rows that were not computed from these predictions: every readout's row has a cell of its size and
    its mean divergence.

    Args:
        rows: `emoprobe.run.metric_rows.read_rows`.
        predictions: The predictions.
        labels: Labels of the run, in order.
        file: Where the predictions were read.

    Raises:
        InputError: A row has no cell, or one of other clips or another divergence.
    """
    cells = {each.cell: each for each in read_cells(predictions, labels)}
    uniform = np.full(len(labels), 1 / len(labels))
    for row in rows:
        if row["kind"] != "readout":
            continue
        cell = Cell.of(row)
        if cell not in cells:
            raise InputError(f"{files.METRICS} has a row for {cell}, which is not here", file=file, remedy=REMEDY)
        found, scored = cells[cell], cells[cell].scored
        # analysis.failures=uniform scores the clips without a distribution as uniform
        filled = row["num_utterances"] == len(scored) and row["num_failed"] > 0
        size = len(scored) if filled else int(scored.sum())
        if (row["num_utterances"], row["num_failed"]) != (size, len(scored) - int(scored.sum())):
            raise InputError(f"{files.METRICS} counts other clips for {cell}", file=file, remedy=REMEDY)
        used = np.ones_like(scored) if filled else scored
        pred = np.where(scored[:, None], found.pred, uniform)[used]
        stated = row["metrics"].get("js_divergence", math.nan)
        mean = float(js_divergence(pred, found.target[used])) if len(pred) else stated
        if len(pred) and not abs(mean - stated) < SHARES:
            raise InputError(
                f"{files.METRICS} states a JS divergence of {stated} for {cell} and these predictions have {mean:.6f}",
                file=file,
                remedy=REMEDY,
            )
