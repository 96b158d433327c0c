"""Metric tables: for the console, for pandas, for a paper."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.table import Table
from rich.text import Text

from emoprobe.errors import InputError
from emoprobe.metrics.functional import METRICS
from emoprobe.metrics.functional.of_labels import FIRST_OF_SCALES
from emoprobe.models.text import TEXT_ONLY
from emoprobe.readout.base import names_of
from emoprobe.readout.trained_head import plain_variants
from emoprobe.report.fitting import Column, FittingTable
from emoprobe.run.cell import EVALUATED_INPUTS, EVALUATED_VOTES, has_rank
from emoprobe.run.metric_rows import metrics_frame
from emoprobe.system import output

if TYPE_CHECKING:
    from emoprobe.labels import LabelSet
    from emoprobe.metrics.functional import MetricDefinition

Row = TypeVar("Row", bound=Mapping[str, Any])
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
COLUMNS_OF_SCALES = (*FIRST_OF_SCALES, "vote_nll", "entropy_spearman")
OUT_OF_SAMPLE = ("other speakers'", "other clips'")
MARKS = {EVALUATED_VOTES: "**", EVALUATED_INPUTS: "*"}
FOOTNOTE = (
    "* fitted on the evaluated clips' inputs   ** fitted on the evaluated clips' votes: no rank   n: clips scored, "
    "failed: without a distribution   bold: best readout among those that failed on no clip and did not see the votes"
)
ELSEWHERE = "   † fitted on the votes of other speakers, out of sample"
WORTH = (
    "   95 %: interval of {0}, speakers resampled   range: 0 at the prior floor, 1 at the human ceiling, of the row's "
    "own clips   shuffled: {0} of the same distributions given to other clips"
)
DOUBT = "?"
DOUBTFUL = f"   {DOUBT}: the ceiling is rough, of too few clips or raters"
ONLY_MEANS = "of {} clips only the raters' mean is known: JS, EMD and rho(H) compare with a number, not with raters"
ONE_SPEAKER = "   no intervals: a single speaker"
DEAF = f"   {TEXT_ONLY}: the model did not hear, but was told words about each clip"


def format_value(value: float) -> str:
    """Three decimals; ``-`` for NaN, ``inf`` for infinity."""
    if math.isnan(value):
        return "-"
    return f"{value:.3f}" if math.isfinite(value) else ("inf" if value > 0 else "-inf")


def short_name(metric: str) -> str:
    """Name of a metric where there is little room."""
    return (METRICS[metric].short if metric in METRICS else "") or metric


def mark_of(fitted_on: str) -> str:
    """What stands behind the name of something fitted on evaluated data, or on votes at all; see `FOOTNOTE`."""
    sources = fitted_on.split(" + ")
    out_of_sample = any(source.startswith(OUT_OF_SAMPLE) for source in sources)
    return next((mark for source, mark in MARKS.items() if source in sources), "†" if out_of_sample else "")


def name_of(row: Mapping) -> tuple[str, str, str]:
    """``(prompt, readout, calibration)`` as shown; what was fitted on evaluated data, or is rough, is marked."""
    mark = mark_of(row["fitted_on"])
    readout = row["readout"]
    if row["kind"] != "readout":
        mark = {"floor": mark, "ceiling": DOUBT if row.get("doubt") else ""}.get(row["kind"], "")
        return "", f"{row['kind']}: {readout}{mark}", ""
    if row["variant"] not in plain_variants():
        readout = f"{readout}.{row['variant']}"
    return row["prompt"], readout, row["calibration"] + mark


def split_layers(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """``(all other rows, rows of single layers)``: a table or figure of cells would drown in layers."""
    layers = names_of("layers")
    return [row for row in rows if row["readout"] not in layers], [row for row in rows if row["readout"] in layers]


def columns_of(labels: LabelSet | None = None) -> tuple[str, ...]:
    """The metrics that tables of a label set show unless others are asked for."""
    return DEFAULT_COLUMNS if labels is None or labels.scale is None else COLUMNS_OF_SCALES


def layers_in_words(rows: Sequence[dict], metric: str = "js_divergence") -> str | None:
    """How many layers were read, and the one with the best value uncalibrated; None if none was read.

    Args:
        rows: `emoprobe.analysis.rows.make_rows`.
        metric: Of what value.
    """
    layers = split_layers(rows)[1]
    if not layers:
        return None
    count = len({row["variant"] for row in layers})
    text = f"{count} layers are in metrics.csv"
    plain = [row for row in layers if row["calibration"] == "none"]
    scored = [row for row in plain if has_rank(row) and math.isfinite(row["metrics"].get(metric, math.nan))]
    if not scored:
        return text
    most, pick = ("highest", max) if METRICS[metric].higher_is_better else ("lowest", min)
    best = pick(scored, key=lambda row: row["metrics"][metric])
    value = format_value(best["metrics"][metric])
    where = f"{best['variant']} of {best['prompt']} (chosen on the evaluated clips)"
    return f"{text}; {most} {short_name(metric)} without calibration: {value}, {where}"


def best_value(rows: Sequence[Mapping], metric: str) -> float | None:
    """The best value among readouts that have a rank."""
    values = [row["metrics"].get(metric, math.nan) for row in rows if has_rank(row)]
    values = [value for value in values if not math.isnan(value)]
    if not values:
        return None
    return max(values) if METRICS[metric].higher_is_better else min(values)


def metric_table(rows: Sequence[dict], metrics: Sequence[str] = DEFAULT_COLUMNS) -> Table:
    """One line per cell, floors and reference below; the best readout per column is bold.

    On a console too narrow for all columns it prints itself as several tables, one below the other.

    Args:
        rows: `emoprobe.analysis.rows.make_rows`.
        metrics: Names of the columns.

    Raises:
        InputError: There is no metric of that name.
    """
    known = _definitions(metrics)
    readouts = [row for row in rows if row["kind"] == "readout"]
    ordered = readouts + [row for row in rows if row["kind"] != "readout"]
    named = [name_of(row) for row in ordered]
    columns = [
        Column(header, [Text(name[i]) for name in named], is_name=True)
        for i, header in enumerate(("prompt", "readout", "calibration"))
    ]
    if _names_models(rows):
        columns.insert(0, Column("model", [Text(row["model"]) for row in ordered], is_name=True))
    columns.append(Column("n", [Text(str(row["num_utterances"])) for row in ordered]))
    columns.append(Column("failed", [Text(str(row["num_failed"])) for row in ordered]))
    columns.append(Column("label mass", [Text(_format_mass(row["mean_label_mass"])) for row in ordered]))
    for metric in metrics:
        best = best_value(rows, metric)
        header = f"{short_name(metric)} {_arrow(known[metric])}"
        styles = ["bold" if _is_best(row, metric, best) else "" for row in ordered]
        texts = [format_value(row["metrics"].get(metric, math.nan)) for row in ordered]
        columns.append(Column(header, [Text(*cell) for cell in zip(texts, styles, strict=True)]))
        if metric == metrics[0]:
            columns += _beside(ordered, metric)
    return FittingTable(columns, [len(readouts) - 1], footnote(rows, _headline(metrics)))


def _names_models(rows: Sequence[Mapping]) -> bool:
    """Whether a table says which model a row is of: where there are several, or one that does not hear."""
    models = {row["model"] for row in rows if row["model"]}
    return len(models) > 1 or any(TEXT_ONLY in model for model in models)


def _headline(metrics: Sequence[str]) -> str:
    """The metric that a footnote names: that of numbers where a table shows such, else JS."""
    return metrics[0] if any(METRICS[metric].suits == "points" for metric in metrics) else "js_divergence"


def footnote(rows: Sequence[Mapping], metric: str = "js_divergence") -> str:
    """What the marks and columns of these rows mean.

    Args:
        rows: Of one table.
        metric: Whose interval, range and shuffled value they show.
    """
    said = {
        ELSEWHERE: any(source in row["fitted_on"] for row in rows for source in OUT_OF_SAMPLE),
        WORTH.format(short_name(metric)): any(map(_judged, rows)),
        DOUBTFUL: any(row.get("doubt") for row in rows),
        ONE_SPEAKER: any(row.get("num_speakers") == 1 for row in rows),
        DEAF: any(TEXT_ONLY in (row["model"] or "") for row in rows),
    }
    means = "".join(f"   {text}" for text in only_means(rows))
    return FOOTNOTE + "".join(text for text, holds in said.items() if holds) + means + written_of(rows)


def only_means(rows: Sequence[Mapping]) -> list[str]:
    """One line on clips of which only the mean of the raters' numbers is known, if there are any."""
    number = max((row.get("num_means", 0) for row in rows), default=0)
    return [ONLY_MEANS.format(number)] if number else []


