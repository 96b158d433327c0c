"""What a user of Lightning expects of its options, of both commands by their real entry points: done, or one line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from console import Done, alone

import emoprobe
from emoprobe.metrics.functional import metrics_of
from emoprobe.run.scores import read_scores

HOUSE = Path(emoprobe.__file__).parent

WATCHER = '''
import json
from pathlib import Path

import lightning as L
from lightning.pytorch.plugins.io import TorchCheckpointIO


class Watcher(L.Callback):
    """Notes what every callback of Lightning can see."""

    def __init__(self, file):
        self.file, self.seen = Path(file), {"epochs": [], "batches": 0, "steps": [], "accumulate": []}

    def note(self, trainer, **more):
        self.seen |= {"clip": trainer.gradient_clip_val, "precision": trainer.precision, "world": trainer.world_size}
        self.seen |= {"logger": type(trainer.logger).__name__, "io": type(trainer.strategy.checkpoint_io).__name__}
        self.seen |= {"strategy": type(trainer.strategy).__name__, **more}
        if trainer.is_global_zero:
            self.file.write_text(json.dumps(self.seen))

    def on_train_batch_end(self, trainer, *_):
        self.seen["batches"] += 1

    def on_train_epoch_end(self, trainer, module):
        self.seen["epochs"].append({name: float(value) for name, value in trainer.callback_metrics.items()})
        self.seen["steps"].append(trainer.global_step)
        self.seen["validated"] = (trainer.num_val_batches or [0])[0]
        self.note(trainer, hooks=[type(callback).__name__ for callback in trainer.callbacks])

    def on_predict_end(self, trainer, module):
        self.note(trainer, hooks=[type(callback).__name__ for callback in trainer.callbacks])


class OwnIO(TorchCheckpointIO):
    pass
'''
STOCK = "lightning.pytorch.callbacks"
SHARED = [
    *("model=whisper", "model.device=cpu", "logger=none", "dataset.limit=24", "analysis.figures=false"),
    *("analysis.resamples=9", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false"),
]
FIT = ["head.layers=[-1]", "fit.batch_size=3", "fit.max_epochs=4", "fit.learning_rate=0.01"]
SCORE = ["readout=label_likelihood", "calibration=none", "null_inputs.kinds=[]", "dataset.limit=3", "batch_size=1"]


@pytest.fixture(scope="module")
def place(tiny_whisper_path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lightning")
    (folder / "watcher.py").write_text(WATCHER)
    return folder


@pytest.fixture
def run(tiny_whisper_path, place, console, monkeypatch):
    """Run a command in this process, or alone where it starts others; gives how it ended and what the watcher saw."""
    monkeypatch.setenv("EMOPROBE_CACHE", str(place / "features"))
    monkeypatch.setenv("PYTHONPATH", f"{place}{os.pathsep}{HOUSE.parent}")
    monkeypatch.syspath_prepend(str(place))

    def command(verb: str, name: str, *options: str, watch: bool = True) -> tuple[Done, dict | None]:
        watcher = ["callbacks.watcher._target_=watcher.Watcher", f"callbacks.watcher.file={place / name}.json"]
        own = [*SHARED, *(FIT if verb == "train" else SCORE), f"model.path={tiny_whisper_path}"]
        line = [verb, *own, *(watcher if watch else []), *options, f"hydra.run.dir={place / name}"]
        done = (alone if any("strategy" in option for option in options) else console)(*line)
        file = place / f"{name}.json"
        return done, json.loads(file.read_text()) if file.exists() else None

    return command


def refusal(done: Done) -> str:
    assert done.status == 2, done.out[-1500:] + done.err[-3000:]
    lines = [line for line in done.err.splitlines() if line.strip()]
    assert len(lines) == 1, done.err
    return lines[0]


@pytest.fixture
def trained(run, place):
    def train(name: str, *options: str) -> dict:
        done, seen = run("train", name, *options)
        assert done.status == 0, done.out[-1500:] + done.err[-3000:]
        assert (place / name / "metrics.json").is_file()
        return seen

    return train


def test_a_fit_is_watched_by_the_stock_callbacks_and_every_callback_sees_every_value(trained):
    plain = trained("plain")
    assert set(plain["hooks"]) >= {"EarlyStopping", "ModelCheckpoint", "Watcher"}
    assert len(plain["epochs"]) == 4
    for epoch in plain["epochs"]:
        assert set(epoch) >= {"train/loss", "dev/loss", *(f"dev/{name}" for name in metrics_of())}


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_max_epochs(trained, place, plus):
    """With and without Hydra's plus; what was done is what is recorded."""
    name = f"epochs{len(plus)}"
    assert len(trained(name, f"{plus}trainer.max_epochs=2")["epochs"]) == 2
    record = json.loads((place / name / "head_fold0" / "head.json").read_text())
    assert record["fit"]["max_epochs"] == 2


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("clip", ["trainer.gradient_clip_val=0.25"], {"clip": 0.25}),
        ("accumulate", ["+trainer.accumulate_grad_batches=2"], {"steps_of_an_epoch": 2}),
        ("precision", ["trainer.precision=bf16-mixed"], {"precision": "bf16-mixed"}),
        ("limit_train", ["+trainer.limit_train_batches=2"], {"batches": 8, "steps_of_an_epoch": 2}),
        ("limit_val", ["eval_batch_size=1", "+trainer.limit_val_batches=2"], {"validated": 2}),
        ("overfit", ["eval_batch_size=1", "+trainer.overfit_batches=2"], {"batches": 8, "validated": 2}),
        ("steps", ["+trainer.max_steps=5"], {"batches": 5}),
        ("plugins", ["+trainer.plugins=[{_target_: watcher.OwnIO}]"], {"io": "OwnIO"}),
        ("own_io", [], {"io": "WholeFiles"}),
        ("strategy", ["trainer.strategy={_target_: lightning.pytorch.strategies.DDPStrategy}"],
         {"strategy": "DDPStrategy", "world": 1}),
        ("logger", ["logger=csv"], {"logger": "CSVLogger"}),
        ("no_logger", [], {"logger": "NoneType"}),
        ("fast", ["+trainer.fast_dev_run=true"], {"batches": 1}),
        ("every", ["+trainer.check_val_every_n_epoch=2"], {"evaluations": 2}),
        ("half", ["+trainer.val_check_interval=0.5"], {"evaluations": 8}),
        ("sanity", ["+trainer.num_sanity_val_steps=2"], {"evaluations": 4}),
        ("listed", [f"+trainer.callbacks=[{{_target_: {STOCK}.StochasticWeightAveraging, swa_lrs: 0.01}}]"],
         {"hook": "StochasticWeightAveraging"}),
        ("bar", ["trainer.enable_progress_bar=true"], {"hook": "RichProgressBar"}),
    ],
)  # fmt: skip
def test_what_a_fit_does(trained, place, name, options, expected):
    seen = trained(name, *options)
    curves = pd.read_csv(place / name / "learning_curves.csv")
    told = seen | {"steps_of_an_epoch": seen["steps"][0], "evaluations": len(curves)}
    for key, value in expected.items():
        assert value in seen["hooks"] if key == "hook" else told[key] == value, (key, told)


