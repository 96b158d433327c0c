"""Twelve jobs that are killed again and again beside the same left alone: equal numbers, and little done twice.

    python benchmarks/kills.py [--kills 20] [--seed 0] [--folder DIR]

Two sweeps of six jobs, zero-shot and training, three of each in two processes, on a tiny Whisper of random weights and
the demo corpus. After a random time the command and all its processes are killed by SIGKILL, at any moment that comes;
then the same command is given again. The last lines compare every job's score table and metric rows with those of the
study that nobody disturbed, and count the clips and training batches that had to be done again.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd

LOG = "EMOPROBE_KILLS_LOG"
PROMPTS, LOSSES = ("voice_sounds", "bare_label", "speaker_feeling"), ("soft_kl", "js", "hard_ce")
SHORTEST = 4.0  # seconds: a command first imports torch and Lightning
KEY = ["prompt", "readout", "input", "draw", "utterance_id"]


class Counted(L.Callback):
    """Writes a line for every finished batch into the file that the environment names."""

    def on_predict_batch_end(self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        self._say(f"clips {batch.num_clips}")

    def on_train_batch_end(self, *_: Any) -> None:
        self._say("batches 1")

    @staticmethod
    def _say(line: str) -> None:
        with open(os.environ[LOG], "a", encoding="utf-8") as log:
            log.write(line + "\n")


def commands(checkpoint: Path, clips: int, jobs: int) -> dict[str, list[str]]:
    """The sweeps of the study by the name of their folder, of so many jobs in one process and as many in two."""
    shared = [
        *("model=whisper", f"model.path={checkpoint}", "model.device=cpu", f"dataset.limit={clips}", "logger=none"),
        *("trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "analysis.figures=false"),
        *("analysis.resamples=50", "trainer.devices=1,2", "+callbacks.counted._target_=kills.Counted"),
    ]
    probe = [f"prompt={','.join(PROMPTS[:jobs])}", "batch_size=4", "calibration=all"]
    probe += ["readout.averaged_logits.max_new_tokens=6", "readout.generated_text.max_new_tokens=12"]
    train = [
        f"loss={','.join(LOSSES[:jobs])}",
        "head.layers=[-1]",
        "fit.max_epochs=6",
        "fit.batch_size=8",
        "fit.checkpoint_seconds=0",
    ]
    train += ["dataset.fold=all", "dataset.partition.folds=3", "fit.patience=6"]
    return {"probe": ["probe", "-m", *shared, *probe], "train": ["train", "-m", *shared, *train]}


def start(words: Sequence[str], folder: Path, log: Path, out: Path) -> subprocess.Popen:
    """Begin a sweep in a session of its own, so that all its processes can be killed at once."""
    here = Path(__file__).parent
    paths = [str(here), str(here.parent / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"PYTHONPATH": os.pathsep.join(paths), LOG: str(log), "EMOPROBE_CACHE": str(folder.parent / "cache")}
    program = here.parent / f"{words[0]}.py"
    command = [sys.executable, str(program), *words[1:], f"hydra.sweep.dir={folder}"]
    with out.open("a") as said:
        return subprocess.Popen(
            command, env=os.environ | own, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
        )


def kill(process: subprocess.Popen) -> None:
    """SIGKILL to a command and to every process that it has begun."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def failed(root: Path, name: str, status: int) -> str:
    """What a sweep said that should have ended well."""
    return f"{name} ended with status {status}:\n{(root / 'out').read_text(encoding='utf-8')[-4000:]}"


def calm(root: Path, study: dict[str, list[str]]) -> dict[str, float]:
    """The study left alone; returns the seconds of each sweep."""
    seconds = {}
    for name, words in study.items():
        begun = time.perf_counter()
        status = start(words, root / name, root / "log", root / "out").wait()
        if status:
            raise SystemExit(
                f"the undisturbed {name} ended with status {status}:\n{(root / 'out').read_text()[-4000:]}"
            )
        seconds[name] = time.perf_counter() - begun
    return seconds


