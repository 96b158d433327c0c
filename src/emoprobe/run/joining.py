"""The parts of a score table in one order, whoever wrote them: any number of processes, in one go or in many."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

ORDERED_BY = ("input", "readout", "duration_seconds", "utterance_id")
CLIP = "clip"


class Turn(NamedTuple):
    """When rows stand: null inputs, then clips, the longest first as they are scored, then what trained heads say.

    Args:
        kind: 0, 1 or 2 of these.
        seconds: Of the clip, negative.
        utterance_id: Its id.
    """

    kind: int
    seconds: float
    utterance_id: str


def in_turn(parts: Sequence[Path], readouts: Collection[str]) -> Iterator[pa.Table]:
    """Pieces of parts in their turn, rows of one turn as they were written.

    A part is opened when its first turn comes, and of those that are open only batches that overlap.

    Args:
        parts: Files, in the order of writing.
        readouts: Names of those that ask or hear a model; others are of trained heads.
    """
    turns = [_turns(pq.read_table(part, columns=list(ORDERED_BY)), readouts) for part in parts]
    waiting = sorted(((min(of), number) for number, of in enumerate(turns) if of), reverse=True)
    del turns
    ready: list[tuple[Turn, int, int, pa.Table]] = []
    while waiting or ready:
        while waiting and (not ready or waiting[-1][0] <= ready[0][0]):
            _, number = waiting.pop()
            for at, (turn, piece) in enumerate(_pieces(pq.read_table(parts[number]), readouts)):
                heapq.heappush(ready, (turn, number, at, piece))
        yield heapq.heappop(ready)[-1]


def _pieces(table: pa.Table, readouts: Collection[str]) -> Iterator[tuple[Turn, pa.Table]]:
    """Neighbouring rows of one turn together."""
    at = 0
    for turn, rows in groupby(_turns(table, readouts)):
        count = sum(1 for _ in rows)
        yield turn, table.slice(at, count)
        at += count


def _turns(table: pa.Table, readouts: Collection[str]) -> list[Turn]:
    columns = (table[name].to_pylist() for name in ORDERED_BY)
    return [
        Turn(0, 0.0, "") if heard != CLIP else Turn(1 if readout in readouts else 2, -(seconds or 0.0), utterance or "")
        for heard, readout, seconds, utterance in zip(*columns, strict=True)
    ]
