"""A logger's view of one fit of several, so that their values stay apart in one run of a tracker."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping

from lightning.pytorch.loggers import Logger


class OneFit(Logger):
    """Passes values on under a name of their own; the tracker stays open for the next fit.

    Args:
        logger: The tracker.
        name: Of the fit, such as ``fold0/member1``; its values become ``fold0/member1/dev/js_divergence``.
        steps: Steps of all fits before this one, for trackers that have one axis.
    """

    def __init__(self, logger: Logger, name: str, steps: int) -> None:
        super().__init__()
        self.logger, self.fit, self.steps = logger, name, steps

    @property
    def name(self) -> str | None:
        return self.logger.name

    @property
    def version(self) -> int | str | None:
        return self.logger.version

    @property
    def save_dir(self) -> str | None:
        return self.logger.save_dir

    @property
    def experiment(self) -> object:
        """The tracker's own object."""
        return self.logger.experiment

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        named = {f"{self.fit}/{name}": value for name, value in metrics.items()}
        self.logger.log_metrics(named, None if step is None else self.steps + step)

    def log_hyperparams(self, params: dict | Namespace, *args: object, **kwargs: object) -> None:
        """The settings of the run are logged once, at its end."""

    def save(self) -> None:
        self.logger.save()
