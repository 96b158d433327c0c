"""The comparison of reference runs: what has to differ is left out, and every other bit counts."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "reference_runs.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("reference_runs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def write(out: Path, checkout: str, number: int) -> Path:
    """The results of a run; the number stands in all that may differ."""
    folder = out / "probe"
    (folder / "head_fold0").mkdir(parents=True)
    versions = {"emoprobe": f"0.{number}", "torch": "2.6"}
    scores = {
        "utterance_id": ["a", "b"],
        "library_versions": [json.dumps(versions)] * 2,
        "form_token_logprobs": pa.array([[[-0.5, -1.25], [-3.0]], None], pa.list_(pa.list_(pa.float32()))),
        "log_label_mass": [-0.1, float("nan")],
    }
    pq.write_table(pa.table(scores), folder / "scores.parquet")
    human = {"audio": [f"{checkout}/a.mp3"], "votes_sad": [0.0]}
    pq.write_table(pa.table(human), folder / "utterances.parquet")
    run = {"versions": versions | {"git": str(number)}, "speed": {"clips": number}, "fused": f"{out}/probe"}
    seals = {"scores.parquet": number, "predictions.parquet": {"sha256": "same"}}
    metrics = {"run": run | {"files": seals}, "rows": [{"js": 0.1 + 0.2, "n": 3}, {"js": None}]}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    head = {"settings": number, "sha256": number, "clips": "x", "versions": run["versions"]}
    (folder / "head_fold0" / "head.json").write_text(json.dumps(head))
    (folder / "head_fold0" / "head.safetensors").write_bytes(b"weights")
    (folder / "tests.csv").write_text(f"a,difference\n{out}/probe,0.30000000000000004\n")
    (folder / "skipped.csv").write_text(f"utterance_id,file\na,{checkout}/manifest.csv\n")
    (out / "logs").mkdir()
    (out / "logs" / "metrics.json").write_text(str(number))
    record = {"folders": {"<out>": str(out), "<checkout>": checkout, "<models>": str(out / "models")}}
    (out / "made.json").write_text(json.dumps(record))
    return folder


@pytest.fixture
def sides(tmp_path) -> tuple[Path, Path]:
    for number, name in enumerate("ab"):
        write(tmp_path / name, f"/home/{name}/checkout", number)
    return tmp_path / "a", tmp_path / "b"


def change_column(folder: Path, file: str, name: str, values) -> None:
    table = pq.read_table(folder / file)
    place = table.column_names.index(name)
    field = table.schema.field(place)
    pq.write_table(table.set_column(place, field, pa.array(values, field.type)), folder / file)


def change_text(folder: Path, file: str, old: str, new: str) -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))


def test_what_has_to_differ_is_left_out(script, sides, capsys):
    assert script.main(["compare", *map(str, sides)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "7 of 7 files are identical"
    assert all(line.endswith(": identical") for line in lines[:-1])


NEXT = float(np.nextafter(-0.1, 0))
NEXT_32 = float(np.nextafter(np.float32(-3), np.float32(0)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda folder: change_column(folder, "scores.parquet", "log_label_mass", [NEXT, float("nan")]),
            f"scores.parquet: row 0, column log_label_mass (double): -0.1 and {NEXT!r}",
        ),
        (
            lambda folder: change_column(folder, "scores.parquet", "log_label_mass", [-0.1, None]),
            "scores.parquet: row 1, column log_label_mass (double): nan and None",
        ),
        (
            lambda folder: change_column(
                folder, "scores.parquet", "form_token_logprobs", [[[-0.5, -1.25], [NEXT_32]], None]
            ),
            f"[1][0]: -3.0 and {NEXT_32!r}",
        ),
        (
            lambda folder: change_column(folder, "utterances.parquet", "votes_sad", [-0.0]),
            "utterances.parquet: row 0, column votes_sad (double): 0.0 and -0.0",
        ),
        (
            lambda folder: pq.write_table(
                pq.read_table(folder / "scores.parquet").slice(0, 1), folder / "scores.parquet"
            ),
            "scores.parquet: 2 and 1 rows",
        ),
        (
            lambda folder: pq.write_table(
                pq.read_table(folder / "scores.parquet").drop_columns("log_label_mass"), folder / "scores.parquet"
            ),
            "scores.parquet: columns: 4 and 3 values",
        ),
        (
            lambda folder: change_text(folder, "metrics.json", "0.30000000000000004", "0.3"),
            "metrics.json: rows[0].js: 0.30000000000000004 and 0.3",
        ),
        (
            lambda folder: change_text(folder, "metrics.json", '"n": 3', '"n": 3.0'),
            "metrics.json: rows[0].n: 3 and 3.0",
        ),
        (
            lambda folder: change_text(folder, "metrics.json", '"torch": "2.6"', '"torch": "2.7"'),
            "metrics.json: run.versions.torch: '2.6' and '2.7'",
        ),
        (
            lambda folder: change_text(folder, "tests.csv", "0.30000000000000004", "0.3"),
            "tests.csv: row 0, column difference: '0.30000000000000004' and '0.3'",
        ),
        (
            lambda folder: (folder / "head_fold0" / "head.safetensors").write_bytes(b"Weights"),
            "head.safetensors: the bytes differ",
        ),
        (lambda folder: (folder / "tests.csv").unlink(), "tests.csv: missing in"),
    ],
)
def test_one_bit_is_found_and_named(script, sides, capsys, change, told):
    change(sides[1] / "probe")
    assert script.main(["compare", *map(str, sides)]) == 1
    out = capsys.readouterr().out
    assert told in out
    assert "6 of 7 files are identical" in out


def test_unfinished_and_empty_folders_are_refused(script, sides, tmp_path):
    (sides[1] / "made.json").unlink()
    with pytest.raises(SystemExit, match=r"made\.json: its runs were not finished"):
        script.main(["compare", *map(str, sides)])
    with pytest.raises(SystemExit, match="nothing to compare"):
        script.main(["compare", str(tmp_path / "c"), str(tmp_path / "d")])
