"""The training recipe, top to bottom: corpus, partition, what is done once per clip, readers, analysis as of zero-shot.

With several processes (trainer.strategy=ddp) each runs this recipe; the first alone writes, logs and prints.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emoprobe.analysis.derive import Analysis, analyse
from emoprobe.analysis.options import AnalysisOptions
from emoprobe.beliefs.calibrations.none import Uncalibrated
from emoprobe.data.few_shot import few_clips
from emoprobe.data.prepare import Item, Prepared
from emoprobe.data.rater_split import divide_raters, rater_groups
from emoprobe.data.sound.survey import find_faults
from emoprobe.data.splits import Split, count_folds, split_all, split_items
from emoprobe.data.utterance import Corpus, Skipped, Utterance
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.metrics.functional import metrics_of
from emoprobe.recipes.again import GO_ON, Again, look
from emoprobe.recipes.fields import DatasetSettings
from emoprobe.recipes.inputs import Lengths, prepare_run, read_corpus, read_lengths
from emoprobe.recipes.loaded import model_of
from emoprobe.recipes.optimized import tell_of_training
from emoprobe.recipes.settings import TrainSettings
from emoprobe.report import tracking
from emoprobe.report.figures import save_learning_curves
from emoprobe.report.results import print_results, write_results
from emoprobe.run import files
from emoprobe.run.completeness import check_complete
from emoprobe.run.folder import RunFolder
from emoprobe.run.record import ModelFacts, Record, make_record
from emoprobe.run.scores import ScoreWriter, read_scores
from emoprobe.run.writing import finish_run, read_skipped, utterances_frame, write_skipped
from emoprobe.system import stopping
from emoprobe.system.claim import claimed_by_main
from emoprobe.system.output import write_csv
from emoprobe.system.slurm import check_tasks
from emoprobe.system.stopping import is_main
from emoprobe.training.heads.base import check_windows
from emoprobe.training.resume import CHECKPOINTS, check_folder, places_of, reopen
from emoprobe.training.seen import SEEN, left_out

if TYPE_CHECKING:
    import pandas as pd

    from emoprobe.models.base import SpeechFoundationModel
    from emoprobe.training.methods.base import Method


def run(settings: TrainSettings, *, sfm: SpeechFoundationModel | None = None, corpus: Corpus | None = None) -> Path:
    """Train on one fold or on all, score the held-out clips, write and log everything; returns the run folder.

    Args:
        settings: What is asked for.
        sfm: A model that is loaded already, instead of the settings' own.
        corpus: A corpus that is read already, likewise.
    """
    with (
        stopping.heard(GO_ON.format(folder=settings.output_dir)),
        claimed_by_main(settings.output_dir, "train"),
    ):
        return _run(settings, sfm, corpus)


def _run(settings: TrainSettings, sfm: SpeechFoundationModel | None, corpus: Corpus | None) -> Path:
    dataset, labels = settings.dataset, settings.labels
    _check_monitor(settings.fit.monitor, labels)
    check_tasks(settings.trainer.get("devices"), settings.trainer.get("num_nodes"))
    tracker = settings.logger if is_main() else {}
    with tracking.failures_told(tracker, settings.composed):
        corpus = read_corpus(dataset) if corpus is None else corpus
        prepared = prepare_run(dataset, corpus, labels)
    again = look("train", settings, prepared)
    check_folder(settings.output_dir, again.then)
    prepared = again.prepared
    with tracking.failures_told(tracker, settings.composed):
        folds = make_splits(prepared.items, dataset, labels, settings.head.members)
        refit = split_all(prepared.items, dataset.partition, settings.head.members) if settings.refit else []
        folds = [[few_clips(split, settings.fit.max_clips, settings.seed) for split in members] for members in folds]
        refit = [few_clips(split, settings.fit.max_clips, settings.seed) for split in refit]

    heads = [settings.output_dir / f"head_{split.name}" / files.FACTS for split in _firsts(folds, refit)]
    if is_main() and again.record is not None and all(head.is_file() for head in heads):
        return _from_scores(settings, again, again.record, heads)
    check_windows(settings.head, dataset.audio)
    lengths = read_lengths(dataset, prepared, settings.model, sfm)

    # Heavy imports come after everything cheap has been checked.
    import lightning as L

    from emoprobe.training.trainer import check_devices, quiet

    check_devices(settings.trainer)
    quiet()
    L.seed_everything(settings.seed, verbose=False)
    with tracking.open_logger(tracker, settings.composed) as logger, model_of(settings.model, sfm) as loaded:
        lengths.check(loaded.name, loaded.max_seconds)
        return _train(settings, loaded, corpus, again, folds, refit, lengths, logger)


def _check_monitor(monitor: str, labels: LabelSet) -> None:
    known = metrics_of(labels)
    if monitor != "loss" and monitor not in known:
        raise InputError(
            f"{monitor} is no metric of the label set {labels.name}",
            field="callbacks.model_checkpoint.monitor",
            remedy=f"Monitor dev/loss or dev/ and one of {', '.join(known)}.",
        )


def _train(
    settings: TrainSettings,
    sfm: SpeechFoundationModel,
    corpus: Corpus,
    again: Again,
    folds: Sequence[Sequence[Split]],
    refit: Sequence[Split],
    lengths: Lengths,
    logger: Any,
) -> Path:
    from emoprobe.training.folds import FoldTraining
    from emoprobe.training.methods.base import make_method

    folder, dataset, labels = settings.output_dir, settings.dataset, settings.labels
    method = make_method(sfm, settings.composed["head"], labels, settings.prompts, settings.loss, settings.answers)
    places = places_of(folder, settings.resume, settings.composed)
    division = _divide(settings, method, again, folds, refit)
    if is_main():
        again.say_failed()
        _begin(folder, again, division)
    frame = utterances_frame(division.shown, labels, dataset.soft_label)
    model = ModelFacts(sfm.name, sfm.revision, sfm.dtype, sfm.device, sfm.hears)

    begin = partial(tracking.begin_fit, logger)
    how = (method, settings.fit, settings.loss, corpus.card)
    job = FoldTraining(settings.composed, *how, folder, places, logger, begin)
    with stopping.graceful():
        results = job.train(division.folds, division.refit)
    if not is_main():
        return folder
    scored = _write_scores(settings, method, division.splits, results)
    _write_curves(job.curves, settings.labels, folder)
    record = _record(settings, corpus, division, model, sfm.sampling_rate, scored)
    record = replace(record, long_audio=lengths.record)
    record = finish_run(folder, record, division.shown.skipped, frame)
    return _derive(settings, again, record, frame, job.curves, logger)


def _begin(folder: Path, again: Again, division: Division) -> None:
    """Write what is known before the first fit."""
    lost = {row.id for row in (*again.prepared.skipped, *division.lost) if row.failed}
    anew = bool(again.tried) and lost != {row.id for row in again.tried}
    if anew:
        print("Clips that had failed can be read now: all heads are trained anew.")
    again.begin(folder)
    reopen(folder, anew=anew)
    write_skipped(division.shown.skipped, folder)


def _from_scores(settings: TrainSettings, again: Again, record: Record, heads: Sequence[Path]) -> Path:
    """What is left to be done of a training whose scores are there already, without its model."""
    folder = settings.output_dir
    if again.finished:
        again.say_finished(folder, settings.table)
        tell_of_training(settings)
        return folder
    print("Trained and scored before with the same settings: analysed anew, without the model.")
    again.say_failed()
    facts = [json.loads(head.read_text(encoding="utf-8")) for head in heads]
    curves = [{"fold": one["partition"]["fold"], **row} for one in facts for row in one["curves"]]
    with tracking.open_logger(settings.logger, settings.composed) as logger:
        again.begin(folder)
        return _derive(settings, again, record, RunFolder(folder).utterances, curves, logger)


def _derive(
    settings: TrainSettings,
    again: Again,
    record: Record,
    frame: pd.DataFrame,
    curves: Sequence[Mapping],
    logger: Any,
) -> Path:
    """Analyse, write and print the results of a scored training."""
    folder = settings.output_dir
    analysis, figures = _write_analysis(settings, record, frame, curves)
    tracking.log_results(logger, analysis, figures)
    tracking.log_bundles(logger, files.bundles(folder))
    tell_of_training(settings, logger)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    print_results(analysis, record, folder, figures, settings.table)
    print("  learning_curves.csv  training loss and development metrics of every epoch")
    print("  head_fold*/          what was trained; emoprobe probe head=bundle head.path=FOLDER reads it elsewhere")
    if settings.refit:
        print("  head_all/            the same on all clips; what the folds measured is an estimate for it")
    again.end(folder, read_skipped(folder))
    return folder


def _firsts(folds: Sequence[Sequence[Split]], refit: Sequence[Split]) -> list[Split]:
    """Each fold as its first member sees it, then all clips."""
    return [*(members[0] for members in folds), *refit[:1]]


@dataclass(frozen=True)
class Division:
    """Which clips are used where.

    Args:
        prepared: All that the settings ask for.
        lost: Clips that cannot be read.
        repeated: Test clips whose very sound is trained on under another id.
        folds: Each fold as each of its members sees it, without those.
        refit: All clips as each member sees them, likewise; nothing where they are not trained on together.
    """

    prepared: Prepared
    lost: list[Skipped]
    repeated: list[Skipped]
    folds: list[list[Split]]
    refit: list[Split]

    @property
    def splits(self) -> list[Split]:
        """Each fold as its first member sees it."""
        return [members[0] for members in self.folds]

    @property
    def shown(self) -> Prepared:
        """What the run folder tells of: the tested clips, those that one fold is trained on, and what is left out."""
        tested = {item.utterance.id: item for split in self.splits for item in split.test}
        ids = (item.utterance.id for item in self.prepared.items)
        return Prepared(
            tuple(tested[name] for name in ids if name in tested),
            tuple(self.splits[0].train) if len(self.splits) == 1 else (),
            (*self.prepared.skipped, *self.lost, *self.repeated),
        )

    @property
    def heard(self) -> list[Utterance]:
        """All that could be read."""
        lost = {row.id for row in self.lost}
        return [item.utterance for item in self.prepared.items if item.utterance.id not in lost]


def _divide(
    settings: TrainSettings,
    method: Method,
    again: Again,
    folds: Sequence[Sequence[Split]],
    refit: Sequence[Split],
) -> Division:
    """Do what is done once per clip, and leave out of the folds what cannot be used there."""
    prepared, failed = again.prepared, {row.id: row for row in again.failed}
    utterances = [item.utterance for item in prepared.items]
    lost = [failed[utterance.id] for utterance in utterances if utterance.id in failed]
    with stopping.graceful():
        lost += method.prepare(
            [utterance for utterance in utterances if utterance.id not in failed],
            settings.dataset.audio,
            batch_size=settings.batch_size,
            num_workers=settings.num_workers,
            on_error=settings.dataset.on_error,
            progress=settings.trainer["enable_progress_bar"] and is_main(),
        )
    unread = {row.id for row in lost}
    read = [[_without(split, unread) for split in members] for members in folds]
    repeated = [row for members in read for row in _heard(members, method.sounds)]
    ids = {row.id for row in repeated}
    return Division(
        prepared,
        lost,
        repeated,
        [[_without(split, ids, ("test",)) for split in members] for members in read],
        [_without(split, unread, ("train", "development")) for split in refit],
    )


def _write_scores(settings: TrainSettings, method: Method, splits: Sequence[Split], results: Sequence[Any]) -> int:
    """Write the score table of the tested clips; returns how many there are."""
    from emoprobe.training.methods.base import score_rows

    folder, trained, limits = settings.output_dir, _trained(settings.composed), settings.dataset.audio
    with ScoreWriter(folder) as writer:
        for split, log_probs in zip(splits, results, strict=True):
            writer.write(score_rows(method, split.test, log_probs.tolist(), trained, limits))
        ids = [item.utterance.id for split in splits for item in split.test]
        return check_complete(read_scores(folder), ids, (), [(method.prompt_name, method.name)])


def _record(
    settings: TrainSettings, corpus: Corpus, division: Division, model: ModelFacts, sampling_rate: int, scored: int
) -> Record:
    """What was run."""
    dataset, composed, shown = settings.dataset, settings.composed, division.shown
    asked_of: dict[str, Any] = {"policy": dataset.soft_label, "split": dataset.split, "seed": settings.seed}
    near_silent, faults = find_faults(division.heard, sampling_rate, dataset.audio)
    used = len(_all_parts(division.splits))
    return replace(
        make_record(corpus, shown, shown.skipped, settings.labels, model, **asked_of),
        **{name: composed[name] for name in ("head", "loss", "fit")},
        partition=composed["dataset"]["partition"]
        | {"fold": dataset.fold}
        | ({"refit": True} if settings.refit else {}),
        near_silent=near_silent,
        sound=faults or None,
        num_scored=scored,
        num_left_out_of_partition=len(division.prepared.items) - len(division.lost) - used,
    )


def _write_analysis(
    settings: TrainSettings, record: Record, frame: pd.DataFrame, curves: Sequence[Mapping]
) -> tuple[Analysis, list[Path]]:
    """Analyse the scores as a zero-shot run's, and write tables and figures; returns ``(analysis, figures)``."""
    folder = settings.output_dir
    plain = AnalysisOptions((Uncalibrated(),), **asdict(settings.analysis))
    analysis = analyse(read_scores(folder), frame, settings.labels, plain)
    figures = write_results(folder, analysis, record, figures=settings.analysis.figures)
    if settings.analysis.figures:
        title = f"Learning curves of {settings.head.name} ({settings.loss.name})"
        figures += save_learning_curves(curves, settings.labels, folder / "figures", title, record.title)
    return analysis, figures


