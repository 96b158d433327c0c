"""The metric table as a run prints it: the few columns that decide, whole on a terminal of any width."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from emoprobe.labels import LabelSet
from emoprobe.metrics.functional import METRICS, headline_of
from emoprobe.models.text import TEXT_ONLY
from emoprobe.report.conclusion import conclusion
from emoprobe.report.fitting import fold, longest_piece
from emoprobe.report.tables import (
    DEAF,
    DOUBT,
    ONE_SPEAKER,
    best_value,
    doubt_of,
    mark_of,
    only_means,
    short_name,
    split_layers,
    written_of,
)
from emoprobe.report.words import YARDSTICKS, readout_in_words, short_value
from emoprobe.run.cell import NO_PROMPT, Cell, has_rank, saw_its_votes
from emoprobe.run.metric_rows import measures_of

MOST = 20
"""Readouts that are shown; all are in the full table and in ``metrics.csv``."""
WIDTH = 100
"""Characters of a table that is printed into a file, and of sentences."""
NAME = 24
"""Characters of a name on a terminal that has no room for more, if its words need as many."""
SCORES = ("vote_nll", "brier"), "wa"
SCORES_OF_SCALES = ("vote_nll", "emd"), "rmse"
"""Proper or otherwise telling scores beside the headline, the second where there is room, and one that says how often
or how far a single answer is off."""
BETTER, BELOW_PRIOR, BELOW_UNIFORM, FAILING, NOTHING, KNOWING = range(6)
HEADINGS = {
    BELOW_PRIOR: "below the prior floor",
    BELOW_UNIFORM: "below the uniform floor",
    FAILING: "failed on some clips, scored on the others: no rank",
    NOTHING: "without a value",
    KNOWING: "saw the votes they are judged by: no rank",
}
MARKED = {
    "*": "* fitted on the evaluated clips' inputs",
    "†": "† fitted on the votes of other speakers",
    "**": "** fitted on the evaluated clips' votes",
    DOUBT: f"{DOUBT} the ceiling is rough, of too few clips or raters",
}
GAP = 2
BOND = "\xa0"


def standing(row: Mapping, rows: Sequence[Mapping], metric: str) -> int:
    """Where a readout stands beside the floors of its own clips: ``BETTER``, ``BELOW_PRIOR`` or ``BELOW_UNIFORM``.

    Args:
        row: The readout.
        rows: All rows of its table.
        metric: What counts.
    """
    value, sign = row["metrics"].get(metric, math.nan), -1 if METRICS[metric].higher_is_better else 1
    floors = measures_of(row, rows)
    for name, place in (("uniform", BELOW_UNIFORM), ("prior", BELOW_PRIOR)):
        if sign * value > sign * floors.get(name, {}).get(metric, math.nan):  # false where there is no such floor
            return place
    return BETTER


@dataclass(frozen=True)
class _Column:
    """Numbers below a header.

    Args:
        header: May take two lines.
        text: What stands in a row.
        metric: Whose best value is bold.
        is_optional: Shown where names still have room.
    """

    header: str
    text: Callable[[Mapping], str]
    metric: str = ""
    is_optional: bool = False

    def width(self, rows: Sequence[Mapping]) -> int:
        return max([longest_piece([self.header]), *(len(self.text(row)) for row in rows)])


class ShortTable:
    """One conclusion, what all readouts share, the best readouts in order, then floors and ceiling.

    Readouts that are worse than a floor of their own clips stand under a heading that says so. Names break between
    words only.

    Args:
        rows: `emoprobe.analysis.rows.make_rows`; single layers only make the sentence above.
        labels: For the metrics; categories where it is None.
        most: Readouts that are shown.
    """

    def __init__(self, rows: Sequence[Mapping], labels: LabelSet | None = None, *, most: int = MOST) -> None:
        self._rows, self._metric = rows, headline_of(labels)
        self._scores, self._answer = SCORES if labels is None or labels.scale is None else SCORES_OF_SCALES
        self._readouts = [row for row in split_layers(rows)[0] if row["kind"] == "readout"]
        found = sorted(self._readouts, key=self._place)
        self._shown, self._left_out = found[:most], found[most:]
        order = list(YARDSTICKS)
        self._yardsticks = sorted(
            (row for row in rows if row["kind"] != "readout" and row["readout"] in order),
            key=lambda row: order.index(row["readout"]),
        )

    def _section(self, row: Mapping) -> int:
        """The place of a readout: one of `HEADINGS`, or ``BETTER``."""
        if saw_its_votes(row["fitted_on"]):
            return KNOWING
        if math.isnan(row["metrics"].get(self._metric, math.nan)):
            return NOTHING
        return standing(row, self._rows, self._metric) if has_rank(row) else FAILING

    def _place(self, row: Mapping) -> tuple:
        value, sign = row["metrics"].get(self._metric, math.nan), -1 if METRICS[self._metric].higher_is_better else 1
        return self._section(row), 0 if math.isnan(value) else sign * value

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self.lines(options.max_width):
            line.no_wrap = True
            yield line

    def lines(self, width: int) -> list[Text]:
        """The table for a terminal of so many characters; wider where its words and numbers need it."""
        said = [conclusion(self._rows, self._metric), self._shared()]
        lines = [line for text in filter(None, said) for line in _wrapped(text, width)]
        columns = self._fitting(width)
        rows = [*self._shown, *self._yardsticks]
        widths = [column.width(rows) for column in columns]
        names = [self._name(row) for row in rows]
        room = max(1, width - sum(widths) - GAP * len(widths))
        heads = ["readout"] if self._readouts else [""]
        least = min(longest_piece(names) + 2, NAME)
        of_names = min(max(room, least), max(cell_len(name) for name in [*names, *heads]))
        total = of_names + sum(widths) + GAP * len(widths)
        lines += [Text("")] * bool(lines)
        lines += _side_by_side(
            heads, [_header(column.header, w) for column, w in zip(columns, widths, strict=True)], of_names, widths
        )
        lines.append(Text("─" * total))
        before = BETTER
        for row, name in zip(rows, names, strict=True):
            place = self._section(row) if row["kind"] == "readout" else len(HEADINGS) + 1
            if place != before and self._shown:
                heading = f"── {HEADINGS[place]} " if place in HEADINGS else ""
                lines.append(Text(heading + "─" * (total - len(heading))))
                before = place
            cells = [[Text(column.text(row), self._style(row, column.metric))] for column in columns]
            lines += _side_by_side(_hanging(name, of_names), cells, of_names, widths)
        lines.append(Text(""))
        return lines + [line for text in self._notes(columns) for line in _wrapped(text, width)]

    # -- columns -------------------------------------------------------------------------------------------------------

    def _fitting(self, width: int) -> list[_Column]:
        """The columns, optional ones where the names stay whole beside them."""
        columns, rows = self._columns(), [*self._shown, *self._yardsticks]
        longest = max((cell_len(self._name(row)) for row in rows), default=1)
        for optional in [column for column in reversed(columns) if column.is_optional]:
            if longest + sum(GAP + column.width(rows) for column in columns) <= width:
                break
            columns.remove(optional)
        return columns

    def _columns(self) -> list[_Column]:
        columns = []
        if not self._same_clips():
            columns.append(_Column("n", lambda row: str(row["num_utterances"])))
            columns.append(_Column("failed", lambda row: str(row["num_failed"]) if row["kind"] == "readout" else ""))
        ends = any(row.get("intervals") for row in self._rows)
        columns.append(_Column(_arrow(self._metric) + " [95 %]" * ends, self._with_ends, self._metric))
        if any(row.get("share_of_range") for row in self._readouts):
            columns.append(_Column("range", self._share))
        first, second = self._scores
        columns.append(_Column(_arrow(first), _value_of(first), first))
        columns.append(_Column(_arrow(second), _value_of(second), second, is_optional=True))
        columns.append(_Column(_arrow(self._answer), _value_of(self._answer), self._answer))
        if any(row.get("mean_label_mass") is not None for row in self._readouts):
            columns.append(_Column("label mass", _mass, is_optional=True))
        return columns

    def _with_ends(self, row: Mapping) -> str:
        text, ends = short_value(row["metrics"].get(self._metric, math.nan)), row.get("intervals", {}).get(self._metric)
        return text if ends is None else f"{text} [{short_value(ends[0])}, {short_value(ends[1])}]"

    def _share(self, row: Mapping) -> str:
        share = row.get("share_of_range", {}).get(self._metric, math.nan)
        return "" if math.isnan(share) else short_value(share) + doubt_of(row)

    def _style(self, row: Mapping, metric: str) -> str:
        best = best_value(self._readouts, metric) if metric else None
        return "bold" if best is not None and has_rank(row) and row["metrics"].get(metric) == best else ""

    # -- words ---------------------------------------------------------------------------------------------------------

    def _varies(self, name: str) -> bool:
        return len({row[name] for row in self._readouts}) > 1

    def _same_clips(self) -> bool:
        return not self._varies("num_utterances") and not any(row["num_failed"] for row in self._readouts)

    def _name(self, row: Mapping) -> str:
        """A readout by what tells it apart; a floor, reference or ceiling in words. Marks stand behind."""
        mark = mark_of(row["fitted_on"])
        if row["kind"] != "readout":
            clips = {other["num_utterances"] for other in self._readouts} | {row["num_utterances"]}
            of = f" of {row['num_utterances']} clips" if len(clips) > 1 and self._same_clips() else ""
            mark = {"floor": mark, "ceiling": DOUBT if row.get("doubt") else ""}.get(row["kind"], "")
            return YARDSTICKS[row["readout"]] + mark + of
        parts = [readout_in_words(Cell.of(row))]
        parts += [row[name] for name in ("model", "prompt") if self._varies(name) and row[name] != NO_PROMPT]
        if self._varies("calibration") and row["calibration"] != "none":
            parts.append(row["calibration"].replace("_", " "))
        below = HEADINGS.get(standing(row, self._rows, self._metric), "") if self._section(row) == FAILING else ""
        return " · ".join(parts) + mark + (f" ({below} of its clips)" if below else "")

    def _shared(self) -> str:
        """What does not vary, said once."""
        if not self._readouts:
            return ""
        row = self._readouts[0]
        parts = [row["model"]] if not self._varies("model") else []
        if not self._varies("prompt") and row["prompt"] != NO_PROMPT:
            parts.append(f"prompt {row['prompt']}")
        if self._varies("calibration"):
            parts.append("uncalibrated unless a calibration is named")
        else:
            name = row["calibration"].replace("_", " ")
            parts.append("uncalibrated" if name == "none" else f"calibration {name}")
        if self._same_clips():
            parts.append(f"{row['num_utterances']:,} clips, none failed")
        return f"All readouts: {' · '.join(parts)}"

    def _notes(self, columns: Sequence[_Column]) -> list[str]:
        """What is left out, and what marks and columns mean."""
        rows, name = [*self._shown, *self._yardsticks], short_name(self._metric)
        notes = []
        if self._left_out:
            notes.append(f"{len(self._left_out)} more readouts are in metrics.csv; table=full prints all.")
        parts = ["bold: best readout that failed on no clip and did not see the votes"] * bool(
            best_value(self._readouts, self._metric) is not None
        )
        if any(row.get("intervals") for row in rows):
            parts.append("95 %: speakers resampled")
        if any(column.header == "range" for column in columns):
            parts.append(f"range: place of {name} between the prior floor (0) and the human ceiling (1)")
        parts.append(
            "vote NLL, of the raters' votes, is a proper score" + (f"; {name} is none" if name == "JS" else "")
        )
        marks = {mark_of(row["fitted_on"]) for row in rows if row["kind"] in ("readout", "floor")}
        marks |= {DOUBT} if any(row.get("doubt") for row in rows) else set()
        parts += [words for mark, words in MARKED.items() if mark in marks]
        parts += [DEAF.strip()] * any(TEXT_ONLY in (row["model"] or "") for row in rows)
        parts += [ONE_SPEAKER.strip()] * any(row.get("num_speakers") == 1 for row in self._yardsticks)
        parts += [*only_means(self._rows), *filter(None, [written_of(self._rows).strip()])]
        return [*notes, " · ".join(parts)]


def _arrow(metric: str) -> str:
    return f"{short_name(metric)} {'↑' if METRICS[metric].higher_is_better else '↓'}"


def _value_of(metric: str) -> Callable[[Mapping], str]:
    return lambda row: short_value(row["metrics"].get(metric, math.nan))


def _mass(row: Mapping) -> str:
    mass = row.get("mean_label_mass")
    return "" if mass is None else "-" if math.isnan(mass) else f"{mass:.2g}"


def _wrapped(text: str, width: int) -> list[Text]:
    bound = re.sub(r"(?<=\d) (?=%)", BOND, text)
    lines = textwrap.wrap(bound, min(width, WIDTH), break_long_words=False, break_on_hyphens=False)
    return [Text(line.replace(BOND, " ")) for line in lines]


def _header(text: str, width: int) -> list[Text]:
    return [Text(line) for line in textwrap.wrap(text, width, break_long_words=False)]


def _hanging(name: str, width: int) -> list[str]:
    """A name over as many lines as it needs, further ones indented."""
    first, *rest = fold(name, width)
    return [first, *(f"  {line}" for line in fold(name[len(first) :].lstrip(), max(1, width - 2)))] if rest else [first]


def _side_by_side(
    name: Sequence[str], cells: Sequence[Sequence[Text]], of_names: int, widths: Sequence[int]
) -> list[Text]:
    """A row's lines: its name to the left, its numbers to the right of their columns."""
    lines = []
    for i in range(max([len(name), *map(len, cells)])):
        line = Text(name[i] if i < len(name) else "")
        line.append(" " * (of_names - line.cell_len))
        for cell, width in zip(cells, widths, strict=True):
            text = cell[i] if i < len(cell) else Text("")
            line.append(" " * (GAP + width - text.cell_len))
            line.append_text(text)
        line.rstrip()
        lines.append(line)
    return lines
