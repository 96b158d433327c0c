"""The score table: the door between the wing that needs a model and the wing that needs none.

One row per utterance x prompt x readout, and one per null input x prompt x readout; of an utterance that was heard in
windows one row per window. Parquet, schema versioned. Each
finished batch is written to its own part file, so that a run that dies leaves a readable table; closing joins the parts
into one.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from emoprobe.data.utterance import Skipped
from emoprobe.errors import InputError
from emoprobe.registry import Registry
from emoprobe.run import files
from emoprobe.run.joining import in_turn
from emoprobe.run.sealing import INDEX
from emoprobe.system.output import whole, write_json

SCHEMA_VERSION = 5
READABLE = (3, 4, 5)
"""Versions that are read. A column that came later than its table says since when in its field's metadata; what is
made of it is then refused, and nothing else."""
SINCE = b"since"
ROWS_OF_A_GROUP, BYTES_OF_A_GROUP = 8192, 16 * 2**20
CLIP = "clip"
NULLS = ("silence", "noise", "no_audio")
"""What a row heard, its ``input``: an utterance, or a content-free input of one of these kinds."""

OF_EVERY_READOUT = pa.schema(
    [
        # What was heard. `input` is "clip" or the kind of null input; `draw` counts the draws of a random one.
        ("utterance_id", pa.string()),
        ("input", pa.string()),
        ("draw", pa.int32()),
        ("audio_sha256", pa.string()),
        ("duration_seconds", pa.float64()),
        ("truncated", pa.bool_()),
        # What was asked of whom.
        ("model", pa.string()),
        ("model_revision", pa.string()),
        ("dtype", pa.string()),
        ("prompt", pa.string()),
        ("prompt_hash", pa.string()),
        ("question_hash", pa.string()),
        ("label_set_hash", pa.string()),
        ("readout", pa.string()),
        ("readout_options", pa.string()),
        ("library_versions", pa.string()),
        # How the prompt wants its answer written, which is how its text is parsed: emoprobe.prompts.answers.FORMATS.
        ("answer_format", pa.string()),
        # What an instructed model wrote before it was asked for its answer, and whether it ended before its limit.
        ("reasoning", pa.string()),
        ("reasoning_finished", pa.bool_()),
        # The surface forms and their tokens; the last token of each form is the model's end token, and those before it
        # from form_own_tokens on are the template's text after the label.
        ("form_labels", pa.list_(pa.string())),
        ("forms", pa.list_(pa.string())),
        ("form_tokens", pa.list_(pa.list_(pa.int32()))),
        ("form_own_tokens", pa.list_(pa.int32())),
    ],
)
# Of models that do not hear: what they were told of the clip, in words. Of clips that were heard in windows: the number
# of the row's window, from 0 (of a trained head none: it has one row for all of them), and how many there are; of other
# rows of the same table nothing.
WINDOW, WINDOWS = "window", "windows"
OF_SOME_RUNS = pa.schema([("told", pa.string()), (WINDOW, pa.int32()), (WINDOWS, pa.int32())])
KEY = ("input", "draw", "utterance_id", "model", "prompt", "readout")


class Contradiction(NamedTuple):
    """Rows of a score table that cannot be right.

    Args:
        wrong: Which rows, boolean ``[rows]``; perhaps none.
        column: What is wrong in them.
        what: In words, behind the column's name.
    """

    wrong: np.ndarray
    column: str
    what: str


UNLIKE = "differs from that of its first row"


class StoresColumns(Protocol):
    """What the score table knows of a readout: its own columns, their place among others', what must hold in them; and
    whether they stand apart, in the tables of runs that read it alone.
    """

    columns: ClassVar[Sequence[pa.Field]]
    place: ClassVar[int]
    apart: ClassVar[bool]

    @classmethod
    def contradictions(cls, rows: pa.Table) -> Iterator[Contradiction]:
        """What may be wrong in the rows of one model, prompt and readout; later ones hold if those before do."""
        ...


STORED: Registry[type[StoresColumns]] = Registry("readout", "emoprobe.readout")


def in_table_order() -> list[type[StoresColumns]]:
    """The readouts in the order of their columns: emoprobe's own, then those of other packages."""
    return [STORED[name] for name in sorted(STORED, key=lambda name: _place(STORED[name], name))]


def _place(readout: type[StoresColumns], name: str) -> tuple[bool, int, str]:
    return not _is_own(readout), readout.place, name


