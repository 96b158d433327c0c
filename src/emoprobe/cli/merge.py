"""``emoprobe merge``: one run out of the parts that jobs of their own have scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emoprobe.cli.arguments import make_parser
from emoprobe.cli.entry import command


@command
def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    parser = make_parser(
        "merge",
        "Make one run of all its parts (emoprobe probe dataset.shard=1/N, 2/N, ...), as if one job had scored it. "
        "Parts that are missing, doubled, unfinished, damaged or of another run are refused by name.",
        "runs/part-* -o runs/whole",
        "multirun/2026-01-01/12-00-00 -o runs/whole",
    )
    parser.add_argument("parts", nargs="+", type=Path, metavar="PART", help="folder of a part, or one that holds some")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUN", help="folder of the result")
    parsed = parser.parse_args(arguments)

    from emoprobe.recipes.merge import merge

    merge(parsed.parts, parsed.output)
    return 0
