"""Whether a score table adds up: cells against each other, and what single readouts say of their own columns."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from emoprobe.errors import InputError
from emoprobe.run import files
from emoprobe.run.cell import in_words
from emoprobe.run.integrity import check_same_clips, refuse
from emoprobe.run.lists import unlike_the_first
from emoprobe.run.scores import UNLIKE, WINDOW, WINDOWS, Contradiction, in_table_order
from emoprobe.run.sealing import ASKED, REMEDY

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

OF_A_CELL = ("model_revision", "dtype", "library_versions", "label_set_hash", "prompt_hash", "readout_options")
"""Columns of the score table that hold one value in a cell."""
LISTS_OF_A_CELL = ("form_labels", "forms")
"""Columns that hold one list in a cell; those of single readouts are checked by their files."""


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
    _check_windows(clips, file)
    whole = clips.filter(pc.equal(pc.fill_null(clips[WINDOW], 0), 0)) if WINDOW in clips.column_names else clips
    check_same_clips(whole.select(["utterance_id", *ASKED]).to_pandas(), ASKED, file)
    _check_one_sound(clips, file)
    names = scores.select(ASKED).group_by(list(ASKED), use_threads=False).aggregate([]).to_pylist()
    for key in names:
        mask = None
        for name in ASKED:
            same = pc.equal(scores[name], key[name])
            mask = same if mask is None else pc.and_(mask, same)
        _check_cell(scores.filter(mask).combine_chunks(), in_words(tuple(key.values())), file)


def _check_windows(clips: pa.Table, file: Path) -> None:
    """Refuse a clip that lacks a window in some cell."""
    if WINDOW not in clips.column_names:
        return
    frame = clips.select(["utterance_id", *ASKED, WINDOW, WINDOWS]).to_pandas().dropna(subset=[WINDOW])
    found = frame.groupby(["utterance_id", *ASKED], dropna=False)[[WINDOW, WINDOWS]].agg(["count", "min", "max"])
    count, last, many = found[WINDOW, "count"], found[WINDOW, "max"], found[WINDOWS, "max"]
    wrong = ~((count == many) & (last == many - 1) & (found[WINDOWS, "min"] == many))
    refuse([name for name, *_ in wrong.index[wrong]], "lacks some of its windows", file, WINDOW)


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
        _refuse_rows(rows, Contradiction(unlike_the_first(rows[column]), column, UNLIKE), name, file)
    for readout in in_table_order():
        if all(each.name in rows.column_names for each in readout.columns):
            for found in readout.contradictions(rows):
                _refuse_rows(rows, found, name, file)


def _refuse_rows(rows: pa.Table, found: Contradiction, cell: str, file: Path) -> None:
    wrong, column, what = found
    if wrong.any():
        first = rows.slice(int(wrong.argmax()), 1).select(["utterance_id", "input"]).to_pylist()[0]
        of = repr(first["utterance_id"]) if first["utterance_id"] else f"input {first['input']}"
        more = f", and {int(wrong.sum()) - 1} more rows" if wrong.sum() > 1 else ""
        raise InputError(f"{column} of {of} in the cell {cell} {what}{more}", file=file, field=column, remedy=REMEDY)
