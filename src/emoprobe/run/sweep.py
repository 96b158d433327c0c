"""The jobs of a sweep of Hydra: those that its command asks for, and what became of each."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.run.job import JOB_FILE, JobState, read_job

SWEEP_FILE = "multirun.yaml"
BESIDE = (
    *("logger", "num_workers", "batch_size", "eval_batch_size", "retry", "keep_going"),
    *("resume", "report", "cache", "table"),
)
"""Options by which no job is told from another."""
BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


@dataclass(frozen=True)
class SweepJob:
    """A job of a sweep.

    Args:
        number: Its number; None where it is not known.
        folder: Its folder; None of a job that never began.
        overrides: What its sweep gave it.
        state: What became of it; None where nothing is told.
    """

    number: int | None
    folder: Path | None
    overrides: tuple[str, ...]
    state: JobState | None

    @property
    def what(self) -> str:
        """``done``, ``running``, ``failed``, ``interrupted``, or ``missing``; ``refused`` if it is done and the last
        command did not take it for its own.
        """
        if self.state is None:
            return "missing"
        return "refused" if self.state.refused else self.state.state

    @property
    def why(self) -> str:
        """Why it has no result, or none of this sweep."""
        if self.state is None:
            return ""
        if self.state.state == "running":
            return self.state.where
        return self.state.error or "; ".join(self.state.refused)


@dataclass(frozen=True)
class Sweep:
    """A sweep, by its folder.

    Args:
        folder: The folder.
        fixed: Overrides that all its jobs have.
        asked: Overrides of each job that its last command asks for; None where an optimiser chooses them as it goes.
        reason: Why they are not known, where they should be.
    """

    folder: Path
    fixed: tuple[str, ...]
    asked: tuple[tuple[str, ...], ...] | None
    reason: str = ""

    def varied(self, overrides: Sequence[str]) -> list[str]:
        """Those overrides of a job that not all jobs have."""
        if self.asked is None:  # an optimiser writes values in its own way
            fixed = {key_of(override) for override in self.fixed}
            return [override for override in overrides if key_of(override) not in fixed]
        keys = {key_of(override) for job in self.asked for override in job if override not in self.fixed}
        return [override for override in overrides if key_of(override) in keys]

    def jobs(self) -> list[SweepJob]:
        """All its jobs in order, those that have never begun among them."""
        found = [_job_in(place) for place in job_folders(self.folder)]
        if self.asked is None:
            return sorted(found, key=_place)
        own = [next((job for job in found if same_job(job.overrides, overrides)), None) for overrides in self.asked]
        left = [job for job in found if not any(job is one for one in own)]
        for number, one in enumerate(own):
            own[number] = one or next((job for job in left if job.number == number), None)
        jobs = [
            SweepJob(number, None, overrides, None) if one is None else replace(one, number=number)
            for number, (one, overrides) in enumerate(zip(own, self.asked, strict=True))
        ]
        return jobs + sorted((job for job in left if not any(job is one for one in own)), key=_place)


def read_sweep(folder: Path) -> Sweep:
    """A sweep by its folder; of what no sweep has written, nothing is asked for."""
    command = load_yaml(folder / SWEEP_FILE)
    return sweep_of(folder, command.get("hydra") if isinstance(command, dict) else None)


def sweep_of(folder: Path, hydra: Any) -> Sweep:
    """A sweep by its command.

    Args:
        folder: Its folder.
        hydra: Hydra's own configuration of it, plain values.
    """
    from emoprobe.system.search_path import places_told

    try:
        overrides = [str(item) for item in hydra["overrides"]["task"]]
        params = [f"{key}={value}" for key, value in (hydra["sweeper"].get("params") or {}).items()]
        sweeper, searched = hydra["sweeper"]["_target_"], places_told(hydra["runtime"]["config_sources"])
    except (KeyError, TypeError, AttributeError):
        return Sweep(folder, (), None, f"{SWEEP_FILE} cannot be read, so jobs that were never begun are not known")
    if sweeper != BASIC_SWEEPER:
        last = {key_of(override): override for override in overrides}
        return Sweep(folder, tuple(override for override in last.values() if not _is_swept(override)), None)
    try:
        asked = tuple(tuple(job) for job in expand([*params, *overrides], searched))
    except EmoprobeError as error:
        reason = f"the sweep's jobs cannot be listed, so some may be missing unnamed: {error}"
        return Sweep(folder, tuple(overrides), None, reason)
    every = set(asked[0]).intersection(*asked) if len(asked) > 1 else set(overrides)
    return Sweep(folder, tuple(override for override in asked[0] if override in every), asked)


def key_of(override: str) -> str:
    """The option that an override gives."""
    return override.lstrip("+~").partition("=")[0]


def _is_swept(override: str) -> bool:
    """Whether a sweeper chooses the value of an option: ``seed=0,1``, ``fit.l2=interval(0,1)``."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(override).is_sweep_override()
    except HydraException:
        return False


def job_folders(sweep: Path) -> Iterator[Path]:
    """Folders of the jobs that have begun in a sweep's folder, whatever their names."""
    for where, below, files in os.walk(sweep):
        folder = Path(where)
        if folder != sweep and (".hydra" in below or JOB_FILE in files):
            below.clear()
            yield folder
        below[:] = sorted(name for name in below if not name.startswith("."))


def _job_in(folder: Path) -> SweepJob:
    state = read_job(folder)
    overrides = state.overrides if state is not None else tuple(read_overrides(folder))
    return SweepJob(state.number if state else None, folder, overrides, state)


def same_job(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether overrides ask for the same job, whatever they say of `BESIDE`."""
    mine, theirs = (
        {each.lstrip("+~") for each in some if key_of(each).partition(".")[0] not in BESIDE} for some in (one, other)
    )
    return mine == theirs


def _place(job: SweepJob) -> tuple:
    return (job.number is None, job.number or 0, str(job.folder))


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


def read_overrides(folder: Path) -> list[str]:
    """Overrides of the job that wrote into a folder; none where they cannot be read."""
    found = load_yaml(folder / ".hydra" / "overrides.yaml")
    return [str(item) for item in found] if isinstance(found, list) else []


def load_yaml(file: Path) -> Any:
    """A YAML file as plain values, interpolations left as they are; None where it cannot be read."""
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
