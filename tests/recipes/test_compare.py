"""``emoprobe compare``: paired tests between readouts of runs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reporting.runs import make_record

from emoprobe.cli.compare import main
from emoprobe.errors import InputError
from emoprobe.metrics.functional import evaluate
from emoprobe.metrics.significance import holm, paired_test
from emoprobe.recipes.compare import compare_runs

LABELS = ("anger", "sad")
SIZE = 48


def write_run(folder: Path, shares: dict[str, np.ndarray], *, ids=None, target=None, **facts) -> Path:
    """A run with a cell per calibration; ``shares`` are probabilities of anger."""
    folder.mkdir(parents=True)
    record = make_record(names=LABELS)
    for entry, values in facts.items():
        record[entry] |= values
    (folder / "run.json").write_text(json.dumps(record))
    ids = [f"u{i}" for i in range(SIZE)] if ids is None else ids
    rng = np.random.default_rng(0)
    truth = {f"u{i}": p for i, p in enumerate(rng.uniform(0.1, 0.9, SIZE))} if target is None else target
    parts = []
    for calibration, anger in shares.items():
        frame = pd.DataFrame({"utterance_id": ids, "speaker": [f"s{int(name[1:]) % 8}" for name in ids]})
        frame = frame.assign(split="test", transcript="", num_raters=10.0, duration_seconds=1.0, truncated=False)
        for name, p in zip(LABELS, (1, 0), strict=True):
            frame[f"target_{name}"] = [truth[u] if p else 1 - truth[u] for u in ids]
            frame[f"votes_{name}"] = frame[f"target_{name}"] * 10
            frame[f"p_{name}"] = anger if p else 1 - anger
        keys = {"model": "m", "prompt": "-", "readout": "r", "variant": "sum", "calibration": calibration}
        parts.append(frame.assign(**keys, fitted_on="", status=np.where(np.isnan(anger), "undefined", "ok")))
    pd.concat(parts).to_parquet(folder / "predictions.parquet")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    shares = {"none": rng.uniform(0, 1, SIZE), "batch": np.full(SIZE, 0.5), "pmi": rng.uniform(0, 1, SIZE)}
    shares["pmi"][:4] = np.nan
    return write_run(tmp_path / "a", shares)


def test_all_pairs_of_one_run(run: Path):
    frame = compare_runs([run], resamples=500)
    assert list(zip(frame["a"], frame["b"], strict=True)) == [("none", "batch"), ("none", "pmi"), ("batch", "pmi")]
    rows = pd.read_parquet(run / "predictions.parquet").set_index(["calibration", "utterance_id"])
    cells = {name: rows.loc[name] for name in ("none", "batch", "pmi")}

    def arrays(name: str, keep: slice) -> list[np.ndarray]:
        return [cells[name][[f"{p}_{label}" for label in LABELS]].to_numpy()[keep] for p in ("p", "target", "votes")]

    for row in frame.to_dict("records"):
        keep = slice(4, None) if "pmi" in (row["a"], row["b"]) else slice(None)
        (pred_a, target, votes), (pred_b, *_) = arrays(row["a"], keep), arrays(row["b"], keep)
        values = [evaluate(pred, target, votes)["js_divergence"] for pred in (pred_a, pred_b)]
        assert row["difference"] == pytest.approx(values[0] - values[1])
        speakers = cells["none"]["speaker"].to_numpy()[keep]
        test = paired_test(pred_a, pred_b, target, votes, speakers, resamples=500)
        assert row["p_value"] == test.p_value
        assert (row["num_utterances"], row["num_clusters"]) == (len(target), 8)
        assert row["num_dropped"] == SIZE - len(target)
    np.testing.assert_allclose(frame["adjusted_p_value"], holm(frame["p_value"]))


def test_runs_are_compared_on_what_they_share(run: Path, tmp_path: Path):
    shown = pd.read_parquet(run / "predictions.parquet").drop_duplicates("utterance_id").set_index("utterance_id")
    ids = [f"u{i}" for i in range(30, 10, -1)]
    truth = shown["target_anger"].to_dict()
    other = write_run(tmp_path / "b", {"none": np.array([truth[u] for u in ids])}, ids=ids, target=truth)
    frame = compare_runs([run, other], ["calibration=none"], resamples=200)
    assert frame[["a", "b", "num_utterances"]].to_dict("records") == [{"a": "a", "b": "b", "num_utterances": 20}]
    assert frame["difference"].item() > 0  # b gives the very shares
    assert (
        compare_runs([run, other], ["calibration=none", "calibration=batch"], resamples=200)["a"].tolist()[0]
        == "a none"
    )


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"labels": {"hash": "x"}}, "differ in their label set"),
        ({"corpus": {"name": "x"}}, "differ in their corpus"),
        ({"soft_label_policy": {"hash": "x"}}, "differ in their soft-label policy"),
        (
            {"ids": [f"u{i + 100}" for i in range(3)], "target": dict.fromkeys(["u100", "u101", "u102"], 0.4)},
            "share no",
        ),
        ({"target": {f"u{i}": 0.4 for i in range(SIZE)}}, "other targets"),
    ],
)
def test_runs_that_were_judged_otherwise_are_refused(run: Path, tmp_path: Path, facts: dict, message: str):
    other = write_run(tmp_path / "b", {"none": np.full(len(facts.get("ids", range(SIZE))), 0.5)}, **facts)
    with pytest.raises(InputError, match=message):
        compare_runs([run, other])


def test_the_command(run: Path, tmp_path: Path, capsys):
    assert main([str(run), "--metric", "brier", "--resamples", "200", "-o", str(tmp_path / "x" / "tests.csv")]) == 0
    out = capsys.readouterr().out
    assert "brier a - b" in out
    assert len(pd.read_csv(tmp_path / "x" / "tests.csv")) == 3
    for arguments, message in (
        ([str(run), "--metric", "bleu"], "no metric 'bleu'"),
        ([str(run), "--cells", "calibration=none"], "1 cells are to be compared"),
        ([str(run), "--cells", "colour=red"], "no choice of cells"),
        ([str(tmp_path)], "no readable run.json"),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda frame: frame.assign(speaker="s0"), "not testable: one speaker"),
        (lambda frame: frame[frame["utterance_id"] == "u7"], "not testable: one speaker"),
        (lambda frame: frame.assign(speaker=frame["utterance_id"]).query("utterance_id == 'u7'"), "one speaker"),
    ],
)
def test_what_cannot_be_tested_says_why_and_prints_no_nan(run: Path, capsys, change, note: str):
    frame = change(pd.read_parquet(run / "predictions.parquet"))
    frame.to_parquet(run / "predictions.parquet")
    found = compare_runs([run], ["calibration=none", "calibration=batch"], resamples=50)
    assert note in found["note"].item()
    assert math.isfinite(found["difference"].item())
    assert main([str(run), "--cells", "calibration=none", "--cells", "calibration=batch", "--resamples", "50"]) == 0
    out = capsys.readouterr().out
    assert note in out
    assert "nan" not in out.lower()


def test_ties_infinities_and_clips_that_nobody_shares_print_no_nan(tmp_path: Path, capsys):
    certain = np.where(np.arange(SIZE) % 2, 1.0, 0.0)
    gone = np.where(np.arange(SIZE) < SIZE // 2, np.nan, 0.5)
    shares = {
        "a": certain,
        "b": certain.copy(),
        "c": 1 - certain,
        "d": gone,
        "e": np.where(np.isnan(gone), 0.5, np.nan),
    }
    folder = write_run(tmp_path / "odd", shares)
    assert main([str(folder), "--metric", "kl_target_pred", "--resamples", "50"]) == 0
    out = capsys.readouterr().out
    assert "nan" not in out.lower()
    assert "not testable: no clip with both" in out  # d and e
    assert "not testable: no finite difference" in out  # both infinite
    assert main([str(folder), "--metric", "entropy_spearman", "--resamples", "50"]) == 0
    assert "nan" not in capsys.readouterr().out.lower()


def test_a_cell_that_saw_its_votes_is_marked_and_comes_last(run: Path, capsys):
    frame = pd.read_parquet(run / "predictions.parquet")
    frame["fitted_on"] = frame["calibration"].map({"pmi": "evaluated inputs + evaluated votes"}).fillna("")
    frame.to_parquet(run / "predictions.parquet")
    found = compare_runs([run], resamples=50)
    assert found["b"].tolist() == ["batch", "pmi**", "pmi**"]
    assert found["fitted_on_b"].tolist() == ["", *["evaluated inputs + evaluated votes"] * 2]
    assert main([str(run), "--resamples", "50"]) == 0
    lines = capsys.readouterr().out.splitlines()
    seen = [i for i, line in enumerate(lines) if "pmi**" in line]
    (other,) = [i for i, line in enumerate(lines) if line.split()[:2] == ["none", "batch"]]
    assert other < min(seen)
    assert any("wins and loses nothing" in line for line in lines)


def test_labels_may_be_called_anything(tmp_path: Path):
    folder = write_run(tmp_path / "named", {"NA": np.full(SIZE, 0.4), "null": np.full(SIZE, 0.6)})
    frame = compare_runs([folder], resamples=50)
    assert (frame["a"].item(), frame["b"].item()) == ("NA", "null")
