"""Print-quality figures of one run, drawn without pyplot's global state."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emoprobe.metrics.functional import METRICS, classwise_ece, entropy, reliability_bins
from emoprobe.metrics.functional.calibration import ReliabilityBins
from emoprobe.report.style import GREY, HUMAN, MODEL, add_legend, new_figure, save, say_nothing, tidy
from emoprobe.run.cell import NO_PROMPT, Cell, rows_of, saw_its_votes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PROMPTS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os"  # beyond seven prompts colours come again, with another marker
CALIBRATIONS = {"none": "-", "contextual_silence": "--"}  # of the layers, and how they are drawn
MAX_CELLS, MAX_LINES = 12, 60


def _shorten(text: str, length: int) -> str:
    """Cut out the middle: names of one study mostly differ at an end."""
    half = (length - 1) // 2
    return text if len(text) <= length else f"{text[:half]}…{text[-half:]}"


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
            name = _shorten(str(scored["utterance_id"].iloc[i]), 34)
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
    styles = {"uniform": ("#009E73", ":"), "prior": (HUMAN, "--"), "majority": ("#CC79A7", "-.")}
    for row in rows:
        value = row["metrics"].get(metric, np.nan)
        if row["kind"] != "readout" and np.isfinite(value):
            color, style = styles.get(row["readout"], ("#000000", "-"))
            axes.axvline(value, color=color, ls=style, lw=1.4, label=f"{row['kind']}: {row['readout']} {value:.3f}")
    arrow = "higher" if METRICS[metric].higher_is_better else "lower"
    more = f"; the best {MAX_LINES} of {MAX_LINES + left_out} are shown" if left_out > 0 else ""
    more += f"; {undrawn} without a finite value" if undrawn else ""
    more += "; single layers: layers.png" if of_layers else ""
    axes.set_xlabel(f"{metric} ({arrow} is better{more})")
    axes.set_ylim(-1, len(cells))
    axes.grid(axis="y", color="#eeeeee")
    tidy(axes)
    add_legend(figure, axes)
    return figure


_Line = tuple[str, str, str]  # model, readout and prompt


def layers(rows: Sequence[dict], title: str, subtitle: str = "") -> Figure:
    """Divergence from the raters and overlap with them by decoder layer, a line per prompt and readout, and two floors.

    Lines are full without calibration and broken with ``contextual_silence``, where there is one. A prompt asked in
    several label orders is drawn once, as their mean; ensembles are left out, and all but the first 14 prompts.

    Args:
        rows: `emoprobe.analysis.rows.make_rows`.
        title: First line of the title.
        subtitle: Second line.
    """
    from emoprobe.report.tables import split_layers

    others, cells = split_layers(rows)
    prompts = _drawn_prompts([row for row in cells if row["calibration"] in CALIBRATIONS])
    shown = dict(list(prompts.items())[: len(PROMPTS) * len(MARKERS)])
    figure = new_figure(9.0, 3.6 + 0.17 * (len(shown) // 3), title, subtitle)
    panels = figure.subplots(1, 2)
    if not shown:
        for axes in panels:
            say_nothing(axes, f"no layer has a calibration {' or '.join(CALIBRATIONS)}")
        return figure
    floors = [row for row in others if row["readout"] in ("uniform", "prior")]
    for axes, metric in zip(panels, ("js_divergence", "bhattacharyya"), strict=True):
        _layer_lines(axes, shown, floors, metric)
    if len(shown) < len(prompts):
        panels[1].set_title(f"the first {len(shown)} of {len(prompts)} prompts", fontsize=9, loc="right")
    add_legend(figure, panels[0])
    return figure


def _layer_lines(axes: Axes, prompts: dict[_Line, list[dict]], floors: Sequence[dict], metric: str) -> None:
    several = [len({line[i] for line in prompts}) > 1 for i in (0, 1)]
    for i, ((model, readout, prompt), cells) in enumerate(prompts.items()):
        look: dict[str, Any] = {"color": PROMPTS[i % len(PROMPTS)], "marker": MARKERS[i // len(PROMPTS)]}
        for calibration, style in CALIBRATIONS.items():
            points = _by_layer([row for row in cells if row["calibration"] == calibration], metric)
            axes.plot(*points, **look, ls=style, ms=2.5, lw=1.3)
        of = [_shorten(name, 16) for name, told in zip((model, readout), several, strict=True) if told]
        axes.plot([], [], **look, ms=4, label=" · ".join([*of, _shorten(prompt, 18 if of else 36)]))
    for row in floors:
        style = {"uniform": ":", "prior": "-."}[row["readout"]]
        value = row["metrics"].get(metric, np.nan)
        axes.axhline(value, color=GREY, ls=style, lw=1.4, label=f"floor: {row['readout']}")
    for calibration, style in CALIBRATIONS.items():
        if any(row["calibration"] == calibration for cells in prompts.values() for row in cells):
            axes.plot([], [], color=GREY, ls=style, label=f"calibration: {calibration}")
    arrow = "higher" if METRICS[metric].higher_is_better else "lower"
    axes.set(xlabel="decoder layer (0: embeddings)", ylabel=f"{metric} ({arrow} is better)")
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
        model = [_shorten(row["model"], 24)] if several else []
        parts = [*model, _shorten(prompt, 32), _shorten(readout, 36), _shorten(calibration, 24)]
        named.append("  ·  ".join(part for part in parts if part))
    return named


def learning_curves(curves: Sequence[Mapping], title: str, subtitle: str = "") -> Figure:
    """Training loss and development divergence by epoch.

    Args:
        curves: Rows with ``fold``, ``member``, ``epoch``, ``train_loss`` and ``js_divergence``.
        title: What was trained.
        subtitle: On which corpus.
    """
    figure = new_figure(9, 3.6, title, subtitle)
    lines: dict[tuple[int, int], list[Mapping]] = {}
    for row in curves:
        lines.setdefault((row["fold"], row["member"]), []).append(row)
    names = {"train_loss": "training loss", "js_divergence": "development JS (lower is better)"}
    for axes, (column, name) in zip(figure.subplots(1, 2), names.items(), strict=True):
        for (fold, _), line in lines.items():
            axes.plot(
                [row["epoch"] for row in line],
                [row[column] for row in line],
                color=PROMPTS[fold % len(PROMPTS)],
                linewidth=1,
                alpha=0.8,
                label=f"fold {fold}",
            )
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        tidy(axes)
    handles, texts = figure.axes[0].get_legend_handles_labels()
    unique = dict(zip(texts, handles, strict=True))  # members of a fold share its colour and name
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    return figure


def save_learning_curves(curves: Sequence[Mapping], folder: Path, title: str, subtitle: str = "") -> list[Path]:
    """Write ``learning_curves.png`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return [save(learning_curves(curves, title, subtitle), folder / "learning_curves.png")]


def save_figures(
    predictions: pd.DataFrame, rows: Sequence[dict], labels: Sequence[str], folder: Path, subtitle: str
) -> list[Path]:
    """Draw the overview, the layers if they were read and, for a bounded number of cells, the four cell figures.

    Per model and readout the first and the last calibration are drawn, for the prompt ensemble if there is one, else
    the mean over a prompt's label orders, else the first prompt, in the readout's first variant: a choice that does not
    look at the scores. A cell without any distribution is drawn where no other prompt has one. Single layers are drawn
    together, in a figure of their own.

    Args:
        predictions: `emoprobe.analysis.make_predictions`.
        rows: `emoprobe.analysis.rows.make_rows`.
        labels: Labels in the order of the axes.
        folder: Where to write; made if it is not there.
        subtitle: Title of the corpus, shown in every figure.

    Returns:
        The files.
    """
    from emoprobe.report.tables import split_layers

    folder.mkdir(parents=True, exist_ok=True)
    paths = [save(overview(rows, "All cells beside their floors", subtitle), folder / "overview.png")]
    cells, of_layers = split_layers(rows)
    if of_layers:
        paths.append(save(layers(rows, "The label likelihood, layer by layer", subtitle), folder / "layers.png"))
    kinds = {
        "mean": mean_distribution,
        "clips": extreme_clips,
        "entropy": entropy_scatter,
        "reliability": reliability,
    }
    several = predictions["model"].nunique() > 1
    taken: set[str] = set()
    for row in _chosen(cells):
        cell = Cell.of(row)
        readout = f"{cell.readout} ({cell.variant})" if cell.variant else cell.readout
        model = [cell.model] * several
        prompt = [cell.prompt] * (cell.prompt != NO_PROMPT)
        slug = _unique("-".join(map(_slug, [*model, cell.readout, *prompt, cell.calibration])), taken)
        title = ", ".join([*model, readout, *prompt, f"calibration: {cell.calibration}"])
        own = rows_of(predictions, [cell])
        for kind, draw in kinds.items():
            paths.append(save(draw(own, labels, title, subtitle), folder / f"{slug}_{kind}.png"))
    return paths


def _slug(text: str) -> str:
    """Letters and digits that every file system takes, at most 40."""
    return re.sub(r"[^A-Za-z0-9.=]+", "_", text)[:40].strip("_.") or "unnamed"


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
