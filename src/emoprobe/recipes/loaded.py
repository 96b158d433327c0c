"""The jobs of one command share their loaded model: those of a sweep, and the parts of a study.

Only the last model is kept, and only while the command lasts. It is handed on if the next job asks for the same one and
it is as it was loaded; after a job that failed it is loaded anew.
"""

from __future__ import annotations

import gc
import json
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emoprobe.settings import make
from emoprobe.system.cache import cache_folder

if TYPE_CHECKING:
    from emoprobe.models.base import Network, SpeechFoundationModel


@dataclass
class _Kept:
    """The model of the job before.

    Args:
        key: What it was loaded by.
        sfm: The model.
        state: What it was like when it was loaded, see `_state`.
        trainable: Its parameters' ``requires_grad`` then, by name.
    """

    key: str
    sfm: SpeechFoundationModel
    state: str
    trainable: dict[str, bool]


_SHELF: ContextVar[list[_Kept] | None] = ContextVar("shelf", default=None)  # of the command; holds one at most


@contextmanager
def one_model() -> Iterator[None]:
    """Jobs within it that ask for the same model are given the same loaded one; nested ones are one."""
    if _SHELF.get() is not None:
        yield
        return
    token = _SHELF.set([])
    try:
        yield
    finally:
        _SHELF.reset(token)


def keep_model() -> None:
    """`one_model` for as long as the process lives, where it is none: in one that a launcher has begun for its jobs."""
    if _SHELF.get() is None:
        _SHELF.set([])


@contextmanager
def model_of(node: Mapping, given: SpeechFoundationModel | None = None) -> Iterator[SpeechFoundationModel]:
    """The model of a job: the given one, that of the job before if it is the same, or a newly loaded one.

    Args:
        node: The model's configuration, plain values.
        given: A model that is loaded already, for which nothing is done here.

    Raises:
        EmoprobeError: It cannot be loaded.
    """
    shelf = _SHELF.get()
    if given is not None or shelf is None:
        yield make(node, "model") if given is None else given
        return
    key = _key(node)
    kept = _taken(shelf, key)
    if kept is None:
        _free()
        kept = _load(node, key)
    yield kept.sfm
    if kept.key == _key(node):  # no file has changed while or since it was loaded
        shelf.append(kept)  # not if the job failed: an adapter could still be in it


def _taken(shelf: list[_Kept], key: str) -> _Kept | None:
    """The model of the job before, off the shelf, if it is the one asked for, and is what was loaded."""
    if not shelf:
        return None
    kept = shelf.pop()
    if kept.key != key:
        return None
    model: Network = kept.sfm.model
    if _state(model) != kept.state:
        return None
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(kept.trainable[name])
    return kept


def _load(node: Mapping, key: str) -> _Kept:
    before = _generators()
    sfm = make(node, "model")
    model: Network = sfm.model
    if _generators() != before:
        key = ""  # its weights may be of this job's seed
    trainable = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    return _Kept(key, sfm, _state(model), trainable)


def _free() -> None:
    """Give back the memory of the model before, which trainers and readers of its job may still point at in circles."""
    gc.collect()
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_initialized():
        sys.modules["torch"].cuda.empty_cache()


def _key(node: Mapping) -> str:
    """A configuration as one text, with the files of every folder that it names: names, sizes, times of change."""
    files: dict[str, list] = {}

    def look(value: object) -> None:
        if isinstance(value, Mapping):
            for own in value.values():
                look(own)
        elif isinstance(value, list | tuple):
            for own in value:
                look(own)
        elif isinstance(value, str | Path) and (folder := Path(value).expanduser()).is_dir():
            known = [(str(file), file.stat()) for file in sorted(folder.rglob("*")) if file.is_file()]
            files[str(folder.absolute())] = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in known]

    look(node)
    return json.dumps([node, files, str(cache_folder())], default=str)


def _state(model: Network) -> str:
    """All that a job could have changed in a model, as one text: its modules and their modes, settings, tensors."""
    from emoprobe.models.identity import config_of, sample_of_weights

    modules = [
        (name, type(module).__qualname__, module.training, getattr(module, "gradient_checkpointing", None))
        for name, module in model.named_modules()
    ]
    places = sorted({str(tensor.device) for tensor in (*model.parameters(), *model.buffers())})
    return json.dumps([modules, config_of(model), sample_of_weights(model), places])


def _generators() -> tuple:
    """Where the random generators stand."""
    import torch

    # A GPU's state ends in 8 bytes that count what was drawn since the seed; before its first use it has none.
    counts = [generator.get_state()[-8:].tolist() for generator in torch.cuda.default_generators]
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist(), list(filter(any, counts))
