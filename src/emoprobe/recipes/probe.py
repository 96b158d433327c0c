"""The zero-shot recipe, read top to bottom: corpus, model, scores, analysis, results.

With several processes (trainer.devices=2) each runs this recipe as far as the scores; the first alone does the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emoprobe.analysis.derive import analyse
from emoprobe.data.facts import gather_facts
from emoprobe.data.utterance import Corpus, Skipped
from emoprobe.readout.base import readouts_of
from emoprobe.recipes.again import GO_ON, Again, look
from emoprobe.recipes.inputs import prepare_run, read_corpus, read_lengths
from emoprobe.recipes.loaded import model_of
from emoprobe.recipes.optimized import development_of, tell_of_probe
from emoprobe.recipes.scoring import Job, fill, finish, load_head, make_trainer, score
from emoprobe.recipes.settings import ProbeSettings
from emoprobe.report import tracking
from emoprobe.report.results import print_results, write_results
from emoprobe.run.folder import RunFolder
from emoprobe.run.record import PolicyFacts, Record
from emoprobe.run.scores import read_scores
from emoprobe.run.writing import finish_run, read_skipped, utterances_frame
from emoprobe.system import stopping
from emoprobe.system.claim import claimed
from emoprobe.system.slurm import check_tasks
from emoprobe.system.stopping import is_main

if TYPE_CHECKING:
    import pandas as pd

    from emoprobe.models.base import SpeechFoundationModel


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
        corpus = read_corpus(dataset) if corpus is None else dataset.control.of_corpus(corpus)
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
        head, prepared = load_head(settings, corpus, prepared)
        sfm = held.enter_context(model_of(settings.model, sfm))
        lengths.check(sfm.name, sfm.max_seconds)
        readouts = readouts_of(sfm, labels, settings.readout)
        needs = frozenset().union(*(prompt.needs for prompt in prompts))
        evaluated = [item.utterance for item in prepared.items]
        shown: dict[str, Any] = {"check": sayable(sfm), "progress": progress and leads}
        shown["told"] = dataset.control.acoustics_of
        facts, unknown = gather_facts(needs, evaluated, corpus.utterances, dataset.audio, dataset.on_error, **shown)
        plans = Plans(sfm, prompts, labels, facts)
        utterances = [utterance for utterance in evaluated if utterance.id not in unknown]
        probe = ZeroShotProbe(
            sfm, plans, readouts, settings.cache.scores, dataset.on_error, silenced=dataset.control.sound == "none"
        )
        if not leads:
            trainer.logger = DummyLogger()  # callbacks that want a logger want one in every process
            if settings.readout:
                with stopping.graceful():
                    score(settings, trainer, probe, utterances)  # the first process says which of them are left
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
        scored, outcomes = fill(job, trainer, probe, again, head)
        record = finish(job, scored, outcomes)
        return _derive(settings, again, record, job.frame, job.skipped, logger)


def _from_scores(settings: ProbeSettings, again: Again, record: Record, corpus: Corpus) -> Path:
    """What is left to be done of a run whose scores are there already, without its model."""
    folder, dataset = settings.output_dir, settings.dataset
    with claimed(folder, "probe"):
        if again.finished:
            again.say_finished(folder, settings.table)
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
    print_results(analysis, record, folder, figures, settings.table)
    if settings.report:
        from emoprobe.report.write import write_report

        write_report([folder], folder / "report", audio="embed", clips=40)
    again.end(folder, skipped)
    return folder


def _judge(folder: Path, logger: Any) -> None:
    """Judge the run, and send the judgement to the tracker."""
    from emoprobe.recipes.judge import judge, read_table

    judged = judge(folder)
    tracking.log_tables(
        logger,
        {f"judgement/{file.stem}": read_table(file) for file in sorted(judged.glob("*.csv"))},
        {f"judgement/figures/{file.stem}": file for file in sorted((judged / "figures").glob("*.png"))},
    )
