"""Tables that a console of any width prints whole."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

NARROW = 16
"""Characters to which a name may be folded before the numbers go to a further table below."""

# No rules between columns: they would take two characters of each.
LAYOUT: dict[str, Any] = {
    "box": box.HORIZONTALS,
    "padding": (0, 1, 0, 0),
    "show_edge": False,
    "caption_justify": "left",
}


@dataclass(frozen=True)
class Column:
    """Header and one cell per row; names are left-aligned and may fold, numbers stay whole.

    An optional column is shown where everything else has room without folding.
    """

    header: str
    cells: list[Text]
    is_name: bool = False
    is_optional: bool = False

    @property
    def width(self) -> int:
        """Characters of the longest line."""
        return max(Text(self.header).cell_len, *(cell.cell_len for cell in self.cells), 1)


class FittingTable(Table):
    """A table that a narrow console prints as several, each with all names and some numbers: nothing is cut off.

    Args:
        columns: Names first, then numbers.
        ends: Rows behind which a line is drawn.
        caption: Below it.
    """

    def __init__(self, columns: Sequence[Column], ends: Collection[int], caption: str | None) -> None:
        super().__init__(**LAYOUT, caption=caption)
        self._columns_given, self._ends = columns, frozenset(ends)
        _fill(self, columns, [None] * len(columns), self._ends)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        names = [column for column in self._columns_given if column.is_name]
        numbers = self._columns_given[len(names) :]
        if _width_of(self._columns_given) + _gaps(self._columns_given) > options.max_width:
            numbers = [column for column in numbers if not column.is_optional]
        blocks = _blocks(names, numbers, options.max_width)
        for i, block in enumerate(blocks):
            last = i == len(blocks) - 1
            table = Table(**LAYOUT, caption=self.caption if last else None)
            cap = max(1, _highest_cap(names, options.max_width - _width_of(block) - _gaps(names, block)))
            widths = [*(min(column.width, cap) for column in names), *(column.width for column in block)]
            _fill(table, [*names, *block], widths, self._ends)
            yield from table.__rich_console__(console, options)
            if not last:
                yield ""


def _fill(table: Table, columns: Sequence[Column], widths: Sequence[int | None], ends: Collection[int]) -> None:
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column.header, justify="left" if column.is_name else "right", overflow="fold", width=width)
    for i, cells in enumerate(zip(*(column.cells for column in columns), strict=True)):
        table.add_row(*cells, end_section=i in ends)


def _blocks(names: Sequence[Column], numbers: Sequence[Column], width: int) -> list[list[Column]]:
    """Number columns that fit side by side next to the names, in order; at least one in each block."""
    blocks: list[list[Column]] = [[]]
    least = sum(min(column.width, NARROW) for column in names)
    for column in numbers:
        wider = [*blocks[-1], column]
        if blocks[-1] and least + _width_of(wider) + _gaps(names, wider) > width:
            blocks.append([])
        blocks[-1].append(column)
    return blocks


def _width_of(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns)


def _gaps(*groups: Sequence[Column]) -> int:
    """Characters between columns: one of padding after each and one where a rule would stand."""
    return 2 * sum(map(len, groups)) - 1


def _highest_cap(names: Sequence[Column], room: int) -> int:
    """The highest common limit that makes the names fit, so that only the longest fold; 0 if there is none."""
    caps = range(max((column.width for column in names), default=0), 0, -1)
    return next((cap for cap in caps if sum(min(column.width, cap) for column in names) <= room), 0)
