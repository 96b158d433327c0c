"""What a run writes and prints when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emoprobe.analysis.derive import Analysis
from emoprobe.beliefs.targets import Targets
from emoprobe.data.sound.faults import FAULTS
from emoprobe.errors import some
from emoprobe.labels import LabelSet
from emoprobe.metrics.functional import METRICS, entropy, expected, headline_of, metrics_of, spread
from emoprobe.report.figures import save_figures
from emoprobe.run import files
from emoprobe.run.files import contents
from emoprobe.run.metric_rows import metrics_frame
from emoprobe.run.record import Record
from emoprobe.run.writing import write_results as write_tables
from emoprobe.system.output import write_csv

FULL_WIDTH = 200
"""Characters of a full table that is printed into a file."""


def write_results(folder: Path, analysis: Analysis, record: Record, *, figures: bool) -> list[Path]:
    """Write what was derived; returns the figures."""
    definitions = {
        name: {"definition": m.definition, "unit": m.unit, "higher_is_better": m.higher_is_better}
        for name, m in ((name, METRICS[name]) for name in metrics_of(record.labels))
    }
    rows = write_tables(folder, record, analysis.predictions, analysis.rows, definitions)
    write_csv(metrics_frame(rows), folder / "metrics.csv")
    if not figures:
        return []

    return save_figures(analysis.predictions, analysis.rows, record.labels, folder / "figures", record.title)


def ambiguity(targets: Targets, labels: LabelSet) -> tuple[str, str]:
    """How far raters are apart, and how many votes stand behind the targets, both in words."""
    known = targets.frame["num_raters"].notna().to_numpy()
    if labels.scale is not None:
        return _numbers(targets, labels, known), _ratings(targets, labels.scale.dimension, known)
    bits = float(entropy(targets.distribution).mean())
    return f"mean entropy {bits:.3f} bits", f"{targets.votes.sum():,.0f} votes" if known.all() else "vote shares only"


def _numbers(targets: Targets, labels: LabelSet, known: np.ndarray) -> str:
    numbers = int(labels.labels[0]) + expected(targets.distribution)
    ends, within = f"from {labels.labels[0]} to {labels.labels[-1]}", spread(targets.distribution[known])
    text = f"{ends}, mean {numbers.mean():.2f}, sd over clips {numbers.std():.2f}"
    return f"{text}, mean sd of a clip's raters {within.mean():.2f}" if known.any() else text


def _ratings(targets: Targets, dimension: str, known: np.ndarray) -> str:
    number = targets.frame.loc[known, "num_raters"].sum()
    parts = [f"{number:,.0f} ratings of {dimension}"] if known.any() else []
    parts += [f"{targets.num_means:,} means of {dimension} alone"] if targets.num_means else []
    return " and ".join(parts)


def print_table(rows: Sequence[dict], labels: LabelSet, table: str = "short") -> None:
    """Print the metric table of a label set as wide as the terminal, or wide enough for a file.

    Args:
        rows: Of the table; single layers are left out.
        labels: The label set.
        table: ``short``: the best readouts and the columns that decide, one sentence above; ``full``: all of both.
    """
    from rich.console import Console

    from emoprobe.report.short_table import WIDTH, ShortTable
    from emoprobe.report.tables import columns_of, metric_table, split_layers

    console, full = Console(), table == "full"
    if not console.is_terminal:
        console = Console(width=FULL_WIDTH if full else WIDTH)
    console.print(metric_table(split_layers(rows)[0], columns_of(labels)) if full else ShortTable(rows, labels))


def sound_lines(record: Record) -> list[str]:
    """What a reader of a run's results must know of its clips' sound, a line for each kind of fault."""
    lines = []
    near_silent, long = record.near_silent or {}, record.long_audio or {}
    if long:
        what = {"truncate": "truncated", "window": "heard in windows, whose beliefs are averaged"}
        names, done = long["utterances"], what.get(long["choice"], "left out")
        lines.append(f"{len(names):,} longer than {long['max_seconds']:g} s, {done}: {some(names)}")
    if near_silent.get("utterances"):
        names = near_silent["utterances"]
        lines.append(
            f"warning: {len(names):,} near-silent (below {near_silent['below_dbfs']:g} dBFS): {some(names)}; "
            "dataset.audio.near_silent=skip leaves them out"
        )
    for kind, names in (record.sound or {}).items():
        lines.append(
            f"warning: {len(names):,} with {FAULTS.get(kind, kind)}: {some(names)}; all in {files.RECORD}, and "
            f"dataset.audio.leave_out=[{kind}] leaves them out"
        )
    return lines


def print_results(
    analysis: Analysis, record: Record, folder: Path, figures: Sequence[Path], table: str = "short"
) -> None:
    """The summary a person reads after a run: what was measured on what, the table, where the files lie."""
    from emoprobe.report.tables import layers_in_words

    model = record.model
    apart, votes = ambiguity(analysis.targets, record.labels)
    skipped = ", ".join(f"{count} {reason}" for reason, count in record.num_skipped.items()) or "none"
    print(f"Model    {model.name} ({model.revision}), {model.dtype} on {model.device}")
    if not model.hears:
        print("         It does not hear: it was told words about each clip.")
    print(f"Corpus   {record.title}: {len(analysis.targets.frame):,} utterances used; left out: {skipped}")
    for line in sound_lines(record):
        print(f"Sound    {line}")
    print(f"Targets  {record.soft_label_policy.name}; {votes}; {apart}")
    if record.corpus.synthetic:
        print("         Synthetic speech and simulated raters: these numbers say nothing about real emotion.")
    print_table(analysis.rows, record.labels, table)
    layers = layers_in_words(analysis.rows, headline_of(record.labels))
    if layers:
        print(f"Layers   {layers}")
    print("Results  " + str(folder))
    for name, what in contents(folder).items():
        print(f"  {name:<20} {what}")
    if figures:
        print(f"  figures/             {len(figures)} pictures")
