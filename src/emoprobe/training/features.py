"""The feature cache: frozen states of an SFM, computed once for every epoch, head, seed, fold and sweep job.

Features lie under ``<cache>/features/<key>/``. The key is a hash of what they depend on beside the sound (see
`FeatureSpec.key`; ``key.json`` beside them says it in words). A clip's entry is found by the SHA-256 of its file,
so that a clip that stands in two corpora or folds is computed once, and a changed file anew.

Each batch of clips becomes one safetensors file, which appears whole or not at all. Several processes that extract at
once share the work. Reading maps the files into memory and holds no file open.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from emoprobe.data.audio import AudioClip, AudioLimits, duration_seconds
from emoprobe.data.datamodule import Batch, SpeechDataModule
from emoprobe.data.utterance import Skipped, Utterance
from emoprobe.errors import InputError
from emoprobe.models.answering import answering
from emoprobe.models.base import SpeechFoundationModel
from emoprobe.system import stopping
from emoprobe.system.cache import cache_folder
from emoprobe.training.feature_spec import DTYPES, STATE, STATISTICS, FeatureSpec
from emoprobe.training.locks import SoundLocks
from emoprobe.training.store import Entry, FeatureStore, map_shard

POLL_SECONDS = 0.2  # between two looks at what other processes are encoding


class LayersError(InputError):
    """A model's layers cannot be kept together, or are not all there to be kept."""


