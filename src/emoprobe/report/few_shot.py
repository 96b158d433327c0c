"""Curves of a study by the number of training clips: a table with intervals and a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from emoprobe.labels import LabelSet
from emoprobe.metrics.functional import METRICS, evaluate
from emoprobe.metrics.resampling import WeightedMetrics, draw_clusters, number_clusters
from emoprobe.report.style import GREY, PALETTE, add_legend, metric_label, new_figure, save, tidy
from emoprobe.report.tables import format_value, short_name
from emoprobe.system.output import write_csv, write_text

OF_CATEGORIES, OF_SCALES = ("js_divergence", "uar", "wa"), ("js_divergence", "ccc")
DRAWN = 2
"""Metrics that have a panel in the figure."""
RESAMPLES = 2000
CEILING, ZERO_SHOT = PALETTE[2], PALETTE[4]
CURVES = tuple(colour for colour in PALETTE if colour not in (CEILING, ZERO_SHOT))
STYLES = (":", "--", "-.")


def few_shot_frame(
    predictions: Mapping[str, Sequence[np.ndarray]],
    places: Mapping[str, tuple[str, float]],
    target: np.ndarray,
    votes: np.ndarray,
    clusters: Sequence[str] | np.ndarray,
    labels: LabelSet,
) -> pd.DataFrame:
    """One row per curve and number of training clips.

    Args:
        predictions: Name -> distributions of the same utterances per seed, ``[utterances, labels]`` each.
        places: Name -> its curve, and how many clips it was trained on; others are left out.
        target: Soft labels ``[utterances, labels]``.
        votes: Vote counts ``[utterances, labels]``.
        clusters: Speaker of each utterance.
        labels: The label set.

    Returns:
        Columns ``curve``, ``training_clips``, ``name``, ``num_seeds``, ``num_utterances``, ``num_failed`` (scored as
        uniform); of each metric its mean over the seeds, ``_low`` and ``_high`` (`interval`), ``_sd`` over the seeds
        and ``_seeds``, their values, joined by spaces.
    """
    metrics = OF_CATEGORIES if labels.scale is None else OF_SCALES
    numbers = number_clusters(clusters, len(target))
    count = int(numbers.max()) + 1
    drawn = draw_clusters(np.random.default_rng(0), count, RESAMPLES)
    rows = []
    for name, (curve, clips) in places.items():
        failed = [~np.isfinite(pred).all(axis=1) for pred in predictions[name]]
        sizes = {"num_utterances": len(target), "num_failed": int(max(bad.sum() for bad in failed))}
        row = {"curve": curve, "training_clips": clips, "name": name, "num_seeds": len(failed), **sizes}
        filled = [np.where(b[:, None], 1 / target.shape[1], p) for b, p in zip(failed, predictions[name], strict=True)]
        measures = [WeightedMetrics(pred, target, votes, clusters=numbers, metrics=metrics) for pred in filled]
        once = [measure(np.ones((1, count))) for measure in measures]
        resampled = [measure(drawn) for measure in measures]
        for metric in metrics:
            values = np.array([found[metric][0] for found in once])
            row[metric] = float(values.mean())
            by_speakers = np.mean([found[metric] for found in resampled], axis=0)
            row[f"{metric}_low"], row[f"{metric}_high"] = interval(values, by_speakers, count)
            row[f"{metric}_sd"] = float(values.std(ddof=1)) if len(values) > 1 else math.nan
            row[f"{metric}_seeds"] = " ".join(f"{value:.6g}" for value in values)
        rows.append(row)
    return pd.DataFrame(rows).sort_values(["curve", "training_clips"], kind="stable", ignore_index=True)


def interval(values: np.ndarray, by_speakers: np.ndarray, num_speakers: int) -> tuple[float, float]:
    """95 % interval of a mean over seeds, for other speakers and other draws of training clips.

    Both variances are added, ``v = s^2 / S + b^2``, s being the standard deviation over S seeds and b that of the mean
    over resampled speakers, times ``sqrt(C / (C - 1))`` of C speakers; the ends are Student's, with Welch's and
    Satterthwaite's degrees of freedom (Welch 1947). With one seed only speakers count.

    Args:
        values: Of each seed, ``[seeds]``.
        by_speakers: Their mean on resamples of speakers, ``[resamples]``.
        num_speakers: How many there are.

    Returns:
        Lower and upper end; NaN with a single speaker.
    """
    from scipy.stats import t

    known = by_speakers[np.isfinite(by_speakers)]
    if num_speakers < 2 or len(known) < 2:
        return math.nan, math.nan
    parts = [(known.var() * num_speakers / (num_speakers - 1), num_speakers - 1)]
    if len(values) > 1:
        parts.append((values.var(ddof=1) / len(values), len(values) - 1))
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return float(values.mean()), float(values.mean())
    freedom = variance**2 / sum(part**2 / number for part, number in parts)
    half = t.isf(0.025, freedom) * math.sqrt(variance)
    return float(values.mean() - half), float(values.mean() + half)


def _metrics(frame: pd.DataFrame) -> list[str]:
    return [name for name in frame.columns if name in METRICS]


def _cells(row: Mapping, metrics: Sequence[str]) -> list[str]:
    texts = []
    for metric in metrics:
        low, high = row[f"{metric}_low"], row[f"{metric}_high"]
        ends = f" [{format_value(low)}, {format_value(high)}]" if low == low else ""
        texts.append(format_value(row[metric]) + ends)
    return [row["curve"], f"{row['training_clips']:,.0f}", *texts, str(row["num_seeds"]), str(row["num_failed"])]


def _headers(metrics: Sequence[str]) -> list[str]:
    arrows = [f"{short_name(metric)} {'↑' if METRICS[metric].higher_is_better else '↓'}" for metric in metrics]
    return ["", "training clips", *arrows, "seeds", "failed"]


def few_shot_table(frame: pd.DataFrame) -> Table:
    """For the terminal."""
    table, metrics = Table(box=None, show_edge=False), _metrics(frame)
    for header in _headers(metrics):
        table.add_column(header, justify="right" if header else "left", no_wrap=True)
    for row in frame.to_dict("records"):
        table.add_row(*_cells(row, metrics))
    return table


def few_shot_markdown(frame: pd.DataFrame) -> str:
    """For a paper's draft."""
    metrics = _metrics(frame)
    lines = [f"| {' | '.join(_headers(metrics))} |", "|---|" + "---:|" * (len(metrics) + 3)]
    lines += [f"| {' | '.join(_cells(row, metrics))} |" for row in frame.to_dict("records")]
    return "\n".join(lines) + "\n"


