"""What models write beside what their tokens hold: one short table, one sentence per model, one picture."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from rich.table import Table
from rich.text import Text

from emoprobe.metrics.significance import paired_tests
from emoprobe.prompts.answers.result import STATED
from emoprobe.readout.base import names_of
from emoprobe.readout.trained_head import plain_variants
from emoprobe.report.fitting import LAYOUT
from emoprobe.report.study import study_figure
from emoprobe.report.style import save
from emoprobe.report.tables import DOUBT, doubt_of, escape_markdown, format_value, mark_of, split_layers
from emoprobe.run.cell import Cell, in_words, read_choice
from emoprobe.run.folder import RunFolder
from emoprobe.run.predictions import CellPredictions
from emoprobe.system.output import write_csv, write_text

WRITTEN, TOKENS, CLASSES, FLOOR, CEILING = "written", "tokens", "classes", "floor", "ceiling"
"""Kinds of rows."""
READ = (WRITTEN, TOKENS, CLASSES)
WIDTH, WENT = 100, 28
"""Characters of a line, and at most of how it went, where names need the room."""
METRIC = "js_divergence"
FILE = "text_against_tokens"
FLOORS = ("uniform", "prior")
MARKED = {
    "*": "* fitted on the evaluated clips' inputs",
    "**": "** fitted on the evaluated clips' votes",
    "†": "† fitted on other speakers' votes",
    DOUBT: f"{DOUBT} the ceiling is rough, of few votes",
}
INDENT, HANGING = "  ", "    "
BOND = "\xa0"
HEADERS = ("", "how it went", "JS ↓ and its 95 %", "range", "WA ↑")


# -- numbers -----------------------------------------------------------------------------------------------------------


def contrast_frame(runs: Mapping[str, RunFolder], cells: Sequence[str] = ()) -> pd.DataFrame:
    """One row per readout that is shown, then floors and ceiling; the numbers are those of the runs' own tables.

    Args:
        runs: Name of a part -> its run.
        cells: Choices ``KEY=VALUE,...`` of what is shown, in this order; all but single layers if there is none.

    Returns:
        Columns ``part``, ``kind`` (written, tokens, classes, floor or ceiling), ``name`` (in words), those of `Cell`,
        ``mark`` (of what it was fitted on), ``num_clips``, ``num_failed``, ``went`` (parse statuses, or the label
        mass), ``js_divergence`` with ``_low`` and ``_high`` (95 %), ``range``, ``doubt``, ``wa``. A part's first row of
        what is written, and could be read at all, also has ``difference`` with ``_low`` and ``_high``: its JS minus
        that of the part's first row of tokens, paired, on the ``num_both`` clips that have a distribution in both.
        Parts that have scored other clips than the first have floors of their own.
    """
    wanted = [read_choice(text, "study.cells") for text in cells]
    rows: list[dict] = []
    measured: dict[frozenset, tuple[str, list[dict]]] = {}
    for part, run in runs.items():
        readouts = [row for row in split_layers(run.rows)[0] if row["kind"] == "readout"]
        own = [_readout_row(part, row) for row in _chosen(readouts, wanted)]
        _compare(own, {each.cell: each for each in run.cells()})
        rows += own
        measured.setdefault(frozenset(run.predictions["utterance_id"]), (part, run.rows))
    for part, found in measured.values():
        shown = [row for row in found if row["kind"] == CEILING or (row["kind"], row["readout"]) in _floors()]
        known = any(row["kind"] == CEILING and not math.isnan(row["metrics"][METRIC]) for row in shown)
        rows += [_yardstick_row(part if len(measured) > 1 else "", row, known) for row in shown]
    return pd.DataFrame(rows)


def _floors() -> list[tuple[str, str]]:
    return [(FLOOR, name) for name in FLOORS]


def _chosen(rows: Sequence[dict], wanted: Sequence[Mapping[str, str]]) -> list[dict]:
    """Rows that fit a choice, in the order of the choices; without any all, what is written first."""
    if not wanted:
        return sorted(rows, key=lambda row: row["readout"] not in names_of("text"))
    fits = [next((i for i, choice in enumerate(wanted) if Cell.of(row).fits(choice)), None) for row in rows]
    return [rows[i] for _, i in sorted((fit, i) for i, fit in enumerate(fits) if fit is not None)]


def _readout_row(part: str, row: Mapping) -> dict:
    cell, kind = Cell.of(row), TOKENS
    if cell.readout in names_of("text") | names_of("classes"):
        kind = WRITTEN if cell.readout in names_of("text") else CLASSES
    return {
        "part": part,
        "kind": kind,
        "name": f"{kind}: {reading_in_words(cell)}",
        **cell._asdict(),
        "mark": mark_of(row["fitted_on"]),
        "num_clips": sum(row["statuses"].values()),
        "num_failed": row["num_failed"],
        "went": _went(kind, row),
        **_numbers(row),
        "range": row["share_of_range"].get(METRIC, math.nan),
        "doubt": doubt_of(row),
    }


def reading_in_words(cell: Cell) -> str:
    """How a readout reads which prompt: ``averaged logits, softmax of mean, single_word``; nothing of calibration."""
    readout = "" if cell.readout == "generated_text" else cell.readout.replace("_", " ")
    variant = "" if cell.variant in plain_variants() else cell.variant.replace("_", " ")
    return in_words((readout, variant, cell.prompt))


def _went(kind: str, row: Mapping) -> str:
    """Parse statuses of what was written; of tokens and classes the mean probability of a label at all."""
    statuses = row["statuses"]
    failed = [f"{count} {name.replace('_', ' ')}" for name, count in statuses.items() if name not in STATED]
    if kind != WRITTEN:
        mass = row["mean_label_mass"]
        said = [] if mass is None or math.isnan(mass) else [f"label mass {mass:.2g}"]
        return ", ".join([*said, *failed])
    parsed, asked = sum(count for name, count in statuses.items() if name in STATED), sum(statuses.values())
    return ", ".join([f"parsed {parsed} of {asked}", *failed])


def _yardstick_row(part: str, row: Mapping, has_range: bool) -> dict:
    return {
        "part": part,
        "kind": row["kind"],
        "name": f"{row['kind']}: {row['readout']}",
        "mark": mark_of(row["fitted_on"]) if row["kind"] == FLOOR else "",
        "num_clips": row["num_utterances"],
        "num_failed": 0,
        "went": "",
        **_numbers(row),
        "range": {"prior": 0.0, "human": 1.0}.get(row["readout"], math.nan) if has_range else math.nan,
        "doubt": DOUBT if row["doubt"] else "",
    }


def _numbers(row: Mapping) -> dict[str, float]:
    low, high = row["intervals"].get(METRIC, (math.nan, math.nan))
    found = row["metrics"]
    return {
        METRIC: found.get(METRIC, math.nan),
        f"{METRIC}_low": low,
        f"{METRIC}_high": high,
        "wa": found.get("wa", math.nan),
    }


def _compare(rows: Sequence[dict], cells: Mapping[Cell, CellPredictions]) -> None:
    """Add the paired difference to a part's first row of what is written, where it has one of tokens too."""
    texts, tokens = ([row for row in rows if row["kind"] == kind] for kind in (WRITTEN, TOKENS))
    if not texts or not tokens:
        return
    written = next((row for row in texts if row["num_failed"] < row["num_clips"]), texts[0])
    own = cells[Cell.of(written)]
    other = cells[Cell.of(tokens[0])].in_order(own.utterances)
    pair = {WRITTEN: own.pred, TOKENS: other.pred}
    test = paired_tests(pair, own.target, own.votes, list(own.clusters), METRIC)[0].test
    ends = {"difference": test.difference, "difference_low": test.low, "difference_high": test.high}
    written |= {**ends, "num_both": test.num_utterances, "against": tokens[0]["name"]}


