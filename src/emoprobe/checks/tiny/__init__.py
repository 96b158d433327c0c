"""Tiny checkpoints of true classes of transformers, randomly initialised, with real processors, as a hub has them.

One file per class, or per kind of classes that are made alike: ``write(folder)`` writes the checkpoint. What emoprobe
makes of a class is measured on them (`emoprobe doctor --all`, and the tests).
"""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

from collections.abc import Callable
from pathlib import Path

from emoprobe.registry import Registry

TINY: Registry[Callable[..., Path]] = Registry("tiny checkpoint", "emoprobe.checks.tiny")
"""By transformers' ``model_type``; each is called with the folder to write to."""
