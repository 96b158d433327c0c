"""Zero-shot, calibrated zero-shot and trained readouts on the same folds, over seeds, in one table.

Every part is an ordinary run in a folder of its own. An interrupted study goes on when the same command is given
the same folder: each part then takes over what it has finished, and refuses what other settings have made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from emoprobe.analysis.derive import analyse
from emoprobe.beliefs.targets import make_targets
from emoprobe.data.prepare import Prepared
from emoprobe.metrics.floors import FLOORS, floors
from emoprobe.metrics.functional import metrics_of
from emoprobe.metrics.truths import Truths
from emoprobe.readout.base import names_of
from emoprobe.readout.trained_head import plain_variants
from emoprobe.recipes.inputs import prepare_run, read_corpus
from emoprobe.recipes.loaded import one_model
from emoprobe.recipes.parts import names, run_part, searched
from emoprobe.recipes.settings import StudySettings, TrainSettings, read_analysis
from emoprobe.recipes.train import make_splits
from emoprobe.report import tracking
from emoprobe.run.folder import RunFolder, open_folder
from emoprobe.run.sweep import key_of
from emoprobe.run.writing import utterances_frame
from emoprobe.settings import compose
from emoprobe.system import stopping
from emoprobe.system.claim import claimed_by_main
from emoprobe.training.arguments import ONLY_FITTING

OWN = ("experiment", "study", "hydra", "logger", "seed", "output_dir", "analysis.figures")
ONLY_TRAINING = (
    *("head", "fit", "loss", "refit", "eval_batch_size", "callbacks", "trainer.precision"),
    *(f"trainer.{name}" for name in ONLY_FITTING),
)
ONLY_ZERO_SHOT = ("readout", "calibration", "null_inputs", "resume")


def run(settings: TrainSettings, overrides: Sequence[str]) -> Path:
    """Run every part, then write and print their table; returns the folder.

    Args:
        settings: Those of emoprobe train, with ``study``.
        overrides: The command line, which every part is given too.
    """
    with claimed_by_main(settings.output_dir, "study"), one_model():
        return _run(settings, overrides)


def _run(settings: TrainSettings, overrides: Sequence[str]) -> Path:
    folder, plan = settings.output_dir, cast(StudySettings, settings.study)
    search = searched(overrides)
    shared = [*plan.shared, *search, *(o for o in overrides if not names(o, OWN))]
    for_zero_shot = [o for o in shared if not names(o, ONLY_TRAINING)]
    for_training = [o for o in shared if not names(o, ONLY_ZERO_SHOT)]

    with stopping.heard(f"Repeat the command with hydra.run.dir={folder} to go on from there."):
        zero_shot = None
        if plan.zero_shot:
            zero_shot = run_part("zero_shot", [*for_zero_shot, *plan.zero_shot], folder / "zero_shot", "probe")
        trained = {}
        for name, own in plan.trained.items():
            parts = [
                run_part(
                    f"{name}, seed {seed}",
                    [*for_training, *own, f"seed={seed}"],
                    folder / name / f"seed{seed}",
                    "train",
                )
                for seed in plan.seeds
            ]
            trained[name] = parts

    runs = {name: [open_folder(part) for part in parts] for name, parts in trained.items()}
    scored = None if zero_shot is None else open_folder(zero_shot)
    record = next(run for run in (scored, *(parts[0] for parts in runs.values())) if run is not None).record
    predictions, kinds, human = _gather(settings, scored, plan, runs, search)
    from rich.console import Console

    from emoprobe.report.few_shot import few_shot_frame, few_shot_table, save_few_shot, untrained
    from emoprobe.report.study import save_study, study_frame, study_table

    labels = settings.labels
    known = human["num_raters"]
    truths = Truths(human["votes"], human["target"], num_raters=known, metrics=metrics_of(labels))
    ceiling = truths.scores(), truths.intervals(human["speakers"])
    frame = study_frame(predictions, human["target"], human["votes"], human["speakers"], kinds, labels, *ceiling)
    speakers = len(np.unique(human["speakers"]))
    about = "trained readouts" if scored is None else "zero-shot and trained readouts"
    figures = save_study(frame, folder, f"{record.model.name}: {about}", record.title)
    places, curves = _places(settings, plan, runs), None
    if places:
        heard = human["target"], human["votes"]
        curves = few_shot_frame(predictions, places, *heard, human["speakers"], labels)
        lines = untrained(predictions, kinds, *heard, ceiling[0], labels)
        figures += save_few_shot(curves, lines, folder, f"{record.model.name}: few clips", record.title)
    with tracking.open_logger(settings.logger, settings.composed) as logger:
        tracking.log_study(logger, frame, figures)
    console = Console(width=None if Console().is_terminal else 200)
    console.print(study_table(frame))
    if curves is not None:
        console.print(few_shot_table(curves))
    size = len(human["target"])
    print(record.title)
    if truths.doubt:
        print(f"The human ceiling is {truths.doubt}")
    print(f"{size:,} held-out clips of {speakers} speakers; intervals: 95 %, speakers resampled; sd over seeds")
    more = ", few_shot.csv, few_shot.md, few_shot.png" if places else ""
    print(f"Results  {folder}: comparison.csv, comparison.md, comparison.png{more}, and a run folder per part")
    return folder


def _places(
    settings: TrainSettings, plan: StudySettings, runs: Mapping[str, Sequence[RunFolder]]
) -> dict[str, tuple[str, float]]:
    """Part -> its curve and its number of training clips, where parts differ in that number; nothing else.

    Parts that have the same overrides but for ``fit.max_clips`` are one curve. The number is a mean over folds.
    """
    most = {name: (parts[0].record.fit or {}).get("max_clips") for name, parts in runs.items()}
    if len(set(most.values())) < 2:
        return {}
    prepared = prepare_run(settings.dataset, read_corpus(settings.dataset), settings.labels)
    sizes = [len(split.train) for (split,) in make_splits(prepared.items, settings.dataset, settings.labels)]
    curves = {name: [o for o in plan.trained[name] if key_of(o) != "fit.max_clips"] for name in runs}
    number = {name: float(np.mean([min(size, most[name] or size) for size in sizes])) for name in runs}
    return {name: (" ".join(of).removeprefix("head="), number[name]) for name, of in curves.items()}


def _gather(
    settings: TrainSettings,
    zero_shot: RunFolder | None,
    plan: StudySettings,
    trained: Mapping[str, Sequence[RunFolder]],
    search: Sequence[str],
) -> tuple[dict[str, list[np.ndarray]], dict[str, str], dict[str, np.ndarray]]:
    """Distributions of all parts on the clips that all have scored.

    Zero-shot scores are calibrated fold by fold: what a calibration learns it learns from the fold's own training part
    or from the fold's unlabelled test clips.
    """
    import pandas as pd

    from emoprobe.report.tables import mark_of

    labels, dataset = settings.labels, settings.dataset
    prepared = prepare_run(dataset, read_corpus(dataset), labels)
    columns = [f"p_{label}" for label in labels.labels]
    tables = {
        (name, i): part.predictions.set_index("utterance_id")
        for name, parts in trained.items()
        for i, part in enumerate(parts)
    }
    indices = [set(table.index) for table in tables.values()]
    indices += [] if zero_shot is None else [set(zero_shot.table["utterance_id"].to_pylist())]
    scored = set.intersection(*indices)
    options = read_analysis(compose([*search, *(o for o in plan.zero_shot if names(o, ("calibration",)))]))
    kept, folds, of_floors = [], [], []
    for (split,) in make_splits(prepared.items, dataset, labels):
        test = [item for item in split.test if item.utterance.id in scored]
        if not test:
            continue
        frame = utterances_frame(Prepared(tuple(test), tuple(split.train), ()), labels, dataset.soft_label)
        human = make_targets(frame, labels)
        if zero_shot is not None:
            folds.append(analyse(zero_shot.table, frame, labels, options).predictions)
        floor = floors(human.distribution, human.votes, prior=human.prior)
        of_floors.append(floor)
        raters = human.frame["num_raters"].to_numpy(float, na_value=np.nan)
        kept.append((human.frame.index, human.distribution, human.votes, human.frame["speaker"], raters))
    ids = np.concatenate([part[0] for part in kept])
    speakers = np.concatenate([part[3].fillna("").to_numpy(str) for part in kept])
    speakers = np.where(speakers == "", ids, speakers)  # a clip of nobody known stands for itself
    predictions: dict[str, list[np.ndarray]] = {}
    kinds: dict[str, str] = {}
    keys = ["readout", "prompt", "variant", "calibration"]
    for key, cell in pd.concat(folds).groupby(keys, observed=True, sort=False) if folds else ():
        readout, prompt, variant, calibration = key
        detail = "" if variant in plain_variants() else f" {variant}"
        mark = mark_of(" + ".join(sorted(set(cell["fitted_on"].astype(str)))))
        how = "uncalibrated" if calibration == "none" else calibration + mark
        supervised = readout in names_of("classes")
        name = f"supervised {readout}, {how}" if supervised else f"zero-shot {readout}{detail}, {prompt}, {how}"
        predictions[name] = [cell.set_index("utterance_id").loc[ids, columns].to_numpy()]
        kinds[name] = "supervised" if supervised else "zero-shot"
    for name, parts in trained.items():
        predictions[name] = [tables[name, i].loc[ids, columns].to_numpy() for i in range(len(parts))]
        kinds[name] = "trained"
    for name in FLOORS:
        shown = f"{'reference' if name == 'one_hot_of_top_vote' else 'floor'}: {name.replace('_', ' ')}"
        predictions[shown] = [np.concatenate([floor[name] for floor in of_floors])]
        kinds[shown] = shown.partition(":")[0]
    said = {name: np.concatenate([p[i] for p in kept]) for i, name in ((1, "target"), (2, "votes"), (4, "num_raters"))}
    return predictions, kinds, said | {"speakers": speakers}
