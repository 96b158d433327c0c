"""Leaderboards of a report: CSV with everything, Markdown and LaTeX for a paper, and figures for print."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emoprobe.metrics.functional import headline_of
from emoprobe.readout.base import names_of
from emoprobe.readout.trained_head import TrainedHead
from emoprobe.report import cell_figures, figures
from emoprobe.report.figures import scatter_by_standing
from emoprobe.report.fitting import fold
from emoprobe.report.found import Entry, Group
from emoprobe.report.style import (
    MODEL,
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
from emoprobe.report.tables import (
    MARKS,
    columns_of,
    escape_markdown,
    footnote,
    format_value,
    mark_of,
    name_of,
    short_name,
)
from emoprobe.report.words import YARDSTICKS, calibration_in_words, readout_in_words
from emoprobe.run.cell import NO_PROMPT, Cell, has_rank, in_words, saw_its_votes
from emoprobe.system.output import write_rows

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MAX_LINES = 60
NAMES = ("model", "prompt", "readout", "calibration", "run")
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    # these would be read as an option of the line break before them
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
} | {sign: f"\\{sign}" for sign in "&%$#_{}"}


def ranked(entries: Sequence[Entry], metric: str, definitions: Mapping[str, Mapping]) -> list[Entry]:
    """Readouts that have a rank from best to worst, then those that failed on a clip, then those that saw the votes
    they are judged by, then all other rows.

    Args:
        entries: Rows of one group.
        metric: What to rank by.
        definitions: Metric -> its definition, with ``higher_is_better``.
    """
    sign = -1 if definitions[metric]["higher_is_better"] else 1

    def place(entry: Entry) -> tuple:
        value = entry.row["metrics"].get(metric, math.nan)
        blind = not saw_its_votes(entry.row["fitted_on"])
        return not blind, not has_rank(entry.row), math.isnan(value), 0 if math.isnan(value) else sign * value

    readouts = sorted((entry for entry in entries if entry.row["kind"] == "readout"), key=place)
    return readouts + [entry for entry in entries if entry.row["kind"] != "readout"]


def ranks(entries: Sequence[Entry], metric: str, definitions: Mapping[str, Mapping]) -> list[str]:
    """Place of every entry among those that have a rank, equal values sharing one; ``no rank`` for the others.

    Args:
        entries: Rows of one group.
        metric: What to rank by.
        definitions: As in `ranked`.
    """
    sign = -1 if definitions[metric]["higher_is_better"] else 1
    found = [
        sign * entry.row["metrics"].get(metric, math.nan) if has_rank(entry.row) else math.nan for entry in entries
    ]
    known = [value for value in found if not math.isnan(value)]
    places = ["no rank" if math.isnan(value) else str(1 + sum(other < value for other in known)) for value in found]
    return [place if entry.row["kind"] == "readout" else "" for entry, place in zip(entries, places, strict=True)]


def best_values(entries: Sequence[Entry], definitions: Mapping[str, Mapping]) -> dict[str, float]:
    """The best value of each metric among readouts that have a rank; metrics without any are not there."""
    best = {}
    for name, definition in definitions.items():
        values = [entry.row["metrics"].get(name, math.nan) for entry in entries if has_rank(entry.row)]
        values = [value for value in values if not math.isnan(value)]
        if values:
            best[name] = max(values) if definition["higher_is_better"] else min(values)
    return best


def names(entry: Entry) -> dict[str, str]:
    """How a row is called: model, prompt, readout, calibration (with marks of what was fitted on test data), run."""
    prompt, readout, calibration = name_of(entry.row)
    run = entry.runs[0].name if len(entry.runs) == 1 else ""
    values = (entry.row["model"], prompt, readout, calibration, run)
    return dict(zip(NAMES, values, strict=True))


def telling(entries: Sequence[Entry]) -> list[str]:
    """Which of `NAMES` tell the readouts apart; ``readout`` always stays."""
    named = [names(entry) for entry in entries if entry.row["kind"] == "readout"]
    return [part for part in NAMES if part == "readout" or len({name[part] for name in named}) > 1]


def footnotes(entries: Sequence[Entry]) -> str:
    """What the marks mean, and everything that the rows say they were fitted on."""
    fitted = sorted({entry.row["fitted_on"] for entry in entries} - {"", *MARKS})
    labels = entries[0].runs[0].record.labels if entries else None
    return footnote([entry.row for entry in entries], headline_of(labels)) + (
        f"   fitted on, in these rows: {'; '.join(fitted)}" if fitted else ""
    )


def printed(entries: Sequence[Entry]) -> list[Entry]:
    """The rows for print: single layers have a figure of their own."""
    layers = names_of("layers")
    return [entry for entry in entries if entry.row["readout"] not in layers]


def columns(group: Group, metric: str) -> list[str]:
    """Metrics of the printed tables: the chosen one first, then the usual ones."""
    usual = [name for name in columns_of(group.labels) if name in group.definitions and name != metric]
    return [metric, *usual]


# -- files -------------------------------------------------------------------------------------------------------------


def write_csv(groups: Sequence[Group], file: Path) -> None:
    """Every row of every group with every metric, interval and fact of provenance, one line each.

    Args:
        groups: The groups; lines of different ones must not be compared.
        file: Where to write.
    """
    metrics = list(dict.fromkeys(name for group in groups for name in group.definitions))
    lines = [_csv_line(group, entry, metrics) for group in groups for entry in group.entries]
    header = list(dict.fromkeys(name for line in lines for name in line))
    write_rows(header, [[line.get(name, "") for name in header] for line in lines], file)


def _csv_line(group: Group, entry: Entry, metrics: Sequence[str]) -> dict:
    row, run = entry.row, entry.runs[0]
    record = run.record
    alone = len(entry.runs) == 1
    line = {
        "group": group.name,
        "corpus": record.corpus.name,
        "synthetic": record.corpus.synthetic,
        "label_set": record.labels.name,
        "label_set_hash": record.label_set_hash,
        "soft_label_policy": record.soft_label_policy.name,
        "policy_hash": record.soft_label_policy.hash,
        "split": record.split,
        "utterances_hash": run.summary.fingerprint,
        "run": " ".join(having.name for having in entry.runs),
        "folder": str(run.folder) if alone else "",
        "seed": record.seed if alone else "",
        "kind": row["kind"],
        **Cell.of(row)._asdict(),
        "fitted_on": row["fitted_on"],
        "num_utterances": row["num_utterances"],
        "num_failed": row["num_failed"],
        "has_rank": has_rank(row) if row["kind"] == "readout" else "",
        "statuses": json.dumps(row["statuses"]) if row["statuses"] else "",
        "mean_label_mass": "" if row["mean_label_mass"] is None else row["mean_label_mass"],
    }
    for name in metrics:
        value = row["metrics"].get(name, math.nan) if name in group.definitions else math.nan
        line[name] = "" if math.isnan(value) else value
        if name in row["intervals"]:
            line[f"{name}_low"], line[f"{name}_high"] = row["intervals"][name]
        for more in ("shuffled", "share_of_range"):
            if name in row[more]:
                line[f"{more}_{name}"] = row[more][name]
        if name in row["range_intervals"]:
            line[f"share_of_range_{name}_low"], line[f"share_of_range_{name}_high"] = row["range_intervals"][name]
    if alone:
        line |= {f"model_{name}": getattr(record.model, name) for name in ("revision", "dtype", "device")}
        line |= {"written": run.run.when, "overrides": " ".join(run.overrides)}
        line |= {f"version_{name}": text for name, text in record.versions.items()}
    return line


def markdown(groups: Sequence[Group], metric: str | None, *, intervals: bool = False) -> str:
    """One table per group, its rows ranked, the best value of each metric bold.

    Args:
        groups: The groups.
        metric: What to rank by; the headline of each group's label set where it is None.
        intervals: Whether to show the intervals of the rows that have them.
    """
    parts = []
    for group in groups:
        lead = metric or headline_of(group.labels)
        shown, chosen = ranked(printed(group.entries), lead, group.definitions), columns(group, lead)
        parts_of_name, best = telling(shown), best_values(shown, group.definitions)
        arrows = [f"{name} {'↑' if group.definitions[name]['higher_is_better'] else '↓'}" for name in chosen]
        lines = [f"## {escape_markdown(group.name)}", "", *(f"* {escape_markdown(t)}" for t in describe(group)), ""]
        lines.append("| " + " | ".join([*parts_of_name, "rank", "n", "failed", *arrows]) + " |")
        lines.append("|" + "---|" * len(parts_of_name) + "---:|" * (3 + len(chosen)))
        for entry, place in zip(shown, ranks(shown, lead, group.definitions), strict=True):
            named = names(entry)
            cells = [escape_markdown(named[part]) for part in parts_of_name]
            cells += [place, str(entry.row["num_utterances"]), str(entry.row["num_failed"])]
            for name in chosen:
                text = _value(entry.row, name, intervals).replace("[", r"\[").replace("]", r"\]")
                cells.append(f"**{text}**" if _is_best(entry.row, name, best) else text)
            lines.append("| " + " | ".join(cells) + " |")
        parts.append("\n".join([*lines, "", escape_markdown(footnotes(shown)), ""]))
    return "\n".join(parts)


def latex(groups: Sequence[Group], metric: str | None, *, intervals: bool = False) -> str:
    r"""One ``table`` per group for a document that loads ``booktabs``, its rows ranked, the best values bold.

    Args:
        groups: The groups.
        metric: What to rank by; the headline of each group's label set where it is None.
        intervals: Whether to show the intervals of the rows that have them.
    """
    parts = [r"% \usepackage{booktabs}; \usepackage{graphicx} for \resizebox; \usepackage[T1]{fontenc}"]
    for group in groups:
        lead = metric or headline_of(group.labels)
        shown, chosen = ranked(printed(group.entries), lead, group.definitions), columns(group, lead)
        parts_of_name, best = telling(shown), best_values(shown, group.definitions)
        arrows = [
            rf"{escape_latex(short_name(name))} "
            rf"$\{'up' if group.definitions[name]['higher_is_better'] else 'down'}arrow$"
            for name in chosen
        ]
        lines, places = [], ranks(shown, lead, group.definitions)
        for i, entry in enumerate(shown):
            if i and (entry.row["kind"] == "readout") != (shown[i - 1].row["kind"] == "readout"):
                lines.append(r"\midrule")
            named = names(entry)
            cells = [escape_latex(named[part]) for part in parts_of_name]
            cells += [places[i], str(entry.row["num_utterances"]), str(entry.row["num_failed"])]
            for name in chosen:
                text = escape_latex(_value(entry.row, name, intervals)).replace("inf", r"$\infty$")
                cells.append(rf"\textbf{{{text}}}" if _is_best(entry.row, name, best) else text)
            lines.append(" & ".join(cells) + r" \\")
        caption = escape_latex("; ".join([*describe(group), footnotes(shown)]))
        parts.append(
            "\n".join(
                [
                    r"\begin{table}",
                    r"\centering",
                    rf"\caption{{{caption}}}",
                    r"\resizebox{\linewidth}{!}{%",
                    rf"\begin{{tabular}}{{{'l' * len(parts_of_name)}{'r' * (3 + len(chosen))}}}",
                    r"\toprule",
                    " & ".join([*parts_of_name, "rank", "n", "failed", *arrows]) + r" \\",
                    r"\midrule",
                    *lines,
                    r"\bottomrule",
                    r"\end{tabular}}",
                    r"\end{table}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def escape_latex(text: str) -> str:
    """Plain text that LaTeX prints as it is."""
    return "".join(LATEX.get(sign, sign) for sign in " ".join(text.split()))


def describe(group: Group) -> list[str]:
    """Corpus, size, label set, policy and split of a group; synthetic corpora say so."""
    record = group.runs[0].record
    mark = " (SYNTHETIC: says nothing about real emotion)" if record.corpus.synthetic else ""
    mark += f" (PART {record.part} of a run)" if record.part else ""
    size = len(group.runs[0].summary.utterances)
    return [
        f"{record.corpus.title}{mark}: {size:,} utterances, split {record.split}",
        f"labels {record.labels.name}: {', '.join(record.labels.labels)}",
        f"soft labels: {record.soft_label_policy.name} ({record.soft_label_policy.hash})",
    ]


def _value(row: Mapping, metric: str, intervals: bool) -> str:
    text = format_value(row["metrics"].get(metric, math.nan))
    ends = row["intervals"].get(metric)
    return f"{text} [{format_value(ends[0])}, {format_value(ends[1])}]" if intervals and ends else text


def _is_best(row: Mapping, metric: str, best: Mapping[str, float]) -> bool:
    return has_rank(row) and row["metrics"].get(metric) == best.get(metric, "none")


# -- figures -----------------------------------------------------------------------------------------------------------


def dot_plot(group: Group, metric: str) -> Figure:
    """Every readout's value with its interval, best at the top; floors, references and ceilings as vertical lines."""
    readouts = [e for e in ranked(printed(group.entries), metric, group.definitions) if e.row["kind"] == "readout"]
    finite = [entry for entry in readouts if math.isfinite(entry.row["metrics"].get(metric, math.nan))]
    shown = finite[:MAX_LINES]
    title = f"{metric}: {group.definitions[metric]['definition']}"
    figure = new_figure(9.0, 1.9 + 0.2 * max(4, len(shown)), title, describe(group)[0])
    axes = figure.subplots()
    if not shown:
        say_nothing(axes, f"no readout has a finite {metric}")
        return figure
    scatter_by_standing(axes, [entry.row for entry in shown], metric)
    for i, entry in enumerate(shown):
        low, high = entry.row["intervals"].get(metric, (math.nan, math.nan))
        if math.isfinite(low) and math.isfinite(high):
            axes.plot([low, high], [len(shown) - 1 - i] * 2, color=MODEL, lw=1.4, zorder=2)
    draw_yardsticks(axes, [entry.row for entry in group.entries], metric)
    parts = [part for part in telling(readouts) if part != "run"]
    if len({tuple(names(entry)[part] for part in parts) for entry in readouts}) < len(readouts):
        parts.append("run")  # only where nothing shorter tells them apart
    named = [[names(entry)[part] for part in parts] for entry in shown]
    labels = ["  ·  ".join(shorten(name, 34) for name in line if name not in ("", "-", "none")) for line in named]
    axes.set_yticks(range(len(shown)), labels[::-1], fontsize=7, parse_math=False)
    more = f"; the best {len(shown)} of {len(finite)} are shown" if len(shown) < len(finite) else ""
    more += f"; {len(readouts) - len(finite)} without a finite value" if len(finite) < len(readouts) else ""
    axes.set_xlabel(metric_label(metric, group.definitions[metric]["higher_is_better"], more), fontsize=8)
    axes.set_ylim(-1, len(shown))
    axes.grid(axis="y", color="#eeeeee")
    tidy(axes)
    add_legend(figure, axes)
    return figure


