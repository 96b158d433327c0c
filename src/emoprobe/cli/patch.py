"""``emoprobe patch``: one clip's sound put into another, decoder layer by decoder layer."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path

from emoprobe.cli.arguments import add_overrides, make_parser, overrides_of
from emoprobe.cli.entry import command


@command
def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    parser = make_parser(
        "patch",
        "Put the sound of one clip into another from each decoder layer on, and measure how far the belief goes along: "
        "up to which layer does it still hang on the sound?",
        "model=emoprobe_small prompt=instruction/single_word dataset.limit=20 -o FOLDER",
    )
    add_overrides(parser, "model=... dataset=... dataset.limit=... prompt=... labels=...")
    parser.add_argument("--layers", type=_numbers, metavar="N,N,...", help="decoder layers (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="draws who is put into whom (default: %(default)s)")
    parser.add_argument("--resamples", type=int, default=2000, help="of speakers, for intervals (default: %(default)s)")
    parser.add_argument("--no-figures", action="store_true", help="draw nothing")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write to")
    parsed = parser.parse_intermixed_args(arguments)

    from emoprobe.recipes.patch import patch

    patch(
        overrides_of(parsed),
        parsed.output,
        layers=parsed.layers,
        seed=parsed.seed,
        resamples=parsed.resamples,
        figures=not parsed.no_figures,
    )
    return 0


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not numbers with commas between them") from error
