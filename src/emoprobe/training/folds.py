"""Readers trained fold by fold and member by member, kept as bundles."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from emoprobe import runs, tracking
from emoprobe.data.splits import Split
from emoprobe.stopping import is_main
from emoprobe.training.bundle import load_bundle, save_bundle
from emoprobe.training.features import sample_of_weights
from emoprobe.training.fit import FitOptions, fit_reader
from emoprobe.training.losses import Loss
from emoprobe.training.method import Method
from emoprobe.training.resume import CHECKPOINTS


@dataclass
class FoldTraining:
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
    method: Method
    options: FitOptions
    loss: Loss
    corpus: str
    folder: Path
    resume: Path | None
    logger: object

    def start(self, splits: Sequence[Split]) -> None:
        """Open the progress bar."""
        batches = [-(-len(split.train) // self.options.batch_size) for split in splits]
        self.curves: list[dict] = []
        self.steps = self.told = 0
        shown = self.settings["trainer"]["enable_progress_bar"] and is_main()
        total = sum(batches) * self.method.members * self.options.max_epochs
        self.bar = tqdm(total=total, unit="step", desc="Training", disable=not shown, file=sys.stderr)

    def close(self) -> None:
        """Close the progress bar."""
        self.bar.total = self.bar.n  # early stopping leaves the rest undone
        self.bar.close()

    def train_fold(self, splits: Sequence[Split]):
        """Fit the members of a fold, write them and score the fold's test clips.

        Args:
            splits: The fold as each member sees it, in turn; all test the same clips.

        Returns:
            Log-probabilities ``[test clips, labels]`` float64; None in the processes that do not write.
        """
        split = splits[0]
        name = f"head_fold{split.fold}"
        if self.resume is not None and (self.resume / name / "head.json").is_file():
            bundle = load_bundle(self.resume / name)
            weights, curves = list(bundle.weights), bundle.facts["curves"]
        else:
            weights, curves = self._members(splits)
        if not is_main():
            return None
        self.curves += [{"fold": split.fold, **row} for row in curves]
        facts = self._facts(split, curves)
        save_bundle(self.folder / name, weights, facts)
        test = self.method.clips(split.test)
        return load_bundle(self.folder / name).predict(self.method, test, self.settings["eval_batch_size"])

    def _members(self, splits: Sequence[Split]) -> tuple[list, list[dict]]:
        method, settings = self.method, self.settings
        members, curves = [], []
        for member in range(method.members):
            split = splits[member % len(splits)]
            train, development = method.clips(split.train), method.clips(split.development)
            fitted = self.loss.fit(train.target, train.votes)
            place = Path(CHECKPOINTS) / f"fold{split.fold}_member{member}"
            earlier = None if self.resume is None else self.resume / place
            if earlier is not None and (earlier / "head.json").is_file():
                bundle = load_bundle(earlier)
                weights, curve = bundle.weights[0], bundle.facts["curves"]
            else:
                seed = settings["seed"] * 1000 + member
                torch.manual_seed(seed)
                reader = method.new(train)
                if not self.told and is_main():
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
            if is_main() and method.members > 1:
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
