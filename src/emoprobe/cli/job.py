"""One job of Hydra, alone or in a sweep: it shows no secret, and its processes are its own."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from emoprobe.cli.entry import run_or_exit
from emoprobe.errors import EmoprobeError, InputError
from emoprobe.system import masking
from emoprobe.system.processes import own_processes


def run_job(run: Callable[..., object], config: DictConfig, *arguments: object) -> None:
    """Call a recipe as a job of probe.py or train.py; see `emoprobe.cli.entry.run_or_exit` for how it ends."""

    def job() -> None:
        with one_job(config):
            try:
                run(config, *arguments)
            except Exception as error:
                if isinstance(error, EmoprobeError) or not _has_secrets():
                    raise
                sys.stderr.write(masking.scrub(traceback.format_exc()))  # Hydra would print the overrides with it
                sys.exit(1)

    run_or_exit(job)


@contextmanager
def one_job(config: DictConfig) -> Iterator[None]:
    """What surrounds a job of probe.py or train.py.

    Raises:
        InputError: The run folder's name would show a secret.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    swept = hydra.mode == RunMode.MULTIRUN
    _hide_secrets(config, hydra, swept)
    command = sys.argv
    if swept:
        command = [command[0], *_own_command(hydra)]
        with read_write(hydra), open_dict(hydra):
            hydra.run.dir = hydra.runtime.output_dir  # where Lightning tells the other processes to write
    with own_processes(command):
        yield


def _own_command(hydra: DictConfig) -> list[str]:
    """The command line of this job alone: Lightning repeats the present one for each further process."""
    from hydra._internal.utils import get_args_parser

    given = get_args_parser().parse_args(sys.argv[1:])
    flags = {"--config-path": given.config_path, "--config-name": given.config_name, "--config-dir": given.config_dir}
    own = [part for flag, value in flags.items() if value is not None for part in (flag, value)]
    kept = ("hydra.mode=", "hydra.run.", "hydra.sweep.", "hydra.launcher", "hydra/launcher", "hydra/sweeper")
    own += [override for override in list(hydra.overrides.hydra) if not override.lstrip("+~").startswith(kept)]
    own += list(hydra.overrides.task)
    return [*own, "hydra.mode=RUN", f"hydra.job.num={hydra.job.num}", f"hydra.job.id={hydra.job.id}"]


def _has_secrets() -> bool:
    from hydra.core.hydra_config import HydraConfig

    return any(masking.mask_override(override) != override for override in HydraConfig.get().overrides.task)


def _hide_secrets(config: DictConfig, hydra: DictConfig, swept: bool) -> None:
    """Mask secrets in what Hydra has written before the job began."""
    masking.learn(OmegaConf.to_container(config, resolve=False))
    masking.learn(OmegaConf.to_container(hydra.job.env_set, resolve=False))
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
