"""After the folds, the same on all clips: who trains each member, what becomes of the members, and going on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from console import TWO, alone

import emoprobe
from emoprobe.data.splits import split_items
from emoprobe.errors import InputError
from emoprobe.recipes import probe as probing
from emoprobe.recipes import train as recipe
from emoprobe.recipes.inputs import prepare_run, read_corpus
from emoprobe.recipes.settings import TrainSettings, read_probe, read_train
from emoprobe.run.scores import read_scores
from emoprobe.settings import compose, make
from emoprobe.training.bundle import load_bundle
from emoprobe.training.fit import ReaderModule, fit_reader
from emoprobe.training.methods.base import make_method
from emoprobe.training.trainer import make_callbacks

OPTIONS = [
    *("head=mlp_probe", "head.layers=[-1]", "head.hidden=8", "head.members=4", "dataset.partition.folds=3"),
    *("fit.max_epochs=4", "fit.learning_rate=0.01", "fit.checkpoint_seconds=0", "dataset.fold=all"),
]
COMMON = [
    *("model=whisper", "model.device=cpu", "dataset.limit=48", "logger=none", "analysis.figures=false"),
    *("analysis.resamples=50", "trainer.enable_progress_bar=false"),
]


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOPROBE_CACHE", str(tmp_path_factory.getbasetemp() / "features"))
        yield


def settings_of(model: Path, output: Path, *overrides: str) -> TrainSettings:
    where = [f"model.path={model}", f"output_dir={output}"]
    return read_train(compose([*COMMON, *OPTIONS, *where, *overrides], "train"))


def train(*given) -> Path:
    return recipe.run(settings_of(*given))


@pytest.fixture(scope="module")
def refitted(tiny_whisper_path, tmp_path_factory) -> Path:
    return train(tiny_whisper_path, tmp_path_factory.mktemp("refit") / "run", "refit=true", "analysis.figures=true")


@pytest.fixture(scope="module")
def folds_alone(tiny_whisper_path, tmp_path_factory) -> Path:
    return train(tiny_whisper_path, tmp_path_factory.mktemp("folds") / "run")


def weights(head: Path) -> bytes:
    return (head / "head.safetensors").read_bytes()


def test_the_members_are_those_made_by_hand(refitted, tiny_whisper_path, tmp_path):
    """Member i is fitted to all folds but fold i, which chooses its epoch; there are three folds for four members."""
    settings = settings_of(tiny_whisper_path, tmp_path)
    dataset = settings.dataset
    items = prepare_run(dataset, read_corpus(dataset), settings.labels).items
    sfm = make(settings.model, "model")
    method = make_method(sfm, settings.composed["head"], settings.labels, settings.prompts, settings.loss)
    method.prepare([item.utterance for item in items], dataset.audio, progress=False)
    bundle = load_bundle(refitted / "head_all")
    assert len(bundle.weights) == 4
    trained = set()
    for member, theirs in enumerate(bundle.weights):
        own = type(dataset.partition)(folds=3, fold=member % 3)
        development = {item.utterance.id for item in split_items(items, own).test}
        sides = [[item for item in items if (item.utterance.id in development) is side] for side in (False, True)]
        train, chosen = ([*sorted(side, key=lambda item: item.utterance.id)] for side in sides)
        assert not {item.utterance.speaker for item in train} & {item.utterance.speaker for item in chosen}
        trained |= {item.utterance.id for item in train}
        torch.manual_seed(member)
        reader = method.new(method.clips(train))
        callbacks = make_callbacks(settings.callbacks, None)
        clips = method.clips(train), method.clips(chosen)
        fit_reader(
            reader,
            settings.loss,
            *clips,
            settings.fit,
            seed=member,
            callbacks=callbacks,
            checkpoints=tmp_path / str(member),
            trainer={"max_epochs": 4, "enable_progress_bar": False},
            eval_batch_size=settings.eval_batch_size,
        )
        torch.testing.assert_close(method.weights(reader), theirs, rtol=0, atol=0)
    assert trained == {item.utterance.id for item in items}
    seen = bundle.facts["seen"]
    assert seen["speakers"] == sorted({item.utterance.speaker for item in items})
    assert seen["sounds"] == sorted(set(method.sounds.values()))


def test_it_is_recorded_and_drawn_beside_the_folds(refitted, folds_alone):
    assert json.loads((refitted / "run.json").read_text())["partition"]["refit"] is True
    assert load_bundle(refitted / "head_all").facts["partition"]["fold"] == "all"
    curves, without = (pd.read_csv(run / "learning_curves.csv", dtype={"fold": str}) for run in (refitted, folds_alone))
    own = curves[curves["fold"] == "all"]
    assert sorted(own["member"].unique()) == [0, 1, 2, 3]
    pd.testing.assert_frame_equal(curves[curves["fold"] != "all"].reset_index(drop=True), without)
    for fold in range(3):
        assert weights(refitted / f"head_fold{fold}") == weights(folds_alone / f"head_fold{fold}")
    assert "refit" not in json.loads((folds_alone / "run.json").read_text())["partition"]
    assert not (folds_alone / "head_all").exists()


def test_it_is_read_as_the_mean_of_its_members_probabilities(refitted, tiny_whisper_path, tmp_path):
    head = ["head=bundle", f"head.path={refitted / 'head_all'}"]
    asked = [*COMMON, f"model.path={tiny_whisper_path}", f"output_dir={tmp_path}", "readout=[]", "calibration=none"]
    with pytest.raises(InputError, match=r"trained on the sound or the speakers of all 48 clips"):
        probing.run(read_probe(compose([*asked, *head, "dataset.split=all"])))
    asked = [option for option in asked if not option.startswith(("model=", "output_dir="))]
    overrides = [*asked, *head, "dataset.split=all", "head.seen=evaluate"]
    scores = read_scores(emoprobe.probe("whisper", output_dir=tmp_path, overrides=overrides).folder).to_pandas()
    settings = settings_of(tiny_whisper_path, tmp_path)
    items = [
        item
        for item in prepare_run(settings.dataset, read_corpus(settings.dataset), settings.labels).items
        if item.utterance.id in set(scores["utterance_id"])
    ]
    sfm = make(settings.model, "model")
    bundle = load_bundle(refitted / "head_all")
    method = bundle.method(sfm, settings.labels)
    method.prepare([item.utterance for item in items], settings.dataset.audio, progress=False)
    clips = method.clips(items)
    (batch,) = clips.in_order(len(clips))
    with torch.no_grad():
        members = [method.restore(one)(batch).double().exp() for one in bundle.weights]
    expected = dict(zip(clips.ids, (sum(members) / 4).tolist(), strict=True))
    assert len(scores) == len(items) == 48
    for row in scores.itertuples():
        np.testing.assert_allclose(np.exp(row.form_logprobs), expected[row.utterance_id], atol=1e-6)


class _StopError(Exception):
    pass


def test_an_interrupted_refit_ends_with_the_same_numbers(refitted, tiny_whisper_path, tmp_path, monkeypatch):
    validated = ReaderModule.on_validation_epoch_end
    of_folds = 3 * 4 * 4
    for stop_after in (of_folds + 2, of_folds + 9):  # in the first member, in the third
        calls = 0

        def stop(self, stop_after=stop_after):
            nonlocal calls
            calls += 1
            if calls > stop_after:
                raise _StopError
            validated(self)

        place = tmp_path / f"stopped{stop_after}"
        monkeypatch.setattr(ReaderModule, "on_validation_epoch_end", stop)
        with pytest.raises(_StopError):
            train(tiny_whisper_path, place, "refit=true")
        assert not (place / "head_all").exists()
        calls = 0

        def count(self):
            nonlocal calls
            calls += 1
            validated(self)

        monkeypatch.setattr(ReaderModule, "on_validation_epoch_end", count)
        resumed = train(tiny_whisper_path, place, "refit=true")
        assert calls <= of_folds + 16 - stop_after + 1
        for head in ("head_fold0", "head_fold2", "head_all"):
            assert weights(resumed / head) == weights(refitted / head)
        curves = [pd.read_csv(run / "learning_curves.csv", dtype={"fold": str}) for run in (refitted, resumed)]
        pd.testing.assert_frame_equal(*curves)


def test_a_finished_run_of_folds_can_be_refitted(refitted, tiny_whisper_path, tmp_path, monkeypatch):
    run = train(tiny_whisper_path, tmp_path / "run")
    before = read_scores(run).to_pandas()
    fitted = []
    validated = ReaderModule.on_validation_epoch_end
    monkeypatch.setattr(
        ReaderModule, "on_validation_epoch_end", lambda self: (fitted.append(self.seed), validated(self))
    )
    assert train(tiny_whisper_path, run, "refit=true") == run
    assert sorted(set(fitted)) == [0, 1, 2, 3]
    assert len(fitted) == 16  # nothing of the folds
    pd.testing.assert_frame_equal(read_scores(run).to_pandas()[before.columns], before)
    assert weights(run / "head_all") == weights(refitted / "head_all")


@pytest.mark.parametrize(
    ("overrides", "remedy"),
    [
        (["dataset.partition.development=next"], "dataset.partition.development=rotate"),
        (["dataset.partition.development=0.3"], "dataset.partition.development=rotate"),
        (["dataset.partition.kind=official", "dataset.fold=0"], "dataset.partition.kind=kfold"),
        (["head.members=1"], "head.members=5"),
        (
            ["head.members=1", "dataset.partition.development=next"],
            "dataset.partition.development=rotate head.members=5",
        ),
    ],
)
def test_where_not_all_clips_would_train_is_refused(tiny_whisper_path, tmp_path, overrides, remedy):
    message = rf"to train on all clips takes several members.* \(field refit\)\. Use {remedy}, or leave refit=false"
    with pytest.raises(InputError, match=message) as caught:
        train(tiny_whisper_path, tmp_path / "run", "refit=true", *overrides)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "settings.json").exists()


@pytest.mark.slow
def test_two_processes_give_the_head_of_one_and_the_end_names_it(tiny_whisper_path, tmp_path, console):
    asked = [*COMMON, *OPTIONS, f"model.path={tiny_whisper_path}", "refit=true", "head.dropout=0", "head.members=2"]
    asked += ["fit.max_epochs=2", "dataset.fold=0", "trainer.accelerator=cpu"]
    for done in (
        console("train", *asked, f"hydra.run.dir={tmp_path / 'one'}"),
        alone("train", *asked, *TWO, f"hydra.run.dir={tmp_path / 'two'}"),
    ):
        assert done.status == 0, done.out[-2000:] + done.err[-4000:]
        assert done.out.count("head_all/") == 1
    one, two = (load_bundle(tmp_path / name / "head_all").weights for name in ("one", "two"))
    for first, second in zip(one, two, strict=True):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=0)
