"""The feature cache: frozen states of an SFM, computed once for every epoch, head, seed, fold and sweep job.

Features lie under ``<cache>/features/<key>/``. The key is a hash of what they depend on beside the sound (`FeatureSpec`
and `FeatureSpec.key`; ``key.json`` beside them says it in words). A clip's entry is found by the SHA-256 of its file,
so that a clip that stands in two corpora or folds is computed once, and a changed file anew.

Each batch of clips becomes one safetensors file, which appears whole or not at all; several processes may extract at
once. Reading maps the files into memory and holds no file open.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from tqdm import tqdm

from emoprobe.data.audio import AudioClip, AudioLimits, duration_seconds
from emoprobe.data.datamodule import Batch, SpeechDataModule
from emoprobe.data.utterance import Skipped, Utterance
from emoprobe.errors import InputError
from emoprobe.models.answering import Question, answering
from emoprobe.models.base import SpeechFoundationModel
from emoprobe.system import stopping
from emoprobe.system.cache import cache_folder
from emoprobe.training.store import Entry, FeatureStore, digest_of, map_shard

FORMAT = 2  # of the files; part of the key
LIBRARIES = ("emoprobe", "torch", "transformers", "soundfile", "soxr")  # what a feature depends on beside the model
STATISTICS = {
    "mean": lambda states: states.mean(0),
    "std": lambda states: states.std(0, correction=0),
    "max": lambda states: states.amax(0),
}
STATE = "state"  # the one kind of a decoder's features: its state at the answer position
DTYPES = {"float32": torch.float32, "float16": torch.float16}
SAMPLED_ELEMENTS = 64  # of each tensor of the weights, for the key


class LayersError(InputError):
    """A model's layers cannot be kept together, or are not all there to be kept."""


@dataclass(frozen=True)
class FeatureSpec:
    """What is kept of an SFM's states.

    Args:
        source: ``encoder``: states of the clip's own frames; ``decoder``: states at the answer position of a question;
            ``sound``: what the decoder is given of the clip (`SpeechFoundationModel.hear`).
        layers: Layers to keep, in this order; 0 is the input of the first layer. A sound has none.
        kinds: For pooled encoder states some of ``mean``, ``std`` (of the population) and ``max`` over the frames.
        frames: Keep the encoder's states frame by frame instead of pooling them.
        question: What the decoder is asked; its prefix is used, its continuations are not.
        normalised: Layer norm of every encoder state, without weights, before anything is pooled.
        dtype: Of storage, ``float32`` or ``float16``; by default float16 for frames and float32 otherwise.

    Raises:
        InputError: The options do not fit together.
    """

    source: Literal["encoder", "decoder", "sound"]
    layers: tuple[int, ...] = ()
    kinds: tuple[str, ...] = ()
    frames: bool = False
    question: Question | None = None
    dtype: Literal["float32", "float16"] | None = None
    normalised: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "kinds", tuple(self.kinds))
        object.__setattr__(self, "dtype", self.dtype or ("float16" if self.frames else "float32"))
        if self.source not in ("encoder", "decoder", "sound"):
            raise InputError(f"unknown source {self.source!r}", field="source", remedy="Use encoder, decoder or sound.")
        if self.dtype not in DTYPES:
            raise InputError(f"unknown dtype {self.dtype!r}", field="dtype", remedy=f"Use one of {', '.join(DTYPES)}.")
        if self.normalised and self.source != "encoder":
            raise InputError("only encoder states are normalised", field="normalised", remedy="Use source=encoder.")
        if self.source == "sound":
            if self.layers or self.kinds or self.frames or self.question is not None:
                raise InputError(
                    "what the decoder hears has neither layers, kinds, frames nor question", field="source"
                )
            return
        whole = all(isinstance(layer, int) and not isinstance(layer, bool) and layer >= 0 for layer in self.layers)
        if not self.layers or not whole or len(set(self.layers)) < len(self.layers):
            raise InputError(
                f"{list(self.layers)} are not layers", field="layers", remedy="Give each once, as a number from 0 on."
            )
        unknown = [kind for kind in self.kinds if kind not in STATISTICS]
        if unknown or len(set(self.kinds)) < len(self.kinds):
            raise InputError(
                f"{list(self.kinds)} are not statistics", field="kinds", remedy=f"Use some of {', '.join(STATISTICS)}."
            )
        if self.source == "encoder" and (bool(self.kinds) == self.frames or self.question is not None):
            raise InputError(
                "encoder features take either kinds or frames, and no question",
                field="kinds",
                remedy="Give for example kinds=[mean, std], or frames=true.",
            )
        if self.source == "decoder" and (self.kinds or self.frames or self.question is None):
            raise InputError(
                "decoder features take a question, and neither kinds nor frames",
                field="question",
                remedy="Leave kinds and frames out: the state at the answer position is kept as it is.",
            )

    def key(self, sfm: SpeechFoundationModel) -> str:
        """Hash of all that these features of a sound depend on, hexadecimal."""
        return digest_of(self.facts(sfm))

    def facts(self, sfm: SpeechFoundationModel) -> dict:
        """What goes into the key, field by field.

        The weights and the configuration stand beside the model's name and revision, since a quantised, tuned or
        adapted copy of a model bears the same name.
        """
        facts = {
            "format": FORMAT,
            "source": self.source,
            "layers": list(self.layers),
            "kinds": list(self.kinds),
            "frames": self.frames,
            "question": None if self.question is None else list(self.question.prefix),
            "stored_dtype": self.dtype,
            "model": sfm.name,
            "revision": sfm.revision,
            "dtype": sfm.dtype,
            "sampling_rate": sfm.sampling_rate,
            "weights": sample_of_weights(sfm.model),
            "config": _config(sfm.model),
            "libraries": {name: version(name) for name in LIBRARIES},
        }
        return facts | {"normalised": True} if self.normalised else facts


