"""Imported before transformers and peft, so that a torchaudio of another build does no harm."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

NAME, COMPILED = "torchaudio", "lib"
_views: list[TemporaryDirectory] = []
"""Kept until the process ends: modules of the package are imported as they are needed."""


def _import_torchaudio() -> None:
    """Import torchaudio without its compiled part if that part does not fit this torch (CUDA beside CPU).

    transformers imports torchaudio wherever it is installed and fails with it; all that any model here needs of it, the
    mel transform, is pure Python. torchaudio leaves its compiled part out by itself where its folder has none, so it is
    imported from a folder of links to all but that.
    """
    if NAME in sys.modules:
        return
    found = importlib.util.find_spec(NAME)
    if found is None or found.origin is None:
        return
    try:
        importlib.import_module(NAME)
    except (OSError, ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
            del sys.modules[name]
        view = TemporaryDirectory(prefix="emoprobe-torchaudio-")
        _views.append(view)
        package = Path(view.name) / NAME
        package.mkdir()
        for entry in Path(found.origin).parent.iterdir():
            if entry.name not in (COMPILED, "__pycache__"):
                (package / entry.name).symlink_to(entry, target_is_directory=entry.is_dir())
        sys.path.insert(0, view.name)
        try:
            importlib.invalidate_caches()
            importlib.import_module(NAME)
        finally:
            sys.path.remove(view.name)


_import_torchaudio()