@cache
def schema(extra: frozenset[str] = frozenset()) -> pa.Schema:
    """The columns of a score table.

    Those of emoprobe's own readouts are in every table, so that all runs have the same; those of a readout that
    stands apart or comes from another package, and `OF_SOME_RUNS`, are in the tables of runs that use them.

    Args:
        extra: Names of the latter that are wanted.
    """
    fields = {each.name: each for each in OF_EVERY_READOUT}
    for readout in in_table_order():
        for each in readout.columns:
            if fields.get(each.name, each) != each:
                raise ValueError(f"{readout.__name__} stores {each.name} as {each.type}, which is another column")
            if _is_own(readout) or each.name in extra:
                fields.setdefault(each.name, each)
    fields |= {each.name: each for each in OF_SOME_RUNS if each.name in extra}
    return pa.schema(list(fields.values()), metadata={b"emoprobe_schema_version": str(SCHEMA_VERSION).encode()})


def _names(version: int) -> list[str]:
    """The columns of a score table of a version, those of emoprobe's own readouts."""
    return [each.name for each in schema() if int((each.metadata or {}).get(SINCE, 0)) <= version]


def _is_own(readout: type[StoresColumns]) -> bool:
    return readout.__module__.startswith("emoprobe.") and not readout.apart


def _schema_of(names: Iterable[str]) -> pa.Schema:
    """The schema of a table that holds at least these columns, as far as there are readouts that store them."""
    return schema(frozenset(names) - frozenset(schema().names))


def table_of(rows: Sequence[Mapping]) -> pa.Table:
    """Rows as a score table.

    Raises:
        ValueError: They have columns that no readout stores.
    """
    names = set().union(*rows)
    columns = _schema_of(names)
    unknown = names - set(columns.names)
    if unknown:
        raise ValueError(f"not columns of the score table: {sorted(unknown)}")
    return pa.Table.from_pylist([dict(row) for row in rows], schema=columns)


@dataclass
class Outcome:
    """How far a process of a run is, beside the parts that it has written.

    Args:
        skipped: Clips whose sound was refused.
        clips: Clips scored.
        cached_cells: Rows that came out of the score cache, those of null inputs included.
        cached_clips: Clips all of whose rows did.
        seconds: Since it began.
        peak_memory_mib: Of the process.
        finished: Whether it has scored all that it was given.
        written: When it said so, seconds since the epoch.
    """

    skipped: list[Skipped] = field(default_factory=list)
    clips: int = 0
    cached_cells: int = 0
    cached_clips: int = 0
    seconds: float = 0.0
    peak_memory_mib: float = 0.0
    finished: bool = False
    written: float = 0.0


class ScoreWriter:
    """Writes batches of rows as they come; the process that leads the run uses it as a context manager.

    Args:
        folder: Run folder.
        rank: Number of this process among those that write into the folder; each has files of its own.
    """

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self.folder, self.rank = Path(folder), rank
        self.parts = self.folder / files.PARTS
        self._count = len(_part_files(self.folder))

    def write(self, rows: Sequence[Mapping]) -> None:
        """Write the rows of one finished batch; they are on disk, whole, when this returns."""
        if not rows:
            return
        table = table_of(rows)
        # In order of writing, and never the name of a part that another writer, even of this process, has made since.
        name = f"part-{self.rank:04d}-{self._count:06d}-{uuid.uuid4().hex[:8]}.parquet"
        with whole(self.parts / name) as temporary:
            pq.write_table(table, temporary)
        self._count += 1

    def tell(self, outcome: Outcome) -> None:
        """Say how far this process is."""
        outcome.written = time.time()
        write_json(asdict(outcome), self.parts / f"outcome-{self.rank:04d}.json")

    def close(self) -> Path:
        """Join the parts into one file and return its path; memory stays that of a few parts."""
        parts = _part_files(self.folder)
        target = write_scores(self.folder, column_names(parts), in_turn(parts, set(STORED)))
        shutil.rmtree(self.parts)
        return target

    def __enter__(self) -> ScoreWriter:
        try:
            self.parts.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"the output folder cannot be written: {error.strerror}",
                file=self.folder,
                remedy="Choose another with hydra.run.dir=FOLDER.",
            ) from error
        for told in self.parts.glob("outcome-*.json"):  # of a run that died here; its clips are asked about anew
            told.unlink()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After an error the parts stay as they are: `read_scores` reads them, and nothing computed is lost.
        if kind is None:
            self.close()


def column_names(tables: Iterable[Path]) -> list[str]:
    """All columns of some score tables, in the order of their first mention."""
    found: dict[str, None] = {}
    for file in tables:
        try:
            found |= dict.fromkeys(pq.read_schema(file).names)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(file, error) from error
    return list(found)


