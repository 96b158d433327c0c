"""The zero-shot recipe, read top to bottom: corpus, model, scores, analysis, results.

With several processes (trainer.devices=2) each runs this recipe as far as the scores; the first alone does the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from emoprobe.analysis.derive import analyse
from emoprobe.data.facts import gather_facts
from emoprobe.data.prepare import Item, Prepared
from emoprobe.data.sound.survey import find_faults
from emoprobe.data.utterance import Corpus, Skipped, Utterance
from emoprobe.errors import InputError
from emoprobe.readout.base import cells_of, readouts_of
from emoprobe.recipes.again import GO_ON, Again, look
from emoprobe.recipes.inputs import Lengths, prepare_run, read_corpus, read_lengths
from emoprobe.recipes.loaded import model_of
from emoprobe.recipes.optimized import development_of, tell_of_probe
from emoprobe.recipes.settings import ProbeSettings
from emoprobe.report import tracking
from emoprobe.report.results import print_results, write_results
from emoprobe.run.cell import NO_PROMPT
from emoprobe.run.completeness import KEYS, check_complete
from emoprobe.run.folder import RunFolder
from emoprobe.run.record import ModelFacts, PolicyFacts, Record, make_record
from emoprobe.run.scores import ScoreWriter, read_outcomes, read_scores
from emoprobe.run.settings import differences
from emoprobe.run.writing import begin_run, finish_run, read_skipped, utterances_frame, write_skipped
from emoprobe.system import stopping
from emoprobe.system.claim import claimed
from emoprobe.system.slurm import check_tasks
from emoprobe.system.stopping import is_main
from emoprobe.training.arguments import NOT_IN_SCORING, PRECISION

if TYPE_CHECKING:
    import lightning as L
    import pandas as pd

    from emoprobe.models.base import SpeechFoundationModel
    from emoprobe.readout.scoring.module import ZeroShotProbe
    from emoprobe.readout.scoring.record import BatchRecorder
    from emoprobe.run.scores import Outcome
    from emoprobe.training.bundle import Bundle


def run(settings: ProbeSettings, *, sfm: SpeechFoundationModel | None = None, corpus: Corpus | None = None) -> Path:
    """Score a corpus with a model, analyse the scores, write and log everything; returns the run folder.

    Args:
        settings: What is asked for.
        sfm: A model that is loaded already, instead of the settings' own.
        corpus: A corpus that is read already, likewise.
    """
    with stopping.heard(GO_ON.format(folder=settings.output_dir)):
        return _run(settings, sfm, corpus)


def _run(settings: ProbeSettings, sfm: SpeechFoundationModel | None, corpus: Corpus | None) -> Path:
    folder, dataset, labels, prompts = settings.output_dir, settings.dataset, settings.labels, settings.prompts
    check_tasks(settings.trainer.get("devices"), settings.trainer.get("num_nodes"))
    with tracking.failures_told(settings.logger if is_main() else {}, settings.composed):
        corpus = read_corpus(dataset) if corpus is None else corpus
        prepared = prepare_run(dataset, corpus, labels)
    again = look("probe", settings, prepared)
    if settings.optimize is not None:
        development_of(again.prepared.items, dataset)  # before anything heavy, whether there are any
    if again.record is not None:
        return _from_scores(settings, again, again.record, corpus) if is_main() else folder
    prepared = again.prepared
    lengths = read_lengths(dataset, prepared, settings.model, sfm)

    # Heavy imports come after everything cheap has been checked.
    import lightning as L
    from lightning.pytorch.loggers.logger import DummyLogger

    from emoprobe.readout.scoring.module import ZeroShotProbe
    from emoprobe.readout.scoring.plan import Plans, sayable
    from emoprobe.readout.scoring.record import BatchRecorder
    from emoprobe.training.tracker import lent
    from emoprobe.training.trainer import quiet

    quiet()
    L.seed_everything(settings.seed, verbose=False)
    progress = settings.trainer["enable_progress_bar"]
    trainer = make_trainer(settings, BatchRecorder(folder, progress=progress), folder)
    leads = trainer.is_global_zero
    with ExitStack() as held:
        if leads:
            held.enter_context(claimed(folder, "probe"))
        logger = held.enter_context(tracking.open_logger(settings.logger if leads else {}, settings.composed))
        head, prepared = _load_head(settings, corpus, prepared)
        sfm = held.enter_context(model_of(settings.model, sfm))
        lengths.check(sfm.name, sfm.max_seconds)
        readouts = readouts_of(sfm, labels, settings.readout)
        needs = frozenset().union(*(prompt.needs for prompt in prompts))
        evaluated = [item.utterance for item in prepared.items]
        shown: dict[str, Any] = {"check": sayable(sfm), "progress": progress and leads}
        facts, unknown = gather_facts(needs, evaluated, corpus.utterances, dataset.audio, dataset.on_error, **shown)
        plans = Plans(sfm, prompts, labels, facts)
        utterances = [utterance for utterance in evaluated if utterance.id not in unknown]
        probe = ZeroShotProbe(sfm, plans, readouts, settings.cache.scores, dataset.on_error)
        if not leads:
            trainer.logger = DummyLogger()  # callbacks that want a logger want one in every process
            if settings.readout:
                with stopping.graceful():
                    _score(settings, trainer, probe, utterances)  # the first process says which of them are left
            return folder

        for readout in readouts:
            for line in readout.notes():
                print(f"note: {line}")
        for plan in plans.samples:
            for short, long in plan.prefix_conflicts():
                print(f"note: in {plan.prompt.name}, {short!r} begins {long!r}; their end tokens tell them apart")
        again.say_failed()
        there = {utterance.id for utterance in utterances}
        failed = [row for row in again.failed if row.id in there]
        job = Job(settings, corpus, prepared, lengths, sfm, [*prepared.skipped, *unknown.values(), *failed])
        trainer.logger = lent(logger)
        scored, outcomes = _fill(job, trainer, probe, again, head)
        record = _finish(job, scored, outcomes)
        return _derive(settings, again, record, job.frame, job.skipped, logger)


def _from_scores(settings: ProbeSettings, again: Again, record: Record, corpus: Corpus) -> Path:
    """What is left to be done of a run whose scores are there already, without its model."""
    folder, dataset = settings.output_dir, settings.dataset
    with claimed(folder, "probe"):
        if again.finished:
            again.say_finished(folder)
            tell_of_probe(settings, again.prepared.items, RunFolder(folder).utterances)
            return folder
        print("Scored before with the same settings: analysed anew, without the model.")
        again.say_failed()
        scored = set(RunFolder(folder).stored_ids)
        frame = utterances_frame(again.prepared, settings.labels, dataset.soft_label)
        frame = frame[frame["utterance_id"].isin(scored)].reset_index(drop=True)
        known = {row.id for row in again.prepared.skipped}
        skipped = [*again.prepared.skipped, *(row for row in read_skipped(folder) if row.id not in known)]
        policy = PolicyFacts(dataset.soft_label.name, dataset.soft_label.hash)
        counts = dict(Counter(row.reason for row in skipped))
        record = replace(record, corpus=corpus.card, soft_label_policy=policy, num_skipped=counts)
        with tracking.open_logger(settings.logger, settings.composed) as logger:
            again.begin(folder)
            record = finish_run(folder, record, skipped, frame)
            return _derive(settings, again, record, frame, skipped, logger)


def _derive(
    settings: ProbeSettings,
    again: Again,
    record: Record,
    frame: pd.DataFrame,
    skipped: Sequence[Skipped],
    logger: Any,
) -> Path:
    """Analyse, write and print the results of a scored run."""
    folder = settings.output_dir
    if not record.num_scored:
        print(f"Part {record.part} holds no clip to score; emoprobe merge takes it with the others.")
        print(f"Results  {folder}")
        again.end(folder, skipped)
        return folder
    analysis = analyse(read_scores(folder), frame, settings.labels, settings.derived)
    figures = write_results(folder, analysis, record, figures=settings.analysis.figures)
    tracking.log_results(logger, analysis, figures)
    tell_of_probe(settings, again.prepared.items, frame, logger)
    if settings.report:
        _judge(folder, logger)
    print_results(analysis, record, folder, figures)
    if settings.report:
        from emoprobe.report.write import write_report

        write_report([folder], folder / "report", audio="embed", clips=40)
    again.end(folder, skipped)
    return folder


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


def _load_head(settings: ProbeSettings, corpus: Corpus, prepared: Prepared) -> tuple[Head | None, Prepared]:
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


def _fill(
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
                _score(settings, trainer, probe, left)
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


def _score(settings: ProbeSettings, trainer: L.Trainer, probe: ZeroShotProbe, left: Sequence[Utterance]) -> None:
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


def _finish(job: Job, scored: int, outcomes: Sequence[Outcome]) -> Record:
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


def _judge(folder: Path, logger: Any) -> None:
    """Judge the run, and send the judgement to the tracker."""
    from emoprobe.recipes.judge import judge, read_table

    judged = judge(folder)
    tracking.log_tables(
        logger,
        {f"judgement/{file.stem}": read_table(file) for file in sorted(judged.glob("*.csv"))},
        {f"judgement/figures/{file.stem}": file for file in sorted((judged / "figures").glob("*.png"))},
    )


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
