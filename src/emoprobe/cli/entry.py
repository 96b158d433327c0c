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

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.system import stopping
from emoprobe.system.masking import scrub

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


def command(mistake: int = 1) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Decorator of a command's ``main``, which returns its exit status: see `exit_status`."""

    def decorate(main: Callable[..., int]) -> Callable[..., int]:
        @wraps(main)
        def guarded(arguments: Sequence[str] | None = None) -> int:
            return exit_status(main, arguments, mistake=mistake)

        return guarded

    return decorate


def exit_status(run: Callable[..., object], *arguments: object, mistake: int = 1) -> int:
    """Call a command and return its exit status: 0, or what ``run`` returns if that is a whole number.

    What is the user's to mend ends in one line on stderr and the status ``mistake``; a full disk is such a thing too.
    A signal ends in one line and 128 + its number, as shells have it: 143 for SIGTERM, 130 for Ctrl-C.
    """
    prepare_streams()
    with stopping.heard():
        try:
            status = run(*arguments)
        except stopping.Stopped as stopped:
            return _stopped(stopped)
        except EmoprobeError as error:
            return _say(f"error: {error}", mistake)
        except (KeyboardInterrupt, SystemExit) as error:
            # Lightning answers KeyboardInterrupt, and SIGTERM in its first moments, with SystemExit.
            signum = stopping.requested()
            if isinstance(error, SystemExit) and (not signum or error.code == 128 + signum):
                raise  # no signal, or a job of this command has said it
            return _stopped(stopping.Stopped(signum or SIGINT))
        except OSError as error:
            if error.errno not in FULL:
                raise
            where = f" (file {error.filename})" if error.filename else ""
            return _say(f"error: {error.strerror}{where}. Make room, then run the same command again.", mistake)
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):
                raise
            ended = str(error).splitlines()[0].strip().rstrip(".")
            remedy = "Perhaps memory ran out: run the same command again, with fewer num_workers."
            return _say(f"error: {ended}. {remedy}", mistake)
    return status if isinstance(status, int) and not isinstance(status, bool) else 0


def run_or_exit(run: Callable[..., object], *arguments: object) -> None:
    """`exit_status` for entry points of Hydra, which take a failure as an exit of the process."""
    status = exit_status(run, *arguments)
    if status:
        sys.exit(status)


def run_hydra(main: Callable[[], object]) -> None:
    """`run_or_exit` for what ``hydra.main`` has made, Hydra's own refusals included: it would print secrets in them."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises what it would otherwise print
    run_or_exit(_compose_and_run, main)


def _compose_and_run(main: Callable[[], object]) -> None:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        main()
    except (HydraException, OmegaConfBaseException) as error:
        said = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
        raise InputError(f"the configuration is wrong: {said}") from error


def prepare_streams() -> None:
    """Let stdout and stderr escape what their encoding lacks: a result must not be lost to a terminal's code page."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _stopped(stopped: stopping.Stopped) -> int:
    if not stopping.is_main():
        return 0  # the first process says it; a failed one would make Lightning kill it before it has
    return _say(f"stopped: {stopped}", stopped.exit_status)


def _say(message: str, status: int) -> int:
    with suppress(OSError, ValueError):  # stderr may be closed
        print(scrub(message), file=sys.stderr, flush=True)
    return status
