"""What speech foundation models believe about an ambiguous emotion, compared with the votes of human raters.

import emoprobe

model = emoprobe.load_model("whisper_base")
beliefs = model.read("clip.wav", prompt="voice_sounds", labels="basic6")
run = emoprobe.probe(model, emoprobe.load_corpus("demo"), prompt="voice_sounds")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emoprobe.api.beliefs import Beliefs as Beliefs
    from emoprobe.api.models import Model as Model
    from emoprobe.api.models import load_model as load_model
    from emoprobe.api.runs import LoadedCorpus as LoadedCorpus
    from emoprobe.api.runs import Run as Run
    from emoprobe.api.runs import load_corpus as load_corpus
    from emoprobe.api.runs import open_run as open_run
    from emoprobe.api.runs import probe as probe
    from emoprobe.api.runs import train as train

_PLACES = {
    "Beliefs": "beliefs",
    "Model": "models",
    "load_model": "models",
    "LoadedCorpus": "runs",
    "Run": "runs",
    "load_corpus": "runs",
    "open_run": "runs",
    "probe": "runs",
    "train": "runs",
}
__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    """The API is imported when it is first used: ``import emoprobe`` costs nothing."""
    if name not in _PLACES:
        raise AttributeError(f"module 'emoprobe' has no attribute {name!r}")
    return getattr(import_module(f"emoprobe.api.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
