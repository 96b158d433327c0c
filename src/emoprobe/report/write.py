"""The report of a run or of a whole sweep: one offline page, leaderboards, figures for print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emoprobe.errors import InputError
from emoprobe.metrics.functional import headline_of
from emoprobe.report import leaderboard
from emoprobe.report.collect import collect
from emoprobe.report.conclusion import conclusion
from emoprobe.report.page import PageOptions, build_page, default_title
from emoprobe.report.results import print_table
from emoprobe.system.claim import claimed
from emoprobe.system.output import write_text

PAGE_FILE = "index.html"
LEADERBOARD = "leaderboard"
FIGURES = "figures"


def write_report(
    folders: Sequence[Path],
    output: Path,
    *,
    metric: str | None = None,
    audio: str = "link",
    clips: int = 0,
    cells: int = 40,
    intervals: bool = False,
    figures: bool = True,
    title: str | None = None,
    table: str | None = None,
) -> Path:
    """Collect runs, write their report, and say what was read; returns the page.

    Args:
        folders: Run folders, or folders that hold some.
        output: Where to write.
        metric: What to rank by; the headline of each group's label set where it is None.
        audio: ``link``: the page plays the files where they lie; ``embed``: some are within the page; ``none``.
        clips: Of these, per group: half of largest disagreement, half evenly spread over the raters' entropy.
        cells: Readouts per group shown clip by clip, the best ones; the table holds all.
        intervals: Whether the Markdown and LaTeX tables have intervals too.
        figures: Whether to draw the figures for print.
        title: Title of the page; the corpora by default.
        table: Whether to print the metric table of every group, ``short`` or ``full``, too.

    Raises:
        InputError: Nothing usable was found, a metric is unknown, or the output cannot be written.
    """
    found = collect(folders)
    for group in found.groups:
        if metric is not None and metric not in group.definitions:
            raise InputError(
                f"the runs of {group.name} state no metric {metric!r}",
                field="--metric",
                remedy=f"Choose from {', '.join(group.definitions)}.",
            )
    for group in found.groups:
        readouts = sum(entry.row["kind"] == "readout" for entry in group.entries)
        counts = f"{_count(len(group.runs), 'run')}, {_count(readouts, 'readout')}"
        print(f"Group    {group.name}: {counts}; {leaderboard.describe(group)[0]}")
        for difference in group.differs:
            print(f"           {difference}")
        rows = [dict(entry.row) for entry in group.entries]
        said = conclusion(rows, metric or headline_of(group.labels))
        if said and table is None:
            print(f"           {said}")
        if group.conflicts:
            print(f"           defined differently by its runs, left out: {', '.join(group.conflicts)}")
        if table is not None:
            print_table(rows, group.labels, table)
    for name, problems in (("Missing", found.missing), ("Left out", found.left_out)):
        for problem in problems:
            job = f" [{' '.join(problem.job)}]" if problem.job else ""
            print(f"{name:<9}{problem.folder}: {problem.reason}{job}")
    options = PageOptions(title or default_title(found.groups), metric=metric, cells=cells, audio=audio, clips=clips)
    page, notes = build_page(found, options, output)
    for note in notes:
        print(f"Note     {note}")
    try:
        with claimed(output, "report", "--output"):
            file = output / PAGE_FILE
            write_text(page, file)
            leaderboard.write_csv(found.groups, output / f"{LEADERBOARD}.csv")
            for suffix, write in (("md", leaderboard.markdown), ("tex", leaderboard.latex)):
                text = write(found.groups, metric, intervals=intervals)
                write_text(text, output / f"{LEADERBOARD}.{suffix}")
            drawn = []
            if figures:
                for group in found.groups:
                    drawn += leaderboard.save_figures(group, metric or headline_of(group.labels), output / FIGURES)
    except OSError as error:
        raise InputError(
            f"the report cannot be written: {error.strerror or error}", file=output, remedy="Choose another -o."
        ) from error
    print(f"Written  {file} ({file.stat().st_size / 2**20:.1f} MiB), {LEADERBOARD}.csv, .md, .tex", end="")
    print(f", {FIGURES}/ ({len(drawn)} files)" if drawn else "")
    return file


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
