"""Filling the feature cache, together with whichever other processes do the same at the time."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from emoprobe.data.datamodule import Batch, SpeechDataModule
from emoprobe.data.sound.audio import AudioClip, duration_seconds
from emoprobe.data.sound.limits import AudioLimits
from emoprobe.data.utterance import Skipped, Utterance
from emoprobe.errors import InputError
from emoprobe.models.answering import answering
from emoprobe.models.base import Prepared, SpeechFoundationModel, ahead
from emoprobe.system import stopping
from emoprobe.training.feature_spec import DTYPES, STATISTICS, FeatureSpec
from emoprobe.training.locks import SoundLocks
from emoprobe.training.store import FeatureStore

POLL_SECONDS = 0.2  # between two looks at what other processes are encoding


class LayersError(InputError):
    """A model's layers cannot be kept together, or are not all there to be kept."""


class Extraction:
    """Fills the cache with what it lacks, together with whichever other processes do the same at the time.

    A sound that another process is encoding is left for later: it is taken from the cache when it is there, and encoded
    here if that process has ended without it.

    Args:
        sfm: The model.
        spec: What is kept.
        limits: Which clips are taken.
        cache: Where.
        bar: Told of every clip that is done.

    Attributes:
        sounds: Names of the clips' sounds in the cache, by id.
        skipped: Clips left out.
    """

    def __init__(
        self,
        sfm: SpeechFoundationModel,
        spec: FeatureSpec,
        limits: AudioLimits,
        cache: FeatureStore,
        bar: tqdm,
    ) -> None:
        self.sfm, self.spec, self.limits, self.cache, self.bar = sfm, spec, limits, cache, bar
        self.locks = SoundLocks(cache.folder)
        self.sounds: dict[str, str] = {}
        self.skipped: list[Skipped] = []

    def run(self, utterances: Sequence[Utterance], batch_size: int, on_error: str, num_workers: int) -> None:
        """Until every clip has its features in the cache, or is left out; see `extract`."""
        self.names = {utterance.id: _name(utterance, self.limits) for utterance in utterances}
        self.data = SpeechDataModule(
            [utterance for utterance in utterances if not self._found(utterance)],
            self.sfm.sampling_rate,
            self.limits,
            batch_size=batch_size,
            num_workers=num_workers,
            on_error=on_error,
            min_samples=self.sfm.min_samples,
            prepare=self.sfm.prepare_clip,
        )
        left = list(range(len(self.data.own)))
        while left:
            later = self._round(left)
            self.data.num_workers = 0  # what is left is little, and processes take long to begin
            if len(later) == len(left):
                self.bar.set_postfix_str("another process encodes the rest")
                time.sleep(POLL_SECONDS)
                if stopping.is_main():
                    stopping.check()
            left = later

    def _round(self, left: Sequence[int]) -> list[int]:
        """Encode what is neither there nor another process's; returns what is another's.

        Args:
            left: Places of clips among those that are read.
        """
        later: list[int] = []
        reading: deque[ExitStack] = deque()  # the locks of each batch that is being read ahead
        try:
            for batch in self.data.chosen(self._mine(left, reading, later)):
                self._add(self.data.on_before_batch_transfer(batch, 0))
                reading.popleft().close()
                if stopping.is_main():  # others would leave it waiting
                    stopping.check()
        finally:
            for locks in reading:
                locks.close()
        return later

    def _mine(self, left: Sequence[int], reading: deque[ExitStack], later: list[int]) -> Iterator[list[int]]:
        """Batches to encode here, locked; whatever another process is encoding goes to ``later``."""
        for start in range(0, len(left), self.data.batch_size):
            places = left[start : start + self.data.batch_size]
            names = [self.names[self.data.own[place].id] for place in places]
            with ExitStack() as locks:
                new = [name for name in names if name and name not in self.cache.entries]
                held = locks.enter_context(self.locks.held(new))
                self.cache.refresh()  # what has been written since, perhaps by whoever had the lock before
                mine: list[int] = []
                for place, name in zip(places, names, strict=True):
                    if not self._found(self.data.own[place]):
                        others = name and name not in self.cache.entries and name not in held
                        (later if others else mine).append(place)
                if not mine:
                    continue
                reading.append(locks.pop_all())
            yield mine

    def _found(self, utterance: Utterance) -> bool:
        """Take what the cache has, if these limits would take the clip."""
        entry = self.cache.entries.get(self.names[utterance.id])
        # The cache does not know how a clip sounds: one that could be left out is read anew, and not encoded anew.
        if entry is None or not self.limits.keeps_all or (entry.silent and not self.limits.allow_silence):
            return False
        self.sounds[utterance.id] = self.names[utterance.id]
        self.bar.update()
        return True

    def _add(self, batch: Batch) -> None:
        """Put a batch's new sounds into the cache."""
        new: dict[str, dict[int, tuple[AudioClip, Any]]] = {}  # of each sound its windows
        names = {}
        for utterance, clip, prepared in zip(batch.utterances, batch.clips, batch.prepared, strict=True):
            sound = _sound(clip.sha256, clip.duration_seconds, self.limits)
            self.sounds[utterance.id] = sound
            if sound not in self.cache.entries:
                new.setdefault(sound, {})[clip.window] = clip, prepared
                names[sound] = utterance
        if new:
            windows = [window for sound in new.values() for window in sound.values()]
            states: list[Tensor] = []
            for start in range(0, len(windows), len(new)):  # windows of long clips are many
                part = windows[start : start + len(new)]
                states += _states(self.sfm, [clip for clip, _ in part], self.spec, [made for _, made in part])
            own = iter(states)
            rows = [_over_windows([next(own) for _ in sound], self.spec) for sound in new.values()]
            for utterance, row in zip(names.values(), rows, strict=True):
                _check_finite(row, utterance, self.spec)
            silent = [not any(clip.waveform.any() for clip, _ in sound.values()) for sound in new.values()]
            self.cache.write(rows, list(new), silent)
        self.skipped += batch.skipped
        self.bar.update(batch.num_clips + len(batch.skipped))


