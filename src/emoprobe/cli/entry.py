"""How every command begins and ends: streams that can print anything, one line for what went wrong, an exit status."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from signal import SIGINT

from emoprobe.errors import EmoprobeError, InputError, WeightsError
from emoprobe.system import slurm, stopping
from emoprobe.system.masking import mask_tracebacks, scrub

SIGPIPE = 13  # signal.SIGPIPE, which not every system has
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


def command(main: Callable[[Sequence[str]], int]) -> Callable[[Sequence[str]], int]:
    """Decorator of a verb's ``main``, which takes its command line and returns its exit status: see `exit_status`."""

    @wraps(main)
    def guarded(arguments: Sequence[str]) -> int:
        return exit_status(main, arguments)

    return guarded


def exit_status(run: Callable[..., object], *arguments: object) -> int:
    """Call a command and return its exit status, which means the same everywhere.

    0: done; whatever else ``run`` returns as a whole number: 1 if it found something bad. 2: what the user gave is
    wrong, in one line on stderr. 1: it failed; a full disk and a killed worker end in one line too. 128 + a signal's
    number, as shells have it: 143 for SIGTERM, 130 for Ctrl-C, 141 for a pipe whose reader has gone (``| head``).
    """
    prepare_streams()
    mask_tracebacks()
    try:
        try:
            return _status_of(run, *arguments)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # when Python ends it would be too late to say nothing of a reader that has gone
    except BrokenPipeError:
        if not _left_alone():  # a pipe between processes has broken
            raise
    except SystemExit as error:  # rich has noticed it first
        if not isinstance(error.__context__, BrokenPipeError):
            raise
    return 128 + SIGPIPE


def _status_of(run: Callable[..., object], *arguments: object) -> int:
    with stopping.heard():
        try:
            status = run(*arguments)
        except (KeyboardInterrupt, SystemExit, stopping.Stopped) as error:
            stopped = stopped_by(error)
            if stopped is None:
                raise
            return _stopped(stopped)
        except Exception as error:
            said = foreseen(error)
            if said is None:
                raise
            return say(*said)
    return status if isinstance(status, int) and not isinstance(status, bool) else 0


def stopped_by(error: BaseException) -> stopping.Stopped | None:
    """The signal that an exception answers; None for any other, and where a job of this command has said it."""
    if isinstance(error, stopping.Stopped):
        return error
    # Lightning answers KeyboardInterrupt, and SIGTERM in its first moments, with SystemExit.
    signum = stopping.requested()
    if isinstance(error, KeyboardInterrupt) or (
        isinstance(error, SystemExit) and signum and error.code != 128 + signum
    ):
        return stopping.Stopped(signum or SIGINT, stopping.remedy())
    return None


def foreseen(error: Exception) -> tuple[str, int] | None:
    """The line that is said of an error, and the exit status; None for one that nobody has foreseen."""
    if isinstance(error, EmoprobeError):
        return f"error: {error}", _status(error)
    if isinstance(error, OSError) and error.errno in FULL:
        where = f" (file {error.filename})" if error.filename else ""
        return f"error: {error.strerror}{where}. Make room, then run the same command again.", 1
    if isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker"):
        ended = str(error).splitlines()[0].strip().rstrip(".")
        return f"error: {ended}. Perhaps memory ran out: run the same command again, with fewer num_workers.", 1
    return None


def run_or_exit(run: Callable[..., object], *arguments: object) -> None:
    """`exit_status` for a job of Hydra, which takes a failure as an exit of the process."""
    status = exit_status(run, *arguments)
    if status:
        sys.exit(status)


def prepare_streams() -> None:
    """Let stdout and stderr escape what their encoding lacks: a result must not be lost to a terminal's code page."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _left_alone() -> bool:
    """Whether nobody reads stdout any more; what is still written to it is then lost in silence."""
    try:
        print(flush=True)
    except BrokenPipeError:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return True
    return False


def _status(error: EmoprobeError) -> int:
    full = isinstance(error.__cause__, OSError) and error.__cause__.errno in FULL
    return 2 if isinstance(error, InputError | WeightsError) and not full else 1


def _stopped(stopped: stopping.Stopped) -> int:
    if not stopping.is_main():
        return 0  # the first process says it; a failed one would make Lightning kill it before it has
    again = slurm.requeue() if stopped.signal.name == "SIGUSR1" else None
    return say(f"stopped: {stopped}{f' {again}' if again else ''}", stopped.exit_status)


def say(message: str, status: int) -> int:
    """Print a line on stderr; returns the status."""
    with suppress(OSError, ValueError):  # stderr may be closed
        print(scrub(message), file=sys.stderr, flush=True)
    return status
