"""Print-quality figures of one run, drawn without pyplot's global state."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with any colour vision.
HUMAN, MODEL, GREY = "#0072B2", "#D55E00", "#777777"
MAX_CELLS, MAX_LINES, DPI = 12, 60, 150


def _figure(width: float, height: float, title: str, subtitle: str) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{title}\n{subtitle}", fontsize=9, parse_math=False)
    return figure


def _clean(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
        text.set_parse_math(False)


def _nothing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "no utterance has a distribution here", ha="center", va="center", transform=axes.transAxes)
    axes.set_axis_off()


def _arrays(cell: pd.DataFrame, labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and target distributions of the scored rows, ``[utterances, labels]`` each."""
    scored = _scored(cell, labels)
    pred = scored[[f"p_{label}" for label in labels]].to_numpy(np.float64)
    return pred, scored[[f"target_{label}" for label in labels]].to_numpy(np.float64)


def _scored(cell: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    return cell[cell[[f"p_{label}" for label in labels]].notna().all(axis=1)]


def _entropy(p: np.ndarray) -> np.ndarray:
    """Entropy of each row in bits."""
    from scipy.special import entr

    return entr(p).sum(axis=1) / np.log(2)


def _bars(axes: Axes, target: np.ndarray, pred: np.ndarray, labels: Sequence[str]) -> None:
    x = np.arange(len(labels))
    axes.bar(x - 0.2, target, 0.4, color=HUMAN, label="raters")
    axes.bar(x + 0.2, pred, 0.4, color=MODEL, label="model")
    axes.set_xticks(x, labels, rotation=40, ha="right", rotation_mode="anchor")
    _clean(axes)


def mean_distribution(cell: pd.DataFrame, labels: Sequence[str], title: str, subtitle: str = "") -> Figure:
    """Mean share per label of the raters and of the model."""
    figure = _figure(1.2 + 0.7 * len(labels), 3.6, title, subtitle)
    axes = figure.subplots()
    pred, target = _arrays(cell, labels)
    if not len(pred):
        _nothing(axes)
        return figure
    _bars(axes, target.mean(axis=0), pred.mean(axis=0), labels)
    axes.set_ylabel(f"mean share over {len(pred):,} utterances")
    axes.legend(frameon=False)
    return figure


def extreme_clips(cell: pd.DataFrame, labels: Sequence[str], title: str, subtitle: str = "", count: int = 4) -> Figure:
    """Raters and model on the least (upper row) and the most (lower row) ambiguous utterances."""
    scored = _scored(cell, labels)
    pred, target = _arrays(cell, labels)
    entropy = _entropy(target)
    order = np.lexsort((scored["utterance_id"].astype(str).to_numpy(), entropy))
    columns = min(count, max(1, len(order)))
    figure = _figure(max(6.0, 2.6 * columns), 5.2, title, subtitle)
    grid = figure.subplots(2, columns, sharex=True, sharey=True, squeeze=False)
    if not len(order):
        for axes in grid.flat:
            _nothing(axes)
        return figure
    for row, chosen in zip(grid, (order[:columns], order[-columns:]), strict=True):
        for axes, i in zip(row, chosen, strict=True):
            _bars(axes, target[i], pred[i], labels)
            axes.set_title(f"{scored['utterance_id'].iloc[i]}\n{entropy[i]:.2f} bits", fontsize=8, parse_math=False)
    grid[0, 0].set_ylabel("least ambiguous")
    grid[1, 0].set_ylabel("most ambiguous")
    grid[0, -1].legend(frameon=False, fontsize=8)
    return figure


def entropy_scatter(cell: pd.DataFrame, labels: Sequence[str], title: str, subtitle: str = "") -> Figure:
    """Entropy of the raters against that of the model, one point per utterance."""
    from emoprobe.metrics.functional import METRICS

    figure = _figure(4.4, 4.4, title, subtitle)
    axes = figure.subplots()
    pred, target = _arrays(cell, labels)
    if not len(pred):
        _nothing(axes)
        return figure
    top = np.log2(len(labels))
    axes.plot([0, top], [0, top], color=GREY, lw=1, ls="--")
    axes.scatter(_entropy(target), _entropy(pred), s=14, color=MODEL, alpha=max(0.15, min(0.8, 60 / len(pred))), lw=0)
    rho = float(METRICS["entropy_spearman"](pred, target))
    axes.set_title(f"Spearman's rho {'undefined' if np.isnan(rho) else f'{rho:.2f}'}", fontsize=9)
    axes.set(xlabel="entropy of the raters (bits)", ylabel="entropy of the model (bits)")
    axes.set(xlim=(-0.05, top + 0.05), ylim=(-0.05, top + 0.05), aspect="equal")
    _clean(axes)
    return figure


def reliability(cell: pd.DataFrame, labels: Sequence[str], title: str, subtitle: str = "", bins: int = 10) -> Figure:
    """Predicted probability of a label against the raters' share of it, over all utterances and labels."""
    from emoprobe.metrics.functional import METRICS

    figure = _figure(4.4, 5.0, title, subtitle)
    upper, lower = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
    pred, target = _arrays(cell, labels)
    if not len(pred):
        _nothing(upper)
        _nothing(lower)
        return figure
    which = np.clip(np.ceil(pred * bins) - 1, 0, bins - 1).astype(int)
    counts = np.bincount(which.ravel(), minlength=bins)
    filled = counts > 0
    mean_pred = np.bincount(which.ravel(), pred.ravel(), bins)[filled] / counts[filled]
    mean_share = np.bincount(which.ravel(), target.ravel(), bins)[filled] / counts[filled]
    upper.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    upper.plot(mean_pred, mean_share, color=MODEL, marker="o")
    error = float(METRICS["classwise_ece"](pred, target))
    upper.set_title(f"class-wise calibration error {error:.3f}", fontsize=9)
    upper.set(ylabel="raters' share", xlim=(0, 1), ylim=(0, 1))
    lower.bar((np.arange(bins) + 0.5) / bins, counts, 0.9 / bins, color=GREY)
    lower.set(xlabel="predicted probability", ylabel="pairs")
    for axes in (upper, lower):
        _clean(axes)
    return figure


def overview(rows: Sequence[dict], title: str, subtitle: str = "", metric: str = "js_divergence") -> Figure:
    """Every cell's score, sorted, with floors and reference as vertical lines."""
    from emoprobe.metrics.functional import METRICS
    from emoprobe.report.tables import name_of

    cells = [row for row in rows if row["kind"] == "readout" and np.isfinite(row["metrics"].get(metric, np.nan))]
    sign = -1 if METRICS[metric].higher_is_better else 1
    cells.sort(key=lambda row: sign * row["metrics"][metric])
    left_out = len(cells) - MAX_LINES
    cells = cells[:MAX_LINES]
    figure = _figure(9.0, 1.9 + 0.19 * max(4, len(cells)), title, subtitle)
    axes = figure.subplots()
    if not cells:
        _nothing(axes)
        return figure
    y = np.arange(len(cells))[::-1]
    partial = np.array([row["num_failed"] > 0 for row in cells])
    values = np.array([row["metrics"][metric] for row in cells])
    axes.scatter(values[~partial], y[~partial], color=MODEL, s=22, zorder=3, label="every utterance scored")
    if partial.any():
        axes.scatter(
            values[partial],
            y[partial],
            facecolor="white",
            edgecolor=MODEL,
            s=22,
            zorder=3,
            label="some without a distribution",
        )
    names = ["  ·  ".join(part for part in name_of(row) if part) for row in cells]
    axes.set_yticks(y, names, fontsize=7)
    for text in axes.get_yticklabels():
        text.set_parse_math(False)
    styles = {"uniform": ":", "prior": "--", "majority": "-.", "one_hot_of_top_vote": "-"}
    for row in rows:
        value = row["metrics"].get(metric, np.nan)
        if row["kind"] != "readout" and np.isfinite(value):
            style = styles.get(row["readout"], "-")
            axes.axvline(value, color=HUMAN, ls=style, lw=1.2, label=f"{row['readout']} {value:.3f}")
    arrow = "higher" if METRICS[metric].higher_is_better else "lower"
    more = f"; the best {MAX_LINES} of {MAX_LINES + left_out} are shown" if left_out > 0 else ""
    axes.set_xlabel(f"{metric} ({arrow} is better{more})")
    axes.set_ylim(-1, len(cells))
    axes.grid(axis="y", color="#eeeeee")
    _clean(axes)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def save_figures(
    predictions: pd.DataFrame, rows: Sequence[dict], labels: Sequence[str], folder: Path, subtitle: str
) -> list[Path]:
    """Draw the overview and, for a bounded number of cells, the four cell figures; returns their paths.

    Per model and readout the first and the last calibration are drawn, for the prompt ensemble if there is one, else
    the first prompt, in the readout's first variant: a choice that does not look at the scores.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [_save(overview(rows, "All cells beside their floors", subtitle), folder / "overview.png")]
    kinds = {
        "mean": mean_distribution,
        "clips": extreme_clips,
        "entropy": entropy_scatter,
        "reliability": reliability,
    }
    several = predictions["model"].nunique() > 1
    for row in _chosen(rows):
        names = {key: row[key] for key in ("model", "prompt", "readout", "variant", "calibration")}
        cell = predictions[np.logical_and.reduce([predictions[key] == value for key, value in names.items()])]
        parts = [names["model"]] * several + [names["readout"], names["prompt"], names["calibration"]]
        slug = re.sub(r"[^A-Za-z0-9.=]+", "_", "-".join(parts)).strip("_")
        for kind, draw in kinds.items():
            title = f"{names['readout']} ({names['variant']}), {names['prompt']}, calibration: {names['calibration']}"
            paths.append(_save(draw(cell, labels, title, subtitle), folder / f"{slug}_{kind}.png"))
    return paths


def _chosen(rows: Sequence[dict]) -> list[dict]:
    chosen: dict[tuple, dict] = {}
    for row in rows:
        if row["kind"] != "readout" or not row["num_utterances"]:
            continue
        key = (row["model"], row["readout"], row["calibration"])
        held = chosen.setdefault(key, row)
        first_variant = row["variant"] == held["variant"]
        if first_variant and row["prompt"].startswith("ensemble") and not held["prompt"].startswith("ensemble"):
            chosen[key] = row
    ends: dict[tuple, list[dict]] = {}
    for (model, readout, _), row in chosen.items():
        ends.setdefault((model, readout), []).append(row)
    return [row for group in ends.values() for row in (group[:1] + group[1:][-1:])][:MAX_CELLS]


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=DPI)
    return path
