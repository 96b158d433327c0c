"""``emoprobe floors``: what a corpus's votes alone say about its floors and its human ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emoprobe.cli.arguments import add_overrides, make_parser, overrides_of
from emoprobe.cli.entry import command
from emoprobe.recipes.floors import print_floors


@command
def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    parser = make_parser(
        "floors",
        "Score the floors and the human ceiling of a corpus from its votes alone; no model is run.",
        "dataset=cremad dataset.root=DIR",
    )
    add_overrides(parser, "dataset=NAME dataset.root=DIR labels=NAME")
    parser.add_argument("-o", "--output", type=Path, help="folder to write floors.csv to")
    parsed = parser.parse_intermixed_args(arguments)

    print_floors(overrides_of(parsed), parsed.output)
    return 0
