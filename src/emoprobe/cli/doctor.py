"""``emoprobe doctor``: does a model hear, and is every shortcut exact?"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from emoprobe.checks.doctor import Verdict, admit, examine
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
    parsed = parser.parse_intermixed_args(arguments)

    patient = admit(overrides_of(parsed))
    sfm = patient.sfm
    seconds = ", ".join(f"{len(waveform) / sfm.sampling_rate:.1f} s" for waveform in patient.waveforms)
    print(f"{sfm.name} ({sfm.revision}, {sfm.dtype}), {len(patient.questions)} prompts, clips of {seconds}")
    verdicts = examine(sfm, patient.waveforms, patient.questions)
    print_verdicts(verdicts)
    return 0 if all(verdict.passed for verdict in verdicts) else 1


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
        allowed = f"{sign} {verdict.tolerance:g} ({verdict.note})"
        word = "[green]passed[/green]" if verdict.passed else "[bold red]FAILED[/bold red]"
        table.add_row(word, verdict.check, f"{verdict.difference:.2e}", allowed)
    Console(width=120 if not sys.stdout.isatty() else None).print(table)
