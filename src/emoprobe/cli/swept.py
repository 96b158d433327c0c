"""A job of a sweep: one line says what became of it, its log holds the rest, and no other job fails with it."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from emoprobe.cli.entry import foreseen, say
from emoprobe.cli.one_job import (
    ending,
    first_line,
    go_on,
    is_cut_off,
    is_stop,
    one_job,
    overrides_of_job,
    put_back,
    settings_of,
    value_of,
)
from emoprobe.errors import EmoprobeError
from emoprobe.recipes.loaded import keep_model
from emoprobe.run.job import LOG_FILE, JobState, begin_job, held, read_job
from emoprobe.run.settings import Difference, derived, differences, of_job
from emoprobe.run.sweep import BASIC_SWEEPER, SWEEP_FILE, Sweep, read_sweep
from emoprobe.system import masking, stopping

MOST = 8  # differences that are named


class JobError(EmoprobeError):
    """A job failed, for a sweeper that counts failures itself."""


def run_swept(verb: str, run: Callable[[], Path], config: DictConfig) -> float | None:
    """Call a recipe as a job of a sweep; returns what a sweeper optimises.

    What it prints goes to its log. A job that is done is not repeated, one that failed only with ``retry=failed``. One
    that fails raises nothing under Hydra's own sweeper, which would end all others with it.

    Raises:
        JobError: It failed, or was refused, under a sweeper that counts failures itself.
        SystemExit: A signal asks the sweep to stop, or ``keep_going`` is false and it failed.
    """
    keep_model()
    hydra: Any = HydraConfig.get()
    place = Path(hydra.sweep.dir)
    with one_job(verb, config) as folder:
        shown = _Shown(_sweep(place.absolute()), hydra.job.num, folder)
        state = _state_after(verb, run, config, shown)
    if state is not None and state.state == "done":
        return state.value
    if hydra.sweeper._target_ != BASIC_SWEEPER:
        raise JobError(f"job {hydra.job.num} has no result: {state.error if state else 'its line says why'}")
    if state is None:
        return None
    if not config.keep_going:
        sys.exit(say("error: a job failed, and keep_going is false; the same command goes on with the others.", 1))
    return None


def _state_after(verb: str, run: Callable[[], Path], config: DictConfig, shown: _Shown) -> JobState | None:
    """What became of a job; None of one that another process runs, or whose folder is not its own."""
    folder, settings, then = shown.folder, settings_of(config), read_job(shown.folder)
    with held(folder) as mine:
        if not mine:
            other = read_job(folder)
            shown.say("running", other.where if other else "by another process")
            return None
        if then is not None and not _goes_on(then, settings, config, folder):
            return _kept(verb, then, settings, config, shown)
        job = begin_job(folder, verb, settings, overrides=overrides_of_job(), number=shown.number)
        try:
            with stopping.heard(go_on(shown.sweep.folder)), ending(job), _logged(folder / LOG_FILE):
                job.end("done", value=value_of(run(), config))
            from emoprobe.report.sweep_table import main_metric  # pyarrow is not needed for a help

            shown.say("done", seconds=job.state.seconds, value=main_metric(folder))
        except BaseException as error:
            shown.say(job.state.state, job.state.error, seconds=job.state.seconds)
            if is_stop(error):
                sys.exit(_stop(error))
            if not isinstance(error, Exception | SystemExit) or (isinstance(error, SystemExit) and is_cut_off(error)):
                raise
        return job.state


def _goes_on(then: JobState, settings: Mapping[str, Any], config: DictConfig, folder: Path) -> bool:
    """Whether a job that has begun before is carried out now.

    It was interrupted, something in it failed and is tried again, or what is derived from its scores is another.
    """
    if then.state == "failed":
        return config.retry == "failed"
    if _differing(then, settings):
        return False
    told = settings.get("optimize") in (None, then.settings.get("optimize"))  # what a sweeper is told needs no model
    if then.state == "done" and told and derived(then.verb, then.settings) == derived(then.verb, settings):
        from emoprobe.recipes.again import failures  # pandas and pyarrow are not needed for a help
        from emoprobe.run.finding import find_runs

        return config.retry == "failed" and any(failures(run.folder) for run in find_runs(folder)[0])
    return True


def _differing(then: JobState, settings: Mapping[str, Any]) -> list[Difference]:
    return differences(of_job(then.verb, then.settings), of_job(then.verb, settings))


def _kept(verb: str, then: JobState, settings: Mapping[str, Any], config: DictConfig, shown: _Shown) -> JobState | None:
    """A job that is not carried out, and why; None of one whose numbers would not be those of this command."""
    if then.state == "failed":
        shown.say("failed before", then.error)
        return then
    if other := _differing(then, settings):
        put_back(then, shown.folder)
        shown.refuse(then, "this folder holds a job with other settings", other, "Choose another hydra.sweep.dir.")
        return None
    from emoprobe.recipes.unchanged import changes_since  # pandas and pyarrow are not needed for a help

    if changed := changes_since(shown.folder, verb, config, then.began):
        why = "it is done, and what it was made of has changed since"
        shown.refuse(then, why, changed, f"Delete {shown.folder} to do it again, or choose another hydra.sweep.dir.")
        return None
    if then.refused:
        replace(then, refused=()).write(shown.folder)
    shown.say("done before")
    return then


def _stop(error: BaseException) -> int:
    if isinstance(error, stopping.Stopped):
        return say(f"stopped: {error}", error.exit_status)
    return 128 + stopping.requested()


def _sweep(folder: Path) -> Sweep:
    """The sweep of this command, which its sweeper has written before its first job."""
    file = folder / SWEEP_FILE
    return _sweep_of(folder, file.stat().st_mtime_ns if file.exists() else 0)


@cache
def _sweep_of(folder: Path, _changed: int) -> Sweep:
    return read_sweep(folder)


def shorten(text: str, most: int = 160) -> str:
    """The beginning of a long line."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


