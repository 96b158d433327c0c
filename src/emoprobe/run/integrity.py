"""Whether a run folder still holds what the run wrote: the record's checksums, and sums that must come out.

A finished run's ``run.json`` seals its score table and its human side, ``metrics.json`` the predictions (rows, a
SHA-256 of every column's content and, of scores, the clips of every cell) and its own metric rows, which the report
reads. The content is hashed, not the file, so a copy that was compressed otherwise is the same. Whatever reads a run
checks the seal, and before it everything that can be told without one and names the row: targets against votes,
log-probabilities against their sums, cells against each other. Who wants to keep an edit takes the entry ``files`` out
of ``run.json`` and ``metrics.json``: the run is then one without a seal.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emoprobe.errors import InputError
from emoprobe.run.cell import KEYS
from emoprobe.run.sealing import (
    CELL,
    PREDICTIONS_FILE,
    REMEDY,
    SCORES_FILE,
    SEAL,
    UTTERANCES_FILE,
    compare_seal,
    in_words,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

RUN_FILE, METRICS_FILE, SKIPPED_FILE = "run.json", "metrics.json", "skipped.csv"
OF_A_CELL = ("model_revision", "dtype", "library_versions", "label_set_hash", "prompt_hash", "readout_options")
"""Columns of the score table that hold one value in a cell."""
LISTS_OF_A_CELL = ("form_labels", "forms", "kept_tokens")
SHARES = 1e-6
"""By how much shares may miss their sum, or a target its votes."""
NATS = 1e-4
"""By how much stored logarithms may miss their sum: they are float32, token by token."""


# -- the door ----------------------------------------------------------------------------------------------------------


def check(folder: Path, record: Mapping, scores: pa.Table, utterances: pd.DataFrame) -> None:
    """Refuse a run folder whose score table or human side are not what the run wrote.

    Without a seal (a run of an earlier version, or one that did not finish) a note says so, and what can be told
    without one is checked.

    Args:
        folder: Run folder.
        record: Its ``run.json``.
        scores: Its score table.
        utterances: Its ``utterances.parquet``.

    Raises:
        InputError: Something differs; the message names file, row and column.
    """
    import pyarrow.parquet as pq

    file = folder / SCORES_FILE
    check_utterances(utterances, record, folder / UTTERANCES_FILE)
    check_scores(scores, file)
    evaluated = set(utterances.loc[utterances["role"] == "evaluated", "utterance_id"])
    scored = set(scores["utterance_id"].to_pylist()) - {"", None}
    _refuse(sorted(scored - evaluated), "is scored and is no evaluated utterance", file, "utterance_id")
    if file.is_file():
        left = sorted(evaluated - scored - _skipped(folder / SKIPPED_FILE))
        _refuse(left, f"is evaluated, and neither scored nor in {SKIPPED_FILE}", file, "utterance_id")
    stated = {name: _sealed(record, name) for name in (SCORES_FILE, UTTERANCES_FILE)}
    if not any(stated.values()):
        _note(folder, file.is_file())
    for name, facts in stated.items():
        if facts and not (folder / name).is_file():
            raise InputError("a file that the run wrote is missing", file=folder / name, remedy=REMEDY)
        if facts:
            table = scores if name == SCORES_FILE else pq.read_table(folder / name)
            compare_seal(folder / name, facts, table)


def check_seal(folder: Path, scores: pa.Table) -> None:
    """Refuse a score table that is not the one that a finished run sealed.

    Args:
        folder: Run folder; one without a seal is taken as it is.
        scores: Its score table.

    Raises:
        InputError: It is another.
    """
    stated = _sealed(_read(folder / RUN_FILE), SCORES_FILE)
    if stated and (folder / SCORES_FILE).is_file():
        compare_seal(folder / SCORES_FILE, stated, scores)


def check_predictions(folder: Path, record: Mapping, predictions: pd.DataFrame) -> None:
    """Refuse predictions that are not those of their run, or a run whose human side is not what it wrote.

    Args:
        folder: Where ``predictions.parquet`` lies: a run folder, or that of an analysis inside one.
        record: The run's ``run.json``.
        predictions: They.

    Raises:
        InputError: Something differs; the message names file, row and column.
    """
    import pandas as pd
    import pyarrow.parquet as pq

    home = next((place for place in (folder, folder.parent) if (place / UTTERANCES_FILE).is_file()), None)
    file = folder / PREDICTIONS_FILE
    labels = [name.removeprefix("p_") for name in predictions.columns if name.startswith("p_")]
    needed = [f"{kind}_{label}" for kind in ("p", "votes", "target") for label in labels]
    _check_columns(predictions, ["utterance_id", "speaker", *KEYS, *needed], file)
    _check_shares(predictions, labels, "p", file, may_lack=True)
    _check_same_clips(predictions, KEYS, file)
    sealed = False
    if home is not None:
        human = home / UTTERANCES_FILE
        utterances = pd.read_parquet(human)
        check_utterances(utterances, record, human)
        _check_human_side(predictions, utterances, labels, file)
        stated = _sealed(record, UTTERANCES_FILE)
        if stated:
            sealed = True
            compare_seal(human, stated, pq.read_table(human))
    stated = _sealed(_read(folder / METRICS_FILE), PREDICTIONS_FILE)
    if stated:
        compare_seal(file, stated, pq.read_table(file))
    if not (sealed and stated):
        _note(folder, finished=True)


def _read(file: Path) -> object:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _sealed(record: object, name: str) -> Mapping | None:
    """What a record says about a file; None without a seal."""
    found = record.get(SEAL) if isinstance(record, Mapping) else None
    if not found:
        return None
    if not isinstance(found, Mapping) or not isinstance(found.get(name, {}), Mapping):
        raise InputError(f"the checksums of {name} cannot be read", field=SEAL, remedy=REMEDY)
    return found.get(name)


def _note(folder: Path, finished: bool) -> None:
    why = "an earlier version made it" if finished else "it did not finish"
    print(f"note: {folder} holds no checksums ({why}): only what its own sums can show was checked")


def _skipped(file: Path) -> set[str]:
    if not file.is_file():
        return set()
    with file.open(newline="", encoding="utf-8") as handle:
        return {row.get("utterance_id", "") for row in csv.DictReader(handle)}


def _check_columns(frame: pd.DataFrame, needed: Sequence[str], file: Path) -> None:
    """Refuse a table without a column of its run."""
    lacking = [name for name in needed if name not in frame.columns]
    if lacking:
        raise InputError(f"the table has no column {lacking[0]!r}", file=file, field=lacking[0], remedy=REMEDY)


def _refuse(names: Sequence[str], what: str, file: Path, field: str) -> None:
    if names:
        more = f", and {len(names) - 1} more" if len(names) > 1 else ""
        raise InputError(f"utterance {names[0]!r} {what}{more}", file=file, field=field, remedy=REMEDY)


# -- the human side ----------------------------------------------------------------------------------------------------


def check_utterances(utterances: pd.DataFrame, record: Mapping, file: Path) -> None:
    """Refuse votes and targets that contradict themselves or each other.

    Args:
        utterances: ``utterances.parquet``.
        record: ``run.json``, for the labels and the smoothing of the soft-label policy.
        file: Where they were read.

    Raises:
        InputError: An utterance stands twice, a vote is negative, shares do not sum to one, a target is not what the
            policy makes of the votes, or the votes are not the sum of the single raters'.
    """
    labels = record["labels"]["labels"]
    needed = [f"{kind}_{label}" for kind in ("votes", "target") for label in labels]
    _check_columns(utterances, ["utterance_id", "role", "speaker", "num_raters", *needed], file)
    ids = utterances["utterance_id"]
    twice = ids[ids.duplicated()].tolist()
    _refuse(twice, "stands twice", file, "utterance_id")
    names = [f"votes_{label}" for label in labels]
    votes = utterances[names].to_numpy(np.float64)
    _refuse_cell(ids, ~(np.isfinite(votes) & (votes >= 0)), names, "is no number of votes", file)
    _refuse_cell(ids, votes.sum(axis=1) <= 0, names, "has no vote", file)
    _check_shares(utterances, labels, "target", file)
    target = utterances[[f"target_{label}" for label in labels]].to_numpy(np.float64)
    smoothing = _smoothing(str((record.get("soft_label_policy") or {}).get("name", "")))
    made = (1 - smoothing) * votes / votes.sum(axis=1, keepdims=True) + smoothing / len(labels)
    allowed = SHARES if smoothing == 0 else 1e-5  # the policy's name has six digits
    what = "is not the share of its votes that the soft-label policy makes"
    _refuse_cell(ids, np.abs(target - made) > allowed, [f"target_{label}" for label in labels], what, file)
    if "rater_votes" in utterances:
        known = utterances["rater_votes"].notna().to_numpy()
        given = np.array([_sum_of_ballots(text, labels) for text in utterances["rater_votes"][known]])
        wrong = np.zeros_like(votes, dtype=bool)
        if known.any():
            wrong[known] = ~(np.abs(given - votes[known]) < 1e-6)
        _refuse_cell(ids, wrong, names, "is not the sum of the single raters' votes (rater_votes)", file)


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
    ids, off = frame["utterance_id"], np.abs(shares.sum(axis=1) - 1)
    _refuse_cell(ids, ~(shares >= 0), names, "is no share", file)
    _refuse_cell(ids, ~(off <= SHARES), names, "has shares that do not sum to 1", file)


def _refuse_cell(ids: pd.Series, wrong: np.ndarray, columns: Sequence[str], what: str, file: Path) -> None:
    """Refuse the first marked value of ``[rows, columns]``, or the first marked row of ``[rows]``."""
    if not wrong.any():
        return
    rows = wrong.any(axis=1) if wrong.ndim == 2 else wrong
    row = int(rows.argmax())
    column = columns[int(wrong[row].argmax())] if wrong.ndim == 2 else columns[0]
    what = (
        f"{column} of utterance {ids.iloc[row]!r} {what}" if wrong.ndim == 2 else f"utterance {ids.iloc[row]!r} {what}"
    )
    more = f", and {int(rows.sum()) - 1} more rows" if rows.sum() > 1 else ""
    raise InputError(what + more, file=file, row=row + 1, field=column, remedy=REMEDY)


def _check_human_side(predictions: pd.DataFrame, utterances: pd.DataFrame, labels: Sequence[str], file: Path) -> None:
    """Refuse predictions beside other votes or targets than the run's."""
    import pandas as pd

    ids = predictions["utterance_id"].astype(object)
    place = pd.Index(utterances["utterance_id"].astype(object)).get_indexer(ids)
    _refuse_cell(ids, place < 0, ["utterance_id"], "is not in the run's utterances", file)
    names = [f"{kind}_{label}" for kind in ("target", "votes") for label in labels]
    here, there = predictions[names].to_numpy(np.float64), utterances[names].to_numpy(np.float64)[place]
    _refuse_cell(ids, ~(np.abs(here - there) <= 1e-9), names, f"is another than in {UTTERANCES_FILE}", file)


