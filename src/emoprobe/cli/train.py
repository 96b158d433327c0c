"""``emoprobe train``: a head on the frozen model, or adapters in it, with soft labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from emoprobe.cli.job import run_hydra, run_job
from emoprobe.cli.one_job import given_overrides
from emoprobe.system.places import conf_folder
from emoprobe.system.search_path import searched_by_job


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    return run_hydra("train", job, arguments)


@hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="train")
def job(config: DictConfig) -> float | None:
    """One run or one study, alone or of a sweep."""
    from emoprobe.recipes.settings import read_train

    def run() -> Path:
        settings = read_train(config)
        if settings.study is None:
            from emoprobe.recipes import train

            return train.run(settings)
        from emoprobe.recipes import study

        return study.run(settings, [*searched_by_job(), *given_overrides(HydraConfig.get())])

    return run_job("train", run, config)
