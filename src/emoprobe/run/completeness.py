"""No clip is lost without a word: evaluated = scored + skipped in every cell of a run; a failure is a scored row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from emoprobe.errors import EmoprobeError, some
from emoprobe.run.scores import CLIP

if TYPE_CHECKING:
    import pyarrow as pa


KEYS = ("prompt", "readout", "input", "draw", "utterance_id")
"""Columns of a score table that say what is in it."""


class IncompleteRunError(EmoprobeError):
    """Some of what was to be evaluated was neither scored nor skipped."""


def check_complete(
    scores: pa.Table,
    evaluated: Sequence[str],
    skipped: Collection[str],
    cells: Iterable[tuple[str, str]],
    nulls: Iterable[tuple[str, int]] = (),
) -> int:
    """Check that every cell of a score table holds every utterance that was not skipped, and every null input.

    Args:
        scores: The score table, of which `KEYS` are enough.
        evaluated: Ids of the utterances that the run was to evaluate.
        skipped: Ids of those that are listed as skipped; others may be among them.
        cells: ``(prompt, readout)`` of everything that was asked.
        nulls: ``(kind, draw)`` of every null input that was to be scored in each cell.

    Returns:
        The number of utterances scored.

    Raises:
        IncompleteRunError: Something is missing, or is there and should not be; says what.
    """
    expected = set(evaluated) - set(skipped)
    wanted_nulls = set(nulls)
    found: dict[tuple[str, str], tuple[set, set]] = {(prompt, readout): (set(), set()) for prompt, readout in cells}
    own = {name: name for name in evaluated}  # a cell need not hold another copy of every name
    for batch in scores.select(KEYS).to_batches(max_chunksize=4096):
        columns = (batch[name].to_pylist() for name in KEYS)
        for prompt, readout, heard, draw, utterance in zip(*columns, strict=True):
            clips, silent = found.setdefault((prompt, readout), (set(), set()))
            if heard == CLIP:
                clips.add(own.get(utterance, utterance))
            else:
                silent.add((heard, draw))
    for (prompt, readout), (clips, silent) in found.items():
        where = f"readout {readout}" + (f", prompt {prompt}" if prompt.strip("-") else "")
        missing = [name for name in evaluated if name in expected and name not in clips]
        if missing:
            raise IncompleteRunError(
                f"{len(missing)} of {len(set(evaluated))} utterances were neither scored nor skipped ({where}): "
                f"{some(missing, 5)}. Run the same command again: it goes on with them."
            )
        if clips - expected:
            raise IncompleteRunError(
                f"{len(clips - expected)} utterances were scored that were skipped or not to be evaluated ({where}): "
                f"{some(sorted(clips - expected), 5)}. Choose another output folder: hydra.run.dir=FOLDER."
            )
        if silent and wanted_nulls - silent:
            raise IncompleteRunError(
                f"null inputs are missing ({where}): {some(sorted(map(str, wanted_nulls - silent)), 5)}. "
                "Run the same command again: it goes on with them."
            )
    return len(expected)
