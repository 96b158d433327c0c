"""Slurm's variables in the environment of a run: of an allocation, of one task, of one of several."""

from __future__ import annotations

import os
import signal

import pytest
from lightning.fabric.plugins.environments import LightningEnvironment, SLURMEnvironment

from emoprobe.cli.entry import exit_status
from emoprobe.errors import InputError
from emoprobe.system import slurm, stopping
from emoprobe.training.arguments import NOT_IN_FITTING
from emoprobe.training.trainer import make_trainer

BATCH = {"SLURM_JOB_ID": "12345", "SLURM_JOB_NAME": "study", "SLURM_NNODES": "1"}
FIRST = {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
STEP = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"}
OWN = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}


@pytest.mark.parametrize(
    ("variables", "environment"),
    [
        ({**BATCH, **FIRST, "SLURM_NTASKS": "4"}, LightningEnvironment),  # Lightning's own choice ends in a traceback
        ({**BATCH, **FIRST, "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "4"}, LightningEnvironment),
        ({**BATCH, "SLURM_NTASKS": "1"}, LightningEnvironment),  # a shell of salloc
        ({**BATCH, **FIRST, "SLURM_NTASKS": "1", "SLURM_NNODES": "2"}, LightningEnvironment),
        ({**BATCH, **FIRST, **STEP, "SLURM_NTASKS": "4", "SLURM_PTY_PORT": "4000"}, LightningEnvironment),
        ({**BATCH, **FIRST, "SLURM_NTASKS": "1"}, SLURMEnvironment),  # one task: a requeue is Lightning's affair
        ({**BATCH, **FIRST, "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "1"}, SLURMEnvironment),
    ],
)
def test_one_process_stays_one(variables, environment, monkeypatch, tmp_path):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    slurm.check_tasks(1, 1)
    own = {**OWN, "default_root_dir": tmp_path}
    trainer = make_trainer({"accelerator": "cpu", "devices": 1}, own, NOT_IN_FITTING)
    assert trainer.world_size == 1
    assert type(trainer._accelerator_connector.cluster_environment) is environment or trainer.num_devices == 1
    assert slurm.is_alone(1) is (environment is LightningEnvironment)


def test_own_processes_are_begun_where_slurm_has_begun_one(monkeypatch):
    for name, value in {**BATCH, **FIRST, "SLURM_NTASKS": "1"}.items():
        monkeypatch.setenv(name, value)
    assert slurm.is_alone(2)  # Slurm would begin no second one


@pytest.mark.parametrize(
    ("devices", "per_node", "refused"), [(1, None, True), (2, "4", True), (4, None, True), (4, "4", False)]
)
def test_several_tasks_of_a_single_run_are_refused(devices, per_node, refused, monkeypatch):
    for name, value in {**BATCH, **FIRST, **STEP, "SLURM_NTASKS": "4"}.items():
        monkeypatch.setenv(name, value)
    if per_node:
        monkeypatch.setenv("SLURM_NTASKS_PER_NODE", per_node)
    if not refused:
        slurm.check_tasks(devices, 1)
        return
    with pytest.raises(InputError, match="srun has begun this command 4 times"):
        slurm.check_tasks(devices, 1)
    monkeypatch.setenv("SLURM_PROCID", "3")
    with pytest.raises(SystemExit):  # the first one says it
        slurm.check_tasks(devices, 1)


@pytest.mark.parametrize("verb", ["probe", "train"])
def test_they_are_refused_before_a_model_is_loaded(verb, console, tmp_path, monkeypatch):
    for name, value in {**BATCH, **FIRST, **STEP, "SLURM_NTASKS": "4"}.items():
        monkeypatch.setenv(name, value)
    asked = ("model=whisper", "model.path=nowhere", "logger=none", f"hydra.run.dir={tmp_path}")
    done = console(verb, *asked)
    assert done.status == 2
    assert done.err.startswith("error: Slurm's srun has begun this command 4 times, not 1 as the settings say")
    assert len(done.err.strip().splitlines()) == 1


# -- SIGUSR1: what Slurm sends before the time is up -------------------------------------------------------------------


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """What an ``scontrol`` of this test was asked for."""
    program, told = tmp_path / "bin" / "scontrol", tmp_path / "asked"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {told}\n[ "$2" != 13 ] || {{ echo "no such job" >&2; exit 1; }}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm._Wish, "requeues", True)
    return lambda: told.read_text().splitlines() if told.exists() else []


def stop(signum: int) -> int:
    def run() -> None:
        raise stopping.Stopped(signum, "Run the same command again.")

    return exit_status(run)


ARRAY = {**BATCH, "SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "5"}


@pytest.mark.parametrize(
    ("variables", "signum", "wanted"),
    [
        (BATCH, signal.SIGUSR1, ["requeue 12345"]),
        (ARRAY, signal.SIGUSR1, ["requeue 77_5"]),
        (BATCH, signal.SIGTERM, []),
        ({**BATCH, "SLURM_JOB_NAME": "bash"}, signal.SIGUSR1, []),
        ({**BATCH, "SLURM_JOB_NAME": "interactive"}, signal.SIGUSR1, []),
        ({}, signal.SIGUSR1, []),
    ],
)
def test_a_batch_job_is_begun_again(variables, signum, wanted, asked, monkeypatch, capsys):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert stop(signum) == 128 + signum
    assert asked() == wanted
    said = capsys.readouterr().err
    assert ("Slurm begins job" in said) is bool(wanted)
    assert said.count("\n") == 1


def test_slurm_may_refuse_or_be_away(asked, monkeypatch, capsys):
    for name, value in {**BATCH, "SLURM_JOB_ID": "13"}.items():
        monkeypatch.setenv(name, value)
    assert stop(signal.SIGUSR1) == 138
    assert "Slurm does not begin job 13 again: no such job." in capsys.readouterr().err
    monkeypatch.setenv("PATH", "/nowhere")
    assert stop(signal.SIGUSR1) == 138
    assert "Slurm could not be asked to begin job 13 again" in capsys.readouterr().err


def test_the_users_own_environment_may_forbid_it(asked, monkeypatch, tmp_path):
    for name, value in BATCH.items():
        monkeypatch.setenv(name, value)
    node = {"_target_": "lightning.pytorch.plugins.environments.SLURMEnvironment", "auto_requeue": False}
    own = {**OWN, "default_root_dir": tmp_path}
    make_trainer({"accelerator": "cpu", "devices": 1, "plugins": [node]}, own, NOT_IN_FITTING)
    assert stop(signal.SIGUSR1) == 138
    assert asked() == []
