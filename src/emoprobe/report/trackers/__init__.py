"""How a run's results reach a tracker: any Lightning logger takes them; one file per service that does more.

Another tracker is one config ``logger/NAME.yaml`` whose ``_target_`` is a Lightning logger. What is special to one goes
into one file here, or in a package of your own (see `emoprobe.registry`)::

    @TRACKERS.register("WandbLogger")  # the logger's class, or one that it is derived from
    class Wandb(Tracker): ...
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emoprobe.registry import Registry
from emoprobe.system.masking import masked_command

if TYPE_CHECKING:
    import pandas as pd

MAX_TABLE_ROWS = 10_000  # trackers choke on more; the whole table is in predictions.parquet


class Tracker:
    """The common form: metrics to every logger, tables and pictures to those with ``log_table`` and ``log_image``.

    Args:
        logger: A Lightning logger.
    """

    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def open(self) -> None:
        """Begin to write; services note the command line then."""
        with masked_command():
            _ = self.logger.experiment

    def close(self, failed: bool) -> None:
        """End the run, so that the next one of this process is one of its own."""
        self.logger.finalize("failed" if failed else "success")

    def begin_fit(self, run: str) -> None:
        """Values of a further fit follow, such as ``fold0/member1/dev/loss`` and ``fold0/member1/epoch``."""

    def table(self, name: str, frame: pd.DataFrame) -> None:
        """A data frame, no longer than a tracker can bear."""
        if hasattr(self.logger, "log_table"):
            table = frame.head(MAX_TABLE_ROWS).astype(object)
            self.logger.log_table(key=name, dataframe=table.where(table.notna(), None))

    def figure(self, name: str, file: Path) -> None:
        """A picture."""
        if hasattr(self.logger, "log_image"):
            self.logger.log_image(key=name, images=[str(file)])

    def bundles(self, folders: Sequence[Path]) -> None:
        """What was trained, a folder per fold; trackers that keep models take it."""


TRACKERS: Registry[type[Tracker]] = Registry("tracker", "emoprobe.report.trackers")


def tracker_of(logger: Any) -> Tracker:
    """A logger in the form that its class, or the nearest one above it, is registered with; else in the common one."""
    for cls in type(logger).__mro__:
        if cls.__name__ in TRACKERS:
            return TRACKERS[cls.__name__](logger)
    return Tracker(logger)
