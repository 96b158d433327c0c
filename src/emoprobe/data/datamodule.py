"""Batches of decoded clips for Lightning."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from emoprobe.data.sound.audio import AudioClip, duration_seconds, read_audio
from emoprobe.data.sound.limits import AudioError, AudioLimits
from emoprobe.data.sound.survey import remember
from emoprobe.data.utterance import Skipped, Utterance
from emoprobe.errors import InputError
from emoprobe.system import stopping

WORKERS = 4  # processes beside a model on a GPU: they make spectra faster than it hears them


@dataclass(frozen=True)
class Refusal:
    """What an `AudioError` says, as a value.

    An error raised in a worker process would arrive as the text of a traceback.
    """

    what: str
    reason: str
    file: Path | None
    field: str | None
    remedy: str | None

    @classmethod
    def of(cls, error: AudioError) -> Refusal:
        """The parts of an error."""
        return cls(error.what, error.reason, error.file, error.field, error.remedy)

    def error(self) -> AudioError:
        """The error, made anew."""
        return AudioError(self.what, reason=self.reason, file=self.file, field=self.field, remedy=self.remedy)


@dataclass(frozen=True)
class Batch:
    """Utterances with their clips; those whose sound was refused stand beside them.

    Args:
        utterances: Those that can be heard; one that is heard in windows stands there once for each.
        clips: Theirs, windows one after the other.
        skipped: Those left out.
        refusal: The first that ends the run, with ``on_error=error``.
        prepared: Per clip what the model's processor made of it ahead, or None; empty where nothing is.
    """

    utterances: list[Utterance]
    clips: list[AudioClip]
    skipped: list[Skipped]
    refusal: Refusal | None = None
    prepared: Sequence[Any] = ()

    @property
    def num_clips(self) -> int:
        """How many clips are heard, each once whatever its windows."""
        return len({utterance.id for utterance in self.utterances})


def check_length(clip: AudioClip, min_samples: int, file: Path) -> None:
    """Refuse a clip in which a model hears nothing.

    Raises:
        AudioError: It has fewer samples.
    """
    if len(clip.waveform) < min_samples:
        seconds = min_samples / clip.sampling_rate
        raise AudioError(
            f"the clip lasts {clip.duration_seconds:.4f} s and the model needs {seconds:g} s to hear anything",
            reason="too_short",
            file=file,
            field="dataset.audio.min_seconds",
            remedy="Leave it out: dataset.on_error=skip.",
        )


def workers_beside(asked: int | None, device: torch.device) -> int:
    """Processes that read clips beside a model: as asked, or else up to `WORKERS` where it leaves the CPU to them.

    Args:
        asked: How many; None to choose.
        device: Where the model lies.
    """
    if asked is not None:
        return asked
    return min(WORKERS, os.cpu_count() or 1) if device.type == "cuda" else 0


@dataclass(frozen=True)
class Row:
    """What a clip came to.

    Args:
        utterance: Whose it is.
        clip: It, or why there is none.
        prepared: See `Batch`, per window.
    """

    utterance: Utterance
    clip: AudioClip | Skipped | Refusal
    prepared: Sequence[Any] = ()


class SpeechDataset(Dataset):
    """Decodes one clip at a time and prepares it for the model; a bad one is returned as a value, see `Refusal`.

    Args:
        utterances: What to read.
        sampling_rate: Hertz.
        limits: Which clips are taken.
        on_error: ``error`` to return a bad clip as `Refusal`, ``skip`` as `Skipped`.
        min_samples: What the model needs to hear anything.
        prepare: What the model's processor makes of a waveform, ``[samples]``.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        sampling_rate: int,
        limits: AudioLimits,
        on_error: str,
        min_samples: int = 0,
        prepare: Callable[[Tensor], Any] | None = None,
    ) -> None:
        self.utterances, self.sampling_rate = list(utterances), sampling_rate
        self.limits, self.on_error, self.min_samples = limits, on_error, min_samples
        self.prepare = prepare

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> Row:
        utterance = self.utterances[index]
        try:
            clip = read_audio(utterance.audio, self.sampling_rate, self.limits)
            windows = clip.cut()
            check_length(windows[0], self.min_samples, utterance.audio)
        except AudioError as error:
            if not self.limits.leaves_out(error, self.on_error):
                return Row(utterance, Refusal.of(error))
            return Row(utterance, Skipped(utterance.id, error.reason, str(error), str(utterance.audio)))
        return Row(utterance, clip, [self._prepared(window) for window in windows])

    def _prepared(self, clip: AudioClip) -> Any:
        if self.prepare is None:
            return None
        try:
            return self.prepare(torch.from_numpy(clip.waveform))
        except InputError:
            return None  # the model prepares it again, in the main process, which can say what is wrong


