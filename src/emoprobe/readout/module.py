"""The LightningModule that reads a speech foundation model: one predict step is one batch of the score table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import lightning as L
import torch
from torch import Tensor

from emoprobe.errors import InputError
from emoprobe.models.base import NULL_INPUTS, SpeechFoundationModel
from emoprobe.readout.plan import PromptPlan
from emoprobe.readout.read import Readout, read
from emoprobe.scores import CLIP

LIBRARIES = ("emoprobe", "torch", "transformers")


def library_versions() -> str:
    """Versions of the libraries a score depends on, as JSON."""
    return json.dumps({name: version(name) for name in LIBRARIES}, sort_keys=True)


class ZeroShotProbe(L.LightningModule):
    """Asks every prompt of every clip and returns rows of the score table.

    Args:
        sfm: The model.
        plans: Tokenised prompts.
        readouts: What is read.
    """

    def __init__(self, sfm: SpeechFoundationModel, plans: Sequence[PromptPlan], readouts: Sequence[Readout]) -> None:
        super().__init__()
        self.sfm, self.plans, self.readouts = sfm, list(plans), list(readouts)
        self.versions = library_versions()

    def predict_step(self, batch, batch_idx: int = 0) -> list[dict]:
        """Rows of all clips of a `emoprobe.data.datamodule.Batch`."""
        if not batch.clips:
            return []
        context = self.sfm.encode([torch.from_numpy(clip.waveform) for clip in batch.clips])
        rows = []
        for utterance, clip, read_rows in zip(
            batch.utterances, batch.clips, read(self.sfm, context, self.plans, self.readouts), strict=True
        ):
            heard = {
                "utterance_id": utterance.id,
                "input": CLIP,
                "draw": 0,
                "audio_sha256": clip.sha256,
                "duration_seconds": clip.duration_seconds,
                "truncated": clip.truncated,
                "library_versions": self.versions,
            }
            rows += [heard | row for row in read_rows]
        return rows

    def null_rows(self, inputs: Sequence[NullInput]) -> list[dict]:
        """Rows of the score table for content-free inputs."""
        rows: list[dict] = []
        for null in inputs:
            heard_nothing = null.waveform is None
            context = self.sfm.encode_without_audio() if heard_nothing else self.sfm.encode([null.waveform])
            heard = {
                "utterance_id": "",
                "input": null.kind,
                "draw": null.draw,
                "audio_sha256": null.sha256,
                "duration_seconds": 0.0 if heard_nothing else len(null.waveform) / self.sfm.sampling_rate,
                "truncated": False,
                "library_versions": self.versions,
            }
            rows += [heard | row for row in read(self.sfm, context, self.plans, self.readouts)[0]]
        return rows


@dataclass(frozen=True)
class NullInput:
    """A content-free input; ``waveform`` is None where the model hears nothing at all."""

    kind: str
    draw: int
    waveform: Tensor | None

    @property
    def sha256(self) -> str:
        """Of the waveform's float32 bytes; empty without a waveform."""
        return "" if self.waveform is None else hashlib.sha256(self.waveform.numpy().tobytes()).hexdigest()


def make_null_inputs(
    sampling_rate: int, *, kinds: Sequence[str], seconds: float, noise_draws: int, noise_rms: float, seed: int
) -> list[NullInput]:
    """Content-free inputs.

    Args:
        sampling_rate: Hertz.
        kinds: ``silence`` (digital), ``noise`` (Gaussian), ``no_audio``.
        seconds: Their duration.
        noise_draws: Independent noise clips.
        noise_rms: Standard deviation of the noise, of full scale.
        seed: Of the noise.

    Raises:
        InputError: An option is wrong.
    """
    unknown = [kind for kind in kinds if kind not in NULL_INPUTS]
    if unknown:
        raise InputError(
            f"unknown null input {unknown[0]!r}", field="null_inputs.kinds", remedy=f"Use some of {NULL_INPUTS}."
        )
    if seconds <= 0 or noise_draws < 1 or noise_rms <= 0:
        raise InputError("seconds, noise_draws and noise_rms must be positive", field="null_inputs")
    length = round(seconds * sampling_rate)
    generator = torch.Generator().manual_seed(seed)
    inputs = []
    for kind in kinds:
        for draw in range(noise_draws if kind == "noise" else 1):
            noise = torch.randn(length, generator=generator) * noise_rms if kind == "noise" else None
            inputs.append(NullInput(kind, draw, torch.zeros(length) if kind == "silence" else noise))
    return inputs
