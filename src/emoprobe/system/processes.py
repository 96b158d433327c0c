"""The further processes of a command."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# What Lightning and torch tell the processes of one job about each other; the next job has others.
OF_PROCESSES = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "PL_GLOBAL_SEED")


SCRIPTS = ("probe.py", "train.py")


def beginning(verb: str) -> list[str]:
    """The words before the arguments of a command of a verb, if it is begun in the way in which this process was."""
    program = Path(sys.argv[0])
    if program.name in SCRIPTS:
        return [str(program.with_name(f"{verb}.py"))]
    return [sys.argv[0], verb]


@contextmanager
def own_processes(command: Sequence[str]) -> Iterator[None]:
    """One of several trainings or scorings of a command: its further processes end with it.

    Args:
        command: The command line of it alone, which Lightning repeats for each further process.
    """
    whole, environment = sys.argv, {name: os.environ.get(name) for name in OF_PROCESSES}
    sys.argv = list(command)
    try:
        yield
    finally:
        sys.argv = whole
        for name, value in environment.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        if "torch" in sys.modules:
            _leave_processes()


def _leave_processes() -> None:
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
