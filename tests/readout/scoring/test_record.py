"""What the recorder does about the processes that Lightning has started."""

from __future__ import annotations

import subprocess
import sys
import time
from types import SimpleNamespace

from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver

from emoprobe.readout.scoring.record import _watch_over


def test_lightnings_watch_kills_nobody_in_its_last_look():
    """A process that fails right after the run began: the watch is asleep, and looks again before it ends."""
    main = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    failed = subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"])
    try:
        watch = _ChildProcessObserver(main.pid, [failed], sleep_period=1)
        watch.start()
        time.sleep(0.3)  # asleep by now
        _watch_over(SimpleNamespace(strategy=SimpleNamespace(launcher=SimpleNamespace(procs=[failed]))))
        failed.wait()
        watch.join(10)
        assert not watch.is_alive()
        time.sleep(0.3)
        assert main.poll() is None
    finally:
        main.kill()
        main.wait()
