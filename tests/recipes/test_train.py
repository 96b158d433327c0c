"""Training from configuration to files on a tiny frozen Whisper."""

from __future__ import annotations

import copy
import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from fitting import make_head

from emoprobe.cli.analyse import main as analyse_main
from emoprobe.errors import EmoprobeError, InputError
from emoprobe.labels import LabelSet
from emoprobe.metrics.functional import metrics_of
from emoprobe.recipes import train as recipe
from emoprobe.recipes.settings import read_train
from emoprobe.run.scores import read_scores
from emoprobe.settings import compose, plain
from emoprobe.training.bundle import load_bundle, save_bundle
from emoprobe.training.methods import lora, probe

EMOTIONS = ("anger", "disgust", "fear", "happy", "neutral", "sad")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    """Tones whose loudness tells the emotion: something a head can learn from any encoder."""
    folder = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(0)
    with (folder / "manifest.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["path", "utterance_id", "speaker", "split", *(f"votes_{name}" for name in EMOTIONS)])
        for i in range(30):
            kind = i % 2
            wave = np.sin(np.arange(8_000 + 200 * i) * (0.05 + 0.4 * kind)) * (0.02 + 0.5 * kind)
            soundfile.write(folder / f"{i}.wav", wave + rng.normal(0, 0.01, len(wave)), 16_000)
            votes = [7, 1, 0, 0, 2, 0] if kind else [0, 0, 1, 0, 3, 6]
            split = ("train", "train", "train", "development", "test")[i // 2 % 5]
            writer.writerow([f"{i}.wav", f"u{i}", f"s{i // 2 % 5}", split, *votes])
    return folder / "manifest.csv"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path_factory.getbasetemp() / "features"))


@pytest.mark.parametrize("head", ["linear_probe", "lora"])
def test_as_many_processes_read_ahead_as_asked(head, tiny_whisper_path, manifest, tmp_path, monkeypatch):
    class ReadError(Exception):
        pass

    def extract(*_, num_workers, **__):
        assert num_workers == 3
        raise ReadError

    monkeypatch.setattr(probe, "extract", extract)
    monkeypatch.setattr(lora, "extract", extract)
    with pytest.raises(ReadError):
        recipe.run(config(tiny_whisper_path, manifest, tmp_path, f"head={head}", "num_workers=3"))


def config(model, manifest, output, *overrides):
    return read_train(
        compose(
            [
                "model=whisper",
                f"model.path={model}",
                "model.device=cpu",
                *(["dataset=manifest", f"dataset.path={manifest}"] if manifest else ["dataset=demo"]),
                f"output_dir={output}",
                *([] if "head=lora" in overrides else ["head.layers=[-1]"]),
                "fit.max_epochs=30",
                "fit.learning_rate=0.02",
                "fit.batch_size=8",
                "logger=none",
                "analysis.figures=false",
                "trainer.enable_progress_bar=false",
                *overrides,
            ],
            "train",
        )
    )


