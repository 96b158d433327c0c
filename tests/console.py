"""The console command, called in this process: a process of its own would first import torch and Lightning again."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pytest

from emoprobe.cli import main

TWO = ["trainer.devices=2", "trainer.strategy=ddp"]  # for `alone`: Lightning starts the second process


class Done(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def console(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Done]]:
    """Call the command with these words; what it leaves behind in the process is put back at the end."""
    environment, root = dict(os.environ), logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def command(*words: object) -> Done:
        capfd.readouterr()
        try:
            status = main([str(word) for word in words])
        except SystemExit as end:  # Hydra takes a failed job as an exit, and argparse a request for help
            status = end.code or 0
        return Done(status, *capfd.readouterr())

    yield command
    os.environ.clear()
    os.environ.update(environment)
    root.handlers[:] = handlers
    root.setLevel(level)


def alone(*words: object, begin: Sequence[object] = ("-m", "emoprobe")) -> Done:
    """Call the command, or the script that ``begin`` names, in a process of its own."""
    command = [sys.executable, *map(str, begin), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    return Done(done.returncode, done.stdout, done.stderr)
