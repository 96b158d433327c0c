"""Weights & Biases: learning curves with axes of their own, and a run that must be finished."""

from __future__ import annotations

import os

from emoprobe.report.trackers import TRACKERS, Tracker


@TRACKERS.register("WandbLogger")
class Wandb(Tracker):
    """Runs of Weights & Biases."""

    def open(self) -> None:
        """Begin quietly: the run folder and the printed table hold what it would print."""
        os.environ.setdefault("WANDB_QUIET", "true")
        super().open()

    def close(self, failed: bool) -> None:
        """Finish the run, which the logger leaves open for the process's next one."""
        super().close(failed)
        self.logger.experiment.finish(exit_code=int(failed))

    def begin_fit(self, run: str) -> None:
        """Its curves are drawn over its own epochs."""
        self.logger.experiment.define_metric(f"{run}/*", step_metric=f"{run}/epoch")
