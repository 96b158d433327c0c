"""The wheel, installed into an environment of its own outside the checkout, does the main job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from checkout import PROJECT

from emoprobe.run.scores import read_scores

OPTIONS = [
    *("dataset.limit=4", "readout=label_likelihood", "calibration=[none,batch]", "null_inputs.seconds=0.2"),
    *("analysis.resamples=20", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "model.device=cpu"),
    "logger=none",
]


def pip(*words: object) -> None:
    command = [sys.executable, "-m", "pip", *map(str, words), "--no-deps", "--no-index"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", PROJECT, "--no-build-isolation", "-w", folder)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """An environment with the wheel, and with what emoprobe depends on; emoprobe itself is nowhere else on its path."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(folder, with_pip=False)
    inside = Path(sysconfig.get_path("purelib", vars={"base": folder, "platbase": folder}))
    # Folders that a .pth file names have their own .pth files left unread, such as that of an editable emoprobe.
    (inside / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip("--python", folder / "bin" / "python", "install", wheel, "--ignore-installed")
    return folder


def run(environment: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess:
    """A command of the environment, in a folder that has nothing to do with emoprobe."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(environment / "bin" / words[0]), *words[1:]]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False, env=own)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done


def test_the_wheel_holds_all_that_is_not_code(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, inside in (("conf", "conf"), ("src/emoprobe", ".")):
        tracked = subprocess.run(["git", "ls-files", folder], cwd=PROJECT, capture_output=True, text=True, check=True)
        for name in tracked.stdout.splitlines():
            if (PROJECT / name).is_file():
                assert str(Path("emoprobe", inside, Path(name).relative_to(folder))) in names
    assert {name.split("/")[0] for name in names} == {"emoprobe", wheel.name.split("-py3")[0] + ".dist-info"}


def scores(folder: Path) -> tuple[list, np.ndarray]:
    """What was heard, and the log-probability of every surface form, in one order, whatever process wrote a row."""
    heard = ["input", "draw", "utterance_id"]
    table = read_scores(folder).to_pandas().sort_values(heard, ignore_index=True)
    return table[heard].astype(str).values.tolist(), np.stack(table["form_logprobs"])


@pytest.mark.slow
def test_the_wheel_probes_sweeps_analyses_and_reports(environment, tiny_whisper_path, tmp_path):
    code = "import emoprobe, emoprobe.system.places as places; print(emoprobe.__file__, places.conf_folder())"
    file, conf = run(environment, "python", "-c", code, cwd=tmp_path).stdout.split()
    assert Path(file).is_relative_to(environment)
    assert Path(conf) == Path(file).parent / "conf"

    asked = ["model=whisper", f"model.path={tiny_whisper_path}", *OPTIONS]
    two = ["trainer.devices=2", "trainer.strategy=ddp"]
    alone = run(environment, "emoprobe", "probe", *asked, "hydra.run.dir=alone", cwd=tmp_path)
    assert "Results  " in alone.stdout
    assert json.loads((tmp_path / "alone" / "run.json").read_text())["versions"]["git"] == "unknown"
    # Lightning starts the second process by the words that began the first.
    run(environment, "emoprobe", "probe", *asked, *two, "hydra.run.dir=script", cwd=tmp_path)
    run(environment, "python", "-m", "emoprobe", "probe", "-m", *asked, *two, "hydra.sweep.dir=sweep", cwd=tmp_path)
    heard, expected = scores(tmp_path / "alone")
    assert len(heard) == 4 + 6  # clips and null inputs
    for folder in ("script", "sweep/0"):
        assert scores(tmp_path / folder)[0] == heard
        np.testing.assert_allclose(scores(tmp_path / folder)[1], expected, atol=1e-5)

    run(environment, "emoprobe", "analyse", "alone", "calibration=all", cwd=tmp_path)
    run(environment, "emoprobe", "report", "alone", "sweep", "-o", "page", "--no-figures", cwd=tmp_path)
    assert (tmp_path / "page" / "index.html").stat().st_size > 100_000
    for words in (["--version"], ["data", "card", "demo"], ["floors", "dataset=demo", "analysis.resamples=20"]):
        assert run(environment, "emoprobe", *words, cwd=tmp_path).stdout
