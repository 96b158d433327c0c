"""The training recipe, top to bottom: corpus, partition, what is done once per clip, readers, analysis as of zero-shot.

With several processes (trainer.strategy=ddp) each runs this recipe; the first alone writes, logs and prints.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omegaconf import DictConfig

from emoprobe import runs, tracking
from emoprobe.analysis import AnalysisOptions, analyse
from emoprobe.calibration import Calibration
from emoprobe.data.audio import AudioLimits
from emoprobe.data.splits import Split, SplitPolicy, split_items
from emoprobe.data.votes import Item, Prepared
from emoprobe.errors import EmoprobeError, InputError
from emoprobe.labels import LabelSet
from emoprobe.prompts import make_prompts
from emoprobe.scores import ScoreWriter, read_scores

TRAINING_FILE, CHECKPOINTS = "training.json", "checkpoints"


def main(config: DictConfig) -> None:
    """Run the recipe; the user's mistakes end in one line, not in a traceback."""
    try:
        if config.compare is not None:
            from hydra.core.hydra_config import HydraConfig

            from emoprobe.training import compare

            compare.run(config, list(HydraConfig.get().overrides.task))
        else:
            run(config)
    except EmoprobeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def run(config: DictConfig) -> Path:
    """Train on one fold or on all, score the held-out clips, write and log everything; returns the run folder."""
    settings = runs.plain(config)
    folder = Path(settings["output_dir"])
    labels = runs.build(LabelSet, settings["labels"], "labels")
    prompts = make_prompts(settings["prompt"], labels)
    limits = runs.build(AudioLimits, settings["dataset"]["audio"], "dataset.audio")
    if settings["dataset"]["split"] not in (None, "all"):
        raise InputError(
            "training takes a corpus as a whole and divides it itself",
            field="dataset.split",
            remedy="Leave dataset.split=all; dataset.partition.kind=official uses the corpus's own split.",
        )
    corpus = runs.read_corpus(config)
    prepared = runs.prepare_run(config, corpus, labels)
    splits = make_splits(prepared.items, settings["dataset"])

    # Heavy imports come after everything cheap has been checked.
    import lightning as L
    from hydra.utils import instantiate

    from emoprobe.probing import quiet
    from emoprobe.report.figures import save_learning_curves
    from emoprobe.training.fit import FitOptions
    from emoprobe.training.losses import Loss
    from emoprobe.training.method import make_method, score_rows

    quiet()
    L.seed_everything(settings["seed"], verbose=False)
    options = runs.build(FitOptions, settings["fit"], "fit")
    loss = runs.build(Loss, settings["loss"], "loss")
    sfm = runs.call(lambda: instantiate(config.model, _convert_="all"), "model")
    method = make_method(sfm, settings["head"], labels, prompts, loss)
    resume = _claim(folder, settings)
    lost = method.prepare(
        [item.utterance for item in prepared.items],
        limits,
        batch_size=settings["batch_size"],
        on_error=settings["dataset"]["on_error"],
        progress=settings["trainer"]["enable_progress_bar"] and _is_main(),
    )
    splits = [_without(split, {row.id for row in lost}) for split in splits]
    tested = {item.utterance.id for split in splits for item in split.test}
    shown = Prepared(
        tuple(item for item in prepared.items if item.utterance.id in tested),
        tuple(splits[0].train) if len(splits) == 1 else (),
        (*prepared.skipped, *lost),
    )
    frame = runs.utterances_frame(shown, labels)
    model = {"name": sfm.name, "revision": sfm.revision, "dtype": sfm.dtype, "device": str(sfm.model.device)}

    with tracking.open_logger(config.logger if _is_main() else {}) as logger:
        job = Job(settings, method, options, loss, corpus.card.name, folder, resume, logger)
        job.start(splits)
        results = [job.train_fold(split) for split in splits]
        job.close()
        if not _is_main():
            return folder
        with ScoreWriter(folder) as writer:
            for split, log_probs in zip(splits, results, strict=True):
                writer.write(score_rows(method, split.test, log_probs.tolist(), _trained(settings)))
        _write_curves(job.curves, folder)
        record = runs.make_record(config, corpus, shown, shown.skipped, labels, model)
        record |= {name: settings[name] for name in ("head", "loss", "fit")}
        record["partition"] = settings["dataset"]["partition"] | {"fold": settings["dataset"]["fold"]}
        record["num_left_out_of_partition"] = len(prepared.items) - len(lost) - len(_all_parts(splits))
        runs.write_json(record, folder / runs.RUN_FILE)
        frame.to_parquet(folder / runs.UTTERANCES_FILE, index=False)
        runs.write_skipped(shown.skipped, folder / runs.SKIPPED_FILE)
        plain = AnalysisOptions([Calibration("none")], failures=settings["analysis"]["failures"])
        analysis = analyse(read_scores(folder), frame, labels, plain)
        figures = runs.write_results(folder, analysis, record, figures=settings["analysis"]["figures"])
        if settings["analysis"]["figures"]:
            title = f"Learning curves of {settings['head']['name']} ({settings['loss']['name']})"
            figures += save_learning_curves(job.curves, folder / "figures", title, runs.subtitle(record))
        tracking.log_results(logger, settings, analysis, figures)
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    runs.print_results(analysis, record, folder, figures)
    return folder


