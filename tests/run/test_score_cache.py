"""The store of the score cache: cells come back as they were, from any writer; nothing damaged is ever given."""

from __future__ import annotations

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from emoprobe.errors import InputError
from emoprobe.run import score_cache
from emoprobe.run.score_cache import OF_THE_RUN, ScoreCache, kept_in, read_cells, verify
from emoprobe.system.digest import digest_of

MODEL = {"weights": "w"}


def cell(number: int) -> tuple[str, dict]:
    logits = np.random.default_rng(number).normal(size=5).astype(np.float32)
    row = {
        **{"utterance_id": f"u{number}", "input": "clip", "draw": 0, "model": "m", "prompt": "p"},
        **{"dtype": "float32", "prompt_hash": "h", "readout": "label_likelihood", "forms": ["a", "b"]},
        **{"form_logprobs": logits.tolist(), "generated_text": None},
    }
    return digest_of({"number": number}), row


def cache(folder) -> ScoreCache:
    return ScoreCache(folder, MODEL, {"model": "m"})


def kept(row: dict) -> dict:
    return {name: value for name, value in row.items() if name not in OF_THE_RUN and value is not None}


def test_cells_come_back_bit_for_bit(tmp_path):
    writer = cache(tmp_path)
    cells = dict(map(cell, range(40)))
    writer.put(cells)
    assert writer.get(list(cells)) == {key: kept(row) for key, row in cells.items()}  # before they are written
    writer.flush()
    reader = cache(tmp_path)
    asked = [*list(cells)[::-1], digest_of({"number": 99})]
    assert reader.get(asked) == {key: kept(row) for key, row in cells.items()}
    assert ScoreCache(tmp_path, {"weights": "other"}, {}).get(asked) == {}


def test_many_writers_beside_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(score_cache, "ROWS", 3)

    def write(first: int) -> None:
        own = cache(tmp_path)
        for number in range(first, first + 20):  # half of them another's too
            own.put(dict([cell(number)]))
        own.flush()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(0, 40, 10)))
    cells = dict(map(cell, range(50)))
    assert cache(tmp_path).get(list(cells)) == {key: kept(row) for key, row in cells.items()}
    assert verify(tmp_path)[1] == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(file.read_bytes()[:-40]),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes().replace(b"PAR1", b"PAR2")),
        lambda file: os.truncate(file, 10),
        lambda file: _edit(file),
        lambda file: _drop_column(file),
    ],
    ids=["cut", "empty", "magic", "truncated", "edited", "without keys"],
)
def test_a_damaged_file_is_set_aside_and_named(tmp_path, damage, capsys):
    writer = cache(tmp_path)
    first, second = dict(map(cell, range(5))), dict(map(cell, range(5, 10)))
    for cells in (first, second):
        writer.put(cells)
        writer.flush()
    file = next(f for f in writer.folder.glob("*.parquet") if set(first) & set(read_cells(f)["cell"].to_pylist()))
    damage(file)
    reader = cache(tmp_path)
    assert set(reader.get([*first, *second])) == set(second)
    assert f"set aside as {file}.damaged" in capsys.readouterr().out
    assert not file.exists()
    assert [len(found.damaged) for found in kept_in(tmp_path)] == [1]
    reader.put(first)
    reader.flush()
    assert set(cache(tmp_path).get([*first, *second])) == {*first, *second}


def _edit(file) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    at = table.column_names.index("form_logprobs")
    other = pa.array([[0.0] * 5] * len(table), table.schema.field(at).type)
    pq.write_table(table.set_column(at, table.schema.field(at), other), file)


def _drop_column(file) -> None:
    import pyarrow.parquet as pq

    pq.write_table(pq.read_table(file).drop_columns(["cell"]), file)


def test_a_full_disk_ends_the_keeping_and_not_the_run(tmp_path, monkeypatch, capsys):
    writer = cache(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(score_cache.pq, "write_table", full)
    for number in range(3):
        writer.put(dict([cell(number)]))
        writer.flush()
    said = capsys.readouterr().out
    assert said.count("note: the score cache takes nothing more") == 1
    assert list(writer.folder.iterdir()) == [writer.folder / "model.json"]


def test_a_place_that_cannot_be_is_the_users_mistake(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"the score cache cannot be written.*cache\.scores"):
        cache(tmp_path / "file")
    with pytest.raises(InputError, match="there is no score cache"):
        list(kept_in(tmp_path))


def test_the_command_line_counts_verifies_and_deletes(tmp_path, console):
    writer = ScoreCache(tmp_path, MODEL, {"model": "m", "libraries": json.dumps({"torch": "0.0"})})
    writer.put(dict(map(cell, range(7))))
    writer.flush()
    assert "Cache    7 cells in 1 files" in console("cache", "stats", tmp_path).out
    assert console("cache", "verify", tmp_path).status == 0
    for words in (["--unused-days", "1"], ["--model", "another"], ["--damaged"]):
        assert "deleted 0 files" in console("cache", "prune", tmp_path, *words).out
    assert "would delete 1 files" in console("cache", "prune", tmp_path, "--other-versions", "--dry-run").out
    assert console("cache", "prune", tmp_path).status == 2
    assert console("cache", "prune", tmp_path, "--unused-days", "-1").status == 2
    _edit(next(writer.folder.glob("*.parquet")))
    assert console("cache", "verify", tmp_path).status == 1
    assert "deleted 1 files" in console("cache", "prune", tmp_path, "--damaged").out
    assert console("cache", "stats", tmp_path / "nowhere").status == 2


def test_another_users_file_is_read_though_it_cannot_be_touched(tmp_path, monkeypatch, capsys):
    writer = cache(tmp_path)
    writer.put(dict([cell(1)]))
    writer.flush()

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(score_cache.os, "utime", refused)
    assert set(cache(tmp_path).get([cell(1)[0]])) == {cell(1)[0]}
    assert capsys.readouterr().out == ""
