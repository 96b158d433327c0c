"""The feature cache: frozen states of an SFM, computed once for every epoch, head, seed, fold and sweep job.

Features lie under ``<cache>/features/<key>/``. The key is a hash of what they depend on beside the sound (see
`FeatureSpec.key`; ``key.json`` beside them says it in words). A clip's entry is found by the SHA-256 of its file,
so that a clip that stands in two corpora or folds is computed once, and a changed file anew.

Each batch of clips becomes one safetensors file, which appears whole or not at all. Several processes that extract at
once share the work. Reading maps the files into memory and holds no file open.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from emoprobe.data.datamodule import workers_beside
from emoprobe.data.sound.limits import AudioLimits
from emoprobe.data.utterance import Skipped, Utterance
from emoprobe.errors import InputError
from emoprobe.models.base import SpeechFoundationModel
from emoprobe.system.cache import cache_folder
from emoprobe.training.extraction import Extraction
from emoprobe.training.feature_spec import STATE, FeatureSpec
from emoprobe.training.store import Entry, FeatureStore, map_shard


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
    num_workers: int | None = 0,
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
        num_workers: Processes that read clips ahead; see `emoprobe.data.datamodule.workers_beside`.
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
        extraction.run(utterances, batch_size, on_error, workers_beside(num_workers, sfm.model.device))
    sounds, skipped = extraction.sounds, extraction.skipped
    if not sounds:
        raise InputError(
            f"none of {len(utterances)} utterances has sound that can be used",
            field="dataset",
            remedy="Check dataset.root and dataset.audio; dataset.on_error=error names the first bad clip.",
        )
    kept = {utterance.id: cache.entries[sounds[utterance.id]] for utterance in utterances if utterance.id in sounds}
    return Features(spec, kept, skipped, sounds)
