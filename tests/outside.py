"""A made-up package that brings parts for emoprobe: one file and one config, installed beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import emoprobe


def install(folder: Path, module: str, source: str) -> dict[str, str]:
    """Install a package of one file, found by its entry point; returns an environment in which it is installed.

    Args:
        folder: Where, a new folder.
        module: Name of the file.
        source: What stands in it.
    """
    facts = folder / f"{module}-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", encoding="utf-8")
    (facts / "entry_points.txt").write_text(f"[emoprobe.parts]\n{module} = {module}\n", encoding="utf-8")
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    return without() | {"PYTHONPATH": os.pathsep.join([str(folder), str(Path(emoprobe.__file__).parents[1])])}


def without() -> dict[str, str]:
    """An environment without such a package."""
    return os.environ | {"PYTHONPATH": str(Path(emoprobe.__file__).parents[1]), "OMP_NUM_THREADS": "1"}


def write_config(folder: Path, group: str, name: str, text: str) -> str:
    """Write a config of a group into a folder of one's own; returns the override that has it searched."""
    file = folder / group / f"{name}.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    return f"hydra.searchpath=[file://{folder}]"


def emoprobe_command(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the console command."""
    command = [sys.executable, "-m", "emoprobe", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
