"""Sweeps: one command is run, resume and retry; they end in a table whatever became of their jobs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pandas as pd
import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from omegaconf import OmegaConf
from scoring import write_corpus

from emoprobe.cli.swept import JobError
from emoprobe.models.load import load_transcriber
from emoprobe.run.job import JOB_FILE, LOG_FILE, read_job
from emoprobe.run.scores import read_scores
from emoprobe.run.sweep import expand

ASKED = (
    *("model.device=cpu", "logger=none", "readout=label_likelihood", "calibration=none", "null_inputs.kinds=[silence]"),
    *("null_inputs.seconds=0.5", "analysis.figures=false", "analysis.resamples=20", "trainer.accelerator=cpu"),
    *("trainer.enable_progress_bar=false", "prompt=bare_label", "dataset=manifest"),
)


@pytest.fixture
def sweep(console, tiny_whisper_path, tmp_path):
    """Call a sweep of probes into one folder."""
    corpus = write_corpus(tmp_path / "corpus", count=4)

    def call(*words, verb="probe", path=corpus):
        model = ("model=whisper", f"model.path={tiny_whisper_path}")
        done = console(
            verb, "-m", *model, *ASKED, f"dataset.path={path}", f"hydra.sweep.dir={tmp_path / 'sweep'}", *words
        )
        assert "Traceback" not in done.err + done.out
        return done

    call.folder, call.corpus = tmp_path / "sweep", corpus
    return call


class Counting(Sweeper):
    """A sweeper that counts failures itself, as optimisers do."""

    told: ClassVar[list] = []

    def __init__(self, **_):
        self.config = self.launcher = None

    def setup(self, **given):
        self.config, self.launcher = given["config"], Plugins.instance().instantiate_launcher(**given)

    def sweep(self, arguments):
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        for job in self.launcher.launch(expand(arguments), initial_job_idx=0):
            try:
                self.told.append(job.return_value)
            except Exception as error:
                self.told.append(error)


def lines_of(out: str, begin: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith(begin)]


def states(folder: Path) -> list[str | None]:
    return [getattr(read_job(folder / name), "state", None) for name in sorted(os.listdir(folder)) if name.isdecimal()]


def spread(frame: pd.DataFrame, job: int) -> pd.DataFrame:
    return frame[frame["job"] == job].reset_index(drop=True)


def test_a_sweep_with_a_job_that_fails_ends_in_a_table_and_is_retried(sweep, console, monkeypatch, tmp_path):
    loaded = []
    monkeypatch.setattr(
        "emoprobe.models.load.load_transcriber", lambda *a, **k: loaded.append(a) or load_transcriber(*a, **k)
    )
    seeds = f"dataset.path={tmp_path / 'gone.csv'},{sweep.corpus}"
    done = sweep(seeds, "seed=0,1")
    assert done.status == 1
    assert [line.split()[:2] for line in lines_of(done.out, "[")] == [[f"[{i + 1}/4]", f"#{i}"] for i in range(4)]
    assert [line.split()[-1] for line in lines_of(done.out, "[")[2:]] == ["done", "done"]
    assert re.search(r"seed=1  \d+\.\d s  JS 0\.\d{3}  done", done.out)
    failed = lines_of(done.out, "Failed")
    assert [line.split()[1] for line in failed] == ["#0", "#1"]
    assert all("gone.csv" in line and line.endswith(LOG_FILE) for line in failed)
    assert "floor: uniform" in done.out
    assert "ceiling: human" in done.out
    assert "UAR ↑" in done.out
    assert len(loaded) == 1  # jobs that share a model load it once, whatever failed before
    assert states(sweep.folder) == ["failed", "failed", "done", "done"]
    state = read_job(sweep.folder / "0")
    assert (state.verb, state.number, state.process) == ("probe", 0, os.getpid())
    assert "seed=0" in state.overrides
    assert state.settings["seed"] == 0
    assert "gone.csv" in (sweep.folder / "0" / LOG_FILE).read_text()
    assert "JS ↓" in (sweep.folder / "2" / LOG_FILE).read_text()
    assert "JS ↓" in done.out
    assert done.out.count("\n") < 40

    frame = pd.read_csv(sweep.folder / "sweep.csv")
    assert list(frame.columns[:6]) == ["job", "state", "error", "folder", "config.dataset.path", "config.seed"]
    assert list(spread(frame, 0)["state"]) == ["failed"]
    assert "gone.csv" in spread(frame, 0)["error"][0]
    for job in (2, 3):
        own = pd.read_csv(sweep.folder / str(job) / "metrics.csv")
        pd.testing.assert_frame_equal(spread(frame, job)[list(own.columns)], own, check_dtype=False)
    assert (sweep.folder / "report" / "index.html").is_file()

    again = sweep(seeds, "seed=0,1")
    assert again.status == 1
    assert len(loaded) == 1
    assert [line.split()[-2:] for line in lines_of(again.out, "[")[2:]] == [["done", "before"]] * 2
    assert all("failed before" in line for line in lines_of(again.out, "[")[:2])
    assert "retry=failed" in lines_of(again.out, "Next")[0]

    (tmp_path / "gone.csv").write_bytes(sweep.corpus.read_bytes())
    for file in sweep.corpus.parent.glob("*.wav"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    done = sweep(seeds, "seed=0,1", "retry=failed")
    assert done.status == 0, done.out + done.err
    assert states(sweep.folder) == ["done"] * 4
    status = console("sweep", "status", sweep.folder)
    assert status.status == 0
    assert [line.split()[0] for line in status.out.splitlines()] == ["done"] * 4 + ["Sweep"]


def test_what_was_interrupted_goes_on_and_the_table_is_that_of_an_undisturbed_sweep(sweep, console):
    done = sweep("seed=0,1,2")
    assert done.status == 0
    whole = pd.read_csv(sweep.folder / "sweep.csv")
    killed = sweep.folder / "1"
    state = json.loads((killed / JOB_FILE).read_text())
    (killed / JOB_FILE).write_text(json.dumps(state | {"state": "running"}))  # as a SIGKILL leaves it
    for name in ("metrics.json", "predictions.parquet"):
        (killed / name).unlink()
    for file in (sweep.folder / "2").iterdir():
        if file.is_file():
            file.unlink()
    status = console("sweep", "status", sweep.folder)
    assert status.status == 1
    assert [line.split()[0] for line in status.out.splitlines()[:3]] == ["done", "interrupted", "missing"]
    assert "1 done, 1 interrupted, 1 missing" in status.out
    table = console("sweep", "table", sweep.folder)
    assert table.status == 1
    assert "Interrupted" in table.out
    assert "Missing" in table.out

    done = sweep("seed=0,1,2")
    assert done.status == 0
    assert [line.split()[-1] for line in lines_of(done.out, "[")] == ["before", "done", "done"]
    pd.testing.assert_frame_equal(pd.read_csv(sweep.folder / "sweep.csv"), whole)


def test_a_changed_sweep_is_refused_before_its_first_job(sweep, console):
    sweep("seed=0,1")
    command = (sweep.folder / "multirun.yaml").read_text()
    done = sweep("seed=0,2", "batch_size=1")
    assert done.status == 2
    assert done.err.splitlines()[0] == "    #1 seed: 1 -> 2"
    assert done.err.splitlines()[1].startswith("error: this folder holds another sweep")
    assert (sweep.folder / "multirun.yaml").read_text() == command
    assert console("sweep", "status", sweep.folder).status == 0
    assert sweep("seed=0,1,2", "num_workers=0").status == 0  # it can be made longer


def test_a_job_in_the_folder_of_another_one_is_refused_and_leaves_what_is_there(sweep, console):
    named = "hydra.sweep.subdir=job_${hydra.job.num}"
    sweep("seed=0,1", named)
    place = sweep.folder / "job_1"
    before = read_scores(place)
    done = sweep("seed=0,2", named, "keep_going=false")
    assert done.status == 1
    assert "done before" in lines_of(done.out, "[1/2]")[0]
    assert "refused" in lines_of(done.out, "[2/2]")[0]
    assert "    seed: 1 -> 2" in done.out.splitlines()
    assert read_scores(place).equals(before)
    assert "seed=1" in (place / ".hydra" / "overrides.yaml").read_text()
    status = console("sweep", "status", sweep.folder)
    assert status.status == 1
    assert "refused     #1 seed=1: this folder holds a job with other settings; seed: 1 -> 2" in status.out
    assert sweep("seed=0,1", named).status == 0


def test_no_job_begins_after_a_failed_one_if_so_asked(sweep, tmp_path):
    done = sweep(f"dataset.path={tmp_path / 'gone.csv'},{sweep.corpus}", "keep_going=false")
    assert done.status == 1
    assert states(sweep.folder) == ["failed"]
    assert "keep_going is false" in done.err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: os.utime(next(file.parent.glob("*.wav")), (time.time() + 9,) * 2), "sound newer than the run"),
        (lambda file: file.write_text("".join(file.read_text().splitlines(True)[:-1])), "no longer in the corpus"),
    ],
)
def test_a_finished_job_whose_corpus_has_changed_is_no_result(sweep, change, said):
    sweep("seed=0,1")
    change(sweep.corpus)
    done = sweep("seed=0,1")
    assert done.status == 1
    assert all("refused: it is done, and what it was made of has changed" in line for line in lines_of(done.out, "["))
    assert said in done.out
    assert "Delete" in done.out
    assert len(lines_of(done.out, "Refused")) == 2


def test_a_signal_stops_a_sweep_and_the_same_command_goes_on(sweep, tiny_whisper_path, console):
    asked = [word for word in ASKED if not word.startswith(("readout", "prompt", "dataset"))]
    asked += ["model=whisper", f"model.path={tiny_whisper_path}", f"hydra.sweep.dir={sweep.folder}"]
    asked += ["prompt=whisper_all", "dataset.limit=1,64"]
    command = [sys.executable, "-m", "emoprobe", "probe", "-m", *asked]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(1200):
            if (sweep.folder / "1" / "utterances.parquet").exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        status = console("sweep", "status", sweep.folder)
        assert [line.split()[0] for line in status.out.splitlines()[:2]] == ["done", "running"]
        assert f"process {process.pid} on " in status.out
        process.terminate()
        out, err = process.communicate(timeout=120)
    assert process.returncode == 143, err
    assert [line.split()[-1] for line in lines_of(out, "[")] == ["done", "SIGTERM"]
    assert err.splitlines()[-1] == (
        f"stopped: by SIGTERM; what was finished is kept. The same command with hydra.sweep.dir={sweep.folder} goes on."
    )
    assert states(sweep.folder) == ["done", "interrupted"]
    done = console("probe", "-m", *asked)
    assert done.status == 0, done.err
    assert [line.split()[-1] for line in lines_of(done.out, "[")] == ["before", "done"]


def test_a_sweeper_that_counts_failures_is_told_of_them_and_what_a_finished_job_is_worth(sweep, monkeypatch, tmp_path):
    monkeypatch.setattr("emoprobe.cli.swept.value_of", lambda folder, config: 0.25)
    monkeypatch.setattr(Plugins, "is_in_toplevel_plugins_module", staticmethod(lambda name: True))
    monkeypatch.setattr(Counting, "__module__", "counting")
    monkeypatch.setitem(sys.modules, "counting", SimpleNamespace(Counting=Counting))
    Plugins.instance().register(Counting)
    asked = ["hydra.sweeper._target_=counting.Counting", "keep_going=false"]
    asked.append(f"dataset.path={tmp_path / 'gone.csv'},{sweep.corpus}")
    for _ in range(2):
        Counting.told.clear()
        done = sweep(*asked)
        failed, value = Counting.told
        assert isinstance(failed, JobError)
        assert "job 0 has no result" in str(failed)
        assert "gone.csv" in str(failed)
        assert value == 0.25
        assert done.status == 1
    assert lines_of(done.out, "#1") == [f"#1 dataset.path={sweep.corpus}  done before"]


def test_a_sweep_of_trainings_goes_on_too(console, tiny_whisper_path, tmp_path, monkeypatch):
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path / "cache"))
    asked = ["model=whisper", f"model.path={tiny_whisper_path}", "model.device=cpu", "logger=none", "dataset.limit=24"]
    asked += ["head.layers=[-1]", "fit.max_epochs=2", "analysis.figures=false", "analysis.resamples=10", "seed=0,1"]
    asked += ["trainer.accelerator=cpu", "trainer.enable_progress_bar=false", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    done = console("train", "-m", *asked)
    assert done.status == 0, done.err
    whole = pd.read_csv(tmp_path / "sweep" / "sweep.csv")
    killed = tmp_path / "sweep" / "1"
    (killed / JOB_FILE).write_text((killed / JOB_FILE).read_text().replace('"done"', '"running"'))
    (killed / "metrics.json").unlink()
    again = console("train", "-m", *asked, "num_workers=0")
    assert again.status == 0, again.err
    assert [line.split()[-1] for line in lines_of(again.out, "[")] == ["before", "done"]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "sweep" / "sweep.csv"), whole)
    assert console("train", "-m", *asked, "fit.learning_rate=0.1").status == 2


def test_where_there_is_no_sweep_it_is_said(console, tmp_path):
    done = console("sweep", "status", tmp_path)
    assert done.status == 2
    assert done.err.startswith(f"error: no sweep was found (file {tmp_path})")
