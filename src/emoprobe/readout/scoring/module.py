"""The LightningModule that reads a speech foundation model: one predict step is one batch of the score table."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.metadata import version

import lightning as L
import torch

from emoprobe.data.audio import AudioClip
from emoprobe.data.datamodule import Batch
from emoprobe.data.utterance import Utterance
from emoprobe.errors import EmoprobeError
from emoprobe.models.answering import AnsweringModel, AudioContext
from emoprobe.readout.base import Readout
from emoprobe.readout.scoring.hearing import check_hearing, check_reading
from emoprobe.readout.scoring.nulls import NullInput
from emoprobe.readout.scoring.plan import Plans
from emoprobe.readout.scoring.read import read
from emoprobe.run.scores import CLIP

LIBRARIES = ("emoprobe", "torch", "transformers")


def library_versions() -> str:
    """Versions of the libraries a score depends on, as JSON."""
    return json.dumps({name: version(name) for name in LIBRARIES}, sort_keys=True)


class ZeroShotProbe(L.LightningModule):
    """Asks every prompt of every clip and returns rows of the score table.

    A batch that does not fit into memory is halved until it does, and so are the batches after it.

    Args:
        sfm: The model.
        plans: Tokenised prompts.
        readouts: What is read.
    """

    def __init__(self, sfm: AnsweringModel, plans: Plans, readouts: Sequence[Readout]) -> None:
        super().__init__()
        self.sfm, self.plans, self.readouts = sfm, plans, list(readouts)
        self.versions = library_versions()
        self.most_clips = sys.maxsize
        self.heard = False

    def predict_step(self, batch: Batch, batch_idx: int = 0) -> list[dict]:
        """Rows of all clips of a `emoprobe.data.datamodule.Batch`."""
        pairs = list(zip(batch.utterances, batch.clips, strict=True))
        if pairs and not self.heard:
            first = torch.from_numpy(pairs[0][1].waveform), self.plans.samples[0].question
            if self.sfm.hears:
                check_hearing(self.sfm, *first)
            check_reading(self.sfm, *first)
            self.heard = True
        rows: list[dict] = []
        while pairs:
            part = pairs[: self.most_clips]
            try:
                rows += self._rows(part)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                self._shrink(len(part), error)
                continue
            pairs = pairs[len(part) :]
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

    def _rows(self, pairs: Sequence[tuple[Utterance, AudioClip]]) -> list[dict]:
        context = self.sfm.encode([torch.from_numpy(clip.waveform) for _, clip in pairs])
        sounds = [clip.sha256 for _, clip in pairs]
        shared = read(self.sfm, context, self.plans.shared, self.readouts, sounds)
        rows = []
        for i, (utterance, clip) in enumerate(pairs):
            heard = {
                "utterance_id": utterance.id,
                "input": CLIP,
                "draw": 0,
                "audio_sha256": clip.sha256,
                "duration_seconds": clip.duration_seconds,
                "truncated": clip.truncated,
                "library_versions": self.versions,
                **_told(context, i),
            }
            rows += [heard | row for row in shared[i]]
            if self.plans.own:
                one = self.sfm.select(context, i)
                own = read(self.sfm, one, self.plans.of(utterance.id), self.readouts, sounds[i : i + 1])
                rows += [heard | row for row in own[0]]
        return rows

    def null_rows(self, inputs: Sequence[NullInput]) -> list[dict]:
        """Rows of the score table for content-free inputs."""
        rows: list[dict] = []
        for null in inputs:
            if null.waveform is None:
                context, seconds = self.sfm.encode_without_audio(), 0.0
            else:
                context, seconds = self.sfm.encode([null.waveform]), len(null.waveform) / self.sfm.sampling_rate
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
            read_rows = read(self.sfm, context, self.plans.samples, self.readouts, [null.sha256])[0]
            rows += [heard | row for row in read_rows]
        return rows


def _told(context: AudioContext, clip: int) -> dict[str, str]:
    """The column of a model that does not hear."""
    return {"told": context.told[clip]} if context.told else {}


def _is_out_of_memory(error: BaseException) -> bool:
    """torch raises a plain RuntimeError where the CPU's memory is spent."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
