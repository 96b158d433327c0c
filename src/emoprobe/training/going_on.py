"""A fit that is stopped at any moment goes on to the same numbers: checkpoints for that, and signals."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from emoprobe.data.datamodule import data_of
from emoprobe.errors import InputError
from emoprobe.system import stopping
from emoprobe.system.output import whole

LAST = "last.ckpt"


class WholeFiles(TorchCheckpointIO):
    """Checkpoints that appear whole or not at all: a full disk or a kill leaves the one before.

    Lightning's own are written under a temporary name too, but on whatever disk the system's temporary folder is on,
    and so copied into place.
    """

    def save_checkpoint(self, checkpoint: dict, path: str | Path, storage_options: object = None) -> None:
        """Write beside the old file, then put it in its place."""
        path = Path(path)
        beginning = path.with_name(f".{path.name}")
        super().save_checkpoint(checkpoint, beginning, storage_options)
        os.replace(beginning, path)


class GoingOn(Checkpoint):
    """Writes ``last.ckpt`` after a step or an epoch, at most every so many seconds; a signal ends the fit with one.

    ModelCheckpoint's ``save_last`` would save in the middle of an accumulation, whose gradients are in no checkpoint,
    or before an evaluation that is due, and Lightning's handlers of signals end the process with status 0, or requeue
    the job. Here all processes stop after the same batch, and what cannot be saved is done again.

    Args:
        folder: Of the checkpoints of this fit.
        seconds: Least time between two.

    Raises:
        Stopped: A signal asked for it.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.seconds, self.last = folder, seconds, time.monotonic()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        stopping.hold()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        done: float = batch_idx + 1
        data_of(trainer).done = batch_idx + 1
        steps, every = trainer.num_training_batches, trainer.val_check_batch
        if trainer.check_val_every_n_epoch is None:
            done += trainer.current_epoch * steps  # evaluations are counted over epochs
        evaluated = bool(every and done % every == 0)
        whole = (batch_idx + 1) % trainer.accumulate_grad_batches == 0 and batch_idx + 1 < steps and not evaluated
        self._end_of_batch(trainer, whole)

    def on_validation_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.world_size == 1:  # several may have different numbers of batches
            self._end_of_batch(trainer, whole=False)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        data_of(trainer).done = 0
        ended = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        self._end_of_batch(trainer, whole=not ended)

    def _end_of_batch(self, trainer: L.Trainer, whole: bool) -> None:
        """Save and stop as all processes agree.

        Args:
            trainer: The trainer.
            whole: Whether a checkpoint of this moment can be gone on from.
        """
        due = trainer.is_global_zero and time.monotonic() - self.last >= self.seconds
        signum = stopping.requested()
        if trainer.world_size > 1:
            asked = torch.tensor([signum, due], device=trainer.lightning_module.device)
            signum, due = trainer.strategy.reduce(asked, reduce_op="max").tolist()
        if whole and (signum or due):
            trainer.save_checkpoint(self.folder / LAST)
            self.last = time.monotonic()
        stopping.check(signum)

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict) -> None:
        """Let ModelCheckpoint find what it had saved where it lies now; it forgets the scores of another folder."""
        chosen = trainer.checkpoint_callback
        if not isinstance(chosen, ModelCheckpoint) or chosen.dirpath is None:
            return
        state, folder = checkpoint["callbacks"].get(chosen.state_key), chosen.dirpath
        if state is None:
            return

        def here(path: str) -> str:
            return str(Path(folder, Path(path).name)) if path else path

        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[name] = here(state[name])
        state["best_k_models"] = {here(path): score for path, score in state["best_k_models"].items()}
        state["dirpath"] = folder


def take_over(earlier: Path | None, folder: Path, identity: str) -> Path | None:
    """The checkpoint to go on from, with all that belongs to it in the folder of this fit; None for the beginning.

    Args:
        earlier: Folder of the checkpoints of an interrupted fit of the same reader.
        folder: Of this fit.
        identity: Of all that the numbers depend on.

    Raises:
        InputError: The checkpoint is damaged or of another fit.
    """
    if earlier is None or not (earlier / LAST).is_file():
        return None
    _check(earlier / LAST, identity)
    if stopping.is_main() and earlier.resolve() != folder.resolve():
        folder.mkdir(parents=True, exist_ok=True)
        # Its name is looked for: it comes when the others are there.
        for file in sorted(earlier.glob("*.ckpt"), key=lambda file: file.name == LAST):
            with whole(folder / file.name) as temporary:
                shutil.copy(file, temporary)
    return earlier / LAST


def _check(file: Path, identity: str) -> None:
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)["fit"]["identity"]
        what = None if found == identity else "this checkpoint is of another fit"
    except Exception as error:  # a damaged archive raises many kinds
        what = f"this checkpoint is damaged: {type(error).__name__}"
    if what is not None:
        raise InputError(what, file=file, remedy="Delete it and repeat the command: this fit then begins anew.")
