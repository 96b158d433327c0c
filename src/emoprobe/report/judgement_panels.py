"""Panels of one cell of the judgement: calibration, confusion and missed mixtures; and what its figures share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emoprobe.errors import InputError
from emoprobe.report.style import GREY, HUMAN, MODEL, add_legend, new_figure, say_nothing, shorten, tidy
from emoprobe.run.cell import KEYS, cells_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_ROWS, MAX_PANELS = 20, 3
CELL_NAME = 64
"""Characters of a cell's name, which is made of several."""


def cell_names(frame: pd.DataFrame, keys: Sequence[str] = KEYS) -> pd.Series:
    """A name for every row out of the keys that differ within the table; ``all`` if none does.

    A variant that a readout's name alone stands for is left out, as in tables.
    """
    import pandas as pd

    from emoprobe.readout.trained_head import plain_variants

    parts = frame[list(keys)].astype(str)
    if "variant" in parts.columns:
        parts["variant"] = parts["variant"].mask(parts["variant"].isin(plain_variants()), "")
    varying = [key for key in keys if parts[key].nunique() > 1]
    if not varying:
        return pd.Series("all", index=frame.index)
    cells = list(zip(*(parts[key] for key in varying), strict=True))
    named: dict[tuple, str] = {}
    for cell in dict.fromkeys(cells):
        name = shorten(" · ".join(shorten(text) for text in cell if text), CELL_NAME)
        # Two long names may be the same once they are cut.
        named[cell] = name if name not in named.values() else f"{name} ({len(named) + 1})"
    return pd.Series([named[cell] for cell in cells], index=frame.index)


def write_beside(
    axes: Axes, y: Sequence[float] | np.ndarray, texts: Sequence[str], header: str, size: float = 8
) -> None:
    """A text to the right of the axes for every row, under a header."""
    beside = axes.secondary_yaxis("right")
    beside.set_yticks(y, texts, fontsize=size, parse_math=False)
    beside.tick_params(length=0)
    beside.spines["right"].set_visible(False)
    axes.annotate(header, (1, 1), (8, 3), xycoords="axes fraction", textcoords="offset points", fontsize=size)


def reliability_panels(reliability: pd.DataFrame, labels: Sequence[str], title: str, subtitle: str = "") -> Figure:
    """Predicted probability against the raters' share, one panel per cell, such as before and after calibration.

    Args:
        reliability: `emoprobe.analysis.channels.reliability`; the first three cells are drawn.
        labels: Labels of the run.
        title: First line of the title.
        subtitle: Second line.
    """
    reliability = reliability.assign(_cell=cell_names(reliability))
    cells = list(dict.fromkeys(reliability["_cell"]))[:MAX_PANELS]
    figure = new_figure(max(4.4, 3.5 * len(cells)), 5.0, title, subtitle)
    grid = figure.subplots(2, len(cells), height_ratios=[4, 1], sharex=True, sharey="row", squeeze=False)
    for (upper, lower), name in zip(grid.T, cells, strict=True):
        _reliability_panel(upper, lower, reliability[reliability["_cell"] == name], labels)
        heading = [shorten(name)] * (len(cells) > 1) + [upper.get_title()]
        upper.set_title("\n".join(heading), fontsize=8, parse_math=False)
    grid[0, 0].set_ylabel("raters' share")
    grid[1, 0].set_ylabel("clips x labels", fontsize=8)
    add_legend(figure, grid[0, 0])
    return figure


def _reliability_panel(upper: Axes, lower: Axes, rows: pd.DataFrame, labels: Sequence[str]) -> None:
    single, pooled = rows[rows["label"].isin(list(labels)) & (rows["count"] > 0)], rows[rows["label"] == ""]
    upper.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    upper.set(xlim=(0, 1), ylim=(0, 1))
    if len(single):
        deviation = (single["count"] * (single["mean_probability"] - single["mean_share"]).abs()).sum()
        upper.set_title(f"class-wise calibration error {deviation / single['count'].sum():.3f}")
        points: dict[str, Any] = {"s": 12, "color": HUMAN, "alpha": 0.5, "lw": 0, "clip_on": False, "zorder": 2}
        upper.scatter(single["mean_probability"], single["mean_share"], **points, label="one label")
        drawn = pooled[pooled["count"] > 0]
        line: dict[str, Any] = {"color": MODEL, "marker": "o", "ms": 4, "clip_on": False, "zorder": 3}
        upper.plot(drawn["mean_probability"], drawn["mean_share"], **line, label="all labels")
    else:
        upper.set_title("nothing scored")
    lower.bar((pooled["lower"] + pooled["upper"]) / 2, pooled["count"], 0.9 / len(pooled), color=GREY)
    lower.set_xlabel("predicted probability")
    for axes in (upper, lower):
        tidy(axes)


