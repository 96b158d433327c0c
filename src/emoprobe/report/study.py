"""A study: several ways of reading one corpus in one table and one picture, each with its interval."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from emoprobe.labels import LabelSet
from emoprobe.metrics.functional import METRICS, evaluate, headline_of
from emoprobe.metrics.functional.arrays import as_numpy
from emoprobe.metrics.functional.of_labels import FIRST_OF_SCALES
from emoprobe.metrics.intervals import expanded_percentiles, mean_interval
from emoprobe.metrics.resampling import draw_multinomially, metric_values, number_clusters
from emoprobe.report.style import GREY, YARDSTICK_LINES, add_legend, new_figure, save, tidy
from emoprobe.report.tables import format_value, short_name
from emoprobe.report.words import YARDSTICKS, short_value
from emoprobe.system.output import write_csv, write_text

INTERVALS = ("js_divergence", "bhattacharyya", "brier")
ALONE = ("r2_within_clip", "wa", "uar")  # without an interval
RESAMPLES = 2000
_ENDS = ((0, "low"), (1, "high"))
COLOURS = ("#D55E00", "#56B4E9", "#0072B2", "#CC79A7", "#E69F00", "#009E73")
MARKERS = ("o", "s", "^", "D", "v", "P")


def study_frame(
    predictions: Mapping[str, Sequence[np.ndarray]],
    target: np.ndarray,
    votes: np.ndarray,
    clusters: Sequence[str] | np.ndarray,
    kinds: Mapping[str, str],
    labels: LabelSet,
    ceiling: Mapping[str, float] | None = None,
    ceiling_intervals: Mapping[str, Sequence[float]] | None = None,
) -> pd.DataFrame:
    """One row per way of reading.

    Args:
        predictions: Name -> distributions of the same utterances per seed, ``[utterances, labels]`` each.
        target: Soft labels ``[utterances, labels]``.
        votes: Vote counts ``[utterances, labels]``.
        clusters: Speaker of each utterance.
        kinds: Name -> ``zero-shot``, ``supervised``, ``trained``, ``floor`` or ``reference``.
        labels: The label set.
        ceiling: Metric -> the human ceiling, a last row of kind ``ceiling``.
        ceiling_intervals: Metric -> its 95 % interval by speakers, where there is one.

    Returns:
        Columns ``name``, ``kind``, ``num_seeds``, ``num_utterances``; per metric its mean over the seeds; for
        `INTERVALS`, or the first metrics of a scale, also ``_low`` and ``_high``, the 95 % interval by speakers of that
        mean; the headline's ``_sd``, the standard deviation over the seeds. An utterance without a distribution is
        counted in ``num_failed`` and scored as uniform, so that all rows speak of the same utterances.
    """
    sure, alone = (INTERVALS, ALONE) if labels.scale is None else (FIRST_OF_SCALES, ())
    headline, rows = headline_of(labels), []
    for name, seeds in predictions.items():
        failed = [~np.isfinite(pred).all(axis=1) for pred in seeds]
        filled = [np.where(bad[:, None], 1 / target.shape[1], p) for bad, p in zip(failed, seeds, strict=True)]
        metrics = [evaluate(pred, target, votes, metrics=(*sure, *alone)) for pred in filled]
        row = {"name": name, "kind": kinds[name], "num_seeds": len(seeds), "num_utterances": len(target)}
        row["num_failed"] = int(np.max([bad.sum() for bad in failed]))
        for metric in (*sure, *alone):
            row[metric] = float(np.mean([found[metric] for found in metrics]))
        for metric in sure:
            row[f"{metric}_low"], row[f"{metric}_high"] = _interval(metric, filled, target, clusters)
        scores = [found[headline] for found in metrics]
        row[f"{headline}_sd"] = float(np.std(scores, ddof=1)) if len(scores) > 1 else float("nan")
        rows.append(row)
    if ceiling is not None:
        row = {"name": "ceiling: human", "kind": "ceiling", "num_seeds": 1, "num_utterances": len(target)}
        ends = {f"{m}_{end}": pair[i] for m, pair in (ceiling_intervals or {}).items() for i, end in _ENDS}
        row |= {name: ends[name] for name in (f"{m}_{end}" for m in sure for _, end in _ENDS) if name in ends}
        rows.append(row | {"num_failed": 0} | {metric: ceiling[metric] for metric in (*sure, *alone)})
    return pd.DataFrame(rows)


def _interval(
    metric: str, seeds: Sequence[np.ndarray], target: np.ndarray, clusters: Sequence[str] | np.ndarray
) -> tuple[float, float]:
    """95 % interval of a metric's mean over seeds, speakers resampled."""
    definition = METRICS[metric]
    if definition.per_utterance:
        values = np.mean([as_numpy(definition(pred, target, reduction="none")) for pred in seeds], axis=0)
        return mean_interval(values, clusters, resamples=RESAMPLES, draw=draw_multinomially)
    numbers = number_clusters(clusters, len(target))
    count = int(numbers.max()) + 1
    drawn = draw_multinomially(np.random.default_rng(0), count, RESAMPLES)
    values = [metric_values(p, target, None, drawn, clusters=numbers, metrics=[metric])[metric] for p in seeds]
    return expanded_percentiles(np.mean(values, axis=0), count)


