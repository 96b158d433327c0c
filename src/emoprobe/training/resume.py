"""Training runs that go on where an interrupted one stopped, and runs in several processes that share a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from emoprobe.errors import InputError
from emoprobe.run import files
from emoprobe.run.scores import discard_parts
from emoprobe.system.masking import masked
from emoprobe.system.output import write_json
from emoprobe.system.stopping import is_main

CHECKPOINTS = "checkpoints"


NEUTRAL = (
    *("accelerator", "devices", "num_nodes", "strategy", "benchmark", "deterministic", "profiler", "detect_anomaly"),
    *("enable_progress_bar", "enable_model_summary", "log_every_n_steps"),
)
"""Arguments of Lightning's trainer on which no number depends, or none by more than rounding."""

WATCHING = (
    *("RichProgressBar", "TQDMProgressBar", "RichModelSummary", "ModelSummary"),
    *("LearningRateMonitor", "DeviceStatsMonitor", "ThroughputMonitor"),
)
"""Callbacks of Lightning that only look."""


def identity_of(settings: Mapping) -> dict:
    """All that the numbers of a run depend on, as JSON gives it back, without secrets."""
    fit = {name: value for name, value in settings["fit"].items() if name != "checkpoint_seconds"}
    names = ("model", "labels", "prompt", "dataset", "head", "loss", "seed")
    trainer = {name: value for name, value in settings["trainer"].items() if name not in NEUTRAL}
    callbacks = {
        name: node
        for name, node in settings["callbacks"].items()
        if node is not None and str(node.get("_target_")).rpartition(".")[2] not in WATCHING
    }
    more = {"fit": fit, "trainer": trainer, "callbacks": callbacks}
    return json.loads(json.dumps(masked({name: settings[name] for name in names} | more), default=str))


def claim(folder: Path, settings: Mapping) -> Path | None:
    """Make the run folder this run's own; returns the folder of the interrupted run to go on from.

    Raises:
        InputError: The folder belongs to another run, there is no run to go on from, or this is a further process that
            the run has not started.
    """
    file = folder / files.TRAINING
    if not is_main():
        if not file.exists():
            raise InputError(
                "this further process finds no training run that has started it",
                file=folder,
                field="trainer.devices",
                remedy="Start emoprobe train once, not with torchrun: it starts its processes itself, with "
                "trainer.devices=N trainer.strategy=ddp.",
            )
        found = json.loads(file.read_text(encoding="utf-8"))["resumed_from"]
        return None if found is None else Path(found)
    identity, ckpt = identity_of(settings), settings["ckpt"]
    resume = None
    if ckpt is not None:
        places = [folder, *_newest(folder)] if ckpt == "last" else [Path(ckpt)]
        resume = next((place for place in places if _settings_of(place) == identity), None)
        if resume is None:
            raise InputError(
                f"no training run with the same settings in {folder.parent}"
                if ckpt == "last"
                else "this folder holds no training run with the same settings",
                file=None if ckpt == "last" else Path(ckpt),
                field="ckpt",
                remedy="Repeat the whole command of the interrupted run and add ckpt=last or ckpt=ITS_FOLDER.",
            )
        print(f"going on from {resume}")
    elif files.bundles(folder) or (folder / CHECKPOINTS).exists():
        raise InputError(
            "this folder holds another training run",
            file=folder,
            field="hydra.run.dir",
            remedy="Choose another folder, or ckpt=last to go on with that run.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_json({"settings": identity, "resumed_from": None if resume is None else str(resume.resolve())}, file)
    if resume == folder:
        discard_parts(folder)
    return resume


def has_begun(folder: Path) -> bool:
    """Whether a training run has begun in a folder."""
    return (folder / files.TRAINING).exists()


def _newest(folder: Path) -> list[Path]:
    """Neighbouring run folders, the newest first."""
    found = {*folder.parent.glob(f"*/{files.TRAINING}"), *folder.parent.parent.glob(f"*/*/{files.TRAINING}")}
    return [file.parent for file in sorted(found, key=lambda file: file.stat().st_mtime, reverse=True)]


def _settings_of(folder: Path) -> dict | None:
    try:
        return json.loads((folder / files.TRAINING).read_text(encoding="utf-8"))["settings"]
    except (OSError, ValueError, KeyError):
        return None
