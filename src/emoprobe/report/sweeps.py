"""Jobs of Hydra sweeps and parts of studies that have no result."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.report.found import Collection, Problem

SWEEP_FILE = "multirun.yaml"
BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


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
                missing[(folder,)] = Problem(folder, "a job without any result", read_overrides(folder))
    return list(missing.values())


def _of_sweep(folder: Path) -> list[Problem]:
    """Jobs that the sweep's command asks for and that have no folder."""
    from emoprobe.system.search_path import places_told

    command = _load(folder / SWEEP_FILE)
    try:
        overrides = [str(item) for item in command["hydra"]["overrides"]["task"]]
        sweeper = command["hydra"]["sweeper"]["_target_"]
        searched = places_told(command["hydra"]["runtime"]["config_sources"])
    except (KeyError, TypeError):
        return [Problem(folder, f"{SWEEP_FILE} cannot be read, so jobs that were never begun are not known")]
    if sweeper != BASIC_SWEEPER:
        return []
    try:
        jobs = expand(overrides, searched)
    except EmoprobeError as error:
        return [Problem(folder, f"the sweep's jobs cannot be listed, so some may be missing unnamed: {error}")]
    begun = [sorted(read_overrides(place.parent.parent)) for place in folder.rglob(".hydra/overrides.yaml")]
    return [Problem(folder, "a job of the sweep that was never begun", job) for job in jobs if sorted(job) not in begun]


def expand(overrides: Sequence[str], searched: Sequence[str] = ()) -> list[list[str]]:
    """The jobs of a sweep, as Hydra's basic sweeper makes them of a command line.

    Args:
        overrides: For example ``["seed=range(3)", "model=a,b"]``.
        searched: Places where configs were searched beside emoprobe's own: ``labels=glob(*)`` takes them too.

    Returns:
        Overrides of each job, in order.

    Raises:
        InputError: The overrides cannot be read, or such a place is gone.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    from emoprobe.system.search_path import make_loader

    try:
        parser = OverridesParser.create(config_loader=make_loader(searched))  # glob(*) asks it what there is
        choices = {}
        for override in parser.parse_overrides(list(overrides)):
            key = override.get_key_element()
            if override.is_sweep_override():
                choices[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
            else:
                choices[key] = [f"{key}={override.get_value_element_as_str()}"]
    except (HydraException, OSError) as error:
        raise InputError(f"the overrides of the sweep cannot be read: {' '.join(str(error).split())}") from error
    return [list(job) for job in itertools.product(*choices.values())]


def _parts_of_study(folder: Path) -> list[Path]:
    """Folders of the runs that a study makes; none for any other job."""
    config = _load(folder / ".hydra" / "config.yaml")
    plan = config.get("study") if isinstance(config, dict) else None
    if isinstance(plan, dict) and isinstance(plan.get("parts"), dict):
        return [folder / str(name) for name in plan["parts"]]
    if not isinstance(plan, dict) or not isinstance(plan.get("trained"), dict) or not plan.get("seeds"):
        return []
    seeds = [f"seed{seed}" for seed in plan["seeds"]]
    return [folder / "zero_shot", *(folder / str(name) / seed for name in plan["trained"] for seed in seeds)]


def read_overrides(folder: Path) -> list[str]:
    """Overrides of the job that wrote into a folder; none where they cannot be read."""
    found = _load(folder / ".hydra" / "overrides.yaml")
    return [str(item) for item in found] if isinstance(found, list) else []


def _load(file: Path) -> Any:
    """A YAML file as plain values, interpolations left as they are; None where it cannot be read."""
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
