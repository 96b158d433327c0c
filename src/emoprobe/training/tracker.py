"""A logger as it is lent to one of Lightning's trainers, which ends what it is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import Logger


def lent(logger: Logger | None, fit: str = "", steps: int = 0) -> Logger | None:
    """The same logger, of the same class, that stays open when the trainer is done: results and other fits follow.

    Args:
        logger: The tracker, already open; None for none.
        fit: Name of one fit of several, such as ``fold0/member1``; its values become ``fold0/member1/dev/loss``.
        steps: Steps of all fits before this one, for trackers that have one axis.
    """
    if logger is None:
        return None

    service: Any = type(logger)

    class Lent(service):  # callbacks look for the logger of their service by its class
        def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
            named = {f"{fit}/{name}" if fit else name: value for name, value in metrics.items()}
            super().log_metrics(named, None if step is None else steps + step)

        def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
            """The settings of the run are logged once, at its end."""

        def finalize(self, status: str) -> None:
            self.save()

    Lent.__name__, Lent.__qualname__ = type(logger).__name__, type(logger).__qualname__
    same = object.__new__(Lent)
    same.__dict__ = logger.__dict__
    return same
