"""Mirror a run's results into an experiment tracker; local files stay the source of truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emoprobe.analysis.derive import Analysis
from emoprobe.errors import InputError
from emoprobe.report.trackers import tracker_of
from emoprobe.run.cell import NO_PROMPT, Cell
from emoprobe.run.metric_rows import metrics_frame
from emoprobe.system.masking import masked

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def open_logger(node: Mapping, config: Mapping) -> Iterator[Any]:
    """The Lightning logger of a node, or None; closed whatever happens, so that multirun jobs never share a run.

    Args:
        node: What makes it.
        config: The configuration of the run, which it is told at once: a run that fails has one, too.
    """
    from emoprobe.settings import make

    if node.get("_target_") is None:
        yield None
        return
    try:
        options = {"group": _sweep()} if "group" in node and node["group"] is None and _sweep() else {}
        logger = make(node, "logger", **options)
    except ImportError as error:
        raise InputError(
            f"the logger cannot be loaded: {error}", field="logger", remedy="Install it, or use logger=none."
        ) from error
    tracker, failed = tracker_of(logger), True
    tracker.open()
    try:
        logger.log_hyperparams(masked(config))
        yield logger
        failed = False
    finally:
        tracker.close(failed)


@contextmanager
def failures_told(node: Mapping, config: Mapping) -> Iterator[None]:
    """What fails before there is a run to open a logger for, reaches a tracker as a failed run all the same."""
    try:
        yield
    except Exception:
        with open_logger(node, config):
            raise


def _sweep() -> str | None:
    """Name of the sweep that this run is a job of: its folder's last two parts, such as its date and time."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    return "/".join(Path(HydraConfig.get().sweep.dir).parts[-2:])


def begin_fit(logger: Any, run: str) -> None:
    """Tell a tracker that values of a further fit follow, whose names begin with ``run/``."""
    if logger is not None:
        tracker_of(logger).begin_fit(run)


def log_tables(logger: Any, tables: Mapping[str, pd.DataFrame], figures: Mapping[str, Path]) -> None:
    """Send tables and figures by name to a tracker that takes such."""
    if logger is None:
        return
    tracker = tracker_of(logger)
    for name, frame in tables.items():
        tracker.table(name, frame)
    for name, file in figures.items():
        tracker.figure(name, file)


def log_bundles(logger: Any, folders: Sequence[Path]) -> None:
    """Send what was trained to a tracker that keeps models and is told to, such as by W&B's ``log_model``."""
    if logger is not None:
        tracker_of(logger).bundles(folders)


def log_results(logger: Any, analysis: Analysis, figures: Sequence[Path]) -> None:
    """Send metrics, the result and prediction tables and the figures to a tracker.

    Rows of single layers are in the result table alone: a tracker's charts would drown in them.
    """
    from emoprobe.report.tables import split_layers

    if logger is None:
        return
    for row in split_layers(analysis.rows)[0]:
        _, *names = Cell.of(row)
        prefix = "/".join(name for name in names if name not in ("", NO_PROMPT))
        logger.log_metrics({f"{prefix}/{name}": value for name, value in row["metrics"].items()}, step=0)
    tables = {"results": metrics_frame(analysis.rows), "predictions": analysis.predictions}
    log_tables(logger, tables, {f"figures/{file.stem}": file for file in figures})


def log_study(logger: Any, frame: pd.DataFrame, figures: Sequence[Path]) -> None:
    """Send the table of a study to a tracker."""
    if logger is None:
        return
    for row in frame.to_dict("records"):
        headline = "ccc" if "ccc" in row else "js_divergence"
        logger.log_metrics({f"{row['name']}/{headline}": row[headline]}, step=0)
    log_tables(logger, {"comparison": frame}, {f"figures/{file.stem}": file for file in figures})
