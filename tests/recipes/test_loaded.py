"""The jobs of one command load their model once, and their numbers are those of the same jobs run alone."""

from __future__ import annotations

import copy
import gc
import os
import shutil
import weakref
from functools import wraps
from unittest.mock import create_autospec

import pandas as pd
import pytest
import torch
from torch import nn

from emoprobe.data import datamodule
from emoprobe.data.sound import survey
from emoprobe.models import load
from emoprobe.recipes import loaded
from emoprobe.recipes import train as recipe
from emoprobe.recipes.loaded import model_of, one_model
from emoprobe.recipes.parts import run_part
from emoprobe.recipes.settings import read_train
from emoprobe.settings import compose
from emoprobe.training import folds

SHORT = ("dataset.limit=12", "analysis.figures=false", "logger=none", "trainer.enable_progress_bar=false")


class Loads(list):
    """Weak references to the models that were loaded, and how many earlier ones were there before each."""

    def __init__(self) -> None:
        super().__init__()
        self.others: list[int] = []

    def of(self, loader):
        """The loader, watched."""

        @wraps(loader)
        def watched(*args, **options):
            gc.collect()
            self.others.append(sum(reference() is not None for reference in self))
            sfm = loader(*args, **options)
            self.append(weakref.ref(sfm.model))
            return sfm

        return watched


@pytest.fixture
def loads(monkeypatch):
    found = Loads()
    for name in ("load_transcriber", "load_audio_llm"):
        monkeypatch.setattr(load, name, found.of(getattr(load, name)))
    return found


def whisper(path) -> dict:
    return {"_target_": "emoprobe.models.load.load_transcriber", "name": "tiny", "path": str(path), "device": "cpu"}


@pytest.fixture
def folder(tiny_whisper_path, tmp_path):
    return shutil.copytree(tiny_whisper_path, tmp_path / "model")


def test_jobs_of_the_same_model_share_it_and_a_command_keeps_none(folder, loads):
    with one_model():
        with model_of(whisper(folder)) as first:
            pass
        with one_model(), model_of(whisper(folder)) as second:  # a study within a command
            assert second is first
        with model_of(whisper(folder) | {"task": "translate"}) as other:
            assert other is not first
    del first, second, other
    gc.collect()
    assert len(loads) == 2
    assert not any(reference() for reference in loads)
    for _ in range(2):
        with model_of(whisper(folder)):
            pass
    assert len(loads) == 4  # outside of a command nothing is kept


def test_a_model_that_is_given_is_taken(tiny_whisper, loads):
    with one_model(), model_of({}, tiny_whisper) as given:
        assert given is tiny_whisper
    assert not loads


def test_a_model_that_is_given_is_left_as_it_was_if_its_training_fails(tiny_whisper, tmp_path, monkeypatch):
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path / "cache"))
    sfm = tiny_whisper.around(copy.deepcopy(tiny_whisper.model))
    before = loaded._state(sfm.model)

    def fail(reader, *_, **__):
        assert loaded._state(sfm.model) != before  # it is adapted
        raise RuntimeError

    monkeypatch.setattr(folds, "fit_reader", fail)
    overrides = [
        "model=whisper",
        "model.path=.",
        "head=lora",
        "prompt=voice_sounds",
        *SHORT,
        f"output_dir={tmp_path}/run",
    ]
    settings = read_train(compose([*overrides, f"output_dir={tmp_path}/run"], "train"))
    with pytest.raises(RuntimeError):
        recipe.run(settings, sfm=sfm)
    assert loaded._state(sfm.model) == before


def test_the_model_before_is_gone_before_another_is_loaded(folder, loads):
    with one_model():
        for dtype in ("float32", "bfloat16", "float32"):
            with model_of(whisper(folder) | {"dtype": dtype}) as sfm:
                sfm.in_a_circle = sfm  # as those of a trainer
            del sfm
    assert len(loads) == 3
    assert loads.others == [0, 0, 0]


@pytest.mark.parametrize("change", ["weights", "time", "another file"])
def test_a_folder_that_has_changed_is_loaded_anew(change, folder, loads):
    file = folder / "model.safetensors"
    with one_model():
        with model_of(whisper(folder)) as first:
            pass
        if change == "weights":
            first.model.proj_out.weight.data += 1
            first.model.save_pretrained(folder)
        elif change == "time":
            os.utime(file, ns=(1, 1))
        else:
            (folder / "added_tokens.json").write_text("{}")
        with model_of(whisper(folder)) as second:
            assert second is not first
        if change == "weights":
            assert torch.equal(second.model.proj_out.weight, first.model.proj_out.weight)
    assert len(loads) == 2


def spoil_weight(model):
    model.proj_out.weight.data[3, 2] += 1e-3


def leave_adapter(model):
    model.proj_out = nn.Sequential(model.proj_out)


