"""Fit a reader of emotion distributions with Lightning: early stopping on a development metric, the best epoch kept.

A *reader* is a module that gives log-probabilities of the labels for a batch of clips: a head on frozen features
(`emoprobe.training.heads`) or a tuned SFM (`emoprobe.training.lora`). Only its parameters that require a gradient are
fitted, kept and written. Results depend neither on the number of processes nor on interruptions: the order of the clips
and the random numbers of every step come from the seed, the epoch and the step alone.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.metrics.functional import METRICS, evaluate
from emoprobe.system import stopping
from emoprobe.training.batches import Clips, EpochBatches, OwnPart, seed_of
from emoprobe.training.losses import Loss

LAST = "last.ckpt"


@dataclass(frozen=True)
class FitOptions:
    """How a reader is fitted.

    Args:
        max_epochs: Most epochs.
        batch_size: Utterances per step, over all processes.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW.
        schedule: ``cosine`` (to zero over ``max_epochs``), ``linear`` (likewise) or ``constant``.
        warmup: Share of all steps in which the learning rate rises from zero.
        patience: Epochs without a better development score before fitting stops.
        monitor: The development metric.
        gradient_clip: Largest gradient norm; 0 for none.
        accumulate: Batches per optimiser step.
        l2: Penalty ``l2 / 2`` times the sum of squares of all weight matrices, added to the loss. Unlike the decoupled
            ``weight_decay`` it is scaled by AdamW as the loss is, and holds a probe on thousands of features back.
        checkpoint_seconds: Least time between two checkpoints to resume from.
    """

    max_epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    schedule: str = "cosine"
    warmup: float = 0.0
    patience: int = 15
    monitor: str = "js_divergence"
    gradient_clip: float = 1.0
    accumulate: int = 1
    l2: float = 0.0
    checkpoint_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.schedule not in ("cosine", "linear", "constant"):
            raise InputError(
                f"unknown schedule {self.schedule!r}", field="fit.schedule", remedy="Use cosine, linear or constant."
            )
        if self.monitor not in METRICS:
            raise InputError(
                f"unknown metric {self.monitor!r}", field="fit.monitor", remedy=f"Use one of {', '.join(METRICS)}."
            )
        for name in ("max_epochs", "batch_size", "patience", "accumulate"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1", field=f"fit.{name}")
        if self.learning_rate <= 0 or min(self.weight_decay, self.gradient_clip, self.l2) < 0:
            raise InputError(
                "learning_rate must be positive, weight_decay, gradient_clip and l2 not negative", field="fit"
            )
        if not 0 <= self.warmup < 1:
            raise InputError(f"warmup is a share of all steps, not {self.warmup}", field="fit.warmup")

    def factor(self, step: int, steps: int) -> float:
        """Learning rate of a step, as a share of the highest."""
        rise = self.warmup * steps
        if step < rise:
            return (step + 1) / (rise + 1)
        if self.schedule == "constant":
            return 1.0
        done = (step - rise) / max(1.0, steps - rise)
        return 1 - done if self.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2


class ReaderModule(L.LightningModule):
    """Fits a reader.

    Args:
        reader: Gives log-probabilities ``[batch, labels]``, and a Dirichlet's ``concentration`` if the loss wants it.
        loss: What is minimised.
        train: Fitted on these.
        development: Evaluated after every epoch.
        options: How.
        seed: Of everything random.
        eval_batch_size: Utterances evaluated at once.
        identity: Of all that the numbers depend on; checkpoints bear it.

    Attributes:
        curve: One row per epoch.
        best: The trainable parameters of the best epoch.
    """

    strict_loading = False  # frozen weights are in no checkpoint

    def __init__(
        self,
        reader: nn.Module,
        loss: Loss,
        train: Clips,
        development: Clips,
        options: FitOptions,
        *,
        seed: int,
        eval_batch_size: int = 1024,
        identity: str = "",
    ) -> None:
        super().__init__()
        self.reader, self.loss, self.options, self.seed = reader, loss, options, seed
        self.train_clips, self.development, self.eval_batch_size = train, development, eval_batch_size
        self.curve: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}
        self.best_score = float("nan")
        self.stale = 0
        self.finished = False
        self.done = 0
        self.identity = identity
        self._sum = self._count = 0.0
        self._seen: list[tuple[Tensor, Tensor]] = []

    def output(self, batch: dict) -> Tensor:
        """What the loss wants: log-probabilities or a Dirichlet concentration, ``[batch, labels]``."""
        return self.reader.concentration(batch) if self.loss.of_head == "concentration" else self.reader(batch)

    def trainable(self) -> dict[str, Tensor]:
        """Parameters that are fitted, by name."""
        return {name: value for name, value in self.reader.named_parameters() if value.requires_grad}

    def train_dataloader(self) -> DataLoader:
        """This process's part of every batch."""
        rank, world = self.trainer.global_rank, self.trainer.world_size
        size, options = len(self.train_clips), self.options
        batches = EpochBatches(
            size, options.batch_size, self.seed, lambda: self.current_epoch, rank, world, done=self.done
        )
        return self.train_clips.loader(batches)

    def val_dataloader(self) -> DataLoader:
        """This process's part of the development clips."""
        rank, world = self.trainer.global_rank, self.trainer.world_size
        return self.development.loader(OwnPart(len(self.development), self.eval_batch_size, rank, world))

    def training_step(self, batch: dict, index: int) -> Tensor:
        torch.manual_seed(seed_of(self.seed, self.current_epoch, index, self.global_rank))  # dropout
        losses = self.loss.per_utterance(self.output(batch), batch["target"], batch["votes"])
        value = (losses * batch["share"]).sum()
        if self.options.l2:
            matrices = (weight for weight in self.trainable().values() if weight.ndim > 1)
            value = value + self.options.l2 / 2 * sum(weight.square().sum() for weight in matrices)
        if not torch.isfinite(value):
            raise EmoprobeError(
                f"the loss is {value.item()} in epoch {self.current_epoch}; the batch held {', '.join(batch['ids'])}. "
                "Lower fit.learning_rate, or look at these clips."
            )
        real = batch["share"] > 0
        self._sum += float(losses.detach()[real].sum())
        self._count += int(real.sum())
        return value

    def validation_step(self, batch: dict, index: int) -> None:
        self._seen.append((batch["indices"].cpu(), self.reader(batch).detach().float().cpu()))

    def on_validation_epoch_end(self) -> None:
        indices, log_probs = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        parts = _gather((indices, log_probs, self._sum, self._count))
        indices, log_probs = (torch.cat([part[i] for part in parts]) for i in (0, 1))
        order = indices.argsort()
        loss = sum(part[2] for part in parts) / max(1.0, sum(part[3] for part in parts))
        self._sum = self._count = 0.0
        clips = self.development
        metrics = evaluate(log_probs[order].double().exp().numpy(), clips.target.numpy(), clips.votes.numpy())
        row = {"epoch": float(self.current_epoch), "train_loss": loss, "clips": float(len(order))}
        row |= {name: float(metrics[name]) for name in ("js_divergence", "kl_target_pred", "wa", self.options.monitor)}
        self.curve.append(row)
        score = row[self.options.monitor]
        score = score if METRICS[self.options.monitor].higher_is_better else -score
        if not self.best or score > self.best_score:
            self.best = {name: value.detach().cpu().clone() for name, value in self.trainable().items()}
            self.best_score, self.stale = score, 0
        else:
            self.stale += 1
        self.finished = self.stale >= self.options.patience or self.current_epoch + 1 >= self.options.max_epochs
        self.trainer.should_stop = self.finished

    def configure_optimizers(self):
        options = self.options
        optimizer = torch.optim.AdamW(
            self.trainable().values(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        steps = self.trainer.estimated_stepping_batches
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: options.factor(step, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def state_dict(self, *args, **kwargs) -> dict:
        """The fitted parameters only."""
        return {f"reader.{name}": value.detach() for name, value in self.trainable().items()}

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        names = ("curve", "best", "best_score", "stale", "finished", "done", "identity")
        checkpoint["fit"] = {name: getattr(self, name) for name in names}
        # Of all processes: how many they are may be another number when the fit goes on.
        sums = _gather((self._sum, self._count))
        checkpoint["fit"] |= {"sum": sum(part[0] for part in sums), "count": sum(part[1] for part in sums)}

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        saved = dict(checkpoint["fit"])
        total, count = saved.pop("sum"), saved.pop("count")
        self._sum, self._count = (total, count) if self.global_rank == 0 else (0.0, 0.0)
        for name, value in saved.items():
            setattr(self, name, value)


class _Checkpoint(L.Callback):
    """Writes a checkpoint after a step or an epoch, at most every so many seconds; a signal ends the fit with one.

    All processes stop after the same batch. An evaluation, or half a step, cannot be saved and is done again.

    Raises:
        Stopped: A signal asked for it.
    """

    def __init__(self, folder: Path | None, seconds: float) -> None:
        self.folder, self.seconds, self.last = folder, seconds, time.monotonic()

    def on_train_start(self, trainer: L.Trainer, module: ReaderModule) -> None:
        stopping.hold()  # Lightning's own handler ends the process with status 0, or requeues the job

    def on_train_batch_end(self, trainer: L.Trainer, module: ReaderModule, output, batch, index: int) -> None:
        module.done = index + 1
        whole = module.done % module.options.accumulate == 0 and module.done < trainer.num_training_batches
        self._end_of_batch(trainer, whole)

    def on_validation_batch_end(self, trainer: L.Trainer, *_) -> None:
        if trainer.world_size == 1:  # several may have different numbers of batches
            self._end_of_batch(trainer, whole=False)

    def on_train_epoch_end(self, trainer: L.Trainer, module: ReaderModule) -> None:
        module.done = 0
        self._end_of_batch(trainer, whole=not module.finished)

    def _end_of_batch(self, trainer: L.Trainer, whole: bool) -> None:
        """Save and stop as all processes agree.

        Args:
            trainer: The trainer.
            whole: Whether a checkpoint of this moment can be gone on from.
        """
        states = _gather((stopping.requested(), time.monotonic() - self.last >= self.seconds))
        signum = max(asked for asked, _ in states)
        if self.folder is not None and whole and (signum or states[0][1]):
            beginning = self.folder / f".{LAST}"  # a full disk or a kill leaves the checkpoint before this one
            trainer.save_checkpoint(beginning)
            if trainer.is_global_zero:
                beginning.replace(self.folder / LAST)
            self.last = time.monotonic()
        stopping.check(signum)


class _Epochs(L.Callback):
    """Tells a progress bar and a tracker how far a fit is."""

    def __init__(self, on_step: Callable[[], None], on_epoch: Callable[[dict], None]) -> None:
        self.on_step, self.on_epoch = on_step, on_epoch

    def on_train_batch_end(self, *_) -> None:
        self.on_step()

    def on_train_epoch_end(self, trainer: L.Trainer, module: ReaderModule) -> None:
        self.on_epoch(module.curve[-1])


def fit_reader(
    reader: nn.Module,
    loss: Loss,
    train: Clips,
    development: Clips,
    options: FitOptions,
    *,
    seed: int,
    trainer: Mapping | None = None,
    eval_batch_size: int = 1024,
    checkpoints: Path | None = None,
    resume: Path | None = None,
    identity: str = "",
    on_step: Callable[[], None] = lambda: None,
    on_epoch: Callable[[dict], None] = lambda row: None,
) -> ReaderModule:
    """Fit a reader; it ends with the parameters of its best development epoch.

    Args:
        reader: A fresh reader.
        loss: What is minimised.
        train: Fitted on these.
        development: These choose the epoch.
        options: How.
        seed: Of the order of batches and of dropout.
        trainer: Arguments of `lightning.Trainer` (accelerator, devices, strategy, precision); by default one CPU.
        eval_batch_size: Utterances evaluated at once.
        checkpoints: Where to write what a later run resumes from.
        resume: Checkpoint folder of an interrupted fit of the same reader; a missing checkpoint means the beginning.
        identity: Of all that the numbers depend on.
        on_step: Called after every batch.
        on_epoch: Called with the row of the learning curve after every epoch.

    Raises:
        InputError: The checkpoint is damaged or of another fit.
        Stopped: A signal asked for it; there is a checkpoint.
    """
    device = next(reader.parameters()).device
    torch.manual_seed(seed)
    module = ReaderModule(
        reader, loss, train, development, options, seed=seed, eval_batch_size=eval_batch_size, identity=identity
    )
    callbacks = [_Epochs(on_step, on_epoch), _Checkpoint(checkpoints, options.checkpoint_seconds)]
    arguments = {"accelerator": "cpu", "devices": 1} | dict(trainer or {}) | {"enable_progress_bar": False}
    engine = L.Trainer(
        **arguments,
        max_epochs=options.max_epochs,
        gradient_clip_val=options.gradient_clip or None,
        accumulate_grad_batches=options.accumulate,
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_model_summary=False,
        logger=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # `EpochBatches` and `OwnPart` know the processes
        default_root_dir=checkpoints,
    )
    last = None if resume is None or not (resume / LAST).is_file() else resume / LAST
    if last is not None:
        _check_checkpoint(last, identity)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")  # `EpochBatches` is
        engine.fit(module, ckpt_path=last, weights_only=True)
    if not module.best:
        raise InputError(
            "nothing was learned in this process, all in those that it started",
            field="trainer.strategy",
            remedy="Use trainer.strategy=ddp for several processes.",
        )
    reader.load_state_dict(module.best, strict=False)
    reader.to(device).eval()  # Lightning leaves everything on the CPU
    return module


def _check_checkpoint(file: Path, identity: str) -> None:
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)["fit"]["identity"]
        what = None if found == identity else "this checkpoint is of another fit"
    except Exception as error:  # a damaged archive raises many kinds
        what = f"this checkpoint is damaged: {type(error).__name__}"
    if what is not None:
        raise InputError(
            what, file=file, field="ckpt", remedy="Delete it and repeat the command: this fit then begins anew."
        )


@torch.no_grad()
def predict(readers: Sequence[nn.Module], clips: Clips, batch_size: int = 1024) -> Tensor:
    """Log of the readers' mean probabilities, ``[utterances, labels]`` float64.

    Raises:
        Stopped: A signal asked for it.
    """
    members = []
    for reader in readers:
        reader.eval()
        parts = []
        for batch in clips.in_order(batch_size):
            if not _several():  # the others are already at the next fit, and must not be left waiting there
                stopping.check()
            parts.append(reader(batch).double().cpu())
        members.append(torch.cat(parts))
    return torch.stack(members).logsumexp(0) - torch.tensor(float(len(readers)), dtype=torch.float64).log()


def _gather(value: tuple) -> list[tuple]:
    """What every process has, in the order of their ranks."""
    if not _several():
        return [value]
    parts: list = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, value)
    return parts


def _several() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
