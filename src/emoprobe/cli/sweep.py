"""Sweeps from the command line: ``emoprobe sweep status DIR`` and ``table``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from emoprobe.cli.arguments import make_parser
from emoprobe.cli.entry import command
from emoprobe.cli.sweep_ends import counted, named, next_steps, show_table, status_of
from emoprobe.errors import InputError
from emoprobe.run.sweep import SWEEP_FILE, SweepJob, read_sweep


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(
        "sweep",
        "What became of the jobs of a sweep, while it runs and later. Exit status: 0 if all jobs are done, else 1.",
        "status multirun/2026-01-01/12-00-00",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="status|table")
    status = commands.add_parser("status", help="a line per job: done, running, missing, failed, interrupted")
    table = commands.add_parser("table", help="the table that the sweep ended in, of what is done by now")
    for each in (status, table):
        each.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folder of a sweep, or of several")
    return parser.parse_args(arguments)


@command
def main(arguments: Sequence[str]) -> int:
    """Run a command; returns its exit status."""
    parsed = parse_arguments(arguments)
    worst = 0
    for folder in parsed.folders:
        for sweep in sweeps_in(folder):
            jobs = show_results(sweep) if parsed.command == "table" else show_status(sweep)
            worst = max(worst, status_of(jobs))
    return worst


def sweeps_in(folder: Path) -> Iterator[Path]:
    """The folders of sweeps in and below a folder.

    Raises:
        InputError: There is none.
    """
    found = False
    for where, below, files in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        if SWEEP_FILE in files:
            below.clear()
            found = True
            yield Path(where).absolute()
    if not found:
        raise InputError("no sweep was found", file=folder, remedy="Give the hydra.sweep.dir of a sweep.")


def show_results(folder: Path) -> Sequence[SweepJob]:
    """Print the table of what is done."""
    from emoprobe.report.sweep_table import read_results  # pandas and pyarrow are not needed for a help

    found = read_results(read_sweep(folder))
    show_table(found)
    return found.jobs


def show_status(folder: Path) -> list[SweepJob]:
    """Print a line per job, and how many are in which state."""
    sweep = read_sweep(folder)
    jobs = sweep.jobs()
    for job in jobs:
        took = "" if job.state is None or job.state.seconds is None else f"  {job.state.seconds:.1f} s"
        print(f"{job.what:<12}{named(job, sweep)}{took}")
    if sweep.reason:
        print(f"note: {sweep.reason}")
    print(f"Sweep       {counted(jobs)}: {folder}")
    for line in next_steps(jobs):
        print(f"Next        {line}")
    return jobs
