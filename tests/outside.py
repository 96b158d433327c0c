"""A made-up package that brings parts for emoprobe: one file and one config, installed beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from console import Done

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


PROGRAM = """
import json, os, sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from emoprobe.cli import main

told = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for words in json.loads(sys.argv.pop()):
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        try:
            status = main(words)
        except SystemExit as end:
            status = end.code or 0
    print(json.dumps([status, out.getvalue(), err.getvalue()]), file=told, flush=True)
"""


def emoprobe_commands(environment: dict[str, str], *commands: Sequence[object]) -> list[Done]:
    """Call the console command several times in one process, which imports torch once."""
    lines = json.dumps([[str(word) for word in command] for command in commands])
    program = [sys.executable, "-c", PROGRAM, lines]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return [Done(*json.loads(line)) for line in done.stdout.splitlines()]
