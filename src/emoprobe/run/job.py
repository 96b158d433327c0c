"""What became of a job: ``job.json`` in its folder, written when it begins and when it ends."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from filelock import FileLock, Timeout

from emoprobe.system.masking import scrub
from emoprobe.system.output import write_json

JOB_FILE, LOG_FILE, LOCK_FILE = "job.json", "job.log", ".job.lock"
State = Literal["running", "done", "failed", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class JobState:
    """What became of a job of Hydra, alone or of a sweep.

    Args:
        verb: ``probe`` or ``train``.
        state: As it was written; what was running when its process was killed is so here, and not of `read_job`.
        number: Its number in its sweep; None of a job alone.
        overrides: What its command line, or its sweep, changed; without secrets.
        settings: Its whole configuration as plain values, without secrets.
        started: When it last began, ISO 8601.
        seconds: How long it took since; None while it runs.
        error: The first line of what made it fail.
        value: What an optimiser is told.
        refused: Of a finished job, why the last command that came by did not take it for its own, a line each.
        process: The process that ran it.
        host: Where.
    """

    verb: str
    state: State = "running"
    number: int | None = None
    overrides: tuple[str, ...] = ()
    settings: Mapping[str, Any]
    started: str
    seconds: float | None = None
    error: str = ""
    value: float | None = None
    refused: tuple[str, ...] = ()
    process: int
    host: str

    @property
    def began(self) -> float:
        """When it last began, in seconds since 1970."""
        return datetime.fromisoformat(self.started).timestamp()

    @property
    def where(self) -> str:
        """Who runs it, and since when."""
        return f"process {self.process} on {self.host}, since {self.started[:19]}"

    def write(self, folder: Path) -> None:
        """Write it into the job's folder.

        Raises:
            InputError: It cannot be written.
        """
        write_json(asdict(self), folder / JOB_FILE)


class Job:
    """A job that this process runs.

    Args:
        folder: Its folder.
        state: What was written of it.
    """

    def __init__(self, folder: Path, state: JobState) -> None:
        self.folder, self.state = folder, state
        self._began = time.monotonic()
        state.write(folder)

    def end(self, state: State, *, error: str = "", value: float | None = None) -> JobState:
        """Write how it ended."""
        seconds = time.monotonic() - self._began
        self.state = replace(self.state, state=state, error=scrub(error), value=value, seconds=round(seconds, 3))
        self.state.write(self.folder)
        return self.state


def begin_job(
    folder: Path, verb: str, settings: Mapping[str, Any], *, overrides: tuple[str, ...] = (), number: int | None = None
) -> Job:
    """Write that a job runs; called within `held`."""
    started = datetime.now().astimezone().isoformat()
    mine: dict[str, Any] = {"process": os.getpid(), "host": socket.gethostname(), "started": started}
    return Job(folder, JobState(verb=verb, settings=settings, overrides=overrides, number=number, **mine))


@contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Hold a job's folder while the block runs, unless another process does; the system lets go of it when the process
    ends, however it ends. Gives whether it is held here.
    """
    lock = FileLock(folder / LOCK_FILE, timeout=1)  # whoever only looks, holds it for a moment
    try:
        lock.acquire()
    except (Timeout, OSError):
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def read_job(folder: Path) -> JobState | None:
    """What became of the job of a folder; one whose process was killed was interrupted. None where none began, or its
    file cannot be read.
    """
    try:
        found = json.loads((folder / JOB_FILE).read_text(encoding="utf-8"))
        state = JobState(**{each.name: found[each.name] for each in fields(JobState)})
        if state.state not in get_args(State) or not isinstance(state.settings, Mapping):
            return None
        _ = state.began
        state = replace(state, overrides=tuple(map(str, state.overrides)), refused=tuple(map(str, state.refused)))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return replace(state, state="interrupted") if state.state == "running" and not _is_held(folder) else state


def reason_of(folder: Path) -> str:
    """Why the job of a folder has no result, if it has said so: it failed, or runs."""
    job = read_job(folder)
    if job is None or job.state not in ("failed", "running"):
        return ""
    return f"failed: {job.error}" if job.state == "failed" else f"running: {job.where}"


def _is_held(folder: Path) -> bool:
    if not (folder / LOCK_FILE).exists():
        return False
    lock = FileLock(folder / LOCK_FILE, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError:  # not ours to write in; whoever runs there has not said that it has ended
        return True
    lock.release()
    return False
