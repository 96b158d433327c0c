"""The sound of a page's clips: links to where it lies, or clips within the page."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from urllib.parse import quote

import numpy as np

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.metrics.functional import entropy
from emoprobe.report.found import Group
from emoprobe.report.page_data import pack_json
from emoprobe.report.summaries import CellSummary

PLAYED = {".mp3": "audio/mpeg", ".ogg": "audio/ogg", ".flac": "audio/flac"}
"""Compressed sound that every browser plays: embedded as it is. Other sound is embedded as 16-bit WAV."""


def sound_of(group: Group, audio: str, count: int, folder: Path, leading: CellSummary | None, notes: list[str]) -> dict:
    """Where each clip's sound is: links by utterance, or embedded clips by utterance number.

    Args:
        group: Its clips.
        audio: ``none``, ``link`` or ``embed``.
        count: How many clips are embedded.
        folder: Where the page will lie.
        leading: The best readout, whose disagreement chooses the clips.
        notes: Takes what cannot be embedded, in words.
    """
    if audio == "none":
        return {"mode": "none"}
    paths = _audio_paths(group)
    if not any(paths):
        notes.append(f"{group.name}: no utterances.parquet says where the sound is")
        return {"mode": "none"}
    if audio == "link":
        links = [link(path, folder) if path else None for path in paths]
        return {"mode": "link", "links": pack_json(links)}
    known = np.flatnonzero([bool(path) for path in paths])
    js = np.zeros(len(paths)) if leading is None else leading.js
    clips, failures = {}, []
    for i in known[choose_clips(js[known], _entropies(group)[known], count)].tolist():
        try:
            clips[i] = _data_uri(Path(paths[i]))
        except (EmoprobeError, OSError) as error:
            failures.append(str(error))
    if failures:
        notes.append(f"{group.name}: {len(failures)} clips could not be embedded, the first because {failures[0]}")
    return {"mode": "embed", "clips": clips}


def _audio_paths(group: Group) -> list[str | None]:
    for run in group.runs:
        if run.run.has_utterances and "audio" in run.run.utterances:
            frame = run.run.utterances
            known = dict(zip(frame["utterance_id"], frame["audio"], strict=True))
            return [known.get(name) for name in run.summary.utterances["utterance_id"]]
    return [None] * len(group.runs[0].summary.utterances)


def _entropies(group: Group) -> np.ndarray:
    return entropy(group.runs[0].summary.target).numpy()


def link(path: str, folder: Path) -> str:
    """Address of a file as seen from a page in a folder; every character that means something in one is encoded."""
    target = Path(path)
    try:
        relative = os.path.relpath(target, folder.resolve())
    except ValueError:  # on another drive
        return target.as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")))


def choose_clips(js: np.ndarray, entropy: np.ndarray, count: int) -> list[int]:
    """The clips to embed: half of largest disagreement, the rest evenly spread over the entropy of the raters.

    Args:
        js: Divergence of each clip, ``[utterances]``; NaN where there is none.
        entropy: Of the raters in bits, ``[utterances]``.
        count: How many.

    Returns:
        Utterance numbers, each once, at most ``count``.
    """
    count = min(count, len(js))
    worst = np.lexsort((np.arange(len(js)), -np.nan_to_num(js, nan=-1.0)))[: (count + 1) // 2]
    rest = np.setdiff1d(np.arange(len(js)), worst)
    rest = rest[np.lexsort((rest, entropy[rest]))]
    spread = rest[np.linspace(0, len(rest) - 1, count - len(worst)).round().astype(int)] if len(rest) else rest
    return [int(i) for i in (*worst, *spread)]


def _data_uri(path: Path) -> str:
    """A clip as a data URI.

    Raises:
        InputError: It is not there, or is not sound.
    """
    suffix = path.suffix.lower()
    if suffix in PLAYED:
        content, kind = path.read_bytes(), PLAYED[suffix]
        if not content:
            raise InputError("the file is empty", file=path)
    else:
        import soundfile

        from emoprobe.data.sound.audio import read_audio
        from emoprobe.data.sound.limits import AudioLimits

        clip, buffer = read_audio(path, limits=AudioLimits(long_audio="window")), io.BytesIO()  # however long it is
        soundfile.write(buffer, clip.waveform, clip.sampling_rate, format="WAV", subtype="PCM_16")
        content, kind = buffer.getvalue(), "audio/wav"
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
