"""Several processes and interruptions of every kind: the same rows as one process that was left alone, or an error."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import pytest
from checkout import PROJECT
from lightning.pytorch.strategies import SingleDeviceStrategy
from scoring import config, write_corpus

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.readout.scoring import record
from emoprobe.readout.scoring.module import ZeroShotProbe
from emoprobe.recipes import probe as probing
from emoprobe.run import files
from emoprobe.run.scores import read_scores
from emoprobe.system.claim import claimed

KEY = ["input", "draw", "utterance_id", "prompt", "readout"]
NUMBERS = ("form_logprobs", "kept_logits", "log_normalizers")


def assert_same_rows(folder: Path, other: Path) -> None:
    a, b = (read_scores(each).to_pandas().sort_values(KEY).reset_index(drop=True) for each in (folder, other))
    pd.testing.assert_frame_equal(a[[*KEY, "audio_sha256"]], b[[*KEY, "audio_sha256"]])
    assert (a["generated_text"].fillna("") == b["generated_text"].fillna("")).all()
    for name in NUMBERS:
        for one, two in zip(a[name], b[name], strict=True):
            if one is not None:
                np.testing.assert_allclose(one, two, atol=1e-4)  # batches differ


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), count=11)


@pytest.fixture(scope="module")
def alone(tiny_whisper_path, corpus, tmp_path_factory) -> Path:
    return probing.run(config(tiny_whisper_path, corpus, tmp_path_factory.mktemp("alone") / "run", "calibration=none"))


# -- many processes acted out in one -----------------------------------------------------------------------------------


class Rank(SingleDeviceStrategy):
    """One of several processes; the others run where the first one's word reaches them."""

    def __init__(self, rank: int, world: int, told: list, others) -> None:
        super().__init__(device="cpu")
        self.global_rank, self.world_size, self.told, self.others = rank, world, told, others
        self.heard = 0

    is_global_zero = property(lambda self: self.global_rank == 0)

    def broadcast(self, obj, src=0):
        if self.global_rank == 0:
            self.told.append(obj)
            if len(self.told) == 3:  # Lightning's folder of logs, which clips are left, and into which folder
                self.others()
            return obj
        self.heard += 1
        return self.told[self.heard - 1]

    def reduce(self, tensor, *arguments, **options):
        return tensor + (self.world_size - 1)  # Lightning's count of batches: some other process always has one


class PowerCutError(Exception):
    """What no code of ours foresees."""


def act(monkeypatch, make_config, world: int, cuts: dict[int, int]) -> None:
    """Run the recipe in so many processes; process ``r`` dies after ``cuts[r]`` batches."""
    told: list = []
    ranks: list[int] = []

    def make_trainer(settings, recorder, folder):
        rank, batches = ranks[-1], []
        written = recorder.on_predict_batch_end

        def on_predict_batch_end(*arguments, **options):
            if len(batches) == cuts.get(rank, sys.maxsize):
                raise PowerCutError
            batches.append(1)
            written(*arguments, **options)

        recorder.on_predict_batch_end = on_predict_batch_end
        return L.Trainer(
            strategy=Rank(rank, world, told, others),
            callbacks=[recorder],
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=folder,
        )

    def others() -> None:
        for rank in range(1, world):
            ranks.append(rank)
            with suppress(PowerCutError):
                probing.run(make_config(rank))
            ranks.pop()

    monkeypatch.setattr(probing, "make_trainer", make_trainer)
    ranks.append(0)
    probing.run(make_config(0))


