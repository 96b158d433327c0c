"""Sweeps whose jobs run in other processes: the numbers of a serial sweep, whatever becomes of a process."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from safetensors.numpy import load_file

from emoprobe.cli import plugins
from emoprobe.run.job import read_job
from emoprobe.run.scores import read_scores


@pytest.fixture(scope="module")
def asked(tiny_whisper_path, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOPROBE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield [
            *("-m", "model=whisper", f"model.path={tiny_whisper_path}", "model.device=cpu", "logger=none"),
            *("head.layers=[-1]", "fit.max_epochs=40", "fit.patience=40", "fit.checkpoint_seconds=0"),
            *("analysis.figures=false", "analysis.resamples=10", "trainer.accelerator=cpu"),
            "trainer.enable_progress_bar=false",
        ]


def equal(one, other):
    mine, theirs = (read_scores(folder).drop_columns(["model"]).to_pylist() for folder in (one, other))
    assert mine == theirs
    weights, others = (load_file(folder / "head_fold0" / "head.safetensors") for folder in (one, other))
    assert all((weights[name] == others[name]).all() for name in weights)


def test_joblib_gives_the_rows_of_a_serial_sweep(asked, tmp_path, console):
    jobs = ["seed=0,1", "fit.batch_size=64,0", "fit.max_epochs=3"]
    done = {}
    for name, more in (("serial", []), ("joblib", ["hydra/launcher=joblib"])):
        done[name] = console("train", *asked, *jobs, *more, f"hydra.sweep.dir={tmp_path / name}")
        assert done[name].status == 1, done[name].err
        assert [read_job(tmp_path / name / job).state for job in "0123"] == ["done", "failed"] * 2
        assert "Traceback" not in done[name].err
    for job in "02":
        equal(tmp_path / "serial" / job, tmp_path / "joblib" / job)
    lines = [[line for line in each.out.splitlines() if line.startswith("Failed")] for each in done.values()]
    assert [line.partition("  /")[0] for line in lines[0]] == [line.partition("  /")[0] for line in lines[1]]
    assert len(lines[0]) == 2


def disturb(folder, signum):
    """Send a signal to the process of a job once it has something to go on from; its process then."""
    told = []

    def watch():
        end = time.monotonic() + 120
        while time.monotonic() < end:
            job = read_job(folder) if folder.exists() else None
            if job is not None and list(folder.glob("checkpoints/*/last*")):
                told.append(job.process)
                os.kill(job.process, signum)
                return
            time.sleep(0.02)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return told


@pytest.mark.slow
def test_submitit_goes_on_after_its_signal_and_after_a_kill(asked, tmp_path, console):
    assert console("train", *asked, f"hydra.sweep.dir={tmp_path / 'serial'}", "seed=0").status == 0
    for name, signum in (("requeued", signal.SIGUSR2), ("killed", signal.SIGKILL)):
        job = tmp_path / name / "0"
        command = ("train", *asked, "seed=0", "hydra/launcher=submitit_local", f"hydra.sweep.dir={tmp_path / name}")
        first = disturb(job, signum)
        done = console(*command)
        assert first
        if signum == signal.SIGKILL:
            assert (done.status, read_job(job).state) == (1, "interrupted")
            assert done.err.strip().splitlines()[-1].startswith("error: a process of a job was killed")
            assert "Traceback" not in done.err
            done = console(*command)
        assert done.status == 0, done.out + done.err
        assert read_job(job).state == "done"
        assert read_job(job).process not in (first[0], os.getpid())
        assert (job / "job.log").read_text().count("-- 20") == 2
        equal(tmp_path / "serial" / "0", job)


@pytest.mark.parametrize(
    ("preset", "extra"),
    [
        ("hydra/launcher=joblib", "joblib"),
        ("hydra/launcher=submitit_local", "submitit"),
        ("hydra/launcher=submitit_slurm", "submitit"),
        ("hydra/launcher=ray", "ray"),
        ("hydra/sweeper=optuna", "optuna"),
    ],
)
def test_a_plugin_that_is_not_installed_is_said_in_one_line(preset, extra, console, tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "find_spec", lambda name: None)
    done = console("train", "-m", preset, "seed=0,1", "optimize=js_divergence", f"hydra.sweep.dir={tmp_path / 'new'}")
    assert done.status == 2
    assert f'pip install "emoprobe[{extra}]"' in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_the_preset_of_slurm_asks_for_what_it_says(asked, console, tmp_path, monkeypatch):
    command = ("train", *asked, "seed=0,1", "hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu")
    monkeypatch.setenv("PATH", "/nowhere")
    done = console(*command, f"hydra.sweep.dir={tmp_path / 'none'}")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert done.err.startswith("error: there is no srun here, so no Slurm")
    for name, text in (
        ("srun", "exit 0"),
        ("sbatch", f'cp "$1" {tmp_path}/script; echo no such partition >&2; exit 3'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.defpath}")
    done = console(*command, f"hydra.sweep.dir={tmp_path / 'refused'}")
    assert (done.status, done.err.splitlines()[-1]) == (
        1,
        "error: the jobs could not be submitted: no such partition",
    )
    assert "Traceback" not in done.err
    script = (tmp_path / "script").read_text()
    for line in ("array=0-1%2", "signal=USR2@120", "time=240", "partition=gpu", "gpus-per-node=1", "cpus-per-task=4"):
        assert f"#SBATCH --{line}\n" in script


def test_a_stopped_command_stops_its_workers_and_says_how_to_go_on(asked, tmp_path, console):
    begun = ("train", *asked, "fit.max_epochs=5000", "fit.patience=5000", "seed=0,1", "hydra/launcher=joblib")
    stop = threading.Thread(target=_stop_when_begun, args=(tmp_path,), daemon=True)
    stop.start()
    done = console(*begun, f"hydra.sweep.dir={tmp_path}")
    assert done.status == 143
    lines = done.err.strip().splitlines()
    assert lines[-1] == (
        f"stopped: by SIGTERM; what was finished is kept. The same command with hydra.sweep.dir={tmp_path} goes on."
    )
    end = time.monotonic() + 30
    while {read_job(tmp_path / job).state for job in "01"} != {"interrupted"}:
        assert time.monotonic() < end
        time.sleep(0.1)


def _stop_when_begun(folder):
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if all(list(folder.glob(f"{job}/checkpoints/*/last*")) for job in "01"):
            os.kill(os.getpid(), signal.SIGTERM)
            return
        time.sleep(0.05)