def _trained(settings: Mapping) -> dict:
    """What tells one trained readout from another."""
    trained = {name: settings[name] for name in ("head", "loss", "fit", "seed")}
    return trained if settings.get("answers") is None else trained | {"answers": settings["answers"]}


def make_splits(
    items: Sequence[Item], dataset: DatasetSettings, labels: LabelSet, members: int = 1
) -> list[list[Split]]:
    """The fold that is asked for, or all of them, with a split for every averaged member; every clip is tested once.

    Raises:
        InputError: The partition cannot be made.
    """
    policy, fold = dataset.partition, dataset.fold
    folds = range(count_folds(items, policy)) if fold == "all" else [fold]
    policies = [policy if policy.kind == "official" and fold == "all" else replace(policy, fold=i) for i in folds]
    many = members if policy.development == "rotate" else 1
    splits = [[split_items(items, policy, i) for i in range(many)] for policy in policies]
    if not policy.rater_folds:
        return splits
    groups = rater_groups(items, labels, dataset.soft_label, policy)
    return [[divide_raters(split, groups, labels, dataset.soft_label) for split in parts] for parts in splits]


def _all_parts(splits: Sequence[Split]) -> set[str]:
    """Ids of all utterances that some part of some fold uses."""
    parts = [part for split in splits for part in (split.train, split.development, split.test)]
    return {item.utterance.id for part in parts for item in part}


