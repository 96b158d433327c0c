"""Print-quality figures of one run, and which of its cells have figures of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emoprobe.labels import LabelSet
from emoprobe.metrics.functional import METRICS, headline_of
from emoprobe.report.cell_figures import kinds_of
from emoprobe.report.style import (
    GREY,
    MODEL,
    PALETTE,
    add_legend,
    draw_yardsticks,
    metric_label,
    new_figure,
    save,
    say_nothing,
    shorten,
    slug_of,
    tidy,
)
from emoprobe.run.cell import NO_PROMPT, Cell, rows_of, saw_its_votes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "os"  # beyond seven prompts colours come again, with another marker
CALIBRATIONS = {"none": "-", "contextual_silence": "--"}  # of the layers, and how they are drawn
MAX_CELLS, MAX_LINES = 12, 60


def scatter_by_standing(axes: Axes, rows: Sequence[Mapping], metric: str) -> None:
    """Values of readouts from top to bottom: dots where every clip counts, hollow where some failed, crosses where the
    votes were seen that the readout is judged by.

    Args:
        axes: Where to draw; the first row at height ``len(rows) - 1``.
        rows: Rows of the metric table with a finite value.
        metric: What is drawn.
    """
    looks: dict[str, dict[str, Any]] = {
        "every utterance scored": {"color": MODEL},
        "some without a distribution": {"facecolor": "white", "edgecolor": MODEL},
        "** saw the votes it is judged by: no rank": {"color": GREY, "marker": "x"},
    }
    groups: dict[str, list[tuple[float, int]]] = {name: [] for name in looks}
    plain, partly, seen = groups
    for i, row in enumerate(rows):
        name = seen if saw_its_votes(row["fitted_on"]) else partly if row["num_failed"] else plain
        groups[name].append((row["metrics"][metric], len(rows) - 1 - i))
    for name, points in groups.items():
        if points:
            x, y = zip(*points, strict=True)
            axes.scatter(x, y, **looks[name], s=24, zorder=3, label=name)


def overview(rows: Sequence[dict], title: str, subtitle: str = "", metric: str = "js_divergence") -> Figure:
    """Every cell's score, sorted, with floors and reference as vertical lines; single layers have their own figure.

    Cells that saw the votes they are judged by come last, whatever they scored.
    """
    from emoprobe.report.tables import split_layers

    rows, of_layers = split_layers(rows)
    readouts = [row for row in rows if row["kind"] == "readout"]
    cells = [row for row in readouts if np.isfinite(row["metrics"].get(metric, np.nan))]
    undrawn = len(readouts) - len(cells)
    sign = -1 if METRICS[metric].higher_is_better else 1
    cells.sort(key=lambda row: (saw_its_votes(row["fitted_on"]), sign * row["metrics"][metric]))
    left_out = len(cells) - MAX_LINES
    cells = cells[:MAX_LINES]
    figure = new_figure(9.0, 1.9 + 0.19 * max(4, len(cells)), title, subtitle)
    axes = figure.subplots()
    if not cells:
        say_nothing(axes, f"no cell has a finite {metric}")
        return figure
    scatter_by_standing(axes, cells, metric)
    y = np.arange(len(cells))[::-1]
    axes.set_yticks(y, _names(cells, several=len({row["model"] for row in readouts}) > 1), fontsize=7, parse_math=False)
    draw_yardsticks(axes, rows, metric)
    more = f"; the best {MAX_LINES} of {MAX_LINES + left_out} are shown" if left_out > 0 else ""
    more += f"; {undrawn} without a finite value" if undrawn else ""
    more += "; single layers: layers.png" if of_layers else ""
    axes.set_xlabel(metric_label(metric, METRICS[metric].higher_is_better, more), fontsize=8)
    axes.set_ylim(-1, len(cells))
    axes.grid(axis="y", color="#eeeeee")
    tidy(axes)
    add_legend(figure, axes)
    return figure


_Line = tuple[str, str, str]  # model, readout and prompt


def layer_metrics_of(labels: LabelSet) -> tuple[str, str]:
    """The two metrics of `layers`."""
    return ("js_divergence", "bhattacharyya") if labels.scale is None else ("ccc", "emd")


def layers(
    rows: Sequence[dict],
    title: str,
    subtitle: str = "",
    metrics: tuple[str, str] = ("js_divergence", "bhattacharyya"),
) -> Figure:
    """Two metrics, such as divergence from the raters, by decoder layer, a line per prompt and readout, and two floors.

    Lines are full without calibration and broken with ``contextual_silence``, where there is one. A prompt asked in
    several label orders is drawn once, as their mean; ensembles are left out, and all but the first 14 prompts.

    Args:
        rows: `emoprobe.analysis.rows.make_rows`.
        title: First line of the title.
        subtitle: Second line.
        metrics: Of the left and of the right panel.
    """
    from emoprobe.report.tables import split_layers

    others, cells = split_layers(rows)
    prompts = _drawn_prompts([row for row in cells if row["calibration"] in CALIBRATIONS])
    shown = dict(list(prompts.items())[: len(PALETTE) * len(MARKERS)])
    figure = new_figure(9.0, 3.6 + 0.17 * (len(shown) // 3), title, subtitle)
    panels = figure.subplots(1, 2)
    if not shown:
        for axes in panels:
            say_nothing(axes, f"no layer has a calibration {' or '.join(CALIBRATIONS)}")
        return figure
    floors = [row for row in others if row["readout"] in ("uniform", "prior")]
    for axes, metric in zip(panels, metrics, strict=True):
        _layer_lines(axes, shown, floors, metric)
    if len(shown) < len(prompts):
        panels[1].set_title(f"the first {len(shown)} of {len(prompts)} prompts", fontsize=9, loc="right")
    add_legend(figure, panels[0])
    return figure


def _layer_lines(axes: Axes, prompts: dict[_Line, list[dict]], floors: Sequence[dict], metric: str) -> None:
    several = [len({line[i] for line in prompts}) > 1 for i in (0, 1)]
    for i, ((model, readout, prompt), cells) in enumerate(prompts.items()):
        look: dict[str, Any] = {"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i // len(PALETTE)]}
        for calibration, style in CALIBRATIONS.items():
            points = _by_layer([row for row in cells if row["calibration"] == calibration], metric)
            axes.plot(*points, **look, ls=style, ms=2.5, lw=1.3)
        of = [shorten(name, 16) for name, told in zip((model, readout), several, strict=True) if told]
        axes.plot([], [], **look, ms=4, label=" · ".join([*of, shorten(prompt, 18 if of else 36)]))
    draw_yardsticks(axes, floors, metric, across=True, value=False)
    for calibration, style in CALIBRATIONS.items():
        if any(row["calibration"] == calibration for cells in prompts.values() for row in cells):
            axes.plot([], [], color=GREY, ls=style, label=f"calibration: {calibration}")
    axes.set(xlabel="decoder layer (0: embeddings)", ylabel=metric_label(metric, METRICS[metric].higher_is_better))
    axes.locator_params(axis="x", integer=True)
    axes.grid(axis="y", color="#eeeeee")
    tidy(axes)


def _drawn_prompts(cells: Sequence[dict]) -> dict[_Line, list[dict]]:
    """Rows of each line, in the order of the rows; orders of one prompt give way to their mean."""
    prompts: dict[_Line, list[dict]] = {}
    for row in cells:
        prompts.setdefault((row["model"], row["readout"], row["prompt"]), []).append(row)
    meant = {(model, readout, prompt.partition("@")[0]) for model, readout, prompt in prompts if "@mean(" in prompt}
    return {
        (model, readout, prompt): points
        for (model, readout, prompt), points in prompts.items()
        if not prompt.startswith("ensemble")
        and ("@mean(" in prompt or (model, readout, prompt.partition("@")[0]) not in meant)
    }


def _by_layer(points: Sequence[dict], metric: str) -> tuple[list[int], list[float]]:
    """Layers in order and their values; a gap where there is none."""
    pairs = sorted((int(row["variant"].removeprefix("layer_")), row["metrics"].get(metric, np.nan)) for row in points)
    return [layer for layer, _ in pairs], [value for _, value in pairs]


def _names(cells: Sequence[dict], *, several: bool) -> list[str]:
    """Tick labels of at most about 70 characters; a cell's full name stands in the table."""
    from emoprobe.report.tables import name_of

    named = []
    for row in cells:
        prompt, readout, calibration = name_of(row)
        model = [shorten(row["model"], 24)] if several else []
        parts = [*model, shorten(prompt, 32), shorten(readout, 36), shorten(calibration, 24)]
        named.append("  ·  ".join(part for part in parts if part))
    return named


