"""Trackers mirror a run and are closed whatever happens."""

from __future__ import annotations

import gc

import pytest

from emoprobe.errors import InputError
from emoprobe.recipes import probe as probing
from emoprobe.recipes import train as training
from emoprobe.recipes.settings import read_probe, read_train
from emoprobe.report import tracking
from emoprobe.settings import compose, plain


def tiny_config(model, output, *overrides):
    return read_probe(
        compose(
            [
                f"model.path={model}",
                "model.device=cpu",
                f"output_dir={output}",
                "dataset.limit=3",
                "readout=label_likelihood",
                "calibration=none",
                "null_inputs.kinds=[]",
                "trainer.accelerator=cpu",
                "trainer.enable_progress_bar=false",
                *overrides,
            ]
        )
    )


def test_wandb_offline_needs_no_account_and_is_closed(tiny_whisper_path, tmp_path):
    import wandb

    for job in ("a", "b"):  # as two jobs of a multirun in one process
        probing.run(tiny_config(tiny_whisper_path, tmp_path / job, "logger=wandb"))
        assert wandb.run is None
        folders = list((tmp_path / job / "wandb").glob("offline-run-*"))
        assert len(folders) == 1
        assert list(folders[0].glob("*.wandb"))
        assert list(folders[0].rglob("*.png"))
        assert list(folders[0].rglob("predictions*.json"))


def test_wandb_gets_the_judgement_too(tiny_whisper_path, tmp_path):
    more = ["logger=wandb", "report=true", "analysis.resamples=20", "analysis.figures=false", "dataset.limit=12"]
    probing.run(tiny_config(tiny_whisper_path, tmp_path, *more))
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    sent = {file.name.rpartition("_")[0].rpartition("_")[0] for file in run.rglob("*.table.json")}
    written = {file.stem for file in (tmp_path / "judgement").glob("*.csv")}
    assert {"results", "predictions"} <= sent
    assert written
    assert written <= sent
    figures = {file.stem for file in (tmp_path / "judgement" / "figures").glob("*.png")}
    assert figures
    pictures = [file.name for file in run.rglob("*.png")]
    assert all(any(name.startswith(figure) for name in pictures) for figure in figures)
    assert (tmp_path / "report" / "index.html").is_file()


@pytest.mark.parametrize(("log_model", "artifacts"), [("false", 0), ("true", 1)])
def test_what_was_trained_is_an_artifact(log_model, artifacts, tiny_whisper_path, tmp_path, monkeypatch):
    import wandb

    sent = []
    log = wandb.Run.log_artifact

    def log_artifact(run, artifact, *arguments, **options):
        sent.append((run.id, artifact, options.get("aliases")))
        gc.collect()  # the trainers have ended
        return log(run, artifact, *arguments, **options)

    monkeypatch.setattr(wandb.Run, "log_artifact", log_artifact)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path / "cache"))
    options = ["model=whisper", f"model.path={tiny_whisper_path}", "model.device=cpu", "trainer.accelerator=cpu"]
    options += ["head=linear_probe", "head.layers=last", "fit.max_epochs=1", "dataset.limit=24", "dataset.fold=0"]
    options += ["logger=wandb", "logger.offline=false", f"logger.log_model={log_model}", "analysis.figures=false"]
    options += ["analysis.resamples=9", "trainer.enable_progress_bar=false", f"output_dir={tmp_path / 'run'}"]
    training.run(read_train(compose(options, "train")))
    models = [(run, artifact, aliases) for run, artifact, aliases in sent if artifact.type == "model"]
    assert len(models) == artifacts
    for run, artifact, aliases in models:
        assert artifact.name.partition(":")[0] == f"model-{run}"
        assert set(artifact.manifest.entries) == {"head_fold0/head.json", "head_fold0/head.safetensors"}
        assert aliases == ["latest", "best"]


def test_a_model_cannot_be_sent_from_a_run_that_is_offline(tmp_path):
    config = compose(["logger=wandb", "logger.log_model=true", f"output_dir={tmp_path}"])
    with pytest.raises(InputError, match=r"offline") as caught, tracking.open_logger(plain(config.logger)):
        pass
    assert caught.value.field == "logger"
    assert "\n" not in str(caught.value)


def test_a_tracker_is_closed_after_a_failure(tmp_path):
    import wandb

    config = compose(["logger=wandb", f"output_dir={tmp_path}"])
    with pytest.raises(RuntimeError, match="boom"), tracking.open_logger(plain(config.logger)) as logger:
        assert logger.experiment is not None
        raise RuntimeError("boom")
    assert wandb.run is None


@pytest.mark.parametrize("name", ["csv", "tensorboard"])
def test_other_trackers_write_the_metrics(name, tiny_whisper_path, tmp_path):
    probing.run(tiny_config(tiny_whisper_path, tmp_path, f"logger={name}", "analysis.figures=false"))
    written = [file for file in (tmp_path / name).rglob("*") if file.is_file()]
    if name == "csv":
        text = next(file for file in written if file.name == "metrics.csv").read_text()
        assert "speaker_feeling/label_likelihood/sum/none/js_divergence" in text
    else:
        assert any("tfevents" in file.name and file.stat().st_size > 1000 for file in written)


def test_no_tracker(tmp_path):
    with tracking.open_logger({"_target_": None}) as logger:
        assert logger is None


def test_an_unknown_tracker_is_the_users_mistake():
    with pytest.raises(InputError, match="there is no logger 'mlflo'"):
        compose(["logger=mlflo"])


def test_jobs_of_a_sweep_are_one_group(tiny_whisper_path, tmp_path, console, monkeypatch):
    """In a real multirun, W&B's own settings of both jobs name the sweep's folder."""
    import wandb

    groups, begin = [], wandb.init

    def init(*arguments, **options):
        run = begin(*arguments, **options)
        groups.append(run.group)
        return run

    monkeypatch.setattr(wandb, "init", init)
    options = [
        *("model=whisper", f"model.path={tiny_whisper_path}", "model.device=cpu", "dataset.limit=2", "logger=wandb"),
        *("readout=label_likelihood", "calibration=none", "null_inputs.kinds=[]", "trainer.enable_progress_bar=false"),
        *("analysis.figures=false", "prompt=speaker_feeling,voice_sounds", f"hydra.sweep.dir={tmp_path}/day/time"),
    ]
    done = console("probe", "-m", *options)
    assert done.status == 0, done.err[-2000:]
    assert groups == ["day/time"] * 2
