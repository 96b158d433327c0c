"""Tables that a console of any width prints whole."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

NARROW = 16
"""Characters to which a name may be folded before the numbers go to a further table below."""
WORD = re.compile(r"\S*(?:\s+·)?\s*")
PIECE = re.compile(r"[^\s_.·,/=@]*[\s_.·,/=@]*")
"""A part of a word and the separators behind it: names break behind these and nowhere else."""

# No rules between columns: they would take two characters of each.
LAYOUT: dict[str, Any] = {
    "box": box.HORIZONTALS,
    "padding": (0, 1, 0, 0),
    "show_edge": False,
    "caption_justify": "left",
}


def fold(text: str, room: int) -> list[str]:
    """Lines of a name, broken at spaces, or behind ``_ . · , / = @`` where a word has no room, never elsewhere.

    Only a part that is longer than the room is cut, where it is full, so that nothing is lost.

    Args:
        text: The name.
        room: Characters of a line, at least one; wide characters count twice.

    >>> fold("label_likelihood.softmax_of_mean", 20)
    ['label_likelihood.', 'softmax_of_mean']
    """
    lines = [""]
    for word in filter(None, WORD.findall(text)):
        pieces = [word] if cell_len(word.rstrip()) <= room else [p for p in PIECE.findall(word) if p]
        for piece in pieces:
            _put(lines, piece, room)
    return [line.rstrip() for line in lines]


def _put(lines: list[str], piece: str, room: int) -> None:
    """Add a piece to the last line, or to further ones."""
    if cell_len((lines[-1] + piece).rstrip()) <= room:
        lines[-1] += piece
        return
    if lines[-1].strip():
        lines.append("")
    for sign in piece:
        if lines[-1] and cell_len((lines[-1] + sign).rstrip()) > room:
            lines.append("")
        lines[-1] += sign


def longest_piece(texts: Sequence[str]) -> int:
    """Characters of the longest part that `fold` would keep whole."""
    return max((cell_len(piece.rstrip()) for text in texts for piece in PIECE.findall(text)), default=1)


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

    @property
    def least(self) -> int:
        """Characters below which it would rather stand in a table with fewer numbers: a name keeps its words whole."""
        if not self.is_name:
            return self.width
        words = longest_piece([self.header, *(cell.plain for cell in self.cells)])
        return min(self.width, max(NARROW, min(words, 2 * NARROW)))


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
            of_names = _widths(names, options.max_width - _width_of(block) - _gaps(names, block))
            widths = [*of_names, *(column.width for column in block)]
            _fill(table, [*names, *block], widths, self._ends)
            yield from table.__rich_console__(console, options)
            if not last:
                yield ""


def _fill(table: Table, columns: Sequence[Column], widths: Sequence[int | None], ends: Collection[int]) -> None:
    for column, width in zip(columns, widths, strict=True):
        header = column.header if width is None else "\n".join(fold(column.header, width))
        table.add_column(header, justify="left" if column.is_name else "right", overflow="fold", width=width)
    folded = [
        [
            cell if width is None or not column.is_name else Text("\n".join(fold(cell.plain, width)))
            for cell in column.cells
        ]
        for column, width in zip(columns, widths, strict=True)
    ]
    for i, cells in enumerate(zip(*folded, strict=True)):
        table.add_row(*cells, end_section=i in ends)


def _blocks(names: Sequence[Column], numbers: Sequence[Column], width: int) -> list[list[Column]]:
    """Number columns that fit side by side next to the names, in order; at least one in each block."""
    blocks: list[list[Column]] = [[]]
    least = sum(column.least for column in names)
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


def _widths(names: Sequence[Column], room: int) -> list[int]:
    """Of the names: the highest common limit that makes them fit, so that only the longest fold, and words stay whole.

    Where there is no room for whole words, they are cut.
    """
    for least in ([column.least for column in names], [1] * len(names)):
        for cap in range(max((column.width for column in names), default=0), 0, -1):
            widths = [min(column.width, max(cap, low)) for column, low in zip(names, least, strict=True)]
            if sum(widths) <= room:
                return widths
    return [1] * len(names)
