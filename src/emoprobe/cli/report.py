"""Write the report of a run or of a whole sweep: one offline page, leaderboards, figures for print.

Command: ``python -m emoprobe report RUN_OR_SWEEP_DIR... -o report/``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from emoprobe.cli.entry import command

PAGE_FILE = "index.html"
LEADERBOARD = "leaderboard"
FIGURES = "figures"


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Command line of ``python -m emoprobe report``."""
    parser = argparse.ArgumentParser(
        prog="python -m emoprobe report",
        description="Write index.html (one file, offline), leaderboard.csv, .md and .tex, and figures of finished "
        "runs. Runs that differ in labels, corpus, soft labels, split or evaluated utterances are kept apart.",
        epilog="Examples: python -m emoprobe report outputs/RUN -o report; "
        "python -m emoprobe report multirun/2026-01-01/12-00-00 -o report --audio embed 40",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="run folder, or a folder that holds some")
    parser.add_argument("-o", "--output", type=Path, default=Path("report"), help="where to write (default: report)")
    parser.add_argument("--metric", default="js_divergence", help="what to rank by (default: js_divergence)")
    parser.add_argument(
        "--audio",
        nargs="+",
        default=["link"],
        metavar="HOW",
        help="link: the page plays the files where they lie (default); embed N: N clips per group within the page, "
        "half of largest disagreement, half evenly spread over the raters' entropy; none",
    )
    parser.add_argument(
        "--cells",
        type=int,
        default=40,
        metavar="N",
        help="readouts per group shown clip by clip, the best ones (default: 40); the table holds all",
    )
    parser.add_argument("--intervals", action="store_true", help="intervals in the Markdown and LaTeX tables too")
    parser.add_argument("--no-figures", action="store_true", help="leave out the figures for print")
    parser.add_argument("--title", help="title of the page (default: the corpora)")
    parsed = parser.parse_args(arguments)
    how = parsed.audio
    if how not in (["link"], ["none"]) and not (len(how) == 2 and how[0] == "embed" and how[1].isdecimal()):
        parser.error(f"argument --audio: {' '.join(how)!r} is none of: link, embed N, none")
    if parsed.cells < 0:
        parser.error("argument --cells: a number of at least 0 is needed")
    return parsed


@command()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parsed = parse_arguments(arguments)
    report(parsed)
    return 0


def report(parsed: argparse.Namespace) -> Path:
    """Collect, write, and say what was read; returns the page.

    Args:
        parsed: `parse_arguments`.

    Raises:
        InputError: Nothing usable was found, a metric is unknown, or the output cannot be written.
    """
    from emoprobe.errors import InputError
    from emoprobe.report import leaderboard
    from emoprobe.report.collect import collect
    from emoprobe.report.page import PageOptions, build_page, default_title
    from emoprobe.system.output import write_text

    found = collect(parsed.folders)
    for group in found.groups:
        if parsed.metric not in group.definitions:
            raise InputError(
                f"the runs of {group.name} state no metric {parsed.metric!r}",
                field="--metric",
                remedy=f"Choose from {', '.join(group.definitions)}.",
            )
    for group in found.groups:
        readouts = sum(entry.row["kind"] == "readout" for entry in group.entries)
        counts = f"{_count(len(group.runs), 'run')}, {_count(readouts, 'readout')}"
        print(f"Group    {group.name}: {counts}; {leaderboard.describe(group)[0]}")
        for difference in group.differs:
            print(f"           {difference}")
        if group.conflicts:
            print(f"           defined differently by its runs, left out: {', '.join(group.conflicts)}")
    for name, problems in (("Missing", found.missing), ("Left out", found.left_out)):
        for problem in problems:
            job = f" [{' '.join(problem.job)}]" if problem.job else ""
            print(f"{name:<9}{problem.folder}: {problem.reason}{job}")
    how = parsed.audio[0]
    options = PageOptions(
        parsed.title or default_title(found.groups),
        metric=parsed.metric,
        cells=parsed.cells,
        audio=how,
        clips=int(parsed.audio[1]) if how == "embed" else 0,
    )
    page, notes = build_page(found, options, parsed.output)
    for note in notes:
        print(f"Note     {note}")
    try:
        parsed.output.mkdir(parents=True, exist_ok=True)
        file = parsed.output / PAGE_FILE
        write_text(page, file)
        leaderboard.write_csv(found.groups, parsed.output / f"{LEADERBOARD}.csv")
        for suffix, write in (("md", leaderboard.markdown), ("tex", leaderboard.latex)):
            text = write(found.groups, parsed.metric, intervals=parsed.intervals)
            write_text(text, parsed.output / f"{LEADERBOARD}.{suffix}")
        figures = []
        if not parsed.no_figures:
            for group in found.groups:
                figures += leaderboard.save_figures(group, parsed.metric, parsed.output / FIGURES)
    except OSError as error:
        raise InputError(
            f"the report cannot be written: {error.strerror or error}", file=parsed.output, remedy="Choose another -o."
        ) from error
    print(f"Written  {file} ({file.stat().st_size / 2**20:.1f} MiB), {LEADERBOARD}.csv, .md, .tex", end="")
    print(f", {FIGURES}/ ({len(figures)} files)" if figures else "")
    return file


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


if __name__ == "__main__":
    sys.exit(main())