class Features:
    """Features of utterances, read from memory-mapped files.

    Args:
        spec: What they are.
        entries: Where each utterance's features lie, by id.
        skipped: Utterances left out.
        sounds: Names of their sounds in the cache.

    Attributes:
        ids: Utterances with features.
        layers: Their layers, as the spec orders them.
        kinds: Their kinds, likewise; empty for frames.
        width: Number of features per layer and kind (or frame).
        skipped: Utterances left out.
        sha256: Of each utterance's sound file, hexadecimal.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        entries: Mapping[str, Entry],
        skipped: Sequence[Skipped] = (),
        sounds: Mapping[str, str] | None = None,
    ) -> None:
        self.ids, self.layers = tuple(entries), spec.layers
        self.sha256 = {name: sound.partition("-")[0] for name, sound in (sounds or {}).items()}
        self.source = spec.source
        self.kinds = (STATE,) if spec.source == "decoder" else spec.kinds
        self.skipped = tuple(skipped)
        self._entries = dict(entries)
        self._shards: dict[Path, list[Tensor]] = {}
        self.width = self._rows(self.ids[:1])[0].shape[-1]

    def stats(self, ids: Sequence[str]) -> Tensor:
        """Pooled (or, of a decoder, answer) states, ``[len(ids), layers, kinds, width]`` float32.

        Raises:
            InputError: The features are frames, an utterance has none, or a file is damaged.
        """
        if not self.kinds:
            raise InputError("these features are not pooled", field="frames", remedy="Read them frame by frame.")
        shape = (0, len(self.layers), len(self.kinds), self.width)
        return torch.stack(self._rows(ids)).float() if len(ids) else torch.empty(shape)

    def frames(self, ids: Sequence[str]) -> tuple[Tensor, Tensor]:
        """States frame by frame.

        Returns:
            ``[len(ids), layers, time, width]`` float32, zero beyond a clip's own frames, and the numbers of those
            ``[len(ids)]``.

        Raises:
            InputError: The features are pooled, an utterance has none, or a file is damaged.
        """
        if self.kinds or self.source == "sound":
            what = "pooled" if self.kinds else "what the decoder hears"
            raise InputError(f"these features are {what}", field="frames", remedy="Extract them with frames=true.")
        rows = self._rows(ids)
        lengths = torch.tensor([row.shape[1] for row in rows], dtype=torch.long)
        longest = max(lengths.tolist(), default=0)
        padded = torch.zeros(len(rows), len(self.layers), longest, self.width)
        for target, row in zip(padded, rows, strict=True):
            target[:, : row.shape[1]] = row
        return padded, lengths

    def sounds(self, ids: Sequence[str]) -> list[Tensor]:
        """What the decoder is given of each clip, ``[positions, width]``.

        Raises:
            InputError: The features are others, an utterance has none, or a file is damaged.
        """
        if self.source != "sound":
            raise InputError(
                "these features are not what the decoder hears", field="source", remedy="Use source=sound."
            )
        return [row[0] for row in self._rows(ids)]

    def _rows(self, ids: Sequence[str]) -> list[Tensor]:
        unknown = [name for name in ids if name not in self._entries]
        if unknown:
            raise InputError(
                f"there are no features of utterance {unknown[0]}", remedy="Use those of `ids`; others were left out."
            )
        entries = [self._entries[name] for name in ids]
        return [self._shard(entry.shard)[entry.row] for entry in entries]

    def _shard(self, path: Path) -> list[Tensor]:
        if path not in self._shards:
            self._shards[path] = map_shard(path)
        return self._shards[path]

    def __getstate__(self) -> dict:
        # A worker process maps the files itself: a mapped tensor would be copied on its way there.
        return self.__dict__ | {"_shards": {}}


def extract(
    sfm: SpeechFoundationModel,
    utterances: Sequence[Utterance],
    spec: FeatureSpec,
    limits: AudioLimits,
    *,
    batch_size: int = 8,
    on_error: str = "error",
    progress: bool = True,
    cache_dir: str | Path | None = None,
) -> Features:
    """Features of utterances: those in the cache as they are, the others computed and put there batch by batch.

    Args:
        sfm: The model, in evaluation mode.
        utterances: Whose sound to encode.
        spec: What to keep.
        limits: Which clips are taken; a cached clip that they refuse is refused.
        batch_size: Clips encoded at once; results do not depend on it.
        on_error: ``error`` to stop at a clip that cannot be used, ``skip`` to leave it out.
        progress: Whether to show a progress bar.
        cache_dir: Cache folder; see `emoprobe.system.cache.cache_folder`.

    Raises:
        AudioError: A clip cannot be used and ``on_error`` is ``error``.
        InputError: No clip is left, two utterances share an id, the model has no such layer, its states cannot be
            stored, the cache folder cannot be written, or a file in it is damaged.
    """
    if any(module.training for module in sfm.model.modules()):
        raise InputError(
            f"{sfm.name} is in training mode, in which its states are random", remedy="Call sfm.model.eval() first."
        )
    repeated = len(utterances) - len({utterance.id for utterance in utterances})
    if repeated:
        raise InputError(f"{repeated} utterances repeat the id of another", remedy="Give each utterance its own id.")
    cache = FeatureStore(cache_folder(cache_dir) / "features", spec.facts(sfm))
    with tqdm(total=len(utterances), unit="clip", desc="Features", disable=not progress, file=sys.stderr) as bar:
        extraction = Extraction(sfm, spec, limits, cache, bar)
        extraction.run(utterances, batch_size, on_error)
    sounds, skipped = extraction.sounds, extraction.skipped
    if not sounds:
        raise InputError(
            f"none of {len(utterances)} utterances has sound that can be used",
            field="dataset",
            remedy="Check dataset.root and dataset.audio; dataset.on_error=error names the first bad clip.",
        )
    kept = {utterance.id: cache.entries[sounds[utterance.id]] for utterance in utterances if utterance.id in sounds}
    return Features(spec, kept, skipped, sounds)


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

    def run(self, utterances: Sequence[Utterance], batch_size: int, on_error: str) -> None:
        """Until every clip has its features in the cache, or is left out; see `extract`."""
        self.names = {utterance.id: _name(utterance, self.limits) for utterance in utterances}
        self.data = SpeechDataModule(
            [utterance for utterance in utterances if not self._found(utterance)],
            self.sfm.sampling_rate,
            self.limits,
            batch_size=batch_size,
            on_error=on_error,
            min_samples=self.sfm.min_samples,
        )
        left = self.data.own
        while left:
            later: list[Utterance] = []
            for start in range(0, len(left), batch_size):
                later += self._batch(left[start : start + batch_size])
                if stopping.is_main():  # others would leave it waiting
                    stopping.check()
            if len(later) == len(left):
                self.bar.set_postfix_str("another process encodes the rest")
                time.sleep(POLL_SECONDS)
            left = later

    def _found(self, utterance: Utterance) -> bool:
        """Take what the cache has, if these limits would take the clip."""
        entry = self.cache.entries.get(self.names[utterance.id])
        # The cache does not know levels: a clip that could be near-silent is read anew, and not encoded anew.
        if entry is None or self.limits.near_silent != "keep" or (entry.silent and not self.limits.allow_silence):
            return False
        self.sounds[utterance.id] = self.names[utterance.id]
        self.bar.update()
        return True

    def _batch(self, utterances: Sequence[Utterance]) -> list[Utterance]:
        """Read and encode what is neither there nor another process's; returns what is another's."""
        names = [self.names[utterance.id] for utterance in utterances]
        with self.locks.held([name for name in names if name and name not in self.cache.entries]) as held:
            self.cache.refresh()  # what has been written since, perhaps by whoever had the lock before
            mine: list[Utterance] = []
            later: list[Utterance] = []
            for utterance, name in zip(utterances, names, strict=True):
                if self._found(utterance):
                    continue
                others = name and name not in self.cache.entries and name not in held
                (later if others else mine).append(utterance)
            if mine:
                self.data.own = mine
                for batch in self.data.predict_dataloader():
                    self._add(self.data.on_before_batch_transfer(batch, 0))
        return later

    def _add(self, batch: Batch) -> None:
        """Put a batch's new sounds into the cache."""
        new = {}
        for utterance, clip in zip(batch.utterances, batch.clips, strict=True):
            sound = _sound(clip.sha256, clip.duration_seconds, self.limits)
            self.sounds[utterance.id] = sound
            if sound not in self.cache.entries:
                new[sound] = (utterance, clip)
        if new:
            clips = [clip for _, clip in new.values()]
            rows = _states(self.sfm, clips, self.spec)
            for (utterance, _), row in zip(new.values(), rows, strict=True):
                _check_finite(row, utterance, self.spec)
            self.cache.write(rows, list(new), [not clip.waveform.any() for clip in clips])
        self.skipped += batch.skipped
        self.bar.update(len(batch.utterances) + len(batch.skipped))