def _is_main() -> bool:
    """Whether this is the only or the first process; Lightning numbers those that it starts."""
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"


def _trained(settings: Mapping) -> dict:
    """What tells one trained readout from another."""
    return {name: settings[name] for name in ("head", "loss", "fit", "seed")}


# -- interrupted runs --------------------------------------------------------------------------------------------------


def _identity(settings: Mapping) -> dict:
    """All that the numbers of a run depend on, as JSON gives it back."""
    fit = {name: value for name, value in settings["fit"].items() if name != "checkpoint_seconds"}
    names = ("model", "labels", "prompt", "dataset", "head", "loss", "seed")
    return json.loads(json.dumps({name: settings[name] for name in names} | {"fit": fit}, default=str))


def _claim(folder: Path, settings: Mapping) -> Path | None:
    """Make the run folder this run's own; returns the folder of the interrupted run to go on from.

    Raises:
        InputError: The folder belongs to another run, or there is no run to go on from.
    """
    file = folder / TRAINING_FILE
    if not _is_main():
        found = json.loads(file.read_text(encoding="utf-8"))["resumed_from"]
        return None if found is None else Path(found)
    identity, ckpt = _identity(settings), settings["ckpt"]
    resume = None
    if ckpt is not None:
        places = [folder, *_newest(folder)] if ckpt == "last" else [Path(ckpt)]
        resume = next((place for place in places if _settings_of(place) == identity), None)
        if resume is None:
            raise InputError(
                f"no training run with the same settings in {folder.parent}"
                if ckpt == "last"
                else "this folder holds no training run with the same settings",
                file=None if ckpt == "last" else Path(ckpt),
                field="ckpt",
                remedy="Repeat the whole command of the interrupted run and add ckpt=last or ckpt=ITS_FOLDER.",
            )
        print(f"going on from {resume}")
    elif file.exists():
        raise InputError(
            "this folder holds another training run",
            file=folder,
            field="hydra.run.dir",
            remedy="Choose another folder, or ckpt=last to go on with that run.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    runs.write_json({"settings": identity, "resumed_from": None if resume is None else str(resume.resolve())}, file)
    if resume == folder:
        shutil.rmtree(folder / "scores_parts", ignore_errors=True)
    return resume


def _newest(folder: Path) -> list[Path]:
    """Neighbouring run folders, the newest first."""
    found = {*folder.parent.glob(f"*/{TRAINING_FILE}"), *folder.parent.parent.glob(f"*/*/{TRAINING_FILE}")}
    return [file.parent for file in sorted(found, key=lambda file: file.stat().st_mtime, reverse=True)]


def _settings_of(folder: Path) -> dict | None:
    try:
        return json.loads((folder / TRAINING_FILE).read_text(encoding="utf-8"))["settings"]
    except (OSError, ValueError, KeyError):
        return None


# -- the corpus's parts ------------------------------------------------------------------------------------------------


def make_splits(items: Sequence[Item], dataset: Mapping) -> list[Split]:
    """The fold that is asked for, or all of them; every clip is then tested once.

    Raises:
        InputError: The partition cannot be made.
    """
    policy = runs.build(SplitPolicy, dict(dataset["partition"]), "dataset.partition")
    fold = dataset["fold"]
    if fold != "all":
        return [split_items(items, replace(policy, fold=fold))]
    if policy.kind == "official":
        return [split_items(items, policy)]
    return [split_items(items, replace(policy, fold=i)) for i in range(policy.count(items))]


def _all_parts(splits: Sequence[Split]) -> set[str]:
    """Ids of all utterances that some part of some fold uses."""
    parts = [part for split in splits for part in (split.train, split.development, split.test)]
    return {item.utterance.id for part in parts for item in part}


def _without(split: Split, lost: set[str]) -> Split:
    """A split without the clips whose sound could not be read."""

    def keep(part: Sequence[Item]) -> tuple[Item, ...]:
        return tuple(item for item in part if item.utterance.id not in lost)

    left = replace(split, train=keep(split.train), development=keep(split.development), test=keep(split.test))
    for part in ("train", "development", "test"):
        if not getattr(left, part):
            raise InputError(
                f"no clip of the {part} part of fold {split.fold} can be read",
                field="dataset.root",
                remedy="Use dataset.on_error=error to see why.",
            )
    return left


# -- folds and members -------------------------------------------------------------------------------------------------


@dataclass
class Job:
    """Trains readers fold by fold; what an interrupted run has finished is taken from its folder.

    Args:
        settings: The whole configuration.
        method: Makes the readers.
        options: How they are fitted.
        loss: What they minimise.
        corpus: The corpus's name.
        folder: The run folder.
        resume: Folder of the interrupted run, or None.
        logger: The tracker, or None.
    """

    settings: Mapping
    method: object
    options: object
    loss: object
    corpus: str
    folder: Path
    resume: Path | None
    logger: object

    def start(self, splits: Sequence[Split]) -> None:
        """Open the progress bar."""
        from tqdm import tqdm

        batches = [-(-len(split.train) // self.options.batch_size) for split in splits]
        self.curves: list[dict] = []
        self.steps = self.told = 0
        shown = self.settings["trainer"]["enable_progress_bar"] and _is_main()
        total = sum(batches) * self.method.members * self.options.max_epochs
        self.bar = tqdm(total=total, unit="step", desc="Training", disable=not shown, file=sys.stderr)

    def close(self) -> None:
        """Close the progress bar."""
        self.bar.total = self.bar.n  # early stopping leaves the rest undone
        self.bar.close()

    def train_fold(self, split: Split):
        """Fit the members of a fold, write them and score the fold's test clips.

        Returns:
            Log-probabilities ``[test clips, labels]`` float64; None in the processes that do not write.
        """
        from emoprobe.training.bundle import load_bundle, save_bundle

        name = f"head_fold{split.fold}"
        if self.resume is not None and (self.resume / name / "head.json").is_file():
            bundle = load_bundle(self.resume / name)
            weights, curves = list(bundle.weights), bundle.facts["curves"]
        else:
            weights, curves = self._members(split)
        if not _is_main():
            return None
        self.curves += [{"fold": split.fold, **row} for row in curves]
        facts = self._facts(split, curves)
        save_bundle(self.folder / name, weights, facts)
        test = self.method.clips(split.test)
        return load_bundle(self.folder / name).predict(self.method, test, self.settings["eval_batch_size"])

    def _members(self, split: Split) -> tuple[list, list[dict]]:
        import torch

        from emoprobe.training.bundle import load_bundle, save_bundle
        from emoprobe.training.fit import fit_reader

        method, settings = self.method, self.settings
        train, development = method.clips(split.train), method.clips(split.development)
        fitted = self.loss.fit(train.target, train.votes)
        members, curves = [], []
        for member in range(method.members):
            place = Path(CHECKPOINTS) / f"fold{split.fold}_member{member}"
            earlier = None if self.resume is None else self.resume / place
            if earlier is not None and (earlier / "head.json").is_file():
                bundle = load_bundle(earlier)
                weights, curve = bundle.weights[0], bundle.facts["curves"]
            else:
                seed = settings["seed"] * 1000 + member
                torch.manual_seed(seed)
                reader = method.new(train)
                if not self.told and _is_main():
                    print(f"Head     {method.name}: {method.describe(reader)}")
                self.told = 1
                module = fit_reader(
                    reader,
                    fitted,
                    train,
                    development,
                    self.options,
                    seed=seed,
                    trainer=settings["trainer"],
                    eval_batch_size=settings["eval_batch_size"],
                    checkpoints=self.folder / place,
                    resume=earlier,
                    on_step=self._step,
                    on_epoch=lambda row, run=f"fold{split.fold}/member{member}": self._epoch(run, row),
                )
                weights, curve = method.weights(reader), [{"member": member, **row} for row in module.curve]
                method.release(reader)
            members.append(weights)
            curves += curve
            if _is_main() and method.members > 1:
                save_bundle(self.folder / place, [weights], self._facts(split, curve))
        return members, curves

    def _step(self) -> None:
        self.steps += 1
        self.bar.update()

    def _epoch(self, run: str, row: dict) -> None:
        self.bar.set_postfix_str(f"{run} epoch {row['epoch']:.0f}, development JS {row['js_divergence']:.4f}")
        tracking.log_epoch(self.logger, run, row, self.steps)

    def _facts(self, split: Split, curves: Sequence[Mapping]) -> dict:
        """What a bundle says about itself."""
        from emoprobe.training.features import sample_of_weights

        sfm, labels = self.method.sfm, self.method.labels
        best = {row["member"]: row for row in sorted(curves, key=lambda row: -row["js_divergence"])}
        return {
            "model": sfm.name,
            "revision": sfm.revision,
            "dtype": sfm.dtype,
            "model_weights": sample_of_weights(sfm.model),
            "labels": list(labels.labels),
            "label_set_hash": labels.hash,
            **self.method.facts(),
            **{name: self.settings[name] for name in ("loss", "fit", "seed")},
            "prompt_config": self.settings["prompt"],
            "partition": self.settings["dataset"]["partition"] | {"fold": split.fold},
            "seen": self._seen(split),
            "development": list(best.values()),
            "curves": list(curves),
            "versions": runs.versions(),
        }

    def _seen(self, split: Split) -> dict:
        """What a bundle must not be judged on."""
        known = [item.utterance for item in (*split.train, *split.development)]
        return {
            "corpus": self.corpus,
            "speakers": sorted({utterance.speaker for utterance in known if utterance.speaker}),
            "utterances": sorted(utterance.id for utterance in known if not utterance.speaker),
        }


def _write_curves(curves: Sequence[Mapping], folder: Path) -> None:
    import pandas as pd

    pd.DataFrame(curves).to_csv(folder / "learning_curves.csv", index=False)