# -- words -------------------------------------------------------------------------------------------------------------


def conclusions(frame: pd.DataFrame) -> list[str]:
    """One sentence per part that writes: which is closer to the raters, its tokens or what it writes."""
    if "num_both" not in frame:
        return []
    return [_conclusion(row) for row in frame[frame["num_both"].notna()].to_dict("records")]


def _conclusion(row: Mapping) -> str:
    written, tokens = (row[key].partition(": ")[2] for key in ("name", "against"))
    part, clips, both = row["part"], row["num_clips"], int(row["num_both"])
    if row["num_failed"] == clips:
        return f"{part}: nothing that it writes states a distribution ({row['went']}); its tokens alone can be judged."
    if not both:
        return f"{part}: no clip has a distribution both in what it writes and in its tokens."
    difference, low, high = (row[key] for key in ("difference", "difference_low", "difference_high"))
    where = f"in JS, paired, on the {both} of {clips} clips where both have a distribution"
    if low <= 0 <= high:
        ends = f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]"
        return (
            f"{part}: what it writes ({written}) and its tokens ({tokens}) are not surely apart: JS differs by {ends}, "
            f"paired, on the {both} of {clips} clips where both have a distribution."
        )
    low, high = sorted((abs(low), abs(high)))
    size = f"{abs(difference):.3f} " + ("(no interval: one speaker)" if math.isnan(low) else f"[{low:.3f}, {high:.3f}]")
    sides = [f"its tokens ({tokens})", f"what it writes ({written})"]
    closer, other = sides if difference > 0 else sides[::-1]
    verb = "are" if difference > 0 else "is"
    return f"{part}: {closer} {verb} {size} closer to the raters than {other}, {where}."