@pytest.mark.slow
def test_devices(trained):
    seen = trained("devices", "trainer.devices=2", "trainer.strategy=ddp")
    assert seen["world"] == 2
    np.testing.assert_allclose(seen["epochs"][-1]["dev/loss"], trained("device")["epochs"][-1]["dev/loss"], rtol=1e-4)


def test_patience_and_what_is_monitored_are_the_callbacks(trained, place):
    options = ["callbacks.early_stopping.patience=1", "callbacks.early_stopping.min_delta=10"]
    options += [
        "callbacks.model_checkpoint.monitor=dev/wa",
        "callbacks.model_checkpoint.filename='{epoch}-{dev/wa:.2f}'",
    ]
    assert len(trained("patience", *options)["epochs"]) == 2
    record = json.loads((place / "patience" / "head_fold0" / "head.json").read_text())
    assert (record["fit"]["patience"], record["fit"]["monitor"]) == (1, "wa")
    best = max(record["curves"], key=lambda row: row["wa"])  # the first of equal ones
    assert record["development"] == [best]


def test_without_checkpoints_the_last_epoch_is_kept(trained, place):
    """Without any callback too; the learning rate is so high that the last epoch is not the best."""
    heads, high = {}, ["fit.learning_rate=1.0", "fit.schedule=constant"]
    for name, options in {
        "last": ["+trainer.enable_checkpointing=false"],
        "none": ["~callbacks.model_checkpoint"],
        "best": [],
    }.items():
        seen = trained(f"keeps_{name}", *high, *options)
        scores = [epoch["dev/js_divergence"] for epoch in seen["epochs"]]
        assert scores[-1] > min(scores)
        heads[name] = (place / f"keeps_{name}" / "head_fold0" / "head.safetensors").read_bytes()
    assert heads["last"] == heads["none"] != heads["best"]


