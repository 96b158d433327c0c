"""Clips with their targets, and the order in which one or several processes see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler


class Clips(Dataset):
    """Utterances with their targets, and where a reader's inputs come from.

    Args:
        ids: Utterance ids.
        inputs: Ids -> what the reader is given beside ids, targets and votes.
        target: Soft labels ``[utterances, labels]``.
        votes: Vote counts ``[utterances, labels]``.
    """

    def __init__(
        self, ids: Sequence[str], inputs: Callable[[Sequence[str]], Mapping], target: Tensor, votes: Tensor
    ) -> None:
        self.ids, self.inputs, self.target, self.votes = list(ids), inputs, target, votes

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, place: tuple[int, float]) -> tuple[int, float]:
        return place

    def collate(self, places: Sequence[tuple[int, float]]) -> dict:
        """One batch, gathered at once; ``share`` is the weight of each clip in the step's loss."""
        indices = [index for index, _ in places]
        ids = [self.ids[i] for i in indices]
        return {
            **self.inputs(ids),
            "ids": ids,
            "indices": torch.tensor(indices),
            "target": self.target[indices],
            "votes": self.votes[indices],
            "share": torch.tensor([share for _, share in places]),
        }

    def loader(self, batches: Sampler, num_workers: int = 0) -> DataLoader:
        """Batches as a sampler cuts them."""
        return DataLoader(self, batch_sampler=batches, collate_fn=self.collate, num_workers=num_workers)

    def in_order(self, batch_size: int) -> Iterator[dict]:
        """All clips once, in their order."""
        for start in range(0, len(self), batch_size):
            yield self.collate([(i, 1.0) for i in range(start, min(start + batch_size, len(self)))])


class EpochBatches(Sampler):
    """The batches of an epoch; every process gets its part of each.

    The order depends on seed and epoch only. A part is filled up with clips of weight 0 where a batch does not divide,
    so that the processes' mean gradient is that of the whole batch.

    Args:
        size: Number of clips.
        batch_size: Clips per batch, over all processes.
        seed: Of the order.
        epoch: Says which epoch it is.
        rank: Number of this process.
        world: Number of processes.
        done: Batches of the first epoch that an interrupted fit has behind it.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int,
        epoch: Callable[[], int],
        rank: int = 0,
        world: int = 1,
        done: int = 0,
    ) -> None:
        self.size, self.batch_size, self.seed, self.epoch = size, batch_size, seed, epoch
        self.rank, self.world, self.done = rank, world, done

    def __len__(self) -> int:
        return -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, float]]]:
        generator = torch.Generator().manual_seed(seed_of(self.seed, self.epoch()))
        order = torch.randperm(self.size, generator=generator).tolist()
        done, self.done = self.done, 0
        for start in range(done * self.batch_size, self.size, self.batch_size):
            batch = order[start : start + self.batch_size]
            each = -(-len(batch) // self.world)
            own = batch[self.rank * each : (self.rank + 1) * each]
            filler = [(batch[0], 0.0)] * (each - len(own))
            yield [(index, self.world / len(batch)) for index in own] + filler


class OwnPart(Sampler):
    """Every ``world``-th clip in order, so that no clip is evaluated twice."""

    def __init__(self, size: int, batch_size: int, rank: int = 0, world: int = 1) -> None:
        self.indices, self.batch_size = range(rank, size, world), batch_size

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, float]]]:
        for start in range(0, len(self.indices), self.batch_size):
            yield [(index, 1.0) for index in self.indices[start : start + self.batch_size]]


def seed_of(*numbers: int) -> int:
    """A seed out of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
