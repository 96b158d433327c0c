"""Converters of data packages: one file per format, which writes it as an ordinary checkpoint of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from emoprobe.registry import Registry


class Converter(Protocol):
    """Writes weights, config, generation config and what makes inputs into an empty folder.

    Args:
        weights: The file of weights.
        side_files: The data package's other files, in its order.
        target: The folder.
    """

    def __call__(self, weights: Path, side_files: list[Path], target: Path) -> None: ...


CONVERTERS: Registry[Converter] = Registry("converter", "emoprobe.models.converters")
