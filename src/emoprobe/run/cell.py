"""One cell: what names a row of the metric table, a judgement, a page, a fusion and a comparison alike."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from emoprobe.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

EVALUATED_VOTES, EVALUATED_INPUTS = "evaluated votes", "evaluated inputs"
"""What ``fitted_on`` names where something saw the votes it is judged by, or only the sound of the evaluated clips."""
NO_PROMPT = "-"
"""Prompt of a trained head on the encoder's states, which is asked nothing."""


class Cell(NamedTuple):
    """One way of reading: two rows with the same five names are of the same cell, in whatever table they stand.

    Args:
        model: Name of the model.
        prompt: Name of the prompt, with its label order where it has several; `NO_PROMPT` of what is asked nothing.
        readout: Name of the readout.
        variant: Which reading of its stored answers.
        calibration: Name of the calibration.
    """

    model: str
    prompt: str
    readout: str
    variant: str
    calibration: str

    @classmethod
    def of(cls, row: Mapping) -> Cell:
        """The cell that a row of a table speaks of; texts, whatever their type in the table."""
        return cls(*(str(row[name]) for name in KEYS))

    def __str__(self) -> str:
        """In words, without names that say nothing."""
        return in_words(self)

    @property
    def setting(self) -> dict[str, str]:
        """Everything but the prompt."""
        return {name: getattr(self, name) for name in SETTING}

    def fits(self, choice: Mapping[str, str]) -> bool:
        """Whether the cell has all the names of a choice."""
        return all(getattr(self, name) == value for name, value in choice.items())


KEYS = Cell._fields
"""Columns that name the cell of a row."""
SETTING = tuple(name for name in KEYS if name != "prompt")
"""Everything that makes a cell but its prompt."""


def in_words(names: Sequence[str | None]) -> str:
    """Names with commas between, without those that say nothing."""
    return ", ".join(str(name) for name in names if name not in ("", NO_PROMPT, None))


def by_cell(frame: pd.DataFrame) -> Iterator[tuple[Cell, pd.DataFrame]]:
    """The rows of every cell of a table, cells in the order of their first rows.

    Args:
        frame: With the columns `KEYS`.
    """
    for names, rows in frame.groupby(list(KEYS), observed=True, sort=False, dropna=False):
        yield Cell(*map(str, names)), rows


def cells_of(frame: pd.DataFrame) -> list[Cell]:
    """The cells of a table, in the order of their first rows."""
    return [Cell.of(row) for row in frame[list(KEYS)].drop_duplicates().to_dict("records")]


def rows_of(frame: pd.DataFrame, cells: Collection[Cell]) -> pd.DataFrame:
    """The rows of a table that are of these cells, in the table's order."""
    places = frame.groupby(list(KEYS), observed=True, sort=False, dropna=False).indices
    wanted = set(cells)
    return frame.iloc[sorted(i for names, of in places.items() if Cell(*map(str, names)) in wanted for i in of)]


def telling(cells: Collection[Cell]) -> list[str]:
    """The keys in which these cells differ."""
    return [name for name in KEYS if len({getattr(cell, name) for cell in cells}) > 1]


def read_choice(text: str, option: str) -> dict[str, str]:
    """A choice of cells, such as ``readout=label_likelihood,calibration=none``; empty for all.

    Args:
        text: ``KEY=VALUE`` pairs with commas between.
        option: The option that gave it, for the error.

    Raises:
        InputError: A pair is none, or there is no such key.
    """
    choice = {}
    for pair in filter(str.strip, text.split(",")):
        key, _, value = (part.strip() for part in pair.partition("="))
        if key not in KEYS or not value:
            raise InputError(
                f"{pair.strip()!r} is no choice of cells",
                field=option,
                remedy=f"Give KEY=VALUE pairs with commas between; keys are {', '.join(KEYS)}.",
            )
        choice[key] = value
    return choice


def saw_its_votes(fitted_on: str) -> bool:
    """Whether something was fitted on the very votes that it is judged by: its scores are no result.

    Args:
        fitted_on: Sources joined by " + ", as in every table.
    """
    return EVALUATED_VOTES in fitted_on.split(" + ")


def has_rank(row: Mapping) -> bool:
    """Whether a row of the metric table may be ranked, printed bold, or called the best of anything.

    It is a readout that has a distribution of every clip, since others are scored on other clips, and that did not see
    the votes it is judged by. One that saw the evaluated clips' sound (``*``) or other speakers' votes (``†``) has one.

    Args:
        row: With ``kind``, ``num_failed`` and ``fitted_on``.
    """
    return row["kind"] == "readout" and not row["num_failed"] and not saw_its_votes(row["fitted_on"])
