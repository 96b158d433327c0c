"""Signals: marked and obeyed between batches, at once elsewhere, told in one line and an exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from emoprobe.cli.entry import run_or_exit
from emoprobe.errors import InputError
from emoprobe.system import stopping
from emoprobe.system.stopping import Stopped


def send(signum: int) -> None:
    os.kill(os.getpid(), signum)


@pytest.mark.parametrize("signum", stopping.SIGNALS)
def test_a_signal_waits_for_the_next_check_and_the_old_handlers_come_back(signum):
    before = [signal.getsignal(each) for each in stopping.SIGNALS]
    steps = []
    message = rf"by {signal.Signals(signum).name}; .* Do it again\."
    with pytest.raises(Stopped, match=message) as caught, stopping.graceful("Do it again."):
        stopping.check()
        send(signum)
        steps.append("the batch is finished")
        stopping.check()
        steps.append("another batch")
    assert steps == ["the batch is finished"]
    assert (caught.value.signal, caught.value.exit_status) == (signum, 128 + signum)
    assert [signal.getsignal(each) for each in stopping.SIGNALS] == before
    with stopping.graceful():
        stopping.check()  # an old signal does not stop a new run


def test_a_signal_after_the_last_check_is_not_lost():
    with pytest.raises(Stopped), stopping.graceful():
        send(signal.SIGTERM)


def test_twins_are_one_wish_and_a_second_signal_is_obeyed_at_once(monkeypatch):
    with pytest.raises(Stopped), stopping.graceful():
        send(signal.SIGTERM)
        send(signal.SIGTERM)  # to the process, then to its group
    monkeypatch.setattr(stopping, "TWIN_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt), stopping.graceful():
        send(signal.SIGTERM)
        send(signal.SIGINT)
        pytest.fail("the second signal was not obeyed")


def test_signals_are_taken_back_from_a_library():
    with pytest.raises(Stopped), stopping.graceful():
        signal.signal(signal.SIGTERM, lambda *_: pytest.fail("the library's handler was called"))
        stopping.hold()
        send(signal.SIGTERM)


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping.graceful():
            send(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_outermost_knows_how_to_go_on():
    with pytest.raises(Stopped, match=r"kept\. All of it\.$"), stopping.graceful("All of it."):
        with stopping.graceful("This part."):
            pass
        with stopping.graceful("That part."):
            send(signal.SIGTERM)


def test_several_processes_stop_by_what_they_agree_upon():
    with pytest.raises(Stopped) as caught, stopping.graceful():
        stopping.check(signal.SIGTERM)
    assert caught.value.exit_status == 143


COMMAND = """
import os, signal, sys, time
from emoprobe.system import stopping
from emoprobe.cli.entry import run_or_exit

def batches():
    with stopping.graceful("Go on."):
        for _ in range(100):
            os.kill(os.getpid(), signal.{signal})
            print("batch", flush=True)
            stopping.check()

def at_once():
    try:
        os.kill(os.getpid(), signal.{signal})
        time.sleep(9)
    except Exception:
        pass
    print("went on")

def of_lightning():
    try:
        at_once()
    except KeyboardInterrupt:
        sys.exit(1)

def nested():
    run_or_exit(at_once)  # as a job of Hydra within the command
    print("went on")

def resumable():
    with stopping.heard("Go on."):
        with stopping.graceful():
            stopping.check()
        at_once()

def itself():
    sys.exit(7)

run_or_exit({run})
"""


@pytest.mark.parametrize(
    ("run", "name", "rank", "code", "out", "err"),
    [
        ("batches", "SIGTERM", "0", 143, "batch\n", "stopped: by SIGTERM; what was finished is kept. Go on.\n"),
        ("batches", "SIGINT", "0", 130, "batch\n", "stopped: by SIGINT; what was finished is kept. Go on.\n"),
        ("batches", "SIGTERM", "1", 0, "batch\n", ""),  # the first process says it
        ("at_once", "SIGTERM", "0", 143, "", "stopped: by SIGTERM; what was finished is kept.\n"),
        ("at_once", "SIGINT", "0", 130, "", "stopped: by SIGINT; what was finished is kept.\n"),
        ("nested", "SIGINT", "0", 130, "", "stopped: by SIGINT; what was finished is kept.\n"),
        ("resumable", "SIGTERM", "0", 143, "", "stopped: by SIGTERM; what was finished is kept. Go on.\n"),
        ("of_lightning", "SIGTERM", "0", 143, "", "stopped: by SIGTERM; what was finished is kept.\n"),
        ("itself", "SIGTERM", "0", 7, "", ""),
    ],
)
def test_a_command_ends_in_one_line_and_the_signals_exit_status(run, name, rank, code, out, err):
    script = COMMAND.format(signal=name, run=run)
    environment = os.environ | {"LOCAL_RANK": rank}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, out, err)


def test_a_users_mistake_keeps_its_exit_status(capsys):
    def run():
        raise InputError("the table has no column")

    with pytest.raises(SystemExit) as caught:
        run_or_exit(run)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: the table has no column.\n"


def test_workers_of_a_loader_ignore_what_their_process_obeys():
    import torch

    class Slow(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            send(signal.SIGTERM)  # as Ctrl-C or a batch system signals the whole group
            return index

    loader = torch.utils.data.DataLoader(Slow(), num_workers=1, worker_init_fn=stopping.shield)
    assert [int(x) for x in loader] == [0, 1, 2, 3]
