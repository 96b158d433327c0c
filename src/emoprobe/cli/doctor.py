"""``emoprobe doctor``: does a model hear, and is every shortcut exact?"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from emoprobe.checks.doctor import admit
from emoprobe.checks.verdict import Verdict
from emoprobe.cli.arguments import add_overrides, make_parser, overrides_of
from emoprobe.cli.entry import command


@command
def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status, 1 if a check failed."""
    parser = make_parser(
        "doctor",
        "Check a model on real speech: does it hear, and do batches, padding, shared prefixes, precision and "
        "generation give the same numbers as plain forward passes? Exit status: 1 if a check failed.",
        "model=qwen2_audio model.path=DIR prompt=instruction/single_word",
    )
    add_overrides(parser, "model=... model.path=... prompt=... labels=...")
    parser.add_argument(
        "--all",
        nargs="*",
        metavar="CLASS",
        help="measure every speech class of the installed transformers, or those named by their model_type, on tiny "
        "checkpoints with random weights (some minutes)",
    )
    parser.add_argument("--write", type=Path, metavar="PAGE", help="with --all: put the table into a Markdown page")
    parsed = parser.parse_intermixed_args(arguments)
    if parsed.all is not None:
        return measure_classes(parsed.all, parsed.write)

    patient = admit(overrides_of(parsed))
    sfm = patient.sfm
    seconds = ", ".join(f"{len(waveform) / sfm.sampling_rate:.1f} s" for waveform in patient.waveforms)
    asked = f"{len(patient.questions)} prompts" if sfm.answers else "hears and does not answer"
    print(f"{sfm.name} ({sfm.revision}, {sfm.dtype}), {asked}, clips of {seconds}")
    verdicts = patient.examine()
    print_verdicts(verdicts)
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def measure_classes(chosen: Sequence[str], page: Path | None) -> int:
    """Print the table of support as Markdown, and write it into a page if one is given; 1 if a check failed."""
    from emoprobe.checks.support import as_markdown, measure_all, write_table

    supports = []
    with TemporaryDirectory() as folder:
        for support in measure_all(Path(folder), chosen):
            supports.append(support)
            if not support.failed:
                said = support.reason or f"model={support.config}, {len(support.verdicts)} checks passed"
            else:
                said = f"model={support.config}, FAILED: {', '.join(support.failed)}"
            print(f"{support.kind}: {said}", file=sys.stderr, flush=True)
    print(as_markdown(supports), end="")
    if page is not None:
        write_table(supports, page)
    return 1 if any(support.failed for support in supports) else 0


def print_verdicts(verdicts: Sequence[Verdict]) -> None:
    """One line per check."""
    table = Table(box=None, pad_edge=False)
    for column in ("verdict", "check", "largest difference", "allowed"):
        table.add_column(column, justify="right" if column.startswith("largest") else "left")
    for verdict in verdicts:
        if not verdict.applies:
            table.add_row("-", verdict.check, "", verdict.note)
            continue
        sign = "at least" if verdict.least else "at most"
        allowed = "told only" if math.isinf(verdict.tolerance) else f"{sign} {verdict.tolerance:g}"
        word = "[green]passed[/green]" if verdict.passed else "[bold red]FAILED[/bold red]"
        table.add_row(word, verdict.check, f"{verdict.difference:.2e}", f"{allowed} ({verdict.note})")
    Console(width=120 if not sys.stdout.isatty() else None).print(table)
