"""Metric tables: for the console, for pandas, for a paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

DEFAULT_COLUMNS = (
    "js_divergence",
    "bhattacharyya",
    "r2_within_clip",
    "brier",
    "vote_nll",
    "wa",
    "uar",
    "entropy_spearman",
)
SHORT = {
    "js_divergence": "JS",
    "bhattacharyya": "BC",
    "r2_within_clip": "R2 clip",
    "brier": "Brier",
    "vote_nll": "vote NLL",
    "wa": "WA",
    "uar": "UAR",
    "entropy_spearman": "rho(H)",
}
MARKS = {"evaluated votes": "**", "evaluated inputs": "*"}
FOOTNOTE = (
    "* fitted on the evaluated clips' sound   ** also on their votes   n: clips scored, failed: without a distribution"
)


def format_value(value: float) -> str:
    """Three decimals; ``-`` for NaN, ``inf`` for infinity."""
    if math.isnan(value):
        return "-"
    return f"{value:.3f}" if math.isfinite(value) else ("inf" if value > 0 else "-inf")


def name_of(row: dict) -> tuple[str, str, str]:
    """``(prompt, readout, calibration)`` as shown; what was fitted on evaluated data is marked."""
    mark = next((mark for source, mark in MARKS.items() if source in row["fitted_on"]), "")
    readout = row["readout"]
    if row["kind"] != "readout":
        return "", f"{row['kind']}: {readout}{mark if readout != 'one_hot_of_top_vote' else ''}", ""
    if row["variant"] not in ("sum", "parsed", ""):
        readout = f"{readout}.{row['variant']}"
    return row["prompt"], readout, row["calibration"] + mark


def _best(rows: Sequence[dict], metric: str) -> float | None:
    """The best value among readouts that failed on no clip."""
    from emoprobe.metrics.functional import METRICS

    values = [
        row["metrics"].get(metric, math.nan) for row in rows if row["kind"] == "readout" and not row["num_failed"]
    ]
    values = [value for value in values if not math.isnan(value)]
    if not values:
        return None
    return max(values) if METRICS[metric].higher_is_better else min(values)


def metric_table(rows: Sequence[dict], metrics: Sequence[str] = DEFAULT_COLUMNS) -> Table:
    """One line per cell, floors and reference below; the best readout per column is bold.

    Args:
        rows: `emoprobe.analyse.make_rows`.
        metrics: Names of the columns.
    """
    from rich.markup import escape
    from rich.table import Table

    from emoprobe.metrics.functional import METRICS

    table = Table(caption=FOOTNOTE, caption_justify="left", pad_edge=False)
    models = {row["model"] for row in rows if row["model"]}
    if len(models) > 1:
        table.add_column("model", overflow="fold")
    for name in ("prompt", "readout", "calibration"):
        table.add_column(name, overflow="fold")
    for name in ("n", "failed", "label mass"):
        table.add_column(name, justify="right", no_wrap=True)
    for metric in metrics:
        arrow = "↑" if METRICS[metric].higher_is_better else "↓"
        table.add_column(f"{SHORT.get(metric, metric)} {arrow}", justify="right", no_wrap=True)
    best = {metric: _best(rows, metric) for metric in metrics}
    sections = [[row for row in rows if row["kind"] == "readout"], [row for row in rows if row["kind"] != "readout"]]
    for section in sections:
        for row in section:
            cells = [escape(text) for text in name_of(row)]
            mass = row["mean_label_mass"]
            cells += [str(row["num_utterances"]), str(row["num_failed"]), "" if mass is None else f"{mass:.2g}"]
            for metric in metrics:
                value = row["metrics"].get(metric, math.nan)
                text = format_value(value)
                mark = row["kind"] == "readout" and not row["num_failed"] and value == best[metric]
                cells.append(f"[bold]{text}[/bold]" if mark else text)
            table.add_row(*([escape(row["model"])] if len(models) > 1 else []), *cells)
        table.add_section()
    return table


def metrics_frame(rows: Sequence[dict]) -> pd.DataFrame:
    """One row per cell and one column per metric."""
    import pandas as pd

    plain = [{key: value for key, value in row.items() if key not in ("metrics", "statuses")} for row in rows]
    return pd.concat([pd.DataFrame(plain), pd.DataFrame([row["metrics"] for row in rows])], axis=1).loc[
        :, lambda frame: ~frame.columns.duplicated()
    ]


def write_csv(rows: Sequence[dict], file: Path) -> None:
    """`metrics_frame` as CSV."""
    metrics_frame(rows).to_csv(file, index=False)


def markdown_table(rows: Sequence[dict], metrics: Sequence[str] = DEFAULT_COLUMNS) -> str:
    """The metric table in Markdown."""
    header = ["prompt", "readout", "calibration", "n", "failed", *metrics]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for row in rows:
        cells = [*name_of(row), str(row["num_utterances"]), str(row["num_failed"])]
        cells += [format_value(row["metrics"].get(metric, math.nan)) for metric in metrics]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