def _heard(members: Sequence[Split], sounds: Mapping[str, str]) -> list[Skipped]:
    """Test clips of a fold whose very sound stands in another part of it too, under another id."""
    parts = [part for split in members for part in (split.train, split.development)]
    heard = {sounds[item.utterance.id] for part in parts for item in part}
    return [left_out(item.utterance, SEEN) for item in members[0].test if sounds[item.utterance.id] in heard]


def _without(split: Split, lost: set[str], parts: Sequence[str] = ("train", "development", "test")) -> Split:
    """A split whose parts lack the clips that cannot be used there."""

    def keep(part: Sequence[Item]) -> tuple[Item, ...]:
        return tuple(item for item in part if item.utterance.id not in lost)

    kept: dict[str, Any] = {part: keep(getattr(split, part)) for part in parts}
    left = replace(split, **kept)
    for part in parts:
        if not getattr(left, part):
            raise InputError(
                f"no clip of the {part} part of {split.name} can be used: none can be read, or all are heard in "
                "training",
                field="dataset.root",
                remedy="Use dataset.on_error=error to see why.",
            )
    return left


def _write_curves(curves: Sequence[Mapping], labels: LabelSet, folder: Path) -> None:
    import pandas as pd

    answers = ["answers_loss"] if any("answers_loss" in row for row in curves) else []
    columns = ["fold", "member", "epoch", "train_loss", *answers, "dev_loss", "clips", *metrics_of(labels)]
    write_csv(pd.DataFrame(curves, columns=columns), folder / "learning_curves.csv")
