"""What an optimiser is told of a run: one metric of its development clips, by an independent reference."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon

from emoprobe.recipes import optimized
from emoprobe.recipes import probe as probing
from emoprobe.recipes import train as training
from emoprobe.recipes.settings import read_probe, read_train
from emoprobe.run.folder import RunFolder
from emoprobe.settings import compose

QUICK = ("model.device=cpu", "logger=none", "trainer.enable_progress_bar=false", "analysis.figures=false")
READ = ("readout=label_likelihood", "null_inputs.kinds=[]", "calibration=none", "analysis.resamples=0")
PROBE = ("dataset.split=all", *READ)
TRAIN = ("head.layers=[-1]", "fit.max_epochs=3", "analysis.resamples=0")


@pytest.fixture(scope="module", autouse=True)
def features(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOPROBE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def settings_of(verb, path, folder, *more):
    shared = ["model=whisper", f"model.path={path}", *QUICK, *(PROBE if verb == "probe" else TRAIN)]
    read = read_probe if verb == "probe" else read_train
    return read(compose([*shared, f"output_dir={folder}", *more], verb))


def speakers_of_part(part, fold=0):
    """Who develops, by the training recipe's own split of the corpus."""
    from emoprobe.recipes.inputs import prepare_run, read_corpus

    asked = read_train(compose(["output_dir=.", f"dataset.fold={fold}"], "train"))
    prepared = prepare_run(asked.dataset, read_corpus(asked.dataset), asked.labels)
    split = training.make_splits(prepared.items, asked.dataset, asked.labels)[0][0]
    return {item.utterance.id for item in getattr(split, part)}


def test_a_probe_is_judged_on_the_development_part_alone(tiny_whisper_path, tmp_path):
    values = {}
    for fold in (0, 1):
        asked = settings_of("probe", tiny_whisper_path, tmp_path, "optimize=js_divergence", f"dataset.fold={fold}")
        probing.run(asked)
        told = json.loads((tmp_path / "optimized.json").read_text())
        frame = pd.read_parquet(tmp_path / "predictions.parquet")
        ids = speakers_of_part("development", fold)
        own = frame[frame["utterance_id"].isin(ids)]
        labels = asked.labels.labels
        p, t = (own[[f"{what}_{label}" for label in labels]].to_numpy() for what in ("p", "target"))
        expected = np.mean([jensenshannon(a, b, base=2) ** 2 for a, b in zip(p, t, strict=True)])
        assert told["value"] == pytest.approx(expected, abs=1e-9)
        assert told["clips"] == len(ids) < len(RunFolder(tmp_path).utterances)
        values[fold] = told["value"]
    assert values[0] != values[1]  # the second was told without the model: the scores were there


def test_a_training_is_judged_by_what_its_development_clips_had_when_they_chose(tiny_whisper_path, tmp_path):
    more = ("optimize=js_divergence", "dataset.fold=all", "dataset.partition.folds=3", "head.members=2")
    asked = settings_of("train", tiny_whisper_path, tmp_path, *more)
    training.run(asked)
    curves = pd.read_csv(tmp_path / "learning_curves.csv")
    best = curves.groupby(["fold", "member"])["js_divergence"].min().groupby("fold").mean()
    assert len(best) == 3
    assert optimized.told(tmp_path, "js_divergence") == pytest.approx(best.mean(), abs=1e-12)
    (tmp_path / "optimized.json").unlink()
    training.run(settings_of("train", tiny_whisper_path, tmp_path, *more, "optimize=loss"))  # finished: told anew
    assert json.loads((tmp_path / "optimized.json").read_text())["metric"] == "loss"