@pytest.mark.parametrize("seed", range(3))
def test_the_same_rows_from_any_processes_batches_and_interruptions(
    tiny_whisper_path, corpus, alone, tmp_path, monkeypatch, seed
):
    monkeypatch.setattr(record, "PATIENCE", 0.2)
    rng = random.Random(seed)
    for last in (False, False, True):
        world, batch_size = rng.randint(1, 4), rng.randint(1, 4)
        cuts = {} if last else {rank: rng.randint(0, 3) for rank in range(world) if rng.random() < 0.6}

        def make_config(rank, batch_size=batch_size):
            folder = tmp_path / ("run" if rank == 0 else f"of_process_{rank}_as_clusters_give_each_its_own")
            return config(tiny_whisper_path, corpus, folder, "calibration=none", f"batch_size={batch_size}")

        if last:
            act(monkeypatch, make_config, world, cuts)
        else:
            with suppress(PowerCutError, EmoprobeError):
                act(monkeypatch, make_config, world, cuts)
    assert_same_rows(tmp_path / "run", alone)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_more_processes_than_clips(tiny_whisper_path, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(record, "PATIENCE", 0.2)

    def make_config(rank):
        return config(tiny_whisper_path, corpus, tmp_path / f"run{rank}", "calibration=none", "dataset.limit=2")

    act(monkeypatch, make_config, 4, {})
    scored = read_scores(tmp_path / "run0").to_pandas().query("input == 'clip'")
    assert set(scored.groupby(["prompt", "readout"])["utterance_id"].nunique()) == {2}
    assert json.loads((tmp_path / "run0" / "run.json").read_text())["speed"]["clips"] == 2


# -- real processes ----------------------------------------------------------------------------------------------------


def start(model: Path, manifest: Path, folder: Path, *overrides: str) -> subprocess.Popen:
    """The command as a person types it, in a process group of its own."""
    command = [sys.executable, "probe.py", f"hydra.run.dir={folder}", "dataset=manifest", f"dataset.path={manifest}"]
    command += [f"model.path={model}", "model.device=cpu", "prompt=[voice_sounds,bare_label]", "calibration=none"]
    command += ["null_inputs.seconds=0.5", "null_inputs.noise_draws=2", "readout.averaged_logits.max_new_tokens=3"]
    command += ["readout.generated_text.max_new_tokens=4", "logger=none", "analysis.figures=false"]
    command += ["analysis.resamples=0", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false", *overrides]
    return subprocess.Popen(
        command,
        cwd=PROJECT,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def wait_for_parts(folder: Path, process: subprocess.Popen, count: int) -> None:
    while len(list((folder / files.PARTS).glob("part-*"))) < count and process.poll() is None:
        time.sleep(0.02)


def finish(process: subprocess.Popen) -> tuple[int, str]:
    out, _ = process.communicate(timeout=180)
    return process.returncode, out


def test_processes_that_lightning_starts_and_a_signal(tiny_whisper_path, corpus, alone, tmp_path):
    two = start(tiny_whisper_path, corpus, tmp_path, "trainer.devices=2", "batch_size=1")
    wait_for_parts(tmp_path, two, 5)
    os.killpg(two.pid, signal.SIGTERM)
    status, out = finish(two)
    assert status == 143, out
    assert out.splitlines()[-1] == (
        "stopped: by SIGTERM; what was finished is kept. "
        f"Repeat the command with hydra.run.dir={tmp_path} to go on from there."
    )
    again = start(tiny_whisper_path, corpus, tmp_path, "trainer.devices=2", "trainer.strategy=ddp", "batch_size=2")
    status, out = finish(again)
    assert status == 0, out
    assert_same_rows(tmp_path, alone)


def test_a_lost_process_is_an_error_and_the_next_run_scores_its_clips(tiny_whisper_path, corpus, alone, tmp_path):
    two = start(tiny_whisper_path, corpus, tmp_path, "trainer.devices=2", "batch_size=1")
    wait_for_parts(tmp_path, two, 5)
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(two.pid)], capture_output=True, text=True, check=True)
    for child in found.stdout.split():
        os.kill(int(child), signal.SIGKILL)
    status, out = finish(two)
    assert status == 1, out
    assert "process 2 of 2 has ended before its work was done, with status -9" in out.splitlines()[-1]
    assert not (tmp_path / "metrics.json").exists()
    probing.run(config(tiny_whisper_path, corpus, tmp_path, "calibration=none"))
    assert_same_rows(tmp_path, alone)


def test_ctrl_c_says_so_and_the_run_goes_on(tiny_whisper_path, corpus, alone, tmp_path):
    one = start(tiny_whisper_path, corpus, tmp_path, "batch_size=1", "num_workers=1")
    wait_for_parts(tmp_path, one, 6)
    os.killpg(one.pid, signal.SIGINT)  # as a terminal does it, workers included
    status, out = finish(one)
    assert status == 130, out
    assert out.splitlines()[-1].startswith("stopped: by SIGINT; what was finished is kept.")
    probing.run(config(tiny_whisper_path, corpus, tmp_path, "calibration=none"))
    assert_same_rows(tmp_path, alone)


def test_a_killed_decoder_is_one_line(tiny_whisper_path, corpus, tmp_path):
    one = start(tiny_whisper_path, corpus, tmp_path, "batch_size=1", "num_workers=1")
    wait_for_parts(tmp_path, one, 5)
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(one.pid)], capture_output=True, text=True, check=True)
    for worker in found.stdout.split():
        os.kill(int(worker), signal.SIGKILL)
    status, out = finish(one)
    assert status == 1, out
    assert "Traceback" not in out
    # torch says the signal, or only that its workers are gone: which of the two depends on who notices first
    assert re.search(r"(killed by signal: Killed|exited unexpectedly)\. Perhaps memory ran out", out.splitlines()[-1])


