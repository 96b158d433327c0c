"""The zero-shot recipe, read top to bottom: corpus, model, scores, analysis, results."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from emoprobe import runs, tracking
from emoprobe.analysis import analyse
from emoprobe.data.audio import AudioLimits
from emoprobe.data.facts import gather_facts
from emoprobe.labels import LabelSet
from emoprobe.prompts import make_prompts
from emoprobe.scores import ScoreWriter, read_scores


def run(config: DictConfig) -> Path:
    """Score a corpus with a model, analyse the scores, write and log everything; returns the run folder."""
    settings = runs.plain(config)
    folder = Path(settings["output_dir"])
    labels = runs.build(LabelSet, settings["labels"], "labels")
    prompts = make_prompts(settings["prompt"], labels)
    options = runs.make_options(config)
    limits = runs.build(AudioLimits, settings["dataset"]["audio"], "dataset.audio")
    corpus = runs.read_corpus(config)
    prepared = runs.prepare_run(config, corpus, labels)

    # Heavy imports come after everything cheap has been checked.
    import lightning as L
    from hydra.utils import instantiate

    from emoprobe.data.datamodule import SpeechDataModule
    from emoprobe.readout.module import ZeroShotProbe, make_null_inputs
    from emoprobe.readout.plan import Plans
    from emoprobe.readout.read import make_readouts
    from emoprobe.readout.record import BatchRecorder, Earlier

    quiet()
    L.seed_everything(settings["seed"], verbose=False)
    bundle = None
    if "head" in settings:
        from emoprobe.training.evaluate import bundle_rows, leave_out_seen, open_bundle

        bundle = open_bundle(settings["head"])
        if settings["head"]["seen"] == "leave_out":
            items, seen = leave_out_seen(bundle, corpus.card.name, prepared.items)
            prepared = replace(prepared, items=tuple(items), skipped=(*prepared.skipped, *seen))
    asked = settings.get("readout") or {}
    readouts = make_readouts(asked) if asked or bundle is None else []  # readout=[]: the head alone
    sfm = runs.call(lambda: instantiate(config.model, _convert_="all"), "model")
    needs = frozenset().union(*(prompt.needs for prompt in prompts))
    evaluated = [item.utterance for item in prepared.items]
    facts, unknown = gather_facts(
        needs,
        evaluated,
        corpus.utterances,
        limits,
        settings["dataset"]["on_error"],
        check=sfm.check_text,
        progress=settings["trainer"]["enable_progress_bar"],
    )
    plans = Plans(sfm, prompts, labels, facts)
    for plan in plans.samples:
        for short, long in plan.prefix_conflicts():
            print(f"note: in {plan.prompt.name}, {short!r} begins {long!r}; their end tokens tell them apart")
    model = {"name": sfm.name, "revision": sfm.revision, "dtype": sfm.dtype, "device": str(sfm.model.device)}

    nulls = make_null_inputs(sfm.sampling_rate, **settings["null_inputs"], seed=settings["seed"])
    utterances = [utterance for utterance in evaluated if utterance.id not in unknown]
    skipped = [*prepared.skipped, *unknown.values()]
    frame = runs.utterances_frame(prepared, labels, runs.soft_label_policy(config))

    with tracking.open_logger(config.logger) as logger:
        probe = ZeroShotProbe(sfm, plans, readouts)
        earlier = Earlier(settings["resume"], folder, probe)
        with ScoreWriter(folder) as writer:
            record = runs.make_record(config, corpus, prepared, skipped, labels, model)
            runs.write_json(record, folder / runs.RUN_FILE)
            frame.to_parquet(folder / runs.UTTERANCES_FILE, index=False)
            runs.write_skipped(skipped, folder / runs.SKIPPED_FILE)
            utterances = earlier.take_over(utterances, writer)
            if readouts:
                writer.write(probe.null_rows(earlier.missing_nulls(nulls)))
            data = SpeechDataModule(
                utterances,
                sfm.sampling_rate,
                limits,
                batch_size=settings["batch_size"],
                num_workers=settings["num_workers"],
                on_error=settings["dataset"]["on_error"],
                min_samples=sfm.min_samples,
            )
            recorder = BatchRecorder(writer, total=len(utterances), progress=settings["trainer"]["enable_progress_bar"])
            trainer = L.Trainer(
                **{**settings["trainer"], "enable_progress_bar": False},
                callbacks=[recorder],
                logger=logger or False,
                default_root_dir=folder,
                enable_checkpointing=False,
                enable_model_summary=False,
            )
            if utterances and readouts:
                trainer.predict(probe, datamodule=data, return_predictions=False)
            if bundle is not None:
                lost = {row.id for row in (*skipped, *recorder.skipped)}
                items = [item for item in prepared.items if item.utterance.id not in lost]
                rows, unread = bundle_rows(
                    bundle,
                    sfm,
                    labels,
                    items,
                    limits,
                    batch_size=settings["batch_size"],
                    on_error=settings["dataset"]["on_error"],
                    progress=settings["trainer"]["enable_progress_bar"],
                )
                writer.write(rows)
                skipped += unread
        skipped += recorder.skipped
        record = runs.make_record(config, corpus, prepared, skipped, labels, model)
        record["speed"] = recorder.speed()
        runs.write_json(record, folder / runs.RUN_FILE)
        runs.write_skipped(skipped, folder / runs.SKIPPED_FILE)

        analysis = analyse(read_scores(folder), frame, labels, options)
        figures = runs.write_results(folder, analysis, record, figures=settings["analysis"]["figures"])
        tracking.log_results(logger, settings, analysis, figures)
        if settings["report"]:
            from emoprobe.judge import judge

            tracking.log_judgement(logger, judge(folder))
    runs.print_results(analysis, record, folder, figures)
    if settings["report"]:
        from emoprobe.report.__main__ import parse_arguments, report

        report(parse_arguments([str(folder), "-o", str(folder / "report"), "--audio", "embed", "40"]))
    return folder


def quiet() -> None:
    """Keep the libraries' chatter out of the output; warnings that concern the user are printed by emoprobe itself."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