def written_of(rows: Sequence[Mapping]) -> str:
    """How much of what the models wrote could be used, where answers were drawn or reasoning was cut."""
    text = ""
    parts = [row["mean_share_parsed"] for row in rows if row.get("mean_share_parsed") is not None]
    if parts:
        text += f"   drawn answers that state a distribution: {min(parts):.0%} to {max(parts):.0%} of a row's"
    cut = max((row.get("num_reasoning_cut", 0) for row in rows), default=0)
    return text + (f"   reasoning cut at its limit: up to {cut} clips of a row" if cut else "")


def _judged(row: Mapping) -> bool:
    return bool(row.get("intervals") or row.get("share_of_range"))


def _beside(rows: Sequence[dict], metric: str) -> list[Column]:
    """What tells how much a value is worth, where it is known: its interval, its place in the range, its own floor."""
    columns = []
    if any(row.get("intervals") for row in rows):
        columns.append(_ends_column("95 %", rows, "intervals", metric))
    for key, header in (("share_of_range", "range"), ("shuffled", "shuffled")):
        if any(row.get(key) for row in rows):
            texts = [
                "" if metric not in row.get(key, {}) else format_value(row[key][metric]) + doubt_of(row, key)
                for row in rows
            ]
            columns.append(Column(header, [Text(text) for text in texts]))
        if key == "share_of_range" and any(row.get("range_intervals") for row in rows):
            columns.append(replace(_ends_column("95 % of range", rows, "range_intervals", metric), is_optional=True))
    return columns


