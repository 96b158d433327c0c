"""What is written of a job, and what is read of one whose process has gone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from emoprobe.run.job import JOB_FILE, begin_job, held, read_job, reason_of

HOLD = """
import sys
from pathlib import Path
from emoprobe.run.job import begin_job, held
folder = Path(sys.argv[1])
with held(folder) as mine:
    assert mine
    begin_job(folder, "probe", {"seed": 1})
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_job_runs_while_its_process_holds_it_and_was_interrupted_when_it_is_gone(tmp_path):
    assert read_job(tmp_path) is None
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        assert read_job(tmp_path).state == "running"
        assert read_job(tmp_path).process == process.pid
        assert reason_of(tmp_path).startswith(f"running: process {process.pid} on ")
        with held(tmp_path) as mine:
            assert not mine
        process.kill()
    assert read_job(tmp_path).state == "interrupted"
    assert json.loads((tmp_path / JOB_FILE).read_text())["state"] == "running"
    with held(tmp_path) as mine:
        assert mine


def test_how_a_job_ends_is_read_as_it_was_written(tmp_path):
    with held(tmp_path):
        job = begin_job(tmp_path, "train", {"seed": 1, "fold": "all"}, overrides=("seed=1",), number=3)
        assert read_job(tmp_path).state == "running"
        ended = job.end("failed", error="no token=abcdef123", value=None)
    assert read_job(tmp_path) == ended
    assert ended.error == "no token=***"
    assert (ended.verb, ended.number, ended.overrides, ended.settings["seed"]) == ("train", 3, ("seed=1",), 1)
    assert ended.seconds >= 0
    assert reason_of(tmp_path) == "failed: no token=***"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"state": "done"}'])
def test_what_cannot_be_read_is_no_job(tmp_path, text):
    (tmp_path / JOB_FILE).write_text(text)
    assert read_job(tmp_path) is None
