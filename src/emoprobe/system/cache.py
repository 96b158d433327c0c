"""Where downloads, converted weights, features and unpacked sound are kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """``cache_dir``, else ``$EMOPROBE_CACHE``, else ``$XDG_CACHE_HOME/emoprobe``, else ``~/.cache/emoprobe``."""
    if cache_dir is not None:
        return Path(cache_dir)
    if os.environ.get("EMOPROBE_CACHE"):
        return Path(os.environ["EMOPROBE_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "emoprobe"
