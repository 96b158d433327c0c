"""The score cache from the command line: ``emoprobe cache stats DIR``, ``verify`` and ``prune``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from emoprobe.cli.arguments import make_parser
from emoprobe.cli.entry import command
from emoprobe.errors import InputError

if TYPE_CHECKING:
    from emoprobe.run.score_cache import Kept


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(
        "cache",
        "Look after a score cache (emoprobe probe cache.scores=DIR). Exit status: 1 if verify finds damage.",
        "stats DIR",
        "prune DIR --unused-days 30",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="stats|verify|prune")
    stats = commands.add_parser("stats", help="cells and bytes, by model, prompt and readout")
    check = commands.add_parser("verify", help="read everything; damaged files are set aside")
    tidy = commands.add_parser("prune", help="delete what the options name, of what they leave out nothing")
    tidy.add_argument("--unused-days", type=float, metavar="N", help="what no run has read or written for so long")
    tidy.add_argument("--model", metavar="NAME", help="what one model has said, by its name in tables")
    tidy.add_argument(
        "--other-versions", action="store_true", help="what other versions of emoprobe, torch, transformers computed"
    )
    tidy.add_argument("--damaged", action="store_true", help="files that were set aside")
    tidy.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    for each in (stats, check, tidy):
        each.add_argument("folder", type=Path, metavar="DIR", help="folder of the cache")
    return parser.parse_args(arguments)


@command
def main(arguments: Sequence[str]) -> int:
    """Run a command; returns its exit status."""
    parsed = parse_arguments(arguments)
    if parsed.command == "stats":
        show(parsed.folder)
        return 0
    if parsed.command == "verify":
        from emoprobe.run.score_cache import verify

        good, damaged = verify(parsed.folder)
        print(f"{good} files are whole, {len(damaged)} were damaged and set aside: {parsed.folder}")
        return 1 if damaged else 0
    tidy(parsed)
    return 0


def show(folder: Path) -> None:
    """Print what a cache holds."""
    from emoprobe.run.score_cache import kept_in

    total = files = size = 0
    for kept in kept_in(folder):
        cells = sum(kept.cells.values())
        total, files, size = total + cells, files + len(kept.files), size + kept.size
        used = datetime.fromtimestamp(kept.last_used).astimezone().isoformat(timespec="minutes")
        told = kept.called
        print(f"Model    {told.get('model', 'unknown')}  {told.get('revision', '')}  {told.get('dtype', '')}")
        print(f"         {_versions(kept)}; {cells:,} cells, {_bytes(kept.size)}, last used {used}")
        if kept.damaged:
            print(f"         {len(kept.damaged)} damaged files were set aside")
        for (prompt, readout), number in sorted(kept.cells.items()):
            print(f"         {number:>9,}  {readout}{f', prompt {prompt}' if prompt else ''}")
    print(f"Cache    {total:,} cells in {files:,} files, {_bytes(size)}: {folder}")


def tidy(asked: argparse.Namespace) -> None:
    """Delete what is asked for, and say what it was.

    Raises:
        InputError: Nothing is asked for, or a number of days is none.
    """
    if asked.unused_days is None and asked.model is None and not asked.other_versions and not asked.damaged:
        raise InputError(
            "nothing is named that is to be deleted",
            field="prune",
            remedy="Give --unused-days, --model, --other-versions or --damaged; several narrow it down.",
        )
    if asked.unused_days is not None and not asked.unused_days >= 0:
        raise InputError("it is no number of days", field="--unused-days", remedy="Give 0 or more.")
    from emoprobe.run.record import versions
    from emoprobe.run.score_cache import kept_in, prune, unused_since

    number = size = 0
    present = versions()
    for kept in kept_in(asked.folder, count=False):
        others = _libraries(kept) == {name: present.get(name) for name in _libraries(kept)}
        if (asked.model not in (None, kept.called.get("model"))) or (asked.other_versions and others):
            continue
        only_damaged = asked.damaged and asked.unused_days is None and asked.model is None and not asked.other_versions
        files = [] if only_damaged else kept.files
        files = files if asked.unused_days is None else unused_since(files, asked.unused_days)
        files = [*files, *kept.damaged] if asked.damaged else files
        number, size = number + len(files), size + prune(files, dry_run=asked.dry_run)
    print(f"{'would delete' if asked.dry_run else 'deleted'} {number:,} files, {_bytes(size)}: {asked.folder}")


def _libraries(kept: Kept) -> dict[str, str]:
    try:
        return dict(json.loads(kept.called.get("libraries", "{}")))
    except ValueError:
        return {}


def _versions(kept: Kept) -> str:
    return ", ".join(f"{name} {version}" for name, version in _libraries(kept).items()) or "versions unknown"


def _bytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
