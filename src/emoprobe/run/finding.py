"""Finding the runs in and below a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from emoprobe.run import files
from emoprobe.run.folder import RunFolder

SIGNS = (files.RECORD, files.METRICS, files.PREDICTIONS, files.SCORES, files.SETTINGS)
NEVER_RUNS = ("figures", files.PARTS, "checkpoints", "wandb", "csv", "lightning_logs", "__pycache__")


class Unreadable(NamedTuple):
    """A folder that could not be looked into, and why."""

    folder: Path
    reason: str


def find_runs(root: Path) -> tuple[list[RunFolder], list[Unreadable]]:
    """Every folder with a sign of a run, whatever its state, in the order of their paths; and what cannot be opened.

    Args:
        root: A run folder, or one that holds some at any depth.
    """
    found, closed = [], []

    def unreadable(error: OSError) -> None:
        closed.append(Unreadable(Path(error.filename), f"cannot be opened: {error.strerror}"))

    for where, below, names in os.walk(root, onerror=unreadable):
        has_parts = files.PARTS in below
        below[:] = sorted(
            name
            for name in below
            if not name.startswith(".") and name not in NEVER_RUNS and not files.BUNDLE.fullmatch(name)
        )
        if has_parts or any(sign in names for sign in SIGNS):
            found.append(RunFolder(Path(where)))
    return found, closed
