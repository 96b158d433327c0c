"""What a report is made of: runs that were read, grouped into what may be compared, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emoprobe.report.cells import Predictions


UTTERANCES_FILE = "utterances.parquet"
ANALYSIS = "analysis"
"""Where `emoprobe.recipes.analyse` writes, within a run."""


@dataclass(frozen=True)
class Run:
    """One run folder, read.

    Args:
        folder: Its absolute path.
        name: Its path below what all given folders share.
        record: ``run.json``.
        definitions: Metric -> definition, unit, higher_is_better.
        rows: Rows of the metric table, numbers as floats: NaN where undefined.
        predictions: Its cells.
        overrides: What its command line, or its sweep job, changed.
        when: When ``metrics.json`` was written, ISO 8601.
    """

    folder: Path
    name: str
    record: Mapping[str, Any]
    definitions: Mapping[str, Mapping]
    rows: Sequence[Mapping]
    predictions: Predictions
    overrides: Sequence[str]
    when: str

    @property
    def utterances_file(self) -> Path | None:
        """``utterances.parquet``, its own or that of the run it analyses again."""
        places = (self.folder / UTTERANCES_FILE, self.folder.parent / UTTERANCES_FILE)
        return next((file for file in places[: 2 if self.folder.name == ANALYSIS else 1] if file.is_file()), None)


@dataclass(frozen=True)
class Problem:
    """A folder, or a job of a sweep, that has no result, or none that can be used.

    Args:
        folder: The folder; that of the sweep for a job without one.
        reason: What is wrong.
        job: The job's overrides, where they are known.
    """

    folder: Path
    reason: str
    job: Sequence[str] = ()


@dataclass(frozen=True)
class Entry:
    """A row of a group's leaderboard, and the runs that have it: several where they agree on a floor."""

    row: Mapping
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Group:
    """Runs whose numbers may be compared: same labels, corpus, soft labels, split and evaluated utterances.

    Args:
        name: Short name, unique within the report.
        runs: Its runs.
        entries: Readouts of all runs, then floors, references and ceilings.
        definitions: Metrics that all its runs define alike, in table order.
        conflicts: Metrics that they define differently, and so are left out.
        differs: In words, what sets it apart from the other groups.
    """

    name: str
    runs: Sequence[Run]
    entries: Sequence[Entry]
    definitions: Mapping[str, Mapping]
    conflicts: Sequence[str]
    differs: Sequence[str]


@dataclass
class Collection:
    """Everything found: what can be compared, what has no result, and what cannot be read."""

    groups: Sequence[Group] = ()
    missing: list[Problem] = field(default_factory=list)
    left_out: list[Problem] = field(default_factory=list)

    @property
    def runs(self) -> list[Run]:
        """All runs that were read."""
        return [run for group in self.groups for run in group.runs]
