"""Slurm's variables in the environment of a run: of an allocation, of one task, of one of several."""

from __future__ import annotations

import pytest
from lightning.fabric.plugins.environments import LightningEnvironment, SLURMEnvironment

from emoprobe.errors import InputError
from emoprobe.system import slurm
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
