"""The table and the figure of what beliefs follow (`emoprobe.analysis.controls`)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from emoprobe.readout.trained_head import plain_variants
from emoprobe.report.fitting import Column, FittingTable
from emoprobe.report.style import PALETTE, new_figure, save, shorten, tidy
from emoprobe.report.tables import escape_markdown, format_value

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

NAMES = ("control", "prompt", "readout")
HEADERS = {
    "num_utterances": "n",
    "moved": "moved",
    "js_own": "JS own",
    "js": "JS",
    "worse": "worse",
    "toward_donor": "to donor",
    "toward_donor_raters": "to its raters",
}
NOTE = (
    "moved: JS between the belief about the clip and about what it was changed to   JS own, JS: from the raters, "
    "without and with the control   worse: their difference   to donor, to its raters: how much nearer the belief is "
    "to the clip that lent its sound or words   *: p < .05 after Holm, paired by speakers"
)


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the readouts that a table of results shows by their plain names."""
    return table[table["variant"].isin(plain_variants())] if len(table) else table


def _text(row: pd.Series, name: str) -> str:
    if name == "num_utterances":
        return str(int(row[name]))
    value = row.get(name, math.nan)
    star = "*" if row.get(f"{name}_p_holm", math.nan) < 0.05 else ""
    return "" if value != value else format_value(value) + star


def controls_table(table: pd.DataFrame) -> FittingTable:
    """For the console: a row per control and readout."""
    shown = [row for _, row in _shown(table).iterrows()]
    varies = [name for name in NAMES if name == "control" or len({row[name] for row in shown}) > 1]
    columns = [Column(name, [Text(str(row[name]).replace("_", " ")) for row in shown], is_name=True) for name in varies]
    columns += [Column(header, [Text(_text(row, name)) for row in shown]) for name, header in HEADERS.items()]
    last = [i for i, row in enumerate(shown[:-1]) if row["control"] != shown[i + 1]["control"]]
    return FittingTable(columns, last, NOTE)


def controls_markdown(table: pd.DataFrame, title: str) -> str:
    """The same in Markdown, every variant of every readout."""
    names = (*NAMES, "variant")
    lines = [f"# What beliefs follow: {escape_markdown(title)}", ""]
    lines += ["| " + " | ".join([*names, *HEADERS.values()]) + " |"]
    lines += ["|" + "---|" * len(names) + "---:|" * len(HEADERS)]
    for _, row in table.iterrows():
        cells = [escape_markdown(str(row[name])) for name in names]
        cells += [_text(row, name).replace("*", r"\*") for name in HEADERS]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", escape_markdown(NOTE), ""])


def save_controls(table: pd.DataFrame, folder: Path, title: str) -> list[Path]:
    """One figure, PDF and PNG: how far each control moves the belief, and toward whom."""
    shown = _shown(table)
    controls = list(dict.fromkeys(shown["control"]))
    cells = list(dict.fromkeys(zip(shown["prompt"], shown["readout"], strict=True)))
    figure = new_figure(9.0, 1.6 + 0.16 * len(controls) * max(2, len(cells)), "What the belief follows", title)
    left, right = figure.subplots(1, 2, sharey=True)
    for number, cell in enumerate(cells):
        rows = shown[(shown["prompt"] == cell[0]) & (shown["readout"] == cell[1])].set_index("control")
        offset = 0.7 * ((number + 0.5) / len(cells) - 0.5)
        look = {"color": PALETTE[number % len(PALETTE)], "marker": "osD^vP"[number % 6]}
        label = shorten(" · ".join(part for part in cell if part), 40)
        _draw(left, rows, controls, "moved", offset, look, label)
        _draw(right, rows, controls, "toward_donor", offset, look, None)
    left.set_yticks(range(len(controls)), [name.replace("_", " ") for name in controls], parse_math=False)
    left.invert_yaxis()
    left.set_xlabel("JS between the belief about the clip\nand about what it was changed to", fontsize=8)
    left.set_xlim(left=0)
    right.set_xlabel("follows its own clip  <  0  <  follows what was changed\n(JS to own belief minus JS to donor's)")
    right.xaxis.label.set_fontsize(8)
    right.axvline(0, color="#777777", lw=1)
    for axes in (left, right):
        axes.grid(axis="y", color="#eeeeee")
        tidy(axes)
    legend = figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=7)
    legend.set_frame_on(False)
    return [save(figure, folder / f"controls.{suffix}") for suffix in ("pdf", "png")]


def _draw(
    axes: Axes, rows: pd.DataFrame, controls: list[str], name: str, offset: float, look: dict, label: str | None
) -> None:
    for place, control in enumerate(controls):
        if control not in rows.index or not math.isfinite(rows.loc[control, name]):
            continue
        low, high = rows.loc[control, f"{name}_low"], rows.loc[control, f"{name}_high"]
        if math.isfinite(low):
            axes.plot([low, high], [place + offset] * 2, color=look["color"], lw=1.2)
        axes.plot(rows.loc[control, name], place + offset, ls="", ms=4, label=label, **look)
        label = None