def _ends_column(header: str, rows: Sequence[dict], key: str, metric: str) -> Column:
    ends = [row.get(key, {}).get(metric) for row in rows]
    texts = ["" if pair is None else f"{format_value(pair[0])} {format_value(pair[1])}" for pair in ends]
    return Column(header, [Text(text) for text in texts])


def doubt_of(row: Mapping, key: str = "share_of_range") -> str:
    """The mark of a place in the range whose ceiling is rough; empty for values that need no ceiling."""
    return DOUBT if key == "share_of_range" and row.get("doubt") else ""


def _definitions(metrics: Sequence[str]) -> Mapping[str, MetricDefinition]:
    """The table of metrics, once every name is known to be in it."""
    for metric in metrics:
        if metric not in METRICS:
            raise InputError(
                f"there is no metric {metric!r}", field="metrics", remedy=f"Choose from {', '.join(METRICS)}."
            )
    return METRICS


def _arrow(definition: MetricDefinition) -> str:
    return "↑" if definition.higher_is_better else "↓"


def _format_mass(mass: float | None) -> str:
    """Two digits; empty where the readout has none."""
    return "" if mass is None else "-" if math.isnan(mass) else f"{mass:.2g}"


def _is_best(row: dict, metric: str, best: float | None) -> bool:
    return has_rank(row) and row["metrics"].get(metric) == best is not None


def write_csv(rows: Sequence[dict], file: Path) -> None:
    """`emoprobe.run.metric_rows.metrics_frame` as CSV."""
    output.write_csv(metrics_frame(rows), file)


def markdown_table(rows: Sequence[dict], metrics: Sequence[str] = DEFAULT_COLUMNS) -> str:
    """The metric table in Markdown, with its footnote.

    Raises:
        InputError: There is no metric of that name.
    """
    known = _definitions(metrics)
    several = _names_models(rows)
    header = ["model"] * several + ["prompt", "readout", "calibration", "n", "failed", "label mass"]
    best = {metric: best_value(rows, metric) for metric in metrics}
    lines = ["| " + " | ".join([*header, *(f"{metric} {_arrow(known[metric])}" for metric in metrics)]) + " |"]
    lines.append("|" + "---|" * (len(header) - 3) + "---:|" * (3 + len(metrics)))
    for row in rows:
        cells = [escape_markdown(name) for name in ([row["model"]] * several + list(name_of(row)))]
        cells += [str(row["num_utterances"]), str(row["num_failed"]), _format_mass(row["mean_label_mass"])]
        for metric in metrics:
            text = format_value(row["metrics"].get(metric, math.nan))
            cells.append(f"**{text}**" if _is_best(row, metric, best[metric]) else text)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + f"\n\n{escape_markdown(footnote(rows, _headline(metrics)))}\n"


def escape_markdown(text: str) -> str:
    """Plain text that stays plain: no HTML, formula, emphasis, code, link or new column."""
    text = re.sub(r"([\\`*|$\[\]])", r"\\\1", " ".join(text.split()))
    # Underscores within words mean nothing to Markdown, and most names have one.
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