def few_shot_figure(
    frame: pd.DataFrame, lines: Mapping[str, Mapping[str, float]], title: str, subtitle: str = ""
) -> Figure:
    """Metric against training clips, a panel each of the first two: means, intervals, a dot for every seed.

    Args:
        frame: `few_shot_frame`.
        lines: Name -> metrics of what was not trained, drawn across: floors, zero-shot readouts, the ceiling.
        title: First line of the title.
        subtitle: Second line.
    """
    metrics = _metrics(frame)[:DRAWN]
    figure = new_figure(4.8 * len(metrics), 4.2, title, subtitle)
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        _curves(axes, frame, metric)
        _lines(axes, {name: values[metric] for name, values in lines.items() if metric in values})
        axes.set_ylabel(metric_label(short_name(metric), METRICS[metric].higher_is_better))
        axes.set_xlabel("training clips")
        axes.grid(axis="y", color="#eeeeee")
        tidy(axes)
    add_legend(figure, panels[0])
    return figure


def _curves(axes: Axes, frame: pd.DataFrame, metric: str) -> None:
    axes.set_xscale("log")
    for i, (curve, rows) in enumerate(frame.groupby("curve", sort=False)):
        colour, x = CURVES[i % len(CURVES)], rows["training_clips"].to_numpy(np.float64) * (1 + 0.04 * i)
        ends = rows[[f"{metric}_low", f"{metric}_high"]].to_numpy(np.float64).T
        axes.plot(x, rows[metric], color=colour, lw=1.6, marker="osD^v"[i % 5], ms=5, label=str(curve), zorder=3)
        axes.vlines(x, *ends, color=colour, lw=1.4, zorder=2)
        for place, seeds in zip(x, rows[f"{metric}_seeds"], strict=True):
            values = [float(value) for value in seeds.split()]
            axes.scatter([place * 1.06] * len(values), values, s=7, color=colour, alpha=0.45, lw=0, zorder=2)
    places = sorted(set(frame["training_clips"]))
    axes.set_xticks(places, [f"{place:,.0f}" for place in places], fontsize=8)
    axes.minorticks_off()


def _lines(axes: Axes, lines: Mapping[str, float]) -> None:
    styles = iter(STYLES * len(lines))
    for name, value in lines.items():
        if not math.isfinite(value):
            continue
        look: dict[str, Any]
        if name.startswith("ceiling"):
            look = {"color": CEILING, "ls": "-"}
        elif name.startswith("zero-shot"):
            look = {"color": ZERO_SHOT, "ls": (0, (6, 2))}
        else:
            look = {"color": GREY, "ls": next(styles)}
        axes.axhline(value, lw=1.2, label=name, zorder=1, **look)


def save_few_shot(
    frame: pd.DataFrame, lines: Mapping[str, Mapping[str, float]], folder: Path, title: str, subtitle: str
) -> list[Path]:
    """Write ``few_shot.csv``, ``few_shot.md`` and ``few_shot.png``; returns the figure."""
    write_csv(frame, folder / "few_shot.csv")
    write_text(few_shot_markdown(frame), folder / "few_shot.md")
    return [save(few_shot_figure(frame, lines, title, subtitle), folder / "few_shot.png")]


def untrained(
    predictions: Mapping[str, Sequence[np.ndarray]],
    kinds: Mapping[str, str],
    target: np.ndarray,
    votes: np.ndarray,
    ceiling: Mapping[str, float],
    labels: LabelSet,
) -> dict[str, dict[str, float]]:
    """Metrics of floors, zero-shot readouts and the ceiling by name, for lines of the figure."""
    metrics, found = OF_CATEGORIES if labels.scale is None else OF_SCALES, {}
    for name, (pred, *_) in predictions.items():
        if kinds[name] in ("zero-shot", "floor"):
            bad = ~np.isfinite(pred).all(axis=1)
            filled = np.where(bad[:, None], 1 / target.shape[1], pred)
            found[name] = evaluate(filled, target, votes, metrics=metrics)
    return found | {"ceiling: human": {metric: ceiling[metric] for metric in metrics}}
