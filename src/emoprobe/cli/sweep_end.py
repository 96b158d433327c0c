"""What a sweep ends in, however many commands and processes it took."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from emoprobe.cli.entry import exit_status
from emoprobe.run.sweep import read_sweep


class SweepEnd(Callback):
    """Called by Hydra when all jobs of a sweep have ended."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print what became of the jobs; the exit status is 1 if not all are done."""
        status = exit_status(show_end, Path(config.hydra.sweep.dir).absolute())
        if status:
            sys.exit(status)


def show_end(folder: Path) -> int:
    """Print what became of the jobs of a sweep; 1 if not all are done."""
    jobs = read_sweep(folder).jobs()
    counts = Counter(job.what for job in jobs)
    print(f"Sweep    {', '.join(f'{number} {what}' for what, number in counts.items())}: {folder}")
    return 0 if set(counts) <= {"done"} else 1