def test_a_checkpoint_of_ones_own_stays(trained, place):
    own = "callbacks.every._target_=lightning.pytorch.callbacks.ModelCheckpoint"
    trained("own", own, "callbacks.every.save_top_k=-1", "callbacks.every.save_last=true")
    kept = sorted(file.name for file in (place / "own" / "lightning").rglob("*.ckpt"))
    assert kept == [f"epoch={i}-step={4 * (i + 1)}.ckpt" for i in range(4)] + ["last.ckpt"]
    assert not (place / "own" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("+trainer.limit_predict_batches=1", "trainer.limit_predict_batches"),
        ("+trainer.limit_test_batches=1", "trainer.limit_test_batches"),
        ("+trainer.logger=true", "logger=wandb, csv, tensorboard or none"),
        ("+trainer.default_root_dir=here", "hydra.run.dir"),
        ("trainer.acelerator=cpu", "Did you mean trainer.accelerator?"),
        ("trainer.accelerator=quantum", "quantum"),
        ("trainer.strategy=quantum", "quantum"),
        ("trainer.precision=quantum", "quantum"),
        ("trainer.max_epochs=0", "max_epochs"),
        ("+trainer.limit_train_batches=0", "nothing was learned"),
        ("+trainer.limit_val_batches=0", "dev/js_divergence"),
        ("+trainer.barebones=true", "trainer.barebones"),
        ("callbacks.early_stopping.monitor=dev/beauty", "dev/beauty"),
        ("callbacks.early_stopping.mode=sideways", "callbacks.early_stopping"),
        ("callbacks.mine._target_=watcher.OwnIO", "no callback of Lightning"),
        ("callbacks.mine._target_=watcher.Nobody", "callbacks.mine"),
        ("trainer.strategy=ddp_spawn", "trainer.strategy=ddp"),
    ],
)
def test_what_a_fit_cannot_do_is_said_in_one_line(run, option, said):
    name = option.strip("+").replace("=", "_").replace(".", "_")
    done, _ = run("train", name, option, watch=False)
    assert said in refusal(done)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("watched", [], {"hook": "Watcher", "logger": "NoneType"}),
        ("logged", ["logger=csv"], {"logger": "CSVLogger"}),
        ("plugged", ["+trainer.plugins=[{_target_: watcher.OwnIO}]"], {"io": "OwnIO"}),
        ("ddp", ["trainer.strategy={_target_: lightning.pytorch.strategies.DDPStrategy}"], {"strategy": "DDPStrategy"}),
        ("two", ["trainer.devices=2", "trainer.strategy=ddp"], {"world": 2}),
        ("rich", ["callbacks=rich_progress_bar", "trainer.enable_progress_bar=true"], {"hook": "RichProgressBar"}),
        ("no_bar", ["callbacks=rich_progress_bar"], {"hook": "Watcher"}),
        ("stats", ["logger=csv", "callbacks.stats._target_=lightning.pytorch.callbacks.DeviceStatsMonitor"],
         {"hook": "DeviceStatsMonitor"}),
        ("listed_too", ["+trainer.callbacks=[{_target_: lightning.pytorch.callbacks.Timer}]"], {"hook": "Timer"}),
    ],
)  # fmt: skip
def test_what_scoring_does(run, place, name, options, expected):
    done, seen = run("probe", name, *options)
    assert done.status == 0, done.out[-1500:] + done.err[-3000:]
    for key, value in expected.items():
        assert value in seen["hooks"] if key == "hook" else seen[key] == value, (key, seen)
    own = read_scores(place / name).to_pandas().sort_values("utterance_id")
    if not (place / "scored").exists():
        run("probe", "scored")
    whole = read_scores(place / "scored").to_pandas().sort_values("utterance_id")
    np.testing.assert_allclose(np.stack(own["form_logprobs"]), np.stack(whole["form_logprobs"]), atol=1e-5)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("trainer.max_epochs=2", "fits nothing"),
        ("+trainer.max_epochs=2", "fits nothing"),
        ("+trainer.gradient_clip_val=1", "fits nothing"),
        ("+trainer.accumulate_grad_batches=2", "fits nothing"),
        ("+trainer.limit_train_batches=2", "fits nothing"),
        ("+trainer.limit_val_batches=2", "fits nothing"),
        ("+trainer.limit_test_batches=2", "fits nothing"),
        ("+trainer.limit_predict_batches=2", "dataset.limit=N"),
        ("+trainer.fast_dev_run=true", "dataset.limit=N"),
        ("trainer.precision=bf16-mixed", "model.dtype=bfloat16"),
        ("+trainer.logger=true", "logger=wandb, csv, tensorboard or none"),
        ("callbacks=default", "callbacks=none"),
        ("callbacks=early_stopping", "callbacks.early_stopping"),
        ("+trainer.plugins=[{_target_: lightning.pytorch.plugins.MixedPrecision, precision: bf16-mixed, device: cpu}]",
         "precision"),
        ("trainer.accelerator=quantum", "quantum"),
        ("trainer.devices=none", "devices"),
    ],
)  # fmt: skip
def test_what_scoring_cannot_do_is_said_in_one_line(run, option, said):
    name = option.strip("+").split("=")[0].replace(".", "_") + "_scoring"
    done, _ = run("probe", name, option, watch=False)
    assert said in refusal(done)