@dataclass(frozen=True)
class _Shown:
    """How a job is shown.

    Args:
        sweep: Its sweep.
        number: Its number.
        folder: Its folder.
    """

    sweep: Sweep
    number: int
    folder: Path

    def say(self, state: str, more: str = "", seconds: float | None = None, value: str = "") -> None:
        """Print the line of the job."""
        asked = self.sweep.asked
        count = f"[{self.number + 1}/{len(asked)}] " if asked else ""
        what = " ".join(self.sweep.varied(overrides_of_job()))
        took = "" if seconds is None else f"{seconds:.1f} s  "
        metric = f"{value}  " if value else ""
        text = masking.scrub(f"{count}#{self.number} {what}  {took}{metric}{state}{': ' if more else ''}{more}")
        print(shorten(text), flush=True)

    def refuse(self, then: JobState, why: str, lines: Sequence[object], remedy: str) -> None:
        """Print the line of a job whose results are left as they are, and the reasons, a line each."""
        replace(then, refused=(why, *map(str, lines))).write(self.folder)
        self.say("refused", why)
        for line in lines[:MOST]:
            print(masking.scrub(f"    {line}"))
        more = f"    and {len(lines) - MOST} more. " if len(lines) > MOST else "    "
        print(masking.scrub(more + remedy), flush=True)


@contextmanager
def _logged(file: Path) -> Iterator[None]:
    """What is printed while the block runs goes to a log, and what ends it."""
    with file.open("a", encoding="utf-8", errors="backslashreplace", buffering=1) as log:
        log.write(f"-- {datetime.now().astimezone().isoformat(timespec='seconds')} {' '.join(overrides_of_job())}\n")
        try:
            with redirect_stdout(log):
                yield
        except BaseException as error:
            log.write(_said_of(error) + "\n")
            raise


def _said_of(error: BaseException) -> str:
    if is_stop(error) or is_cut_off(error):
        return f"stopped: {first_line(error)}"
    said = foreseen(error) if isinstance(error, Exception) else None
    return masking.scrub(traceback.format_exc() if said is None else said[0])
