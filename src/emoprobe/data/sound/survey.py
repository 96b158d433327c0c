"""What a run is told of how its clips sound: those that are too long, by their headers; faults, of what was decoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

from emoprobe.data.sound.audio import AudioClip, duration_seconds, read_audio
from emoprobe.data.sound.faults import FAULTS
from emoprobe.data.sound.limits import AudioError, AudioLimits
from emoprobe.data.utterance import Utterance
from emoprobe.errors import InputError, some

T = TypeVar("T")
Key: TypeAlias = tuple[Path, int, int, int, AudioLimits]
"""A file of a size and time of change, at a sampling rate, under limits."""


class Sounding(NamedTuple):
    """What is kept of a decoded clip."""

    near_silent: bool
    faults: tuple[str, ...]


_KNOWN: dict[Key, Sounding] = {}
"""Of all clips that this process has decoded or been handed: the jobs of a command look at each once."""


def durations(utterances: Sequence[Utterance]) -> dict[str, float]:
    """Utterance id -> seconds, by the headers alone; see `duration_seconds`."""
    found = _each(duration_seconds, [utterance.audio for utterance in utterances])
    return dict(zip([utterance.id for utterance in utterances], found, strict=True))


def check_long(seconds: Mapping[str, float], limits: AudioLimits, on_error: str, model: str, most: float) -> list[str]:
    """Which clips are longer than what is heard in one piece.

    Args:
        seconds: Utterance id -> duration.
        limits: Which clips are taken.
        on_error: ``dataset.on_error``.
        model: Name of the model.
        most: What it hears whole, seconds.

    Raises:
        InputError: They are to be refused, or the model hears less than a piece of one.
    """
    long = [name for name, each in seconds.items() if each - limits.max_seconds > 1e-6]
    if long and limits.long_audio == "refuse" and on_error == "error":
        raise InputError(
            f"{_counted(long, seconds)} longer than {limits.max_seconds:g} s (dataset.audio.max_seconds): {some(long)}",
            field="dataset.audio.long_audio",
            remedy="Choose what becomes of them: dataset.audio.long_audio=truncate (the end is not heard), window (all "
            "is heard, in windows whose beliefs are averaged) or skip.",
        )
    deaf = [name for name, each in seconds.items() if limits.piece(each) - most > 1e-3]
    if deaf:
        raise InputError(
            f"{_counted(deaf, seconds)} longer than the {most:g} s that {model} hears whole: {some(deaf)}",
            field="dataset.audio.max_seconds",
            remedy=f"Set dataset.audio.max_seconds={most:g} and choose dataset.audio.long_audio=truncate, window or "
            "skip.",
        )
    return long


def _counted(names: Sequence[str], of: Mapping) -> str:
    return f"{len(names):,} of {len(of):,} clips {'is' if len(names) == 1 else 'are'}"


def remember(file: Path, clip: AudioClip, limits: AudioLimits) -> None:
    """Keep how a clip sounds that was just decoded."""
    key = _key(file, clip.sampling_rate, limits)
    if key is not None:
        _KNOWN[key] = Sounding(clip.near_silent, clip.faults)


def find_faults(utterances: Sequence[Utterance], sampling_rate: int, limits: AudioLimits) -> tuple[dict, dict]:
    """Which clips are taken though something is wrong with how they sound, for the record.

    What was decoded in this process, or handed to it, is not decoded again; what another process or an earlier run has
    heard is.

    Returns:
        Near-silent clips, ``below_dbfs`` and ``utterances``, their ids; and kind of `FAULTS` -> ids, of those that
        there are.
    """

    def look(utterance: Utterance) -> Sounding:
        key = _key(utterance.audio, sampling_rate, limits)
        if key is None:
            return Sounding(False, ())
        if key not in _KNOWN:
            try:
                remember(utterance.audio, read_audio(utterance.audio, sampling_rate, limits), limits)
            except AudioError:
                return Sounding(False, ())  # reported where the model reads it
        return _KNOWN[key]

    found = list(_each(look, utterances))
    pairs = list(zip(utterances, found, strict=True))
    quiet = [utterance.id for utterance, sounding in pairs if sounding.near_silent]
    faulty = {kind: [utterance.id for utterance, sounding in pairs if kind in sounding.faults] for kind in FAULTS}
    near_silent = {"below_dbfs": limits.near_silent_dbfs, "utterances": quiet}
    return near_silent, {kind: ids for kind, ids in faulty.items() if ids}


def _key(file: Path, sampling_rate: int, limits: AudioLimits) -> Key | None:
    try:
        status = os.stat(file)
    except (OSError, ValueError):
        return None
    return file, status.st_size, status.st_mtime_ns, sampling_rate, limits


def _each(look: Callable[..., T], things: Iterable) -> Iterable[T]:
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        yield from pool.map(look, things, chunksize=64)
