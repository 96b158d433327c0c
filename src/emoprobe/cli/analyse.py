"""``emoprobe analyse``: other calibrations and analyses of a finished run, without its model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emoprobe.cli.arguments import add_overrides, make_parser, overrides_of
from emoprobe.cli.entry import command
from emoprobe.recipes.analyse import analyse_again


@command
def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    parser = make_parser(
        "analyse",
        "Derive predictions, metrics and figures from the stored scores of a run, without its model.",
        "outputs/RUN calibration=all",
    )
    parser.add_argument("run", type=Path, metavar="RUN_DIR", help="folder of a run")
    add_overrides(parser, "calibration=[none,batch] analysis.failures=uniform")
    parser.add_argument("-o", "--output", type=Path, help="where to write (default: RUN_DIR/analysis)")
    parsed = parser.parse_intermixed_args(arguments)

    analyse_again(parsed.run, overrides_of(parsed), parsed.output)
    return 0
