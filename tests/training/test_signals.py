"""train.py, stopped by a signal as a batch system does it, and gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from console import TWO

from emoprobe.cli import main
from emoprobe.run.scores import read_scores


def command(model, folder, *options) -> list[str]:
    shared = [
        *("model=whisper", f"model.path={model}", "model.device=cpu", "logger=none", "dataset.limit=24"),
        *("head.layers=[-1]", "fit.max_epochs=25", "fit.patience=25", "fit.batch_size=3", "fit.checkpoint_seconds=0"),
        *("analysis.figures=false", "analysis.resamples=9", "dataset.fold=all", "dataset.partition.folds=3"),
        *("trainer.accelerator=cpu", "trainer.enable_progress_bar=false"),
    ]
    return ["train", *shared, *options, f"hydra.run.dir={folder}"]


def start(*arguments) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "emoprobe", *command(*arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(file: Path, process: subprocess.Popen) -> None:
    end = time.monotonic() + 120
    while not file.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOPROBE_CACHE", str(tmp_path_factory.getbasetemp() / "features"))
        yield


@pytest.fixture(scope="module")
def whole(tiny_whisper_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert main(command(tiny_whisper_path, folder)) == 0
    return folder


@pytest.mark.parametrize(("name", "options", "kill"), [("SIGTERM", [], os.kill), ("SIGINT", TWO, os.killpg)])
@pytest.mark.slow
def test_a_stopped_training_says_so_and_goes_on_to_the_same_numbers(
    tiny_whisper_path, tmp_path, whole, name, options, kill, console
):
    """The signal reaches the first process (kill) or all of them (a terminal, a batch system)."""
    signum = getattr(signal, name)
    process = start(tiny_whisper_path, tmp_path / "run", *options)
    wait_for(tmp_path / "run" / "checkpoints" / "fold1_member0" / "last.ckpt", process)
    kill(process.pid, signum)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signum
    said = [line for line in err.splitlines() if "distributed" not in line and line.strip("- ")]
    assert said == [
        f"stopped: by {name}; what was finished is kept. Repeat the command with "
        f"hydra.run.dir={tmp_path / 'run'} to go on from there."
    ]
    assert not (tmp_path / "run" / "scores.parquet").exists()

    # with one process, whatever it was before
    done = console(*command(tiny_whisper_path, tmp_path / "run"))
    assert done.status == 0, done.out + done.err
    tables = [read_scores(run).to_pandas().set_index("utterance_id") for run in (whole, tmp_path / "run")]
    assert sorted(tables[0].index) == sorted(tables[1].index)
    scores = [np.stack(table.loc[tables[0].index, "form_logprobs"]) for table in tables]
    np.testing.assert_allclose(*scores, atol=1e-4 if options else 0)
    if not options:
        pd.testing.assert_frame_equal(*(pd.read_csv(run / "learning_curves.csv") for run in (whole, tmp_path / "run")))
