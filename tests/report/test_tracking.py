"""Trackers mirror a run and are closed whatever happens."""

from __future__ import annotations

import gc
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.recipes import probe as probing
from emoprobe.recipes import train as training
from emoprobe.recipes.settings import read_probe, read_train
from emoprobe.report import tracking
from emoprobe.settings import compose, plain
from emoprobe.system.stopping import Stopped


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


def records(folder: Path) -> Iterator:
    """What stands in the file of the only W&B run of a folder: a header of 7 bytes, then LevelDB's log format."""
    from wandb.proto import wandb_internal_pb2 as protocol

    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    data, place, parts = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        _, size, kind = struct.unpack("<IHB", data[place : place + 7])
        if left < 7 or not kind:
            place += left
            continue
        parts += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            record = protocol.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def ending(folder: Path) -> tuple[list[int], set[str]]:
    """Exit codes of the only W&B run of a folder, and the names of its settings."""
    codes: list[int] = []
    for _ in range(50):  # W&B writes in a process of its own
        found = list(records(folder))
        codes = [each.exit.exit_code for each in found if each.WhichOneof("record_type") == "exit"]
        if codes:
            break
        time.sleep(0.2)
    updates = [*(of for each in found for of in each.config.update), *(of for e in found for of in e.run.config.update)]
    return codes, {update.key for update in updates}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model.path={}/none"], "no checkpoint"),
        (["dataset=cremad", "dataset.root={}/none"], "not CREMA-D"),
        (["dataset.split=none"], "split"),
    ],
)
def test_what_fails_before_anything_is_scored_is_a_failed_run_with_its_settings(
    overrides, words, tiny_whisper_path, tmp_path
):
    given = [override.format(tmp_path) for override in overrides]
    with pytest.raises(EmoprobeError, match=words):
        probing.run(tiny_config(tiny_whisper_path, tmp_path, "logger=wandb", *given))
    codes, names = ending(tmp_path)
    assert codes == [1]
    assert {"seed", "model", "dataset"} <= names


def test_a_training_that_fails_is_a_failed_run(tmp_path):
    options = ["model=whisper", f"model.path={tmp_path}/none", "model.device=cpu", "head=linear_probe", "logger=wandb"]
    with pytest.raises(EmoprobeError, match="no checkpoint"):
        training.run(read_train(compose([*options, f"output_dir={tmp_path / 'run'}"], "train")))
    assert ending(tmp_path / "run")[0] == [1]


def test_a_run_that_a_signal_stopped_is_a_failed_one(tmp_path):
    config = compose(["logger=wandb", f"output_dir={tmp_path}"])
    with pytest.raises(Stopped), tracking.open_logger(plain(config.logger), {"seed": 3}):
        raise Stopped(signal.SIGTERM)
    codes, names = ending(tmp_path)
    assert codes == [1]
    assert "seed" in names


def test_a_service_that_wants_to_know_who_asks_is_one_line(tmp_path, monkeypatch):
    import wandb

    def init(**options):
        raise wandb.errors.UsageError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setattr(wandb, "init", init)
    config = compose(["logger=wandb", "logger.offline=false", f"output_dir={tmp_path}"])
    with pytest.raises(InputError, match="No API key") as caught, tracking.open_logger(plain(config.logger), {}):
        pass
    assert "wandb login" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wandb_prints_one_line_a_job(tmp_path, capfd):
    for job in ("a", "b"):
        config = compose(["logger=wandb", f"output_dir={tmp_path / job}"])
        with tracking.open_logger(plain(config.logger), {}) as logger:
            logger.log_metrics({"a": 1.0})
    out, err = capfd.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["W&B", "W&B"]
    assert err == ""


def test_the_default_needs_no_account(tmp_path):
    """In a process of its own, as on a machine that has never seen W&B: no variable says that it is to stay offline."""
    code = (
        "from emoprobe.report import tracking\nfrom emoprobe.settings import compose, plain\n"
        f"config = compose(['logger=wandb', 'output_dir={tmp_path}'])\n"
        "with tracking.open_logger(plain(config.logger), {}) as logger: logger.log_metrics({'a': 1.0})\n"
    )
    own = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=own | {"HOME": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("W&B ")


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
    with pytest.raises(InputError, match=r"offline") as caught, tracking.open_logger(plain(config.logger), {}):
        pass
    assert caught.value.field == "logger"
    assert "\n" not in str(caught.value)


def test_a_tracker_is_closed_after_a_failure(tmp_path):
    import wandb

    config = compose(["logger=wandb", f"output_dir={tmp_path}"])
    with pytest.raises(RuntimeError, match="boom"), tracking.open_logger(plain(config.logger), {}) as logger:
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
    with tracking.open_logger({"_target_": None}, {}) as logger:
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
