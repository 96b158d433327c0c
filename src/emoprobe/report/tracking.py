"""Mirror a run's results into an experiment tracker; local files stay the source of truth."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from emoprobe.analysis.derive import Analysis
from emoprobe.errors import InputError
from emoprobe.run.cell import NO_PROMPT
from emoprobe.system.masking import masked, masked_command

MAX_TABLE_ROWS = 10_000  # trackers choke on more; the whole table is in predictions.parquet


@contextmanager
def open_logger(config: DictConfig) -> Iterator[Any]:
    """The configured Lightning logger, or None; closed whatever happens, so that multirun jobs never share a run."""
    from hydra.utils import instantiate

    from emoprobe.settings import call

    if config.get("_target_") is None:
        yield None
        return
    try:
        os.environ.setdefault("WANDB_QUIET", "true")  # the run folder and the table above hold what it would print
        options = {"group": _sweep()} if "group" in config and config.group is None and _sweep() else {}
        logger = call(lambda: instantiate(config, _convert_="all", **options), "logger")
    except ImportError as error:
        raise InputError(
            f"the logger cannot be loaded: {error}", field="logger", remedy="Install it, or use logger=none."
        ) from error
    failed = True
    try:
        with masked_command():
            _ = logger.experiment  # W&B notes the command line when it starts
        yield logger
        failed = False
    finally:
        logger.finalize("failed" if failed else "success")
        if _is_wandb(logger):
            logger.experiment.finish(exit_code=int(failed))


def _sweep() -> str | None:
    """Name of the sweep that this run is a job of: its folder's last two parts, such as its date and time."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    return "/".join(Path(HydraConfig.get().sweep.dir).parts[-2:])


def log_epoch(logger: Any, run: str, row: dict[str, float], step: int) -> None:
    """Send a row of a learning curve to a tracker while training goes on.

    Args:
        logger: The tracker, or None.
        run: Which fit, for example ``fold0/member1``.
        row: Its metrics, with its ``epoch``.
        step: Steps of all fits so far, for trackers that have one axis.
    """
    if logger is None:
        return
    values = {f"{run}/{name}": value for name, value in row.items()}
    if _is_wandb(logger):
        logger.experiment.define_metric(f"{run}/*", step_metric=f"{run}/epoch")
        logger.experiment.log(values)
    else:
        logger.log_metrics(values, step=step)


def log_results(logger: Any, config: dict, analysis: Analysis, figures: Sequence[Path]) -> None:
    """Send configuration, metrics, the result and prediction tables and the figures to a tracker.

    Rows of single layers are in the result table alone: a tracker's charts would drown in them.
    """
    from emoprobe.report.tables import metrics_frame, split_layers

    if logger is None:
        return
    logger.log_hyperparams(masked(config))
    for row in split_layers(analysis.rows)[0]:
        parts = [row["prompt"], row["readout"], row["variant"], row["calibration"]]
        prefix = "/".join(part for part in parts if part not in ("", NO_PROMPT))
        logger.log_metrics({f"{prefix}/{name}": value for name, value in row["metrics"].items()}, step=0)
    if _is_wandb(logger):
        import wandb

        for name, frame in (("results", metrics_frame(analysis.rows)), ("predictions", analysis.predictions)):
            logger.experiment.log({name: _table(frame)})
        logger.experiment.log({f"figures/{file.stem}": wandb.Image(str(file)) for file in figures})


def log_judgement(logger: Any, folder: Path) -> None:
    """Send the tables and figures that `emoprobe.recipes.judge` has written to a tracker that takes such."""
    if logger is None or not _is_wandb(logger):
        return
    import wandb

    from emoprobe.recipes.judge import read_table

    for file in sorted(folder.glob("*.csv")):
        logger.experiment.log({f"judgement/{file.stem}": _table(read_table(file))})
    for file in sorted((folder / "figures").glob("*.png")):
        logger.experiment.log({f"judgement/figures/{file.stem}": wandb.Image(str(file))})


def _table(frame: Any) -> Any:
    """A data frame as a W&B table, no longer than a tracker can bear."""
    import wandb

    table = frame.head(MAX_TABLE_ROWS).astype(object)
    return wandb.Table(dataframe=table.where(table.notna(), None))


def log_comparison(logger: Any, config: dict, frame: Any, figures: Sequence[Path]) -> None:
    """Send a comparison of several readouts to a tracker."""
    if logger is None:
        return
    logger.log_hyperparams(masked(config))
    for row in frame.to_dict("records"):
        logger.log_metrics({f"{row['name']}/js_divergence": row["js_divergence"]}, step=0)
    if _is_wandb(logger):
        import wandb

        logger.experiment.log({"comparison": _table(frame)})
        logger.experiment.log({f"figures/{file.stem}": wandb.Image(str(file)) for file in figures})


def _is_wandb(logger: Any) -> bool:
    return type(logger).__name__ == "WandbLogger"
