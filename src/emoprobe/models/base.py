"""The interface of a speech foundation model (SFM), in parts: it hears, it answers, or both.

Nothing here knows of emotions. What every SFM can do stands here: it makes states of sound. What one can do that also
reads and writes text is `emoprobe.models.answering.AnsweringModel`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor

from emoprobe.errors import InputError

WINDOW = 0.025  # seconds of the spectrogram's window in every encoder here; less sound is mostly padding

Network: TypeAlias = Any
"""An ``nn.Module`` whose attributes are its class's own, where a checkpoint or a method of training says which."""


@dataclass
class Heard:
    """What comes of sounds, clip by clip, before anything is asked.

    Args:
        states: Per clip the encoder's states of the layers asked for, layer -> ``[frames, width]``: those frames that
            hold the clip's sound, of which layers may have different numbers.
        sounds: Per clip what the decoder is given, ``[positions, width]``: the encoder's states, or the input
            embeddings of an audio LLM. Empty where nothing answers.
        tokens: Per clip the token ids at the sound's positions; empty where the sound is not in the prompt.
    """

    states: list[dict[int, Tensor]]
    sounds: list[Tensor] = field(default_factory=list)
    tokens: list[tuple[int, ...]] = field(default_factory=list)


@dataclass(frozen=True)
class Clip:
    """A clip as a model's class is given it.

    Args:
        samples: Its length.
        inputs: What the class's own processor makes of it, on the CPU.
    """

    samples: int
    inputs: Mapping[str, Tensor]

    def __reduce__(self) -> tuple:
        # From one process to another as plain arrays: shared memory and open files may be few.
        return _restored, (self.samples, {name: value.numpy() for name, value in self.inputs.items()})


def _restored(samples: int, arrays: Mapping[str, Any]) -> Clip:
    return Clip(samples, {name: torch.from_numpy(value) for name, value in arrays.items()})


Prepared: TypeAlias = Sequence[Clip | None]
"""Clips that were prepared ahead, and None of others; empty where none was."""


