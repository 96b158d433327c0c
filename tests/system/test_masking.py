"""Secrets are masked by their key's whole words, and wherever their value stands."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest
from checkout import PROJECT
from omegaconf import OmegaConf

from emoprobe.settings import compose
from emoprobe.system import masking
from emoprobe.system.masking import (
    is_secret,
    learn,
    mask_files,
    mask_logs,
    mask_override,
    masked,
    masked_command,
    scrub,
)


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(masking, "_known", set())


@pytest.mark.parametrize(
    "key",
    [
        *(
            "token",
            "hf_token",
            "HF_TOKEN",
            "api_key",
            "apiKey",
            "wandb.apikey",
            "db.password",
            "passwd",
            "client_secret",
        ),
        *(
            "credentials",
            "Authorization",
            "auth",
            "aws-secret-access-key",
            "access_key_id",
            "private_key",
            "bearerToken",
            "tokenizer.token",
            "github_token_2",
        ),
    ],
)
def test_keys_of_secrets(key):
    assert is_secret(key)


@pytest.mark.parametrize(
    "key",
    [
        *("max_new_tokens", "answer_tokens", "tokens", "key", "author", "tokenizer", "secretary", "path", "0"),
        *("tokens_per_second", "label_tokens", "eos_token_id", "pad_token", "token_ids", "decoder_start_token_id"),
    ],
)
def test_keys_of_no_secrets(key):
    assert not is_secret(key)


@pytest.mark.parametrize("name", ["probe", "train"])
def test_the_shipped_configuration_has_no_secret(name):
    config = OmegaConf.to_container(compose([], name), resolve=False)
    assert masked(config) == config


def test_a_configuration_is_masked_by_its_keys():
    config = {
        "model": {"token": "hf_abcdef", "max_new_tokens": 16, "path": "x"},
        "db": {"credentials": {"user": "ann", "numbers": [1, None]}},
        "empty": {"api_key": "", "password": None, "auth": True, "secret": "${oc.env:SECRET}"},
        "forms": ["sad", {"token": 12345}],
        "overrides": ["model.token=hf_abcdef", "+a.password=x,y", "b={token:hf_abcdef,size:3}", "labels=basic6"],
    }
    assert masked(config) == {
        "model": {"token": "***", "max_new_tokens": 16, "path": "x"},
        "db": {"credentials": {"user": "***", "numbers": ["***", None]}},
        "empty": {"api_key": "", "password": None, "auth": True, "secret": "${oc.env:SECRET}"},
        "forms": ["sad", {"token": "***"}],
        "overrides": ["model.token=***", "+a.password=***", "b={token:***,size:3}", "labels=basic6"],
    }


def test_texts_are_masked_by_assignments_and_known_values():
    line = "#0 : model=whisper model.hf_token=hf_abc,seed=1 api_key='a b' max_new_tokens=16"
    assert scrub(line) == "#0 : model=whisper model.hf_token=***,seed=1 api_key=*** max_new_tokens=16"
    assert scrub("model.url=http://me:pass@host:80/v1") == "model.url=http://me:***@host:80/v1"
    assert scrub("from https://abcdef@host/a@b, me@host") == "from https://***@host/a@b, me@host"
    assert scrub("the control token: <|im_end|>") == "the control token: <|im_end|>"
    assert mask_override("model.token=${oc.env:HF_TOKEN}") == "model.token=${oc.env:HF_TOKEN}"
    learn({"my": {"password": "correct horse", "token": "abc"}})
    assert scrub("cannot open https://me:correct horse@host, abc") == "cannot open https://me:***@host, abc"


def test_files_of_hydra_keep_what_is_no_secret(tmp_path):
    (tmp_path / "config.yaml").write_text("model:\n  token: hf_abcdef\n  path: ${roots.a}\nseed: 0\n")
    (tmp_path / "other.yaml").write_text("seed:   0  # as it was\n")
    mask_files(tmp_path)
    assert (tmp_path / "config.yaml").read_text() == "model:\n  token: '***'\n  path: ${roots.a}\nseed: 0\n"
    assert (tmp_path / "other.yaml").read_text() == "seed:   0  # as it was\n"


def test_logs_and_the_command_line(monkeypatch, caplog):
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", "model.token=a,b", "seed=1"])
    with masked_command():
        assert sys.argv == ["train.py", "-m", "model.token=***", "seed=1"]
    assert sys.argv[2] == "model.token=a,b"
    factory = logging.getLogRecordFactory()
    try:
        mask_logs()
        logging.getLogger("x").warning("job %s has %d", "db.password=abc", 3)
        logging.getLogger("x").warning("nothing of %s", "interest")
    finally:
        logging.setLogRecordFactory(factory)
    assert caplog.messages == ["job db.password=*** has 3", "nothing of interest"]


SECRETS = {"+my.hf_token": "hf_Qx81LmZp77", "+my.db.password": "plumtree-99-Xyz"}


def run(script, *arguments):
    command = [sys.executable, script, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, timeout=300, check=False, env=environment
    )


def traces(folder, done) -> list[str]:
    """Where a secret can be read."""
    texts = {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    texts |= {str(file): str(file).encode() for file in folder.rglob("*")} if not texts else {}
    texts |= {"stdout": done.stdout.encode(), "stderr": done.stderr.encode()}
    return [name for name, text in texts.items() for secret in SECRETS.values() if secret.encode() in text]


def test_a_sweep_shows_no_secret(tiny_whisper_path, tmp_path):
    options = [
        *("model=whisper", f"model.path={tiny_whisper_path}", "model.device=cpu", "dataset.limit=3", "logger=wandb"),
        *("readout=label_likelihood", "calibration=none", "null_inputs.kinds=[]", "trainer.enable_progress_bar=false"),
        *("analysis.figures=false", "trainer.accelerator=cpu", "+my.notes='sent to ${my.db.password}'", "seed=0,1"),
    ]
    done = run(
        "probe.py", "-m", *options, *(f"{k}={v}" for k, v in SECRETS.items()), f"hydra.sweep.dir={tmp_path / 'sweep'}"
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list(tmp_path.glob("sweep/*/scores.parquet"))) == 2
    assert list(tmp_path.rglob("*.wandb"))
    assert traces(tmp_path, done) == []
    assert "my.hf_token=***" in (tmp_path / "sweep" / "multirun.yaml").read_text()


FAILING = """
import os
from lightning import Callback

