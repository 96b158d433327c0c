"""A run is read through one door: lazily, once, and by nothing else."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from reporting.runs import PLAIN, TEXT, make_human, make_probs, make_record, write_json, write_run

import emoprobe
from emoprobe.errors import InputError
from emoprobe.run import files
from emoprobe.run.cell import Cell, by_cell, cells_of, read_choice, rows_of, telling
from emoprobe.run.finding import find_runs
from emoprobe.run.folder import open_folder
from emoprobe.run.record import Record

HOUSE = Path(emoprobe.__file__).parent
NAMES = (files.RECORD, files.SCORES, files.PARTS, files.UTTERANCES, files.SKIPPED, files.PREDICTIONS, files.METRICS)
HUMAN = make_human(30)
CELLS = {PLAIN: make_probs(30, seed=1), TEXT: make_probs(30, seed=2, failed=[3, 4])}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", HUMAN, CELLS)


def test_everything_a_run_holds_is_asked_of_one_object(run):
    opened = open_folder(run)
    assert opened.record.corpus.name == "made"
    assert opened.labels.labels == ("anger", "happy", "neutral", "sad")
    pd.testing.assert_frame_equal(opened.predictions, pd.read_parquet(run / "predictions.parquet"))
    pd.testing.assert_frame_equal(opened.utterances, pd.read_parquet(run / "utterances.parquet"))
    assert [each.cell for each in opened.cells()] == [Cell(*PLAIN), Cell(*TEXT)] == cells_of(opened.predictions)
    for each in opened.cells():
        np.testing.assert_array_equal(each.pred, CELLS[each.cell])
        assert list(each.utterances) == HUMAN["utterance_id"].tolist()
    assert [Cell.of(row) for row in opened.rows if row["kind"] == "readout"] == [PLAIN, TEXT]
    metrics = opened.metrics
    assert metrics["js_divergence"].tolist() == [row["metrics"]["js_divergence"] for row in opened.rows]
    assert opened.definitions["js_divergence"]["unit"] == "bits"
    assert opened.unfinished is None


def test_a_later_analysis_is_read_with_the_record_and_the_votes_of_its_run(run):
    again = write_run(run / "analysis", HUMAN, {PLAIN: CELLS[PLAIN]})
    for name in (files.RECORD, files.UTTERANCES):
        (again / name).unlink()
    opened = open_folder(again)
    assert opened.is_later_analysis
    assert opened.home == run
    assert len(list(opened.cells())) == 1
    assert len(opened.utterances) == 30


def test_every_file_is_read_once(run, monkeypatch):
    read: Counter[str] = Counter()
    true_table, true_text = pq.read_table, Path.read_text

    def read_table(file, *args, **kwargs):
        read[Path(file).name] += 1
        return true_table(file, *args, **kwargs)

    def read_text(file, *args, **kwargs):
        read[file.name] += 1
        return true_text(file, *args, **kwargs)

    monkeypatch.setattr(pq, "read_table", read_table)
    monkeypatch.setattr(Path, "read_text", read_text)
    opened = open_folder(run)
    for _ in range(2):
        _ = opened.rows, opened.predictions, opened.utterances, opened.metrics, opened.definitions, list(opened.cells())
    assert read == dict.fromkeys((files.RECORD, files.METRICS, files.PREDICTIONS, files.UTTERANCES), 1)


def test_what_is_no_run_says_which_folder_to_give(tmp_path):
    with pytest.raises(InputError, match=r"no readable run\.json.*Give the folder of a run"):
        open_folder(tmp_path)
    write_json({"labels": {}}, tmp_path / files.RECORD)
    with pytest.raises(InputError, match=r"no readable run\.json: it is no record of a run \(KeyError: 'name'\)"):
        open_folder(tmp_path)
    write_json(make_record(), tmp_path / files.RECORD)
    opened = open_folder(tmp_path)
    assert opened.unfinished == "begun: no scores, no metrics"
    for name, message in (
        ("rows", "no metrics.json: begun"),
        ("predictions", "predictions.parquet is missing"),
        ("utterances", "utterances.parquet is missing"),
        ("table", "no score table here"),
    ):
        with pytest.raises(InputError, match=message):
            getattr(opened, name)


def test_a_record_survives_its_file_whatever_another_version_wrote_into_it():
    stated = make_record(near_silent={"utterances": [], "below_dbfs": -60.0}, of_a_later_version=[1])
    record = Record.from_json(stated)
    assert record.more == {"of_a_later_version": [1]}
    assert record.identity == ("1111aaaa", "made", "2222bbbb", "test")
    again = record.to_json()
    assert Record.from_json(again) == record
    assert {name: again[name] for name in stated if name != "corpus"} == {
        name: value for name, value in stated.items() if name != "corpus"
    }
    assert again["corpus"].items() >= stated["corpus"].items()


def test_runs_are_found_at_any_depth_whatever_their_state(tmp_path):
    write_run(tmp_path / "sweep/0", HUMAN, CELLS)
    (tmp_path / "sweep/1" / files.PARTS).mkdir(parents=True)
    (tmp_path / "sweep/1" / files.PARTS / "part-0000-000000-x.parquet").touch()
    write_run(tmp_path / "sweep/head_linear", HUMAN, CELLS)
    for never in ("figures", "head_fold0", "head_all"):
        (tmp_path / "sweep/0" / never).mkdir()
        (tmp_path / "sweep/0" / never / files.RECORD).touch()
    found, closed = find_runs(tmp_path)
    assert [run.folder.name for run in found] == ["0", "1", "head_linear"]
    assert found[0].unfinished is None
    assert found[1].unfinished.startswith("interrupted: 1 finished batches")
    assert closed == []


# -- one cell ----------------------------------------------------------------------------------------------------------


def test_two_rows_are_of_one_cell_if_their_five_names_are_the_same():
    row = {"kind": "readout", **dict(zip(Cell._fields, PLAIN, strict=True)), "metrics": {}}
    assert Cell.of(row) == Cell(*PLAIN)
    assert {Cell(*PLAIN): 1}[Cell.of(row)] == 1
    assert str(Cell(*PLAIN)._replace(prompt="-")) == "tiny-model, label_likelihood, sum, none"
    table = pd.DataFrame([dict(zip(Cell._fields, key, strict=True)) for key in (TEXT, PLAIN, TEXT)])
    assert rows_of(table, [Cell(*TEXT)]).index.tolist() == [0, 2]
    assert [cell for cell, _ in by_cell(table)] == cells_of(table) == [TEXT, PLAIN]
    assert telling([Cell(*PLAIN), Cell(*PLAIN)._replace(calibration="batch")]) == ["calibration"]


def test_a_choice_of_cells_is_read_one_way():
    choice = read_choice(" readout = label_likelihood, calibration=none", "--cells")
    assert Cell(*PLAIN).fits(choice)
    assert not Cell(*TEXT).fits(choice)
    assert Cell(*TEXT).fits(read_choice("", "--cells"))
    for wrong in ("colour=red", "readout", "readout="):
        with pytest.raises(InputError, match=r"is no choice of cells .*--cells"):
            read_choice(wrong, "--cells")


# -- one door ----------------------------------------------------------------------------------------------------------


def docstrings(tree: ast.AST) -> set[int]:
    """Texts that stand alone as a statement: of modules, classes, functions, and of what an assignment means."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def test_no_room_but_that_of_runs_names_a_file_of_a_run():
    named = []
    for module in HOUSE.rglob("*.py"):
        if module.is_relative_to(HOUSE / "run"):
            continue
        tree = ast.parse(module.read_text(encoding="utf-8"))
        known = docstrings(tree)
        for node in ast.walk(tree):
            # A sentence for a person may name a file; a path may not.
            is_path = isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value.strip()
            if is_path and id(node) not in known and any(name in node.value for name in NAMES):
                named.append(f"{module.relative_to(HOUSE)}:{node.lineno} {node.value!r}")
    assert named == []


def test_there_is_one_cell():
    found = [
        f"{module.relative_to(HOUSE)}:{node.name}"
        for module in HOUSE.rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name == "Cell"
    ]
    assert found == ["run/cell.py:Cell"]
