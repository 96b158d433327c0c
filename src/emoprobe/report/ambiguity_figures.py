"""Ambiguity as an outcome, in one figure: calibration of entropy, selective answers, the next rater."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from emoprobe.beliefs.targets import make_targets
from emoprobe.labels import LabelSet
from emoprobe.metrics.functional import clip_metric_of
from emoprobe.report.judgement_panels import cell_names
from emoprobe.report.style import GREY, PALETTE, add_legend, metric_label, new_figure, say_nothing, tidy
from emoprobe.run.cell import KEYS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "osD^vP*"
RESAMPLES = 1000
THEIRS = {"minus_others": ("the other raters' shares", "o"), "minus_majority": ("their majority label", "s")}


def ambiguity_figure(predictions: pd.DataFrame, utterances: pd.DataFrame, labels: LabelSet, subtitle: str) -> Figure:
    """Left how often raters differ where the model expects it; middle risk by coverage; right against the next rater.

    Of the next rater the Brier score is drawn, which is never infinite.

    Args:
        predictions: ``predictions.parquet`` of a run; every cell is drawn.
        utterances: ``utterances.parquet`` of the run.
        labels: The run's label set.
        subtitle: Second line of the title.
    """
    from emoprobe.analysis import ambiguity
    from emoprobe.analysis.next_rater import next_rater

    names, metric = labels.labels, clip_metric_of(labels)
    human = ambiguity.human_side(make_targets(utterances, labels))
    calibration = ambiguity.entropy_calibration(predictions, names, human, resamples=RESAMPLES)
    risk: dict[str, Any] = {"metric": metric, "categories": False}
    curves = ambiguity.risk_coverage(predictions, names, human, **risk)
    areas = ambiguity.selective_answering(predictions, names, human, **risk, resamples=RESAMPLES)
    raters = next_rater(predictions, names, human, resamples=RESAMPLES)
    figure = new_figure(12.0, 4.6, "Ambiguity: the model's and the raters'", subtitle)
    left, middle, right = figure.subplots(1, 3, width_ratios=[4, 4, 5])
    looks = _looks(calibration)
    _differing(left, calibration, looks)
    _risk(middle, curves, areas, looks, metric)
    _raters(right, raters[raters["score"] == "brier"] if len(raters) else raters, looks)
    for axes in (left, middle, right):
        tidy(axes)
    if looks:
        add_legend(figure, left)
    return figure


def _looks(frame: pd.DataFrame) -> dict[tuple, dict[str, Any]]:
    """Colour, marker and name of every cell, the same in all panels."""
    named = dict(zip(frame[list(KEYS)].itertuples(index=False, name=None), cell_names(frame), strict=True))
    return {
        cell: {"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i % len(MARKERS)], "label": name}
        for i, (cell, name) in enumerate(named.items())
    }


def _cells(frame: pd.DataFrame, looks: Mapping[tuple, dict]) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    if not len(frame):
        return []
    groups = dict(iter(frame.groupby(list(KEYS), observed=True, sort=False, dropna=False)))
    return [(look, groups[cell]) for cell, look in looks.items() if cell in groups]


def _differing(axes: Axes, calibration: pd.DataFrame, looks: Mapping[tuple, dict]) -> None:
    bins = calibration[calibration["bin"] > 0]
    if "disagreement_gap" not in bins or not bins["disagreement_gap"].notna().any():
        say_nothing(axes, "no clip has two single ratings")
        return
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    for look, rows in _cells(bins, looks):
        x, y = rows["predicted_disagreement"].to_numpy(), rows["human_disagreement"].to_numpy()
        # The gap is predicted less human, so its upper end is the lowest share of raters who differ.
        low, high = x - rows["disagreement_gap_high"].to_numpy(), x - rows["disagreement_gap_low"].to_numpy()
        axes.plot(x, y, **look, ms=5, lw=1.4)
        axes.vlines(x, low, high, color=look["color"], lw=1)
    axes.set(xlim=(0, 1), ylim=(0, 1), box_aspect=1)
    axes.set_xlabel("expected by the model: 1 - sum of p squared")
    axes.set_ylabel("two raters differ")
    axes.set_title("Do raters differ where the model is unsure?", fontsize=8)


def _risk(axes: Axes, curves: pd.DataFrame, areas: pd.DataFrame, looks: Mapping[tuple, dict], metric: str) -> None:
    if not len(curves):
        say_nothing(axes)
        return
    gains = {tuple(row[key] for key in KEYS): row for row in areas.to_dict("records")}
    for look, rows in _cells(curves, looks):
        axes.plot(rows["coverage"], rows["value"], color=look["color"], lw=1.6)
        axes.plot(rows["coverage"], rows["oracle"], color=look["color"], lw=0.9, ls=":")
        every = dict(zip(KEYS, next(rows[list(KEYS)].itertuples(index=False, name=None)), strict=True))
        row = gains.get(tuple(every.values()), {})
        sure = row.get("gain_low", np.nan) > 0
        axes.scatter(
            [1.0],
            rows["value"].iloc[-1:],
            color=look["color"] if sure else "white",
            marker=look["marker"],
            edgecolor=look["color"],
            s=26,
            zorder=3,
            clip_on=False,
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(
        "share of clips answered, the most confident first\n(dotted: every loss known; hollow: no gain shown)"
    )
    axes.set_ylabel(metric_label(metric, False))
    axes.set_title("Is it right where it is confident?", fontsize=8)
    axes.grid(axis="y", color="#eeeeee")


def _raters(axes: Axes, raters: pd.DataFrame, looks: Mapping[tuple, dict]) -> None:
    shown = _cells(raters, looks)
    if not shown:
        say_nothing(axes, "no clip has two single ratings")
        return
    axes.axvline(0, color=GREY, lw=1, ls="--")
    y = np.arange(len(shown))[::-1]
    for place, (look, rows) in zip(y, shown, strict=True):
        for shift, (name, (_, marker)) in zip((0.12, -0.12), THEIRS.items(), strict=True):
            row = rows.iloc[0]
            axes.hlines(place + shift, row[f"{name}_low"], row[f"{name}_high"], color=look["color"], lw=1.4)
            full = look["color"] if marker == "o" else "white"
            axes.scatter([row[name]], [place + shift], marker=marker, color=full, edgecolor=look["color"], zorder=3)
    axes.set_yticks(y, [look["label"] for look, _ in shown], fontsize=7, parse_math=False)
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.set_xlabel("Brier score of the next vote, model less raters\n(below 0: the model predicts it better)")
    words = ", ".join(f"{'full' if marker == 'o' else 'hollow'}: {text}" for text, marker in THEIRS.values())
    axes.set_title(f"Against {words}", fontsize=8)
