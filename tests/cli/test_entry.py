"""Commands on terminals and pipes that cannot print everything, and folders of runs that begin together."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import PROJECT
from hydra.errors import InstantiationException
from scoring import write_corpus

from emoprobe.cli.entry import command, exit_status
from emoprobe.errors import EmoprobeError, InputError, WeightsError
from emoprobe.settings import call
from emoprobe.system.places import conf_folder
from emoprobe.system.stopping import Stopped


def probe(model, manifest, *overrides, **environment):
    command = [sys.executable, "probe.py", f"model.path={model}", "model.device=cpu", "dataset=manifest"]
    command += [f"dataset.path='{manifest}'", "prompt=bare_label", "readout=label_likelihood", "calibration=none"]
    command += ["null_inputs.kinds=[silence]", "null_inputs.seconds=0.5", "logger=none", "analysis.figures=false"]
    command += ["analysis.resamples=0", "trainer.accelerator=cpu", *overrides]
    return subprocess.run(
        command, cwd=PROJECT, capture_output=True, env=os.environ | environment, timeout=180, check=False
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_stream_that_is_not_utf8_loses_no_result(tiny_whisper_path, tmp_path, encoding):
    manifest = write_corpus(tmp_path / "naïve корпус", count=3)
    folder = tmp_path / "läuft"
    done = probe(
        tiny_whisper_path,
        manifest,
        f"hydra.run.dir='{folder}'",
        "report=true",
        PYTHONIOENCODING=encoding,
        PYTHONUTF8="0",
    )
    out = done.stdout.decode(encoding)
    assert done.returncode == 0, done.stderr.decode(encoding)
    assert "Traceback" not in done.stderr.decode(encoding)
    for line in ("Results  ", "metrics.json"):
        assert line in out
    assert (folder / "report" / "index.html").is_file()


def test_runs_that_begin_together_have_folders_of_their_own():
    from hydra import compose, initialize_config_dir

    for name in ("probe", "train"):
        folders = set()
        for _ in range(3):
            with initialize_config_dir(str(conf_folder()), version_base="1.3"):
                config = compose(name, return_hydra_config=True)
                folders |= {config.hydra.run.dir, config.hydra.sweep.dir}
        assert len(folders) == 6


def test_statuses(capsys):
    def mistake(*_):
        raise InputError("no")

    def weights():
        raise WeightsError("There are none.")

    def incomplete():
        raise EmoprobeError("2 clips have no scores")

    def full(*_):
        raise OSError(28, "No space left on device", "a/file")

    def stopped(*_):
        raise Stopped(15)

    assert exit_status(lambda: None) == 0
    assert exit_status(lambda: 3) == 3
    assert command(mistake)([]) == 2
    assert exit_status(weights) == 2
    assert exit_status(incomplete) == 1
    assert exit_status(full) == 1
    assert exit_status(stopped) == 143
    assert capsys.readouterr().err.splitlines() == [
        "error: no.",
        "error: There are none.",
        "error: 2 clips have no scores",
        "error: No space left on device (file a/file). Make room, then run the same command again.",
        "stopped: by SIGTERM; what was finished is kept.",
    ]
    with pytest.raises(FileNotFoundError):  # what is not foreseen keeps its traceback
        exit_status(lambda: Path("/nowhere/at/all").read_text())


def test_a_cache_that_is_full_when_a_model_is_made_is_a_full_disk(capsys):
    def make_model() -> None:
        full = WeightsError("no room")
        full.__cause__ = OSError(errno.ENOSPC, "No space left on device")
        raise InstantiationException("Error in call to target") from full

    assert exit_status(call, make_model, "model") == 1
    assert capsys.readouterr().err == "error: no room\n"
