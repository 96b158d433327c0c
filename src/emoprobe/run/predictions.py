"""A predictions table cell by cell: what every function of analysis, comparison and report starts from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from emoprobe.errors import InputError
from emoprobe.run.cell import KEYS, Cell, by_cell

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class CellPredictions:
    """The rows of one cell: a distribution per utterance beside its target, votes and speaker.

    Args:
        cell: Which.
        rows: Its rows of the predictions table.
        labels: Labels of the run, in order.
    """

    cell: Cell
    rows: pd.DataFrame
    labels: tuple[str, ...]

    @cached_property
    def fitted_on(self) -> str:
        """What the cell was fitted on, sources of all its rows joined by " + "."""
        return " + ".join(sorted(set(self.rows["fitted_on"].astype(object).fillna("")) - {""}))

    @cached_property
    def utterances(self) -> np.ndarray:
        """Utterance ids, ``[utterances]``."""
        return self.rows["utterance_id"].astype(str).to_numpy(dtype=object)

    @cached_property
    def known(self) -> np.ndarray:
        """Whether the speaker is known, ``[utterances]``."""
        return (self.rows["speaker"].notna() & (self.rows["speaker"].astype(str) != "")).to_numpy()

    @cached_property
    def clusters(self) -> np.ndarray:
        """Speaker of each utterance; an utterance of nobody known is its own cluster, ``[utterances]``."""
        return np.array(clusters_of(self.rows.set_index("utterance_id")), dtype=object)

    @cached_property
    def pred(self) -> np.ndarray:
        """Predicted probabilities, NaN where there is no distribution, ``[utterances, labels]``."""
        return self._shares("p")

    @cached_property
    def target(self) -> np.ndarray:
        """Human probabilities, ``[utterances, labels]``."""
        return self._shares("target")

    @cached_property
    def votes(self) -> np.ndarray:
        """Vote counts, ``[utterances, labels]``."""
        return self._shares("votes")

    @property
    def scored(self) -> np.ndarray:
        """Which utterances have a distribution, ``[utterances]``."""
        return np.isfinite(self.pred).all(axis=1)

    @property
    def status(self) -> np.ndarray:
        """What became of each answer, ``[utterances]``."""
        return self.rows["status"].astype(str).to_numpy(dtype=object)

    @property
    def label_mass(self) -> np.ndarray | None:
        """Probability of the answer being a label, ``[utterances]``; None where the readout has none."""
        if "label_mass" not in self.rows:
            return None
        mass = self.rows["label_mass"].to_numpy(np.float64)
        return mass if np.isfinite(mass).any() else None

    @property
    def texts(self) -> list[str | None] | None:
        """What the model wrote, ``[utterances]``; None where the readout writes nothing."""
        if "generated_text" not in self.rows or self.rows["generated_text"].isna().all():
            return None
        written = self.rows["generated_text"]
        return [None if gone else str(text) for text, gone in zip(written, written.isna(), strict=True)]

    @property
    def head(self) -> dict[str, str]:
        """What every row about this cell begins with."""
        return {**self.cell._asdict(), "fitted_on": self.fitted_on}

    def in_order(self, utterances: Iterable[str]) -> CellPredictions:
        """The cell's rows of these utterances, in their order."""
        place = {name: i for i, name in enumerate(self.utterances)}
        return CellPredictions(self.cell, self.rows.iloc[[place[name] for name in utterances]], self.labels)

    def _shares(self, prefix: str) -> np.ndarray:
        return self.rows[[f"{prefix}_{label}" for label in self.labels]].to_numpy(np.float64)


def check_columns(frame: pd.DataFrame, columns: Sequence[str], name: str) -> None:
    """Refuse a table that lacks a column.

    Raises:
        InputError: A column is missing.
    """
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise InputError(
            f"the {name} have no column {missing[0]!r}",
            field=missing[0],
            remedy=f"Give the {name} of a run folder and the labels of that run.",
        )


def read_cells(predictions: pd.DataFrame, labels: Sequence[str]) -> Iterator[CellPredictions]:
    """The cells of a predictions table, in the order of their first rows.

    Args:
        predictions: Predictions of a run.
        labels: Labels of the run, in order.

    Raises:
        InputError: A column is missing, or a cell holds an utterance twice.
    """
    shares = [f"{prefix}_{label}" for prefix in ("p", "target", "votes") for label in labels]
    check_columns(predictions, [*KEYS, "fitted_on", "utterance_id", "speaker", *shares], "predictions")
    for cell, rows in by_cell(predictions):
        repeated = rows["utterance_id"].duplicated()
        if repeated.any():
            raise InputError(
                f"utterance {rows['utterance_id'][repeated].iloc[0]!r} stands twice in one cell",
                field="utterance_id",
                remedy="Give the predictions of one run, or tell runs apart by their model names.",
            )
        yield CellPredictions(cell, rows, tuple(labels))


def clips_of(predictions: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """The human side of every utterance once, index = utterance id.

    Args:
        predictions: Predictions of a run.
        labels: Labels of the run, in order.

    Raises:
        InputError: A column is missing, or the same utterance has two targets.
    """
    shares = [f"{prefix}_{label}" for prefix in ("target", "votes") for label in labels]
    check_columns(predictions, ["utterance_id", *shares], "predictions")
    clips = predictions.drop_duplicates(["utterance_id", *shares])
    repeated = clips["utterance_id"].duplicated()
    if repeated.any():
        raise InputError(
            f"utterance {clips['utterance_id'][repeated].iloc[0]!r} has different votes in different rows",
            field="utterance_id",
            remedy="Give predictions of one corpus under one soft-label policy.",
        )
    return clips.set_index("utterance_id")


def clusters_of(frame: pd.DataFrame) -> list[str]:
    """Whose errors stand or fall together: the speaker of each utterance, or the utterance where nobody knows it.

    Args:
        frame: With a column ``speaker`` and the utterance ids as its index.
    """
    speakers = frame["speaker"].astype(object)
    known = speakers.notna() & (speakers.astype(str) != "")
    return [
        f"speaker {who}" if there else f"utterance {name}"
        for name, who, there in zip(frame.index, speakers, known, strict=True)
    ]
