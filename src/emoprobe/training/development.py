"""How a reader does on the development clips, as one torchmetrics class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from emoprobe.metrics.functional import evaluate
from emoprobe.training.losses.base import Loss


class DevelopmentMetrics(Metric):
    """Metrics, those of categories unless named, and the mean loss, over all clips in their order.

    The clips of all batches and processes are put into one order before anything is summed up: the best epoch must
    depend neither on how they were cut nor on a last bit.

    Args:
        metrics: Their names.
        loss: One of a batch is computed of all clips, since a mean over batches would depend on how they are cut.
    """

    full_state_update = False
    clips: list[Tensor]
    log_probs: list[Tensor]
    target: list[Tensor]
    votes: list[Tensor]
    losses: list[Tensor]

    def __init__(self, metrics: Sequence[str] | None = None, loss: Loss | None = None) -> None:
        super().__init__()
        self._metrics = metrics
        self._loss = loss if loss is not None and loss.of_batch else None
        for name in ("clips", "log_probs", "target", "votes", "losses"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, clips: Tensor, log_probs: Tensor, target: Tensor, votes: Tensor, losses: Tensor) -> None:
        """Add a batch.

        Args:
            clips: Places of the clips among all, ``[batch]``.
            log_probs: Predicted log-probabilities, ``[batch, labels]``.
            target: Human probabilities, ``[batch, labels]``.
            votes: Vote counts, ``[batch, labels]``.
            losses: The loss of each clip, ``[batch]``.
        """
        self.clips.append(clips.to(self.device))  # an SFM gives its log-probabilities on the CPU, where no GPU gathers
        self.log_probs.append(log_probs.to(self.device, torch.float32))
        self.target.append(target.to(self.device))
        self.votes.append(votes.to(self.device))
        self.losses.append(losses.to(self.device, torch.float32))

    def compute(self) -> dict[str, Tensor]:
        """Values by name, float64 scalars on the CPU; ``clips`` is their number."""
        order = dim_zero_cat(self.clips).argsort()
        parts = (dim_zero_cat(state)[order].cpu() for state in (self.log_probs, self.target, self.votes, self.losses))
        log_probs, target, votes, losses = parts
        metrics = evaluate(log_probs.double().exp().numpy(), target.numpy(), votes.numpy(), metrics=self._metrics)
        values = {name: metrics[name] for name in metrics if not name.startswith("num_")}
        losses = losses if self._loss is None else self._loss.per_utterance(log_probs.double(), target, votes)
        values |= {"loss": losses.double().mean().item(), "clips": len(losses)}
        return {name: torch.tensor(float(value), dtype=torch.float64) for name, value in values.items()}