class Unforeseen(Callback):
    def __init__(self, hf_token, **db):
        self.told = (hf_token, db, os.environ["THEIR_API_KEY"])

    def on_predict_start(self, trainer, module):
        raise RuntimeError(f"the hub answers 401 to {self.told}")
"""


@pytest.mark.parametrize("way", ["command line", "environment"])
def test_a_run_that_fails_unforeseen_shows_no_secret(tiny_whisper_path, tmp_path, way, monkeypatch):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "failing.py").write_text(FAILING)
    token, password = SECRETS.values()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PROJECT / "src"), str(tmp_path / "package")]))
    monkeypatch.setenv("THEIR_API_KEY", token)
    monkeypatch.setenv("OF_THEIR_DATABASE", password)
    given = (token, password) if way == "command line" else ("${oc.env:THEIR_API_KEY}", "${oc.env:OF_THEIR_DATABASE}")
    done = run(
        "probe.py",
        *("model=whisper", f"model.path={tiny_whisper_path}", "model.device=cpu", "dataset.limit=2", "logger=wandb"),
        *("readout=label_likelihood", "calibration=none", "null_inputs.kinds=[]", "trainer.accelerator=cpu"),
        *("callbacks.x._target_=failing.Unforeseen", f"callbacks.x.hf_token='{given[0]}'"),
        *(f"callbacks.x.password='{given[1]}'", f"hydra.run.dir={tmp_path / 'run'}"),
    )
    assert done.returncode == 1
    assert done.stderr.count("RuntimeError: the hub answers 401 to ('***', {'password': '***'}, '***')") == 1, (
        done.stderr
    )
    assert list(tmp_path.rglob("*.wandb"))
    assert traces(tmp_path, done) == []


def test_errors_and_folder_names_show_no_secret(tmp_path):
    secrets = [f"{key}={value}" for key, value in SECRETS.items()]
    common = ["logger=none", "dataset=manifest", *secrets]
    mistake = run("probe.py", *common, "dataset.path=/no/${my.db.password}", f"hydra.run.dir={tmp_path / 'one'}")
    assert (mistake.returncode, traces(tmp_path, mistake)) == (2, [])
    assert mistake.stderr.startswith("error: ")
    crash = run("probe.py", *common, "dataset.path=x", "dataset.audio=5", f"hydra.run.dir={tmp_path / 'two'}")
    assert crash.returncode == 2
    assert traces(tmp_path, crash) == []
    unknown = run("probe.py", "logger=none", f"hf_token={SECRETS['+my.hf_token']}")  # Hydra repeats it
    assert (unknown.returncode, traces(tmp_path, unknown)) == (2, [])
    assert unknown.stderr.startswith("error: there is no option 'hf_token' (field hf_token)")
    assert unknown.stderr.count("\n") == 1
    named = [f"hydra.sweep.dir={tmp_path / 'sweep'}", "hydra.sweep.subdir=${hydra.job.override_dirname}"]
    folder = run("probe.py", "-m", *common, "dataset.path=x", *named)
    assert folder.returncode == 2
    assert "the run folder's name shows a secret" in folder.stderr
    assert "exclude_keys" in folder.stderr
