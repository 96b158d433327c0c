"""Weights & Biases: learning curves with axes of their own, and a run that must be finished."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from emoprobe.errors import InputError
from emoprobe.report.trackers import TRACKERS, Tracker


@TRACKERS.register("WandbLogger")
class Wandb(Tracker):
    """Runs of Weights & Biases."""

    def open(self) -> None:
        """Begin with one line instead of its own ones: the run folder and the printed table hold what they tell."""
        import wandb

        os.environ.setdefault("WANDB_SILENT", "true")
        # Silent before a run is opened, whose options it would print a warning about; offline before it asks for a key.
        wandb.setup(wandb.Settings(mode="offline") if self.logger._offline else None)
        try:
            super().open()
        except wandb.Error as error:
            remedy = "Log in with wandb login, or use logger.offline=true and wandb sync later."
            raise InputError(f"W&B takes no run: {error}", field="logger", remedy=remedy) from error
        run = self.logger.experiment
        print(f"W&B      {run.url or run.dir}")

    def close(self, failed: bool) -> None:
        """Finish the run, which the logger leaves open for the process's next one."""
        self.logger._checkpoint_callbacks.clear()  # weak references, of trainers that may be gone: see `bundles`
        super().close(failed)
        self.logger.experiment.finish(exit_code=int(failed))

    def begin_fit(self, run: str) -> None:
        """Its curves are drawn over its own epochs."""
        self.logger.experiment.define_metric(f"{run}/*", step_metric=f"{run}/epoch")

    def bundles(self, folders: Sequence[Path]) -> None:
        """With ``log_model`` one artifact, named as Lightning names that of its checkpoints.

        Lightning would upload checkpoints when the run ends, and from them alone no head can be used; with ``all`` each
        is a version of the artifact while the fit goes on, and the bundles are the last.
        """
        if not self.logger._log_model:
            return
        from wandb import Artifact

        run = self.logger.experiment
        artifact = Artifact(self.logger._checkpoint_name or f"model-{run.id}", type="model")
        for folder in folders:
            artifact.add_dir(str(folder), name=folder.name)
        run.log_artifact(artifact, aliases=["latest", "best"])
