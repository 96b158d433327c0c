"""How loud a clip is, and what is wrong with how it sounds: found in the samples that are decoded anyway."""

from __future__ import annotations

import math

import numpy as np

FAULTS = {
    "offset": "a constant offset of 1 % of full scale or more",
    "antiphase": "channels that cancel out, so that their mean is 20 dB or more below them",
    "dead_channel": "a channel 40 dB or more below another, so that their mean is softer than the voice",
    "clipping": "0.1 % of the samples or more in flat tops at full scale",
}
"""Kind -> what a clip of that kind has; `find_faults` says how it is told."""
FEW_STEPS = 4
"""Quantisation steps from the lowest to the highest sample within which there is no speech, however loud a step is."""
STEPS = {"PCM_S8": 2.0**-7, "PCM_U8": 2.0**-7, "PCM_16": 2.0**-15, "PCM_24": 2.0**-23, "PCM_32": 2.0**-31} | {
    "ULAW": 2.0**-13,
    "ALAW": 2.0**-12,
}
"""Sample format -> its smallest step, of full scale; others have none."""
_OFFSET, _CLIPPED, _SHARE_CLIPPED, _FLAT = 0.01, 0.98, 0.001, 3
_CANCELLED_DB, _DEAD_DB = 20.0, 40.0
_FRAME_SECONDS, _HEARD_FRAMES = 0.02, 5  # what is shorter than 0.1 s in all, such as clicks, is not speech


def level_dbfs(waveform: np.ndarray, sampling_rate: int) -> float:
    """Level of the loudest tenth of a second, in decibels relative to full scale; -inf where nothing moves.

    Of every frame of 20 ms the median distance from the frame's median: 20 log10 median |x - median x|. For a sine it
    is the RMS level (amplitude over the root of two); offsets and single clicks do not count. The fifth-loudest frame
    is the clip's level: at least 0.1 s, in all, are as loud.

    The default limit of -70 lies between what carries no speech (dither of 16 bits -90, mains hum at an amplitude of
    -80 dB -84) and the quietest acted speech known: -54 of 363 clips of RAVDESS, -44 of 1,949 of CREMA-D.

    Args:
        waveform: Mono ``[samples]``.
        sampling_rate: Hertz.
    """
    size = min(len(waveform), max(1, round(_FRAME_SECONDS * sampling_rate)))
    frames = waveform[: len(waveform) // size * size].reshape(-1, size).astype(np.float64)
    levels = np.median(np.abs(frames - np.median(frames, axis=1, keepdims=True)), axis=1)
    level = float(np.sort(levels)[-min(_HEARD_FRAMES, len(levels))])
    return 20 * math.log10(level) if level else -math.inf


def is_few_steps(samples: np.ndarray, step: float) -> bool:
    """Whether no channel has more than `FEW_STEPS` between its lowest and its highest sample.

    Args:
        samples: ``[samples, channels]``.
        step: Quantisation step, of full scale; 0 where there is none.
    """
    return bool(step) and bool((samples.max(axis=0) - samples.min(axis=0)).max() <= (FEW_STEPS + 0.5) * step)


def find_faults(samples: np.ndarray, mono: np.ndarray) -> tuple[str, ...]:
    """Names of `FAULTS` that a clip has.

    * ``offset``: the mean of the mixed-down samples is 0.01 (-40 dBFS) or more away from 0.
    * ``antiphase``: without offsets, the RMS of the channels' mean is 20 dB or more below the RMS over the channels.
    * ``dead_channel``: likewise, one channel's RMS is 40 dB or more below another's.
    * ``clipping``: 0.1 % of a channel's samples or more stand in runs of at least 3 equal ones at 0.98 or more of full
      scale.

    Args:
        samples: As decoded, ``[samples, channels]``; full scale is 1.
        mono: Their mean over channels, ``[samples]``.
    """
    found = []
    if abs(float(mono.mean(dtype=np.float64))) >= _OFFSET:
        found.append("offset")
    if samples.shape[1] > 1:
        power = samples.var(axis=0, dtype=np.float64)
        if _decibels(float(mono.var(dtype=np.float64)), float(power.mean())) <= -_CANCELLED_DB:
            found.append("antiphase")
        if _decibels(float(power.min()), float(power.max())) <= -_DEAD_DB:
            found.append("dead_channel")
    if any(_is_clipped(channel) for channel in samples.T):
        found.append("clipping")
    return tuple(found)


def _decibels(power: float, reference: float) -> float:
    """A power over another; 0 where the other is none, or so small that rounding alone makes it."""
    if reference < 1e-14:
        return 0.0
    return 10 * math.log10(power / reference) if power else -math.inf


def _is_clipped(channel: np.ndarray) -> bool:
    high = np.abs(channel) >= _CLIPPED
    if np.count_nonzero(high) < max(_FLAT, _SHARE_CLIPPED * len(channel)):
        return False
    level = np.where(high, channel, 0)
    starts = np.flatnonzero(np.diff(level, prepend=np.nan) != 0)  # of runs of equal samples
    sizes = np.diff(starts, append=len(level))
    flat = sizes[(level[starts] != 0) & (sizes >= _FLAT)].sum()
    return bool(flat >= _SHARE_CLIPPED * len(channel))
