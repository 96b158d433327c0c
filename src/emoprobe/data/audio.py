"""Sound files: decoded, mixed down, resampled and checked."""

from __future__ import annotations

import hashlib
import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import soundfile
import soxr

from emoprobe.errors import InputError

# Speech cannot be 40 dB over full scale; such samples are integers that were written as floats without scaling.
MAX_PEAK = 100.0
_UNKNOWN_FRAMES = 2**62  # libsndfile's count for streams whose header states no length
_STREAMED_BYTES = 0x7FFF_F000  # sox and ffmpeg write this or more into a header when they cannot go back to correct it
_IFF = {b"RIFF": ("little", b"data"), b"RIFX": ("big", b"data"), b"FORM": ("big", b"SSND")}
_LEAVE_OUT = "or leave it out: dataset.on_error=skip."


class AudioError(InputError):
    """A sound file that cannot be used.

    Attributes:
        reason: ``missing_audio``, ``bad_audio``, ``too_short`` or ``too_long``.
    """

    def __init__(
        self,
        what: str,
        *,
        reason: str = "bad_audio",
        file: Path | None = None,
        field: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.reason = reason
        super().__init__(what, file=file, field=field, remedy=remedy or f"Replace the file, {_LEAVE_OUT}")


@dataclass(frozen=True)
class AudioLimits:
    """Which clips are taken.

    Args:
        min_seconds: Shorter clips are refused.
        max_seconds: Longest clip.
        long_audio: ``refuse`` longer clips, or ``truncate`` them at ``max_seconds`` and flag them.
        allow_silence: Take clips whose samples are all zero.
    """

    min_seconds: float = 0.1
    max_seconds: float = 30.0
    long_audio: Literal["refuse", "truncate"] = "refuse"
    allow_silence: bool = False

    def __post_init__(self) -> None:
        where = "dataset.audio"
        for name in ("min_seconds", "max_seconds"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise InputError(f"{value!r} is not a number of seconds", field=f"{where}.{name}")
        if not 0 <= self.min_seconds < self.max_seconds:
            raise InputError(
                f"min_seconds {self.min_seconds} must lie between 0 and max_seconds {self.max_seconds}",
                field=f"{where}.min_seconds",
            )
        if self.long_audio not in ("refuse", "truncate"):
            raise InputError(
                f"unknown value {self.long_audio!r}", field=f"{where}.long_audio", remedy="Use refuse or truncate."
            )
        if not isinstance(self.allow_silence, bool):
            raise InputError(
                f"unknown value {self.allow_silence!r}", field=f"{where}.allow_silence", remedy="Use true or false."
            )


@dataclass(frozen=True)
class AudioClip:
    """A decoded clip.

    Args:
        waveform: Mono float32 samples ``[samples]`` at ``sampling_rate``; not normalised, and not clipped: samples of
            a float file (and the overshoot of resampling) may lie outside [-1, 1], since clipping would distort them.
        sampling_rate: Hertz.
        duration_seconds: Of the whole file, also where it was truncated.
        truncated: Whether the end was cut off.
        sha256: Of the file's bytes, hexadecimal.
        original_sampling_rate: Hertz, of the file.
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
        _open(path).close()  # a pipe would be waited for
        with soundfile.SoundFile(path) as sound:
            return sound.frames / sound.samplerate if sound.frames < _UNKNOWN_FRAMES else 0.0
    except (AudioError, soundfile.SoundFileError, OSError, TypeError, ValueError):
        return 0.0


def read_audio(path: str | Path, sampling_rate: int = 16_000, limits: AudioLimits | None = None) -> AudioClip:
    """Read any libsndfile format; channels are averaged, other rates resampled by soxr at high quality.

    A file cut short is refused where that can be told: WAV and AIFF by the length of their sound chunk, FLAC, CAF and
    MP3 with a length header by decoding. Of Ogg (Vorbis, Opus), MP3 without a length header, AU, W64, RF64 and NIST
    SPHERE libsndfile reads what is left without a word. A clip to be truncated is decoded up to the cut only.

    Args:
        path: The sound file.
        sampling_rate: Wanted rate, hertz.
        limits: Which clips are taken; ``AudioLimits()`` by default.

    Raises:
        AudioError: The file is missing, unreadable, empty, not audio, cut short, silent, not finite, scaled like
            integers, too short or too long.
    """
    path, limits = Path(path), limits or AudioLimits()
    with _open(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        missing = _missing_bytes(file)
        if missing:
            raise AudioError(f"the file is truncated: its header promises {missing} bytes more", file=path)
    samples, rate, frames = _decode(path, limits)
    mono = _mix_down(samples, rate, path, limits)
    if rate != sampling_rate:
        mono = soxr.resample(mono, rate, sampling_rate, quality="HQ").astype(np.float32, copy=False)
    if not len(mono):
        raise AudioError(f"not one sample is left at {sampling_rate} Hz", reason="too_short", file=path)
    return AudioClip(
        waveform=np.ascontiguousarray(mono),
        sampling_rate=sampling_rate,
        duration_seconds=frames / rate,
        truncated=len(samples) < frames,
        sha256=digest,
        original_sampling_rate=rate,
        channels=samples.shape[1],
    )


def _open(path: Path) -> BinaryIO:
    """The file, opened, if it is one that can be read and holds anything."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise AudioError("this is a folder" if path.is_dir() else "this is not a regular file", file=path)
        if status.st_size == 0:
            raise AudioError("the file is empty", file=path)
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        dangling = "its link leads nowhere (git-annex?)" if path.is_symlink() else "there is no such file"
        raise AudioError(
            f"the sound is missing: {dangling}",
            reason="missing_audio",
            file=path,
            remedy="Check dataset.root, or go on without it: dataset.missing_audio=skip.",
        ) from None
    except AudioError:
        raise
    except (OSError, ValueError) as error:
        raise AudioError(f"the file cannot be read: {getattr(error, 'strerror', error)}", file=path) from None


def _missing_bytes(file: BinaryIO) -> int:
    """How many bytes of sound a WAV or AIFF header promises beyond the end of the file."""
    file.seek(0)
    order, wanted = _IFF.get(file.read(12)[:4], ("", b""))
    size, position = os.fstat(file.fileno()).st_size, 12
    while order and len(chunk := file.read(8)) == 8:
        length = int.from_bytes(chunk[4:], order)
        position += 8
        if chunk[:4] == wanted:
            return max(0, position + length - size) if length < _STREAMED_BYTES else 0
        position += length + length % 2  # chunks are padded to even lengths
        file.seek(position)
    return 0


def _decode(path: Path, limits: AudioLimits) -> tuple[np.ndarray, int, int]:
    """Samples ``[samples, channels]`` up to the limit, sampling rate in hertz, frames of the whole file."""
    try:
        # By its path: libsndfile's calls into a Python file object print errors of their own on damaged files.
        with soundfile.SoundFile(path) as sound:
            rate, frames = sound.samplerate, sound.frames
            _check_duration(path, rate, frames, limits)
            wanted = min(frames, max(1, round(limits.max_seconds * rate)))
            samples = sound.read(wanted, dtype="float32", always_2d=True)
    except AudioError:
        raise
    except (soundfile.SoundFileError, OSError, TypeError, ValueError, MemoryError) as error:
        raise _undecodable(path, error) from error
    if len(samples) < wanted:
        raise AudioError(
            f"the file is truncated: its header promises {frames} samples, and decoding stops after {len(samples)}",
            file=path,
        )
    return samples, rate, frames


def _undecodable(path: Path, error: Exception) -> AudioError:
    with _open(path) as file:
        pointer = file.read(30).startswith(b"version https://git-lfs")
    if pointer:
        return AudioError(
            "this is a git-lfs pointer, the sound itself was not downloaded",
            file=path,
            remedy=f"Run git lfs pull in the corpus folder, {_LEAVE_OUT}",
        )
    reason = getattr(error, "error_string", "") or str(error) or type(error).__name__
    return AudioError(
        f"libsndfile cannot decode it: {reason.strip().rstrip('.')}",
        file=path,
        remedy=f"Convert it to WAV or FLAC if another program can play it, {_LEAVE_OUT}",
    )


def _check_duration(path: Path, rate: int, frames: int, limits: AudioLimits) -> None:
    if frames == 0:
        raise AudioError("the file holds no samples", file=path)
    if frames >= _UNKNOWN_FRAMES:
        raise AudioError(
            "the header does not state the length, as in FLAC written to a pipe",
            file=path,
            remedy=f"Write it to a file once more (sox in.flac out.flac), {_LEAVE_OUT}",
        )
    if frames > round(limits.max_seconds * rate) and limits.long_audio == "refuse":
        raise AudioError(
            f"the clip lasts {frames / rate:.2f} s and at most {limits.max_seconds:g} s are taken",
            reason="too_long",
            file=path,
            field="dataset.audio.max_seconds",
            remedy=f"Cut it with dataset.audio.long_audio=truncate, {_LEAVE_OUT}",
        )
    if frames / rate < limits.min_seconds:
        raise AudioError(
            f"the clip lasts {frames / rate:.3f} s and at least {limits.min_seconds:g} s are needed",
            reason="too_short",
            file=path,
            field="dataset.audio.min_seconds",
            remedy=f"Set dataset.audio.min_seconds lower, {_LEAVE_OUT}",
        )


def _mix_down(samples: np.ndarray, rate: int, path: Path, limits: AudioLimits) -> np.ndarray:
    """Mean over channels ``[samples]``, of samples that are finite, in scale and not all zero."""
    finite = np.isfinite(samples).all(axis=1)
    if not finite.all():
        where = np.flatnonzero(~finite)
        raise AudioError(
            f"{len(where)} samples are NaN or infinite, the first at {where[0] / rate:.3f} s",
            file=path,
        )
    peak = float(np.abs(samples).max())
    if peak > MAX_PEAK:
        raise AudioError(
            f"its float samples reach {peak:.4g} where full scale is 1",
            file=path,
            remedy=f"Divide them by full scale (32768 for 16 bits), {_LEAVE_OUT}",
        )
    mono = samples.mean(axis=1, dtype=np.float32)
    if not mono.any() and not limits.allow_silence:
        raise AudioError(
            "the channels cancel out: their mean is silence" if peak else "every sample is zero: the clip is silent",
            file=path,
            field="dataset.audio.allow_silence",
            remedy="Leave it out: dataset.on_error=skip, or take silence: ++dataset.audio.allow_silence=true.",
        )
    return mono
