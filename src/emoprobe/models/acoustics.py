"""Acoustic descriptors in words, for prompts and models that are told how a clip sounds.

Models that read pitch, energy and speaking rate as words: Dhamyal et al. (2023), "Prompting audios using acoustic
properties for emotion representation", arXiv:2310.02298; Wu et al. (2024), "Beyond silent letters: amplifying LLMs in
emotion recognition with vocal nuances", arXiv:2407.21315.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
from scipy.signal import find_peaks

from emoprobe.errors import InputError

MIN_VOICED_SECONDS = 0.05
LEVELS = ("low", "medium", "high")
VARIATION = ("monotone", "moderately varied", "varied")
NOT_MEASURABLE = "not measurable"
MEASURES = ("pitch", "pitch_range", "intensity", "rate")

_STEP = 0.01  # seconds between frames
_PITCH_RANGE = (60.0, 700.0)  # hertz, of the first pass: from deep voices to shouts
_INTENSITY_FLOOR = 50.0  # hertz; sets Praat's intensity window, 64 ms
_PADDING = 0.1  # seconds; more than half of the longest window, so that frames reach both ends of the clip
_SILENCE = 0.0  # dB re 20 µPa: quieter than the least step of 16-bit sound
_ACTIVE = 25.0  # dB below the loudest frames; quieter ones are silence
_DIP = 2.0  # dB between two syllables
_PAUSE = 0.3  # seconds; shorter silences (closures of stops) belong to the speech


@dataclass(frozen=True)
class Acoustics:
    """How a clip sounds; NaN where it cannot be told.

    Args:
        pitch: Median F0, hertz; NaN for less than 0.05 s of voiced speech.
        pitch_range: Between the 10th and the 90th percentile of F0, semitones.
        intensity: Mean of the active parts, dB re 20 µPa where samples are taken for pascals, as Praat does: only
            differences between clips mean anything. NaN for silence.
        rate: Syllable nuclei per second of active speech; NaN where none is found.
    """

    pitch: float = math.nan
    pitch_range: float = math.nan
    intensity: float = math.nan
    rate: float = math.nan


def measure(waveform: np.ndarray, sampling_rate: int) -> Acoustics:
    """Measure a clip with Praat.

    F0 is tracked by autocorrelation (Boersma 1993) in two passes, the second between 0.75 of the first quartile and 2.5
    times the third quartile of the first (De Looze & Hirst 2008, ceiling for expressive speech). Active are frames less
    than 25 dB below the 0.99 quantile of intensity, and silences shorter than 0.3 s between them. Syllable nuclei are
    found in the manner of de Jong & Wempe (2009): voiced peaks of intensity in active frames that stand 2 dB above the
    dips on both sides. Unstressed syllables are sometimes missed, so rates are for comparison.

    Args:
        waveform: Mono float32 samples ``[samples]``.
        sampling_rate: Hertz.

    Raises:
        InputError: praat-parselmouth is not installed.
    """
    parselmouth = praat()
    samples = waveform.astype(np.float64)
    # Silence around the clip lets frames reach its ends, and clips be as short as they like.
    sound = parselmouth.Sound(np.pad(samples - samples.mean(), round(_PADDING * sampling_rate)), sampling_rate)
    intensity = sound.to_intensity(_INTENSITY_FLOOR, _STEP)
    times, level = intensity.xs(), intensity.values[0]
    inside = (times > _PADDING) & (times < sound.duration - _PADDING)
    active = inside & (level > max(np.quantile(level, 0.99) - _ACTIVE, _SILENCE))
    if not active.any():
        return Acoustics()
    mean_level = float(10 * np.log10(np.mean(10 ** (level[active] / 10))))
    f0 = _track_pitch(sound, times)
    voiced = f0[f0 > 0]
    if len(voiced) * _STEP < MIN_VOICED_SECONDS:
        return Acoustics(intensity=mean_level)
    low, middle, high = np.quantile(voiced, (0.1, 0.5, 0.9))
    # Of peaks of one height scipy gives each the prominence of all; on a slight slope only the first keeps it.
    peaks, _ = find_peaks(level - 1e-6 * np.arange(len(level)), prominence=_DIP)
    nuclei = int((active[peaks] & (f0[peaks] > 0)).sum())
    return Acoustics(
        pitch=float(middle),
        pitch_range=float(12 * np.log2(high / low)),
        intensity=mean_level,
        rate=nuclei / _speaking_seconds(active) if nuclei else math.nan,
    )


@dataclass(frozen=True)
class Terciles:
    """What divides clips into a lower, a middle and an upper third; NaN where nothing was measured."""

    lower: float
    upper: float

    def word(self, value: float, words: tuple[str, str, str] = LEVELS) -> str:
        """The third that a value belongs to, in words; a value on a boundary belongs to the middle."""
        if math.isnan(value) or math.isnan(self.lower):
            return NOT_MEASURABLE
        return words[0] if value < self.lower else words[2] if value > self.upper else words[1]


@dataclass(frozen=True)
class Thresholds:
    """What counts as low, medium and high, of a corpus: terciles of each measure over its clips.

    A pitch that is high for one voice is low for another. Where a speaker has at least 5 clips with a measurable pitch,
    their pitch is therefore taken relative to the speaker's own median and compared with all such clips; other clips
    are compared by their pitch in hertz with all clips of the corpus. Variation, energy and rate are compared with all
    clips; energy therefore also tells how loud a speaker was recorded. No votes are used.

    Args:
        pitch: Pitch, hertz.
        pitch_range: Semitones.
        intensity: dB.
        rate: Syllable nuclei per second.
        speaker_pitch: Speaker -> median of the pitch of the speaker's clips, hertz.
        own_pitch: Pitch above the speaker's median, semitones.
    """

    pitch: Terciles
    pitch_range: Terciles
    intensity: Terciles
    rate: Terciles
    speaker_pitch: Mapping[str, float] = field(default_factory=dict)
    own_pitch: Terciles = Terciles(math.nan, math.nan)


def read_thresholds(given: Mapping[str, Sequence[float]]) -> Thresholds:
    """Thresholds that do not depend on a corpus, by measure where low ends and high begins.

    Raises:
        InputError: A measure is unknown or missing, its two values are none, or praat-parselmouth is not installed.
    """
    praat()
    if set(given) != set(MEASURES):
        raise InputError(
            f"thresholds of {', '.join(given) or 'nothing'} are given",
            field="model.acoustics",
            remedy=f"Give those of {', '.join(MEASURES)}, such as pitch: [153, 215], or null.",
        )
    for name, pair in given.items():
        numbers = isinstance(pair, list | tuple) and all(type(value) in (int, float) for value in pair)
        if not numbers or len(pair) != 2 or not pair[0] <= pair[1]:
            raise InputError(
                f"{pair!r} does not say where low ends and high begins",
                field=f"model.acoustics.{name}",
                remedy="Give two numbers, the lower one first.",
            )
    pitch, pitch_range, intensity, rate = (Terciles(float(given[name][0]), float(given[name][1])) for name in MEASURES)
    return Thresholds(pitch=pitch, pitch_range=pitch_range, intensity=intensity, rate=rate)


def describe(acoustics: Acoustics, thresholds: Thresholds, speaker: str | None = None) -> str:
    """A clip in words, such as ``pitch: high, varied; energy: low; speaking rate: medium``.

    Every measure that could not be taken is called ``not measurable``.

    Args:
        acoustics: Of the clip.
        thresholds: Of its corpus.
        speaker: Who speaks; None where unknown.
    """
    own = None if speaker is None else thresholds.speaker_pitch.get(speaker)
    if own is None:
        pitch = thresholds.pitch.word(acoustics.pitch)
    else:
        pitch = thresholds.own_pitch.word(semitones(acoustics.pitch, own))
    if pitch != NOT_MEASURABLE:
        pitch += f", {thresholds.pitch_range.word(acoustics.pitch_range, VARIATION)}"
    energy, rate = thresholds.intensity.word(acoustics.intensity), thresholds.rate.word(acoustics.rate)
    return f"pitch: {pitch}; energy: {energy}; speaking rate: {rate}"


def praat() -> ModuleType:
    """Praat.

    Raises:
        InputError: praat-parselmouth is not installed.
    """
    try:
        import parselmouth
    except ImportError as error:
        raise InputError(
            f"acoustic descriptors need praat-parselmouth, which cannot be imported ({error})",
            remedy='Run pip install "emoprobe[acoustics]" (in a checkout: pip install -e ".[acoustics]").',
        ) from error
    return parselmouth


def _track_pitch(sound: Any, times: np.ndarray) -> np.ndarray:
    """F0 ``[times]`` in hertz, 0 where the sound is not voiced."""
    floor, ceiling = _PITCH_RANGE
    pitch = sound.to_pitch_ac(_STEP, floor, pitch_ceiling=ceiling)
    f0 = pitch.selected_array["frequency"]
    if (f0 > 0).any():
        first, third = np.quantile(f0[f0 > 0], (0.25, 0.75))
        pitch = sound.to_pitch_ac(_STEP, max(floor, 0.75 * first), pitch_ceiling=min(ceiling, 2.5 * third))
    return np.nan_to_num([pitch.get_value_at_time(time) for time in times])


def _speaking_seconds(active: np.ndarray) -> float:
    """Duration of the active frames and of the short silences between them."""
    steps = np.diff(np.flatnonzero(active))
    return float(_STEP * (1 + np.where(steps * _STEP < _PAUSE, steps, 1).sum()))


def semitones(pitch: float, reference: float) -> float:
    """How far a pitch lies above another, both in hertz."""
    return 12 * math.log2(pitch / reference)
