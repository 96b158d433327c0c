"""Readers trained fold by fold and member by member, kept as bundles."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyLogger

from emoprobe.data.splits import Split
from emoprobe.data.utterance import CorpusCard
from emoprobe.metrics.functional import METRICS, metrics_of
from emoprobe.models.identity import sample_of_weights
from emoprobe.run.record import versions
from emoprobe.run.settings import asked
from emoprobe.system.digest import digest_of
from emoprobe.system.stopping import is_main
from emoprobe.training.batches import Clips
from emoprobe.training.bundle import FACTS_NAME, load_bundle, save_bundle
from emoprobe.training.fit import fit_reader
from emoprobe.training.going_on import LAST
from emoprobe.training.losses.base import Loss
from emoprobe.training.methods.base import Method
from emoprobe.training.options import FitOptions
from emoprobe.training.resume import CHECKPOINTS
from emoprobe.training.seen import seen_facts
from emoprobe.training.tracker import lent
from emoprobe.training.trainer import make_callbacks


@dataclass
class FoldTraining:
    """Trains readers fold by fold; what an interrupted run has finished is taken from its folder.

    Args:
        settings: The whole configuration.
        method: Makes the readers.
        options: How they are fitted.
        loss: What they minimise.
        card: The corpus.
        folder: The run folder.
        places: Run folders whose finished work is taken over, the run's own first.
        logger: The tracker, or None.
        begin_fit: Told the name of each of several fits, before its values are.
    """

    settings: Mapping
    method: Method
    options: FitOptions
    loss: Loss
    card: CorpusCard
    folder: Path
    places: Sequence[Path]
    logger: Logger | None
    begin_fit: Callable[[str], None] = lambda name: None

    def train(self, folds: Sequence[Sequence[Split]], refit: Sequence[Split] = ()) -> list:
        """Every fold in turn, see `train_fold`, then all clips.

        Args:
            folds: The fold as each member sees it.
            refit: All clips as each member sees them; nothing where they are not trained on together.
        """
        self.model_weights = sample_of_weights(self.method.sfm.model)
        self.curves: list[dict] = []
        self.several = (len(folds) + bool(refit)) * self.method.members > 1
        self.steps = self.told = 0
        results = [self.train_fold(members) for members in folds]
        if refit:
            self._train_bundle(refit)
        return results

    def train_fold(self, splits: Sequence[Split]) -> torch.Tensor | None:
        """Fit the members of a fold, write them and score the fold's test clips.

        Args:
            splits: The fold as each member sees it, in turn; all test the same clips.

        Returns:
            Log-probabilities ``[test clips, labels]`` float64; None in the processes that do not write.
        """
        folder = self._train_bundle(splits)
        if not is_main():
            return None
        test = self.method.clips(splits[0].test)
        return load_bundle(folder).predict(self.method, test, self.settings["eval_batch_size"])

    def _train_bundle(self, splits: Sequence[Split]) -> Path:
        """Fit the members and write them; returns the bundle's folder."""
        split = splits[0]
        name = f"head_{split.name}"
        earlier = self._earlier(Path(name), FACTS_NAME)
        if earlier is not None:
            bundle = load_bundle(earlier).must_be(self._expected(split))
            weights, curves = list(bundle.weights), bundle.facts["curves"]
        else:
            weights, curves = self._members(splits)
        if is_main():
            self.curves += [{"fold": split.fold, **row} for row in curves]
            if earlier != self.folder / name:
                save_bundle(self.folder / name, weights, self._facts(split, curves))
        return self.folder / name

    def _earlier(self, place: Path, file: str) -> Path | None:
        """Where an earlier run has left this file of a place; None where none has."""
        return next((folder / place for folder in self.places if (folder / place / file).is_file()), None)

    def _members(self, splits: Sequence[Split]) -> tuple[list, list[dict]]:
        method = self.method
        members, curves = [], []
        for member in range(method.members):
            split = splits[member % len(splits)]
            train, development = method.clips(split.train), method.clips(split.development)
            fitted = self.loss.fit(train.target, train.votes)
            place = Path(CHECKPOINTS) / f"{split.name}_member{member}"
            earlier = self._earlier(place, FACTS_NAME)
            if earlier is not None:
                bundle = load_bundle(earlier).must_be(self._expected(split, member))
                weights, curve = bundle.weights[0], bundle.facts["curves"]
            else:
                begun = self._earlier(place, LAST)
                weights, curve = self._fit(fitted, (train, development), place, begun, member, split)
            members.append(weights)
            curves += curve
            if is_main() and method.members > 1 and earlier != self.folder / place:
                save_bundle(self.folder / place, [weights], self._facts(split, curve, member))
        return members, curves

    def _fit(
        self, loss: Loss, clips: tuple[Clips, Clips], place: Path, earlier: Path | None, member: int, split: Split
    ) -> tuple[dict, list[dict]]:
        """Fit one member; returns its weights and its curve. The model is left as it was, however this ends."""
        method, settings = self.method, self.settings
        seed = settings["seed"] * 1000 + member
        torch.manual_seed(seed)
        reader = method.new(clips[0])
        try:
            if not self.told and is_main():
                print(f"Head     {method.name}: {method.describe(reader)}")
            self.told = 1
            options, name = dict(settings["trainer"]), f"{split.name}/member{member}"
            if self.several and options["enable_progress_bar"] and is_main():
                print(name, file=sys.stderr)  # above its progress bar
            module = fit_reader(
                reader,
                loss,
                *clips,
                self.options,
                seed=seed,
                callbacks=make_callbacks(settings["callbacks"], options.pop("callbacks", None)),
                logger=self._logger(name),
                trainer=options,
                eval_batch_size=settings["eval_batch_size"],
                checkpoints=self.folder / place,
                root=self.folder / "lightning" / place.name,
                resume=earlier,
                identity=digest_of(self._expected(split, member))[:32],
                answers=method.answers,
                metrics=metrics_of(method.labels),
            )
            self.steps += module.trainer.global_step
            return method.weights(reader), [{"member": member, **row} for row in module.curve]
        finally:
            method.release(reader)

    def _logger(self, name: str) -> Logger | None:
        """What a fit tells its values, under a name of their own if it is not the only one."""
        if not is_main():
            return DummyLogger()  # callbacks that want a logger want one in every process
        if not self.several:
            return lent(self.logger)
        self.begin_fit(name)
        return lent(self.logger, name, self.steps)

    def _facts(self, split: Split, curves: Sequence[Mapping], member: int | None = None) -> dict:
        """What a bundle says about itself."""
        return {
            **self._expected(split, member),
            **{name: self.settings[name] for name in ("fit", "seed")},
            "development": [self._kept(list(rows)) for _, rows in groupby(curves, key=lambda row: row["member"])],
            "curves": list(curves),
            "versions": versions(),
        }

    def _kept(self, rows: Sequence[Mapping]) -> Mapping:
        """The row of the best epoch, the first of equal ones."""
        metric = METRICS.get(self.options.monitor)
        name = "dev_loss" if metric is None else metric.name
        sign = 1 if metric is not None and metric.higher_is_better else -1
        return max(rows, key=lambda row: sign * row.get(name, -sign * math.inf))

    def _expected(self, split: Split, member: int | None = None) -> dict:
        """What is known of a bundle before it is trained, as JSON gives it back."""
        sfm, labels = self.method.sfm, self.method.labels
        known = (*split.train, *split.development)
        facts = {
            "model": sfm.name,
            "revision": sfm.revision,
            "dtype": sfm.dtype,
            "model_weights": self.model_weights,
            "labels": list(labels.labels),
            "label_set_hash": labels.hash,
            **self.method.facts(),
            "loss": self.settings["loss"],
            "answers": self.settings.get("answers"),
            "prompt_config": self.settings["prompt"],
            "audio": self.settings["dataset"]["audio"],
            "partition": self.settings["dataset"]["partition"] | {"fold": split.fold},
            "seen": seen_facts(self.card, known, self.method.sounds),
            "clips": self._clips(split),
            "settings": digest_of(asked("train", self.settings))[:32],
        }
        return json.loads(json.dumps(facts | ({} if member is None else {"member": member})))

    def _clips(self, split: Split) -> str:
        """Hash of the sound, target and votes of all clips of a fold, in their order."""
        digest = hashlib.sha256()
        for part in (split.train, split.development, split.test):
            for item in part:
                numbers = item.target.distribution.tolist(), item.target.votes.tolist()
                digest.update(json.dumps([item.utterance.id, self.method.sounds[item.utterance.id], *numbers]).encode())
            digest.update(b"|")
        return digest.hexdigest()