# -- the score table ---------------------------------------------------------------------------------------------------


def _check_same_clips(frame: pd.DataFrame, keys: Sequence[str], file: Path) -> None:
    """Refuse cells that do not hold the same clips, each once."""
    import pandas as pd

    codes, ids = pd.factorize(frame["utterance_id"].astype(object))
    cells = frame.groupby(list(keys), observed=True, sort=False, dropna=False).indices
    for key, rows in cells.items():
        times = np.bincount(codes[rows], minlength=len(ids))
        for wrong, what in ((times == 0, "is missing"), (times > 1, "stands twice")):
            if wrong.any():
                what = f"{what} in the cell {in_words(key)}, unlike in others"
                _refuse(ids[wrong].tolist(), what, file, "utterance_id")


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
    _check_same_clips(clips.select(["utterance_id", *CELL]).to_pandas(), CELL, file)
    _check_one_sound(clips, file)
    names = scores.select(CELL).group_by(list(CELL), use_threads=False).aggregate([]).to_pylist()
    for key in names:
        mask = None
        for name in CELL:
            same = pc.equal(scores[name], key[name])
            mask = same if mask is None else pc.and_(mask, same)
        _check_cell(scores.filter(mask).combine_chunks(), in_words(tuple(key.values())), file)


def _check_one_sound(clips: pa.Table, file: Path) -> None:
    frame = clips.select(["utterance_id", "audio_sha256"]).to_pandas().dropna().drop_duplicates()
    twice = frame.loc[frame["utterance_id"].duplicated(), "utterance_id"].tolist()
    _refuse(twice, "has the checksums of two sounds", file, "audio_sha256")


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