def notes(frame: pd.DataFrame) -> str:
    """What the marks mean that stand in the table."""
    there = {*frame["mark"], *frame["doubt"]}
    return "   ".join(words for mark, words in MARKED.items() if mark in there)


# -- table -------------------------------------------------------------------------------------------------------------


def name_of(row: Mapping) -> str:
    """A row's name, calibrated or not."""
    return f"{row['name']}, {_calibrated(row)}" if _calibrated(row) else f"{row['name']}{row['mark']}{_clips(row)}"


def _calibrated(row: Mapping) -> str:
    calibration = row.get("calibration")
    if not isinstance(calibration, str) or calibration == "none":
        return ""
    return f"{calibration.replace('_', ' ')}-calibrated{row['mark']}"


def _clips(row: Mapping) -> str:
    """Whose clips a floor or a ceiling is of, where the parts have scored different ones."""
    return f" of {row['part']}'s clips" if row["part"] and row["kind"] in (FLOOR, CEILING) else ""


def short_names(records: Sequence[Mapping]) -> list[str]:
    """Names of all rows; only how it was calibrated where the row before is the same reading uncalibrated."""
    names = []
    for before, row in zip([{}, *records], records, strict=False):
        same = all(before.get(key) == row[key] for key in ("part", "name"))
        names.append(_calibrated(row) if same and _calibrated(row) else name_of(row))
    return names


def _cells(row: Mapping) -> tuple[str, str, str, str]:
    """Texts of a row after its name, in the order of `HEADERS`."""
    value = format_value(row[METRIC])
    if not math.isnan(row[f"{METRIC}_low"]):
        value += f" [{format_value(row[f'{METRIC}_low'])}, {format_value(row[f'{METRIC}_high'])}]"
    place = "" if math.isnan(row["range"]) else format_value(row["range"]) + row["doubt"]
    return row["went"], value, place, format_value(row["wa"])