class SpeechFoundationModel(ABC):
    """A loaded speech foundation model.

    Attributes:
        name: Hub name or path.
        revision: Exact version of the weights.
        dtype: Name of the computing dtype (``float32``, ``bfloat16``).
        sampling_rate: What waveforms must have, hertz.
        max_seconds: Longest clip that the model hears whole.
        min_samples: Shortest clip that the model hears: one window of its spectrogram, or what makes one token.
        hears: Whether sound reaches it, and not only words about the sound.
        answers: Whether it can be asked in words (`emoprobe.models.answering.AnsweringModel`).
        keeps_sound: Whether `Heard.sounds` can be kept on disk and given to the decoder again.
        classes: Names of the classes that the checkpoint was trained to tell apart, see `classify`; mostly none.
        model: The torch module.
    """

    hears: ClassVar[bool] = True
    answers: ClassVar[bool] = False
    keeps_sound: ClassVar[bool] = True
    classes: tuple[str, ...] = ()

    model: Network
    name: str
    revision: str
    dtype: str
    sampling_rate: int
    max_seconds: float

    @property
    def device(self) -> str:
        """Where it computes, for the record."""
        return str(self.model.device)

    @property
    def parts(self) -> Sequence[SpeechFoundationModel]:
        """Other models that it is made of; mostly none."""
        return ()

    @property
    @abstractmethod
    def min_samples(self) -> int:
        """Shortest clip that the model hears, samples at ``sampling_rate``."""

    def check_lengths(self, waveforms: Sequence[Tensor]) -> None:
        """Refuse clips that are not heard whole or not at all.

        Raises:
            InputError: A clip is too short or too long.
        """
        for i, length in enumerate(map(len, waveforms)):
            if length > self.max_seconds * self.sampling_rate + 1:
                raise InputError(
                    f"clip {i} of the batch is longer than the {self.max_seconds:g} s that {self.name} hears",
                    field="dataset.audio.max_seconds",
                    remedy="Truncate or refuse long audio when reading it.",
                )
            if length < self.min_samples:
                raise InputError(
                    f"clip {i} of the batch has {length} samples and {self.name} needs {self.min_samples} to hear it",
                    field="dataset.audio.min_seconds",
                    remedy="Refuse short audio when reading it.",
                )

    @abstractmethod
    def around(self, model: Network) -> SpeechFoundationModel:
        """The same SFM around another copy of its model, for example in another precision."""

    @abstractmethod
    def save_processor(self, folder: Path) -> None:
        """Write what turns sound and text into the model's inputs, beside a saved model."""

    @property
    @abstractmethod
    def num_encoder_layers(self) -> int:
        """Layers of the audio encoder; states exist of layers 0 (its input) to this number."""

    def check_layers(self, layers: Sequence[int]) -> None:
        """Refuse layers that the encoder does not have.

        Raises:
            InputError: There is one.
        """
        depth = self.num_encoder_layers
        unknown = [layer for layer in layers if not 0 <= layer <= depth]
        if unknown:
            raise InputError(f"{self.name} has no encoder layer {unknown[0]}", remedy=f"Layers are 0 to {depth}.")

    def prepare_clip(self, waveform: Tensor) -> Clip | None:
        """What the model's own processor makes of a clip, as far as that is work of the CPU alone.

        It can be done ahead, also in another process, and given to `hear` and `encode`: the model's weights are not
        touched.

        Args:
            waveform: As of `hear`.

        Returns:
            What `hear` takes as ``prepared``; None where nothing is done ahead.
        """
        return None

    def hears_together(self, waveforms: Sequence[Tensor]) -> bool:
        """Whether these clips can go through the encoder in one pass, of which comes what comes of each alone."""
        return False

    @abstractmethod
    def hear(self, waveforms: Sequence[Tensor], layers: Sequence[int] = (), *, prepared: Prepared = ()) -> Heard:
        """The encoder's work, once per clip, through which gradients flow where they are switched on.

        Args:
            waveforms: float32 mono waveforms ``[samples]`` at ``sampling_rate``.
            layers: Encoder layers whose states are wanted: 0 is the input of the first layer, another number that
                layer's output, and the last one is what the encoder hands on.
            prepared: Per clip what `prepare_clip` made of it, or None; none by default. A model that prepares nothing
                need not know of it.

        Raises:
            InputError: A clip is too long or too short, or there is no such layer.
        """

    def classify(self, waveforms: Sequence[Tensor]) -> Tensor:
        """Log-probabilities of the checkpoint's own classes, float32 nats ``[clips, classes]``.

        Args:
            waveforms: As of `hear`.

        Raises:
            InputError: The checkpoint has no classes.
        """
        raise InputError(
            f"{self.name} was not trained to tell classes apart",
            field="readout",
            remedy="Use a checkpoint with a classification head, or another readout.",
        )


def ready(sfm: SpeechFoundationModel, waveforms: Sequence[Tensor], prepared: Prepared) -> list[Clip]:
    """Per clip what was prepared ahead, or else is now, of a model that prepares."""
    pairs = zip(waveforms, prepared or repeat(None, len(waveforms)), strict=True)
    clips = [sfm.prepare_clip(waveform) if made is None else made for waveform, made in pairs]
    return [clip for clip in clips if clip is not None]


def ahead(prepared: Prepared) -> dict[str, Any]:
    """What `hear` and `encode` are told of clips: nothing where none was prepared, since a model may not know of it."""
    return {"prepared": prepared} if any(one is not None for one in prepared) else {}


def shortest_clip(sampling_rate: int, heard: Callable[[Tensor], bool]) -> int:
    """Samples of the shortest noise that is heard, of one window of 25 ms and its doublings up to 1.6 s.

    Raises:
        InputError: None of them is.
    """
    generator = torch.Generator().manual_seed(0)
    for doublings in range(7):
        length = round(WINDOW * sampling_rate) << doublings
        if heard(torch.randn(length, generator=generator) * 0.1):
            return length
    raise InputError(f"the model's processor makes nothing of {length / sampling_rate:g} s of sound", field="model")