@pytest.fixture(scope="module")
def finished(tiny_whisper_path, manifest, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOPROBE_CACHE", str(tmp_path_factory.getbasetemp() / "features"))
        output = tmp_path_factory.mktemp("train")
        return recipe.run(config(tiny_whisper_path, manifest, output, "dataset.fold=all", "analysis.figures=true"))


def rows_of(folder):
    return json.loads((folder / "metrics.json").read_text())["rows"]


def test_every_clip_is_tested_once_and_the_head_beats_the_floors(finished):
    scores = read_scores(finished).to_pandas()
    assert sorted(scores["utterance_id"]) == sorted(f"u{i}" for i in range(30))
    rows = {row["readout"]: row["metrics"]["js_divergence"] for row in rows_of(finished)}
    assert rows["linear_probe"] < 0.5 * min(rows["uniform"], rows["prior"])
    assert (finished / "figures" / "learning_curves.png").is_file()
    curves = pd.read_csv(finished / "learning_curves.csv")
    assert sorted(curves["fold"].unique()) == [0, 1, 2, 3, 4]


def test_the_reported_metrics_are_those_of_the_predictions(finished):
    from scipy.spatial.distance import jensenshannon

    predictions = pd.read_parquet(finished / "predictions.parquet")
    p = predictions[[f"p_{name}" for name in EMOTIONS]].to_numpy()
    q = predictions[[f"target_{name}" for name in EMOTIONS]].to_numpy()
    row = next(row for row in rows_of(finished) if row["readout"] == "linear_probe")
    assert row["metrics"]["js_divergence"] == pytest.approx((jensenshannon(p, q, base=2, axis=1) ** 2).mean())


def test_a_second_run_encodes_nothing_and_gives_the_same(finished, tiny_whisper_path, manifest, tmp_path, monkeypatch):
    from emoprobe.models.transcribers.whisper import Whisper

    monkeypatch.setattr(Whisper, "hear", lambda *arguments, **options: pytest.fail("the features are in the cache"))
    again = recipe.run(config(tiny_whisper_path, manifest, tmp_path, "dataset.fold=all"))
    first, second = (read_scores(run).to_pandas().set_index("utterance_id").sort_index() for run in (finished, again))
    np.testing.assert_array_equal(np.stack(first["form_logprobs"]), np.stack(second["form_logprobs"]))


def test_other_seeds_differ_and_members_are_averaged(tiny_whisper_path, manifest, tmp_path):
    def probabilities(folder):
        return np.exp(np.stack(read_scores(folder).to_pandas().sort_values("utterance_id")["form_logprobs"]))

    short = ["head=mlp_probe", "head.layers=[-1]", "fit.max_epochs=3", "head.hidden=8"]
    runs_of = {
        name: recipe.run(config(tiny_whisper_path, manifest, tmp_path / name, *short, *options))
        for name, options in {
            "one": ["head.members=1"],
            "other": ["head.members=1", "seed=1"],
            "two": ["head.members=2"],
        }.items()
    }
    assert not np.allclose(probabilities(runs_of["one"]), probabilities(runs_of["other"]))
    bundle = load_bundle(runs_of["two"] / "head_fold0")
    assert len(bundle.weights) == 2
    torch.testing.assert_close(load_bundle(runs_of["one"] / "head_fold0").weights[0], bundle.weights[0])


def test_only_the_prior_of_the_training_part_is_used(tiny_whisper_path, manifest, tmp_path):
    run = recipe.run(config(tiny_whisper_path, manifest, tmp_path, "dataset.fold=2"))
    prior = next(row for row in rows_of(run) if row["readout"] == "prior")
    assert prior["fitted_on"] == "training votes"
    utterances = pd.read_parquet(run / "utterances.parquet")
    speakers = utterances.groupby("role")["speaker"].unique().map(set).to_dict()
    assert not speakers["evaluated"] & speakers["training"]


def test_analysing_again_needs_no_model(finished):
    assert analyse_main([str(finished), "calibration=none", "analysis.figures=false"]) == 0
    before, after = (pd.read_csv(path / "metrics.csv") for path in (finished, finished / "analysis"))
    np.testing.assert_allclose(before["js_divergence"], after["js_divergence"])


def test_a_head_is_tested_on_raters_who_did_not_teach_it(tiny_whisper_path, tmp_path):
    own = ["dataset.limit=36", "dataset.partition.folds=3", "dataset.partition.rater_folds=3"]
    folder = recipe.run(config(tiny_whisper_path, None, tmp_path, *own, "fit.max_epochs=3"))
    human = pd.read_parquet(folder / "utterances.parquet").set_index("utterance_id")
    tested, taught = (
        {rater for text in human.loc[human["role"] == role, "rater_votes"] for rater in json.loads(text)}
        for role in ("evaluated", "training")
    )
    assert (len(tested), len(taught)) == (8, 16)
    assert not tested & taught
    assert set(read_scores(folder).to_pandas()["utterance_id"]) == set(human.index[human["role"] == "evaluated"])


def test_members_are_averaged_as_probabilities():
    from emoprobe.training.batches import Clips
    from emoprobe.training.fit import predict

    heads = []
    for seed in range(3):
        torch.manual_seed(seed)
        heads.append(make_head({"name": "mlp_probe", "hidden": 4}, layers=1, kinds=2, width=5, num_labels=3).eval())
    stats = torch.randn(7, 1, 2, 5)
    ids = [str(i) for i in range(7)]
    clips = Clips(ids, lambda some: {"stats": stats[[int(i) for i in some]]}, torch.zeros(7, 3), torch.zeros(7, 3))
    expected = sum(head({"stats": stats}).double().exp() for head in heads) / 3
    torch.testing.assert_close(predict(heads, clips, 4).exp(), expected)


@pytest.mark.parametrize("loss", ["soft_ce", "js", "hard_ce", "dirichlet"])
def test_every_loss_learns(tiny_whisper_path, manifest, tmp_path, loss):
    run = recipe.run(config(tiny_whisper_path, manifest, tmp_path, f"loss={loss}"))
    rows = {row["readout"]: row["metrics"] for row in rows_of(run)}
    assert rows["linear_probe"]["wa"] == 1.0
    assert rows["linear_probe"]["js_divergence"] < rows["uniform"]["js_divergence"]


def test_a_bundle_never_loads_wrongly(finished, tiny_whisper_path, tmp_path):
    from emoprobe.models.load import load_transcriber

    bundle = load_bundle(finished / "head_fold0")
    labels = LabelSet(**plain(compose([]).labels))
    sfm = load_transcriber(str(tiny_whisper_path), path=tiny_whisper_path, device="cpu")
    sfm.name, sfm.revision = bundle.facts["model"], bundle.facts["revision"]
    bundle.method(sfm, labels).restore(bundle.weights[0])
    with pytest.raises(InputError, match="trained for labels"):
        bundle.method(sfm, LabelSet(labels.name, labels.labels[::-1], labels.words))
    for name in ("name", "revision"):
        other = copy.copy(sfm)
        setattr(other, name, "another")
        with pytest.raises(InputError, match=r"trained for (model|revision)"):
            bundle.method(other, labels)
    changed = copy.copy(sfm)
    changed.model = copy.deepcopy(sfm.model)
    with torch.no_grad():
        changed.model.proj_out.weight += 1
    with pytest.raises(InputError, match="trained for model_weights"):
        bundle.method(changed, labels)

    for change in ("missing", "unexpected", "shape"):
        edited = dict(bundle.weights[0])
        if change == "missing":
            edited.pop("body.bias")
        else:
            edited["extra" if change == "unexpected" else "body.bias"] = torch.zeros(1)
        again = load_bundle(save_bundle(tmp_path / change, [edited], bundle.facts))
        with pytest.raises(InputError, match="do not fit"):
            again.method(sfm, labels).restore(again.weights[0])


def edits(value, path=()):
    """Every field of a record, each with another value in turn: ``(path, edited record)``."""
    for key, own in value.items() if isinstance(value, dict) else enumerate(value):
        changed = copy.deepcopy(value)
        if isinstance(own, dict | list) and own:
            for place, inner in edits(own, (*path, key)):
                changed[key] = inner
                yield place, copy.deepcopy(changed)
        else:
            changed[key] = not own if isinstance(own, bool) else own + 1 if isinstance(own, int | float) else "edited"
            yield (*path, key), changed
    if isinstance(value, list) and len(value) > 1 and value != value[::-1]:
        yield (*path, "order"), value[::-1]


def test_no_field_of_a_record_can_be_edited_and_no_weight_exchanged(finished, tmp_path):
    for name in ("head.json", "head.safetensors"):
        shutil.copy(finished / "head_fold0" / name, tmp_path / name)
    facts = json.loads((tmp_path / "head.json").read_text())
    short = facts | {"curves": facts["curves"][:1]}  # they are many, and alike
    assert load_bundle(tmp_path).facts == facts

    def refused(match):
        with pytest.raises(InputError, match=match) as caught:
            load_bundle(tmp_path)
        assert "\n" not in str(caught.value)

    tried = set()
    for place, edited in edits(short):
        (tmp_path / "head.json").write_text(json.dumps(edited | {"curves": facts["curves"]}))
        if edited["curves"] == short["curves"]:
            refused("version" if place == ("version",) else "changed after training")
            tried.add(place[0])
    assert tried == set(facts) - {"curves"}
    for field in facts:
        (tmp_path / "head.json").write_text(json.dumps({k: v for k, v in facts.items() if k != field}))
        refused(r"changed after training|KeyError: 'version'")
    (tmp_path / "head.json").write_text(json.dumps(facts | {"added": 1}))
    refused("changed after training")
    (tmp_path / "head.json").write_text(json.dumps(facts | {"version": 2}))
    refused(r"version 2, this emoprobe reads 3.*train the head again")

    (tmp_path / "head.json").write_text(
        json.dumps(dict(sorted(facts.items())), indent=None)
    )  # another layout, same facts
    assert load_bundle(tmp_path).facts == facts
    whole = (tmp_path / "head.safetensors").read_bytes()
    for place in (20, len(whole) // 2, len(whole) - 1):
        content = bytearray(whole)
        content[place] ^= 1
        (tmp_path / "head.safetensors").write_bytes(content)
        refused("not the weights that head.json")
    shutil.copy(finished / "head_fold1" / "head.safetensors", tmp_path)
    refused("not the weights that head.json")
    (tmp_path / "head.safetensors").unlink()
    refused("not a readable head")


def test_a_loss_that_is_not_a_number_names_the_clips(tiny_whisper_path, manifest, tmp_path, monkeypatch):
    from emoprobe.training.fit import ReaderModule

    monkeypatch.setattr(ReaderModule, "output", lambda self, batch: self.reader(batch) * torch.nan)
    with pytest.raises(EmoprobeError, match=r"the loss is nan in epoch 0; the batch held u\d+"):
        recipe.run(config(tiny_whisper_path, manifest, tmp_path))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["dataset.fold=9"], "fold"),
        (["head.layers=[7]"], "no layer 7"),
        (["head.kinds=[median]"], r"'median' is not one of mean, std, max .*head\.kinds"),
        (["head.hidden=3"], "hidden"),
        (["loss.name=sharpness"], r"unknown loss 'sharpness' .*loss\.name"),
        (["fit.schedule=steps"], r"'steps' is not one of .*fit\.schedule"),
        (["fit.monitor=beauty"], r"'beauty' is not .*fit\.monitor"),
        (["fit.learning_rate=0"], r"0 is not a number above 0 .*fit\.learning_rate"),
        (["dataset.partition.by=session"], "session"),
        (["dataset.split=test"], r"dataset\.split"),
        (["head=lora", "dataset.audio.long_audio=window"], r"not in windows .*long_audio.*=linear_probe"),
        (["dataset.audio.max_seconds=0.2"], r"longer than 0\.2 s .*long_audio"),
    ],
)
def test_mistakes_are_named(tiny_whisper_path, manifest, tmp_path, overrides, message):
    with pytest.raises(EmoprobeError, match=message):
        recipe.run(config(tiny_whisper_path, manifest, tmp_path, *[f"+{o}" if "hidden" in o else o for o in overrides]))


