"""The zero-shot recipe, read top to bottom: corpus, model, scores, analysis, results.

With several processes (trainer.devices=2) each runs this recipe as far as the scores; the first alone does the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emoprobe.analysis.derive import analyse
from emoprobe.data.facts import gather_facts
from emoprobe.data.utterance import Corpus, Utterance
from emoprobe.errors import InputError
from emoprobe.recipes.inputs import prepare_run, read_corpus
from emoprobe.recipes.settings import ProbeSettings
from emoprobe.report import tracking
from emoprobe.report.results import print_results, write_results
from emoprobe.run.completeness import check_complete
from emoprobe.run.record import ModelFacts, make_record
from emoprobe.run.scores import ScoreWriter, read_outcomes, read_scores
from emoprobe.run.writing import begin_run, finish_run, utterances_frame, write_skipped
from emoprobe.settings import make
from emoprobe.system import stopping
from emoprobe.system.claim import claimed
from emoprobe.training.arguments import NOT_IN_SCORING, PRECISION

if TYPE_CHECKING:
    import lightning as L

    from emoprobe.models.base import SpeechFoundationModel
    from emoprobe.readout.scoring.record import BatchRecorder


def run(settings: ProbeSettings, *, sfm: SpeechFoundationModel | None = None, corpus: Corpus | None = None) -> Path:
    """Score a corpus with a model, analyse the scores, write and log everything; returns the run folder.

    Args:
        settings: What is asked for.
        sfm: A model that is loaded already, instead of the settings' own.
        corpus: A corpus that is read already, likewise.
    """
    with stopping.heard("Run the same command into the same folder to go on."):
        return _run(settings, sfm, corpus)


def _run(settings: ProbeSettings, sfm: SpeechFoundationModel | None, corpus: Corpus | None) -> Path:
    folder, dataset, labels = settings.output_dir, settings.dataset, settings.labels
    limits, policy, prompts, readouts = dataset.audio, dataset.soft_label, settings.prompts, settings.readout
    corpus = read_corpus(dataset) if corpus is None else corpus
    prepared = prepare_run(dataset, corpus, labels)

    # Heavy imports come after everything cheap has been checked.
    import lightning as L
    from lightning.pytorch.loggers.logger import DummyLogger

    from emoprobe.data.datamodule import SpeechDataModule, find_near_silent
    from emoprobe.readout.scoring.earlier import Earlier
    from emoprobe.readout.scoring.module import ZeroShotProbe
    from emoprobe.readout.scoring.plan import Plans
    from emoprobe.readout.scoring.record import BatchRecorder, speed
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
        bundle = None
        if settings.head is not None:
            from emoprobe.training.bundle import load_bundle
            from emoprobe.training.evaluate import bundle_rows
            from emoprobe.training.seen import divide_seen, leave_out_seen

            bundle = load_bundle(settings.head.path)
            if settings.head.seen == "leave_out":
                items, seen = leave_out_seen(bundle.facts["seen"], corpus, prepared.items)
                prepared = replace(prepared, items=tuple(items), skipped=(*prepared.skipped, *seen))
                seen = []
            else:
                _, seen = divide_seen(bundle.facts["seen"], corpus, prepared.items)
        sfm = make(settings.model, "model") if sfm is None else sfm
        needs = frozenset().union(*(prompt.needs for prompt in prompts))
        evaluated = [item.utterance for item in prepared.items]
        facts, unknown = gather_facts(
            needs,
            evaluated,
            corpus.utterances,
            limits,
            dataset.on_error,
            check=sfm.check_text,
            progress=progress and leads,
        )
        plans = Plans(sfm, prompts, labels, facts)
        utterances = [utterance for utterance in evaluated if utterance.id not in unknown]
        probe = ZeroShotProbe(sfm, plans, readouts)

        def score(left: Sequence[Utterance]) -> None:
            data = SpeechDataModule(
                left,
                sfm.sampling_rate,
                limits,
                batch_size=settings.batch_size,
                num_workers=settings.num_workers,
                on_error=dataset.on_error,
                min_samples=sfm.min_samples,
            )
            trainer.predict(probe, datamodule=data, return_predictions=False)

        if not leads:
            trainer.logger = DummyLogger()  # callbacks that want a logger want one in every process
            if readouts:
                with stopping.graceful():
                    score(utterances)  # the first process says which of them are left
            return folder

        for plan in plans.samples:
            for short, long in plan.prefix_conflicts():
                print(f"note: in {plan.prompt.name}, {short!r} begins {long!r}; their end tokens tell them apart")
        model = ModelFacts(sfm.name, sfm.revision, sfm.dtype, str(sfm.model.device))
        nulls = settings.null_inputs.make(sfm.sampling_rate, settings.seed)
        skipped = [*prepared.skipped, *unknown.values()]
        frame = utterances_frame(prepared, labels, policy)
        asked_of: dict[str, Any] = {"policy": policy, "split": dataset.split, "seed": settings.seed}
        logger = held.enter_context(tracking.open_logger(settings.logger))
        trainer.logger = lent(logger)
        earlier = Earlier(settings.resume, folder, probe, limits)
        with stopping.graceful(), ScoreWriter(folder) as writer:
            record = make_record(corpus, prepared, skipped, labels, model, **asked_of)
            begin_run(folder, record, frame, skipped)
            left = earlier.take_over(utterances, writer)
            if readouts:
                for null in earlier.missing_nulls(nulls):
                    writer.write(probe.null_rows([null]))
                    stopping.check()
            if readouts and (left or trainer.world_size > 1):  # the others wait to be told what is left
                score(left)
            outcomes = list(read_outcomes(folder).values())
            skipped += [row for outcome in outcomes for row in outcome.skipped]
            if bundle is not None:
                lost = {row.id for row in skipped}
                items = [item for item in prepared.items if item.utterance.id not in lost]
                rows, unread = bundle_rows(
                    bundle,
                    sfm,
                    labels,
                    items,
                    limits,
                    batch_size=settings.batch_size,
                    on_error=dataset.on_error,
                    progress=progress,
                    knows_votes=bool(seen),
                )
                writer.write(rows)
                skipped += unread
            cells = [(prompt.name, readout.name) for prompt in prompts for readout in readouts]
            scored = check_complete(
                read_scores(folder),
                [utterance.id for utterance in evaluated],
                {row.id for row in skipped},
                cells,
                [(null.kind, null.draw) for null in nulls],
            )
        record = make_record(corpus, prepared, skipped, labels, model, **asked_of)
        heard = [utterance for utterance in evaluated if utterance.id not in {row.id for row in skipped}]
        near_silent = find_near_silent(heard, sfm.sampling_rate, limits)
        record = replace(record, num_scored=scored, speed=speed(outcomes), near_silent=near_silent)
        record = finish_run(folder, record, skipped)
        if not scored:
            raise InputError(
                f"all of the {len(evaluated)} clips were left out",
                file=write_skipped(skipped, folder),
                remedy="The file says why, clip by clip.",
            )

        analysis = analyse(read_scores(folder), frame, labels, settings.derived)
        figures = write_results(folder, analysis, record, figures=settings.analysis.figures)
        tracking.log_results(logger, settings.composed, analysis, figures)
        if settings.report:
            from emoprobe.recipes.judge import judge, read_table

            judged = judge(folder)
            tracking.log_tables(
                logger,
                {f"judgement/{file.stem}": read_table(file) for file in sorted(judged.glob("*.csv"))},
                {f"judgement/figures/{file.stem}": file for file in sorted((judged / "figures").glob("*.png"))},
            )
    print_results(analysis, record, folder, figures)
    if settings.report:
        from emoprobe.report.write import write_report

        write_report([folder], folder / "report", audio="embed", clips=40)
    return folder


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