def write_scores(folder: Path, names: Iterable[str], tables: Iterable[pa.Table]) -> Path:
    """Write a score table piece by piece, memory staying that of one piece; returns the file.

    Args:
        folder: Run folder.
        names: Columns that the table is to have beside those of all.
        tables: The pieces; what a piece lacks is empty in it.
    """
    target = folder / files.SCORES
    columns = _schema_of(names)
    with whole(target) as temporary, pq.ParquetWriter(temporary, columns) as writer:
        for group in _row_groups(tables):
            pieces = [columns.empty_table(), *group]
            writer.write_table(pa.concat_tables(pieces, promote_options="default").select(columns.names).cast(columns))
    return target


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[list[pa.Table]]:
    """Tables together until they are worth a row group: what a file says of each group fills memory and time, too."""
    group: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        group.append(table)
        rows, size = rows + table.num_rows, size + table.nbytes
        if rows >= ROWS_OF_A_GROUP or size >= BYTES_OF_A_GROUP:
            yield group
            group, rows, size = [], 0, 0
    if group:
        yield group


def read_outcomes(folder: Path) -> dict[int, Outcome]:
    """What the processes of a run that goes on have said, by rank."""
    found = {}
    for file in sorted((folder / files.PARTS).glob("outcome-*.json")):
        values = json.loads(file.read_text(encoding="utf-8"))
        values["skipped"] = [Skipped(**row) for row in values["skipped"]]
        found[int(file.stem.rpartition("-")[2])] = Outcome(**values)
    return found


def _part_files(folder: Path) -> list[Path]:
    return sorted((folder / files.PARTS).glob("part-*.parquet"))


def count_parts(folder: Path) -> int:
    """Number of finished batches of a run that goes on."""
    return len(_part_files(folder))


def has_scores(folder: Path) -> bool:
    """Whether anything has been scored in a folder."""
    return (folder / files.SCORES).exists() or count_parts(folder) > 0


def reopen(folder: Path, table: pa.Table) -> None:
    """Make one part of a table, for its run to go on. At every moment the folder holds a whole table."""
    with whole(folder / files.SCORES) as temporary:
        pq.write_table(table, temporary)
    discard_parts(folder)
    (folder / files.PARTS).mkdir()
    (folder / files.SCORES).replace(folder / files.PARTS / "part-000000.parquet")


def discard_parts(folder: Path) -> None:
    """Throw away the finished batches of a run that begins anew."""
    shutil.rmtree(folder / files.PARTS, ignore_errors=True)


def read_scores(folder: str | Path, only: Collection[str] = ()) -> pa.Table:
    """The score table of a finished run, or of all finished batches of one that died.

    Args:
        folder: Run folder.
        only: Columns that are needed beside `KEY`; all by default.

    Raises:
        InputError: There is no score table, it is damaged, or it has another schema version.
    """
    folder = Path(folder)
    joined = folder / files.SCORES
    wanted = {*KEY, WINDOW, *only} if only else set()
    tables = [_read(file, wanted) for file in ([joined] if joined.exists() else _part_files(folder))]
    if not tables:
        raise InputError(
            "there is no score table here", file=folder, remedy=f"Give the folder of a run that holds {files.SCORES}."
        )
    table = pa.concat_tables(tables, promote_options="default")
    frame = table.select([*KEY, *({WINDOW} & set(table.column_names))]).to_pandas()
    if frame.duplicated().any():
        twice = frame[frame.duplicated()].iloc[0].to_dict()
        raise InputError(f"the score table holds a cell twice: {twice}", file=folder, remedy="Run the probe again.")
    return table


def _read(file: Path, wanted: Collection[str] = ()) -> pa.Table:
    try:
        stored = pq.read_schema(file)
        version = (stored.metadata or {}).get(b"emoprobe_schema_version", b"none").decode()
        # Other programs drop the version and choose other types (large lists, float64) for the same columns.
        kept = [name for name in stored.names if name != INDEX]
        own = [_names(number) for number in READABLE if version in (str(number), "none")]
        if not any(kept[: len(names)] == names for names in own):
            raise InputError(
                f"this score table has schema version {version} and this emoprobe reads "
                f"{READABLE[0]} to {READABLE[-1]}",
                file=file,
                remedy="Run the probe again, or use the emoprobe version that wrote it.",
            )
        # What stores a column further on may not be installed: it is kept as it is.
        known = _schema_of(kept)
        read = [name for name in kept if not wanted or name in wanted]
        columns = [known.field(name) if name in known.names else stored.field(name) for name in read]
        return pq.read_table(file, columns=read).select(read).cast(pa.schema(columns, metadata=known.metadata))
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> InputError:
    what = f"this is not a readable Parquet file: {' '.join(str(error).split())}"
    return InputError(what, file=file, remedy="Run the probe again.")
