"""``emoprobe judge``: what the means of a run hide, by stratum, prompt and channel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emoprobe.cli.arguments import add_table, make_parser
from emoprobe.cli.entry import command


@command
def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    parser = make_parser(
        "judge",
        "Tables and figures of a run by stratum, by group of speakers, across prompts, and between the text and token "
        "channels.",
        "RUN_DIR --facts gender age acted_emotion",
    )
    parser.add_argument("run", type=Path, metavar="RUN_DIR", help="folder of a run, or of an analysis inside one")
    parser.add_argument("--facts", nargs="*", help="facts of speakers or clips to compare by (default: gender age)")
    parser.add_argument("--resamples", type=int, default=1000, help="of speakers, for intervals (default: %(default)s)")
    parser.add_argument(
        "--label", help="whose probability maps of layers and positions show (default: the raters' top)"
    )
    parser.add_argument("--no-figures", action="store_true", help="draw nothing")
    parser.add_argument("-o", "--output", type=Path, help="where to write (default: RUN_DIR/judgement)")
    add_table(parser)
    parsed = parser.parse_args(arguments)

    from emoprobe.recipes.judge import judge

    judge(
        parsed.run,
        parsed.output,
        facts=parsed.facts,
        label=parsed.label,
        resamples=parsed.resamples,
        figures=not parsed.no_figures,
        table=parsed.table,
    )
    return 0