def contrast_table(frame: pd.DataFrame, width: int = WIDTH) -> Table:
    """Rows under the name of their part, floors and ceiling below a rule; names break between words only.

    Args:
        frame: Of `contrast_frame`.
        width: Characters of the terminal; what needs more has more.
    """
    records = frame.to_dict("records")
    names, parts = short_names(records), list(frame["part"])
    went, *numbers = zip(HEADERS[1:], *map(_cells, records), strict=True)
    fixed = sum(map(_longest, numbers)) + 2 * len(HEADERS) - 1
    least = _longest_word([*names, *parts]) + len(HANGING)
    of_went = max(_longest_word(went), min(_longest(went), WENT, width - fixed - least))
    of_names = max(least, min(_longest([*names, *parts]) + len(INDENT), width - fixed - of_went))
    table = Table(**LAYOUT)
    for header, room in zip(HEADERS, (of_names, of_went, *map(_longest, numbers)), strict=True):
        table.add_column(
            _fill(header, room), justify="left" if header in HEADERS[:2] else "right", no_wrap=True, width=room
        )
    for before, row, after, name in zip([{}, *records], records, [*records[1:], {}], names, strict=False):
        is_readout = row["kind"] in READ
        if is_readout and before.get("part") != row["part"]:
            table.add_row(Text(row["part"], "bold"))
        indent = "" if not is_readout else INDENT if name == name_of(row) else HANGING
        said, *values = _cells(row)
        ends = is_readout and after.get("kind") not in READ
        shown = Text(_fill(name, of_names, indent, HANGING)), Text(_fill(said, of_went)), *map(Text, values)
        table.add_row(*shown, end_section=ends)
    return table


def _fill(text: str, room: int, indent: str = "", hanging: str = "") -> str:
    """A text over several lines, broken between words only, and not behind a number."""
    bound = textwrap.fill(
        _bind(text),
        room,
        initial_indent=indent,
        subsequent_indent=hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return bound.replace(BOND, " ")


def _bind(text: str) -> str:
    return re.sub(r"(?<=\d) ", BOND, text)


def _longest(texts: Sequence[str]) -> int:
    return max(map(len, texts))


def _longest_word(texts: Sequence[str]) -> int:
    return max((len(word) for text in texts for word in _bind(text).split(" ")), default=1)


def contrast_markdown(frame: pd.DataFrame) -> str:
    """The table in Markdown, with what it shows in words."""
    lines = ["| " + " | ".join(HEADERS) + " |", "|---|---|" + "---:|" * 3]
    part = ""
    for row in frame.to_dict("records"):
        if row["kind"] in READ and row["part"] != part:
            part = row["part"]
            lines.append(f"| **{escape_markdown(part)}** | | | | |")
        lines.append("| " + " | ".join(map(escape_markdown, (name_of(row), *_cells(row)))) + " |")
    said = [*conclusions(frame), *filter(None, [notes(frame)])]
    return "\n".join(lines) + "\n" + "".join(f"\n{escape_markdown(text)}\n" for text in said)


# -- files -------------------------------------------------------------------------------------------------------------


def save_contrast(frame: pd.DataFrame, folder: Path, subtitle: str) -> list[Path]:
    """Write ``text_against_tokens.csv``, ``.md`` and ``.png``; returns the figure."""
    write_csv(frame, folder / f"{FILE}.csv")
    write_text(contrast_markdown(frame), folder / f"{FILE}.md")
    names = [_fill(name, 40) for name in short_names(frame.to_dict("records"))]
    readouts = frame["kind"].isin(READ)
    drawn = frame.assign(name=names, kind=frame["kind"].where(~readouts, frame["part"]))
    title = "What models write, and what their tokens hold"
    return [save(study_figure(drawn, title, subtitle, METRIC), folder / f"{FILE}.png")]


def for_tracker(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with names that tell the rows of different parts apart."""
    return frame.assign(name=[f"{row['part']} {name_of(row)}".strip() for row in frame.to_dict("records")])


def wrapped(text: str, width: int) -> str:
    """A sentence over several lines, further ones indented."""
    return _fill(text, width, hanging=INDENT)
