"""Training and development clips for Lightning, in an order that seed, epoch and batch alone decide."""

from __future__ import annotations

import lightning as L
from torch.utils.data import DataLoader

from emoprobe.training.batches import Clips, EpochBatches, OwnPart


class TrainingDataModule(L.LightningDataModule):
    """The clips that a reader is fitted on and those that choose its epoch.

    The batches are our own: Lightning's samplers draw from torch's global generator, and a fit that goes on in the
    middle of an epoch, or with another number of processes, would see other ones.

    Args:
        train: Fitted on these.
        development: Evaluated after every epoch.
        batch_size: Clips per step, over all processes.
        seed: Of the order.
        eval_batch_size: Clips evaluated at once.

    Attributes:
        done: Batches of the present epoch that are behind; a checkpoint holds it.
    """

    trainer: L.Trainer  # there before any hook is called

    def __init__(
        self, train: Clips, development: Clips, *, batch_size: int, seed: int, eval_batch_size: int = 1024
    ) -> None:
        super().__init__()
        self.train, self.development = train, development
        self.batch_size, self.seed, self.eval_batch_size = batch_size, seed, eval_batch_size
        self.done = 0

    def train_dataloader(self) -> DataLoader:
        """This process's part of every batch."""
        trainer = self.trainer

        def epoch() -> int:
            return 0 if getattr(trainer, "overfit_batches", 0) else trainer.current_epoch  # the same few batches

        size, rank, world = len(self.train), trainer.global_rank, trainer.world_size
        return self.train.loader(EpochBatches(size, self.batch_size, self.seed, epoch, rank, world, done=self.done))

    def val_dataloader(self) -> DataLoader:
        """This process's part of the development clips."""
        rank, world = self.trainer.global_rank, self.trainer.world_size
        return self.development.loader(OwnPart(len(self.development), self.eval_batch_size, rank, world))

    def state_dict(self) -> dict[str, int]:
        return {"done": self.done}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.done = state_dict["done"]
