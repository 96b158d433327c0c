"""What the command lines of the verbs have in common."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def make_parser(verb: str, description: str, *examples: str) -> argparse.ArgumentParser:
    """The parser of a verb.

    Args:
        verb: Its name.
        description: What it does.
        examples: Command lines without ``emoprobe`` and the verb.
    """
    shown = "; ".join(f"emoprobe {verb} {example}" for example in examples)
    return argparse.ArgumentParser(
        prog=f"emoprobe {verb}",
        description=description,
        epilog=f"Example{'s' if len(examples) > 1 else ''}: {shown}",
    )


def add_overrides(parser: argparse.ArgumentParser, example: str) -> None:
    """Let a verb compose the configuration: Hydra's overrides and its ``--config-dir``, see `overrides_of`."""
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=f"Hydra overrides: {example}")
    parser.add_argument("--config-dir", type=Path, metavar="DIR", help="folder of config groups of your own")


def add_table(parser: argparse.ArgumentParser) -> None:
    """Let a verb print the metric table of what it read."""
    parser.add_argument(
        "--table",
        choices=("short", "full"),
        help="print the metric table too: the best readouts and the columns that decide, or all of both",
    )


def overrides_of(parsed: argparse.Namespace) -> list[str]:
    """The overrides of a command line, by which its ``--config-dir`` is searched too.

    Raises:
        InputError: There is no such folder.
    """
    if parsed.config_dir is None:
        return parsed.overrides
    from emoprobe.system.search_path import with_folder  # Hydra is not needed for a help

    return with_folder(parsed.overrides, parsed.config_dir)


def parse_with_overrides(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line of a verb that has verbs of its own: overrides may stand on both sides of an option."""
    parsed, rest = parser.parse_known_args(arguments)
    if rest and (not hasattr(parsed, "overrides") or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        parsed.overrides += rest
    return parsed
