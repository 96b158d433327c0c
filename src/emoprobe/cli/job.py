"""The commands of Hydra: one job alone, or a sweep of them."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from emoprobe.cli.entry import exit_status, prepare_streams, run_or_exit
from emoprobe.cli.one_job import ending, has_secrets, one_job, overrides_of_job, put_back, settings_of, value_of
from emoprobe.cli.plugins import lost
from emoprobe.cli.swept import run_swept
from emoprobe.errors import EmoprobeError, InputError
from emoprobe.recipes.loaded import one_model
from emoprobe.run.job import begin_job, held, read_job
from emoprobe.run.settings import differences, of_job
from emoprobe.settings import opened, refusal
from emoprobe.system import masking
from emoprobe.system.masking import mask_logs, mask_tracebacks
from emoprobe.system.search_path import search_outside, with_folder
from emoprobe.system.stopping import is_main


def run_hydra(verb: str, main: Callable[[], object], arguments: Sequence[str]) -> int:
    """Call what ``hydra.main`` has made on the command line of a verb; returns the exit status, see `cli.entry`.

    Hydra's own refusals end in one line too: Hydra would print secrets in them.
    """
    prepare_process()
    given = sys.argv
    sys.argv = [given[0], *opened(arguments)]  # where Hydra reads them
    try:
        with one_model():
            return exit_status(_compose_and_run, verb, main, arguments)
    finally:
        sys.argv = given


def _compose_and_run(verb: str, main: Callable[[], object], arguments: Sequence[str]) -> None:
    try:
        try:
            main()
        except Exception as error:
            if (said := lost(error)) is None:
                raise
            raise said from error
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        composing = not isinstance(error, ValueError) or str(error).startswith("Config group override")
        if isinstance(error, InputError) or not composing:
            raise
        given = get_args_parser().parse_args(list(arguments))
        folder = given.config_dir
        raise refusal(
            error, given.overrides if folder is None else with_folder(given.overrides, Path(folder)), verb
        ) from error
    except OSError as error:
        if isinstance(error, BrokenPipeError) or run_job.__code__ in {
            frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)
        }:
            raise
        what = f"the output folder cannot be written: {error.strerror or error}"
        raise InputError(
            what,
            file=error.filename,
            field="hydra.run.dir",
            remedy="Choose another folder, hydra.sweep.dir of a sweep.",
        ) from error


def prepare_process() -> None:
    """What a process needs before it composes a configuration or runs a job, which a launcher may do in another one."""
    mask_logs()
    mask_tracebacks()
    prepare_streams()
    search_outside()
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises what it would otherwise print


def run_job(verb: str, run: Callable[[], Path], config: DictConfig) -> float | None:
    """Call a recipe as a job of a verb.

    A job alone ends as `emoprobe.cli.entry.run_or_exit` says, one of a sweep as `emoprobe.cli.swept.run_swept`.

    Returns:
        What a sweeper optimises, see `value_of`.
    """
    prepare_process()
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return run_swept(verb, run, config)
    value: list[float | None] = [None]

    def job() -> None:
        with one_job(verb, config) as folder:
            try:
                value[0] = _run_alone(verb, run, config, folder)
            except Exception as error:
                if isinstance(error, EmoprobeError) or not has_secrets():
                    raise
                sys.stderr.write(masking.scrub(traceback.format_exc()))  # Hydra would print the overrides with it
                sys.exit(1)

    run_or_exit(job)
    return value[0]


def _run_alone(verb: str, run: Callable[[], Path], config: DictConfig, folder: Path) -> float | None:
    if not is_main():
        run()
        return None
    with held(folder) as mine:
        if not mine:  # the recipe says who holds the folder
            run()
            return None
        then, settings = read_job(folder), settings_of(config)
        job = begin_job(folder, verb, settings, overrides=overrides_of_job())
        try:
            with ending(job):
                value = value_of(run(), config)
        except InputError:
            if then is not None and differences(of_job(then.verb, then.settings), of_job(verb, settings)):
                then.write(folder)  # the folder is that of another command, and was left as it is
                put_back(then, folder)
            raise
        job.end("done", value=value)
        return value
