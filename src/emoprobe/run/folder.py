"""The one reader of a run folder: everything in it is read once, when it is asked for, and checked before it is given.

A run folder holds the score table, the human side, the record and what was skipped, and what is derived from them:
predictions and the metric table (`emoprobe.run.files`). A later analysis has a folder of its own inside it, with
predictions and a metric table only; it is read like the run itself.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.run import files, integrity, score_integrity, sealing
from emoprobe.run.metric_rows import metrics_frame, read_rows
from emoprobe.run.predictions import CellPredictions, read_cells
from emoprobe.run.record import Record, read_record
from emoprobe.run.scores import count_parts, read_scores
from emoprobe.run.settings import read_told

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from omegaconf import DictConfig


def open_folder(folder: str | Path) -> RunFolder:
    """A run, by its folder or that of a later analysis inside one.

    Raises:
        InputError: The folder holds no run.
    """
    run = RunFolder(Path(folder))
    _ = run.record
    return run


class RunFolder:
    """What a run folder holds; every property raises an `InputError` where what it gives is missing, damaged, or not
    what the run wrote.

    Args:
        folder: The folder, of a run or of a later analysis inside one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        inside = not (folder / files.RECORD).is_file() and (folder.parent / files.RECORD).is_file()
        self.home = folder.parent if inside else folder
        self._noted = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r})"

    # -- what was run ---------------------------------------------------------------------------------------------

    @property
    def is_later_analysis(self) -> bool:
        """Whether the folder is that of a later analysis, inside that of its run."""
        return self.home != self.folder

    @cached_property
    def record(self) -> Record:
        """What was run."""
        return read_record(self.home)

    @property
    def labels(self) -> LabelSet:
        """Its label set."""
        return self.record.labels

    @cached_property
    def config(self) -> DictConfig | None:
        """The configuration it was run with, resolved where the run itself has written it; None where nothing tells.

        What Hydra writes is that of the last command in the folder, refused ones among them.
        """
        from omegaconf import OmegaConf

        told = read_told(self.home)
        if told is not None:
            return OmegaConf.create(dict(told.settings))
        file = self.home / ".hydra" / "config.yaml"
        return cast("DictConfig", OmegaConf.load(file)) if file.is_file() else None

    # -- scores and the human side --------------------------------------------------------------------------------

    @property
    def is_scored(self) -> bool:
        """Whether the score table is whole; else it is that of the finished batches."""
        return (self.home / files.SCORES).is_file()

    @cached_property
    def table(self) -> pa.Table:
        """The score table, of a run that goes on that of its finished batches; see `emoprobe.run.scores.SCHEMA`."""
        scores, file = read_scores(self.home), self.home / files.SCORES
        _, utterances = self._human
        score_integrity.check_scores(scores, file)
        score_integrity.check_counts(scores, utterances, self.skipped if self.is_scored else None, file)
        stated = sealing.stated_of(self.record.files, files.SCORES)
        if stated is None and sealing.stated_of(self.record.files, files.UTTERANCES) is None:
            self._note("an earlier version made it" if self.is_scored else "it did not finish")
        if stated and self.is_scored:  # else its parts were made of it, to go on with
            sealing.check_seal(file, stated, scores)
        _ = self.utterances
        return scores

    @property
    def scores(self) -> pd.DataFrame:
        """The score table as a data frame."""
        return self.table.to_pandas()

    @property
    def has_utterances(self) -> bool:
        """Whether the human side is there."""
        return (self.home / files.UTTERANCES).is_file()

    @cached_property
    def utterances(self) -> pd.DataFrame:
        """The human side, one row per utterance: votes, soft labels, facts."""
        stored, frame = self._human
        stated = sealing.stated_of(self.record.files, files.UTTERANCES)
        if stated:
            sealing.check_seal(self.home / files.UTTERANCES, stated, stored)
        return frame

    @property
    def stored_ids(self) -> list[str]:
        """Ids of the utterances in the human side, whoever wrote it."""
        return _read_parquet(self.home / files.UTTERANCES)["utterance_id"].to_pylist()

    @cached_property
    def _human(self) -> tuple[pa.Table, pd.DataFrame]:
        """The human side as it is stored, and as a data frame that adds up."""
        file = self.home / files.UTTERANCES
        record, stored = self.record, _read_parquet(file)
        frame = stored.to_pandas()
        integrity.check_utterances(frame, record, file)
        return stored, frame

    @property
    def skipped(self) -> set[str]:
        """Ids of what was left out."""
        file = self.home / files.SKIPPED
        if not file.is_file():
            return set()
        with file.open(newline="", encoding="utf-8") as handle:
            return {row.get("utterance_id", "") for row in csv.DictReader(handle)}

    # -- what was derived -----------------------------------------------------------------------------------------

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """One row per utterance and cell: the distribution beside its target, NaN where there is none."""
        file, labels = self.folder / files.PREDICTIONS, self.labels.labels
        stored = _read_parquet(file)
        frame = stored.to_pandas()
        integrity.check_predictions(frame, labels, file)
        sealed = False
        if self.has_utterances:
            integrity.check_human_side(frame, self._human[1], labels, file)
            _ = self.utterances
            sealed = sealing.stated_of(self.record.files, files.UTTERANCES) is not None
        results = self._results
        seal = results.get(sealing.SEAL) if isinstance(results, Mapping) else None
        stated = sealing.stated_of(seal, files.PREDICTIONS)
        if stated:
            sealing.check_seal(file, stated, stored)
        if not (sealed and stated):
            self._note("an earlier version made it")
        return frame

    def cells(self) -> Iterator[CellPredictions]:
        """The predictions cell by cell, in the order of their first rows."""
        return read_cells(self.predictions, self.labels.labels)

    @cached_property
    def rows(self) -> list[dict]:
        """Rows of the metric table, numbers as floats: NaN where undefined."""
        rows = self.stated_rows
        integrity.check_rows(rows, self.predictions, self.labels.labels, self.folder / files.PREDICTIONS)
        return rows

    @cached_property
    def stated_rows(self) -> list[dict]:
        """The same by their own seal alone: the predictions, which may be millions, are not read."""
        found = self._stated_results
        seal = found.get(sealing.SEAL)
        sealed = seal.get(sealing.ROWS) if isinstance(seal, Mapping) else None
        if sealed and sealed != sealing.seal_rows(found["rows"]):
            what = f"{files.METRICS} was edited: its rows are not those that the run wrote"
            raise InputError(what, file=self.folder, remedy=sealing.REMEDY)
        return read_rows(found["rows"])

    @property
    def metrics(self) -> pd.DataFrame:
        """The metric table as a data frame, one row per cell, floor, reference and ceiling."""
        return metrics_frame(self.rows)

    @property
    def definitions(self) -> Mapping[str, Mapping]:
        """Metric -> definition, unit, higher_is_better, as the run had them."""
        return self._stated_results["metrics"]

    @cached_property
    def when(self) -> str:
        """When the metric table was written, ISO 8601."""
        written = (self.folder / files.METRICS).stat().st_mtime
        return datetime.fromtimestamp(written, UTC).isoformat(timespec="minutes")

    @cached_property
    def _results(self) -> Any:
        """What the metric table's file says, whatever it is; None where there is none."""
        file = self.folder / files.METRICS
        if not file.is_file():
            return None
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            detail = getattr(error, "strerror", None) or str(error)
            raise InputError(f"{files.METRICS} cannot be read: {detail}", file=file, remedy=sealing.REMEDY) from error

    @cached_property
    def _stated_results(self) -> Mapping[str, Any]:
        """The same, where it is a metric table of this run."""
        found, file = self._results, self.folder / files.METRICS
        if found is None:
            raise InputError(f"there is no {files.METRICS}: {self.unfinished or 'no results'}", file=self.folder)
        try:
            if Record.from_json(found["run"]).identity != self.record.identity:
                what = f"{files.RECORD} and {files.METRICS} are of different runs"
                raise InputError(what, file=self.folder, remedy=sealing.REMEDY)
            for name, definition in found["metrics"].items():
                bool(definition["higher_is_better"]), str(definition["definition"]), str(definition["unit"]), str(name)
            read_rows(found["rows"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            detail = f"{type(error).__name__}: {error}"
            what = f"{files.METRICS} is not one of emoprobe ({detail})"
            raise InputError(what, file=file, remedy=sealing.REMEDY) from error
        return found

    @property
    def has_results(self) -> bool:
        """Whether the folder claims to have results."""
        return (self.folder / files.METRICS).exists()

    @cached_property
    def unfinished(self) -> str | None:
        """Why the folder has no results; None where it claims to have them, or is none of a run."""
        if self.has_results:
            return None
        parts = count_parts(self.folder)
        if parts:
            return f"interrupted: {parts} finished batches, no metrics; the same command into the same folder goes on"
        if (self.folder / files.SCORES).exists():
            with suppress(InputError):
                if self.record.part and self.record.num_scored == 0:
                    return f"part {self.record.part} of a run, without a clip; emoprobe merge takes it with the others"
            return f"scored but not analysed; emoprobe analyse {self.folder} does it"
        told = read_told(self.folder)
        if told is not None and told.verb == "train":
            return "training was interrupted: no metrics; the same command into the same folder goes on"
        begun = told is not None or (self.folder / files.RECORD).exists()
        return "begun: no scores, no metrics" if begun else None

    def release(self) -> None:
        """Let go of the large tables; they are read, and checked, again when they are asked for."""
        for name in ("table", "predictions", "utterances", "_human"):
            self.__dict__.pop(name, None)

    def _note(self, why: str) -> None:
        if not self._noted:
            print(f"note: {self.folder} holds no checksums ({why}): only what its own sums can show was checked")
        self._noted = True


def _read_parquet(file: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not file.is_file():
        raise InputError(f"{file.name} is missing", file=file, remedy=sealing.REMEDY)
    try:
        return pq.read_table(file)
    except (OSError, ValueError, pa.ArrowException) as error:
        what = f"this is not a readable Parquet file: {' '.join(str(error).split())}"
        raise InputError(what, file=file, remedy=sealing.REMEDY) from error
