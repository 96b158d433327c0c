"""Whether a score table adds up: cells against each other, log-probabilities against their sums."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emoprobe.errors import InputError
from emoprobe.run import files
from emoprobe.run.cell import in_words
from emoprobe.run.integrity import check_same_clips, refuse
from emoprobe.run.sealing import ASKED, REMEDY

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

OF_A_CELL = ("model_revision", "dtype", "library_versions", "label_set_hash", "prompt_hash", "readout_options")
"""Columns of the score table that hold one value in a cell."""
LISTS_OF_A_CELL = ("form_labels", "forms", "kept_tokens")
NATS = 1e-4
"""By how much stored logarithms may miss their sum: they are float32, token by token."""


def check_counts(scores: pa.Table, utterances: pd.DataFrame, skipped: Collection[str] | None, file: Path) -> None:
    """Refuse a score table of other utterances than the run's.

    Args:
        scores: The score table.
        utterances: The human side.
        skipped: Ids of what was left out; None of a run that goes on, where clips may still be missing.
        file: Where the score table was read.

    Raises:
        InputError: A clip was scored that was not to be evaluated, or is neither scored nor left out.
    """
    evaluated = set(utterances.loc[utterances["role"] == "evaluated", "utterance_id"])
    scored = set(scores["utterance_id"].to_pylist()) - {"", None}
    refuse(sorted(scored - evaluated), "is scored and is no evaluated utterance", file, "utterance_id")
    if skipped is not None:
        left = sorted(evaluated - scored - set(skipped))
        refuse(left, f"is evaluated, and neither scored nor in {files.SKIPPED}", file, "utterance_id")


def check_scores(scores: pa.Table, file: Path) -> None:
    """Refuse a score table that contradicts itself.

    Args:
        scores: `emoprobe.run.scores.read_scores`.
        file: Where it was read.

    Raises:
        InputError: Cells hold different clips; a cell is of two model revisions, precisions, library versions, label
            sets, prompts or options; a clip has two sounds; a log-probability is above 0; sums do not come out; the
            labels together have a probability above 1; or a list has a wrong length.
    """
    import pyarrow.compute as pc

    clips = scores.filter(pc.equal(scores["input"], "clip"))
    check_same_clips(clips.select(["utterance_id", *ASKED]).to_pandas(), ASKED, file)
    _check_one_sound(clips, file)
    names = scores.select(ASKED).group_by(list(ASKED), use_threads=False).aggregate([]).to_pylist()
    for key in names:
        mask = None
        for name in ASKED:
            same = pc.equal(scores[name], key[name])
            mask = same if mask is None else pc.and_(mask, same)
        _check_cell(scores.filter(mask).combine_chunks(), in_words(tuple(key.values())), file)


def _check_one_sound(clips: pa.Table, file: Path) -> None:
    frame = clips.select(["utterance_id", "audio_sha256"]).to_pandas().dropna().drop_duplicates()
    twice = frame.loc[frame["utterance_id"].duplicated(), "utterance_id"].tolist()
    refuse(twice, "has the checksums of two sounds", file, "audio_sha256")


def _check_cell(rows: pa.Table, name: str, file: Path) -> None:
    import pyarrow.compute as pc

    for column in OF_A_CELL:
        values = pc.unique(rows[column]).to_pylist()
        if len(values) > 1:
            shown = " and ".join(repr(value) for value in values[:2])
            raise InputError(f"the cell {name} is of several: {shown}", file=file, field=column, remedy=REMEDY)
    for column in LISTS_OF_A_CELL:
        unlike = ~_like_the_first(rows[column])
        _refuse_rows(rows, unlike, column, "differs from that of its first row", name, file)
    forms = _lengths(rows["forms"])
    _check_likelihoods(rows, forms, name, file)
    _check_layers(rows, forms, name, file)
    _check_logits(rows, name, file)


def _refuse_rows(rows: pa.Table, wrong: np.ndarray, column: str, what: str, cell: str, file: Path) -> None:
    if wrong.any():
        first = rows.slice(int(wrong.argmax()), 1).select(["utterance_id", "input"]).to_pylist()[0]
        of = repr(first["utterance_id"]) if first["utterance_id"] else f"input {first['input']}"
        more = f", and {int(wrong.sum()) - 1} more rows" if wrong.sum() > 1 else ""
        raise InputError(f"{column} of {of} in the cell {cell} {what}{more}", file=file, field=column, remedy=REMEDY)


def _lengths(column: pa.ChunkedArray) -> np.ndarray:
    """Length of each list, 0 where there is none, ``[rows]``."""
    import pyarrow.compute as pc

    return pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)


def _like_the_first(column: pa.ChunkedArray) -> np.ndarray:
    """Which lists equal the first, ``[rows]``; lists of texts or of numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    size = _lengths(column)
    alike = size == size[0]
    if alike.all() and size[0]:
        flat = pc.list_flatten(column)
        if pa.types.is_string(flat.type):
            flat = flat.combine_chunks().dictionary_encode()
            flat = (flat.combine_chunks() if isinstance(flat, pa.ChunkedArray) else flat).indices
        values = flat.to_numpy().reshape(-1, size[0])
        alike = (values == values[0]).all(axis=1)
    return alike


