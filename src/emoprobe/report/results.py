"""What a run writes and prints when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emoprobe.analysis.derive import Analysis
from emoprobe.beliefs.targets import Targets
from emoprobe.metrics.functional import METRICS, entropy
from emoprobe.report.figures import save_figures
from emoprobe.run.files import contents
from emoprobe.run.metric_rows import metrics_frame
from emoprobe.run.record import Record
from emoprobe.run.writing import write_results as write_tables
from emoprobe.system.output import write_csv


def write_results(folder: Path, analysis: Analysis, record: Record, *, figures: bool) -> list[Path]:
    """Write what was derived; returns the figures."""
    definitions = {
        name: {"definition": m.definition, "unit": m.unit, "higher_is_better": m.higher_is_better}
        for name, m in METRICS.items()
    }
    rows = write_tables(folder, record, analysis.predictions, analysis.rows, definitions)
    write_csv(metrics_frame(rows), folder / "metrics.csv")
    if not figures:
        return []

    return save_figures(analysis.predictions, analysis.rows, record.labels.labels, folder / "figures", record.title)


def ambiguity(targets: Targets) -> tuple[float, str]:
    """Mean entropy of the targets in bits, and how many votes stand behind them, in words."""
    total = targets.votes.sum()
    known = targets.frame["num_raters"].notna().all()
    return float(entropy(targets.distribution).mean()), f"{total:,.0f} votes" if known else "vote shares only"


def print_table(rows: Sequence[dict]) -> None:
    """Print the metric table as wide as the terminal, or wide enough for a file."""
    from rich.console import Console

    from emoprobe.report.tables import metric_table

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(metric_table(rows))


def print_results(analysis: Analysis, record: Record, folder: Path, figures: Sequence[Path]) -> None:
    """The summary a person reads after a run: what was measured on what, the table, where the files lie."""
    from emoprobe.report.tables import layers_in_words, split_layers

    model = record.model
    entropy, votes = ambiguity(analysis.targets)
    skipped = ", ".join(f"{count} {reason}" for reason, count in record.num_skipped.items()) or "none"
    print(f"Model    {model.name} ({model.revision}), {model.dtype} on {model.device}")
    if not model.hears:
        print("         It does not hear: it was told words about each clip.")
    print(f"Corpus   {record.title}: {len(analysis.targets.frame):,} utterances used; left out: {skipped}")
    near_silent = record.near_silent or {}
    if near_silent.get("utterances"):
        names = near_silent["utterances"]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
        print(
            f"Sound    warning: {len(names):,} near-silent (below {near_silent['below_dbfs']:g} dBFS): {shown}; "
            "dataset.audio.near_silent=skip leaves them out"
        )
    print(f"Targets  {record.soft_label_policy.name}; {votes}; mean entropy {entropy:.3f} bits")
    if record.corpus.synthetic:
        print("         Synthetic speech and simulated raters: these numbers say nothing about real emotion.")
    print_table(split_layers(analysis.rows)[0])
    layers = layers_in_words(analysis.rows)
    if layers:
        print(f"Layers   {layers}")
    print("Results  " + str(folder))
    for name, what in contents(folder).items():
        print(f"  {name:<20} {what}")
    if figures:
        print(f"  figures/             {len(figures)} pictures")
