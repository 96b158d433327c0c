"""Fit a reader of emotion distributions with Lightning.

A *reader* is a module that gives log-probabilities of the labels for a batch of clips: a head on frozen features
(`emoprobe.training.heads`) or a tuned SFM (`emoprobe.training.methods.lora`). Only its parameters that require a
gradient are fitted, kept and written. Results depend neither on the number of processes nor on interruptions: the order
of the clips and the random numbers of every step come from the seed, the epoch and the step alone.

Early stopping, the best epoch, progress and learning rates are Lightning's own callbacks (``conf/callbacks``), and all
values reach them and every logger through ``self.log``: ``train/loss``, ``train/answers_loss`` of answers in words,
``dev/loss`` and ``dev/`` with each metric.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, LearningRateMonitor, ModelCheckpoint, ProgressBar
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.models.base import Network
from emoprobe.system import stopping
from emoprobe.training.answers import AnswersOptions
from emoprobe.training.arguments import NOT_IN_FITTING
from emoprobe.training.batches import Clips, seed_of
from emoprobe.training.datamodule import TrainingDataModule
from emoprobe.training.development import DevelopmentMetrics
from emoprobe.training.feature_head import dirichlet_mean
from emoprobe.training.going_on import GoingOn, WholeFiles, take_over
from emoprobe.training.losses.base import Loss
from emoprobe.training.options import FitOptions
from emoprobe.training.trainer import lightning_refusals, make_trainer

_SUMS = ("labels", "labels_clips", "answers", "answers_clips")  # of losses, and of how many clips


class ReaderModule(L.LightningModule):
    """Fits a reader.

    Args:
        reader: Gives log-probabilities ``[batch, labels]``, and a Dirichlet's ``concentration`` if the loss wants it.
        loss: What is minimised.
        options: How.
        seed: Of everything random.
        identity: Of all that the numbers depend on; checkpoints bear it.
        answers: What the reader's model is taught to write beside.
        metrics: Names of the development metrics; those of categories by default.

    Attributes:
        curve: One row per evaluation of the development clips; what is undefined or infinite is left out.
    """

    strict_loading = False  # frozen weights are in no checkpoint

    def __init__(
        self,
        reader: Network,
        loss: Loss,
        options: FitOptions,
        *,
        seed: int,
        identity: str = "",
        answers: AnswersOptions | None = None,
        metrics: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.answers = answers
        self.reader, self.loss, self.options, self.seed, self.identity = reader, loss, options, seed, identity
        self.development = DevelopmentMetrics(metrics, loss)
        self.curve: list[dict[str, float]] = []
        self._sums = dict.fromkeys(_SUMS, 0.0)

    def output(self, batch: dict) -> Tensor:
        """What the loss wants: log-probabilities or a Dirichlet concentration, ``[batch, labels]``."""
        return self.reader.concentration(batch) if self.loss.of_head == "concentration" else self.reader(batch)

    def trainable(self) -> dict[str, Tensor]:
        """Parameters that are fitted, by name."""
        return {name: value for name, value in self.reader.named_parameters() if value.requires_grad}

    def training_step(self, batch: dict, index: int) -> Tensor:
        torch.manual_seed(seed_of(self.seed, self.current_epoch, index, self.global_rank))  # dropout
        turn = self._turn(index)
        told = self._label_losses(batch) if turn is None else (self._unlike_answers(batch, turn), batch["share"])
        losses, share = told
        value = (losses * share).sum()
        if self.options.l2:
            matrices = (weight for weight in self.trainable().values() if weight.ndim > 1)
            value = value + self.options.l2 / 2 * sum(weight.square().sum() for weight in matrices)
        if not torch.isfinite(value):
            raise EmoprobeError(
                f"the loss is {value.item()} in epoch {self.current_epoch}; the batch held {', '.join(batch['ids'])}. "
                "Lower fit.learning_rate, or look at these clips."
            )
        real = share > 0
        kind = "labels" if turn is None else "answers"
        self._sums[kind] += float(losses.detach()[real].sum())
        self._sums[f"{kind}_clips"] += int(real.sum())
        return value

    def _label_losses(self, batch: dict) -> tuple[Tensor, Tensor]:
        """Losses of label distributions and their shares in the step's; a loss of a batch is one of all processes."""
        told = [self.output(batch), batch["target"], batch["votes"], batch["share"]]
        if self.loss.of_batch:
            if self.trainer.world_size > 1:
                told = [cast(Tensor, self.all_gather(each, sync_grads=True)).flatten(0, 1) for each in told]
                told[-1] = told[-1] / self.trainer.world_size
            told = [each[told[-1] > 0] for each in told]  # without what fills up a process's part
        output, target, votes, share = told
        return self.loss.per_utterance(output, target, votes), share

    def _turn(self, index: int) -> int | None:
        """How many steps taught answers in words before this one, which does too; None where it does not."""
        if self.answers is None:
            return None
        return self.answers.turn(self.current_epoch * int(self.trainer.num_training_batches) + index)

    def _unlike_answers(self, batch: dict, turn: int) -> Tensor:
        """Negative log-likelihoods of answers in words, weighted, ``[batch]``."""
        assert self.answers is not None
        seeds = (seed_of(self.seed, self.current_epoch, clip) for clip in batch["indices"].tolist())
        draws = [torch.rand((), generator=torch.Generator().manual_seed(seed)).item() for seed in seeds]
        return -self.answers.weight * self.reader.written(batch, turn, draws)

    def validation_step(self, batch: dict, index: int) -> None:
        output = self.output(batch)
        losses = self.loss.per_utterance(output, batch["target"], batch["votes"])
        log_probs = dirichlet_mean(output) if self.loss.of_head == "concentration" else output
        self.development.update(batch["indices"], log_probs, batch["target"], batch["votes"], losses)

    def on_validation_epoch_end(self) -> None:
        values = self.development.compute()
        self.development.reset()
        if self.trainer.sanity_checking:
            return
        sums = self._all_sums()
        self._sums = dict.fromkeys(_SUMS, 0.0)
        clips = values.pop("clips")
        loss, answers_loss = (
            torch.tensor(sums[kind] / max(1.0, sums[f"{kind}_clips"]), dtype=torch.float64)
            for kind in ("labels", "answers")
        )
        self.log("train/loss", loss, prog_bar=True)
        if self.answers is not None:
            self.log("train/answers_loss", answers_loss, prog_bar=True)
        for name, value in values.items():
            self.log(f"dev/{name}", value, prog_bar=name == self.options.monitor)
        row: dict[str, Any] = {
            "epoch": self.current_epoch,
            "train_loss": loss,
            "dev_loss": values.pop("loss"),
            "clips": clips,
        } | ({} if self.answers is None else {"answers_loss": answers_loss})
        row = {name: float(value) for name, value in (row | values).items()}
        self.curve.append({name: value for name, value in row.items() if math.isfinite(value)})

    def _all_sums(self) -> dict[str, float]:
        """Sums and numbers of the training losses since the last evaluation, of all processes."""
        sums = torch.tensor(list(self._sums.values()), dtype=torch.float64)
        if self.trainer.world_size > 1:
            sums = self.trainer.strategy.reduce(sums.to(self.device), reduce_op="sum")
        return dict(zip(_SUMS, sums.tolist(), strict=True))

    def configure_optimizers(self) -> Any:
        options = self.options
        optimizer = torch.optim.AdamW(
            self.trainable().values(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        steps = self.trainer.estimated_stepping_batches
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: options.factor(step, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]  # it fills no dictionary given
        """The fitted parameters only."""
        return {f"reader.{name}": value.detach() for name, value in self.trainable().items()}

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        # Of all processes: how many they are may be another number when the fit goes on.
        checkpoint["fit"] = {"curve": self.curve, "identity": self.identity, "sums": self._all_sums()}

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        saved = checkpoint["fit"]
        self.curve = list(saved["curve"])
        self._sums = dict(saved["sums"]) if self.global_rank == 0 else dict.fromkeys(_SUMS, 0.0)


def fit_reader(
    reader: nn.Module,
    loss: Loss,
    train: Clips,
    development: Clips,
    options: FitOptions,
    *,
    seed: int,
    checkpoints: Path,
    callbacks: Sequence[Callback] = (),
    logger: Logger | None = None,
    trainer: Mapping | None = None,
    root: Path | None = None,
    eval_batch_size: int = 1024,
    resume: Path | None = None,
    identity: str = "",
    answers: AnswersOptions | None = None,
    metrics: Sequence[str] | None = None,
) -> ReaderModule:
    """Fit a reader; it ends with the parameters that ModelCheckpoint calls best, without one with the last.

    Args:
        reader: A fresh reader.
        loss: What is minimised.
        train: Fitted on these.
        development: These choose the epoch.
        options: How.
        seed: Of the order of batches and of dropout.
        checkpoints: Folder of what the first ModelCheckpoint keeps and of what a later run resumes from.
        callbacks: Fresh ones; see `emoprobe.training.trainer.make_callbacks`. Those that this fit has no use for are
            left out: progress bars with ``enable_progress_bar=false``, ModelCheckpoint with
            ``enable_checkpointing=false``, LearningRateMonitor without a logger.
        logger: What is told all values.
        trainer: Arguments of `lightning.Trainer`; by default one CPU. They go before those of ``options``.
        root: Folder of what other callbacks write; by default that of the checkpoints.
        eval_batch_size: Utterances evaluated at once.
        resume: Checkpoint folder of an interrupted fit of the same reader; a missing checkpoint means the beginning.
        identity: Of all that the numbers depend on.
        answers: What the reader's model is taught to write beside.
        metrics: Names of the development metrics; those of categories by default.

    Raises:
        InputError: The checkpoint is damaged or of another fit, or Lightning refuses an argument.
        Stopped: A signal asked for it; there is a checkpoint.
    """
    device = next(reader.parameters()).device
    torch.manual_seed(seed)
    given = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": options.max_epochs,
        "gradient_clip_val": options.gradient_clip or None,
        "accumulate_grad_batches": options.accumulate,
        "num_sanity_val_steps": 0,
        "enable_model_summary": False,
    } | dict(trainer or {})
    checkpoints = checkpoints.resolve()
    last = take_over(resume, checkpoints, identity)
    going_on = GoingOn(checkpoints, options.checkpoint_seconds)
    own = {
        "callbacks": [*_callbacks(callbacks, given, checkpoints, logger), going_on],
        "logger": logger or False,
        "default_root_dir": root or checkpoints,
        "enable_checkpointing": True,
        "use_distributed_sampler": False,  # `EpochBatches` and `OwnPart` know the processes
        "plugins": [WholeFiles()],
    }
    engine = make_trainer({k: v for k, v in given.items() if k != "enable_checkpointing"}, own, NOT_IN_FITTING)
    module = ReaderModule(reader, loss, options, seed=seed, identity=identity, answers=answers, metrics=metrics)
    data = TrainingDataModule(
        train, development, batch_size=options.batch_size, seed=seed, eval_batch_size=eval_batch_size
    )
    with lightning_refusals():
        engine.fit(module, datamodule=data, ckpt_path=last, weights_only=True)
    if not engine.global_step:
        raise InputError(
            "nothing was learned: no step was made",
            field="trainer",
            remedy="Let it see a batch: limit_train_batches, max_steps.",
        )
    best = getattr(engine.checkpoint_callback, "best_model_path", "")
    if best:
        module.load_state_dict(torch.load(best, map_location="cpu", weights_only=True)["state_dict"], strict=False)
    reader.to(device).eval()  # Lightning leaves everything on the CPU
    return module


def _callbacks(given: Sequence[Callback], trainer: Mapping, checkpoints: Path, logger: Logger | None) -> list[Callback]:
    """The callbacks that a fit has a use for; the first ModelCheckpoint without a folder is given this fit's."""
    useless: tuple[type, ...] = ()
    if not trainer.get("enable_progress_bar", True):
        useless += (ProgressBar,)
    if not trainer.get("enable_checkpointing", True):
        useless += (Checkpoint,)
    if logger is None:
        useless += (LearningRateMonitor,)
    kept = [callback for callback in given if not isinstance(callback, useless)]
    chooses = next((callback for callback in kept if isinstance(callback, ModelCheckpoint)), None)
    if chooses is not None and chooses.dirpath is None:
        chooses.dirpath = str(checkpoints)
    return kept


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


def _several() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