# -- what is refused, and what is missed -------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["limit_predict_batches=1", "fast_dev_run=true"])
def test_options_that_leave_clips_out_are_refused(tiny_whisper_path, corpus, tmp_path, option):
    with pytest.raises(InputError, match=r"would leave clips unscored .*dataset\.limit=N"):
        probing.run(config(tiny_whisper_path, corpus, tmp_path, f"+trainer.{option}"))


def test_a_clip_that_vanishes_on_the_way_is_missed_by_name(tiny_whisper_path, corpus, alone, tmp_path, monkeypatch):
    rows = ZeroShotProbe._rows
    monkeypatch.setattr(
        ZeroShotProbe, "_rows", lambda self, pairs: [row for row in rows(self, pairs) if row["utterance_id"] != "u4"]
    )
    with pytest.raises(EmoprobeError, match=r"1 of 11 utterances were neither scored nor skipped .*: u4\."):
        probing.run(config(tiny_whisper_path, corpus, tmp_path, "calibration=none"))
    monkeypatch.undo()
    probing.run(config(tiny_whisper_path, corpus, tmp_path, "calibration=none"))
    assert_same_rows(tmp_path, alone)


def test_nothing_left_to_score_names_the_reasons(tiny_whisper_path, corpus, tmp_path):
    silence = ["dataset.audio.near_silent=skip", "dataset.audio.near_silent_dbfs=-1"]
    with pytest.raises(InputError, match=r"all of the 11 clips were left out .*skipped\.csv"):
        probing.run(config(tiny_whisper_path, corpus, tmp_path, *silence))
    assert len(pd.read_csv(tmp_path / "skipped.csv")) == 11


def test_a_trainer_that_cannot_be_is_one_line(tiny_whisper_path, corpus, tmp_path):
    with pytest.raises(InputError, match=r"'quantum' is not one of auto, cpu, .*field trainer\.accelerator"):
        probing.run(config(tiny_whisper_path, corpus, tmp_path, "trainer.accelerator=quantum"))


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ("[silence,silence]", "'silence' is given twice .*null_inputs.kinds"),
        ("[hum]", "'hum' is not one of silence, noise"),
    ],
)
def test_null_inputs_are_checked_before_anything_is_scored(tiny_whisper_path, corpus, tmp_path, kinds, message):
    with pytest.raises(InputError, match=message):
        probing.run(config(tiny_whisper_path, corpus, tmp_path / "run", f"null_inputs.kinds={kinds}"))
    assert not (tmp_path / "run").exists()


def test_a_folder_at_work_is_left_alone(tiny_whisper_path, corpus, tmp_path):
    with claimed(tmp_path, "probe"), pytest.raises(InputError, match=f"probe, process {os.getpid()} on "):
        probing.run(config(tiny_whisper_path, corpus, tmp_path))
