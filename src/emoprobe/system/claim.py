"""One process at a time in a run folder: a second one is told who holds it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from emoprobe.errors import InputError
from emoprobe.system.stopping import is_main

LOCK_FILE, HOLDER_FILE = ".lock", ".lock.json"


@contextmanager
def claimed(folder: Path, purpose: str, option: str = "hydra.run.dir") -> Iterator[None]:
    """Hold a run folder while the block runs; the system lets go of it when the process ends, however it ends.

    Args:
        folder: The run folder; made if it is not there.
        purpose: What is done with it, for whoever finds it held: ``probe``, ``train``, ``judge``.
        option: What chooses the folder on the command line.

    Raises:
        InputError: Another process holds the folder, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK_FILE, timeout=0)
        lock.acquire()
    except Timeout as error:
        raise InputError(
            f"another process is at work in this folder: {_holder(folder)}",
            file=folder,
            field=option,
            remedy="Wait until it has ended, or choose another folder.",
        ) from error
    except OSError as error:
        raise InputError(
            f"the output folder cannot be written: {error.strerror or error}",
            file=folder,
            field=option,
            remedy="Choose another folder.",
        ) from error
    mine = {
        "purpose": purpose,
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    try:
        with suppress(OSError):  # a full disk: the lock holds all the same, only without its name
            (folder / HOLDER_FILE).write_text(json.dumps(mine) + "\n", encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            (folder / HOLDER_FILE).unlink(missing_ok=True)
        lock.release()  # the file stays: unlinking it would let two processes lock two files of its name


def claimed_by_main(folder: Path, purpose: str) -> AbstractContextManager[None]:
    """`claimed` by the first of several processes that share the folder."""
    return claimed(folder, purpose) if is_main() else nullcontext()


def _holder(folder: Path) -> str:
    try:
        held = json.loads((folder / HOLDER_FILE).read_text(encoding="utf-8"))
        return f"{held['purpose']}, process {held['process']} on {held['host']}, since {held['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "it has not left its name"