def stormy(root: Path, study: dict[str, list[str]], seconds: dict[str, float], kills: int, rng: random.Random) -> int:
    """The same with kills, a sweep's share as its time has it; returns how many there were."""
    done = 0
    for name, words in study.items():
        left = round(kills * seconds[name] / sum(seconds.values())) if name == "probe" else kills - done
        while True:
            process = start(words, root / name, root / "log", root / "out")
            try:
                if left <= 0:
                    status = process.wait()
                else:
                    status = process.wait(rng.uniform(SHORTEST, max(seconds[name] / 3, 2 * SHORTEST)))
            except subprocess.TimeoutExpired:
                kill(process)
                done, left = done + 1, left - 1
                continue
            if status:
                raise SystemExit(
                    f"the repeated {name} ended with status {status}:\n{(root / 'out').read_text()[-4000:]}"
                )
            break  # perhaps with kills to spare
    return done


def counts(root: Path) -> Counter:
    """Clips scored and batches trained on, those done again counted again."""
    found: Counter = Counter()
    for line in (root / "log").read_text(encoding="utf-8").splitlines():
        kind, number = line.split()
        found[kind] += int(number)
    return found


def compare(one: Path, other: Path) -> tuple[list[str], float]:
    """Jobs whose tables differ in two sweeps, and the largest difference of a log-probability."""
    from emoprobe.run.folder import open_folder

    unlike, largest = [], 0.0
    jobs = sorted(path.name for path in one.iterdir() if path.is_dir() and path.name.isdigit())
    for job in jobs:
        a, b = open_folder(one / job), open_folder(other / job)
        tables = [run.scores.sort_values(KEY).reset_index(drop=True) for run in (a, b)]
        same = tables[0][KEY].equals(tables[1][KEY])
        if same:
            for x, y in zip(tables[0]["form_logprobs"], tables[1]["form_logprobs"], strict=True):
                if x is not None:
                    flat = [np.concatenate([np.atleast_1d(part) for part in each]) for each in (x, y)]
                    largest = max(largest, float(np.abs(flat[0] - flat[1]).max()))
            pairs = (run.metrics.drop(columns=[c for c in run.metrics if c.startswith("seconds")]) for run in (a, b))
            try:
                pd.testing.assert_frame_equal(*pairs, rtol=0, atol=0)
            except AssertionError:
                same = False
        if not same:
            unlike.append(f"{one.name}/{job}")
    return unlike, largest


def main() -> None:
    """Run both studies and print how they compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--jobs", type=int, default=3, choices=(1, 2, 3), help="of each sweep in one process")
    parser.add_argument("--folder", type=Path, help="where to run; a temporary folder by default")
    options = parser.parse_args()
    root = Path(options.folder or tempfile.mkdtemp())
    from emoprobe.checks.tiny import whisper

    checkpoint = whisper.write(root / "model")
    study = commands(checkpoint, options.clips, options.jobs)
    for name in ("calm", "stormy"):
        (root / name).mkdir(parents=True)
        (root / name / "log").touch()
    seconds = calm(root / "calm", study)
    print("undisturbed: " + ", ".join(f"{name} {took:.0f} s" for name, took in seconds.items()), flush=True)
    begun = time.perf_counter()
    done = stormy(root / "stormy", study, seconds, options.kills, random.Random(options.seed))
    print(f"{done} kills, then the same command each time: {time.perf_counter() - begun:.0f} s")
    lost: list[str] = []
    for name in study:
        unlike, largest = compare(root / "calm" / name, root / "stormy" / name)
        print(f"{name}: {len(unlike)} jobs differ, largest difference {largest:.1e} nats")
        lost += unlike
    once, again = counts(root / "calm"), counts(root / "stormy")
    for kind in ("clips", "batches"):
        more = again[kind] - once[kind]
        print(f"{kind}: {once[kind]} undisturbed, {more} of them done again, {more / max(done, 1):.1f} a kill")
    if lost:
        raise SystemExit(f"these jobs differ: {' '.join(lost)} (in {root})")
    if options.folder is None:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