CHANNELS = {"text": "written", "tokens": "tokens", "classes": "classes", "trained": "trained on votes"}
"""What a readout reads, in the order and the words of `study`."""


def channel_of(row: Mapping) -> str:
    """Whether a readout is of written ``text``, ``tokens``, ``classes``, or of a head ``trained`` on votes."""
    if row["variant"] == TrainedHead.plain:
        return "trained"
    if row["readout"] in names_of("text"):
        return "text"
    return "classes" if row["readout"] in names_of("classes") else "tokens"


def study(group: Group, metric: str) -> Figure:
    """Of each model the best readout of what it writes, of its tokens and classes, and of a probe trained on it, with
    intervals, floors and ceiling: the study in one picture. What failed on some clips says of how many it is.

    Args:
        group: Runs on the same clips.
        metric: By which readouts are chosen, on these very clips; those with a rank before others.
    """
    from emoprobe.report.study import study_figure

    def value(row: Mapping) -> float:
        return row["metrics"].get(metric, math.nan)

    order = list(CHANNELS)
    best: dict[tuple[int, str], Mapping] = {}
    for entry in ranked(printed(group.entries), metric, group.definitions):
        if entry.row["kind"] == "readout" and math.isfinite(value(entry.row)):
            best.setdefault((order.index(channel_of(entry.row)), entry.row["model"]), entry.row)
    several = len({model for _, model in best}) > 1
    rows = [_study_row(CHANNELS[order[i]], best[i, model], metric, several) for i, model in sorted(best)]
    for entry in group.entries:
        kind, name = entry.row["kind"], entry.row["readout"]
        if kind != "readout" and name in YARDSTICKS and math.isfinite(value(entry.row)):
            rows.append({"name": f"{kind}: {name}", "kind": kind, metric: value(entry.row)})
    title = "Text, tokens and trained probes: of each model the best, chosen on these clips"
    return study_figure(rows, title, describe(group)[0], metric)


