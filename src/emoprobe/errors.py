"""Errors that a user can act on: what is wrong, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class EmoprobeError(Exception):
    """Base of every error that emoprobe raises on purpose; entry points print it without a traceback."""


class InputError(EmoprobeError, ValueError):
    """Something the user gave is wrong.

    Args:
        what: What was wrong, as a full clause without a final stop.
        file: The file concerned.
        row: The row as a person counts it: the header is row 1 of a CSV, line 1 is the first line of a text file.
        field: The column, option or config key concerned.
        remedy: What to do about it, as a full sentence.
    """

    def __init__(
        self,
        what: str,
        *,
        file: str | Path | None = None,
        row: int | None = None,
        field: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.what, self.file, self.row, self.field, self.remedy = what, file, row, field, remedy
        where = [
            f"{name} {value}" for name, value in (("file", file), ("row", row), ("field", field)) if value is not None
        ]
        message = what + (f" ({', '.join(where)})" if where else "") + "."
        super().__init__(f"{message} {remedy}" if remedy else message)

    def of_file(self, file: str | Path) -> InputError:
        """The same error, said of a file unless it names one."""
        return (
            self if self.file else InputError(self.what, file=file, row=self.row, field=self.field, remedy=self.remedy)
        )


class WeightsError(EmoprobeError):
    """A model's weights are missing, damaged or not what they claim to be."""


def some(names: Sequence[str], most: int = 3) -> str:
    """The first few of many names, and how many more there are.

    >>> some(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