def _name(utterance: Utterance, limits: AudioLimits) -> str:
    """The name of an utterance's sound, empty if it has to be read to learn why these limits do not take it."""
    seconds = duration_seconds(utterance.audio)  # 0 of anything but a regular file that holds sound
    if not seconds or seconds < limits.min_seconds:
        return ""
    if seconds > limits.max_seconds and limits.long_audio == "refuse":
        return ""
    try:
        with utterance.audio.open("rb") as file:
            return _sound(hashlib.file_digest(file, "sha256").hexdigest(), seconds, limits)
    except OSError:
        return ""


def _sound(sha256: str, seconds: float, limits: AudioLimits) -> str:
    """The name of what is heard: the file, and where it is cut."""
    return f"{sha256}-{float(limits.max_seconds)!r}s" if seconds > limits.max_seconds else sha256


def _states(sfm: SpeechFoundationModel, clips: Sequence[AudioClip], spec: FeatureSpec) -> list[Tensor]:
    """Per clip ``[layers, kinds or frames, width]`` on the CPU, in the dtype of storage."""
    dtype = DTYPES[str(spec.dtype)]
    waveforms = [torch.from_numpy(clip.waveform) for clip in clips]
    if spec.source == "sound":
        with torch.no_grad():
            return [sound[None].to(dtype).cpu() for sound in sfm.hear(waveforms).sounds]
    if spec.source == "decoder" and spec.question is not None:
        asked = answering(sfm)
        states = asked.hidden_states(asked.encode(waveforms), spec.question)
        unknown = [layer for layer in spec.layers if layer not in states]
        if unknown:
            raise LayersError(
                f"{sfm.name} has no decoder layer {unknown[0]}", remedy=f"Layers are {min(states)} to {max(states)}."
            )
        return list(torch.stack([states[layer] for layer in spec.layers], dim=1).unsqueeze(2).to(dtype))
    with torch.no_grad():
        heard = sfm.hear(waveforms, spec.layers)
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