def _by_row(values: np.ndarray, size: np.ndarray, reduce: np.ufunc = np.add) -> np.ndarray:
    """Sum (or maximum) of every row's stretch of a flat array, 0 for empty ones, ``[rows]``."""
    result = np.zeros(len(size))
    filled = size > 0
    if filled.any():
        starts = np.concatenate([[0], np.cumsum(size)[:-1]])[filled]
        result[filled] = reduce.reduceat(values, starts)
    return result


def _log_mass(values: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Log-sum-exp of every row's stretch of a flat array of logarithms, minus infinity for empty ones, ``[rows]``."""
    with np.errstate(divide="ignore"):
        return np.log(_by_row(np.exp(np.minimum(values, 500.0)), size))


def _check_likelihoods(rows: pa.Table, forms: np.ndarray, name: str, file: Path) -> None:
    """Log-probabilities of the surface forms, token by token, summed, and all together."""
    import pyarrow.compute as pc

    size, column = _lengths(rows["form_logprobs"]), "form_logprobs"
    if not size.any():
        return
    _refuse_rows(rows, size != forms, column, "has not one value for each surface form", name, file)
    sums = pc.list_flatten(rows[column]).to_numpy().astype(np.float64)
    above = _by_row(~(sums <= NATS), size, np.maximum) > 0
    _refuse_rows(rows, above, column, "is no log-probability", name, file)
    mass, stated = _log_mass(sums, size), rows["log_label_mass"].to_numpy().astype(np.float64)
    told = ~np.isnan(stated)
    _refuse_rows(rows, told & ~(stated <= NATS), "log_label_mass", "is above a probability of 1", name, file)
    differs = told & ~((np.abs(mass - stated) <= NATS) | (mass == stated))
    _refuse_rows(rows, differs, "log_label_mass", "is not that of its form_logprobs", name, file)
    tokens = _lengths(rows["form_token_logprobs"])
    if not tokens.any():
        return
    column = "form_token_logprobs"
    _refuse_rows(rows, tokens != size, column, "has not one list for each surface form", name, file)
    lists = pc.list_flatten(rows[column])
    each, values = _lengths(lists), pc.list_flatten(lists).to_numpy().astype(np.float64)
    form_above = _by_row(~(values <= NATS), each, np.maximum)
    _refuse_rows(rows, _by_row(form_above, size, np.maximum) > 0, column, "holds no log-probability", name, file)
    made = _by_row(values, each)
    differs = ~((np.abs(made - sums) <= NATS * (1 + np.abs(sums) / 10)) | (made == sums))
    what = "is not the sum of its form_token_logprobs"
    _refuse_rows(rows, _by_row(differs, size, np.maximum) > 0, "form_logprobs", what, name, file)


def _check_layers(rows: pa.Table, forms: np.ndarray, name: str, file: Path) -> None:
    import pyarrow.compute as pc

    column = "layer_form_logprobs"
    size = _lengths(rows[column])
    if not size.any():
        return
    _refuse_rows(rows, (size != size[0]) | (size % np.maximum(forms, 1) != 0), column, "has a wrong length", name, file)
    values = pc.list_flatten(rows[column]).to_numpy().astype(np.float64)
    above = _by_row(~(values <= NATS), size, np.maximum) > 0
    _refuse_rows(rows, above, column, "holds no log-probability", name, file)
    mass = _log_mass(values, np.full(len(values) // forms[0], forms[0])).reshape(len(size), -1)
    _refuse_rows(rows, (mass > NATS).any(axis=1), column, "is above a probability of 1", name, file)


def _check_logits(rows: pa.Table, name: str, file: Path) -> None:
    import pyarrow.compute as pc

    column = "kept_logits"
    size, positions, kept = (_lengths(rows[x]) for x in (column, "log_normalizers", "kept_tokens"))
    if not (size.any() or positions.any()):
        return
    _refuse_rows(rows, size != positions * kept, column, "has not one value per position and token", name, file)
    logits, normalizers = (pc.list_flatten(rows[x]).to_numpy().astype(np.float64) for x in (column, "log_normalizers"))
    each = np.repeat(kept, positions)
    above = ~(logits <= np.repeat(normalizers, each) + 1e-3)
    _refuse_rows(rows, _by_row(above, size, np.maximum) > 0, column, "is above its log_normalizer", name, file)
