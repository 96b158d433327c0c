"""Find run folders, read them, and put together only what may be compared."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emoprobe.errors import InputError
from emoprobe.report.found import ANALYSIS, Collection, Entry, Group, Problem, Run
from emoprobe.report.sweeps import missing_jobs, read_overrides
from emoprobe.run.sealing import ROWS, SEAL, seal_rows

if TYPE_CHECKING:
    pass

RUN_FILE, METRICS_FILE, PREDICTIONS_FILE = "run.json", "metrics.json", "predictions.parquet"
SIGNS = (RUN_FILE, METRICS_FILE, PREDICTIONS_FILE, "scores.parquet", "scores_parts", "training.json")
NEVER_RUNS = ("figures", "scores_parts", "checkpoints", "wandb", "csv", "lightning_logs", "__pycache__")
NUMBERS = ("num_utterances", "num_failed", "mean_label_mass")


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
    places: dict[Path, None] = {}
    given = [Path(folder) for folder in folders]
    for folder in given:
        if not folder.is_dir():
            raise InputError("there is no such folder", file=folder, remedy="Give the output folder of a run or sweep.")
        for place in _walk(folder.resolve(), found):
            places[place] = None
    base = _common(list(places))
    roots = [folder.resolve() for folder in given]
    runs = []
    for place in places:
        if place.name == ANALYSIS and (place.parent / RUN_FILE).is_file() and place not in roots:
            if (place / METRICS_FILE).is_file():
                found.left_out.append(
                    Problem(place, "a later analysis of the run above it; name this folder itself to report it")
                )
            continue
        unfinished = _unfinished(place)
        if unfinished is None:
            try:
                runs.append(_read(place, base, roots))
            except InputError as error:
                # the folder is named beside it; a file elsewhere is named in the reason
                found.left_out.append(Problem(place, error.what))
        else:
            found.missing.append(Problem(place, unfinished, _overrides(place, roots)))
    found.missing += missing_jobs(roots, [run.folder for run in runs], found)
    if not runs:
        reasons = [f"{problem.folder}: {problem.reason}" for problem in (*found.left_out, *found.missing)]
        raise InputError(
            "no finished run was found" + (f"; {'; '.join(reasons[:3])}" if reasons else ""),
            file=", ".join(str(folder) for folder in given),
            remedy=f"Give folders that hold {RUN_FILE}, {METRICS_FILE} and {PREDICTIONS_FILE}.",
        )
    found.groups = make_groups(runs)
    return found


def _walk(root: Path, found: Collection) -> list[Path]:
    """Every folder with a sign of a run, in order of its path; folders that cannot be opened are named."""
    places = []

    def unreadable(error: OSError) -> None:
        found.left_out.append(Problem(Path(error.filename), f"cannot be opened: {error.strerror}"))

    for where, below, files in os.walk(root, onerror=unreadable):
        below[:] = sorted(
            name
            for name in below
            if not name.startswith(".") and name not in NEVER_RUNS and not name.startswith("head_fold")
        )
        if any(sign in files for sign in SIGNS) or os.path.isdir(os.path.join(where, "scores_parts")):
            places.append(Path(where))
    return places


def _common(places: Sequence[Path]) -> Path:
    """The folder that holds all runs; of a single run the one above it."""
    if not places:
        return Path("/")
    common = Path(os.path.commonpath(places))
    return common.parent if common in places else common


def _unfinished(place: Path) -> str | None:
    """Why a folder has no result; None if it claims to have one."""
    if (place / METRICS_FILE).exists():
        return None
    parts = list((place / "scores_parts").glob("part-*.parquet"))
    if parts:
        return f"interrupted: {len(parts)} finished batches, no metrics; the same command into the same folder goes on"
    if (place / "scores.parquet").exists():
        return f"scored but not analysed; emoprobe analyse {place} does it"
    if (place / "training.json").exists():
        return "training was interrupted: no metrics; the same command with ckpt=last goes on"
    return "begun: no scores, no metrics" if (place / RUN_FILE).exists() else None


def _read(place: Path, base: Path, roots: Sequence[Path]) -> Run:
    """Read one run folder.

    Raises:
        InputError: A file is missing or damaged, or they do not belong together.
    """
    import pandas as pd

    from emoprobe.report.cells import read_predictions
    from emoprobe.run import integrity

    found = _json(place / METRICS_FILE)
    stated = None if place.name == ANALYSIS else _json(place / RUN_FILE)
    try:
        record, definitions = found["run"], found["metrics"]
        rows = [_numbers(row) for row in found["rows"]]
        labels, identity = record["labels"]["labels"], identity_of(record)
        if stated is not None and identity_of(stated) != identity:
            raise InputError(f"{RUN_FILE} and {METRICS_FILE} are of different runs", file=place)
        for name, definition in definitions.items():
            bool(definition["higher_is_better"]), str(definition["definition"]), str(definition["unit"]), str(name)
        labels = [str(label) for label in labels]
        sealed = (found.get(SEAL) or {}).get(ROWS)
        if sealed and sealed != seal_rows(found["rows"]):
            raise InputError(f"{METRICS_FILE} was edited: its rows are not those that the run wrote", file=place)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        detail = f"{type(error).__name__}: {error}"
        raise InputError(f"{METRICS_FILE} is not one of emoprobe ({detail})", file=place) from error
    predictions = read_predictions(place / PREDICTIONS_FILE, labels, rows)
    integrity.check_predictions(place, record, pd.read_parquet(place / PREDICTIONS_FILE))
    when = datetime.fromtimestamp((place / METRICS_FILE).stat().st_mtime, UTC).isoformat(timespec="minutes")
    name = os.path.relpath(place, base)
    return Run(place, name, record, definitions, rows, predictions, _overrides(place, roots), when)


def identity_of(record: Mapping) -> tuple[str, ...]:
    """What must be equal for two runs to be ranked together, beside the utterances themselves."""
    labels, corpus, policy = record["labels"], record["corpus"], record["soft_label_policy"]
    return str(labels["hash"]), str(corpus["name"]), str(policy["hash"]), str(record.get("split"))


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        detail = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{file.name} cannot be read: {detail}", file=file) from error


def _numbers(row: Mapping) -> dict:
    """A row of ``metrics.json`` with floats where JSON has null and the texts inf and -inf."""
    names = ("kind", "model", "prompt", "readout", "variant", "calibration", "fitted_on")
    plain = {name: str(row[name]) for name in names}
    plain |= {"num_utterances": int(row["num_utterances"]), "num_failed": int(row["num_failed"])}
    mass = row.get("mean_label_mass")
    plain["mean_label_mass"] = None if mass is None else float(mass)
    plain["statuses"] = {str(name): int(count) for name, count in (row.get("statuses") or {}).items()}
    plain["metrics"] = {name: _float(value) for name, value in row["metrics"].items()}
    for name in ("shuffled", "share_of_range", "ceiling"):
        plain[name] = _values(row.get(name))
    plain["floors"] = {name: _values(of) for name, of in (row.get("floors") or {}).items()}
    for name in ("intervals", "range_intervals"):
        ends = {metric: tuple(map(_float, pair)) for metric, pair in (row.get(name) or {}).items() if pair is not None}
        plain[name] = {metric: pair for metric, pair in ends.items() if not any(map(math.isnan, pair))}
    plain["doubt"] = str(row.get("doubt") or "")
    plain["num_speakers"] = int(row.get("num_speakers") or 0)
    return plain


def _values(found: Mapping | None) -> dict[str, float]:
    return {metric: _float(value) for metric, value in (found or {}).items()}


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


def _overrides(place: Path, roots: Sequence[Path]) -> list[str]:
    """Overrides of the job, or of the command whose part it was, up to the folder that was given."""

    for folder in (place, *place.parents):
        if (folder / ".hydra" / "overrides.yaml").is_file():
            return read_overrides(folder)
        if folder in roots:
            break
    return []


# -- what may be compared ----------------------------------------------------------------------------------------------


def make_groups(runs: Sequence[Run]) -> list[Group]:
    """Put runs together that share label set, corpus, soft-label policy, split and evaluated utterances."""
    kept: dict[tuple, list[Run]] = {}
    for run in runs:
        kept.setdefault((*identity_of(run.record), run.predictions.fingerprint), []).append(run)
    facts = [_facts(members) for members in kept.values()]
    varying = [name for name in facts[0] if len({fact[name] for fact in facts}) > 1]
    names = _unique([_name(members[0], fact, varying) for members, fact in zip(kept.values(), facts, strict=True)])
    groups = []
    for name, fact, members in zip(names, facts, kept.values(), strict=True):
        definitions, conflicts = _common_definitions(members)
        differs = [f"{what}: {fact[what]}" for what in varying]
        groups.append(Group(name, members, _entries(members), definitions, conflicts, differs))
    return groups


def _facts(members: Sequence[Run]) -> dict[str, str]:
    record, predictions = members[0].record, members[0].predictions
    label_set, corpus, policy, split = identity_of(record)
    return {
        "corpus": corpus,
        "label set": f"{record['labels']['name']} ({label_set})",
        "soft-label policy": f"{record['soft_label_policy']['name']} ({policy})",
        "split": split,
        "evaluated utterances": f"{len(predictions.utterances):,} (hash of ids and votes: {predictions.fingerprint})",
    }


def _name(run: Run, fact: Mapping[str, str], varying: Sequence[str]) -> str:
    parts = [run.record["corpus"]["name"]]
    if "split" in varying:
        parts.append(fact["split"])
    if "label set" in varying:
        parts.append(run.record["labels"]["name"])
    return "-".join(parts)


def _unique(names: Sequence[str]) -> list[str]:
    counts: dict[str, int] = {}
    numbered = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        numbered.append(f"{name}-{counts[name]}" if names.count(name) > 1 else name)
    return numbered


def _common_definitions(members: Sequence[Run]) -> tuple[dict[str, Mapping], list[str]]:
    """Metrics in table order, without those that two runs define differently."""
    seen: dict[str, list[Mapping]] = {}
    for run in members:
        for name, definition in run.definitions.items():
            known = seen.setdefault(name, [])
            if definition not in known:
                known.append(definition)
    conflicts = [name for name, known in seen.items() if len(known) > 1]
    return {name: known[0] for name, known in seen.items() if len(known) == 1}, conflicts


def _entries(members: Sequence[Run]) -> list[Entry]:
    """Every readout of every run by itself; equal floors, references and ceilings of several runs once."""
    readouts = [Entry(row, (run,)) for run in members for row in run.rows if row["kind"] == "readout"]
    others: dict[str, tuple[Mapping, list[Run]]] = {}
    for run in members:
        for row in run.rows:
            if row["kind"] != "readout":
                others.setdefault(json.dumps(row, sort_keys=True), (row, []))[1].append(run)
    return readouts + [Entry(row, tuple(having)) for row, having in others.values()]
