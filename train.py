"""Train a head on a speech foundation model with soft labels: python train.py --help."""

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> None:
    from emoprobe.training.recipe import main as train

    train(config)


if __name__ == "__main__":
    main()
