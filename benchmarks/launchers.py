"""A sweep whose jobs follow one another, beside the same sweep by joblib, several jobs at once: wall time and rows.

    python benchmarks/launchers.py --checkpoint DIR [--cells 12] [--at-once 2] [--limit 48]

The jobs are zero-shot cells, one prompt and seed each. In a serial sweep they share the loaded model; each process of
joblib imports torch and loads a model of its own, which is part of its time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from emoprobe.run.scores import read_scores


def sweep(folder: Path, arguments: argparse.Namespace, more: list[str]) -> float:
    """Run the sweep into a folder; returns seconds."""
    command = [
        *(sys.executable, "-m", "emoprobe", "probe", "-m", "model=whisper", f"model.path={arguments.checkpoint}"),
        *("model.device=cpu", "logger=none", "trainer.enable_progress_bar=false", f"dataset.limit={arguments.limit}"),
        *("readout=label_likelihood", "calibration=none", "null_inputs.kinds=[]", "analysis.resamples=100"),
        *("analysis.figures=false", f"seed=range({arguments.cells})", f"hydra.sweep.dir={folder}", *more),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    begun = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="a Whisper on disk")
    parser.add_argument("--cells", type=int, default=12)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--limit", type=int, default=48, help="clips of a cell")
    arguments = parser.parse_args()
    print(f"{arguments.cells} cells of {arguments.limit} clips, a thread per process, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        serial = sweep(root / "serial", arguments, [])
        print(f"(a) one after the other  {serial:.1f} s")
        launcher = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={arguments.at_once}"]
        joblib = sweep(root / "joblib", arguments, launcher)
        print(f"(b) joblib, {arguments.at_once} at once  {joblib:.1f} s  {serial / joblib:.2f} times as fast")
        tables = [[read_scores(root / name / str(i)) for i in range(arguments.cells)] for name in ("serial", "joblib")]
        equal = sum(one.equals(other) for one, other in zip(*tables, strict=True))
        print(f"equal score tables: {equal} of {arguments.cells}")


if __name__ == "__main__":
    main()