def test_one_label_alone_cannot_be_learned(tiny_whisper_path, manifest, tmp_path):
    lines = manifest.read_text().splitlines()
    only = [line.rsplit(",", 6)[0] + ",9,0,0,0,0,0" for line in lines[1:]]
    other = manifest.with_name("one_label.csv")
    other.write_text("\n".join([lines[0], *only]) + "\n")
    with pytest.raises(InputError, match="all 18 training clips have the same soft label"):
        recipe.run(config(tiny_whisper_path, other, tmp_path))


def logged(run: Path) -> pd.DataFrame:
    (file,) = run.glob("csv/**/metrics.csv")
    return pd.read_csv(file)


def test_every_value_reaches_the_tracker(tiny_whisper_path, manifest, tmp_path):
    run = recipe.run(config(tiny_whisper_path, manifest, tmp_path, "logger=csv", "fit.max_epochs=4"))
    table, curves = logged(run), pd.read_csv(run / "learning_curves.csv")
    assert len(curves) == 4
    for name in ("loss", *metrics_of()):
        kept = table[f"dev/{name}"].replace(np.inf, np.nan).dropna()
        np.testing.assert_array_equal(kept, curves["dev_loss" if name == "loss" else name].dropna())
    np.testing.assert_array_equal(table["train/loss"].dropna(), curves["train_loss"])
    rates = table["lr-AdamW"].dropna()
    np.testing.assert_allclose(rates, 0.02 * (1 + np.cos(np.pi * np.arange(4) / 4)) / 2)


