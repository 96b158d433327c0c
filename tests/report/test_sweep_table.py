"""The table that a sweep ends in, of jobs whose numbers a test chooses."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pandas as pd
import pytest
from reporting.runs import PLAIN, make_human, make_probs, make_record, write_run, write_sweep
from rich.console import Console

from emoprobe.metrics.functional import js_divergence
from emoprobe.report.sweep_table import best_of, conclusions, main_metric, read_results, sweep_frame, sweep_tables
from emoprobe.run.job import JobState
from emoprobe.run.sweep import read_sweep

HUMAN = make_human(40)
STARS = tuple("12345")


def write_job(sweep, number: int, overrides: list[str], state: str = "done", **more) -> None:
    job = JobState(
        verb="probe", state=state, number=number, overrides=tuple(overrides), settings={}, process=1, host="here",
        started="2026-01-01T00:00:00+00:00", **more,
    )  # fmt: skip
    job.write(sweep / str(number))


def printed(sweep, width: int = 200) -> str:
    file = StringIO()
    console = Console(file=file, width=width)
    for table in sweep_tables(read_results(read_sweep(sweep))):
        console.print(table)
    return file.getvalue()


@pytest.fixture
def sweep(tmp_path):
    """Two jobs of one corpus, one of another, one that failed and one that never began."""
    jobs = [["dataset=a", f"seed={seed}"] for seed in (0, 1)] + [["dataset=b", f"seed={seed}"] for seed in (0, 1)]
    folder = write_sweep(
        tmp_path / "sweep", ["dataset=a,b", "seed=0,1"], {str(i): job for i, job in enumerate(jobs[:3])}
    )
    for number in (0, 1):
        write_run(folder / str(number), HUMAN, {PLAIN: make_probs(40, seed=number)})
        write_job(folder, number, jobs[number], seconds=1.0)
    write_job(folder, 2, jobs[2], "failed", error="the corpus is gone")
    return folder


def test_a_row_per_job_with_what_varied_and_floors_once(sweep):
    lines = printed(sweep).splitlines()
    assert lines[0].split()[:5] == ["job", "dataset", "seed", "best", "readout"]
    assert [line.split()[:3] for line in lines[2:4]] == [["0", "a", "0"], ["1", "a", "1"]]
    target = HUMAN[[name for name in HUMAN if name.startswith("target_")]].to_numpy()
    for number, line in enumerate(lines[2:4]):
        assert f" {js_divergence(make_probs(40, seed=number), target):.3f} " in line
    assert sum("floor: uniform" in line for line in lines) == 1


def test_what_does_not_vary_is_no_column_and_a_sentence_names_the_best_job(sweep):
    head, *rest = printed(sweep).splitlines()
    assert not {"n", "failed"} & set(head.split())
    assert not any("how_does_it_sound" in line for line in rest)
    target = HUMAN[[name for name in HUMAN if name.startswith("target_")]].to_numpy()
    best = min((0, 1), key=lambda seed: float(js_divergence(make_probs(40, seed=seed), target)))
    (sentence,) = conclusions(read_results(read_sweep(sweep)))
    assert sentence.startswith(f"Best of 2 runs by JS: #{best} dataset=a seed={best}. ")
    assert "floor" in sentence or "prior" in sentence
    write_run(sweep / "2", make_human(30, seed=5), {PLAIN: make_probs(30)})
    write_job(sweep, 2, ["dataset=b", "seed=0"], seconds=1.0)
    assert {"n", "failed"} <= set(printed(sweep).splitlines()[0].split())


def test_every_job_stands_in_the_frame(sweep):
    found = read_results(read_sweep(sweep))
    frame = sweep_frame(found)
    assert list(frame.groupby("job")["state"].first()) == ["done", "done", "failed", "missing"]
    assert list(frame.groupby("job")["config.seed"].first()) == ["0", "1", "0", "1"]
    assert frame.loc[frame["job"] == 2, "error"].tolist() == ["the corpus is gone"]
    own = pd.DataFrame(found.results[1].rows)
    assert frame.loc[frame["job"] == 1, "readout"].tolist() == own["readout"].tolist()


def test_jobs_that_are_measured_otherwise_have_floors_of_their_own(sweep):
    write_run(sweep / "2", make_human(30, seed=5), {PLAIN: make_probs(30)})
    write_job(sweep, 2, ["dataset=b", "seed=0"], seconds=1.0)
    text = printed(sweep)
    assert text.count("floor: uniform") == 2
    assert [line.split()[0] for line in text.splitlines() if "label_likelihood" in line] == ["0", "1", "2"]


def test_label_sets_of_another_metric_have_a_table_of_their_own(sweep):
    record = make_record(names=STARS)
    scale = {"dimension": "valence", "low": "negative", "high": "positive"}
    record["labels"]["scale"] = scale
    write_run(sweep / "2", make_human(30, STARS), {PLAIN: make_probs(30, STARS)}, record=record)
    write_job(sweep, 2, ["dataset=b", "seed=0"], seconds=1.0)
    text = printed(sweep)
    assert "JS ↓" in text.split("CCC ↑")[0]
    assert text.count("best readout of each job") == 2


def test_parts_of_a_study_are_named(sweep):
    write_run(sweep / "2" / "zero_shot", HUMAN, {PLAIN: make_probs(40)})
    write_run(sweep / "2" / "head" / "seed0", HUMAN, {PLAIN: make_probs(40, seed=3)})
    write_job(sweep, 2, ["dataset=b", "seed=0"], seconds=1.0)
    rows = [line.split() for line in printed(sweep).splitlines() if line.startswith("2 ")]
    assert [row[3] for row in rows] == ["head/seed0", "zero_shot"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_narrow_terminal_shows_every_number(sweep, width):
    text = printed(sweep, width)
    assert max(map(len, text.splitlines())) <= width
    for header in ("failed", "JS ↓", "UAR ↑"):
        assert header in text


def test_an_edited_metric_table_is_left_out(sweep):
    (sweep / "1" / "metrics.json").write_text("{}")
    found = read_results(read_sweep(sweep))
    assert list(found.problems) == [sweep / "1"]
    assert [result.job.number for result in found.results] == [0]
    assert main_metric(sweep / "1") == ""
    assert main_metric(sweep / "0").startswith("JS 0.")


def test_the_best_readout_has_a_rank_if_any_has():
    def row(value: float, failed: int = 0, fitted: str = "", readout: str = "label_likelihood") -> dict:
        names = {"kind": "readout", "readout": readout, "num_failed": failed, "fitted_on": fitted}
        return names | {"metrics": {"js_divergence": value}}

    ranked, failed, fitted, layer = row(0.5), row(0.2, 1), row(0.1, 0, "evaluated votes"), row(0.3, readout="layerwise")
    assert best_of([fitted, failed, ranked, layer], "js_divergence") is ranked
    assert best_of([fitted, failed], "js_divergence") is failed
    assert best_of([fitted, layer], "js_divergence") is layer
    assert best_of([fitted, row(np.nan)], "js_divergence") is None
