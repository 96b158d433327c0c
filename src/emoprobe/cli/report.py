"""``emoprobe report``: runs and sweeps as one offline page, with leaderboards and figures for print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emoprobe.cli.arguments import add_table, make_parser
from emoprobe.cli.entry import command


@command
def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    parser = make_parser(
        "report",
        "Write index.html (one file, offline), leaderboard.csv, .md and .tex, and figures of finished runs. Runs that "
        "differ in labels, corpus, soft labels, split or evaluated utterances are kept apart.",
        "outputs/RUN -o report",
        "multirun/2026-01-01/12-00-00 -o report --audio embed 40",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="run folder, or a folder that holds some")
    parser.add_argument("-o", "--output", type=Path, default=Path("report"), help="where to write (default: report)")
    parser.add_argument("--metric", help="what to rank by (default: js_divergence; of a scale, ccc)")
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
    add_table(parser)
    parser.add_argument("--title", help="title of the page (default: the corpora)")
    parsed = parser.parse_args(arguments)
    how = parsed.audio
    if how not in (["link"], ["none"]) and not (len(how) == 2 and how[0] == "embed" and how[1].isdecimal()):
        parser.error(f"argument --audio: {' '.join(how)!r} is none of: link, embed N, none")
    if parsed.cells < 0:
        parser.error("argument --cells: a number of at least 0 is needed")

    from emoprobe.report.write import write_report

    write_report(
        parsed.folders,
        parsed.output,
        metric=parsed.metric,
        audio=how[0],
        clips=int(how[1]) if how[0] == "embed" else 0,
        cells=parsed.cells,
        intervals=parsed.intervals,
        figures=not parsed.no_figures,
        title=parsed.title,
        table=parsed.table,
    )
    return 0
