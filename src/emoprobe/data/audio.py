"""Sound files: decoded, mixed down, resampled and checked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from emoprobe.errors import InputError


class AudioError(InputError):
    """A sound file that cannot be used.

    Attributes:
        reason: ``missing_audio``, ``bad_audio``, ``too_short`` or ``too_long``.
    """

    def __init__(self, what: str, *, reason: str, file: Path, remedy: str | None = None) -> None:
        self.reason = reason
        super().__init__(what, file=file, remedy=remedy or "Replace the file, or leave it out: dataset.on_error=skip.")


@dataclass(frozen=True)
class AudioLimits:
    """Which clips are taken.

    Args:
        min_seconds: Shorter clips are refused.
        max_seconds: Longest clip.
        long_audio: ``refuse`` longer clips, or ``truncate`` them at ``max_seconds`` and flag them.
    """

    min_seconds: float = 0.1
    max_seconds: float = 30.0
    long_audio: str = "refuse"

    def __post_init__(self) -> None:
        if self.long_audio not in ("refuse", "truncate"):
            raise InputError(
                f"unknown value {self.long_audio!r}",
                field="dataset.audio.long_audio",
                remedy="Use refuse or truncate.",
            )
        if not 0 <= self.min_seconds < self.max_seconds:
            raise InputError(
                f"min_seconds {self.min_seconds} must lie between 0 and max_seconds {self.max_seconds}",
                field="dataset.audio",
            )


@dataclass(frozen=True)
class AudioClip:
    """A decoded clip.

    Args:
        waveform: Mono float32 samples ``[samples]`` at ``sampling_rate``; not clipped, not normalised.
        sampling_rate: Hertz.
        duration_seconds: Of the whole file, also where it was truncated.
        truncated: Whether the end was cut off.
        sha256: Of the file's bytes.
        original_sampling_rate: Hertz.
        channels: Of the file.
    """

    waveform: np.ndarray
    sampling_rate: int
    duration_seconds: float
    truncated: bool
    sha256: str
    original_sampling_rate: int
    channels: int


def duration_seconds(path: Path) -> float:
    """Duration by the file's header, for batching; 0 where it cannot be told (reading it will say why)."""
    try:
        return soundfile.info(path).duration
    except (soundfile.LibsndfileError, OSError, TypeError):
        return 0.0


def read_audio(path: str | Path, sampling_rate: int = 16_000, limits: AudioLimits | None = None) -> AudioClip:
    """Read any libsndfile format; channels are averaged, other rates resampled by soxr at high quality.

    Raises:
        AudioError: The file is missing, empty, not audio, truncated, silent, not finite, too short or too long.
    """
    path, limits = Path(path), limits or AudioLimits()
    _check_file(path)
    try:
        with soundfile.SoundFile(path) as file:
            rate, channels, frames = file.samplerate, file.channels, file.frames
            duration = frames / rate
            if frames == 0:
                raise AudioError("the file holds no samples", reason="bad_audio", file=path)
            if duration > limits.max_seconds and limits.long_audio == "refuse":
                raise AudioError(
                    f"the clip lasts {duration:.2f} s and at most {limits.max_seconds:g} s are taken",
                    reason="too_long",
                    file=path,
                    remedy="Cut it, set dataset.audio.long_audio=truncate, or leave it out: dataset.on_error=skip.",
                )
            wanted = min(frames, int(limits.max_seconds * rate))
            samples = file.read(wanted, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"libsndfile cannot read it: {error.error_string}", reason="bad_audio", file=path) from error
    if len(samples) < wanted:
        raise AudioError(
            f"the file is truncated: its header promises {frames} samples and {len(samples)} are there",
            reason="bad_audio",
            file=path,
        )
    _check_size(path, rate, channels, frames)
    if duration < limits.min_seconds:
        raise AudioError(
            f"the clip lasts {duration:.3f} s and at least {limits.min_seconds:g} s are needed",
            reason="too_short",
            file=path,
            remedy="Set dataset.audio.min_seconds lower, or leave it out: dataset.on_error=skip.",
        )
    mono = samples.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise AudioError("the file holds samples that are not finite numbers", reason="bad_audio", file=path)
    if not mono.any():
        raise AudioError("every sample is zero: the file is silent", reason="bad_audio", file=path)
    if rate != sampling_rate:
        mono = soxr.resample(mono, rate, sampling_rate, quality="HQ").astype(np.float32)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return AudioClip(np.ascontiguousarray(mono), sampling_rate, duration, wanted < frames, digest, rate, channels)


def _check_file(path: Path) -> None:
    if not path.exists():
        raise AudioError(
            "the sound file is missing",
            reason="missing_audio",
            file=path,
            remedy="Check dataset.root, or go on without it: dataset.missing_audio=skip.",
        )
    if not path.is_file():
        raise AudioError("this is not a file", reason="bad_audio", file=path)
    try:
        if path.stat().st_size == 0:
            raise AudioError("the file is empty", reason="bad_audio", file=path)
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise AudioError(f"the file cannot be read: {error.strerror}", reason="bad_audio", file=path) from error


def _check_size(path: Path, rate: int, channels: int, frames: int) -> None:
    """A WAV cut short is read by libsndfile as a shorter clip without a word; its RIFF header still knows better."""
    with path.open("rb") as file:
        head = file.read(12)
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        promised = int.from_bytes(head[4:8], "little") + 8
        # 0 and 0xFFFFFFFF are written by streaming encoders that never learn the length.
        if promised not in (8, 0x1_0000_0007) and path.stat().st_size < promised - 1:
            raise AudioError(
                f"the file is truncated: its header promises {promised} bytes and {path.stat().st_size} are there",
                reason="bad_audio",
                file=path,
            )
