"""A run folder belongs to one process at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from emoprobe.errors import InputError
from emoprobe.system.claim import HOLDER_FILE, claimed

HOLD = """
import sys, time
from pathlib import Path
from emoprobe.system.claim import claimed
with claimed(Path(sys.argv[1]), 'train'):
    print('held', flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_told_who_holds_the_folder(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        message = rf"another process is at work in this folder: train, process {holder.pid} on .+, since 20"
        with pytest.raises(InputError, match=message), claimed(tmp_path, "probe"):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with claimed(tmp_path, "probe"):  # whoever dies lets go
            assert f'"process": {os.getpid()}' in (tmp_path / HOLDER_FILE).read_text()
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert not (tmp_path / HOLDER_FILE).exists()


def test_a_folder_is_made_and_let_go_of_after_an_error(tmp_path):
    with pytest.raises(KeyError), claimed(tmp_path / "new" / "run", "probe"):
        raise KeyError("anything")
    with claimed(tmp_path / "new" / "run", "probe"):
        pass


def test_a_folder_that_cannot_be_is_an_error_in_words(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"), claimed(tmp_path / "file" / "run", "probe"):
        pass
