"""The common look of all figures, drawn without pyplot's global state."""

from __future__ import annotations

import logging
import math
import re
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emoprobe.report.words import YARDSTICKS, short_value
from emoprobe.system.output import whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with any colour vision.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
HUMAN, MODEL, GREY = "#0072B2", "#D55E00", "#777777"
YARDSTICK_LINES: dict[str, dict[str, Any]] = {
    "uniform": {"color": "#009E73", "ls": ":", "lw": 2.0},
    "prior": {"color": "#0072B2", "ls": "--", "lw": 1.5},
    "majority": {"color": "#CC79A7", "ls": "-.", "lw": 1.5},
    "one_hot_of_top_vote": {"color": "#E69F00", "ls": (0, (7, 2, 1, 2, 1, 2)), "lw": 1.5},
    "human": {"color": "#000000", "ls": "-", "lw": 1.8},
}
"""Colour and stroke of every floor, reference and ceiling, the same in all figures: told apart without colours too."""
DPI = 150
NAME = 34  # characters of a name beside an axis; the full ones stand in the tables


def new_figure(width: float, height: float, title: str, subtitle: str) -> Figure:
    """An empty figure of about this size in inches, its title wrapped."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Thirteen characters of 9 points fill an inch; a title is wrapped and the figure grows, so that none is cut off.
    lines = [line for text in (title, subtitle) for line in textwrap.wrap(text, int(13 * width))]
    figure = Figure(figsize=(width, height + 0.15 * len(lines)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("\n".join(lines), fontsize=9, parse_math=False)
    return figure


def add_legend(figure: Figure, axes: Axes) -> None:
    """A legend below the axes, where no datum can lie."""
    legend = figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        fontsize=8,
        frameon=False,
        handlelength=3.6,  # a dashed stroke is known by more than one dash
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def draw_yardsticks(
    axes: Axes, rows: Iterable[Mapping], metric: str, *, across: bool = False, value: bool = True
) -> None:
    """Floors, references and ceiling as lines, in the order and the look of `YARDSTICK_LINES`, in words in the legend.

    Args:
        axes: Where to draw.
        rows: Of a metric table; readouts, raters against raters and values that are not finite are passed over, and
            equal lines drawn once.
        metric: What is drawn.
        across: Horizontal lines instead of vertical ones.
        value: Whether the legend has the values.
    """
    line = axes.axhline if across else axes.axvline
    found: dict[str, dict[float, None]] = {name: {} for name in YARDSTICK_LINES}
    for row in rows:
        at = row["metrics"].get(metric, math.nan)
        if row["kind"] != "readout" and row["readout"] in found and math.isfinite(at):
            found[row["readout"]][at] = None
    for name, values in found.items():
        for at in values:
            said = f"{YARDSTICKS[name]} {short_value(at)}" if value else YARDSTICKS[name]
            line(at, label=said, zorder=1, **YARDSTICK_LINES[name])


def tidy(axes: Axes) -> None:
    """Leave out the frame's upper and right lines; take texts as they are, not as formulas."""
    axes.spines[["top", "right"]].set_visible(False)
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
        text.set_parse_math(False)


def say_nothing(axes: Axes, statement: str = "no utterance has a distribution here") -> None:
    """Say why axes are empty."""
    axes.text(0.5, 0.5, statement, ha="center", va="center", transform=axes.transAxes, parse_math=False)
    axes.set_axis_off()


def save(figure: Figure, path: Path) -> Path:
    """Write a figure in the format of the path's suffix; returns the path."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # tells every step of embedding a font in a PDF
    with whole(path) as temporary:
        figure.savefig(temporary, dpi=DPI)
    return path


def metric_label(metric: str, higher_is_better: bool, more: str = "") -> str:
    """A metric beside an axis, with the direction that is better and what else must be said."""
    return f"{metric} ({'higher' if higher_is_better else 'lower'} is better{more})"


def shorten(text: str, length: int = NAME) -> str:
    """Cut out the middle: names of one study mostly differ at an end."""
    half = (length - 1) // 2
    return text if len(text) <= length else f"{text[:half]}…{text[-half:]}"


def slug_of(text: str) -> str:
    """Letters and digits that every file system takes, at most 40."""
    return re.sub(r"[^A-Za-z0-9.=]+", "_", text)[:40].strip("_.") or "unnamed"
