"""The part of the zero-shot recipe that fills the score table: every process scores, the first one keeps the books."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from emoprobe.data.prepare import Item, Prepared
from emoprobe.data.sound.survey import find_faults
from emoprobe.data.utterance import Corpus, Skipped, Utterance
from emoprobe.errors import InputError
from emoprobe.readout.base import cells_of
from emoprobe.recipes.again import Again
from emoprobe.recipes.inputs import Lengths
from emoprobe.recipes.settings import ProbeSettings
from emoprobe.run.cell import NO_PROMPT
from emoprobe.run.completeness import KEYS, check_complete
from emoprobe.run.record import ModelFacts, Record, make_record
from emoprobe.run.scores import ScoreWriter, read_outcomes, read_scores
from emoprobe.run.settings import differences
from emoprobe.run.writing import begin_run, finish_run, utterances_frame, write_skipped
from emoprobe.system import stopping
from emoprobe.training.arguments import NOT_IN_SCORING, PRECISION

if TYPE_CHECKING:
    import lightning as L

    from emoprobe.models.base import SpeechFoundationModel
    from emoprobe.readout.scoring.module import ZeroShotProbe
    from emoprobe.readout.scoring.record import BatchRecorder
    from emoprobe.run.scores import Outcome
    from emoprobe.training.bundle import Bundle


@dataclass
class Job:
    """What the first process knows of a run besides its scores.

    Args:
        settings: What is asked for.
        corpus: The corpus.
        prepared: What is evaluated of it.
        lengths: How long the clips are.
        sfm: The model.
        skipped: What was left out so far.
        cached: Rows that came out of the score cache.
    """

    settings: ProbeSettings
    corpus: Corpus
    prepared: Prepared
    lengths: Lengths
    sfm: SpeechFoundationModel
    skipped: list[Skipped]
    cached: int = 0

    def __post_init__(self) -> None:
        settings, sfm = self.settings, self.sfm
        self.model = ModelFacts(sfm.name, sfm.revision, sfm.dtype, sfm.device, sfm.hears)
        self.nulls = settings.null_inputs.make(sfm.sampling_rate, settings.seed)
        self.frame = utterances_frame(self.prepared, settings.labels, settings.dataset.soft_label)

    @property
    def kept(self) -> list[Item]:
        """What was not left out so far."""
        lost = {row.id for row in self.skipped}
        return [item for item in self.prepared.items if item.utterance.id not in lost]

    def record(self) -> Record:
        """What was run."""
        dataset = self.settings.dataset
        asked_of: dict[str, Any] = {"policy": dataset.soft_label, "split": dataset.split, "seed": self.settings.seed}
        return make_record(self.corpus, self.prepared, self.skipped, self.settings.labels, self.model, **asked_of)

    def check_complete(self) -> int:
        """How many clips were scored, where each was scored or skipped; see `emoprobe.run.completeness`."""
        settings = self.settings
        cells = cells_of(settings.prompts, settings.readout)
        return check_complete(
            read_scores(settings.output_dir, KEYS),
            [item.utterance.id for item in self.prepared.items],
            {row.id for row in self.skipped},
            [(prompt.name if prompt else NO_PROMPT, readout.name) for prompt, readout in cells],
            [(null.kind, null.draw) for null in self.nulls],
        )


class Head(NamedTuple):
    """A trained head, and whether it has seen votes of what is evaluated."""

    bundle: Bundle
    knows_votes: bool


def load_head(settings: ProbeSettings, corpus: Corpus, prepared: Prepared) -> tuple[Head | None, Prepared]:
    """The trained head that is read too, and what is evaluated: what it was trained on is left out, or counted."""
    if settings.head is None:
        return None, prepared
    from emoprobe.training.bundle import load_bundle
    from emoprobe.training.heads.base import check_windows, head_options
    from emoprobe.training.seen import divide_seen, leave_out_seen

    bundle = load_bundle(settings.head.path)
    check_windows(head_options(bundle.facts["head"]), settings.dataset.audio)
    division = prepared.division
    if settings.head.seen != "leave_out":
        _, known = divide_seen(bundle.facts["seen"], corpus, division.whole if division else prepared.items)
        return Head(bundle, bool(known)), prepared
    divide = divide_seen if division else leave_out_seen  # of a part nothing may be left
    items, left_out = divide(bundle.facts["seen"], corpus, prepared.items)
    return Head(bundle, False), replace(prepared, items=tuple(items), skipped=(*prepared.skipped, *left_out))


def fill(
    job: Job, trainer: L.Trainer, probe: ZeroShotProbe, again: Again, head: Head | None
) -> tuple[int, list[Outcome]]:
    """Fill the score table: what an earlier run has, null inputs, clips, the trained head.

    Whether the folder is that of another run is found out before anything in it is changed.

    Returns:
        How many clips were scored, and what each process says of itself.
    """
    from emoprobe.readout.scoring.earlier import Earlier
    from emoprobe.readout.scoring.record import scored_nulls

    settings, folder = job.settings, job.settings.output_dir
    then = {} if again.then is None else again.then.settings
    differs = differences(then.get("dataset", {}), again.told.plain["dataset"], "dataset") if then else []
    earlier = Earlier(settings.resume, folder, probe, settings.dataset.audio, differs)
    with stopping.graceful():
        left = earlier.left([item.utterance for item in job.kept])
        nulls = earlier.missing_nulls(job.nulls) if settings.readout else []
        again.begin(folder)
        begin_run(folder, job.record(), job.frame, job.skipped)
        earlier.reopen()
        with ScoreWriter(folder) as writer:
            earlier.write(writer)
            progress = settings.trainer["enable_progress_bar"]
            for rows in scored_nulls(probe, nulls, progress=progress):
                writer.write(rows)
                stopping.check()
            probe.flush()
            if settings.readout and (left or trainer.world_size > 1):  # the others wait to be told what is left
                score(settings, trainer, probe, left)
            outcomes = list(read_outcomes(folder).values())
            job.cached = max(probe.known.cells, sum(outcome.cached_cells for outcome in outcomes))
            if job.cached:
                print(f"from the score cache: {job.cached} rows")
            job.skipped += [row for outcome in outcomes for row in outcome.skipped]
            if head is not None:
                writer.write(_read_head(job, head))
            scored = job.check_complete()
            write_skipped(job.skipped, folder)  # what the processes have said of it goes with the parts
    return scored, outcomes


def score(settings: ProbeSettings, trainer: L.Trainer, probe: ZeroShotProbe, left: Sequence[Utterance]) -> None:
    """Score clips; the recorder of the trainer writes what comes out."""
    from emoprobe.data.datamodule import SpeechDataModule, workers_beside

    data = SpeechDataModule(
        left,
        probe.sfm.sampling_rate,
        settings.dataset.audio,
        batch_size=settings.batch_size,
        num_workers=workers_beside(settings.num_workers, probe.sfm.model.device),
        on_error=settings.dataset.on_error,
        min_samples=probe.sfm.min_samples,
        prepare=probe.sfm.prepare_clip if probe.asking else None,
    )
    trainer.predict(probe, datamodule=data, return_predictions=False)


def _read_head(job: Job, head: Head) -> list[dict[str, Any]]:
    """Rows of the trained head; clips that it cannot read are skipped."""
    from emoprobe.training.evaluate import bundle_rows

    settings = job.settings
    rows, unread = bundle_rows(
        head.bundle,
        job.sfm,
        settings.labels,
        job.kept,
        settings.dataset.audio,
        batch_size=settings.batch_size,
        num_workers=settings.num_workers,
        on_error=settings.dataset.on_error,
        progress=settings.trainer["enable_progress_bar"],
        knows_votes=head.knows_votes,
    )
    job.skipped += unread
    return rows


def finish(job: Job, scored: int, outcomes: Sequence[Outcome]) -> Record:
    """Write the record of a scored run.

    Raises:
        InputError: No clip was scored; of a part this is none.
    """
    from emoprobe.readout.scoring.record import speed

    folder = job.settings.output_dir
    heard = [item.utterance for item in job.kept]
    near_silent, faults = find_faults(heard, job.sfm.sampling_rate, job.settings.dataset.audio)
    sounding: dict[str, Any] = {"near_silent": near_silent, "sound": faults or None, "long_audio": job.lengths.record}
    sounding["cached_rows"] = job.cached or None
    record = replace(job.record(), num_scored=scored, speed=speed(outcomes), **sounding)
    record = finish_run(folder, record, job.skipped)
    if not scored and record.shard is None:
        raise InputError(
            f"all of the {len(job.prepared.items)} clips were left out",
            file=write_skipped(job.skipped, folder),
            remedy="The file says why, clip by clip.",
        )
    return record


def make_trainer(settings: ProbeSettings, recorder: BatchRecorder, folder: Path) -> L.Trainer:
    """Lightning's trainer of a scoring run; it is given its logger later, where there is one.

    Raises:
        InputError: An argument or a callback is wrong, means nothing here, or would leave clips out without a word.
    """
    from lightning.pytorch.callbacks import ProgressBar

    from emoprobe.training import trainer as lightning

    options = dict(settings.trainer)
    callbacks = lightning.make_callbacks(settings.callbacks, options.pop("callbacks", None))
    shown = options.pop("enable_progress_bar", True)
    if not shown:
        callbacks = [callback for callback in callbacks if not isinstance(callback, ProgressBar)]
    theirs = any(isinstance(callback, ProgressBar) for callback in callbacks)
    recorder.progress = shown and not theirs
    own = {
        "enable_progress_bar": theirs,
        "callbacks": [*callbacks, recorder],
        "logger": False,
        "default_root_dir": folder,
        "enable_checkpointing": False,
        "use_distributed_sampler": False,  # the data module knows the processes
    }
    made = lightning.make_trainer({"enable_model_summary": False} | options, own, NOT_IN_SCORING)
    if made.precision != "32-true":
        raise InputError("a plugin sets another precision", field="trainer.plugins", remedy=PRECISION)
    return made
