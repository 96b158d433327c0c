"""Signals stop a run between two batches: what is finished is kept, one line is said, the exit status is 128 + signal.

`heard` turns the signals that ask a process to stop into `KeyboardInterrupt` where they arrive. Within `graceful` they
only leave a mark, and `check`, which is called between batches, raises `Stopped`.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from emoprobe.errors import EmoprobeError
from emoprobe.system.slurm import is_first

# SIGUSR1 is what Slurm is usually told to send before the time is up (--signal=USR1@120).
SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name))
TWIN_SECONDS = 0.5  # `timeout` and Slurm signal a process and then its group: the same wish arrives twice


class Stopped(EmoprobeError):  # noqa: N818  # no error: it does what it was told
    """A signal asked the process to stop.

    Args:
        signum: The signal.
        remedy: How to go on later, as a full sentence.

    Attributes:
        signal: The signal.
    """

    def __init__(self, signum: int, remedy: str = "") -> None:
        self.signal = signal.Signals(signum)
        self.exit_status = 128 + signum
        super().__init__(f"by {self.signal.name}; what was finished is kept.{' ' if remedy else ''}{remedy}")


class _State:
    """What has arrived so far; a process has one set of signal handlers."""

    signum = 0
    when = 0.0
    waits = False  # for the end of a batch
    remedy = ""


def _handle(signum: int, _frame: object) -> None:
    first = not _State.signum
    if not first and time.monotonic() - _State.when < TWIN_SECONDS:
        return
    _State.signum, _State.when = signum, time.monotonic()
    if not (first and _State.waits):
        raise KeyboardInterrupt


def hold() -> None:
    """Take the signals back from a library that has put its own handlers in place since, as Lightning does."""
    if threading.current_thread() is threading.main_thread():
        for signum in SIGNALS:
            if signal.getsignal(signum) is not signal.SIG_IGN:  # whoever started us wants it ignored: nohup, `&`
                signal.signal(signum, _handle)


@contextmanager
def heard(remedy: str = "") -> Iterator[None]:
    """Signals raise `KeyboardInterrupt` at once (in the first process), or wait if they do outside of it.

    Args:
        remedy: How to go on later, for the user; of nested ones the outermost's is said.

    Raises:
        Stopped: Instead of `KeyboardInterrupt`, with the remedy.
    """
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    outermost = _handle not in before.values()
    outer_remedy = _State.remedy
    _State.remedy = outer_remedy or remedy
    if outermost:
        _State.waits = not is_main()  # a later process stops when all agree to: it would leave the first one waiting
    hold()
    try:
        yield
    except KeyboardInterrupt:
        if not _State.remedy:
            raise
        raise Stopped(_State.signum or signal.SIGINT, _State.remedy) from None
    finally:
        _State.remedy = outer_remedy
        if outermost:
            _State.signum, _State.waits = 0, False
        if threading.current_thread() is threading.main_thread():
            for signum, handler in before.items():
                signal.signal(signum, handler)


@contextmanager
def graceful(remedy: str = "") -> Iterator[None]:
    """Signals only leave a mark for `check`; a second one, half a second or more later, is `KeyboardInterrupt` at once.

    Args:
        remedy: See `heard`.

    Raises:
        Stopped: A signal arrived after the last `check`.
    """
    with heard(remedy):
        before, _State.waits = _State.waits, True
        try:
            yield
            if is_main():
                check()
        finally:
            _State.waits = before


def suggest(remedy: str) -> None:
    """Say how to go on later for all that follows within the outermost `heard`, unless something is said already."""
    _State.remedy = _State.remedy or remedy


def remedy() -> str:
    """How to go on later, as far as it was said."""
    return _State.remedy


def requested() -> int:
    """The signal that asks this process to stop; 0 for none."""
    return _State.signum


def check(signum: int | None = None) -> None:
    """Stop here if a signal asks for it.

    Args:
        signum: What several processes have agreed upon; by default what this one was sent.

    Raises:
        Stopped: It does.
    """
    signum = requested() if signum is None else signum
    if signum:
        raise Stopped(signum, _State.remedy)


def shield(_worker: int) -> None:
    """For the ``worker_init_fn`` of a DataLoader: workers go on until the process that they work for stops."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)


def is_main() -> bool:
    """Whether this is the only or the first process; Lightning numbers those that it starts, Slurm its tasks."""
    return is_first() and os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"
