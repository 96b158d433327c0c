"""Print-quality figures of one cell: its mean, its clips, its entropies, its reliability."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emoprobe.labels import LabelSet
from emoprobe.metrics.functional import (
    METRICS,
    ccc,
    classwise_ece,
    entropy,
    expected,
    pearson,
    reliability_bins,
    spread,
)
from emoprobe.metrics.functional.calibration import ReliabilityBins
from emoprobe.report.style import GREY, HUMAN, MODEL, add_legend, new_figure, say_nothing, shorten, tidy

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_BARS = 60
"""Utterances beyond which standard deviations are not drawn."""


def _arrays(cell: pd.DataFrame, labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and target distributions of the scored rows, ``[utterances, labels]`` each."""
    scored = _scored(cell, labels)
    pred = scored[[f"p_{label}" for label in labels]].to_numpy(np.float64)
    return pred, scored[[f"target_{label}" for label in labels]].to_numpy(np.float64)


def _scored(cell: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    return cell[cell[[f"p_{label}" for label in labels]].notna().all(axis=1)]


def _bars(axes: Axes, target: np.ndarray, pred: np.ndarray, labels: Sequence[str]) -> None:
    x = np.arange(len(labels))
    axes.bar(x - 0.2, target, 0.4, color=HUMAN, label="raters")
    axes.bar(x + 0.2, pred, 0.4, color=MODEL, label="model")
    axes.set_xticks(x, labels, rotation=40, ha="right", rotation_mode="anchor", parse_math=False)
    tidy(axes)


def mean_distribution(cell: pd.DataFrame, labels: Sequence[str], title: str, subtitle: str = "") -> Figure:
    """Mean share per label of the raters and of the model."""
    figure = new_figure(max(4.4, 1.2 + 0.7 * len(labels)), 3.6, title, subtitle)
    axes = figure.subplots()
    pred, target = _arrays(cell, labels)
    if not len(pred):
        say_nothing(axes)
        return figure
    _bars(axes, target.mean(axis=0), pred.mean(axis=0), labels)
    axes.set_ylabel(f"mean share, n = {len(pred):,}")
    add_legend(figure, axes)
    return figure


def extreme_clips(cell: pd.DataFrame, labels: Sequence[str], title: str, subtitle: str = "", count: int = 4) -> Figure:
    """Raters and model on the least (upper row) and the most (lower row) ambiguous utterances."""
    scored = _scored(cell, labels)
    pred, target = _arrays(cell, labels)
    bits = entropy(target).numpy() if len(target) else np.empty(0)
    order = np.lexsort((scored["utterance_id"].astype(str).to_numpy(), bits))
    # With fewer than 2 x count utterances the rows share them out: none is both least and most ambiguous.
    columns = max(1, min(count, (len(order) + 1) // 2))
    least, most = order[:columns], order[columns:][-columns:]
    rows = 2 if len(most) else 1
    figure = new_figure(max(6.0, 2.6 * columns), 0.6 + 2.2 * rows, title, subtitle)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    if not len(order):
        say_nothing(grid[0, 0])
        return figure
    for row, chosen, name in zip(grid, (least, most), ("least ambiguous", "most ambiguous"), strict=False):
        row[0].set_ylabel(name)
        for axes, i in zip(row, chosen, strict=False):
            axes.set_axis_on()
            _bars(axes, target[i], pred[i], labels)
            axes.tick_params(labelsize=8)
            name = shorten(str(scored["utterance_id"].iloc[i]), 34)
            axes.set_title(f"{name}\n{bits[i]:.2f} bits", fontsize=8, parse_math=False)
    grid[0, 0].set_ylim(0, 1.02)
    add_legend(figure, grid[0, 0])
    return figure


def entropy_scatter(cell: pd.DataFrame, labels: Sequence[str], title: str, subtitle: str = "") -> Figure:
    """Entropy of the raters against that of the model, one point per utterance."""
    figure = new_figure(4.4, 4.5, title, subtitle)
    axes = figure.subplots()
    pred, target = _arrays(cell, labels)
    if not len(pred):
        say_nothing(axes)
        return figure
    top = np.log2(len(labels))
    axes.plot([0, top], [0, top], color=GREY, lw=1, ls="--")
    axes.scatter(
        entropy(target).numpy(),
        entropy(pred).numpy(),
        s=14,
        color=MODEL,
        alpha=max(0.15, min(0.8, 60 / len(pred))),
        lw=0,
        clip_on=False,
    )
    rho = float(METRICS["entropy_spearman"](pred, target))
    # In the corner above the axes: within them any corner may hold points.
    text = "undefined" if np.isnan(rho) else f"{rho:.2f}"
    axes.set_title(f"Spearman's rho {text}, n = {len(pred):,}", fontsize=9, loc="right")
    axes.set(xlabel="entropy of the raters (bits)", ylabel="entropy of the model (bits)")
    axes.set(xlim=(0, top), ylim=(0, top), box_aspect=1)
    tidy(axes)
    return figure


def number_scatter(cell: pd.DataFrame, labels: Sequence[str], title: str, subtitle: str = "") -> Figure:
    """Mean of the raters' numbers against the model's expected value, one point per utterance.

    Of few utterances with the standard deviation of either side.
    """
    figure = new_figure(4.4, 5.0, title, subtitle)
    axes = figure.subplots()
    pred, target = _arrays(cell, labels)
    if not len(pred):
        say_nothing(axes)
        return figure
    low, high = int(labels[0]), int(labels[-1])
    axes.plot([low, high], [low, high], color=GREY, lw=1, ls="--")
    human, model = low + expected(target), low + expected(pred)
    if len(pred) <= MAX_BARS:
        look: dict[str, Any] = {"fmt": "none", "ecolor": GREY, "elinewidth": 0.6, "alpha": 0.5}
        axes.errorbar(human, model, xerr=spread(target), yerr=spread(pred), **look)
    alpha = max(0.15, min(0.8, 60 / len(pred)))
    axes.scatter(human, model, s=14, color=MODEL, alpha=alpha, lw=0, clip_on=False, zorder=3)
    told = []
    for metric in (ccc, pearson):
        value = float(metric(pred, target))
        told.append(f"{metric.short} {'undefined' if np.isnan(value) else f'{value:.2f}'}")
    axes.set_title(", ".join([*told, f"n = {len(pred):,}"]), fontsize=9, loc="right")
    axes.set(xlabel="mean of the raters", ylabel="expected value of the model")
    axes.set(xlim=(low, high), ylim=(low, high), box_aspect=1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(range(low, high + 1))
    tidy(axes)
    return figure


def reliability(cell: pd.DataFrame, labels: Sequence[str], title: str, subtitle: str = "", bins: int = 10) -> Figure:
    """Predicted probability of a label against the raters' share of it, over all utterances and labels."""
    figure = new_figure(4.4, 5.2, title, subtitle)
    upper, lower = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
    pred, target = _arrays(cell, labels)
    if not len(pred):
        say_nothing(upper)
        lower.set_axis_off()
        return figure
    pooled = reliability_bins(pred, target, bins)
    upper.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    # The error is a mean over labels, whose deviations may cancel out in the pooled line: so they are shown too.
    single = [_bin_means(reliability_bins(pred[:, k], target[:, k], bins)) for k in range(len(labels))]
    upper.scatter(
        *np.concatenate(single, axis=1), s=12, color=HUMAN, alpha=0.5, lw=0, label="one label", zorder=2, clip_on=False
    )
    upper.plot(*_bin_means(pooled), color=MODEL, marker="o", label="all labels", clip_on=False)
    error = float(classwise_ece(pred, target, bins=bins))
    upper.set_title(f"class-wise calibration error {error:.3f}", fontsize=9, loc="right")
    upper.set(ylabel="raters' share", xlim=(0, 1), ylim=(0, 1))
    add_legend(figure, upper)
    lower.bar((np.arange(bins) + 0.5) / bins, pooled.counts, 0.9 / bins, color=GREY)
    lower.set(xlabel="predicted probability", ylabel="clips x labels")
    lower.yaxis.label.set_fontsize(8)
    for axes in (upper, lower):
        tidy(axes)
    return figure


def _bin_means(found: ReliabilityBins) -> np.ndarray:
    """Mean prediction and mean human share of each filled bin, ``[2, filled]``."""
    return np.stack([found.mean_probability, found.mean_share])[:, found.counts > 0]


def kinds_of(labels: LabelSet) -> dict[str, Callable[..., Figure]]:
    """The figures of a cell of a label set by name; `number_scatter` only where labels are points of a scale."""
    of_any: dict[str, Callable[..., Figure]] = {
        "mean": mean_distribution,
        "clips": extreme_clips,
        "entropy": entropy_scatter,
        "reliability": reliability,
    }
    return of_any if labels.scale is None else {"numbers": number_scatter, **of_any}
