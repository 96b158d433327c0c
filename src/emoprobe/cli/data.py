"""Corpora from the command line: ``emoprobe data card NAME``, ``check``, ``show`` and ``raters``."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emoprobe.cli.arguments import add_overrides, make_parser, overrides_of, parse_with_overrides
from emoprobe.cli.entry import command
from emoprobe.data.corpora import CORPORA
from emoprobe.errors import InputError
from emoprobe.system.output import write_csv

if TYPE_CHECKING:
    from emoprobe.data.prepare import Prepared
    from emoprobe.data.utterance import Corpus
    from emoprobe.labels import LabelSet
    from emoprobe.recipes.fields import DatasetSettings


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(
        "data",
        "What a corpus is, whether a copy of it is whole, and what its raters said.",
        "card iemocap",
        "check dataset=cremad dataset.root=DIR",
        "show dataset=iemocap dataset.root=DIR labels=iemocap4 -n 20 -o DIR",
        "raters dataset=msp_podcast dataset.root=DIR -o DIR",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="card|check|show|raters")
    card = commands.add_parser("card", help="print a corpus's card: licence, access, raters, splits")
    card.add_argument("name", nargs="?", help="the corpus; without it, all are listed")
    check = commands.add_parser(
        "check",
        help="check a copy: sound, votes, speakers, published totals",
        description="Exit status: 0 if no problem was found, 1 if one was, 2 if the corpus cannot be read.",
    )
    check.add_argument("--no-sound", action="store_true", help="do not read the sound files")
    check.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="threads that read (default: %(default)s)"
    )
    show = commands.add_parser("show", help="print utterances, votes and soft labels; draw the corpus's ambiguity")
    show.add_argument("-n", "--number", type=int, default=10, help="utterances to print (default: %(default)s)")
    show.add_argument("--sort", choices=("corpus", "entropy"), default="corpus", help="order (default: %(default)s)")
    raters = commands.add_parser(
        "raters", help="print how much every rater rated, agrees with others, and differs from them"
    )
    raters.add_argument("-n", "--number", type=int, default=20, help="raters to print (default: %(default)s)")
    for each in (check, show, raters):
        add_overrides(each, "dataset=NAME dataset.root=DIR labels=NAME")
        each.add_argument("-o", "--output", type=Path, help="folder to write to")
    return parse_with_overrides(parser, arguments)


@command
def main(arguments: Sequence[str]) -> int:
    """Run a command; returns its exit status."""
    parsed = parse_arguments(arguments)
    if parsed.command == "card":
        print_card(parsed.name)
    elif parsed.command == "check":
        return check(parsed)
    elif parsed.command == "raters":
        show_raters(parsed)
    else:
        show(parsed)
    return 0


def print_card(name: str | None) -> None:
    """Print a corpus's card, or the list of all.

    Raises:
        InputError: There is no such corpus.
    """
    if name is None:
        for known, source in CORPORA.items():
            print(f"{known:<16}{source.card.title}")
        return
    source = CORPORA.find(name, "name")
    card = source.card
    print(f"{card.title}{' (SYNTHETIC)' if card.synthetic else ''}\n")
    for title, text in (
        ("use", f"dataset={name}"),
        ("licence", card.licence),
        ("access", card.access),
        ("citation", card.citation),
        ("raters", card.raters),
        ("words", ", ".join(card.words)),
        ("label sets", ", ".join(f"labels={labels}" for labels in card.label_sets)),
        ("splits", card.splits),
        ("notes", card.notes),
        ("defects", "; ".join(f"{item}: {what}" for item, what in card.defects.items())),
        ("totals", "; ".join(f"{total.what} {total.expected:,}" for total in source.totals)),
    ):
        if text:
            print(textwrap.fill(text, 110, initial_indent=f"{title:<12}", subsequent_indent=" " * 12))


def _read(overrides: Sequence[str], *defaults: str) -> tuple[DatasetSettings, Corpus, LabelSet, Prepared]:
    """``(dataset, corpus, label set, prepared)`` of a whole corpus; sound is not looked for."""
    from emoprobe.recipes.inputs import prepare_run, read_corpus
    from emoprobe.recipes.settings import read_dataset, read_labels
    from emoprobe.settings import compose

    config = compose(["dataset.split=all", *defaults, *overrides])
    labels, dataset = read_labels(config), read_dataset(config)
    corpus = read_corpus(dataset)
    return dataset, corpus, labels, prepare_run(dataset, corpus, labels, missing_audio="ignore")


def check(parsed: argparse.Namespace) -> int:
    """Check a copy of a corpus; 1 if there is a problem."""
    from hydra.utils import get_method

    from emoprobe.data.check import check_corpus
    from emoprobe.data.check.findings import print_findings, save_findings

    dataset, corpus, labels, prepared = _read(overrides_of(parsed), "dataset.on_error=skip")
    read = get_method(dataset.reader["_target_"])
    source = next((one for one in CORPORA.values() if one.read is read), None)  # your own reader may be in no registry
    root = dataset.reader.get("root")
    findings = check_corpus(
        corpus,
        prepared,
        labels,
        root=Path(os.path.expanduser(root)).absolute() if root else None,
        totals=source.totals if source else (),
        check_sound=source.check_sound if source else None,
        policy=dataset.soft_label,
        missing_audio=dataset.missing_audio,
        limits=dataset.audio,
        sound=not parsed.no_sound,
        workers=max(1, parsed.workers),
        progress=sys.stderr.isatty(),
    )
    print(f"{corpus.card.title}, label set {labels.name}")
    print_findings(findings)
    if parsed.output is not None:
        print(f"Written: {', '.join(str(file) for file in save_findings(findings, parsed.output))}")
    problems = sum(finding.level == "problem" for finding in findings)
    print(f"{problems} problem{'s' if problems != 1 else ''} found")
    return 1 if problems else 0


def show(parsed: argparse.Namespace) -> None:
    """Print utterances with their votes, and draw the corpus's ambiguity."""
    from emoprobe.report.corpus import print_utterances, save_ambiguity
    from emoprobe.run.writing import utterances_frame, write_utterances

    dataset, corpus, labels, prepared = _read(overrides_of(parsed))
    policy = dataset.soft_label
    print(f"{corpus.card.title}, label set {labels.name}; {policy.name} ({policy.hash})")
    print_utterances(prepared, labels, parsed.number, by_entropy=parsed.sort == "entropy")
    if parsed.output is not None:
        parsed.output.mkdir(parents=True, exist_ok=True)
        frame = utterances_frame(prepared, labels, policy)
        files = [write_utterances(frame, parsed.output)]
        files += save_ambiguity(prepared, labels, policy, parsed.output, corpus.card.title)
        print(f"Written: {', '.join(map(str, files))}")


def show_raters(parsed: argparse.Namespace) -> None:
    """Print what every rater did beside the others of the same clips.

    Raises:
        InputError: The corpus does not tell who said what.
    """
    from emoprobe.data.check.raters import rating_table
    from emoprobe.report.corpus import print_raters, raters_frame

    dataset, corpus, labels, prepared = _read(overrides_of(parsed))
    policy = dataset.soft_label
    table = rating_table(prepared.items, labels, policy)
    if table is None:
        raise InputError(
            f"{corpus.card.title} gives counts or shares of votes, and does not tell who said what",
            field="dataset",
            remedy="Give one row per rating, with a column rater (docs/corpora.md).",
        )
    frame = raters_frame(table, labels)
    print(f"{corpus.card.title}, label set {labels.name}; {policy.name} ({policy.hash})")
    print_raters(table, frame, labels, parsed.number)
    if parsed.output is not None:
        parsed.output.mkdir(parents=True, exist_ok=True)
        write_csv(frame, parsed.output / "raters.csv")
        print(f"Written: {parsed.output / 'raters.csv'}")
