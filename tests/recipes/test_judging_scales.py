"""A run on the points of a scale, judged, compared and reported: what a person finds in the folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reporting.runs import PLAIN, make_human, make_probs, make_record, page_data, write_run

from emoprobe.cli.compare import main as compare
from emoprobe.errors import InputError
from emoprobe.metrics.functional import ccc, metrics_of
from emoprobe.recipes.compare import compare_runs
from emoprobe.recipes.judge import judge, read_table
from emoprobe.recipes.train import _check_monitor
from emoprobe.report.write import write_report
from emoprobe.run.record import Record

POINTS = ("1", "2", "3", "4", "5")
OTHER = (*PLAIN[:1], "another_prompt", *PLAIN[2:])
SCALED = {
    "name": "valence5",
    "labels": list(POINTS),
    "words": {point: {"numeral": [point]} for point in POINTS},
    "forms": None,
    "aliases": {},
    "scale": {"dimension": "valence", "low": "very negative", "high": "very positive"},
    "hash": "5555eeee",
}
RECORD = make_record(labels=SCALED)
LABELS = Record.from_json(RECORD).labels


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    human = make_human(48, POINTS)
    target = human[[f"target_{point}" for point in POINTS]].to_numpy()
    human["metadata"] = [json.dumps({"gender": ("female", "male")[i % 2]}) for i in range(48)]
    human["outside_votes"] = 0.0
    good, bad = (w * target + (1 - w) * make_probs(48, POINTS, seed=i) for i, w in enumerate((0.8, 0.1)))
    return write_run(tmp_path_factory.mktemp("scaled") / "run", human, {PLAIN: good, OTHER: bad}, record=RECORD)


def test_a_judgement_of_points_has_no_right_label_and_no_confusions(run: Path, tmp_path: Path):
    folder = judge(run, tmp_path / "judged", resamples=20)
    tables = {file.stem for file in folder.glob("*.csv")}
    assert {"strata", "group_gaps", "reliability", "prompt_ensembles"} <= tables
    assert not {"clear_and_ambiguous", "expected_confusion", "missed_mixtures"} & tables
    strata = read_table(folder / "strata.csv")
    kinds = {"entropy", "entropy_quantiles", "num_raters", "duration", "mean", "spread", "fact:gender"}
    assert set(strata["kind"]) == kinds
    assert set(metrics_of(LABELS)) <= set(strata)
    assert "uar" not in strata
    assert set(read_table(folder / "group_gaps.csv")["metric"]) == {"emd"}
    ensembles = read_table(folder / "prompt_ensembles.csv")
    assert list(ensembles)[-6:] == ["ccc", "pearson", "rmse", "emd", "js_divergence", "vote_nll"]
    drawn = {file.stem for file in (folder / "figures").glob("*.png")}
    assert {"strata_mean", "gaps_gender"} <= drawn
    assert not any("confusion" in name for name in drawn)


def test_readouts_are_compared_by_concordance_unless_told_otherwise(run: Path, capsys):
    (row,) = compare_runs([run], resamples=200).to_dict("records")
    predictions = pd.read_parquet(run / "predictions.parquet")
    values = []
    for prompt in (PLAIN[1], OTHER[1]):
        rows = predictions[predictions["prompt"] == prompt]
        values.append(float(ccc(*(rows[[f"{side}_{p}" for p in POINTS]].to_numpy() for side in ("p", "target")))))
    assert row["metric"] == "ccc"
    assert row["difference"] == pytest.approx(values[0] - values[1])
    assert row["p_value"] < 0.05
    assert compare([str(run), "--metric", "emd"]) == 0
    assert "emd a - b" in capsys.readouterr().out
    with pytest.raises(InputError, match="uar is no metric of the label set valence5"):
        compare_runs([run], metric="uar")


def test_categories_are_not_compared_by_concordance(tmp_path: Path):
    human = make_human(24)
    folder = write_run(tmp_path / "run", human, {key: make_probs(24, seed=i) for i, key in enumerate((PLAIN, OTHER))})
    with pytest.raises(InputError, match="ccc is no metric of the label set four"):
        compare_runs([folder], metric="ccc")


def test_a_report_leads_with_the_headline_of_each_group(run: Path, tmp_path: Path):
    human = make_human(24)
    write_run(tmp_path / "runs/emotions", human, {PLAIN: make_probs(24)})
    page = write_report([run, tmp_path / "runs/emotions"], tmp_path / "report", audio="none")
    data = page_data(page)
    points, categories = sorted(data["groups"], key=lambda group: len(group["labels"]), reverse=True)
    assert (points["metric"], points["scale"]) == ("ccc", "valence")
    assert not {"metric", "scale"} & set(categories)
    assert list(points["definitions"]) == list(metrics_of(LABELS))
    assert list(categories["definitions"]) == list(metrics_of())
    assert points["definitions"]["rmse"]["unit"] == "points"
    assert data["short"]["ccc"] == "CCC"
    assert {"ccc", "emd", "js_divergence", "uar"} <= set(data["usual"])
    markdown = (tmp_path / "report/leaderboard.md").read_text()
    headers = [line for line in markdown.splitlines() if "| rank |" in line]
    assert {line.split("| failed | ")[1].split()[0] for line in headers} == {"ccc", "js_divergence"}
    drawn = {file.name for file in (tmp_path / "report/figures").glob("*.png")}
    assert sum(name.endswith("_best_numbers.png") for name in drawn) == 1
    assert any(name.endswith("_ccc.png") for name in drawn)
    alone = write_report([tmp_path / "runs/emotions"], tmp_path / "alone", audio="none", figures=False)
    assert "ccc" not in page_data(alone)["short"]


def test_only_a_metric_of_the_labels_can_be_monitored():
    _check_monitor("ccc", LABELS)
    _check_monitor("loss", LABELS)
    with pytest.raises(InputError, match="uar is no metric of the label set valence5"):
        _check_monitor("uar", LABELS)


def test_numbers_are_drawn_where_they_are():
    from emoprobe.report.cell_figures import kinds_of, number_scatter

    human, probs = make_human(30, POINTS), make_probs(30, POINTS)
    cell = human.copy()
    cell[[f"p_{point}" for point in POINTS]] = probs
    assert list(kinds_of(LABELS)) == ["numbers", "mean", "clips", "entropy", "reliability"]
    (axes,) = number_scatter(cell, POINTS, "t").axes
    target = human[[f"target_{point}" for point in POINTS]].to_numpy()
    drawn = np.asarray(axes.collections[-1].get_offsets())
    np.testing.assert_allclose(drawn, np.stack([target @ np.arange(1, 6), probs @ np.arange(1, 6)], axis=1))
    assert axes.get_xlim() == axes.get_ylim() == (1, 5)
    assert f"CCC {float(ccc(probs, target)):.2f}" in axes.get_title(loc="right")


def test_a_study_of_points_has_intervals_of_their_metrics_and_the_spread_of_ccc_over_seeds(run: Path, tmp_path: Path):
    from emoprobe.report.study import save_study, study_frame

    human = pd.read_parquet(run / "utterances.parquet")
    target, votes = (human[[f"{side}_{point}" for point in POINTS]].to_numpy() for side in ("target", "votes"))
    seeds = [0.5 * target + 0.5 * make_probs(48, POINTS, seed=i) for i in range(2)]
    kinds = {"probe": "trained"}
    frame = study_frame({"probe": seeds}, target, votes, list(human["speaker"]), kinds, LABELS)
    (row,) = frame.to_dict("records")
    values = [float(ccc(pred, target)) for pred in seeds]
    assert row["ccc"] == pytest.approx(np.mean(values))
    assert row["ccc_sd"] == pytest.approx(np.std(values, ddof=1))
    for metric in ("ccc", "pearson", "rmse", "emd", "js_divergence"):
        assert row[f"{metric}_low"] < row[metric] < row[f"{metric}_high"]
    assert "uar" not in row
    save_study(frame, tmp_path, "t", "s")
    first = (tmp_path / "comparison.md").read_text().splitlines()[0]
    assert first == "| | CCC ↑ | Pearson ↑ | RMSE ↓ | EMD ↓ | JS ↓ | seeds | sd(CCC) | failed |"