def collate(rows: Sequence[Row]) -> Batch:
    """Clips of different lengths stay a list; padding is the model's business."""
    good = [
        (row.utterance, window, prepared)
        for row in rows
        if isinstance(row.clip, AudioClip)
        for window, prepared in zip(row.clip.cut(), row.prepared, strict=True)
    ]
    skipped = [row.clip for row in rows if isinstance(row.clip, Skipped)]
    refusal = next((row.clip for row in rows if isinstance(row.clip, Refusal)), None)
    utterances, clips = [utterance for utterance, _, _ in good], [clip for _, clip, _ in good]
    return Batch(utterances, clips, skipped, refusal, [prepared for _, _, prepared in good])


def data_of(trainer: L.Trainer) -> Any:
    """The data module that a trainer is at work on, which Lightning's types do not know of."""
    return getattr(trainer, "datamodule")  # noqa: B009


class SpeechDataModule(L.LightningDataModule):
    """Batches clips of like duration together, longest first, so that memory problems show at once.

    Of several processes the first says which clips are left to read, and each takes its own part of them, none twice.

    Args:
        utterances: What to read; for processes other than the first whatever may have to be read.
        sampling_rate: Hertz.
        limits: Which clips are taken.
        batch_size: Clips per batch.
        num_workers: Processes that decode and prepare clips ahead.
        on_error: ``error`` or ``skip``.
        min_samples: What the model needs to hear anything.
        prepare: As of `SpeechDataset`; called in these processes, which are forks of this one.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        sampling_rate: int,
        limits: AudioLimits,
        *,
        batch_size: int = 8,
        num_workers: int = 0,
        on_error: str = "error",
        min_samples: int = 0,
        prepare: Callable[[Tensor], Any] | None = None,
    ) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # fewer clips left than processes
        self.own = sorted(utterances, key=lambda utterance: (-duration_seconds(utterance.audio), utterance.id))
        self.sampling_rate, self.limits, self.on_error = sampling_rate, limits, on_error
        self.min_samples, self.prepare = min_samples, prepare
        self.batch_size, self.num_workers = batch_size, num_workers

    trainer: L.Trainer  # there before any hook is called

    def setup(self, stage: str) -> None:
        """Divide the clips among the processes."""
        trainer = self.trainer
        if trainer.world_size > 1:
            by_id = {utterance.id: utterance for utterance in self.own}
            left = trainer.strategy.broadcast(list(by_id))
            self.own = [by_id[name] for name in left[trainer.global_rank :: trainer.world_size]]

    def predict_dataloader(self) -> DataLoader:
        """This process's clips once."""
        return self._loader(batch_size=self.batch_size, shuffle=False)

    def chosen(self, batches: Iterable[list[int]]) -> DataLoader:
        """Clips in batches that are chosen while they are read.

        Args:
            batches: Their places in ``own``; asked for as far ahead as clips are read.
        """
        return self._loader(batch_sampler=batches)

    def _loader(self, **batches: Any) -> DataLoader:
        prepare, context = self.prepare, None
        if self.num_workers and prepare is not None:
            forks = "fork" in multiprocessing.get_all_start_methods()
            # The model is never sent to another process; where none can be forked it prepares clips itself.
            prepare, context = (prepare, "fork") if forks else (None, None)
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # or each fork warns that it has switched it off
        dataset = SpeechDataset(self.own, self.sampling_rate, self.limits, self.on_error, self.min_samples, prepare)
        return DataLoader(
            dataset,
            **batches,
            num_workers=self.num_workers,
            collate_fn=collate,
            worker_init_fn=stopping.shield,
            multiprocessing_context=context,
        )

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Keeps how the clips sound, and ends the run at a refused one, here in the main process.

        Raises:
            AudioError: A clip cannot be used and ``on_error`` is ``error``.
        """
        if batch.refusal is not None:
            raise batch.refusal.error()
        for utterance, clip in zip(batch.utterances, batch.clips, strict=True):
            remember(utterance.audio, clip, self.limits)
        return batch

    def transfer_batch_to_device(self, batch: Batch, device: Any, dataloader_idx: int) -> Batch:
        """Waveforms stay where they are: the model moves what it computes from them."""
        return batch
