"""How the clips of a corpus sound, in words, for prompts: each clip among the others (`emoprobe.models.acoustics`)."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from statistics import median

import numpy as np
from tqdm import tqdm

from emoprobe.data.sound.audio import read_audio
from emoprobe.data.sound.limits import AudioError, AudioLimits
from emoprobe.data.utterance import Utterance
from emoprobe.models.acoustics import Acoustics, Terciles, Thresholds, describe, measure, praat, semitones

SAMPLING_RATE = 16_000
MIN_CLIPS = 5  # of one speaker, before the speaker's own pitch is what a clip is compared with


def fit_thresholds(clips: Iterable[tuple[str | None, Acoustics]]) -> Thresholds:
    """Thresholds of a corpus.

    Args:
        clips: Speaker (None where unknown) and measures of each clip.
    """
    clips = list(clips)
    pitches: dict[str, list[float]] = {}
    for speaker, clip in clips:
        if speaker is not None and not math.isnan(clip.pitch):
            pitches.setdefault(speaker, []).append(clip.pitch)
    known = {speaker: median(values) for speaker, values in pitches.items() if len(values) >= MIN_CLIPS}
    return Thresholds(
        speaker_pitch=known,
        own_pitch=_terciles(semitones(pitch, own) for speaker, own in known.items() for pitch in pitches[speaker]),
        pitch=_terciles(clip.pitch for _, clip in clips),
        pitch_range=_terciles(clip.pitch_range for _, clip in clips),
        intensity=_terciles(clip.intensity for _, clip in clips),
        rate=_terciles(clip.rate for _, clip in clips),
    )


def acoustic_facts(
    utterances: Sequence[Utterance], limits: AudioLimits | None = None, *, progress: bool = True
) -> dict[str, str]:
    """Utterance id -> how the clip sounds, in words; every file is read once, at 16 kHz.

    The words compare the clips with each other: pass all utterances of the corpus, also where only some of them are
    asked about, or the words change with the choice. Files that cannot be used are left out.

    Args:
        utterances: The corpus's.
        limits: Which clips are taken; a clip to be truncated is measured up to the cut.
        progress: Whether to show a progress bar on stderr.

    Raises:
        InputError: praat-parselmouth is not installed.
    """
    praat()
    measured: dict[str, tuple[str | None, Acoustics]] = {}
    for utterance in tqdm(utterances, desc="Measuring", unit="clip", disable=not progress, file=sys.stderr):
        try:
            clip = read_audio(utterance.audio, SAMPLING_RATE, limits)
        except AudioError:
            continue  # reported where the model reads it
        measured[utterance.id] = (utterance.speaker, measure(clip.waveform, clip.sampling_rate))
    thresholds = fit_thresholds(measured.values())
    return {name: describe(acoustics, thresholds, speaker) for name, (speaker, acoustics) in measured.items()}


def _terciles(values: Iterable[float]) -> Terciles:
    known = [value for value in values if not math.isnan(value)]
    return Terciles(*map(float, np.quantile(known, (1 / 3, 2 / 3)))) if known else Terciles(math.nan, math.nan)
