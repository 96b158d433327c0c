"""Imported before transformers and peft, so that a torchaudio of another build does no harm."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from unittest.mock import patch


def _import_torchaudio() -> None:
    """Import torchaudio without its compiled part if that part does not fit this torch (CUDA beside CPU).

    transformers imports torchaudio wherever it is installed and fails with it; all that any model here needs of it, the
    mel transform, is pure Python. torchaudio leaves its compiled part out by itself where it finds no library file.
    """
    if "torchaudio" in sys.modules or importlib.util.find_spec("torchaudio") is None:
        return
    try:
        importlib.import_module("torchaudio")
    except (OSError, ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]
        glob = Path.glob

        def without_libraries(self: Path, pattern: str, **options):
            return iter(()) if "torchaudio" in str(pattern) else glob(self, pattern, **options)

        with patch.object(Path, "glob", without_libraries):
            importlib.import_module("torchaudio")


_import_torchaudio()