def test_several_fits_of_a_run_stay_apart_in_the_tracker(tiny_whisper_path, manifest, tmp_path):
    options = ["logger=csv", "fit.max_epochs=3", "dataset.fold=all", "dataset.partition.folds=3", "head.members=2"]
    run = recipe.run(config(tiny_whisper_path, manifest, tmp_path, *options))
    table, curves = logged(run), pd.read_csv(run / "learning_curves.csv")
    for (fold, member), own in curves.groupby(["fold", "member"]):
        rows = table.dropna(subset=f"fold{fold}/member{member}/dev/js_divergence")
        np.testing.assert_array_equal(rows[f"fold{fold}/member{member}/dev/js_divergence"], own["js_divergence"])
    steps = table.dropna(subset="fold2/member1/dev/wa")["step"]
    assert steps.min() > table.dropna(subset="fold0/member0/dev/wa")["step"].max()  # one axis


@pytest.mark.parametrize("head", ["linear_probe", "lora"])
def test_mixed_precision_learns(tiny_whisper_path, manifest, tmp_path, head):
    options = [f"head={head}", "trainer.precision=bf16-mixed", "fit.max_epochs=3"]
    run = recipe.run(config(tiny_whisper_path, manifest, tmp_path, *options))
    losses = pd.read_csv(run / "learning_curves.csv")["train_loss"]
    assert losses.iloc[-1] < losses.iloc[0]


def test_a_further_process_that_no_run_has_started_is_told_how_to_start_it(tmp_path, monkeypatch):
    from emoprobe.training.resume import check_folder

    monkeypatch.setenv("LOCAL_RANK", "1")  # as torchrun does it, each process with a folder of its own
    with pytest.raises(InputError, match=r"finds no training run .*trainer\.devices=N"):
        check_folder(tmp_path, None)
