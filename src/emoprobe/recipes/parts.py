"""The parts of a study: ordinary runs in folders of their own, which go on when the same command is given again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emoprobe.recipes import probe as probing
from emoprobe.recipes import train as recipe
from emoprobe.recipes.settings import read_probe, read_train
from emoprobe.run.sweep import key_of
from emoprobe.settings import compose
from emoprobe.system.processes import beginning, own_processes


def names(override: str, groups: Sequence[str]) -> bool:
    """Whether an override belongs to one of these groups."""
    key = key_of(override)
    return any(key == group or key.startswith((f"{group}.", f"{group}@", f"{group}/")) for group in groups)


def searched(overrides: Sequence[str]) -> list[str]:
    """Overrides that say where configurations are searched."""
    return [override for override in overrides if override.startswith("hydra.searchpath=")]


def run_part(name: str, overrides: Sequence[str], folder: Path, kind: str) -> Path:
    """Run one part; what its folder already holds of the same settings is taken over, of others refused.

    Args:
        name: Of the part, for whoever watches.
        overrides: All of it.
        folder: Its run folder.
        kind: The verb, ``probe`` or ``train``.
    """
    print(f"-- {name}")
    own = [*overrides, f"output_dir={folder}", "logger=none", "analysis.figures=false"]
    config = compose(own, kind)
    with own_processes([*beginning(kind), *own]):
        return probing.run(read_probe(config)) if kind == "probe" else recipe.run(read_train(config))