def _line(fold: int | str) -> dict[str, str]:
    """Colour and style of a fold's lines; the last colour is that of all clips."""
    if fold == "all":
        return {"color": PALETTE[-1], "linestyle": "-"}
    turn, place = divmod(int(fold), len(PALETTE) - 1)
    return {"color": PALETTE[place], "linestyle": ("-", "--", ":", "-.")[turn % 4]}


def learning_curves(curves: Sequence[Mapping], title: str, subtitle: str = "", metric: str = "js_divergence") -> Figure:
    """Training loss and a development metric by epoch.

    Args:
        curves: Rows with ``fold`` (a number, or ``all``), ``member``, ``epoch``, ``train_loss`` and the metric, which
            is missing where it was undefined.
        title: What was trained.
        subtitle: On which corpus.
        metric: Name of the metric.
    """
    figure = new_figure(9, 3.6, title, subtitle)
    lines: dict[tuple[int | str, int], list[Mapping]] = {}
    for row in curves:
        lines.setdefault((row["fold"], row["member"]), []).append(row)
    better = "higher" if METRICS[metric].higher_is_better else "lower"
    name = f"development {METRICS[metric].short or metric} ({better} is better)"
    names = {"train_loss": "training loss", metric: name}
    for axes, (column, name) in zip(figure.subplots(1, 2), names.items(), strict=True):
        for (fold, _), line in lines.items():
            axes.plot(
                [row["epoch"] for row in line],
                [row.get(column, np.nan) for row in line],
                linewidth=1,
                **_line(fold),
                alpha=0.8,
                label="all clips" if fold == "all" else f"fold {fold}",
            )
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        tidy(axes)
    handles, texts = figure.axes[0].get_legend_handles_labels()
    unique = dict(zip(texts, handles, strict=True))  # members of a fold share its colour and name
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    return figure


