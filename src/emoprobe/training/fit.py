"""Fit a head on frozen features with Lightning: early stopping on a development metric, the best epoch kept."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.metrics.functional import METRICS, evaluate
from emoprobe.training.losses import Loss


@dataclass(frozen=True)
class FitOptions:
    """How a head is fitted.

    Args:
        max_epochs: Most epochs.
        batch_size: Utterances per step.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW.
        schedule: ``cosine`` (to zero over ``max_epochs``) or ``constant``.
        patience: Epochs without a better development score before fitting stops.
        monitor: The development metric.
        gradient_clip: Largest gradient norm; 0 for none.
        accumulate: Batches per optimiser step.
    """

    max_epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    schedule: str = "cosine"
    patience: int = 15
    monitor: str = "js_divergence"
    gradient_clip: float = 1.0
    accumulate: int = 1

    def __post_init__(self) -> None:
        if self.schedule not in ("cosine", "constant"):
            raise InputError(
                f"unknown schedule {self.schedule!r}", field="fit.schedule", remedy="Use cosine or constant."
            )
        if self.monitor not in METRICS:
            raise InputError(
                f"unknown metric {self.monitor!r}", field="fit.monitor", remedy=f"Use one of {', '.join(METRICS)}."
            )
        for name in ("max_epochs", "batch_size", "patience", "accumulate"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1", field=f"fit.{name}")
        if self.learning_rate <= 0 or self.weight_decay < 0 or self.gradient_clip < 0:
            raise InputError("learning_rate must be positive, weight_decay and gradient_clip not negative", field="fit")


class ClipFeatures(Dataset):
    """Pooled features of utterances beside their targets.

    Args:
        ids: Utterance ids.
        stats: ``[utterances, layers, kinds, width]``.
        target: Soft labels ``[utterances, labels]``.
        votes: Vote counts ``[utterances, labels]``.
    """

    def __init__(self, ids: Sequence[str], stats: Tensor, target: Tensor, votes: Tensor) -> None:
        self.ids, self.stats, self.target, self.votes = list(ids), stats, target, votes

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> int:
        return index

    def collate(self, indices: Sequence[int]) -> dict:
        """One batch, gathered at once."""
        chosen = torch.tensor(indices)
        return {
            "ids": [self.ids[i] for i in indices],
            "stats": self.stats[chosen],
            "target": self.target[chosen],
            "votes": self.votes[chosen],
        }

    def loader(self, batch_size: int, generator: torch.Generator | None = None) -> DataLoader:
        """Batches, shuffled where a generator is given."""
        return DataLoader(
            self, batch_size=batch_size, shuffle=generator is not None, generator=generator, collate_fn=self.collate
        )


class HeadModule(L.LightningModule):
    """A head on frozen features.

    Args:
        head: The head.
        loss: What is minimised.
        options: How.
    """

    def __init__(self, head: nn.Module, loss: Loss, options: FitOptions) -> None:
        super().__init__()
        self.head, self.loss, self.options = head, loss, options
        self.curve: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}
        self.best_score = float("nan")
        self.stale = 0
        self._sum = self._count = 0.0
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def output(self, batch: dict) -> Tensor:
        """What the loss wants: log-probabilities or a Dirichlet concentration, ``[batch, labels]``."""
        return self.head.concentration(batch) if self.loss.of_head == "concentration" else self.head(batch)

    def training_step(self, batch: dict, index: int) -> Tensor:
        value = self.loss(self.output(batch), batch["target"], batch["votes"])
        if not torch.isfinite(value):
            raise EmoprobeError(
                f"the loss is {value.item()} in epoch {self.current_epoch}; the batch held {', '.join(batch['ids'])}. "
                "Lower fit.learning_rate, or look at these clips."
            )
        self._sum += float(value.detach()) * len(batch["ids"])
        self._count += len(batch["ids"])
        return value

    def validation_step(self, batch: dict, index: int) -> None:
        self._seen.append((self.head(batch), batch["target"], batch["votes"]))

    def on_validation_epoch_end(self) -> None:
        log_probs, target, votes = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        if self.trainer.sanity_checking:
            return
        metrics = evaluate(log_probs.double().exp().numpy(), target.numpy(), votes.numpy())
        row = {"epoch": float(self.current_epoch), "train_loss": self._sum / max(self._count, 1)}
        row |= {name: float(metrics[name]) for name in ("js_divergence", "kl_target_pred", "wa", self.options.monitor)}
        self._sum = self._count = 0.0
        self.curve.append(row)
        self.log_dict({f"development/{k}": v for k, v in row.items() if k != "epoch"})
        score = row[self.options.monitor]
        score = score if METRICS[self.options.monitor].higher_is_better else -score
        if not self.best or score > self.best_score:
            self.best, self.best_score, self.stale = copy.deepcopy(self.head.state_dict()), score, 0
        else:
            self.stale += 1
            if self.stale >= self.options.patience:
                self.trainer.should_stop = True

    def configure_optimizers(self):
        options = self.options
        optimizer = torch.optim.AdamW(
            self.head.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        if options.schedule == "constant":
            return optimizer
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.max_epochs)
        return {"optimizer": optimizer, "lr_scheduler": schedule}


def fit_head(
    head: nn.Module,
    loss: Loss,
    train: ClipFeatures,
    development: ClipFeatures,
    options: FitOptions,
    *,
    seed: int,
    logger=None,
) -> HeadModule:
    """Fit a head; it ends with the weights of its best development epoch.

    Args:
        head: A fresh head.
        loss: What is minimised.
        train: Fitted on these.
        development: These choose the epoch.
        options: How.
        seed: Of the order of batches and of dropout.
        logger: Lightning logger, or None.
    """
    torch.manual_seed(seed)
    module = HeadModule(head, loss, options)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=options.max_epochs,
        gradient_clip_val=options.gradient_clip or None,
        accumulate_grad_batches=options.accumulate,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        logger=logger or False,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
    )
    generator = torch.Generator().manual_seed(seed)
    trainer.fit(module, train.loader(options.batch_size, generator), development.loader(1024))
    head.load_state_dict(module.best)
    head.eval()
    return module


@torch.no_grad()
def predict(heads: Sequence[nn.Module], features: ClipFeatures) -> Tensor:
    """Log of the members' mean probabilities, ``[utterances, labels]`` float64."""
    members = []
    for head in heads:
        head.eval()
        members.append(torch.cat([head(batch).double() for batch in features.loader(1024)]))
    return torch.stack(members).logsumexp(0) - torch.tensor(float(len(heads)), dtype=torch.float64).log()
