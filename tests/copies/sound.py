"""Tiny sound for made-up corpora."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import soundfile


def sound_bytes(key: str, form: str = "WAV") -> bytes:
    """0.2 s of noise at 16 kHz, another one for every key."""
    noise = np.random.default_rng(zlib.crc32(key.encode())).normal(0, 0.1, 3_200).clip(-1, 1)
    content = io.BytesIO()
    soundfile.write(content, noise, 16_000, format=form)
    return content.getvalue()


def write_sound(file: Path, form: str = "WAV") -> None:
    """Write it, and the folders above."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(sound_bytes(file.name, form))