def sample_of_weights(model: torch.nn.Module) -> str:
    """Hash of name, shape, dtype, sum of bits and a few elements of every tensor; the same on every device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not isinstance(tensor, Tensor):
            continue
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        if not tensor.is_meta and tensor.numel():
            flat = tensor.detach().flatten()
            some = flat[:: max(1, len(flat) // SAMPLED_ELEMENTS)]
            digest.update(some.cpu().contiguous().view(torch.uint8).numpy().tobytes())
            # Whole numbers add up to the same in any order: one changed element anywhere changes the sum.
            bits = flat.contiguous().view(torch.uint8)
            whole = len(bits) // 8 * 8
            words = (bits[:whole] if bits.storage_offset() % 8 == 0 else bits[:whole].clone()).view(torch.int64)
            digest.update(f"{int(words.sum())} {bits[whole:].tolist()}".encode())
    return digest.hexdigest()[:16]


def _config(model: torch.nn.Module) -> str:
    """Hash of a model's configuration: what its weights do not show, such as the number of heads."""
    config = getattr(model, "config", None)
    facts = {} if config is None else config.to_dict()
    return digest_of(json.loads(json.dumps({k: v for k, v in facts.items() if k != "_name_or_path"}, default=str)))


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
        sounds: dict[str, str] = {}
        missing = []
        for utterance in utterances:
            sound = _known_sound(utterance, limits, cache)
            if sound is None:
                missing.append(utterance)
            else:
                sounds[utterance.id] = sound
                bar.update()
        skipped: list[Skipped] = []
        data = SpeechDataModule(
            missing, sfm.sampling_rate, limits, batch_size=batch_size, on_error=on_error, min_samples=sfm.min_samples
        )
        for batch in data.predict_dataloader():
            data.on_before_batch_transfer(batch, 0)
            sounds |= _add(sfm, batch, spec, limits, cache)
            skipped += batch.skipped
            bar.update(len(batch.utterances) + len(batch.skipped))
            if stopping.is_main():  # others would leave it waiting
                stopping.check()
    if not sounds:
        raise InputError(
            f"none of {len(utterances)} utterances has sound that can be used",
            field="dataset",
            remedy="Check dataset.root and dataset.audio; dataset.on_error=error names the first bad clip.",
        )
    kept = {utterance.id: cache.entries[sounds[utterance.id]] for utterance in utterances if utterance.id in sounds}
    return Features(spec, kept, skipped, sounds)


def _known_sound(utterance: Utterance, limits: AudioLimits, cache: FeatureStore) -> str | None:
    """The name of an utterance's sound, if the cache has it and these limits would take it."""
    if limits.near_silent != "keep":
        return None  # the cache does not know levels; a clip that is read anew is not encoded anew
    seconds = duration_seconds(utterance.audio)  # 0 of anything but a regular file that holds sound
    if not seconds or seconds < limits.min_seconds:
        return None
    if seconds > limits.max_seconds and limits.long_audio == "refuse":
        return None
    try:
        with utterance.audio.open("rb") as file:
            sound = _sound(hashlib.file_digest(file, "sha256").hexdigest(), seconds, limits)
    except OSError:
        return None
    entry = cache.entries.get(sound)
    return None if entry is None or (entry.silent and not limits.allow_silence) else sound


def _sound(sha256: str, seconds: float, limits: AudioLimits) -> str:
    """The name of what is heard: the file, and where it is cut."""
    return f"{sha256}-{float(limits.max_seconds)!r}s" if seconds > limits.max_seconds else sha256


def _add(
    sfm: SpeechFoundationModel, batch: Batch, spec: FeatureSpec, limits: AudioLimits, cache: FeatureStore
) -> dict[str, str]:
    """Put a batch's new sounds into the cache; the name of every utterance's sound, by id."""
    cache.refresh()  # another process may have been here meanwhile
    names, new = {}, {}
    for utterance, clip in zip(batch.utterances, batch.clips, strict=True):
        sound = _sound(clip.sha256, clip.duration_seconds, limits)
        names[utterance.id] = sound
        if sound not in cache.entries:
            new[sound] = (utterance, clip)
    if new:
        clips = [clip for _, clip in new.values()]
        rows = _states(sfm, clips, spec)
        for (utterance, _), row in zip(new.values(), rows, strict=True):
            _check_finite(row, utterance, spec)
        cache.write(rows, list(new), [not clip.waveform.any() for clip in clips])
    return names


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
