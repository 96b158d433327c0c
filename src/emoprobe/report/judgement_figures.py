"""Figures of the judgement: by stratum, between groups, across prompts, between channels, calibration, confusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emoprobe.analysis.clips import floor_predictions
from emoprobe.labels import LabelSet
from emoprobe.metrics.floors import FLOORS
from emoprobe.metrics.functional import METRICS, clip_metric_of, metrics_of
from emoprobe.readout.base import names_of
from emoprobe.report.ambiguity_figures import ambiguity_figure
from emoprobe.report.judgement_panels import (
    MAX_ROWS,
    cell_names,
    confusion_and_mixtures,
    reliability_panels,
    write_beside,
)
from emoprobe.report.style import (
    GREY,
    HUMAN,
    MODEL,
    PALETTE,
    YARDSTICK_LINES,
    metric_label,
    new_figure,
    save,
    say_nothing,
    shorten,
    slug_of,
    tidy,
)
from emoprobe.report.words import YARDSTICKS
from emoprobe.run.cell import SETTING, Cell, cells_of, rows_of, saw_its_votes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "osD^vP*X"
MAX_LINES = 7


def _look(i: int) -> dict[str, Any]:
    return {"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i % len(MARKERS)]}


def _legend(figure: Figure, axes: Axes) -> None:
    """A legend below the axes, in as many columns as its names leave room for."""
    handles, names = axes.get_legend_handles_labels()
    columns = max(1, min(3, int(figure.get_figwidth() / (1.0 + 0.08 * max(map(len, names), default=0)))))
    # What it takes beyond three lines the figure gets more, so that the axes lose nothing.
    rows = -(-len(names) // columns)
    figure.set_figheight(figure.get_figheight() + 0.17 * max(0, rows - 3))
    look: dict[str, Any] = {"loc": "outside lower center", "ncols": columns, "fontsize": 8, "frameon": False}
    look["handlelength"] = 3.6  # a dashed stroke is known by more than one dash
    for text in figure.legend(handles, names, **look).get_texts():
        text.set_parse_math(False)


# -- strata and groups -------------------------------------------------------------------------------------------------


def metric_by_stratum(
    strata: pd.DataFrame,
    title: str,
    subtitle: str = "",
    *,
    metric: str = "js_divergence",
    floors: pd.DataFrame | None = None,
) -> Figure:
    """One line per cell over the strata, with the interval by speakers where there is one.

    Args:
        strata: `emoprobe.analysis.strata.stratify`; the first seven cells are drawn.
        title: First line of the title.
        subtitle: Second line.
        metric: What is drawn.
        floors: The same of `emoprobe.analysis.clips.floor_predictions`.
    """
    strata = strata.assign(_cell=cell_names(strata))
    cells = list(dict.fromkeys(strata["_cell"]))
    order = list(dict.fromkeys(strata["stratum"]))
    figure = new_figure(max(6.0, 1.6 + 0.95 * len(order)), 4.2, title, subtitle)
    axes = figure.subplots()
    if not np.isfinite(strata[metric].to_numpy(np.float64)).any():
        say_nothing(axes)
        return figure
    x = np.arange(len(order))
    for i, name in enumerate(cells[:MAX_LINES]):
        line = strata[strata["_cell"] == name].set_index("stratum").loc[order]
        shift = 0.06 * (i - (min(len(cells), MAX_LINES) - 1) / 2)
        values = line[metric].to_numpy(np.float64)
        axes.plot(x + shift, values, **_look(i), ms=5, lw=1.6, label=name, zorder=3)
        partly = (line["num_failed"] > 0).to_numpy()
        if partly.any():
            look: dict[str, Any] = {"marker": _look(i)["marker"], "edgecolor": _look(i)["color"], "facecolor": "white"}
            axes.scatter((x + shift)[partly], values[partly], **look, s=25, zorder=4)
        if f"{metric}_low" in line.columns:
            ends = line[[f"{metric}_low", f"{metric}_high"]].to_numpy(np.float64).T
            axes.vlines(x + shift, *ends, color=_look(i)["color"], lw=1.2, zorder=2)
    for name in FLOORS:
        if floors is None:
            break
        line = floors[floors["readout"] == name].set_index("stratum")
        values = line.reindex(order)[metric].to_numpy(np.float64)
        values = np.where(np.isfinite(values), values, np.nan)
        axes.plot(x, values, **YARDSTICK_LINES[name], label=YARDSTICKS[name], zorder=1)
    counts = strata.groupby("stratum", sort=False)[["num_utterances", "num_failed"]].sum().sum(axis=1)
    counts = (counts / strata.groupby("stratum", sort=False).size()).round().astype(int)
    names = [f"{_two_lines(name)}\nn = {counts[name]:,}" for name in order]
    axes.set_xticks(x, names, fontsize=8, parse_math=False)
    axes.set_ylabel(metric_label(metric, METRICS[metric].higher_is_better))
    axes.grid(axis="y", color="#eeeeee")
    told = [f"the first {MAX_LINES} of {len(cells)} cells"] * (len(cells) > MAX_LINES)
    told += ["hollow: some clips failed, so others than the floors'"] * bool((strata["num_failed"] > 0).any())
    axes.set_title("; ".join(told), fontsize=8, loc="right")
    tidy(axes)
    _legend(figure, axes)
    return figure


def _two_lines(name: str) -> str:
    """Broken after a colon, or before the unit, so that neighbours do not touch."""
    if ": " in name:
        return name.replace(": ", "\n", 1)
    return shorten(name, 16)


def group_gaps(
    strata: pd.DataFrame, gaps: pd.DataFrame, title: str, subtitle: str = "", *, metric: str = "js_divergence"
) -> Figure:
    """The groups of every cell on one line, and beside it the gap between best and worst with its interval.

    Args:
        strata: `emoprobe.analysis.strata.stratify`.
        gaps: `emoprobe.analysis.strata.gaps` of the same cells, groups and metric; the first twenty cells are drawn.
        title: First line of the title.
        subtitle: Second line.
        metric: What is drawn.
    """
    strata, gaps = strata.assign(_cell=cell_names(strata)), gaps.assign(_cell=cell_names(gaps))
    groups = [name for name in dict.fromkeys(strata["stratum"]) if _filled(strata, name)]
    shown = gaps.head(MAX_ROWS)
    figure = new_figure(9.0, 1.5 + 0.42 * len(shown), title, subtitle)
    axes = figure.subplots()
    y = np.arange(len(shown))[::-1]
    for place, name in zip(y, shown["_cell"], strict=True):
        values = strata.loc[strata["_cell"] == name, metric].to_numpy(np.float64)
        values = values[np.isfinite(values)]
        if len(values):
            axes.plot([values.min(), values.max()], [place, place], color="#bbbbbb", lw=2, zorder=1)
    for i, group in enumerate(groups):
        line = strata[strata["stratum"] == group].set_index("_cell")[metric].reindex(shown["_cell"])
        axes.scatter(line.to_numpy(np.float64), y, **_look(i), s=34, lw=0, label=shorten(group), zorder=3)
    axes.set_yticks(y, shown["_cell"], fontsize=8, parse_math=False)
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.set_xlabel(metric_label(metric, METRICS[metric].higher_is_better))
    write_beside(axes, y, [_gap_text(row) for row in shown.to_dict("records")], "gap [interval]; by chance")
    axes.grid(axis="x", color="#eeeeee")
    tidy(axes)
    _legend(figure, axes)
    return figure


def _filled(strata: pd.DataFrame, name: str) -> bool:
    return bool((strata.loc[strata["stratum"] == name, "num_utterances"] > 0).any())


def _gap_text(row: Mapping) -> str:
    if not np.isfinite(row["gap"]):
        return "fewer than two groups"
    chance = f"; {row['gap_by_chance']:.3f}" if np.isfinite(row["gap_by_chance"]) else ""
    interval = f" [{row['gap_low']:.3f}, {row['gap_high']:.3f}]" if np.isfinite(row["gap_low"]) else ""
    return f"{row['gap']:.3f}{interval}{chance}"


# -- prompts -----------------------------------------------------------------------------------------------------------


def prompt_robustness(between: pd.DataFrame, scores: pd.DataFrame, title: str, subtitle: str = "") -> Figure:
    """Left how far prompts are apart on single utterances, right how far every prompt is from the raters.

    Boxes hold the middle half of the utterances, whiskers the middle 90 percent; the best and the worst prompt are
    named, unless they saw the votes they are judged by. Single layers are left out, and all but the first twenty
    settings.

    Args:
        between: `emoprobe.analysis.robustness.between_prompts`.
        scores: `emoprobe.analysis.robustness.prompt_scores`.
        title: First line of the title.
        subtitle: Second line.
    """
    between, scores = (frame[~frame["readout"].isin(names_of("layers"))] for frame in (between, scores))
    names = list(dict.fromkeys(cell_names(scores, SETTING))) if len(scores) else []
    shown = names[:MAX_ROWS]
    figure = new_figure(9.5, 1.3 + 0.55 * max(2, len(shown)), title, subtitle)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[2, 3])
    if not shown:
        for axes in (left, right):
            say_nothing(axes, "no setting has two prompts")
        return figure
    between, scores = between.assign(_s=cell_names(between, SETTING)), scores.assign(_s=cell_names(scores, SETTING))
    y = np.arange(len(shown))[::-1]
    drawn = [between.loc[between["_s"] == name, "js_between"].dropna().to_numpy(np.float64) for name in shown]
    left.boxplot(
        drawn,
        positions=y,
        orientation="horizontal",
        widths=0.5,
        whis=(5, 95),
        showfliers=False,
        medianprops={"color": MODEL, "lw": 1.6},
    )
    middle = scores["js_divergence"].agg(["min", "max"]).mean()
    for place, name in zip(y, shown, strict=True):
        rows = scores[(scores["_s"] == name) & scores["js_divergence"].notna()].sort_values("js_divergence")
        values = rows["js_divergence"].to_numpy(np.float64)
        if not len(values):
            continue
        seen = rows["fitted_on"].astype(str).map(saw_its_votes).any()
        right.plot(values[[0, -1]], [place, place], color="#bbbbbb", lw=2, zorder=1)
        right.scatter(values, np.full(len(values), place), color=GREY if seen else HUMAN, s=22, lw=0, zorder=3)
        if seen:
            right.text(values[-1], place, "  ** no rank", va="center", fontsize=7)
            continue
        # The best below its dot, the worst above: side by side they would run into each other.
        for end, away, edge in ((0, -0.15, "top"), (-1, 0.15, "bottom"))[: len(values)]:
            look = {"ha": "left" if values[end] < middle else "right", "va": edge, "fontsize": 7, "parse_math": False}
            right.text(values[end], place + away, shorten(str(rows["prompt"].iloc[end])), **look)
    left.set_yticks(y, shown, fontsize=8, parse_math=False)
    left.set_ylim(-0.6, len(shown) - 0.3)
    left.set_xlabel("JS between prompts\n(mean over pairs, per utterance)")
    right.set_xlabel("JS from the raters\n(lower is better; one dot per prompt)")
    left.set_xlim(left=0)
    right.margins(x=0.12)
    if not scores["js_divergence"].notna().any():
        say_nothing(right, "no utterance has a distribution from every prompt")
        right.set_xlabel("")
    if len(shown) < len(names):
        right.set_title(f"the first {len(shown)} of {len(names)} settings", fontsize=8, loc="right")
    for axes in (left, right):
        axes.grid(axis="x", color="#eeeeee")
        tidy(axes)
    return figure


# -- text against tokens -----------------------------------------------------------------------------------------------


def text_against_tokens(clips: pd.DataFrame, agreement: pd.DataFrame, title: str, subtitle: str = "") -> Figure:
    """Left single utterances under the first comparison, right the paired difference of every comparison.

    Args:
        clips: `emoprobe.analysis.channels.channel_clips`.
        agreement: `emoprobe.analysis.channels.channel_agreement`; the first twenty rows with utterances that both
            readouts gave a distribution are drawn.
        title: First line of the title.
        subtitle: Second line.
    """
    from emoprobe.analysis.channels import PAIR

    usable = agreement[agreement["num_both"] > 0] if len(agreement) else agreement
    shown = usable.head(MAX_ROWS)
    figure = new_figure(10.0, max(4.0, 1.8 + 0.36 * len(shown)), title, subtitle)
    left, right = figure.subplots(1, 2, width_ratios=[3, 4])
    if not len(shown):
        for axes in (left, right):
            say_nothing(axes, "no utterance has a text and a token distribution")
        return figure
    first = shown.iloc[0]
    of_first = np.logical_and.reduce([clips[name] == first[name] for name in PAIR])
    both = clips[of_first & clips["has_token"].astype(bool) & clips["has_text"].astype(bool)]
    alpha = max(0.15, min(0.8, 60 / len(both)))
    left.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    left.scatter(both["js_token"], both["js_text"], s=14, color=MODEL, alpha=alpha, lw=0, clip_on=False)
    left.set(xlim=(0, 1), ylim=(0, 1), box_aspect=1)
    left.set_xlabel(f"JS of {first['token_readout']}\n(calibration: {first['token_calibration']})")
    left.set_ylabel(f"JS of {first['text_readout']}")
    missing = int(first["num_only_token"] + first["num_neither"])
    left.set_title(f"n = {len(both):,}; {missing:,} more without a text distribution", fontsize=8, loc="right")
    y = np.arange(len(shown))[::-1]
    values, low, high = (shown[f"text_minus_token{end}"].to_numpy(np.float64) for end in ("", "_low", "_high"))
    right.axvline(0, color=GREY, lw=1, ls="--")
    right.hlines(y, low, high, color=HUMAN, lw=1.4)
    right.scatter(values, y, color=HUMAN, s=24, zorder=3)
    right.set_yticks(y, _pair_names(shown), fontsize=7, parse_math=False)
    right.set_ylim(-0.7, len(shown) - 0.3)
    right.set_xlabel("JS of the text minus JS of the tokens\n(above 0: the tokens are nearer to the raters)")
    texts = [f"{row.agreement:.0%} · {row.js_between:.2f} · {row.num_both:,}" for row in shown.itertuples()]
    write_beside(right, y, texts, "same top label ·\nJS between · n", size=7)
    for axes in (left, right):
        tidy(axes)
    return figure


def _pair_names(agreement: pd.DataFrame) -> list[str]:
    """What differs between the comparisons; all of it if there is one."""
    from emoprobe.analysis.channels import PAIR
    from emoprobe.readout.trained_head import plain_variants

    agreement = agreement[list(PAIR)].astype(str)
    for variant in ("token_variant", "text_variant"):
        agreement[variant] = agreement[variant].mask(agreement[variant].isin(plain_variants()), "")
    varying = [name for name in PAIR if agreement[name].nunique() > 1] or ["token_readout", "text_readout"]
    lines = [[name for name in varying if name.startswith("text_") == of_text] for of_text in (False, True)]
    rows = agreement.to_dict("records")
    return ["\n".join(filter(None, (_joined(row, names) for names in lines))) for row in rows]


def _joined(row: Mapping[str, str], names: Sequence[str]) -> str:
    return shorten(" · ".join(filter(None, (row[name] for name in names))), 44)


# -- files -------------------------------------------------------------------------------------------------------------


def drawn_cells(predictions: pd.DataFrame) -> list[Cell]:
    """The cells that figures of single cells show: of every model and readout the first and the last calibration.

    In the first variant, of the arithmetic prompt ensemble if there is one, else of the first mean over label orders,
    else of the first prompt: a choice that does not look at the scores. Single layers are left out; at most seven.
    """
    kept: list[Cell] = []
    for group in _by_readout([cell for cell in cells_of(predictions) if cell.readout not in names_of("layers")]):
        first = [cell for cell in group if cell.variant == group[0].variant]
        prompt = max(first, key=_breadth).prompt
        of_prompt = [cell for cell in first if cell.prompt == prompt]
        kept += dict.fromkeys((of_prompt[0], of_prompt[-1]))
    return kept[:MAX_LINES]


def _breadth(cell: Cell) -> int:
    """How much of the other prompts a prompt stands for."""
    return 2 * cell.prompt.startswith("ensemble_arithmetic") + ("@mean(" in cell.prompt)


def _by_readout(cells: Sequence[Cell]) -> list[list[Cell]]:
    """The cells of every model and readout, in the order of their first ones."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.model, cell.readout), []).append(cell)
    return list(groups.values())


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG and as PDF with its letters as type, not as outlines; returns the files."""
    from matplotlib import rc_context

    folder.mkdir(parents=True, exist_ok=True)
    with rc_context({"pdf.fonttype": 42}):
        return [save(figure, folder / f"{name}{suffix}") for suffix in (".png", ".pdf")]


def save_judgement_figures(
    predictions: pd.DataFrame,
    utterances: pd.DataFrame,
    labels: LabelSet,
    folder: Path,
    subtitle: str,
    *,
    facts: Sequence[str] = (),
) -> list[Path]:
    """Compute and draw everything of this file that a run allows; of points of a scale no confusions.

    Args:
        predictions: ``predictions.parquet`` of a run.
        utterances: ``utterances.parquet`` of the run.
        labels: The run's label set.
        folder: Where to write; made if it is not there.
        subtitle: Title of the corpus, shown in every figure.
        facts: Facts about speakers by which groups are compared.

    Returns:
        The files, a PNG and a PDF of each figure.
    """
    from emoprobe.analysis import channels, robustness, strata

    chosen, names = drawn_cells(predictions), labels.labels
    single = rows_of(predictions, chosen)
    paths: list[Path] = []
    metric, metrics = clip_metric_of(labels), metrics_of(labels)
    what = "JS divergence" if labels.scale is None else "Earth mover's distance"
    by = "entropy" if labels.scale is None else "mean"
    of_floors = floor_predictions(predictions, utterances, names)
    table, floors = (
        strata.stratify(of, utterances, names, by=by, metric=metric, metrics=metrics) for of in (single, of_floors)
    )
    figure = metric_by_stratum(table, f"{what} by {by} of the raters", subtitle, metric=metric, floors=floors)
    paths += save_figure(figure, folder, f"strata_{by}")
    for fact in facts:
        how: dict[str, Any] = {"by": f"fact:{fact}", "metric": metric}
        table = strata.stratify(single, utterances, names, metrics=metrics, **how)
        gaps = strata.gaps(single, utterances, names, **how)
        figure = group_gaps(table, gaps, f"{what} by {fact}", subtitle, metric=metric)
        paths += save_figure(figure, folder, f"gaps_{slug_of(fact)}")
    between, scores = robustness.between_prompts(predictions, names), robustness.prompt_scores(predictions, names)
    if len(scores):
        figure = prompt_robustness(between, scores, "What changes with the prompt", subtitle)
        paths += save_figure(figure, folder, "prompts")
    figure = ambiguity_figure(single, utterances, labels, subtitle)
    paths += save_figure(figure, folder, "ambiguity")
    clips, agreement = channels.channel_clips(single, names), channels.channel_agreement(single, names)
    if len(agreement):
        title = "What the model writes against its token probabilities"
        figure = text_against_tokens(clips, agreement, title, subtitle)
        paths += save_figure(figure, folder, "text_against_tokens")
    for i, group in enumerate(_by_readout(chosen)):
        first, last = group[0], group[-1]
        slug = f"{i + 1:02d}_{slug_of(first.readout)}"
        title = ", ".join(filter(None, (first.model, first.readout, first.variant, first.prompt)))
        figure = reliability_panels(channels.reliability(rows_of(single, group), names), names, title, subtitle)
        paths += save_figure(figure, folder, f"{slug}_reliability")
        if labels.scale is not None:
            continue
        rows = rows_of(single, [last])
        confusion, mixtures = channels.expected_confusion(rows, names), channels.missed_mixtures(rows, names)
        title += f", calibration: {last.calibration}"
        figure = confusion_and_mixtures(confusion, mixtures, names, title, subtitle)
        paths += save_figure(figure, folder, f"{slug}_confusion")
    return paths
