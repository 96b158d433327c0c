"""What is known of a model by its settings alone, before it is loaded."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

WHISPER_SECONDS = 30.0


def known_seconds(node: Mapping) -> float:
    """Longest clip that the model of a configuration hears whole, seconds; infinity where only loading it tells.

    Whisper is known by its name or the ``config.json`` in its folder, and the window by ``preprocessor_config.json``.

    >>> known_seconds({"name": "openai/whisper-base", "path": None})
    30.0
    >>> known_seconds({"name": "facebook/wav2vec2-base"})
    inf
    """
    path = node.get("path")
    if not path:
        return WHISPER_SECONDS if "/whisper-" in str(node.get("name", "")).lower() else math.inf
    if _read(Path(path) / "config.json").get("model_type") != "whisper":
        return math.inf
    seconds = _read(Path(path) / "preprocessor_config.json").get("chunk_length", WHISPER_SECONDS)
    return float(seconds) if isinstance(seconds, int | float) and seconds > 0 else math.inf


def _read(file: Path) -> Mapping:
    """A file's object; an empty one where it is none, which loading the model will say."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
