"""Sound files: decoded, mixed down, resampled and checked."""

from __future__ import annotations

import hashlib
import io
import math
import os
import stat
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from emoprobe.data.sound import headers, mpeg
from emoprobe.data.sound.faults import FAULTS, STEPS, find_faults, is_few_steps, level_dbfs
from emoprobe.data.sound.limits import LEAVE_OUT, AudioError, AudioLimits

# Speech cannot be 40 dB over full scale; such samples are integers that were written as floats without scaling.
MAX_PEAK = 100.0
_UNKNOWN_FRAMES = 2**62  # libsndfile's count for streams whose header states no length
_FOREIGN = (  # what libsndfile does not know: first byte, what stands there, what it is
    (4, b"ftyp", "MPEG-4 (M4A, MP4, AAC)"),
    (0, b"\xff\xf1", "AAC"),
    (0, b"\xff\xf9", "AAC"),
    (0, b"\x30\x26\xb2\x75", "Windows Media (WMA)"),
    (0, b"\x1a\x45\xdf\xa3", "WebM or Matroska"),
    (0, b"#!AMR", "AMR"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"ajkg", "Shorten"),
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
        level_dbfs: See `level_dbfs`.
        near_silent: Whether the level is below the limit, or the samples within a few quantisation steps.
        faults: Those of `FAULTS` that it has.
        windows: How many windows it is cut into.
        window: Which of them this is, from 0; the whole clip until it is `cut`.
    """

    waveform: np.ndarray
    sampling_rate: int
    duration_seconds: float
    truncated: bool
    sha256: str
    original_sampling_rate: int
    channels: int
    level_dbfs: float
    near_silent: bool
    faults: tuple[str, ...] = ()
    windows: int = 1
    window: int = 0

    def cut(self) -> list[AudioClip]:
        """Its windows, which differ by one sample at most; itself where there is one."""
        if self.windows == 1:
            return [self]
        ends = [len(self.waveform) * i // self.windows for i in range(self.windows + 1)]
        parts = [np.ascontiguousarray(self.waveform[a:b]) for a, b in pairwise(ends)]
        return [replace(self, waveform=part, window=i) for i, part in enumerate(parts)]


def duration_seconds(path: Path) -> float:
    """Duration without decoding; 0 where it cannot be told (reading it will say why).

    Headers say it. MP3 has none: its frames are counted, for which the file is read whole. A file is asked once.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return 0.0  # a pipe would be waited for
        return _duration(path, status.st_size, status.st_mtime_ns)
    except (AudioError, soundfile.SoundFileError, OSError, TypeError, ValueError):
        return 0.0


@lru_cache(maxsize=1 << 20)
def _duration(path: Path, _size: int, _changed: int) -> float:
    """Of a file of this size and time of change."""
    with soundfile.SoundFile(_source(path)) as sound:
        if sound.subtype.startswith("MPEG"):
            return sum(part.count() for part in mpeg.parts(path.read_bytes())) / sound.samplerate
        known = sound.frames < _UNKNOWN_FRAMES and sound.format != "RAW"
        return sound.frames / sound.samplerate if known else 0.0


def read_audio(path: str | Path, sampling_rate: int = 16_000, limits: AudioLimits | None = None) -> AudioClip:
    """Read WAV, FLAC, MP3, Ogg, AIFF, AU, CAF, W64, SPHERE or HTK, averaged over channels and resampled by soxr.

    A header must fit its file: see `emoprobe.data.sound.headers` for what is compared. MP3 is decoded whole, whatever
    its header says or leaves out: see `emoprobe.data.sound.mpeg`. A clip to be truncated is decoded up to the cut only.

    Args:
        path: The sound file.
        sampling_rate: Wanted rate, hertz.
        limits: Which clips are taken; ``AudioLimits()`` by default.

    Raises:
        AudioError: The file is missing, unreadable, empty, not audio, cut short, longer or shorter than its header
            says, silent, near-silent or faulty (if so wished), not finite, scaled like integers, too short or too long.
    """
    path, limits = Path(path), limits or AudioLimits()
    with _open(path) as file:
        content = file.read()
    samples, rate, frames, step = _decode(path, content, limits)
    return _clip(samples, rate, frames, step, sampling_rate, limits, path, hashlib.sha256(content))


def clip_of_array(
    samples: np.ndarray, rate: int, sampling_rate: int = 16_000, limits: AudioLimits | None = None
) -> AudioClip:
    """A clip of samples in memory, checked, mixed down and resampled as one read from a file.

    Args:
        samples: ``[samples]``, ``[samples, channels]`` or ``[channels, samples]``: the shorter axis is the channels.
            Floats have full scale 1, integers that of their type.
        rate: Their sampling rate, hertz.
        sampling_rate: Wanted rate, hertz.
        limits: Which clips are taken; ``AudioLimits()`` by default.

    Raises:
        AudioError: The array is not sound, or `read_audio` would refuse such a file.
    """
    limits, samples = limits or AudioLimits(), np.asarray(samples)
    if samples.ndim not in (1, 2) or not samples.size or samples.dtype.kind not in "iuf":
        raise AudioError(
            f"an array of shape {list(samples.shape)} and type {samples.dtype} is no sound",
            field="audio",
            remedy="Give numbers, [samples] or [samples, channels].",
        )
    if isinstance(rate, bool) or not isinstance(rate, (int, np.integer)) or rate <= 0:
        raise AudioError(f"{rate!r} is no sampling rate", field="sampling_rate", remedy="Give hertz, such as 16000.")
    samples = samples[:, None] if samples.ndim == 1 else samples
    samples = samples.T if samples.shape[0] < samples.shape[1] else samples
    digest = hashlib.sha256(f"{samples.dtype.str} {samples.shape} {rate} ".encode())
    digest.update(np.ascontiguousarray(samples).tobytes())
    step = 0.0
    if samples.dtype.kind in "iu":
        full = 2.0 ** (8 * samples.dtype.itemsize - 1)
        step = 1 / full
        samples = (samples.astype(np.float64) - (full if samples.dtype.kind == "u" else 0)) / full
    frames = len(samples)
    _check_duration(None, rate, frames, limits)
    samples = samples[: _wanted(frames, rate, limits)].astype(np.float32)
    return _clip(samples, rate, frames, step, sampling_rate, limits, None, digest)


def _wanted(frames: int, rate: int, limits: AudioLimits) -> int:
    """How many samples of each channel are decoded."""
    return frames if limits.long_audio == "window" else min(frames, max(1, round(limits.max_seconds * rate)))


def _clip(
    samples: np.ndarray,
    rate: int,
    frames: int,
    step: float,
    sampling_rate: int,
    limits: AudioLimits,
    path: Path | None,
    digest: hashlib._Hash,
) -> AudioClip:
    """The clip of decoded samples ``[samples, channels]``; ``frames`` counts those of the whole sound."""
    mono = _mix_down(samples, rate, path, limits)
    faults = find_faults(samples, mono)
    if rate != sampling_rate:
        mono = soxr.resample(mono, rate, sampling_rate, quality="HQ").astype(np.float32, copy=False)
    if not len(mono):
        raise AudioError(f"not one sample is left at {sampling_rate} Hz", reason="too_short", file=path)
    level = level_dbfs(mono, sampling_rate)
    few_steps = limits.near_silent_dbfs > -math.inf and is_few_steps(samples, step)
    near_silent = level < limits.near_silent_dbfs or few_steps
    if near_silent and limits.near_silent != "keep" and mono.any():
        raise AudioError(
            f"the clip is near-silent: its level is {level:.1f} dBFS"
            + (", within a few quantisation steps" if few_steps else ""),
            reason="near_silent",
            file=path,
            field="dataset.audio.near_silent_dbfs",
            remedy="Keep such clips with dataset.audio.near_silent=keep, or leave them out with =skip.",
        )
    for fault in faults:
        if fault in limits.leave_out:
            raise AudioError(
                f"the clip has {FAULTS[fault]}",
                reason=fault,
                file=path,
                field="dataset.audio.leave_out",
                remedy=f"Take {fault} out of dataset.audio.leave_out to keep such clips.",
            )
    return AudioClip(
        waveform=np.ascontiguousarray(mono),
        sampling_rate=sampling_rate,
        duration_seconds=frames / rate,
        truncated=len(samples) < frames,
        sha256=digest.hexdigest(),
        original_sampling_rate=rate,
        channels=samples.shape[1],
        level_dbfs=level,
        near_silent=near_silent,
        faults=faults,
        windows=limits.windows(frames / rate),
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


def _source(path: Path) -> Path | io.BytesIO:
    """What libsndfile is to open.

    The path, since its calls into a Python file object print errors of their own on damaged files. Not so where macOS
    has left a file of attributes on another system's disk: beside that, libsndfile takes MP3 for another format.
    """
    attributes = (path.with_name(f"._{path.name}"), path.parent / ".AppleDouble" / path.name)
    return io.BytesIO(path.read_bytes()) if any(map(os.path.exists, attributes)) else path


def _decode(path: Path, content: bytes, limits: AudioLimits) -> tuple[np.ndarray, int, int, float]:
    """Samples ``[samples, channels]`` up to the limit, sampling rate in hertz, frames of the whole file, its step."""
    try:
        claim = headers.read_claim(content)
        with soundfile.SoundFile(_source(path)) as sound:
            headers.check_opened(claim, sound)
            parts = mpeg.parts(content) if sound.subtype.startswith("MPEG") else []
            rate, frames = sound.samplerate, sum(part.count() for part in parts) if parts else sound.frames
            _check_duration(path, rate, frames, limits)
            wanted, step = _wanted(frames, rate, limits), STEPS.get(sound.subtype, 0.0)
            samples = mpeg.decode(parts, wanted) if parts else sound.read(wanted, dtype="float32", always_2d=True)
            if len(samples) < wanted:
                raise headers.HeaderError(
                    f"the file is truncated: its header promises {frames} samples, and decoding stops after "
                    f"{len(samples)}"
                )
            if sound.format == "FLAC" and wanted == frames:
                headers.check_flac(content, sound, samples)
    except AudioError:
        raise
    except (headers.HeaderError, mpeg.MpegError) as error:
        remedy = f"Replace the file, write it anew if its sound is whole (ffmpeg, sox --ignore-length), {LEAVE_OUT}"
        raise AudioError(str(error), file=path, remedy=remedy) from error
    except (soundfile.SoundFileError, OSError, TypeError, ValueError, MemoryError) as error:
        raise _undecodable(path, content, error) from error
    return samples, rate, frames, step


def _undecodable(path: Path, content: bytes, error: Exception) -> AudioError:
    if content.startswith(b"version https://git-lfs"):
        return AudioError(
            "this is a git-lfs pointer, the sound itself was not downloaded",
            file=path,
            remedy=f"Run git lfs pull in the corpus folder, {LEAVE_OUT}",
        )
    reason = (getattr(error, "error_string", "") or str(error) or type(error).__name__).strip().rstrip(".")
    for start, mark, name in _FOREIGN:
        if content.startswith(mark, start):
            reason = f"{reason}: this is {name}"
    return AudioError(
        f"libsndfile cannot decode it: {reason}",
        file=path,
        remedy=f"Convert it to WAV or FLAC if another program can play it, {LEAVE_OUT}",
    )


def _check_duration(path: Path | None, rate: int, frames: int, limits: AudioLimits) -> None:
    if frames == 0:
        raise AudioError("the file holds no samples", file=path)
    if frames >= _UNKNOWN_FRAMES:
        raise AudioError(
            "the header does not state the length, as in FLAC written to a pipe",
            file=path,
            remedy=f"Write it to a file once more (sox in.flac out.flac), {LEAVE_OUT}",
        )
    if frames > round(limits.max_seconds * rate) and limits.long_audio in ("refuse", "skip"):
        raise AudioError(
            f"the clip lasts {frames / rate:.2f} s and at most {limits.max_seconds:g} s are taken",
            reason="too_long",
            file=path,
            field="dataset.audio.max_seconds",
            remedy=f"Choose dataset.audio.long_audio=truncate, window or skip, {LEAVE_OUT}",
        )
    if frames / rate < limits.min_seconds:
        raise AudioError(
            f"the clip lasts {frames / rate:.3f} s and at least {limits.min_seconds:g} s are needed",
            reason="too_short",
            file=path,
            field="dataset.audio.min_seconds",
            remedy=f"Set dataset.audio.min_seconds lower, {LEAVE_OUT}",
        )


def _mix_down(samples: np.ndarray, rate: int, path: Path | None, limits: AudioLimits) -> np.ndarray:
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
            remedy=f"Divide them by full scale (32768 for 16 bits), {LEAVE_OUT}",
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
