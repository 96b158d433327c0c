"""Zero-shot distributions of a speech foundation model: python probe.py --help."""

import hydra
from omegaconf import DictConfig

from emoprobe.cli.entry import run_hydra
from emoprobe.system.masking import mask_logs


@hydra.main(version_base="1.3", config_path="conf", config_name="probe")
def main(config: DictConfig) -> None:
    from emoprobe.cli.job import run_job
    from emoprobe.recipes.probe import run

    run_job(run, config)


if __name__ == "__main__":
    mask_logs()
    run_hydra(main)