def save_learning_curves(
    curves: Sequence[Mapping], labels: LabelSet, folder: Path, title: str, subtitle: str = ""
) -> list[Path]:
    """Write ``learning_curves.png`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return [save(learning_curves(curves, title, subtitle, headline_of(labels)), folder / "learning_curves.png")]


def save_figures(
    predictions: pd.DataFrame, rows: Sequence[dict], labels: LabelSet, folder: Path, subtitle: str
) -> list[Path]:
    """Draw the overview, the layers if they were read and, for a bounded number of cells, the cell figures.

    Per model and readout the first and the last calibration are drawn, for the prompt ensemble if there is one, else
    the mean over a prompt's label orders, else the first prompt, in the readout's first variant: a choice that does not
    look at the scores. A cell without any distribution is drawn where no other prompt has one. Single layers are drawn
    together, in a figure of their own.

    Args:
        predictions: `emoprobe.analysis.make_predictions`.
        rows: `emoprobe.analysis.rows.make_rows`.
        labels: The label set.
        folder: Where to write; made if it is not there.
        subtitle: Title of the corpus, shown in every figure.

    Returns:
        The files.
    """
    from emoprobe.report.tables import split_layers

    folder.mkdir(parents=True, exist_ok=True)
    first = overview(rows, "All cells beside their floors", subtitle, headline_of(labels))
    paths = [save(first, folder / "overview.png")]
    cells, of_layers = split_layers(rows)
    if of_layers:
        figure = layers(rows, "The label likelihood, layer by layer", subtitle, layer_metrics_of(labels))
        paths.append(save(figure, folder / "layers.png"))
    kinds = kinds_of(labels)
    several = predictions["model"].nunique() > 1
    taken: set[str] = set()
    for row in _chosen(cells):
        cell = Cell.of(row)
        readout = f"{cell.readout} ({cell.variant})" if cell.variant else cell.readout
        model = [cell.model] * several
        prompt = [cell.prompt] * (cell.prompt != NO_PROMPT)
        slug = _unique("-".join(map(slug_of, [*model, cell.readout, *prompt, cell.calibration])), taken)
        title = ", ".join([*model, readout, *prompt, f"calibration: {cell.calibration}"])
        own = rows_of(predictions, [cell])
        for kind, draw in kinds.items():
            paths.append(save(draw(own, labels.labels, title, subtitle), folder / f"{slug}_{kind}.png"))
    return paths


def _unique(slug: str, taken: set[str]) -> str:
    """The slug, numbered if another cell has it; compared without case, as some file systems do."""
    name, number = slug, 2
    while name.lower() in taken:
        name, number = f"{slug}-{number}", number + 1
    taken.add(name.lower())
    return name


def _chosen(rows: Sequence[dict]) -> list[dict]:
    """The cells to draw: see `save_figures`."""
    chosen: dict[tuple, dict] = {}
    readouts = [row for row in rows if row["kind"] == "readout"]
    for row in sorted(readouts, key=lambda row: not row["num_utterances"]):
        key = (row["model"], row["readout"], row["calibration"])
        held = chosen.setdefault(key, row)
        alike = row["variant"] == held["variant"] and bool(row["num_utterances"]) == bool(held["num_utterances"])
        if alike and _breadth(row["prompt"]) > _breadth(held["prompt"]):
            chosen[key] = row
    groups: dict[tuple, list[dict]] = {}
    for (model, readout, _), row in chosen.items():
        groups.setdefault((model, readout), []).append(row)
    # "as the model gives it" and the last calibration: with all of them a run would drown in pictures
    return [row for group in groups.values() for row in (group[:1] + group[1:][-1:])][:MAX_CELLS]


def _breadth(prompt: str) -> int:
    """2 for an ensemble of prompts, 1 for a mean over the orders of one, else 0."""
    return 2 if prompt.startswith("ensemble") else int("@mean(" in prompt)
