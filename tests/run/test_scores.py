"""The score table: crash-safe writing, one format, no cell twice."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emoprobe.errors import InputError
from emoprobe.run import files
from emoprobe.run.scores import ScoreWriter, read_scores, schema


def row(utterance: str, **fields) -> dict:
    return {
        "utterance_id": utterance,
        "input": "clip",
        "draw": 0,
        "model": "m",
        "prompt": "p",
        "readout": "label_likelihood",
        "forms": ["angry", "sad"],
        "form_token_logprobs": [[-1.5, -0.25], [-2.0]],
        "form_logprobs": [-1.75, -2.0],
        **fields,
    }


def test_round_trip_through_parts(tmp_path):
    with ScoreWriter(tmp_path) as writer:
        writer.write([row("a"), row("b")])
        writer.write([])
        writer.write([row("c", generated_text="so ängry")])
    table = read_scores(tmp_path)
    assert table["utterance_id"].to_pylist() == ["a", "b", "c"]
    assert table["form_token_logprobs"][0].as_py() == [[-1.5, -0.25], [-2.0]]
    assert table["generated_text"].to_pylist() == [None, None, "so ängry"]
    assert not (tmp_path / files.PARTS).exists()


def test_a_run_that_dies_leaves_its_finished_batches(tmp_path):
    with pytest.raises(RuntimeError), ScoreWriter(tmp_path) as writer:
        writer.write([row("a")])
        (tmp_path / files.PARTS / "part-000001.tmp").write_bytes(b"half a batch")
        raise RuntimeError("power cut")
    assert not (tmp_path / files.SCORES).exists()
    assert read_scores(tmp_path)["utterance_id"].to_pylist() == ["a"]
    with ScoreWriter(tmp_path) as writer:  # the same folder goes on
        writer.write([row("b")])
    assert read_scores(tmp_path)["utterance_id"].to_pylist() == ["a", "b"]


def test_two_writers_of_one_folder_overwrite_nothing(tmp_path):
    with ScoreWriter(tmp_path) as first:
        second = ScoreWriter(tmp_path)
        for name in "acd":
            second.write([row(name)])
        first.write([row("b")])
    assert sorted(read_scores(tmp_path)["utterance_id"].to_pylist()) == ["a", "b", "c", "d"]


def test_a_cell_twice_is_refused(tmp_path):
    with ScoreWriter(tmp_path) as writer:
        writer.write([row("a"), row("a")])
    with pytest.raises(InputError, match=r"a cell twice.*'utterance_id': 'a'"):
        read_scores(tmp_path)


def test_columns_outside_the_schema_are_a_bug(tmp_path):
    with pytest.raises(ValueError, match="surprise"), ScoreWriter(tmp_path) as writer:
        writer.write([row("a", surprise=1)])


def test_what_is_not_a_score_table_is_refused(tmp_path):
    with pytest.raises(InputError, match="no score table here"):
        read_scores(tmp_path)
    (tmp_path / files.SCORES).write_bytes(b"PAR1 but not really")
    with pytest.raises(InputError, match="not a readable Parquet"):
        read_scores(tmp_path)
    pq.write_table(pa.table({"utterance_id": ["a"]}), tmp_path / files.SCORES)
    with pytest.raises(InputError, match="schema version none"):
        read_scores(tmp_path)
    other = schema().with_metadata({b"emoprobe_schema_version": b"99"})
    pq.write_table(pa.Table.from_pylist([row("a")], schema=other), tmp_path / files.SCORES)
    with pytest.raises(InputError, match="schema version 99"):
        read_scores(tmp_path)


@pytest.mark.parametrize("rewrite", ["pandas", "other types"])
def test_a_copy_that_another_program_wrote_is_the_same(tmp_path, rewrite):
    """Its columns say what it is: the version in the file's metadata, and the types' widths, are easily lost."""
    with ScoreWriter(tmp_path) as writer:
        writer.write([row("a") | {"finished": None}, row("b") | {"forms": ["x"], "form_tokens": [[1, 2]]}])
    expected, file = read_scores(tmp_path), tmp_path / files.SCORES
    if rewrite == "pandas":
        pd.read_parquet(file).to_parquet(file)
    else:
        wide = {pa.string(): pa.large_string(), pa.list_(pa.string()): pa.large_list(pa.large_string())}
        fields = [pa.field(x.name, wide.get(x.type, x.type)) for x in expected.schema]
        pq.write_table(expected.cast(pa.schema(fields)), file)
    assert pq.read_schema(file).metadata != schema().metadata
    assert read_scores(tmp_path).equals(expected)
    pq.write_table(pq.read_table(file).drop_columns("finished"), file)
    with pytest.raises(InputError, match="schema version none"):
        read_scores(tmp_path)


def test_a_table_of_an_earlier_version_is_read_without_what_came_later(tmp_path):
    with ScoreWriter(tmp_path) as writer:
        writer.write([row("a"), row("b")])
    expected, file = read_scores(tmp_path), tmp_path / files.SCORES
    since = {each.name: int(each.metadata[b"since"]) for each in schema() if each.metadata}
    assert set(since.values()) == {4, 5}
    for version in (3, 4):
        old = expected.drop_columns([name for name, first in since.items() if first > version])
        said = {b"emoprobe_schema_version": str(version).encode()}
        for metadata in (said, {}):  # a copy of another program's says no version
            pq.write_table(old.replace_schema_metadata(metadata), file)
            assert read_scores(tmp_path).equals(old)
    for wrong in (b"3", b"5"):
        pq.write_table(old.replace_schema_metadata({b"emoprobe_schema_version": wrong}), file)
        if wrong == b"5":
            with pytest.raises(InputError, match="schema version 5 and this emoprobe reads 3 to 5"):
                read_scores(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="output folder cannot be written") as error:
        ScoreWriter(tmp_path / "file" / "run").__enter__()
    assert "hydra.run.dir" in str(error.value)


def test_a_folder_that_vanishes_is_named(tmp_path):
    writer = ScoreWriter(tmp_path / "run").__enter__()
    writer.parts.rmdir()
    with pytest.raises(InputError, match="cannot be written"):
        writer.write([row("a")])
