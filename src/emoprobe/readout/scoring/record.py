"""Recording scores as they come, in one process or in several that share a run folder.

Every process writes its own part files and says in an outcome file of its own how far it is; the first one waits for
the others through these files. Nothing is gathered through the process group, so that a process which dies loses no
clip of another's, and what it has not scored is missed by name (`emoprobe.run.completeness`).
"""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import astuple
from pathlib import Path
from typing import Any

import lightning as L
from tqdm import tqdm

from emoprobe.data.datamodule import Batch, data_of
from emoprobe.errors import EmoprobeError
from emoprobe.models.progress import watching
from emoprobe.readout.scoring.module import ZeroShotProbe
from emoprobe.readout.scoring.nulls import NullInput
from emoprobe.readout.scoring.writing import WritingNote
from emoprobe.run.scores import Outcome, ScoreWriter, read_outcomes
from emoprobe.system import stopping

GRACE = 60.0
"""Seconds in which the other processes may finish the batch they are at when the run stops."""
PATIENCE = 1800.0
"""Seconds without a sign of another process after which it is taken for lost, as in torch's process groups."""


class BatchRecorder(L.Callback):
    """Writes every finished batch and what was skipped, shows clips per second, and keeps the processes together.

    Args:
        folder: The run folder.
        progress: Whether to show a progress bar.
    """

    def __init__(self, folder: Path, *, progress: bool = True) -> None:
        self.folder, self.progress = folder, progress
        self.outcome = Outcome()
        self._bar: tqdm | None = None
        self._watched = ExitStack()
        self._start = 0.0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Agree on the run folder: processes that a cluster started have each been given one of their own."""
        folder = trainer.strategy.broadcast(str(self.folder.resolve()))
        self.writer = ScoreWriter(Path(folder), trainer.global_rank)
        _watch_over(trainer)
        self._start = time.perf_counter()

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        stopping.hold()  # Lightning's own handler of SIGTERM would go on to the end
        total = len(data_of(trainer).own)
        shown = self.progress and trainer.is_global_zero
        self._bar = tqdm(total=total, unit="clip", desc="Scoring", disable=not shown, file=sys.stderr)

    def on_predict_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._bar is not None and not self._bar.disable and isinstance(pl_module, ZeroShotProbe):
            clips, most = batch.num_clips, len(batch.clips) * pl_module.most_tokens
            note = WritingNote(self._bar, clips + len(batch.skipped), most)
            self._watched.enter_context(watching(note))

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.writer.write(outputs)
        self.outcome.skipped += batch.skipped
        self.outcome.clips += batch.num_clips
        if isinstance(pl_module, ZeroShotProbe):
            ids = {utterance.id for utterance in batch.utterances}
            lost = [row for row in pl_module.unanswered if row.id in ids]
            self.outcome.skipped += lost
            self.outcome.clips -= len(lost)
            self.outcome.cached_cells, self.outcome.cached_clips = astuple(pl_module.known)
        self._tell()
        self._watched.close()
        if self._bar is not None:
            self._bar.set_postfix_str("", refresh=False)
            self._bar.update(batch.num_clips + len(batch.skipped))
        stopping.check()
        self._check_others(trainer)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """The end of the work, also of a process that there was no clip for: Lightning skips its prediction."""
        if isinstance(pl_module, ZeroShotProbe):
            pl_module.flush()
        self.outcome.finished = True
        self._tell()
        if self._bar is not None:
            self._bar.close()
        if trainer.is_global_zero:
            self._wait(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if isinstance(pl_module, ZeroShotProbe):
            pl_module.flush()
        self._watched.close()
        if self._bar is not None:
            self._bar.close()
        _stop_others(trainer)

    def _tell(self) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.outcome.peak_memory_mib = peak / (1024 if sys.platform != "darwin" else 1024**2)
        self.outcome.seconds = time.perf_counter() - self._start
        self.writer.tell(self.outcome)

    def _check_others(self, trainer: L.Trainer) -> None:
        for rank, process in enumerate(_started_here(trainer), 1):
            if process.poll() is not None:
                told = read_outcomes(self.writer.folder).get(rank)
                if process.returncode or told is None or not told.finished:
                    what = f"process {rank + 1} of {trainer.world_size} has ended before its work was done"
                    raise _lost(f"{what}, with status {process.returncode}")

    def _wait(self, trainer: L.Trainer) -> None:
        """Wait until every process has written all that it has scored."""
        started = time.time()
        while True:
            there = read_outcomes(self.writer.folder)
            late = [r for r in range(trainer.world_size) if r not in there or not there[r].finished]
            if not late:
                return
            stopping.check()
            self._check_others(trainer)
            heard = max([started, *(there[rank].written for rank in late if rank in there)])
            if time.time() - heard > PATIENCE:
                raise _lost(f"process {late[0] + 1} of {trainer.world_size} has not been heard of for {PATIENCE:.0f} s")
            time.sleep(0.1)


def scored_nulls(probe: ZeroShotProbe, nulls: Sequence[NullInput], *, progress: bool) -> Iterator[list[dict]]:
    """Rows of one content-free input after the other.

    Args:
        probe: Reads the model.
        nulls: The inputs.
        progress: Whether to show a progress bar.
    """
    with tqdm(nulls, unit="input", desc="Null inputs", disable=not progress, file=sys.stderr, leave=False) as bar:
        for null in bar:
            with watching(WritingNote(bar, 1, probe.most_tokens) if progress else None):
                rows = probe.null_rows([null])
            yield rows


def speed(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Clips of all processes that a model was asked about, seconds of the slowest, clips per second, and the largest
    peak memory in MiB.
    """
    clips = sum(outcome.clips - outcome.cached_clips for outcome in outcomes)
    seconds = max((outcome.seconds for outcome in outcomes), default=0.0)
    peak = max((outcome.peak_memory_mib for outcome in outcomes), default=0.0)
    return {
        "clips": clips,
        "seconds": seconds,
        "clips_per_second": clips / seconds if seconds else 0.0,
        "peak_memory_mib": peak,
    }


def _started_here(trainer: L.Trainer) -> list[subprocess.Popen]:
    """Processes that Lightning has started by running the command again; those of a cluster are the cluster's."""
    return [each for each in getattr(trainer.strategy.launcher, "procs", ()) if isinstance(each, subprocess.Popen)]


def _watch_over(trainer: L.Trainer) -> None:
    """Lightning's watch over the processes it started kills this one without a word when one fails: see `_lost`.

    It looks once more after it was told to end, so it is left nothing to look at.
    """
    if _started_here(trainer):
        for thread in threading.enumerate():
            if thread.name == "child-process-observer":
                vars(thread)["_child_processes"] = []


def _lost(what: str) -> EmoprobeError:
    return EmoprobeError(f"{what}. Finished batches are kept: run the same command again to go on.")


def _stop_others(trainer: L.Trainer) -> None:
    """Ask the processes started here to stop after their batch, and end those that do not."""
    others = _started_here(trainer)
    for process in others:
        if process.poll() is None:
            process.terminate()
    end = time.monotonic() + GRACE
    for process in others:
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:  # still busy: its batch is lost, and scored anew when the run goes on
            process.kill()
