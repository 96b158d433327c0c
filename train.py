"""Train a head on a speech foundation model with soft labels: python train.py --help."""

import hydra
from omegaconf import DictConfig

from emoprobe.cli.entry import run_hydra
from emoprobe.system.masking import mask_logs


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> None:
    from emoprobe.cli.job import run_job

    if config.compare is not None:
        from hydra.core.hydra_config import HydraConfig

        from emoprobe.recipes.study import run as compare

        run_job(compare, config, list(HydraConfig.get().overrides.task))
    else:
        from emoprobe.recipes.train import run as train

        run_job(train, config)


if __name__ == "__main__":
    mask_logs()
    run_hydra(main)
