"""The LightningModule that reads a speech foundation model: one predict step is one batch of the score table."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import lightning as L
import torch
from torch import Tensor

from emoprobe.data.datamodule import Batch
from emoprobe.data.sound.audio import AudioClip
from emoprobe.data.utterance import Utterance
from emoprobe.errors import EmoprobeError
from emoprobe.models.answering import AudioContext, answering
from emoprobe.models.base import SpeechFoundationModel, ahead
from emoprobe.readout.base import AnswerReadout, PromptReadout, Readout, SoundReadout
from emoprobe.readout.scoring.hearing import check_hearing, check_reading, class_effects, sound_effects
from emoprobe.readout.scoring.nulls import NullInput
from emoprobe.readout.scoring.plan import Plans
from emoprobe.readout.scoring.read import read, read_sounds
from emoprobe.run.scores import CLIP, WINDOW, WINDOWS

LIBRARIES = ("emoprobe", "torch", "transformers")


def library_versions() -> str:
    """Versions of the libraries a score depends on, as JSON."""
    return json.dumps({name: version(name) for name in LIBRARIES}, sort_keys=True)


class ZeroShotProbe(L.LightningModule):
    """Asks every prompt of every clip, hears what is unasked, and returns rows of the score table.

    A batch that does not fit into memory is halved until it does, and so are the batches after it.

    Args:
        sfm: The model.
        plans: Tokenised prompts.
        readouts: What is read, each as of this model (`emoprobe.readout.base.Readout.of`).
    """

    def __init__(self, sfm: SpeechFoundationModel, plans: Plans, readouts: Sequence[Readout]) -> None:
        super().__init__()
        self.sfm, self.plans, self.readouts = sfm, plans, list(readouts)
        self.asking = [readout for readout in self.readouts if isinstance(readout, PromptReadout)]
        self.listening = [readout for readout in self.readouts if isinstance(readout, SoundReadout)]
        self.versions = library_versions()
        self.most_clips = sys.maxsize
        self.heard = False

    def predict_step(self, batch: Batch, batch_idx: int = 0) -> list[dict]:
        """Rows of all clips of a `emoprobe.data.datamodule.Batch`, of long ones a row for every window."""
        prepared = batch.prepared or [None] * len(batch.clips)
        at_once = len({utterance.id for utterance in batch.utterances})  # windows of long clips are many
        left = list(zip(batch.utterances, batch.clips, prepared, strict=True))
        if left and not self.heard:
            self._check_on(torch.from_numpy(batch.clips[0].waveform))
            self.heard = True
        rows: list[dict] = []
        while left:
            part = left[: min(self.most_clips, at_once)]
            try:
                rows += self._rows(part)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                self._shrink(len(part), error)
                continue
            left = left[len(part) :]
        return rows

    def _shrink(self, size: int, error: BaseException) -> None:
        if size == 1:
            raise EmoprobeError(
                f"a single clip does not fit into memory on {self.sfm.model.device}: {str(error).splitlines()[0]} "
                "Use model.dtype=bfloat16, model.quantization=4bit, fewer prompts or samples, or a larger device."
            ) from error
        if self.most_clips == sys.maxsize:
            print(
                f"note: out of memory with {size} clips at once; going on with smaller batches (results do not change)",
                file=sys.stderr,
            )
        self.most_clips = size // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _check_on(self, waveform: Tensor) -> None:
        """See `emoprobe.readout.scoring.hearing`."""
        if self.asking:
            sfm, question = answering(self.sfm), self.plans.samples[0].question
            if sfm.hears:
                check_hearing(sfm, sound_effects(sfm, waveform, question))
            check_reading(sfm, waveform, question)
        if self.listening:
            check_hearing(self.sfm, class_effects(self.sfm, waveform))

    def _rows(self, part: Sequence[tuple[Utterance, AudioClip, Any]]) -> list[dict]:
        waveforms = [torch.from_numpy(clip.waveform) for _, clip, _ in part]
        asked = self._asked(part, waveforms) if self.asking else [[] for _ in part]
        unasked = read_sounds(self.sfm, waveforms, self.listening, self.plans.labels.hash)
        rows = []
        for (utterance, clip, _), own, others in zip(part, asked, unasked, strict=True):
            heard = {
                "utterance_id": utterance.id,
                "input": CLIP,
                "draw": 0,
                "audio_sha256": clip.sha256,
                "duration_seconds": clip.duration_seconds,
                "truncated": clip.truncated,
                "library_versions": self.versions,
                **({WINDOW: clip.window, WINDOWS: clip.windows} if clip.windows > 1 else {}),
            }
            rows += [heard | row for row in [*own, *others]]
        return rows

    def _asked(self, part: Sequence[tuple[Utterance, AudioClip, Any]], waveforms: Sequence[Tensor]) -> list[list[dict]]:
        """Per clip its answers to all prompts."""
        sfm = answering(self.sfm)
        context = sfm.encode(waveforms, **ahead([prepared for _, _, prepared in part]))
        sounds = [f"{clip.sha256}-{clip.window}" if clip.windows > 1 else clip.sha256 for _, clip, _ in part]
        rows = read(sfm, context, self.plans.shared, self.asking, sounds)
        for i, (utterance, _, _) in enumerate(part):
            if self.plans.own:
                one = sfm.select(context, i)
                rows[i] += read(sfm, one, self.plans.of(utterance.id), self.asking, sounds[i : i + 1])[0]
            rows[i] = [_told(context, i) | row for row in rows[i]]
        return rows

    @property
    def most_tokens(self) -> int:
        """Tokens that may be written at most about a clip, reasoning and all answers together."""
        answers = [readout for readout in self.asking if isinstance(readout, AnswerReadout)]
        return sum(
            prompt.reasoning_tokens
            + max((one.limit(prompt) for one in answers if one.greedy), default=0)
            + sum(one.drawn(prompt) for one in answers)
            for prompt in self.plans.prompts
        )

    def null_rows(self, inputs: Sequence[NullInput]) -> list[dict]:
        """Rows of the score table for content-free inputs, of what is asked."""
        rows: list[dict] = []
        for null in inputs if self.asking else ():
            sfm = answering(self.sfm)
            if null.waveform is None:
                context, seconds = sfm.encode_without_audio(), 0.0
            else:
                context, seconds = sfm.encode([null.waveform]), len(null.waveform) / sfm.sampling_rate
            heard = {
                "utterance_id": "",
                "input": null.kind,
                "draw": null.draw,
                "audio_sha256": null.sha256,
                "duration_seconds": seconds,
                "truncated": False,
                "library_versions": self.versions,
                **_told(context, 0),
            }
            read_rows = read(sfm, context, self.plans.samples, self.asking, [null.sha256])[0]
            rows += [heard | row for row in read_rows]
        return rows


def _told(context: AudioContext, clip: int) -> dict[str, str]:
    """The column of a model that does not hear."""
    return {"told": context.told[clip]} if context.told else {}


def _is_out_of_memory(error: BaseException) -> bool:
    """torch raises a plain RuntimeError where the CPU's memory is spent."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