def confusion_and_mixtures(
    confusion: pd.DataFrame, mixtures: pd.DataFrame, labels: Sequence[str], title: str, subtitle: str = ""
) -> Figure:
    """Above where raters and model put the probability of each label, below which mixtures the model gives mass.

    Args:
        confusion: `emoprobe.analysis.channels.expected_confusion` of one cell.
        mixtures: `emoprobe.analysis.channels.missed_mixtures` of the same cell; the twenty commonest are drawn.
        labels: Labels of the run, in order.
        title: First line of the title.
        subtitle: Second line.

    Raises:
        InputError: The tables are of several cells.
    """
    if any(len(cells_of(frame)) != 1 for frame in (confusion, mixtures)):
        raise InputError("the tables are not of one cell", field="confusion", remedy="Give the rows of one cell.")
    size = len(labels)
    commonest = mixtures[mixtures["num_utterances"] > 0].sort_values("num_utterances", ascending=False, kind="stable")
    shown = commonest.head(MAX_ROWS)
    # Room for numbers of two digits in every square, and for a line of text beside every mixture.
    height, below = 1.7 + 0.42 * size, 1.0 + 0.21 * max(3, len(shown))
    figure = new_figure(max(8.0, 2.6 + 0.95 * size), height + below, title, subtitle)
    halves: Any = figure.subfigures(2, 1, height_ratios=[height, below])
    upper, lower = halves
    panels = upper.subplots(1, 2, sharey=True)
    titles = {"raters": "raters: mean share of their votes for ...", "share": "model: mean probability of ..."}
    for axes, (column, name) in zip(panels, titles.items(), strict=True):
        matrix = confusion.set_index(["rater_label", "model_label"])[column].unstack("model_label")
        _heatmap(axes, matrix.reindex(index=list(labels), columns=list(labels)).to_numpy(np.float64), labels)
        axes.set_title(name, fontsize=9)
    panels[0].set_ylabel("a rater says")
    _mixture_rows(lower.subplots(), shown)
    return figure


def _heatmap(axes: Axes, matrix: np.ndarray, labels: Sequence[str]) -> None:
    axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    ticks = np.arange(len(labels))
    axes.set_xticks(ticks, [shorten(name, 14) for name in labels], fontsize=8, parse_math=False)
    axes.tick_params(axis="x", rotation=30)
    axes.set_yticks(ticks, [shorten(name, 14) for name in labels], fontsize=8, parse_math=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for (i, j), value in np.ndenumerate(matrix):
        text = f"{value:.2f}".removeprefix("0") if np.isfinite(value) else "-"
        weight = "bold" if i == j else "normal"
        colour = "white" if value > 0.55 else "black"
        axes.text(j, i, text, ha="center", va="center", fontsize=8, color=colour, fontweight=weight)


def _mixture_rows(axes: Axes, shown: pd.DataFrame) -> None:
    if not len(shown):
        say_nothing(axes, "no utterance is a mixture or clear")
        return
    y = np.arange(len(shown))[::-1]
    human, model = (shown[name].to_numpy(np.float64) for name in ("human_mass", "model_mass"))
    axes.hlines(y, human, model, color="#bbbbbb", lw=2, zorder=1)
    axes.scatter(human, y, color=HUMAN, s=26, label="raters", zorder=3)
    axes.scatter(model, y, color=MODEL, marker="s", s=22, label="model", zorder=3)
    names = [" + ".join(filter(None, (row.first, row.second))) for row in shown.itertuples()]
    axes.set_yticks(y, [shorten(name) for name in names], fontsize=8, parse_math=False)
    axes.set(xlim=(0, 1.02), ylim=(-0.7, len(shown) - 0.3), xlabel="mean probability on the label or the two labels")
    texts = [f"{row.num_utterances:,} · {row.found:.0%} · {row.js_divergence:.2f}" for row in shown.itertuples()]
    write_beside(axes, y, texts, "clips · found · JS")
    axes.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)
    axes.grid(axis="x", color="#eeeeee")
    tidy(axes)
