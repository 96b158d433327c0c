"""The score cache: cells of score tables under names made of their content, shared by any runs (``cache.scores=DIR``).

A *cell* is one row of the score table: what one readout found of one sound after one prompt. Its key is the SHA-256 of
all that a number in it can depend on (`emoprobe.readout.scoring.cached`); what a run calls its clip, prompt and model
is not stored. Cells lie in Parquet files that appear whole, a folder per model, any number of processes writing beside
each other. A file bears the SHA-256 of its content; one that is not what was written is set aside and its cells are
computed anew.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from emoprobe.errors import InputError
from emoprobe.options import Place, options
from emoprobe.run.scores import table_of
from emoprobe.run.sealing import fingerprint
from emoprobe.system.digest import digest_of
from emoprobe.system.output import whole, write_json

CELL = "cell"  # the column of the keys
OF_THE_RUN = (
    *("utterance_id", "input", "draw", "audio_sha256", "duration_seconds", "truncated", "window", "windows"),
    *("model", "model_revision", "prompt", "library_versions"),
)
"""Columns of the score table that a cell does not keep: a run puts its own back."""
MODEL_FILE = "model.json"
DAMAGED = ".damaged"
ROWS = 512  # of a file, at least, unless the run ends before
OPEN_FILES = 8  # whose rows are kept in memory
CHECKSUM = b"sha256"


@options("cache")
class CacheOptions:
    """What is kept between runs.

    Args:
        scores: Folder of the score cache; None for no cache.
    """

    scores: Place | None = None


class ScoreCache:
    """The cells of one model.

    Args:
        root: Folder of the cache.
        model: All facts about the model that its scores depend on, JSON values; written beside its cells.
        called: What people call it, for those who look at the cache.

    Raises:
        InputError: The folder cannot be written.
    """

    def __init__(self, root: Path, model: Mapping[str, Any], called: Mapping[str, Any]) -> None:
        self.folder = root / digest_of(model)[:32]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"the score cache cannot be written: {error.strerror or error}",
                file=root,
                field="cache.scores",
                remedy="Choose another folder, or cache.scores=null.",
            ) from error
        if not (self.folder / MODEL_FILE).is_file():
            write_json({"called": called, "facts": model}, self.folder / MODEL_FILE)
        self.full = False
        self._waiting: dict[str, Mapping[str, Any]] = {}
        self._tables: dict[int, pa.Table] = {}
        self._read_index()

    def _read_index(self) -> None:
        """Keys of all cells, sorted by their first 8 bytes: 16 bytes a cell."""
        self._files: list[Path] = []
        starts, places = [], []
        for file in _files(self.folder):
            try:
                keys = pq.read_table(file, columns=[CELL])[CELL].to_pylist()
                starts.append(np.array([_start(key) for key in keys], np.uint64))
            except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
                set_aside(file, error)
                continue
            places.append(np.stack([np.full(len(keys), len(self._files)), np.arange(len(keys))], 1).astype(np.int32))
            self._files.append(file)
        self._starts = np.concatenate(starts) if starts else np.zeros(0, np.uint64)
        self._places = np.concatenate(places) if places else np.zeros((0, 2), np.int32)
        order = np.argsort(self._starts, kind="stable")
        self._starts, self._places = self._starts[order], self._places[order]

    def get(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Those of some cells that the cache holds, key -> columns."""
        found: dict[str, dict[str, Any]] = {}
        wanted: dict[int, list[int]] = {}
        for key in keys:
            if key in self._waiting:
                found[key] = dict(self._waiting[key])
                continue
            start = _start(key)
            at = int(np.searchsorted(self._starts, start))
            while at < len(self._starts) and self._starts[at] == start:
                number, row = self._places[at]
                wanted.setdefault(int(number), []).append(int(row))
                at += 1
        asked = set(keys)
        for number, rows in wanted.items():
            table = self._table(number)
            if table is None:
                continue
            for row in table.take(sorted(set(rows))).to_pylist():
                if (key := row.pop(CELL)) in asked:
                    found[key] = {name: value for name, value in row.items() if value is not None}
        return found

    def _table(self, number: int) -> pa.Table | None:
        """A file's rows, checked; None where it is damaged or gone."""
        if number not in self._tables:
            file = self._files[number]
            try:
                table = read_cells(file)
                with suppress(OSError):  # it may be another user's
                    os.utime(file)  # when it was last of use
            except InputError as error:
                set_aside(file, error)
                table = None
            except OSError:
                table = None  # somebody has pruned it
            if len(self._tables) >= OPEN_FILES:
                del self._tables[next(iter(self._tables))]
            self._tables[number] = table
        return self._tables[number]

    def put(self, cells: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep cells, key -> row of the score table; they are written when there are enough, or by `flush`."""
        for key, row in cells.items():
            kept = {name: value for name, value in row.items() if name not in OF_THE_RUN and value is not None}
            self._waiting[key] = kept
        if len(self._waiting) >= ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what waits; where there is no room for it the run goes on without keeping anything more."""
        cells, self._waiting = self._waiting, {}
        if not cells or self.full:
            return
        table = table_of(list(cells.values())).append_column(CELL, pa.array(list(cells), pa.string()))
        marked = dict(table.schema.metadata or {}) | {CHECKSUM: fingerprint(table)["sha256"].encode()}
        try:
            with whole(self.folder / f"{uuid.uuid4().hex}.parquet") as temporary:
                pq.write_table(table.replace_schema_metadata(marked), temporary, compression="zstd")
        except InputError as error:
            self.full = True
            print(f"note: the score cache takes nothing more: {error.what}; the run goes on without it")


def _files(folder: Path) -> list[Path]:
    """Files that are whole; what a killed writer has begun is thrown away after a day."""
    found = sorted(folder.glob("*.parquet"))
    begun = [file for file in found if file.name.startswith(".")]
    prune(unused_since(begun, days=1), dry_run=False)
    return [file for file in found if file not in begun]


def _start(key: str) -> int:
    return int(key[:16], 16)


def read_cells(file: Path) -> pa.Table:
    """The cells of a file of the cache.

    Raises:
        InputError: It is not what was written.
    """
    try:
        table = pq.read_table(file)
        stated = (table.schema.metadata or {}).get(CHECKSUM, b"none").decode()
    except (OSError, pa.ArrowException, ValueError) as error:
        if not file.exists():
            raise OSError(f"{file} is gone") from error
        raise InputError(f"it cannot be read: {' '.join(str(error).split())}", file=file) from error
    if CELL not in table.column_names or fingerprint(table)["sha256"] != stated:
        raise InputError("its content is not what was written", file=file)
    return table


def set_aside(file: Path, error: Exception) -> None:
    """Give a damaged file a name by which no run reads it, and say so."""
    what = error.what if isinstance(error, InputError) else f"it cannot be read: {' '.join(str(error).split())}"
    with suppress(OSError):
        os.replace(file, file.with_name(f"{file.name}{DAMAGED}"))
        print(f"note: a file of the score cache is set aside as {file}{DAMAGED}: {what}; its cells are scored anew")


# -- for those who look after it ---------------------------------------------------------------------------------------


@dataclass
class Kept:
    """What a cache holds of one model.

    Args:
        folder: Its folder.
        called: What people call it: model, revision, dtype, versions.
        files: Its files.
        damaged: Those that were set aside.
        cells: Prompt hash and readout -> cells.
    """

    folder: Path
    called: Mapping[str, Any]
    files: list[Path]
    damaged: list[Path]
    cells: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes, those set aside included."""
        return sum(file.stat().st_size for file in (*self.files, *self.damaged) if file.exists())

    @property
    def last_used(self) -> float:
        """Seconds since the epoch; 0 without a file."""
        return max((file.stat().st_mtime for file in self.files if file.exists()), default=0.0)


def kept_in(root: Path, *, count: bool = True) -> Iterator[Kept]:
    """What a cache holds, model by model.

    Args:
        root: Folder of the cache.
        count: Whether to count the cells, for which the files are opened.

    Raises:
        InputError: There is no cache.
    """
    models = sorted(root.glob(f"*/{MODEL_FILE}"))
    if not models:
        raise InputError("there is no score cache", file=root, remedy="Give the folder of cache.scores=DIR.")
    for model in models:
        try:
            called = dict(json.loads(model.read_text(encoding="utf-8"))["called"])
        except (OSError, ValueError, KeyError, TypeError):
            called = {}
        folder = model.parent
        files, damaged = _files(folder), sorted(folder.glob(f"*{DAMAGED}"))
        kept = Kept(folder, called, files, damaged)
        for file in files if count else ():
            with suppress(OSError, pa.ArrowException, KeyError):
                table = pq.read_table(file, columns=["prompt_hash", "readout"])
                for row in table.group_by(table.column_names).aggregate([([], "count_all")]).to_pylist():
                    cell = row["prompt_hash"], row["readout"]
                    kept.cells[cell] = kept.cells.get(cell, 0) + row["count_all"]
        yield kept


def verify(root: Path) -> tuple[int, list[Path]]:
    """Read every file of a cache and set damaged ones aside; returns how many are whole, and those that are not."""
    whole_ones, damaged = 0, []
    for kept in kept_in(root, count=False):
        for file in kept.files:
            try:
                read_cells(file)
                whole_ones += 1
            except InputError as error:
                set_aside(file, error)
                damaged.append(file)
    return whole_ones, damaged


def prune(files: Sequence[Path], *, dry_run: bool) -> int:
    """Delete files of a cache; returns their bytes."""
    size = 0
    for file in files:
        with suppress(FileNotFoundError):
            size += file.stat().st_size
            if not dry_run:
                file.unlink()
    return size


def unused_since(files: Sequence[Path], days: float) -> list[Path]:
    """Those that no run has read or written for so many days."""
    before = time.time() - days * 24 * 3600
    return [file for file in files if file.exists() and file.stat().st_mtime < before]
