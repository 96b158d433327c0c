"""Speech encoders: frames of states per layer, one clip at a time, unpadded, as the checkpoint's own files prepare it.

Padding with a mask changes the states of most of these classes (group norm over time, squeezed frames, convolutions
over positions), so that a clip never stands in a batch with another.
"""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

import copy
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import ASTFeatureExtractor, WhisperFeatureExtractor

from emoprobe.errors import InputError
from emoprobe.models.base import WINDOW, Clip, Heard, Network, Prepared, SpeechFoundationModel, ready, shortest_clip
from emoprobe.models.transcribers.whisper import SAMPLES_PER_FRAME
from emoprobe.models.whole import keep_whole

# What a processor tells the feature extractor beside the checkpoint's settings, by transformers' model_type.
OPTIONS: dict[str, dict[str, Any]] = {"moonshine_streaming_encoder": {"padding": True, "pad_to_multiple_of": 80}}
INPUTS = ("input_values", "input_features", "attention_mask")
FRAME_SECONDS = 0.01  # of AST's spectrogram, which is cut off at a number of frames
UNHEARD = (RuntimeError, ValueError, IndexError, AssertionError, ZeroDivisionError)  # what too short a clip raises


class Encoder(SpeechFoundationModel):
    """Any speech encoder of transformers behind the SFM interface.

    In training mode no layer is dropped and no frame is masked (LayerDrop and SpecAugment are off): a head reads every
    layer, masks are refused by clips shorter than one of them, and many checkpoints lack the vector that a mask puts
    in. Dropout stays as the checkpoint has it.

    Args:
        model: The encoder alone, or with a classifier on top.
        extractor: The checkpoint's feature extractor.
        name: Hub name or path, for the record.
        revision: Exact version of the weights.
        place: Name of the encoder inside ``model``; empty where it is the encoder alone.
    """

    def __init__(self, model: Network, extractor: Any, *, name: str, revision: str, place: str = "") -> None:
        self.model = model.eval()
        self.extractor, self.place = extractor, place
        self.name, self.revision = name, revision
        self.dtype = str(model.dtype).removeprefix("torch.")
        self.sampling_rate = extractor.sampling_rate
        keep_whole(model)
        if place:
            names = model.config.id2label
            self.classes = tuple(names[number] for number in sorted(names))

    @property
    def encoder(self) -> Network:
        """The part of ``model`` that makes frames."""
        return self.model.get_submodule(self.place)

    @property
    def max_seconds(self) -> float:  # type: ignore[override]  # of most encoders there is no limit
        """What the feature extractor keeps of a clip."""
        if isinstance(self.extractor, WhisperFeatureExtractor):
            return float(self.extractor.chunk_length)
        if isinstance(self.extractor, ASTFeatureExtractor):
            return (self.extractor.max_length - 1) * FRAME_SECONDS + WINDOW
        return float(getattr(self.extractor, "max_audio_clip_s", "inf"))

    def around(self, model: Network) -> Encoder:
        """The same SFM around another copy of its model."""
        other = copy.copy(self)
        other.model, other.dtype = model.eval(), str(model.dtype).removeprefix("torch.")
        return other

    def save_processor(self, folder: Path) -> None:
        """Write the feature extractor's settings."""
        self.extractor.save_pretrained(folder)

    @cached_property
    def num_encoder_layers(self) -> int:
        """Blocks of the encoder, counted on a second of noise."""
        noise = torch.randn(self.sampling_rate, generator=torch.Generator().manual_seed(0)) * 0.1
        with torch.no_grad():
            return len(self._states(noise)) - 1

    @cached_property
    def min_samples(self) -> int:
        """Shortest clip of which every layer makes a frame, but no less than the 25 ms below which most is padding."""

        @torch.no_grad()
        def heard(waveform: Tensor) -> bool:
            try:
                with warnings.catch_warnings():  # of means of nothing
                    warnings.simplefilter("ignore", RuntimeWarning)
                    states = self._states(waveform)
            except torch.OutOfMemoryError:
                raise
            except UNHEARD:
                return False
            return all(len(state) and bool(state.isfinite().all()) for state in states)

        most = shortest_clip(self.sampling_rate, heard)
        if most == round(WINDOW * self.sampling_rate):
            return most
        noise = torch.randn(most, generator=torch.Generator().manual_seed(0)) * 0.1
        least = most // 2  # not heard; halved until the two are neighbours
        while most - least > 1:
            middle = (least + most) // 2
            least, most = (least, middle) if heard(noise[:middle]) else (middle, most)
        return most

    def prepare_clip(self, waveform: Tensor) -> Clip:
        """What the checkpoint's own feature extractor makes of one clip, a batch of one."""
        made = self.extractor(
            waveform.numpy(),
            sampling_rate=self.sampling_rate,
            return_tensors="pt",
            **OPTIONS.get(self.encoder.config.model_type, {}),
        )
        return Clip(len(waveform), {name: value for name, value in made.items() if name in INPUTS})

    def inputs(self, waveform: Tensor, made: Clip | None = None) -> dict[str, Tensor]:
        """The same, or what was made of it ahead, on the model's device and in its precision."""
        device, dtype = self.model.device, self.model.dtype
        return {
            name: value.to(device, dtype if value.is_floating_point() else None)
            for name, value in (made or self.prepare_clip(waveform)).inputs.items()
        }

    def _states(self, waveform: Tensor, made: Clip | None = None) -> list[Tensor]:
        """States of every layer, each ``[frames, width]``.

        The last one is what the encoder hands on, after whatever follows its blocks (a norm, frames doubled again, an
        adapter): of some classes ``hidden_states`` ends before that.
        """
        inputs = self.inputs(waveform, made)
        out = self.encoder(**inputs, output_hidden_states=True)
        layers = [*out.hidden_states[:-1], out.last_hidden_state]
        return [states[0, :own] for states, own in zip(layers, self._own(waveform, inputs, out, layers), strict=True)]

    def _own(self, waveform: Tensor, inputs: dict[str, Tensor], out: Any, layers: Sequence[Tensor]) -> list[int | None]:
        """How many of a layer's frames hold sound; None where all do.

        Feature extractors pad a single clip too: to an even number of spectra, by a spectrum beyond its end, to 30 s.
        The masks that they and the encoder give out tell those frames.
        """
        if isinstance(self.extractor, WhisperFeatureExtractor):
            return [-(-len(waveform) // SAMPLES_PER_FRAME)] * len(layers)
        given = inputs.get("attention_mask")
        masks = [mask for mask in (given, getattr(out, "attention_mask", None)) if mask is not None]
        lengths = {mask.shape[1]: int(mask.sum()) for mask in masks}
        own = [lengths.get(states.shape[1]) for states in layers]
        if given is not None and getattr(self.encoder, "adapter", None) is not None:
            shortened = getattr(self.encoder, "_compute_sub_sample_lengths_from_attention_mask", None)
            own[-1] = None if shortened is None else int(shortened(given)) * bool(given.sum())
        return own

    def hear(self, waveforms: Sequence[Tensor], layers: Sequence[int] = (), *, prepared: Prepared = ()) -> Heard:
        """States of each clip by itself; nothing answers, so there are no sounds."""
        self.check_layers(layers)
        self.check_lengths(waveforms)
        heard = []
        for waveform, made in zip(waveforms, ready(self, waveforms, prepared), strict=True):
            states = self._states(waveform, made)
            heard.append({layer: states[layer] for layer in layers})
        return Heard(heard)

    @torch.no_grad()
    def classify(self, waveforms: Sequence[Tensor]) -> Tensor:
        """Log-probabilities of ``classes`` by the checkpoint's own classifier, ``[clips, classes]`` float32, nats.

        Raises:
            InputError: There is no classifier, or its outputs are no distribution over classes.
        """
        if not self.classes:
            return super().classify(waveforms)
        kind = self.model.config.problem_type
        if kind not in (None, "single_label_classification") or len(self.classes) < 2:
            raise InputError(
                f"the classifier of {self.name} was trained for {kind or 'regression'}, so it gives no distribution",
                field="model",
                remedy="Choose a checkpoint for single_label_classification, or train a head (head=linear_probe).",
            )
        self.check_lengths(waveforms)
        logits = [self.model(**self.inputs(waveform)).logits[0].float() for waveform in waveforms]
        return torch.stack(logits).log_softmax(-1) if logits else torch.empty(0, len(self.classes))
