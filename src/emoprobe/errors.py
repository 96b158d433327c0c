"""Errors that a user can act on: what is wrong, where, and what to do about it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path


class EmoprobeError(Exception):
    """Base of every error that emoprobe raises on purpose; entry points print it without a traceback.

    Attributes:
        kind: What the printed line begins with.
        exit_status: Of the command that it ends.
    """

    kind = "error"
    exit_status = 1


class InputError(EmoprobeError, ValueError):
    """Something the user gave is wrong.

    Args:
        what: What was wrong, as a full clause without a final stop.
        file: The file concerned.
        row: The row as a person counts it: the header is row 1 of a CSV, line 1 is the first line of a text file.
        field: The column, option or config key concerned.
        remedy: What to do about it, as a full sentence.
    """

    def __init__(
        self,
        what: str,
        *,
        file: str | Path | None = None,
        row: int | None = None,
        field: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.what, self.file, self.row, self.field, self.remedy = what, file, row, field, remedy
        where = [
            f"{name} {value}" for name, value in (("file", file), ("row", row), ("field", field)) if value is not None
        ]
        message = what + (f" ({', '.join(where)})" if where else "") + "."
        super().__init__(f"{message} {remedy}" if remedy else message)


class WeightsError(EmoprobeError):
    """A model's weights are missing, damaged or not what they claim to be."""


def run_or_exit(run: Callable[..., object], *arguments: object) -> None:
    """Call a command; the user's mistakes and signals end it in one line and an exit status, not in a traceback.

    The status is 1 after a mistake, and 128 + the signal's number after a signal: 143 for SIGTERM, 130 for Ctrl-C.
    """
    from emoprobe import stopping

    with stopping.heard():
        try:
            run(*arguments)
        except EmoprobeError as error:
            _exit(error)
        except (KeyboardInterrupt, SystemExit) as error:
            # Lightning answers KeyboardInterrupt, and SIGTERM in its first moments, with SystemExit.
            if isinstance(error, SystemExit) and not stopping.requested():
                raise
            _exit(stopping.Stopped(stopping.requested() or signal.SIGINT))


def _exit(error: EmoprobeError) -> None:
    from emoprobe import stopping
    from emoprobe.masking import scrub

    if error.kind == stopping.Stopped.kind and not stopping.is_main():
        sys.exit(0)  # the first process says it; a failed one would make Lightning kill it before it has
    print(scrub(f"{error.kind}: {error}"), file=sys.stderr, flush=True)
    sys.exit(error.exit_status)