def _name(utterance: Utterance, limits: AudioLimits) -> str:
    """The name of an utterance's sound, empty if it has to be read to learn why these limits do not take it."""
    seconds = duration_seconds(utterance.audio)  # 0 of anything but a regular file that holds sound
    if not seconds or seconds < limits.min_seconds:
        return ""
    if seconds > limits.max_seconds and limits.long_audio in ("refuse", "skip"):
        return ""
    try:
        with utterance.audio.open("rb") as file:
            return _sound(hashlib.file_digest(file, "sha256").hexdigest(), seconds, limits)
    except OSError:
        return ""


def _sound(sha256: str, seconds: float, limits: AudioLimits) -> str:
    """The name of what is heard: the file, and where it is cut, or into how many windows."""
    if limits.windows(seconds) > 1:
        return f"{sha256}-{limits.windows(seconds)}w"
    return f"{sha256}-{float(limits.max_seconds)!r}s" if seconds > limits.max_seconds else sha256


def _over_windows(rows: Sequence[Tensor], spec: FeatureSpec) -> Tensor:
    """One clip's features out of those of its windows: their mean; frames one after the other.

    Args:
        rows: Of each window ``[layers, kinds or frames, width]``.
        spec: What is kept.
    """
    if len(rows) == 1:
        return rows[0]
    return torch.cat(list(rows), dim=1) if spec.frames else torch.stack(list(rows)).float().mean(0).to(rows[0].dtype)


def _states(
    sfm: SpeechFoundationModel, clips: Sequence[AudioClip], spec: FeatureSpec, prepared: Prepared
) -> list[Tensor]:
    """Per clip ``[layers, kinds or frames, width]`` on the CPU, in the dtype of storage."""
    dtype = DTYPES[str(spec.dtype)]
    waveforms = [torch.from_numpy(clip.waveform) for clip in clips]
    if spec.source == "sound":
        with torch.no_grad():
            return [sound[None].to(dtype).cpu() for sound in sfm.hear(waveforms, **ahead(prepared)).sounds]
    if spec.source == "decoder" and spec.question is not None:
        asked = answering(sfm)
        states = asked.hidden_states(asked.encode(waveforms, **ahead(prepared)), spec.question)
        unknown = [layer for layer in spec.layers if layer not in states]
        if unknown:
            raise LayersError(
                f"{sfm.name} has no decoder layer {unknown[0]}", remedy=f"Layers are {min(states)} to {max(states)}."
            )
        return list(torch.stack([states[layer] for layer in spec.layers], dim=1).unsqueeze(2).to(dtype))
    with torch.no_grad():
        heard = sfm.hear(waveforms, spec.layers, **ahead(prepared))
    return [_encoder_row(sfm, states, spec).to(dtype).cpu() for states in heard.states]


def _encoder_row(sfm: SpeechFoundationModel, states: Mapping[int, Tensor], spec: FeatureSpec) -> Tensor:
    """Of one clip ``[layers, kinds or frames, width]``."""
    own = [states[layer].float() for layer in spec.layers]
    if spec.normalised:
        own = [torch.nn.functional.layer_norm(layer, layer.shape[-1:]) for layer in own]
    if not spec.frames:
        own = [pooled(layer, spec.kinds) for layer in own]
    shapes = {tuple(layer.shape) for layer in own}
    if len(shapes) > 1:
        what = "numbers of frames" if len({width for _, width in shapes}) == 1 else "widths"
        raise LayersError(
            f"layers {', '.join(map(str, spec.layers))} of {sfm.name} have different {what}",
            field="head.layers",
            remedy="Choose layers that agree" + (", or head.pooling=stats." if "frames" in what else "."),
        )
    return torch.stack(own)


def pooled(states: Tensor, kinds: Sequence[str]) -> Tensor:
    """Statistics over frames, ``[frames, width]`` to ``[kinds, width]``."""
    return torch.stack([STATISTICS[kind](states) for kind in kinds])


def _check_finite(row: Tensor, utterance: Utterance, spec: FeatureSpec) -> None:
    """Refuse states that overflowed, in the model or on their way to half precision."""
    finite = row.isfinite().flatten(1).all(1)
    if not finite.all():
        layer = (spec.layers or ("last",))[int((~finite).nonzero()[0])]
        half = spec.dtype == "float16"
        raise InputError(
            f"the {spec.source}'s states of utterance {utterance.id} at layer {layer} are not finite"
            + (" or too large for float16" if half else ""),
            file=utterance.audio,
            field="dtype" if half else "model.dtype",
            remedy="Store these features as float32." if half else "Load the model with model.dtype=float32.",
        )
