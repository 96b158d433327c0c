"""Text files whose entries are blocks of lines, such as a clip with a line of every rater."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

Line = tuple[int, str]
"""Its number and its text."""


def blocks_of(lines: Iterable[Line], begins: Callable[[str], object]) -> Iterator[list[Line]]:
    """What lies between blank lines, or begins with a line that begins an entry.

    Args:
        lines: `emoprobe.data.reading.files.text_lines`, as far as they count.
        begins: Whether a line is the first of an entry.
    """
    block: list[Line] = []
    for row, line in lines:
        if block and (not line.strip() or begins(line)):
            yield block
            block = []
        if line.strip():
            block.append((row, line))
    if block:
        yield block
