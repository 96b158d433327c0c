"""The clips of a corpus as waveforms, for recipes that look into a model without making a score table."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from emoprobe.data.sound.audio import read_audio
from emoprobe.data.sound.limits import AudioError
from emoprobe.errors import InputError, some
from emoprobe.recipes.inputs import prepare_run, read_corpus
from emoprobe.recipes.settings import read_dataset, read_labels

if TYPE_CHECKING:
    import numpy as np
    from omegaconf import DictConfig

    from emoprobe.data.utterance import Utterance
    from emoprobe.models.base import SpeechFoundationModel


class HeardClip(NamedTuple):
    """A clip of a corpus.

    Args:
        utterance: Whose it is.
        waveform: float32 mono at the model's rate, ``[samples]``.
        target: The raters' distribution, ``[labels]``.
    """

    utterance: Utterance
    waveform: np.ndarray
    target: np.ndarray

    @property
    def speaker(self) -> str:
        """Of whom clips stand or fall together; of an unknown one the clip itself."""
        return self.utterance.speaker or self.utterance.id


def read_clips(config: DictConfig, sfm: SpeechFoundationModel, least: int) -> list[HeardClip]:
    """The evaluated clips of a configuration's corpus that the model hears whole.

    Args:
        config: Of ``dataset``, ``labels`` and ``policy``.
        sfm: The model.
        least: How many are needed.

    Raises:
        InputError: There are fewer, or a clip cannot be heard and ``dataset.on_error`` is not ``skip``.
    """
    import torch

    dataset, labels = read_dataset(config), read_labels(config)
    prepared = prepare_run(dataset, read_corpus(dataset), labels)
    clips, lost = [], []
    for item in prepared.items:
        try:
            waveform = read_audio(item.utterance.audio, sfm.sampling_rate, dataset.audio).waveform
            sfm.check_lengths([torch.from_numpy(waveform)])
        except (AudioError, InputError) as error:
            if dataset.on_error != "skip":
                raise
            lost.append(f"{item.utterance.id} ({error})")
            continue
        clips.append(HeardClip(item.utterance, waveform, item.target.distribution))
    if lost:
        print(f"note: {len(lost)} clips were not heard: {some(lost, 3)}", file=sys.stderr)
    if len(clips) < least:
        raise InputError(
            f"{len(clips)} clips can be heard and {least} are needed", field="dataset", remedy="Choose more of them."
        )
    return clips
