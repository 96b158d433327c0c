"""Jobs of Hydra sweeps and parts of studies that have no result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from emoprobe.report.found import Collection, Problem
from emoprobe.run.job import reason_of
from emoprobe.run.sweep import SWEEP_FILE, load_yaml, read_overrides, read_sweep


def missing_jobs(roots: Sequence[Path], finished: Sequence[Path], found: Collection) -> list[Problem]:
    """Sweep jobs and parts of studies in and below these folders that have neither a result nor a named problem.

    Args:
        roots: The folders that were given.
        finished: Folders of the runs that were read.
        found: What is already named.
    """
    named = {problem.folder for problem in (*found.missing, *found.left_out)}
    known = {*finished, *named}
    missing: dict[tuple, Problem] = {}
    for root in roots:
        for where, below, files in os.walk(root):
            folder = Path(where)
            job_here = ".hydra" in below
            below[:] = sorted(name for name in below if not name.startswith("."))
            if SWEEP_FILE in files:
                for problem in _of_sweep(folder):
                    missing[(folder, *problem.job)] = problem
            if not job_here:
                continue
            parts = _parts_of_study(folder)
            for part in parts:
                if part not in known and not any(place.is_relative_to(part) for place in known):
                    missing[(part,)] = Problem(part, "a part of the study that was not begun")
            if not parts and not any(place.is_relative_to(folder) for place in known):
                reason = reason_of(folder) or "a job without any result"
                missing[(folder,)] = Problem(folder, reason, read_overrides(folder))
    return list(missing.values())


def _of_sweep(folder: Path) -> list[Problem]:
    """Jobs that the sweep's command asks for and that have no folder."""
    sweep = read_sweep(folder)
    if sweep.reason:
        return [Problem(folder, sweep.reason)]
    never = (job for job in sweep.jobs() if job.folder is None)
    return [Problem(folder, "a job of the sweep that was never begun", list(job.overrides)) for job in never]


def _parts_of_study(folder: Path) -> list[Path]:
    """Folders of the runs that a study makes; none for any other job."""
    config = load_yaml(folder / ".hydra" / "config.yaml")
    plan = config.get("study") if isinstance(config, dict) else None
    if isinstance(plan, dict) and isinstance(plan.get("parts"), dict):
        return [folder / str(name) for name in plan["parts"]]
    if not isinstance(plan, dict) or not isinstance(plan.get("trained"), dict) or not plan.get("seeds"):
        return []
    seeds = [f"seed{seed}" for seed in plan["seeds"]]
    return [folder / "zero_shot", *(folder / str(name) / seed for name in plan["trained"] for seed in seeds)]
