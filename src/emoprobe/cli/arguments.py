"""What the command lines of the verbs have in common."""

from __future__ import annotations

import argparse


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
    """Let a verb compose the configuration: Hydra's overrides."""
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=f"Hydra overrides: {example}")
