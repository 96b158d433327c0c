"""How far answers are that are being written, told to whoever waits for them.

The loops that write know nothing of who watches, and who watches knows nothing of models: what is told is a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """What has come to what was told before.

    Args:
        asked: Answers that are begun.
        tokens: Tokens that are written.
        ended: Answers that have ended or reached their limit.
        settled: Of the longest answers' tokens, those that are written or need not be, because an answer has ended.
    """

    asked: int = 0
    tokens: int = 0
    ended: int = 0
    settled: int = 0


_watcher: ContextVar[Callable[[Step], None] | None] = ContextVar("watcher of answers", default=None)


@contextmanager
def watching(watcher: Callable[[Step], None] | None) -> Iterator[None]:
    """Tell of every step of answers that are written meanwhile.

    Args:
        watcher: Who is told; None where nobody wants to know.
    """
    before = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(before)


def tell(step: Step) -> None:
    """Tell who watches, if anyone does."""
    watcher = _watcher.get()
    if watcher is not None:
        watcher(step)
