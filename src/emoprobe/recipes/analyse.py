"""Analyse a run's stored scores again, without its model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from emoprobe.errors import InputError
from emoprobe.options import valid
from emoprobe.run import files

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from emoprobe.run.folder import RunFolder


def analyse_again(folder: Path, overrides: Sequence[str], output: Path | None) -> Path:
    """Analyse a run's stored scores; writes into ``RUN_DIR/analysis`` unless told otherwise, and returns the folder."""
    from emoprobe.analysis.derive import analyse
    from emoprobe.recipes.settings import read_analysis
    from emoprobe.report.results import print_results, write_results
    from emoprobe.run.folder import open_folder
    from emoprobe.system.claim import claimed

    run = open_folder(folder)
    scores, utterances, record = run.table, run.utterances, run.record
    config = as_it_ran(run, overrides)
    options, table = read_analysis(config), valid(Literal["short", "full"], config.table, "table")
    try:
        analysis = analyse(scores, utterances, run.labels, options)
    except InputError as error:
        raise error.of_file(run.home / files.SCORES) from error.__cause__
    target = output or folder / "analysis"
    with claimed(target, "analyse", "--output"):
        figures = write_results(target, analysis, record, figures=options.figures)
    if not run.is_scored:
        evaluated = int((utterances["role"] == "evaluated").sum())
        done = analysis.predictions["utterance_id"].nunique()
        print(f"This run did not finish: {done} of {evaluated} utterances were scored.")
    print_results(analysis, record, target, figures, table)
    return target


def as_it_ran(run: RunFolder, overrides: Sequence[str]) -> DictConfig:
    """The configuration of the run itself where its folder has it, with the overrides on top."""
    from omegaconf import OmegaConf, open_dict

    from emoprobe.settings import compose

    config, saved = compose(overrides), run.config
    if saved is not None:
        keys = [item.split("=")[0].lstrip("+~") for item in overrides]
        if not any(key.split(".")[0] == "calibration" for key in keys):
            config.calibration = saved.calibration
        given = {key: OmegaConf.select(config, key) for key in keys if key.startswith("analysis.")}
        with open_dict(config.analysis):  # other packages' readouts have options of their own
            config.analysis.update(saved.analysis)
            for key, value in given.items():
                OmegaConf.update(config, key, value, merge=False)
    return config
