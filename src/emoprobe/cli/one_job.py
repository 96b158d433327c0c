"""What surrounds one job of Hydra: it shows no secret, its processes are its own, and its end is written."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from emoprobe.cli.entry import foreseen, stopped_by
from emoprobe.errors import EmoprobeError, InputError
from emoprobe.run.job import Job, JobState
from emoprobe.settings import plain
from emoprobe.system import masking, stopping
from emoprobe.system.processes import beginning, own_processes


def value_of(folder: Path, config: DictConfig) -> float | None:
    """What a sweeper optimises of a finished job; None where it is told nothing.

    Args:
        folder: The run folder.
        config: The job's configuration.
    """
    from emoprobe.recipes.optimized import told  # pandas and pyarrow are not needed for a help

    return told(folder, config.optimize)


@contextmanager
def ending(job: Job) -> Iterator[None]:
    """Write how a job has ended that ends with an exception."""
    try:
        yield
    except BaseException as error:
        with suppress(EmoprobeError):  # a full disk must not hide what is wrong
            job.end("interrupted" if is_stop(error) or is_cut_off(error) else "failed", error=first_line(error))
        raise


def go_on(sweep: Path) -> str:
    """How a sweep that was stopped goes on."""
    return f"The same command with hydra.sweep.dir={sweep} goes on."


def is_stop(error: BaseException) -> bool:
    """Whether an exception is the answer to a signal."""
    return stopped_by(error) is not None or (isinstance(error, SystemExit) and bool(stopping.requested()))


def is_cut_off(error: BaseException) -> bool:
    """Whether submitit ends the process: its time is up or it is preempted, and Slurm may begin the job again."""
    exits = isinstance(error, SystemExit) and "SUBMITIT_EXECUTOR" in os.environ and not stopping.requested()
    return exits or type(error).__name__ == "UncompletedJobError"


def first_line(error: BaseException) -> str:
    """The first line of what is said of an exception, without secrets."""
    if isinstance(error, stopping.Stopped):
        return f"by {error.signal.name}"
    if is_cut_off(error):
        return "by submitit: it was preempted, or its time was up"
    said = foreseen(error) if isinstance(error, Exception) else None
    text = said[0].removeprefix("error: ") if said else f"{type(error).__name__}: {error}"
    return masking.scrub(next((line for line in text.splitlines() if line.strip()), text))


def overrides_of_job() -> tuple[str, ...]:
    """What the job was given, without secrets."""
    return tuple(map(masking.mask_override, given_overrides(HydraConfig.get())))


def settings_of(config: DictConfig) -> dict[str, Any]:
    """All that a job is told, as plain values without secrets; nothing of what cannot be resolved."""
    try:
        values = plain(config)
    except InputError:  # the recipe says what is wrong
        return {}
    return masking.masked({name: value for name, value in values.items() if name != "output_dir"})


@contextmanager
def one_job(verb: str, config: DictConfig) -> Iterator[Path]:
    """What surrounds a job; gives its folder.

    Raises:
        InputError: The run folder's name would show a secret.
    """
    hydra: Any = HydraConfig.get()  # a configuration; its type says the schema
    swept = hydra.mode == RunMode.MULTIRUN
    _hide_secrets(config, hydra, swept)
    own = sys.argv[1:]
    if swept:
        own = _own_arguments(hydra)
        with read_write(hydra), open_dict(hydra):
            hydra.run.dir = hydra.runtime.output_dir  # where Lightning tells the other processes to write
    with own_processes([*beginning(verb), *own]):
        yield Path(hydra.runtime.output_dir)


def _own_arguments(hydra: DictConfig) -> list[str]:
    """The command line of this job alone: Lightning repeats the present one for each further process."""
    given, _ = get_args_parser().parse_known_args(sys.argv[1:])  # a launcher's process may have a line of its own
    flags = {"--config-path": given.config_path, "--config-name": given.config_name, "--config-dir": given.config_dir}
    own = [part for flag, value in flags.items() if value is not None for part in (flag, value)]
    kept = ("hydra.mode=", "hydra.run.", "hydra.sweep.", "hydra.launcher", "hydra/launcher", "hydra/sweeper")
    own += [override for override in list(hydra.overrides.hydra) if not override.lstrip("+~").startswith(kept)]
    own += given_overrides(hydra)
    return [*own, "hydra.mode=RUN", f"hydra.job.num={hydra.job.num}", f"hydra.job.id={hydra.job.id}"]


def put_back(then: JobState, folder: Path) -> None:
    """Hydra has written this command's configuration beside the results of another one."""
    place = folder / ".hydra"
    if place.is_dir():
        OmegaConf.save(OmegaConf.create({**then.settings, "output_dir": str(folder)}), place / "config.yaml")
        OmegaConf.save(OmegaConf.create(list(then.overrides)), place / "overrides.yaml")


def has_secrets() -> bool:
    """Whether the job's overrides hold secrets."""
    return any(masking.mask_override(override) != override for override in given_overrides(HydraConfig.get()))


def given_overrides(hydra: Any) -> list[str]:
    """The overrides of a job as they were typed: ``${oc.env:NAME}`` may not be set, or be a secret."""
    typed: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)  # a list, as Hydra makes it
    return [str(override) for override in typed]


def _hide_secrets(config: DictConfig, hydra: DictConfig, swept: bool) -> None:
    """Mask secrets in what Hydra has written before the job began."""
    masking.learn_config(config)
    masking.learn_config(hydra.job.env_set)
    output = Path(hydra.runtime.output_dir)
    if hydra.output_subdir is not None:
        masking.mask_files(output / hydra.output_subdir)
    if swept:
        masking.mask_files(Path(hydra.sweep.dir))
    if masking.scrub(output.name) != output.name:
        raise InputError(
            "the run folder's name shows a secret",
            file=masking.scrub(str(output)),
            field="hydra.sweep.subdir",
            remedy="Name it otherwise, or exclude the key with hydra.job.config.override_dirname.exclude_keys=[KEY]; "
            "then delete this folder.",
        )