SPOILT = {
    "weight": spoil_weight,
    "adapter": leave_adapter,
    "mode": lambda model: model.model.encoder.train(),
    "checkpointing": lambda model: model.gradient_checkpointing_enable(),
    "precision": lambda model: model.to(torch.bfloat16),
    "setting": lambda model: setattr(model.config, "encoder_attention_heads", 1),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_model_that_a_job_has_changed_is_loaded_anew(how, folder, loads):
    with one_model():
        with model_of(whisper(folder)) as first:
            SPOILT[how](first.model)
        with model_of(whisper(folder)) as second:
            assert second is not first
    assert len(loads) == 2


def test_what_is_trained_of_it_is_as_after_loading(folder, loads):
    with one_model():
        with model_of(whisper(folder)) as sfm:
            flags = [parameter.requires_grad for parameter in sfm.model.parameters()]
            sfm.model.requires_grad_(False)
        with model_of(whisper(folder)) as again:
            assert [parameter.requires_grad for parameter in again.model.parameters()] == flags
    assert len(loads) == 1


def test_a_failed_job_leaves_no_model(folder, loads):
    with one_model():
        with pytest.raises(KeyboardInterrupt), model_of(whisper(folder)):
            raise KeyboardInterrupt
        with model_of(whisper(folder)):
            pass
    assert len(loads) == 2


class Random:
    """A loader of one's own whose weights are drawn."""

    def __init__(self) -> None:
        self.model = nn.Linear(2, 2)


def test_a_model_that_is_drawn_anew_for_every_seed_is_not_shared():
    with one_model():
        with model_of({"_target_": f"{__name__}.Random"}) as first:
            pass
        with model_of({"_target_": f"{__name__}.Random"}) as second:
            assert second is not first


def numbers(folder):
    frame = pd.read_parquet(folder / "predictions.parquet")
    return frame.drop(columns=[name for name in frame if "time" in name])


def test_parts_of_a_study_equal_the_same_alone(tiny_path, tmp_path, loads, monkeypatch):
    """Adapters, then the untuned model asked, then adapters, then a head on it: none shows what was there before."""
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path / "cache"))
    shared = ["model=audio_llm", "model.name=tiny/qwen2_audio", f"model.path={tiny_path('qwen2_audio')}"]
    shared += ["model.device=cpu", "prompt=instruction/single_word", *SHORT]
    fitted = [*shared, "fit.max_epochs=2", "dataset.partition.folds=3"]
    whole = "head.whole_modules=multi_modal_projector"
    parts = [
        ("train", [*fitted, "head=lora", "seed=1", whole, "head.gradient_checkpointing=true"]),
        ("probe", [*shared, "readout=[label_likelihood,averaged_logits]"]),
        ("train", [*fitted, "head=lora"]),
        ("train", [*fitted, "head=linear_probe", "head.layers=last"]),
    ]
    with one_model():
        for i, (kind, overrides) in enumerate(parts):
            run_part("part", overrides, tmp_path / f"{i}", kind)
    assert len(loads) == 1
    for i, (kind, overrides) in enumerate(parts):
        run_part("alone", overrides, tmp_path / f"{i} alone", kind)
        pd.testing.assert_frame_equal(numbers(tmp_path / f"{i}"), numbers(tmp_path / f"{i} alone"), check_exact=True)
    assert len(loads) == 5


def test_a_sweep_of_heads_loads_and_hears_once(tiny_whisper_path, tmp_path, console, loads, monkeypatch):
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path / "cache"))
    read = create_autospec(datamodule.read_audio, side_effect=datamodule.read_audio)
    for reader in (datamodule, survey):
        monkeypatch.setattr(reader, "read_audio", read)
    shared = [
        "model=whisper",
        f"model.path={tiny_whisper_path}",
        "model.device=cpu",
        *SHORT,
        "fit.max_epochs=2",
        "head.layers=last",
    ]
    swept = [f"hydra.sweep.dir={tmp_path}/sweep", "hydra.sweep.subdir=${hydra.job.num}"]
    done = console("train", "-m", *shared, *swept, "head=linear_probe", "seed=0,1")
    assert done.status == 0, done.out[-2000:] + done.err[-4000:]
    assert len(loads) == 1
    assert read.call_count == 12  # for its features; how it sounds is known from there
    done = console("train", *shared, "head=linear_probe", "seed=1", f"hydra.run.dir={tmp_path}/alone")
    assert done.status == 0, done.out[-2000:] + done.err[-4000:]
    pd.testing.assert_frame_equal(numbers(tmp_path / "sweep" / "1"), numbers(tmp_path / "alone"), check_exact=True)


def test_a_sweep_of_prompts_equals_each_alone(tiny_whisper_path, tmp_path, console, loads, monkeypatch):
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path / "cache"))
    shared = ["model=whisper", f"model.path={tiny_whisper_path}", "model.device=cpu", *SHORT]
    swept = [f"hydra.sweep.dir={tmp_path}/sweep", "hydra.sweep.subdir=${hydra.job.num}"]
    done = console("probe", "-m", *shared, *swept, "prompt=voice_sounds,speaker_feeling")
    assert done.status == 0, done.out[-2000:] + done.err[-4000:]
    assert len(loads) == 1
    for job, prompt in enumerate(("voice_sounds", "speaker_feeling")):
        done = console("probe", *shared, f"prompt={prompt}", f"hydra.run.dir={tmp_path / prompt}")
        assert done.status == 0, done.out[-2000:] + done.err[-4000:]
        pd.testing.assert_frame_equal(
            numbers(tmp_path / "sweep" / str(job)), numbers(tmp_path / prompt), check_exact=True
        )
