"""Train a head on a speech foundation model with soft labels: python train.py --help."""

import hydra
from omegaconf import DictConfig

from emoprobe.entry import prepare_streams, run_or_exit


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> None:

    if config.compare is not None:
        from hydra.core.hydra_config import HydraConfig

        from emoprobe.training.compare import run as compare

        run_or_exit(compare, config, list(HydraConfig.get().overrides.task))
    else:
        from emoprobe.training.recipe import run as train

        run_or_exit(train, config)


if __name__ == "__main__":
    prepare_streams()
    main()
