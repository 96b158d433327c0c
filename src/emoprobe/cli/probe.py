"""``emoprobe probe``: what a model believes about every clip of a corpus."""

from __future__ import annotations

from collections.abc import Sequence

import hydra
from omegaconf import DictConfig

from emoprobe.cli.job import run_hydra, run_job
from emoprobe.system.places import conf_folder


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    return run_hydra("probe", job, arguments)


@hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="probe")
def job(config: DictConfig) -> None:
    """One run, alone or of a sweep."""
    from emoprobe.recipes.probe import run
    from emoprobe.recipes.settings import read_probe

    run_job("probe", lambda: run(read_probe(config)), config)
