"""What a sweep begins and ends with, however many commands and processes it takes."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from emoprobe.cli.entry import exit_status
from emoprobe.cli.one_job import go_on, settings_of
from emoprobe.cli.plugins import check_plugins
from emoprobe.errors import EmoprobeError, InputError
from emoprobe.run.job import LOG_FILE, JobState
from emoprobe.run.settings import Difference, differences, of_job
from emoprobe.run.sweep import BASIC_SWEEPER, SWEEP_FILE, Sweep, SweepJob, read_sweep, same_job, sweep_of
from emoprobe.settings import compose
from emoprobe.system import stopping
from emoprobe.system.masking import mask_files

if TYPE_CHECKING:
    from emoprobe.report.sweep_table import Results

REPORT, MOST = "report", 20


class SweepEnds(Callback):
    """Called by Hydra before the first job of a sweep and after the last."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a sweep that lacks a plugin, or in the folder of another one, before Hydra writes anything there."""
        status = exit_status(check_plugins, config) or exit_status(check_begun, config)
        if status:
            sys.exit(status)
        if config.hydra.sweeper._target_ != BASIC_SWEEPER:  # which does it itself
            folder = Path(config.hydra.sweep.dir)
            folder.mkdir(parents=True, exist_ok=True)
            OmegaConf.save(config, folder / SWEEP_FILE)
            mask_files(folder)
        stopping.suggest(go_on(Path(config.hydra.sweep.dir).absolute()))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the result; the exit status is 1 if not all jobs are done."""
        status = exit_status(end_sweep, Path(config.hydra.sweep.dir).absolute())
        if status:
            sys.exit(status)


def check_begun(config: DictConfig) -> None:
    """Whether jobs that have begun are those that a sweep asks for; where a job has no number for its name, it is
    looked at when its turn comes.

    Raises:
        InputError: A folder holds a job of other settings, or several processes were started for the sweep.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(
            "a sweep was started in several processes, which would not agree on what is left to be done",
            field="hydra.mode",
            remedy="Start one; its jobs start theirs with trainer.devices=N.",
        )
    hydra: Any = OmegaConf.to_container(config.hydra, resolve=False)
    folder = Path(config.hydra.sweep.dir).absolute()
    sweep = sweep_of(folder, hydra)
    if hydra["sweep"]["subdir"] != "${hydra.job.num}" or sweep.asked is None or not folder.is_dir():
        return
    told = []
    for job in sweep.jobs():
        if job.number is None or job.number >= len(sweep.asked) or job.state is None or job.state.state == "failed":
            continue
        if not same_job(job.overrides, sweep.asked[job.number]):
            told += [f"    #{job.number} {line}" for line in _differing(job.state, sweep.asked[job.number])]
    if told:
        print(*told[:MOST], *(["    ..."] if len(told) > MOST else []), sep="\n", file=sys.stderr)
        raise InputError(
            "this folder holds another sweep",
            file=folder,
            field="hydra.sweep.dir",
            remedy="Choose another folder. With hydra.sweep.subdir='${hydra.job.override_dirname}' from the first "
            "command on, a sweep can grow in every direction.",
        )


def _differing(state: JobState, overrides: Sequence[str]) -> list[Difference]:
    try:
        now = settings_of(compose([*overrides, "output_dir=."], state.verb))
    except EmoprobeError:
        now = {}
    return (
        differences(of_job(state.verb, state.settings), of_job(state.verb, now)) if now else []
    )  # else only Hydra can compose it, with the job's number


def end_sweep(folder: Path) -> int:
    """Print the table of a sweep, write ``sweep.csv`` and the report; 1 if not all jobs are done."""
    from emoprobe.report.sweep_table import read_results, write_sweep

    found = read_results(read_sweep(folder))
    written = write_sweep(found)  # whoever reads stdout may have gone
    show_table(found)
    print(f"Written  {written}", flush=True)
    if found.results:
        print(f"Report   {_report(found)}")
    return status_of(found.jobs)


def show_table(found: Results) -> None:
    """Print the table of a sweep, and name the jobs that are not in it."""
    from rich.console import Console

    from emoprobe.report.short_table import WIDTH
    from emoprobe.report.sweep_table import conclusions, sweep_tables

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    for sentence in conclusions(found):
        console.print()
        console.print(sentence, highlight=False, markup=False)
    for table in sweep_tables(found):
        console.print()
        console.print(table)
    if found.sweep.reason:
        print(f"note: {found.sweep.reason}")
    for job in found.jobs:
        if job.what != "done":
            print(f"{job.what.capitalize():<9}{named(job, found.sweep)}")
        elif job.folder is not None and job.folder in found.problems:
            print(f"{'Left out':<9}{named(job, found.sweep)}: {found.problems[job.folder]}")
    print(f"Sweep    {counted(found.jobs)}: {found.sweep.folder}")
    for line in next_steps(found.jobs):
        print(f"Next     {line}")


def named(job: SweepJob, sweep: Sweep) -> str:
    """A job that is not done in a line: what it is, why it failed, where its log is."""
    number = [] if job.number is None else [f"#{job.number}"]
    text = " ".join([*number, *sweep.varied(job.overrides)])
    if job.why:
        text += f": {job.why}"
    if job.folder is not None and (job.folder / LOG_FILE).exists():
        text += f"  {job.folder / LOG_FILE}"
    return text


def counted(jobs: Sequence[SweepJob]) -> str:
    """How many jobs are in which state."""
    return ", ".join(f"{number} {what}" for what, number in Counter(job.what for job in jobs).items()) or "no job"


def next_steps(jobs: Sequence[SweepJob]) -> list[str]:
    """What to do about jobs that are not done."""
    states = {job.what for job in jobs}
    lines = []
    if states & {"missing", "interrupted"}:
        lines.append("the same command with the same hydra.sweep.dir does what is missing or was interrupted")
    if "failed" in states:
        lines.append("the same command with retry=failed tries again what failed")
    return lines


def status_of(jobs: Sequence[SweepJob]) -> int:
    """0 if all jobs are done, else 1."""
    return 0 if jobs and all(job.what == "done" for job in jobs) else 1


def _report(found: Results) -> Path:
    """The report of a sweep; made unless it is newer than all jobs."""
    from emoprobe.report.write import PAGE_FILE, write_report

    output = found.sweep.folder / REPORT
    page = output / PAGE_FILE
    places = [result.job.folder / result.part for result in found.results if result.job.folder]
    if page.exists() and all(place.stat().st_mtime < page.stat().st_mtime for place in places):
        return page
    with redirect_stdout(StringIO()):  # the table has said it
        return write_report([found.sweep.folder], output, figures=False)
