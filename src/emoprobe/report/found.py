"""What a report is made of: runs that were read, grouped into what may be compared, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emoprobe.labels import LabelSet
from emoprobe.report.summaries import Summary
from emoprobe.run.folder import RunFolder
from emoprobe.run.record import Record


@dataclass(frozen=True)
class ReportedRun:
    """A run that takes part in a report.

    Args:
        run: The run, without its large tables.
        name: Its path below what all given folders share.
        summary: What is kept of its predictions.
        overrides: What its command line, or its sweep job, changed.
    """

    run: RunFolder
    name: str
    summary: Summary
    overrides: Sequence[str]

    @property
    def folder(self) -> Path:
        """Its absolute path."""
        return self.run.folder

    @property
    def record(self) -> Record:
        """What was run."""
        return self.run.record


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
    runs: tuple[ReportedRun, ...]


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
    runs: Sequence[ReportedRun]
    entries: Sequence[Entry]
    definitions: Mapping[str, Mapping]
    conflicts: Sequence[str]
    differs: Sequence[str]

    @property
    def labels(self) -> LabelSet:
        """The label set of its runs."""
        return self.runs[0].record.labels


@dataclass
class Collection:
    """Everything found: what can be compared, what has no result, and what cannot be read."""

    groups: Sequence[Group] = ()
    missing: list[Problem] = field(default_factory=list)
    left_out: list[Problem] = field(default_factory=list)

    @property
    def runs(self) -> list[ReportedRun]:
        """All runs that were read."""
        return [run for group in self.groups for run in group.runs]
