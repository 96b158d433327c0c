"""The common look of all figures, drawn without pyplot's global state."""

from __future__ import annotations

import logging
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from emoprobe.system.output import whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with any colour vision.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
HUMAN, MODEL, GREY = "#0072B2", "#D55E00", "#777777"
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
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


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
