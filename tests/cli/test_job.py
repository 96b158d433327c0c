"""A sweep whose jobs have two processes each: every process belongs to one job."""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
import pytest
from checkout import PROJECT
from console import TWO, alone

from emoprobe.run.job import LOG_FILE, read_job
from emoprobe.run.scores import read_scores
from emoprobe.system.processes import beginning


@pytest.mark.slow
def test_jobs_of_two_processes_are_the_jobs_of_one(tiny_whisper_path, tmp_path, console, monkeypatch):
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path / "cache"))
    shared = [
        *("model=whisper", f"model.path={tiny_whisper_path}", "model.device=cpu", "logger=none", "dataset.limit=24"),
        *(
            "head.layers=[-1]",
            "fit.max_epochs=2",
            "fit.batch_size=7",
            "analysis.figures=false",
            "analysis.resamples=10",
        ),
        *("trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "dataset.fold=0,1", "seed=${hydra:job.num}"),
    ]
    tables = {}
    script = partial(alone, begin=[PROJECT / "train.py"])
    for name, call, options in (("one", partial(console, "train"), []), ("two", script, TWO)):
        sweep = tmp_path / f"sweep {name}"
        done = call("-m", *shared, *options, f"hydra.sweep.dir={sweep}")
        assert done.status == 0, done.out[-2000:] + done.err[-4000:]
        lines = done.out.splitlines()
        assert [line.split()[:2] for line in lines[:2]] == [["[1/2]", "#0"], ["[2/2]", "#1"]]
        assert [line.split()[0] for line in lines[-3:]] == ["Sweep", "Written", "Report"]
        assert done.out.count("JS ↓") == 1
        assert [(sweep / job / LOG_FILE).read_text().count("JS ↓") for job in "01"] == [1, 1]
        assert [read_job(sweep / job).state for job in "01"] == ["done", "done"]
        assert sorted(path.name for path in sweep.iterdir()) == ["0", "1", "multirun.yaml", "report", "sweep.csv"]
        tables[name] = [read_scores(sweep / job).to_pandas().set_index("utterance_id") for job in "01"]
    for one, two in zip(tables["one"], tables["two"], strict=True):
        assert sorted(one.index) == sorted(two.index)
        scores = [np.stack(table.loc[one.index, "form_logprobs"]) for table in (one, two)]
        np.testing.assert_allclose(*scores, atol=1e-5)
    assert set(tables["two"][0].index).isdisjoint(tables["two"][1].index)  # folds of their own


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("/venv/bin/emoprobe", ["/venv/bin/emoprobe", "train"]),
        ("/site-packages/emoprobe/__main__.py", ["/site-packages/emoprobe/__main__.py", "train"]),
        ("probe.py", ["train.py"]),
        ("/checkout/train.py", ["/checkout/train.py"]),
    ],
)
def test_further_processes_begin_as_the_first_did(program, expected, monkeypatch):
    monkeypatch.setattr(sys, "argv", [program, "model=whisper_base"])
    assert beginning("train") == expected
