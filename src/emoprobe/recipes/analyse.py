"""Analyse a run's stored scores again, without its model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def analyse_again(folder: Path, overrides: Sequence[str], output: Path | None) -> Path:
    """Analyse a run's stored scores; writes into ``RUN_DIR/analysis`` unless told otherwise, and returns the folder."""
    from emoprobe.analysis.derive import analyse
    from emoprobe.recipes.inputs import make_options
    from emoprobe.report.results import print_results, write_results
    from emoprobe.run.folder import labels_of, read_run
    from emoprobe.run.scores import FILE_NAME
    from emoprobe.system.claim import claimed

    scores, utterances, record = read_run(folder)
    config = _as_it_ran(folder, overrides)
    analysis = analyse(scores, utterances, labels_of(record), make_options(config))
    target = output or folder / "analysis"
    with claimed(target, "analyse"):
        figures = write_results(target, analysis, record, figures=bool(config.analysis.figures))
    if not (folder / FILE_NAME).exists():
        evaluated = int((utterances["role"] == "evaluated").sum())
        done = analysis.predictions["utterance_id"].nunique()
        print(f"This run did not finish: {done} of {evaluated} utterances were scored.")
    print_results(analysis, record, target, figures)
    return target


def _as_it_ran(folder: Path, overrides: Sequence[str]):
    """The configuration of the run itself where its folder has it, with the overrides on top."""
    from omegaconf import OmegaConf, open_dict

    from emoprobe.settings import compose

    config = compose(overrides)
    file = folder / ".hydra" / "config.yaml"
    if file.is_file():
        saved = OmegaConf.load(file)
        keys = [item.split("=")[0].lstrip("+~") for item in overrides]
        if not any(key.split(".")[0] == "calibration" for key in keys):
            config.calibration = saved.calibration
        given = {key: OmegaConf.select(config, key) for key in keys if key.startswith("analysis.")}
        with open_dict(config.analysis):  # other packages' readouts have options of their own
            config.analysis.update(saved.analysis)
            for key, value in given.items():
                OmegaConf.update(config, key, value, merge=False)
    return config
