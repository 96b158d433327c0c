"""Zero-shot distributions of a speech foundation model: python probe.py --help."""

import hydra
from omegaconf import DictConfig

from emoprobe.entry import prepare_streams, run_or_exit


@hydra.main(version_base="1.3", config_path="conf", config_name="probe")
def main(config: DictConfig) -> None:
    from emoprobe.probing import run

    run_or_exit(run, config)


if __name__ == "__main__":
    prepare_streams()
    main()
