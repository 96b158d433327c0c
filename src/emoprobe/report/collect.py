"""Find run folders, read them, and put together only what may be compared."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from emoprobe.errors import InputError
from emoprobe.report.found import Collection, Entry, Group, Problem, ReportedRun
from emoprobe.report.summaries import summarise
from emoprobe.report.sweeps import missing_jobs, read_overrides
from emoprobe.run.finding import find_runs
from emoprobe.run.folder import RunFolder
from emoprobe.run.job import reason_of


def collect(folders: Sequence[str | Path]) -> Collection:
    """Read every run folder in and below these folders.

    Args:
        folders: Run folders and folders that hold some at any depth.

    Returns:
        Groups of comparable runs; what is missing; what was left out, and why.

    Raises:
        InputError: A folder is not there, or none of them holds a run that can be read.
    """
    found = Collection()
    runs: dict[Path, RunFolder] = {}
    roots = [Path(folder).resolve() for folder in folders]
    for given, root in zip(folders, roots, strict=True):
        if not root.is_dir():
            raise InputError("there is no such folder", file=given, remedy="Give the output folder of a run or sweep.")
        there, closed = find_runs(root)
        runs |= {run.folder: run for run in there if run.folder not in runs}
        found.left_out += [Problem(folder, reason) for folder, reason in closed]
    base = _common(list(runs))
    read = []
    for folder, run in runs.items():
        if run.is_later_analysis and folder not in roots:
            if run.has_results:
                found.left_out.append(
                    Problem(folder, "a later analysis of the run above it; name this folder itself to report it")
                )
        elif run.unfinished is not None:
            reason = reason_of(folder) or run.unfinished
            found.missing.append(Problem(folder, reason, _overrides(folder, roots)))
        else:
            try:
                read.append(_read(run, base, roots))
            except InputError as error:
                # the folder is named beside it; a file elsewhere is named in the reason
                found.left_out.append(Problem(folder, error.what))
    found.missing += missing_jobs(roots, [run.folder for run in read], found)
    if not read:
        reasons = [f"{problem.folder}: {problem.reason}" for problem in (*found.left_out, *found.missing)]
        raise InputError(
            "no finished run was found" + (f"; {'; '.join(reasons[:3])}" if reasons else ""),
            file=", ".join(map(str, folders)),
            remedy="Give the output folders of finished runs, or folders that hold some.",
        )
    found.groups = make_groups(read)
    return found


def _common(places: Sequence[Path]) -> Path:
    """The folder that holds all runs; of a single run the one above it."""
    if not places:
        return Path("/")
    common = Path(os.path.commonpath(places))
    return common.parent if common in places else common


def _read(run: RunFolder, base: Path, roots: Sequence[Path]) -> ReportedRun:
    """Read one run, check it, and keep what a report needs.

    Raises:
        InputError: A file is missing or damaged, or they do not belong together.
    """
    _ = run.rows
    summary = summarise(run)
    run.release()
    return ReportedRun(run, os.path.relpath(run.folder, base), summary, _overrides(run.folder, roots))


def _overrides(place: Path, roots: Sequence[Path]) -> list[str]:
    """Overrides of the job, or of the command whose part it was, up to the folder that was given."""

    for folder in (place, *place.parents):
        if (folder / ".hydra" / "overrides.yaml").is_file():
            return read_overrides(folder)
        if folder in roots:
            break
    return []


# -- what may be compared ----------------------------------------------------------------------------------------------


def make_groups(runs: Sequence[ReportedRun]) -> list[Group]:
    """Put runs together that share label set, corpus, soft-label policy, split and evaluated utterances; parts of runs
    stand by themselves."""
    kept: dict[tuple, list[ReportedRun]] = {}
    for run in runs:
        kept.setdefault((*run.record.identity, run.summary.fingerprint, run.record.part), []).append(run)
    facts = [_facts(members) for members in kept.values()]
    varying = [name for name in facts[0] if len({fact[name] for fact in facts}) > 1]
    names = _unique([_name(members[0], fact, varying) for members, fact in zip(kept.values(), facts, strict=True)])
    groups = []
    for name, fact, members in zip(names, facts, kept.values(), strict=True):
        definitions, conflicts = _common_definitions(members)
        differs = [f"{what}: {fact[what]}" for what in varying]
        groups.append(Group(name, members, _entries(members), definitions, conflicts, differs))
    return groups


def _facts(members: Sequence[ReportedRun]) -> dict[str, str]:
    record, summary = members[0].record, members[0].summary
    return {
        "corpus": record.corpus.name,
        "label set": f"{record.labels.name} ({record.label_set_hash})",
        "soft-label policy": f"{record.soft_label_policy.name} ({record.soft_label_policy.hash})",
        "split": record.identity.split,
        "part": f"only {record.part}, not the whole run; emoprobe merge puts parts together" if record.part else "all",
        "evaluated utterances": f"{len(summary.utterances):,} (hash of ids and votes: {summary.fingerprint})",
    }


def _name(run: ReportedRun, fact: Mapping[str, str], varying: Sequence[str]) -> str:
    parts = [run.record.corpus.name]
    if "split" in varying:
        parts.append(fact["split"])
    if "label set" in varying:
        parts.append(run.record.labels.name)
    if run.record.part:
        parts.append(f"part{run.record.part.replace('/', 'of')}")
    return "-".join(parts)


def _unique(names: Sequence[str]) -> list[str]:
    counts: dict[str, int] = {}
    numbered = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        numbered.append(f"{name}-{counts[name]}" if names.count(name) > 1 else name)
    return numbered


def _common_definitions(members: Sequence[ReportedRun]) -> tuple[dict[str, Mapping], list[str]]:
    """Metrics in table order, without those that two runs define differently."""
    seen: dict[str, list[Mapping]] = {}
    for run in members:
        for name, definition in run.run.definitions.items():
            known = seen.setdefault(name, [])
            if definition not in known:
                known.append(definition)
    conflicts = [name for name, known in seen.items() if len(known) > 1]
    return {name: known[0] for name, known in seen.items() if len(known) == 1}, conflicts


def _entries(members: Sequence[ReportedRun]) -> list[Entry]:
    """Every readout of every run by itself; equal floors, references and ceilings of several runs once."""
    readouts = [Entry(row, (run,)) for run in members for row in run.run.rows if row["kind"] == "readout"]
    others: dict[str, tuple[Mapping, list[ReportedRun]]] = {}
    for run in members:
        for row in run.run.rows:
            if row["kind"] != "readout":
                # The policy's name may differ where its hash, beside it, does not.
                numbers = {name: value for name, value in row.items() if name != "soft_label_policy"}
                others.setdefault(json.dumps(numbers, sort_keys=True), (row, []))[1].append(run)
    return readouts + [Entry(row, tuple(having)) for row, having in others.values()]
