"""One job of Hydra, alone or in a sweep: it shows no secret, and its processes are its own."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from emoprobe.cli.entry import exit_status, run_or_exit
from emoprobe.errors import EmoprobeError, InputError
from emoprobe.recipes.loaded import one_model
from emoprobe.settings import opened, refusal
from emoprobe.system import masking
from emoprobe.system.masking import mask_logs
from emoprobe.system.processes import beginning, own_processes
from emoprobe.system.search_path import search_outside, with_folder


def run_hydra(verb: str, main: Callable[[], object], arguments: Sequence[str]) -> int:
    """Call what ``hydra.main`` has made on the command line of a verb; returns the exit status, see `cli.entry`.

    Hydra's own refusals end in one line too: Hydra would print secrets in them.
    """
    mask_logs()
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises what it would otherwise print
    search_outside()
    given = sys.argv
    sys.argv = [given[0], *opened(arguments)]  # where Hydra reads them
    try:
        with one_model():
            return exit_status(_compose_and_run, verb, main, arguments)
    finally:
        sys.argv = given


def _compose_and_run(verb: str, main: Callable[[], object], arguments: Sequence[str]) -> None:
    try:
        main()
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        composing = not isinstance(error, ValueError) or str(error).startswith("Config group override")
        if isinstance(error, InputError) or not composing:
            raise
        given = get_args_parser().parse_args(list(arguments))
        folder = given.config_dir
        raise refusal(
            error, given.overrides if folder is None else with_folder(given.overrides, Path(folder)), verb
        ) from error


def run_job(verb: str, run: Callable[[], object], config: DictConfig) -> None:
    """Call a recipe as a job of a verb; see `emoprobe.cli.entry.run_or_exit` for how it ends."""

    def job() -> None:
        with one_job(verb, config):
            try:
                run()
            except Exception as error:
                if isinstance(error, EmoprobeError) or not _has_secrets():
                    raise
                sys.stderr.write(masking.scrub(traceback.format_exc()))  # Hydra would print the overrides with it
                sys.exit(1)

    run_or_exit(job)


@contextmanager
def one_job(verb: str, config: DictConfig) -> Iterator[None]:
    """What surrounds a job.

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
        yield


def _own_arguments(hydra: DictConfig) -> list[str]:
    """The command line of this job alone: Lightning repeats the present one for each further process."""
    given = get_args_parser().parse_args(sys.argv[1:])
    flags = {"--config-path": given.config_path, "--config-name": given.config_name, "--config-dir": given.config_dir}
    own = [part for flag, value in flags.items() if value is not None for part in (flag, value)]
    kept = ("hydra.mode=", "hydra.run.", "hydra.sweep.", "hydra.launcher", "hydra/launcher", "hydra/sweeper")
    own += [override for override in list(hydra.overrides.hydra) if not override.lstrip("+~").startswith(kept)]
    own += list(hydra.overrides.task)
    return [*own, "hydra.mode=RUN", f"hydra.job.num={hydra.job.num}", f"hydra.job.id={hydra.job.id}"]


def _has_secrets() -> bool:
    return any(masking.mask_override(override) != override for override in HydraConfig.get().overrides.task)


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
