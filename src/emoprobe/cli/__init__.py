"""The command line: one console command, a file per verb."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "analyse": "recipes.analyse",
    "judge": "recipes.judge",
    "compare": "recipes.compare",
    "fuse": "recipes.fuse",
    "report": "cli.report",
    "doctor": "checks.doctor",
    "tokens": "checks.tokens",
    "data": "cli.data",
    "export": "recipes.export",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Call the verb that the first argument names; returns its exit status."""
    name, *rest = sys.argv[1:] if arguments is None else arguments
    return import_module(f"emoprobe.{COMMANDS[name]}").main(rest)
