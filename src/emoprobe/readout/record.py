"""Recording scores as they come, and taking over those that an earlier run already has."""

from __future__ import annotations

import hashlib
import resource
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import lightning as L
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from emoprobe.data.utterance import Skipped, Utterance
from emoprobe.errors import InputError
from emoprobe.readout.module import NullInput, ZeroShotProbe
from emoprobe.readout.read import READOUTS
from emoprobe.scores import CLIP, FILE_NAME, PARTS_NAME, ScoreWriter, read_scores


class BatchRecorder(L.Callback):
    """Writes every finished batch, collects what was skipped and shows clips per second.

    Args:
        writer: Open score writer.
        total: Number of clips.
        progress: Whether to show a progress bar.
    """

    def __init__(self, writer: ScoreWriter, *, total: int, progress: bool = True) -> None:
        self.writer, self.total, self.progress = writer, total, progress
        self.skipped: list[Skipped] = []
        self.clips = 0
        self.seconds = 0.0
        self._bar: tqdm | None = None
        self._start = 0.0

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._start = time.perf_counter()
        self._bar = tqdm(total=self.total, unit="clip", desc="Scoring", disable=not self.progress, file=sys.stderr)

    def on_predict_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0) -> None:
        self.writer.write(outputs)
        self.skipped += batch.skipped
        self.clips += len(batch.clips)
        self._bar.update(len(batch.clips) + len(batch.skipped))

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.seconds = time.perf_counter() - self._start
        self._bar.close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if self._bar is not None:
            self._bar.close()

    def speed(self) -> dict[str, float]:
        """Clips, seconds, clips per second and the process's peak memory in MiB."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
        rate = self.clips / self.seconds if self.seconds else 0.0
        return {"clips": self.clips, "seconds": self.seconds, "clips_per_second": rate, "peak_memory_mib": peak}


class Earlier:
    """Finished cells of an earlier run: of this output folder (the same command run again), or of ``resume``.

    A row is taken over only if model, revision, dtype, prompt text, label set, readout options, library versions and
    the sound file's bytes are all the same, and only if its utterance is complete.

    Args:
        resume: Folder of an earlier run, or None.
        folder: This run's output folder.
        probe: What this run asks.

    Raises:
        InputError: The output folder holds scores that this run would not have made.
    """

    def __init__(self, resume: str | Path | None, folder: Path, probe: ZeroShotProbe) -> None:
        self.same_folder = (folder / FILE_NAME).exists() or any((folder / PARTS_NAME).glob("part-*.parquet"))
        source = folder if self.same_folder else resume
        self.probe = probe
        self.folder = folder
        self.rows: list[dict] = []
        if source is None:
            return
        table = read_scores(source)
        with_heads, table = len(table), _zero_shot(table)
        whole = len(table)
        sfm = probe.sfm
        constants = {
            "model": sfm.name,
            "model_revision": sfm.revision,
            "dtype": sfm.dtype,
            "library_versions": probe.versions,
            "label_set_hash": probe.plans.labels.hash,
        }
        for name, value in constants.items():
            table = table.filter(pc.equal(table[name], value))
        self.names = {prompt.hash: prompt.name for prompt in probe.plans.prompts}
        self.wanted = {
            (prompt.hash, readout.name, readout.options(prompt))
            for prompt in probe.plans.prompts
            for readout in probe.readouts
        }
        self.tokens = {plan.prompt.hash: plan.question_hash for plan in probe.plans.samples}
        self.rows = [row for row in table.to_pylist() if _asked(row) in self.wanted]
        if self.same_folder and len(self.rows) != whole:
            raise InputError(
                "this output folder holds scores of another configuration",
                file=folder,
                field="hydra.run.dir",
                remedy="Choose another output folder.",
            )
        if self.same_folder and ((folder / FILE_NAME).exists() or whole < with_heads):
            keep_zero_shot(folder)  # the rows of trained heads are made anew

    def take_over(self, utterances: Sequence[Utterance], writer: ScoreWriter) -> list[Utterance]:
        """Write the usable rows of other runs and return the utterances still to be scored."""
        by_utterance: dict[str, list[dict]] = {}
        for row in self.rows:
            if row["input"] == CLIP:
                by_utterance.setdefault(row["utterance_id"], []).append(row)
        left, taken = [], []
        for utterance in utterances:
            rows = by_utterance.pop(utterance.id, [])
            complete = rows and {_asked(row) for row in rows} == self.wanted
            # Whether a clip is cut depends on this run's limits, so a cut clip of another run is scored anew.
            usable = complete and (self.same_folder or not rows[0]["truncated"])
            if usable and self._same_question(utterance, rows) and _digest(utterance.audio) == rows[0]["audio_sha256"]:
                taken += [row | {"prompt": self.names[row["prompt_hash"]]} for row in rows]
            else:
                left.append(utterance)
                if rows and self.same_folder:
                    by_utterance[utterance.id] = rows
        if self.same_folder:
            if by_utterance:
                raise InputError(
                    f"this output folder holds scores of other sound, for example of {next(iter(by_utterance))}",
                    file=self.folder,
                    field="hydra.run.dir",
                    remedy="Choose another output folder.",
                )
        elif taken:
            writer.write(taken)
        if taken:
            print(f"taken over from an earlier run: {len(utterances) - len(left)} of {len(utterances)} utterances")
        return left

    def _same_question(self, utterance: Utterance, rows: Sequence[dict]) -> bool:
        """Whether the tokens asked then are those asked now: chat templates and facts of utterances may change."""
        own = {plan.prompt.hash: plan.question_hash for plan in self.probe.plans.of(utterance.id)}
        return all(row["question_hash"] == (self.tokens | own)[row["prompt_hash"]] for row in rows)

    def missing_nulls(self, nulls: Sequence[NullInput]) -> list[NullInput]:
        """The null inputs that this folder does not hold yet."""
        if not self.same_folder:
            return list(nulls)
        held = {(row["input"], row["draw"]): row["audio_sha256"] for row in self.rows if row["input"] != CLIP}
        asked = {(null.kind, null.draw): null.sha256 for null in nulls}
        if any(asked.get(key) != value for key, value in held.items()):
            raise InputError(
                "this output folder holds other null inputs",
                file=self.folder,
                field="null_inputs",
                remedy="Choose another output folder.",
            )
        return [null for null in nulls if (null.kind, null.draw) not in held]


def _asked(row: dict) -> tuple[str, str, str]:
    return row["prompt_hash"], row["readout"], row["readout_options"]


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def _zero_shot(table: pa.Table) -> pa.Table:
    """Rows that a model was asked for, without those of trained heads."""
    return table.filter(pc.is_in(table["readout"], pa.array(sorted(READOUTS))))


def keep_zero_shot(folder: Path) -> None:
    """Make one part of a folder's zero-shot rows. At every moment the folder holds a whole table."""
    temporary, parts = folder / f"{FILE_NAME}.tmp", folder / PARTS_NAME
    pq.write_table(_zero_shot(read_scores(folder)), temporary)
    temporary.replace(folder / FILE_NAME)
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir()
    (folder / FILE_NAME).replace(parts / "part-000000.parquet")
