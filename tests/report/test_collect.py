"""What is read, what may be compared, and what is named as missing or left out."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pandas as pd
import pytest
from reporting.runs import LABELS, PLAIN, TEXT, make_human, make_probs, make_record, write_json, write_run, write_sweep

from emoprobe.errors import InputError
from emoprobe.report.collect import collect
from emoprobe.run.settings import Told
from emoprobe.run.sweep import expand

HUMAN = make_human(30)
CELLS = {PLAIN: make_probs(30, seed=1), TEXT: make_probs(30, seed=2, failed=[3, 4])}


def change(file, edit) -> None:
    value = json.loads(file.read_text())
    edit(value)
    write_json(value, file)


def test_a_run_folder_and_folders_above_it_are_found_once(tmp_path):
    write_run(tmp_path / "sweep/deep/0", HUMAN, CELLS)
    write_run(tmp_path / "sweep/1", HUMAN, CELLS)
    found = collect([tmp_path / "sweep", tmp_path / "sweep/deep/0", tmp_path])
    (group,) = found.groups
    assert sorted(run.name for run in group.runs) == ["1", "deep/0"]
    assert not found.missing
    assert not found.left_out
    assert collect([tmp_path / "sweep/1"]).runs[0].name == "1"


def test_equal_cells_of_several_runs_stay_apart_and_equal_floors_do_not(tmp_path):
    for name in "ab":
        write_run(tmp_path / name, HUMAN, CELLS)
    (group,) = collect([tmp_path]).groups
    readouts = [entry for entry in group.entries if entry.row["kind"] == "readout"]
    assert [(entry.runs[0].name, entry.row["readout"]) for entry in readouts] == [
        (name, key[2]) for name in "ab" for key in CELLS
    ]
    others = [entry for entry in group.entries if entry.row["kind"] != "readout"]
    assert [entry.row["readout"] for entry in others] == ["uniform", "prior", "majority", "one_hot_of_top_vote"]
    assert all([run.name for run in entry.runs] == ["a", "b"] for entry in others)


def other_votes():
    return HUMAN.assign(
        **{
            f"{kind}_{label}": HUMAN[f"{kind}_{label}"].to_numpy()[::-1]
            for kind in ("votes", "target")
            for label in LABELS
        }
    )


def with_hash(entry: str, value: str) -> dict:
    record = make_record()
    return record | {entry: record[entry] | {"hash": value}}


@pytest.mark.parametrize(
    ("what", "record", "human"),
    [
        ("label set", with_hash("labels", "9999"), HUMAN),
        ("soft-label policy", with_hash("soft_label_policy", "9999"), HUMAN),
        ("corpus", make_record(corpus=make_record()["corpus"] | {"name": "other"}), HUMAN),
        ("split", make_record(split="all"), HUMAN),
        ("evaluated utterances", make_record(), other_votes()),
        ("evaluated utterances", make_record(), HUMAN.assign(utterance_id=[f"x{i}" for i in range(30)])),
    ],
)
def test_runs_that_differ_are_not_ranked_together_and_the_reason_is_said(tmp_path, what, record, human):
    write_run(tmp_path / "a", HUMAN, CELLS)
    write_run(tmp_path / "b", human, CELLS, record=record)
    groups = collect([tmp_path]).groups
    assert [[run.name for run in group.runs] for group in groups] == [["a"], ["b"]]
    assert all([difference.partition(":")[0] for difference in group.differs] == [what] for group in groups)
    assert len({group.differs[0] for group in groups}) == 2
    assert len({group.name for group in groups}) == 2


def test_names_of_policy_and_label_set_do_not_matter_their_hashes_do(tmp_path):
    write_run(tmp_path / "a", HUMAN, CELLS)
    record = make_record()
    record["soft_label_policy"] |= {"name": "the same, called otherwise"}
    write_run(tmp_path / "b", HUMAN, CELLS, record=record)
    assert len(collect([tmp_path]).groups) == 1


def test_the_order_of_rows_does_not_matter(tmp_path):
    write_run(tmp_path / "a", HUMAN, CELLS)
    write_run(tmp_path / "b", HUMAN, CELLS)
    file = tmp_path / "b/predictions.parquet"
    pd.read_parquet(file).sample(frac=1, random_state=3).to_parquet(file, index=False)
    (group,) = collect([tmp_path]).groups
    one, two = (run.summary.cells[TEXT] for run in group.runs)
    np.testing.assert_array_equal(one.quantised, two.quantised)
    assert [one.statuses[i] for i in one.status] == [two.statuses[i] for i in two.status]
    assert [one.statuses[i] for i in one.status] == ["unparsed" if i in (3, 4) else "ok" for i in range(30)]


def test_metrics_that_runs_define_differently_are_left_out_by_name(tmp_path):
    write_run(tmp_path / "a", HUMAN, CELLS)
    write_run(tmp_path / "b", HUMAN, CELLS)
    change(tmp_path / "b/metrics.json", lambda value: value["metrics"]["brier"].update(definition="a sum over labels"))
    (group,) = collect([tmp_path]).groups
    assert group.conflicts == ["brier"]
    assert "brier" not in group.definitions
    assert "wa" in group.definitions


def test_infinite_and_undefined_values_are_read_as_such(tmp_path):
    (group,) = collect([write_run(tmp_path / "a", HUMAN, CELLS)]).groups
    rows = {entry.row["readout"]: entry.row for entry in group.entries}
    assert rows["majority"]["metrics"]["vote_nll"] == math.inf
    assert math.isnan(rows["uniform"]["metrics"]["entropy_spearman"])


@pytest.mark.parametrize(
    ("reason", "damage"),
    [
        ("metrics.json cannot be read", lambda run: (run / "metrics.json").write_text("{")),
        ("no readable run.json", lambda run: (run / "run.json").unlink()),
        (
            "run.json and metrics.json are of different runs",
            lambda run: write_json(make_record(split="x"), run / "run.json"),
        ),
        ("is not one of emoprobe", lambda run: write_json({"rows": []}, run / "metrics.json")),
        ("is not one of emoprobe", lambda run: write_json([1], run / "metrics.json")),
        ("not a readable Parquet file", lambda run: (run / "predictions.parquet").write_bytes(b"PAR1 no")),
        ("predictions.parquet is missing", lambda run: (run / "predictions.parquet").unlink()),
        ("no column 'p_sad'", lambda run: drop_column(run, "p_sad")),
        ("is missing in the cell", lambda run: drop_row(run)),
        ("is not here", lambda run: change(run / "metrics.json", lambda v: v["rows"][0].update(prompt="another"))),
        (
            "counts other clips",
            lambda run: change(run / "metrics.json", lambda v: v["rows"][0].update(num_utterances=29)),
        ),
        (
            "states a JS divergence of 0.1",
            lambda run: change(run / "metrics.json", lambda v: v["rows"][0]["metrics"].update(js_divergence=0.1)),
        ),
        ("rows that do not sum to 1", lambda run: spoil(run)),
    ],
)
def test_a_damaged_folder_is_left_out_with_its_reason(tmp_path, reason, damage):
    write_run(tmp_path / "good", HUMAN, CELLS)
    damage(write_run(tmp_path / "bad", HUMAN, CELLS))
    found = collect([tmp_path])
    assert [run.name for run in found.runs] == ["good"]
    (problem,) = found.left_out
    assert problem.folder == tmp_path / "bad"
    if "do not sum" in reason:
        assert "label_likelihood" in problem.reason
    else:
        assert reason in problem.reason
    assert "\n" not in problem.reason


def drop_column(run, name):
    file = run / "predictions.parquet"
    pd.read_parquet(file).drop(columns=name).to_parquet(file, index=False)


def drop_row(run):
    file = run / "predictions.parquet"
    pd.read_parquet(file).iloc[1:].to_parquet(file, index=False)


def spoil(run):
    file = run / "predictions.parquet"
    frame = pd.read_parquet(file)
    frame.loc[frame.index[0], "p_sad"] = 0.9
    frame.to_parquet(file, index=False)


def test_failures_scored_as_uniform_are_accepted(tmp_path):
    run = write_run(tmp_path / "a", HUMAN, CELLS)
    from emoprobe.metrics.functional import evaluate

    target = HUMAN[[f"target_{label}" for label in LABELS]].to_numpy()
    filled = np.where(np.isnan(CELLS[TEXT]), 0.25, CELLS[TEXT])
    values = evaluate(filled, target)
    change(run / "metrics.json", lambda v: v["rows"][1].update(num_utterances=30, metrics=values))
    assert len(collect([run]).runs) == 1


def test_nothing_usable_is_an_error_in_one_line_that_says_why(tmp_path):
    with pytest.raises(InputError, match="no finished run was found") as caught:
        collect([tmp_path])
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="there is no such folder"):
        collect([tmp_path / "nowhere"])
    run = write_run(tmp_path / "a", HUMAN, CELLS)
    (run / "run.json").unlink()
    with pytest.raises(InputError, match=r"no readable run\.json"):
        collect([tmp_path])


def test_a_later_analysis_counts_only_where_it_is_named(tmp_path):
    run = write_run(tmp_path / "a", HUMAN, CELLS)
    again = write_run(run / "analysis", HUMAN, CELLS)
    for name in ("run.json", "utterances.parquet"):
        (again / name).unlink()
    found = collect([run])
    assert [one.folder for one in found.runs] == [run]
    assert [problem.folder for problem in found.left_out] == [again]
    (read,) = collect([again]).runs
    assert read.run.home == run
    assert len(read.run.utterances) == 30


# -- sweeps ------------------------------------------------------------------------------------------------------------

TASK = ["model=a,b", "seed=range(2)", "logger=none"]


def test_an_interrupted_sweep_names_its_missing_jobs(tmp_path):
    begun = {"0": ["model=a", "seed=0", "logger=none"], "1": ["model=a", "seed=1", "logger=none"]}
    begun["2"] = ["model=b", "seed=0", "logger=none"]
    sweep = write_sweep(tmp_path / "sweep", TASK, begun)
    write_run(sweep / "0", HUMAN, CELLS)
    (sweep / "1/scores_parts").mkdir()
    for i in range(3):
        (sweep / f"1/scores_parts/part-00000{i}.parquet").touch()
    write_json(make_record(), sweep / "1/run.json")
    found = collect([sweep])
    assert found.runs[0].overrides == begun["0"]
    named = {tuple(problem.job): (problem.folder.name, problem.reason) for problem in found.missing}
    assert set(named) == {tuple(begun["1"]), tuple(begun["2"]), ("model=b", "seed=1", "logger=none")}
    assert named[tuple(begun["1"])][1].startswith("interrupted: 3 finished batches")
    assert named[tuple(begun["2"])] == ("2", "a job without any result")
    assert named["model=b", "seed=1", "logger=none"] == ("sweep", "a job of the sweep that was never begun")


def test_a_whole_sweep_misses_nothing(tmp_path):
    jobs = {str(i): job for i, job in enumerate(expand(TASK))}
    sweep = write_sweep(tmp_path / "sweep", TASK, jobs)
    for name in jobs:
        write_run(sweep / name, HUMAN, CELLS)
    found = collect([sweep])
    assert len(found.runs) == 4
    assert found.missing == []


def test_jobs_are_those_of_hydras_own_sweeper():
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    task = ["model=a,b", "seed=range(3)", "+x=1.5", "y.z=true", "t='a b',c", "l=[1,2],[3]"]
    (jobs,) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(task), None)
    assert expand(task) == jobs
    assert len(expand(["labels=glob(*)"])) > 3


def test_a_sweep_over_configs_of_ones_own_names_their_jobs(tmp_path):
    conf = tmp_path / "my conf"
    (conf / "labels").mkdir(parents=True)
    for name in ("mine_a", "mine_b"):
        (conf / "labels" / f"{name}.yaml").touch()
    sweep = write_sweep(tmp_path / "sweep", ["labels=glob(mine_*)"], {"0": ["labels=mine_a"]}, conf)
    write_run(sweep / "0", HUMAN, CELLS)
    (problem,) = collect([sweep]).missing
    assert (problem.job, problem.reason) == (["labels=mine_b"], "a job of the sweep that was never begun")
    conf.rename(tmp_path / "elsewhere")
    (problem,) = collect([sweep]).missing
    assert "cannot be listed" in problem.reason
    assert f"no longer there (file {conf}" in problem.reason


def test_a_sweep_that_cannot_be_listed_says_so(tmp_path):
    sweep = write_sweep(tmp_path / "sweep", ["model=a,"], {})
    write_run(sweep / "0", HUMAN, CELLS)
    (problem,) = collect([sweep]).missing
    assert "cannot be listed" in problem.reason


def test_parts_of_a_study_of_probes_that_were_not_begun_are_named(tmp_path):
    folder = tmp_path / "study"
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra/config.yaml").write_text("study: {shared: [], parts: {small: [], large: []}}\n")
    write_run(folder / "small", HUMAN, CELLS)
    (problem,) = collect([folder]).missing
    assert (problem.folder, problem.reason) == (folder / "large", "a part of the study that was not begun")


def test_parts_of_a_study_that_were_not_begun_are_named(tmp_path):
    folder = tmp_path / "study"
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra/config.yaml").write_text("study: {seeds: [0, 1], trained: {probe: [], lora: []}}\n")
    (folder / ".hydra/overrides.yaml").write_text("- experiment=finetuning_study\n")
    write_run(folder / "zero_shot", HUMAN, CELLS)
    write_run(folder / "probe/seed0", HUMAN, CELLS)
    found = collect([folder])
    missing = {str(problem.folder.relative_to(folder)) for problem in found.missing}
    assert missing == {"probe/seed1", "lora/seed0", "lora/seed1"}
    assert all(run.overrides == ["experiment=finetuning_study"] for run in found.runs)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (["scores.parquet", "run.json"], "scored but not analysed"),
        (["settings.json"], "training was interrupted"),
        (["run.json"], "begun: no scores"),
    ],
)
def test_every_way_of_being_unfinished_has_its_words(tmp_path, files, reason):
    write_run(tmp_path / "done", HUMAN, CELLS)
    (tmp_path / "other").mkdir()
    for name in files:
        (tmp_path / "other" / name).write_text("{}")
    if "settings.json" in files:
        Told(verb="train", settings={}, inputs={}).write(tmp_path / "other")
    (problem,) = collect([tmp_path]).missing
    assert re.match(reason, problem.reason)
