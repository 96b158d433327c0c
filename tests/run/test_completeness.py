"""Counts close, or the run ends with an error that names what is missing."""

from __future__ import annotations

import pyarrow as pa
import pytest

from emoprobe.run.completeness import IncompleteRunError, check_complete
from emoprobe.run.scores import schema

CELLS = [("p", "a"), ("p", "b"), ("q", "a"), ("q", "b")]
NULLS = [("silence", 0), ("noise", 0), ("noise", 1)]


def rows(clips):
    made = [
        {"prompt": prompt, "readout": readout, "input": "clip", "draw": 0, "utterance_id": name}
        for prompt, readout in CELLS
        for name in clips
    ]
    return made + [
        {"prompt": prompt, "readout": readout, "input": kind, "draw": draw, "utterance_id": ""}
        for prompt, readout in CELLS
        for kind, draw in NULLS
    ]


def check(made, evaluated, skipped=(), cells=CELLS, nulls=NULLS):
    return check_complete(pa.Table.from_pylist(made, schema=schema()), evaluated, skipped, cells, nulls)


def test_counts_that_close():
    assert check(rows(["u1", "u2"]), ["u1", "u2"]) == 2
    assert check(rows(["u1"]), ["u1", "u2"], {"u2", "of another split"}) == 1


def test_one_missing_row_of_one_cell_is_named():
    made = rows(["u1", "u2", "u3"])
    lost = next(row for row in made if (row["prompt"], row["readout"], row["utterance_id"]) == ("q", "a", "u3"))
    with pytest.raises(IncompleteRunError, match=r"1 of 3 utterances .*\(readout a, prompt q\): u3\. Run"):
        check([row for row in made if row is not lost], ["u1", "u2", "u3"])


def test_a_missing_cell_misses_everything():
    made = [row for row in rows(["u1"]) if row["readout"] == "a"]
    with pytest.raises(IncompleteRunError, match=r"1 of 1 utterances .*readout b"):
        check(made, ["u1"])


def test_many_missing_are_counted():
    names = [f"u{i}" for i in range(9)]
    with pytest.raises(IncompleteRunError, match=r"8 of 9 .*: u1, u2, u3, u4, u5 and 3 more\."):
        check(rows(["u0"]), names)


def test_what_was_scored_and_skipped_counts_twice_and_is_refused():
    with pytest.raises(IncompleteRunError, match="u2"):
        check(rows(["u1", "u2"]), ["u1", "u2"], {"u2"})


def test_a_missing_null_input_is_named():
    made = [row for row in rows(["u1"]) if (row["prompt"], row["input"], row["draw"]) != ("p", "noise", 1)]
    with pytest.raises(IncompleteRunError, match=r"null inputs are missing .*noise.*1"):
        check(made, ["u1"])
