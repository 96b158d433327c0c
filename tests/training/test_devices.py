"""Devices that are not there, and strategies that would divide the model, are refused before anything is begun."""

from __future__ import annotations

import pytest
import torch

from emoprobe.errors import InputError
from emoprobe.training.arguments import check_fitting, check_scoring
from emoprobe.training.trainer import check_devices


@pytest.mark.parametrize(
    ("options", "gpus", "said"),
    [
        (
            {"devices": 99, "accelerator": "cpu"},
            0,
            "99 devices are asked for and this machine has room for 4 processes",
        ),
        ({"devices": "99"}, 0, "room for 4 processes"),
        ({"devices": 3, "accelerator": "gpu"}, 2, r"this machine has 2 GPUs .*Ask for 2 at most"),
        ({"devices": 2, "accelerator": "auto"}, 1, "this machine has 1 GPU "),
        ({"devices": 1, "accelerator": "cuda"}, 0, r"this machine has no GPUs .*accelerator=cpu"),
        ({"devices": 4, "accelerator": "cpu"}, 0, None),
        ({"devices": 2}, 2, None),
        ({"devices": "auto"}, 0, None),
        ({"devices": [0, 7]}, 2, None),  # Lightning's own affair
        ({}, 0, None),
    ],
)
def test_more_devices_than_there_are(options, gpus, said, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    if said is None:
        check_devices(options)
        return
    with pytest.raises(InputError, match=said):
        check_devices(options)


@pytest.mark.parametrize("check", [check_scoring, check_fitting])
@pytest.mark.parametrize(
    "strategy",
    ["fsdp", "fsdp_cpu_offload", "deepspeed_stage_3", {"_target_": "lightning.pytorch.strategies.FSDPStrategy"}],
    ids=str,
)
def test_a_model_is_not_divided_among_processes(check, strategy):
    with pytest.raises(InputError, match=r"every process holds the whole model.*device_map"):
        check({"strategy": strategy})


@pytest.mark.parametrize("verb", ["probe", "train"])
def test_it_is_said_before_a_model_is_loaded(verb, console, tmp_path):
    asked = ("model=whisper", "model.path=nowhere", "logger=none", f"hydra.run.dir={tmp_path}")
    done = console(verb, *asked, "trainer.devices=999", "trainer.accelerator=cpu")
    assert done.status == 2
    assert "999 devices are asked for" in done.err
    assert len(done.err.strip().splitlines()) == 1
