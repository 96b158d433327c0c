"""Launchers and sweepers of Hydra that are packages of their own: whether they are there and know what they need."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from shutil import which
from typing import Any

from omegaconf import DictConfig, OmegaConf

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.metrics.functional import METRICS

PLUGINS = "hydra_plugins"
EXTRAS = {
    "hydra_joblib_launcher": "joblib",
    "hydra_submitit_launcher": "submitit",
    "hydra_optuna_sweeper": "optuna",
    "hydra_ray_launcher": "ray",
}
"""Package of Hydra's -> the extra that installs it."""
LOST = ("UncompletedJobError", "TerminatedWorkerError", "WorkerCrashedError")
"""What submitit, joblib and Ray raise of a process that was killed."""
MINIMISED = {
    "direction": "minimize",
    "optim.maximize": False,
    "ax_config.experiment.minimize": True,
}
"""Where Optuna's, Nevergrad's and Ax's sweepers are told whether less is better, and what says that it is."""


def check_plugins(config: DictConfig) -> None:
    """Whether a sweep's launcher and sweeper are there, and one that optimises is told a metric and its direction.

    Args:
        config: The sweep's configuration, Hydra's own part included.

    Raises:
        InputError: One of them is not, or the direction is that of worse values.
    """
    hydra = config.hydra
    for part in ("launcher", "sweeper"):
        _check_installed(part, str(hydra[part].get("_target_")))
    if str(hydra.launcher._target_).endswith(".SlurmLauncher") and which("srun") is None:
        remedy = "Give the command on a machine of the cluster, or use hydra/launcher=submitit_local."
        raise InputError("there is no srun here, so no Slurm", field="hydra/launcher", remedy=remedy)
    sweeper: Any = OmegaConf.to_container(hydra.sweeper, resolve=False)
    said = {place: value for place in MINIMISED if (value := _at(sweeper, place)) is not None}
    for place, value in said.items():
        _check_direction(f"hydra.sweeper.{place}", getattr(value, "name", value), MINIMISED[place], config.optimize)


def lost(error: BaseException) -> EmoprobeError | None:
    """What is said of jobs that could not be submitted, of a process that has ended without a word, and of a search
    in which all has failed; None of all else.
    """
    if type(error).__name__ == "FailedJobError":  # of submitit; what a job itself raises, Hydra keeps
        said = " ".join(str(error).split())
        return EmoprobeError(f"the jobs could not be submitted: {said}")
    if str(error) == "No trials are completed yet.":  # of Optuna
        return EmoprobeError("no trial of the search has a value; emoprobe sweep status DIR says why")
    if type(error).__name__ not in LOST:
        return None
    return EmoprobeError(
        "a process of a job was killed, perhaps for its memory or time. What is finished is kept, other jobs may still "
        "run (emoprobe sweep status DIR); the same command with the same hydra.sweep.dir goes on."
    )


def _check_installed(part: str, target: str) -> None:
    packages = target.split(".")[:2]
    if packages[0] != PLUGINS:
        return
    try:
        there = find_spec(".".join(packages)) is not None
    except ImportError:
        there = False
    if not there:
        extra = EXTRAS.get(packages[-1])
        package = f"emoprobe[{extra}]" if extra else packages[-1].replace("_", "-")
        what = f"the package of this {part} is not installed"
        raise InputError(what, field=f"hydra/{part}", remedy=f'Install it: pip install "{package}".')


def _check_direction(place: str, value: Any, minimised: Any, metric: str | None) -> None:
    if metric is None:
        raise InputError(
            "the sweeper optimises, and is told nothing",
            field="optimize",
            remedy="Name a metric of the development clips, such as optimize=js_divergence.",
        )
    if isinstance(value, list):
        raise InputError("a job has one value", field=place, remedy=f"Give one direction: {place}=minimize.")
    less = metric not in METRICS or not METRICS[metric].higher_is_better
    if less != (value == minimised):
        right = {"minimize": "maximize", "maximize": "minimize"}.get(str(value), str(not value).lower())
        what = f"{'less' if less else 'more'} {metric} is better"
        raise InputError(f"{what}, and the sweeper is told otherwise", field=place, remedy=f"Use {place}={right}.")


def _at(node: Any, place: str) -> Any:
    for name in place.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return node
