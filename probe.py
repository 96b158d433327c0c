"""Zero-shot distributions of a speech foundation model: python probe.py --help."""

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="probe")
def main(config: DictConfig) -> None:
    from emoprobe.probing import main as probe

    probe(config)


if __name__ == "__main__":
    main()
