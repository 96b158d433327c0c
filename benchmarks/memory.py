"""Memory of a run beside one of more clips: scoring, taking over as parts, merging, analysing; in one run.

    python benchmarks/memory.py [--clips 1000 10000] [--parts 4]

Clips of 0.1 to 0.3 s of noise, a tiny model of the true Whisper class, one prompt, all labels' likelihoods. Every step
is a process of its own, a fork of one that has loaded the libraries; its peak is that of the resident set from the
step's first moment on. A step that keeps something of every clip grows by it from the smaller to the larger corpus.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import lightning as L
import numpy as np
import soundfile

from emoprobe.recipes.settings import ProbeSettings, read_probe
from emoprobe.settings import compose

LABELS = ("anger", "disgust", "fear", "happy", "neutral", "sad")
STEPS = ("scoring", "of it, in batches", "taking over", "merging", "analysing")


class Spent(NamedTuple):
    """Of one step: MiB at its peak, and seconds."""

    peak: float
    seconds: float


class Watch(L.Callback):
    """Notes the peak of the resident set between the first batch's end and the last one's, in the run folder."""

    start = 0.0

    def on_predict_batch_end(self, *_: object) -> None:
        if not self.start:
            reset_peak()
            self.start = time.perf_counter()

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        folder = Path(trainer.default_root_dir)
        (folder / "batches.txt").write_text(f"{resident('VmHWM')} {time.perf_counter() - self.start}")


def resident(name: str) -> float:
    """A line of what the system says of the process's memory, MiB: ``VmHWM`` is its peak."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) / 1024


def reset_peak() -> None:
    """Let the peak begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


def write_corpus(folder: Path, count: int) -> Path:
    """A manifest of clips of noise by 50 speakers."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    with (folder / "manifest.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["path", "speaker", *(f"votes_{label}" for label in LABELS)])
        for i in range(count):
            soundfile.write(folder / f"{i}.wav", rng.normal(0, 0.1, rng.integers(1600, 4800)), 16_000)
            writer.writerow([f"{i}.wav", f"s{i % 50}", *rng.multinomial(5, np.full(6, 1 / 6))])
    return folder / "manifest.csv"


def settings(model: Path, manifest: Path, output: Path, *overrides: str) -> ProbeSettings:
    """What is run."""
    own = [f"model.path={model}", "model.device=cpu", "dataset=manifest", f"dataset.path={manifest}"]
    own += ["prompt=bare_label", "readout=label_likelihood", "calibration=none", "logger=none", "batch_size=16"]
    own += ["analysis.figures=false", "analysis.resamples=100", "trainer.enable_progress_bar=false"]
    return read_probe(compose([*own, "null_inputs.seconds=0.2", f"output_dir={output}", *overrides]))


def measured(step: Callable[[], object]) -> Spent:
    """Peak and seconds of a step, in a fork of this process."""
    receive, send = multiprocessing.Pipe(duplex=False)

    def work() -> None:
        import torch

        torch.set_num_threads(1)
        reset_peak()
        start = time.perf_counter()
        with redirect_stdout(StringIO()):
            step()
        send.send((resident("VmHWM"), time.perf_counter() - start))

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    send.close()
    spent = Spent(*receive.recv())
    process.join()
    return spent


def steps_of(model: Path, root: Path, count: int, parts: int) -> list[Spent]:
    """Every step with a corpus of so many clips."""
    from emoprobe.recipes import probe
    from emoprobe.recipes.analyse import analyse_again
    from emoprobe.recipes.merge import merge

    manifest, whole = write_corpus(root / "corpus", count), root / "whole"
    watch = "++callbacks.watch._target_=memory.Watch"
    found = [measured(lambda: probe.run(settings(model, manifest, whole, watch)))]
    found.append(Spent(*map(float, (whole / "batches.txt").read_text().split())))
    of = [f"dataset.shard={number}/{parts}" for number in range(1, parts + 1)]
    taken = [
        measured(lambda n=n, one=one: probe.run(settings(model, manifest, root / "p" / str(n), one, f"resume={whole}")))
        for n, one in enumerate(of)
    ]
    found.append(Spent(max(each.peak for each in taken), sum(each.seconds for each in taken)))
    found.append(measured(lambda: merge([root / "p"], root / "merged")))
    found.append(measured(lambda: analyse_again(root / "merged", ["analysis.resamples=100"], None)))
    return found


def inside(model: Path, counts: list[int], parts: int) -> None:
    """Measure and print; in a process that has run nothing else."""
    import emoprobe.readout.scoring.record  # noqa: F401  (forks need not import it each)

    with tempfile.TemporaryDirectory() as folder:
        found = []
        for i, count in enumerate(counts):
            (root := Path(folder) / str(i)).mkdir()
            found.append(steps_of(model, root, count, parts))
        print(f"{parts} parts; peak of " + " and ".join(f"{count:,}" for count in counts) + " clips")
        for i, step in enumerate(STEPS):
            few, many = found[0][i], found[-1][i]
            grown = (many.peak - few.peak) * 2**20 / (counts[-1] - counts[0])
            times = " ".join(f"{each[i].seconds / count * 1000:.2f}" for each, count in zip(found, counts, strict=True))
            peaks = " ".join(f"{each[i].peak:8.1f}" for each in found)
            print(f"{step:<18} {peaks} MiB, {grown:,.0f} bytes per further clip; ms per clip: {times}")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, nargs=2, default=[1000, 10_000])
    parser.add_argument("--parts", type=int, default=4)
    parser.add_argument("--checkpoint", help="folder of a tiny Whisper; made if none is given")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        inside(Path(options.checkpoint), options.clips, options.parts)
        return
    with tempfile.TemporaryDirectory() as folder:
        model = options.checkpoint
        if model is None:
            from emoprobe.checks.tiny.whisper import write

            model = write(Path(folder) / "model")
        again = [sys.executable, __file__, "--inside", "--checkpoint", str(model), "--parts", str(options.parts)]
        done = subprocess.run(
            [*again, "--clips", *map(str, options.clips)], check=True, stdout=subprocess.PIPE, text=True
        )
        print(done.stdout, end="")


if __name__ == "__main__":
    main()