def _metrics(row: Mapping) -> list[str]:
    return [name for name in row if name in METRICS]


def _headline(row: Mapping) -> str:
    return next(name for name in _metrics(row) if f"{name}_sd" in row)


def cells_of(row: Mapping) -> list[str]:
    """A row as texts, numbers with their intervals."""
    ends = {m: (row.get(f"{m}_low", np.nan), row.get(f"{m}_high", np.nan)) for m in _metrics(row)}
    texts = [
        format_value(row[m]) + (f" [{format_value(low)}, {format_value(high)}]" if low == low else "")
        for m, (low, high) in ends.items()
    ]
    return [*texts, str(row["num_seeds"]), format_value(row[f"{_headline(row)}_sd"]), str(row["num_failed"])]


def headers(frame: pd.DataFrame) -> list[str]:
    """Names of the columns, with the direction that is better."""
    row = dict.fromkeys(frame.columns)
    arrows = [f"{short_name(m)} {'↑' if METRICS[m].higher_is_better else '↓'}" for m in _metrics(row)]
    return [*arrows, "seeds", f"sd({short_name(_headline(row))})", "failed"]


def study_table(frame: pd.DataFrame) -> Table:
    """For the terminal."""
    table = Table(box=None, show_edge=False)
    table.add_column("")
    for header in headers(frame):
        table.add_column(header, justify="right", no_wrap=True)
    previous = None
    for row in frame.to_dict("records"):
        if previous is not None and row["kind"] != previous:
            table.add_section()
        table.add_row(f"{row['name']}", *cells_of(row))
        previous = row["kind"]
    return table


def study_markdown(frame: pd.DataFrame) -> str:
    """For a paper's draft."""
    lines = ["| | " + " | ".join(headers(frame)) + " |", "|---|" + "---:|" * len(headers(frame))]
    for row in frame.to_dict("records"):
        name = row["name"].replace("|", "\\|")
        lines.append(f"| {name} | " + " | ".join(cells_of(row)) + " |")
    return "\n".join(lines) + "\n"


def study_figure(
    found: pd.DataFrame | Sequence[Mapping], title: str, subtitle: str, metric: str = "js_divergence"
) -> Figure:
    """Points with their intervals, a colour and a marker for each kind; floors and the ceiling as lines.

    Args:
        found: Columns ``name``, ``kind``, the metric and its ``_low`` and ``_high``, or rows with them.
        title: Of the figure.
        subtitle: Likewise.
        metric: Name of the metric.
    """
    frame = pd.DataFrame(found).reindex(columns=["name", "kind", metric, f"{metric}_low", f"{metric}_high"])
    shown = frame[~frame["kind"].isin(["floor", "reference", "ceiling"])]
    lines = sum(name.count("\n") + 1 for name in shown["name"])
    figure = new_figure(9, 1.8 + 0.16 * (len(shown) + lines), title, subtitle)
    axes = figure.subplots()
    places = dict(zip(shown.index, reversed(range(len(shown))), strict=True))
    looks = itertools.cycle(zip(COLOURS, MARKERS, strict=True))
    for (kind, rows), (colour, marker) in zip(shown.groupby("kind", sort=False), looks, strict=False):
        low, high = rows[metric] - rows[f"{metric}_low"], rows[f"{metric}_high"] - rows[metric]
        error = np.nan_to_num(np.clip(np.stack([low, high]), 0, None))
        at = [places[i] for i in rows.index]
        axes.errorbar(rows[metric], at, xerr=error, fmt=marker, color=colour, capsize=3, label=kind)
    for row in frame[frame["kind"].isin(["floor", "reference", "ceiling"])].to_dict("records"):
        _draw_line(axes, row, metric)
    for i in shown.index[shown[metric].isna()]:
        where = {"x": 0.99, "y": places[i], "transform": axes.get_yaxis_transform()}
        axes.text(s="no distribution", ha="right", va="center", color=GREY, fontsize=8, **where)
    axes.set_yticks(range(len(shown)), list(shown["name"])[::-1], fontsize=8)
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set_xlabel(f"{METRICS[metric].short or metric}: mean, and its 95 % interval by speakers")
    add_legend(figure, axes)
    tidy(axes)
    return figure


def _draw_line(axes: Axes, row: Mapping, metric: str) -> None:
    """A floor, reference or ceiling, in the look that it has in every figure."""
    kind, _, name = row["name"].rpartition(": ")
    known = next((key for key in YARDSTICK_LINES if name.startswith(key)), None)
    look = {"color": GREY, "ls": "-", "lw": 1.0} if known is None else YARDSTICK_LINES[known]
    label = row["name"] if known is None or not kind else YARDSTICKS[known] + name.removeprefix(known)
    axes.axvline(row[metric], label=f"{label} {short_value(row[metric])}", zorder=1, **look)


def save_study(frame: pd.DataFrame, folder: Path, title: str, subtitle: str) -> list[Path]:
    """Write ``comparison.csv``, ``comparison.md`` and ``comparison.png``; returns the figure."""
    write_csv(frame, folder / "comparison.csv")
    write_text(study_markdown(frame), folder / "comparison.md")
    return [
        save(study_figure(frame, title, subtitle, _headline(dict.fromkeys(frame.columns))), folder / "comparison.png")
    ]
