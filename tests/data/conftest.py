"""Fixtures shared by the tests of the data room."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet

SIX = ("anger", "disgust", "fear", "happy", "neutral", "sad")


@pytest.fixture(scope="session")
def six() -> LabelSet:
    """The six labels of CREMA-D, with adjectives as aliases."""
    aliases = {"angry": "anger", "happiness": "happy"}
    return LabelSet("six", SIX, {label: {"noun": (label,)} for label in SIX}, aliases)


@pytest.fixture(scope="session")
def refused() -> Callable[..., InputError]:
    """Calls something that must refuse its input, and checks what a user is told: what, file, row, field, remedy."""

    def check(
        call: Callable[[], object],
        what: str,
        *,
        file: Path | None,
        row: int | None = None,
        field: str | None = None,
        remedy: str,
        reason: str | None = None,
    ) -> InputError:
        with pytest.raises(InputError) as caught:
            call()
        error = caught.value
        assert what in error.what
        assert (error.file, error.row, error.field) == (file, row, field)
        assert remedy in (error.remedy or "")
        for part in (error.what, file, f"row {row}" if row else None, field, error.remedy):
            assert part is None or str(part) in str(error)
        if reason is not None:
            assert error.reason == reason
        return error

    return check


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows as CSV, TSV, JSONL or Parquet."""

    def to(rows: list[dict], suffix: str = "csv", name: str = "table") -> Path:
        path = tmp_path / f"{name}.{suffix}"
        if suffix == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        elif suffix == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        else:
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if suffix == "tsv" else ",")
                writer.writeheader()
                writer.writerows(rows)
        return path

    return to


@pytest.fixture
def workbook() -> Callable[..., Path]:
    """Writes a spreadsheet with rows by sheet."""
    openpyxl = pytest.importorskip("openpyxl")

    def to(path: Path, **sheets: list[list]) -> Path:
        made = openpyxl.Workbook()
        made.remove(made.active)
        for name, rows in sheets.items():
            sheet = made.create_sheet(name)
            for row in rows:
                sheet.append(row)
        made.save(path)
        return path

    return to