def _study_row(channel: str, row: Mapping, metric: str, several: bool) -> dict:
    """A row of `study`: readout, then model, prompt and calibration, in words."""
    low, high = row["intervals"].get(metric, (math.nan, math.nan))
    asked = row["num_utterances"] + row["num_failed"]
    failed = f", {row['num_utterances']} of {asked} clips" if row["num_failed"] else ""
    prompt = "" if row["prompt"] == NO_PROMPT else row["prompt"]
    of = in_words([row["model"] if several else "", prompt, calibration_in_words(row["calibration"])])
    name = "\n".join([f"{readout_in_words(Cell.of(row))}{mark_of(row['fitted_on'])}{failed}", *fold(of, 44)])
    return {"name": name, "kind": channel, metric: row["metrics"][metric], f"{metric}_low": low, f"{metric}_high": high}


def save_figures(group: Group, metric: str, folder: Path) -> list[Path]:
    """Write the group's figures as PDF and PNG; returns the files.

    The study in one picture, the dot plot and, if layers were read, their curves; of the best readout that did not see
    the votes it is judged by the figures of a cell.
    """
    folder.mkdir(parents=True, exist_ok=True)
    subtitle = describe(group)[0]
    drawn = {"study": study(group, metric), metric: dot_plot(group, metric)}
    rows = [dict(entry.row) for entry in group.entries]
    if names_of("layers") & {row["readout"] for row in rows}:
        shown = figures.layer_metrics_of(group.labels)
        drawn["layers"] = figures.layers(rows, "The label likelihood, layer by layer", subtitle, shown)
    best = next(iter(ranked(printed(group.entries), metric, group.definitions)), None)
    if best is not None and best.row["kind"] == "readout" and not saw_its_votes(best.row["fitted_on"]):
        frame = _predictions(best)
        title = "best by " + metric + ": " + ", ".join(part for part in names(best).values() if part)
        for kind, draw in cell_figures.kinds_of(group.labels).items():
            drawn[f"best_{kind}"] = draw(frame, group.labels.labels, title, subtitle)
    slug = slug_of(group.name)
    return [
        save(figure, folder / f"{slug}_{name}.{suffix}") for name, figure in drawn.items() for suffix in ("pdf", "png")
    ]


def _predictions(entry: Entry) -> pd.DataFrame:
    """One cell's predictions beside its targets, exact, read again from its run."""
    run = entry.runs[0].run
    found = next(each for each in run.cells() if each.cell == Cell.of(entry.row))
    run.release()
    return found.rows