@pytest.mark.parametrize(
    ("verb", "more", "said"),
    [
        ("probe", ["optimize=js"], "'js' is no metric of the labels of basic6"),
        ("probe", ["optimize=loss"], "'loss' is no metric"),
        ("probe", ["optimize=uar", "dataset.fold=all", "dataset.split=all"], "every clip is developed on and tested"),
        ("probe", ["optimize=uar"], "clips to be tested are not chosen by"),
        ("probe", ["optimize=uar", "dataset.shard=1/2"], "a part of a corpus says nothing of the whole"),
        ("probe", ["optimize=uar", "experiment=text_against_tokens"], "none is the one"),
        ("train", ["optimize=uar", "experiment=finetuning_study"], "none is the one"),
        ("train", ["optimize=ccc"], "'ccc' is no metric of the labels of basic6"),
    ],
)
def test_what_cannot_be_optimised_is_refused(verb, more, said, console, tmp_path):
    done = console(verb, *more, f"hydra.run.dir={tmp_path}")
    assert done.status == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_a_corpus_without_a_development_part_is_refused_before_its_model_is_loaded(console, tmp_path):
    asked = ("model=whisper", "model.path=nowhere", "dataset.split=train", "optimize=uar")
    asked += ("dataset.partition.kind=official",)
    done = console("probe", *asked, "logger=none", f"hydra.run.dir={tmp_path}")
    assert done.status == 2
    assert "dataset.partition" in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_what_is_undefined_is_told_to_nobody(tiny_whisper_path, tmp_path, monkeypatch):
    asked = settings_of("train", tiny_whisper_path, tmp_path, "optimize=js_divergence")
    training.run(asked)
    head = tmp_path / "head_fold0" / "head.json"
    facts = json.loads(head.read_text())
    del facts["development"][0]["js_divergence"]
    head.write_text(json.dumps(facts))
    with pytest.raises(Exception, match="no finite value on the development clips"):
        optimized.tell_of_training(asked)


def test_a_sweeper_that_optimises_needs_a_metric_and_its_direction(console, tmp_path):
    sweep = partial(console, "train", "-m", "experiment=tune_probe", f"hydra.sweep.dir={tmp_path / 'new'}")
    for more, said in (
        (["optimize=null"], "the sweeper optimises, and is told nothing"),
        (["optimize=uar"], "more uar is better, and the sweeper is told otherwise"),
        (["hydra.sweeper.direction=maximize"], "Use hydra.sweeper.direction=minimize."),
        (["hydra.sweeper.direction=[minimize,maximize]"], "a job has one value"),
    ):
        done = sweep(*more)
        assert done.status == 2
        assert said in done.err
        assert len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_the_same_search_again_repeats_no_trial(tiny_whisper_path, tmp_path, console):
    asked = ["-m", "experiment=tune_probe", "model=whisper", f"model.path={tiny_whisper_path}", *QUICK, *TRAIN]
    asked += [f"hydra.sweep.dir={tmp_path}"]
    first = console("train", *asked, "hydra.sweeper.n_trials=2")
    assert first.status == 0, first.out + first.err
    found = (tmp_path / "optimization_results.yaml").read_text()
    values = [json.loads((tmp_path / job / "job.json").read_text())["value"] for job in "01"]
    assert f"best_value: {min(values)}" in found
    again = console("train", *asked, "hydra.sweeper.n_trials=3")
    assert again.status == 0, again.out + again.err
    assert again.out.count("done before") == 2
    assert len(list(tmp_path.glob("*/job.json"))) == 3


def test_a_search_in_which_all_fails_ends_in_one_line(tiny_whisper_path, tmp_path, console):
    asked = ["-m", "experiment=tune_probe", "model=whisper", f"model.path={tiny_whisper_path}", *QUICK, *TRAIN]
    done = console("train", *asked, "hydra.sweeper.n_trials=2", "fit.max_epochs=0", f"hydra.sweep.dir={tmp_path}")
    assert done.status == 1
    assert done.out.count("failed: 0 is not a whole number") == 2
    assert done.err.splitlines()[-1].startswith("error: no trial of the search has a value")
    assert "No trials are completed" not in done.err  # no traceback
