"""Trained readouts used again: beside zero-shot in probe.py, merged into a checkpoint, taken up after a stop."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from console import TWO, alone
from scipy.spatial.distance import jensenshannon

from emoprobe.cli.export import main as export_main
from emoprobe.data.corpora.demo import read_demo
from emoprobe.data.sound.audio import read_audio
from emoprobe.errors import InputError
from emoprobe.models.load import load_transcriber
from emoprobe.prompts.prompt import make_prompts
from emoprobe.readout.scoring.plan import make_plan
from emoprobe.recipes import probe as probing
from emoprobe.recipes import train as recipe
from emoprobe.recipes.inputs import prepare_run
from emoprobe.recipes.settings import read_dataset, read_labels, read_probe, read_train
from emoprobe.run.scores import read_scores
from emoprobe.settings import compose, plain
from emoprobe.training.fit import ReaderModule


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOPROBE_CACHE", str(tmp_path_factory.getbasetemp() / "features"))
        yield


def train(model, output, *overrides):
    common = ["model=whisper", f"model.path={model}", "model.device=cpu", f"output_dir={output}", "logger=none"]
    quick = [
        "fit.max_epochs=3",
        "fit.learning_rate=0.01",
        "analysis.figures=false",
        "analysis.resamples=50",
        "fit.checkpoint_seconds=0",
    ]
    layers = [] if "head=lora" in overrides else ["head.layers=[-1]"]
    options = ["dataset.limit=48", *common, *overrides, *layers, *quick, "trainer.enable_progress_bar=false"]
    return recipe.run(read_train(compose(options, "train")))


def probe(model, output, *overrides):
    common = ["model=whisper", f"model.path={model}", "model.device=cpu", f"output_dir={output}", "logger=none"]
    quick = [
        "readout=[]",
        "calibration=standard",
        "analysis.figures=false",
        "analysis.resamples=50",
        "trainer.enable_progress_bar=false",
    ]
    same_clips = ["dataset.split=all", "dataset.limit=48"]
    return probing.run(read_probe(compose([*same_clips, *common, *quick, "null_inputs.seconds=0.2", *overrides])))


def log_probs(run, readout):
    frame = read_scores(run).to_pandas()
    frame = frame[frame["readout"] == readout].set_index("utterance_id").sort_index()
    return frame.index.tolist(), np.stack(frame["form_logprobs"])


@pytest.fixture(scope="module")
def trained(tiny_whisper_path, tmp_path_factory):
    """A run per kind of head, on one fold of the demo corpus."""
    root = tmp_path_factory.mktemp("trained")
    heads = {
        "linear_probe": [],
        "lora": ["head=lora", "head.rank=2"],
        "lora_probe": ["head=lora_probe", "head.rank=2", "head.members=2"],
        "decoder": ["head.source=decoder"],
        "attentive": ["head=mlp_probe", "head.pooling=attentive", "head.members=1", "head.attention=4"],
    }
    return {name: train(tiny_whisper_path, root / name, *options) for name, options in heads.items()}


@pytest.mark.parametrize("kind", ["linear_probe", "lora", "lora_probe", "decoder", "attentive"])
def test_a_bundle_gives_what_training_reported(trained, tiny_whisper_path, tmp_path, kind):
    run = trained[kind]
    record = json.loads((run / "run.json").read_text())
    assert record["near_silent"] == {"below_dbfs": -70, "utterances": []}
    name = record["head"]["name"]
    again = probe(tiny_whisper_path, tmp_path, "head=bundle", f"head.path={run / 'head_fold0'}")
    (ids, first), (names, second) = log_probs(run, name), log_probs(again, name)
    assert ids == names  # the clips that it was trained and developed on are left out
    np.testing.assert_allclose(first, second, atol=2e-4)
    assert json.loads((again / "run.json").read_text())["num_skipped"] == {"seen_in_training": 36}
    prompts = set(read_scores(again).to_pandas()["prompt"])
    assert prompts == ({"-"} if kind in ("linear_probe", "attentive") else {"speaker_feeling"})


def test_head_and_zero_shot_stand_in_one_table_and_the_run_can_be_repeated(trained, tiny_whisper_path, tmp_path):
    options = [
        "readout=label_likelihood",
        "calibration=standard",
        "head=bundle",
        f"head.path={trained['lora'] / 'head_fold0'}",
        "head.seen=evaluate",
        "dataset.limit=6",
    ]
    for _ in range(2):  # the second time into the same folder: scores are taken over, the head is read again
        run = probe(tiny_whisper_path, tmp_path, *options)
        rows = pd.read_csv(run / "metrics.csv")
        found = set(zip(rows["readout"], rows["calibration"].fillna("none"), strict=True))
        assert {("lora", "none"), ("label_likelihood", "none"), ("label_likelihood", "contextual_silence")} <= found
        assert ("lora", "contextual_silence") not in found
        # It is judged on clips that it was trained on, so its row saw the votes that it is judged by.
        assert set(rows.loc[rows["readout"] == "lora", "fitted_on"]) == {"evaluated votes"}
        assert len(read_scores(run).filter(read_scores(run)["readout"].to_numpy() == "lora")) == 6


def test_a_merged_checkpoint_is_the_tuned_model(trained, tiny_whisper_path, tmp_path, capsys):
    bundle = str(trained["lora"] / "head_fold0")
    model = ["model=whisper", f"model.path={tiny_whisper_path}", "model.device=cpu"]
    assert export_main([bundle, str(tmp_path / "merged"), *model]) == 0
    plain = ["readout=label_likelihood", "calibration=none", "null_inputs.kinds=[]"]
    run = probe(tmp_path / "merged", tmp_path / "run", *plain)
    predictions = pd.read_parquet(run / "predictions.parquet").set_index("utterance_id")
    ids, expected = log_probs(trained["lora"], "lora")
    labels = json.loads((run / "run.json").read_text())["labels"]["labels"]
    found = predictions.loc[ids, [f"p_{label}" for label in labels]].to_numpy()
    np.testing.assert_allclose(found, np.exp(expected), atol=1e-4)
    capsys.readouterr()
    for arguments, message in (
        ([bundle, str(tmp_path / "merged"), *model], "not empty"),
        ([str(trained["linear_probe"] / "head_fold0"), str(tmp_path / "x"), *model], "cannot be merged"),
        ([bundle, str(tmp_path / "x"), *model, "labels=basic4"], "trained for labels"),
    ):
        assert export_main(arguments) == 2
        assert message in capsys.readouterr().err


def test_drift_is_that_between_the_model_and_its_merged_checkpoint(trained, tiny_whisper_path, tmp_path, console):
    bundle, asked = trained["lora"] / "head_fold0", ["model=whisper", "model.device=cpu"]
    assert console("export", bundle, tmp_path / "merged", *asked, f"model.path={tiny_whisper_path}").status == 0
    words = [*asked, f"model.path={tiny_whisper_path}", "dataset.limit=5", "--resamples", "50", "-o", tmp_path / "new"]
    done = console("drift", bundle, *words)
    assert done.status == 0, done.err
    assert "decoder: CKA is lowest" in done.out
    assert "beliefs: JS between before and after is highest" in done.out
    assert (tmp_path / "new" / "drift.png").stat().st_size > 10_000
    found = pd.read_csv(tmp_path / "new" / "drift.csv").set_index(["part", "layer"])
    models = [load_transcriber("tiny", path=path, device="cpu") for path in (tiny_whisper_path, tmp_path / "merged")]
    config = compose(["dataset.limit=5"], "train")
    labels = read_labels(config)
    items = prepare_run(read_dataset(config), read_demo(), labels).items
    waves = [torch.from_numpy(read_audio(item.utterance.audio).waveform) for item in items]
    plans = [make_plan(model, make_prompts(plain(config.prompt), labels)[0], labels) for model in models]
    contexts = [model.encode(waves) for model in models]
    states = [m.hidden_states(c, p.question) for m, c, p in zip(models, contexts, plans, strict=True)]
    assert np.isnan(found.loc[("decoder", 0), "cka"])  # the same token after every clip
    for layer in list(states[0])[1:]:
        x, y = ((one[layer] - one[layer].mean(0)).double() for one in states)
        cka = ((y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())).item()
        assert found.loc[("decoder", layer), "cka"] == pytest.approx(cka, abs=1e-4)
    likelihoods = [
        torch.stack([form.sum(-1) for form in m.score(c, [p.question])[0]], -1)
        for m, c, p in zip(models, contexts, plans, strict=True)
    ]
    own = [[i for i, owner in enumerate(plans[0].labels) if owner == label] for label in labels.labels]
    beliefs = [torch.stack([one[:, i].logsumexp(-1) for i in own], -1).softmax(-1) for one in likelihoods]
    js = np.mean(
        [jensenshannon(*pair, 2) ** 2 for pair in zip(*(one.double().numpy() for one in beliefs), strict=True)]
    )
    assert js > 1e-4
    assert found.loc["decoder"]["js"].iloc[-1] == pytest.approx(js, rel=0.01)
    refused = console("drift", trained["linear_probe"] / "head_fold0", *words)
    assert refused.status == 2
    assert "stands beside its model and changes nothing in it" in refused.err
    heads = console("drift", trained["lora_probe"] / "head_fold0", *words[:-1], tmp_path / "members", "--no-figures")
    assert heads.status == 0, heads.err
    assert set(pd.read_csv(tmp_path / "members" / "drift.csv")["member"]) == {0, 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["head=linear_probe"], "emoprobe probe trains nothing"),
        (["head=bundle", "head.path=nowhere"], "not a readable head"),
        (
            ["head=bundle", "head.path={path}", "head.seen=perhaps"],
            r"'perhaps' is not one of leave_out, evaluate .*head\.seen",
        ),
        (["head=bundle", "head.path={path}", "labels=basic4", "dataset.soft_label.outside=drop"], "trained for labels"),
        (
            ["head=bundle", "head.path={lora}", "labels.forms=capitalised"],
            r"trained for prompt_hash .* Use the prompt and labels\.forms it was trained with",
        ),
        (["head=bundle", "head.path={lora}", "dataset.audio.long_audio=window"], "in one piece and not in windows"),
        ([], "no readout was chosen"),
    ],
)
def test_mistakes_are_named(trained, tiny_whisper_path, tmp_path, options, message):
    places = {"path": trained["linear_probe"] / "head_fold0", "lora": trained["lora"] / "head_fold0"}
    with pytest.raises(InputError, match=message):
        probe(tiny_whisper_path, tmp_path, *[option.format(**places) for option in options])


# Interrupted runs.


class _StopError(Exception):
    pass


@pytest.mark.parametrize("head", ["mlp_probe", "lora"])
def test_an_interrupted_run_ends_with_the_same_numbers(tiny_whisper_path, tmp_path, monkeypatch, head):
    options = ["head=mlp_probe", "head.members=2", "head.hidden=8"] if head == "mlp_probe" else ["head=lora"]
    options += ["dataset.fold=all", "dataset.partition.folds=3"]
    whole = train(tiny_whisper_path, tmp_path / "whole", *options)
    validated = ReaderModule.on_validation_epoch_end
    # in the second epoch of a fit; between two folds; in a later member
    for stop_after in ({"mlp_probe": (2, 6, 10)} | {"lora": (2, 6)})[head]:
        calls = 0

        def stop(self, stop_after=stop_after):
            nonlocal calls
            calls += 1
            if calls > stop_after:
                raise _StopError
            validated(self)

        monkeypatch.setattr(ReaderModule, "on_validation_epoch_end", stop)
        place = tmp_path / f"stopped{stop_after}"
        with pytest.raises(_StopError):
            train(tiny_whisper_path, place, *options)
        monkeypatch.setattr(ReaderModule, "on_validation_epoch_end", validated)
        with pytest.raises(InputError, match=r"holds another training run .*\n  seed: 0 -> 1$"):
            train(tiny_whisper_path, place, *options, "seed=1")
        there = stop_after != 6  # in its own folder, or in a new one
        elsewhere = [] if there else [f"resume={place}"]
        resumed = train(tiny_whisper_path, place if there else tmp_path / "resumed", *options, *elsewhere)
        (ids, first), (names, second) = log_probs(whole, head), log_probs(resumed, head)
        assert ids == names
        np.testing.assert_array_equal(first, second)
        curves = [pd.read_csv(run / "learning_curves.csv") for run in (whole, resumed)]
        pd.testing.assert_frame_equal(*curves)
        assert not (resumed / "checkpoints").exists()


def test_nothing_to_go_on_from(tiny_whisper_path, tmp_path):
    with pytest.raises(InputError, match="this folder holds no training run"):
        train(tiny_whisper_path, tmp_path / "a" / "b" / "new", f"resume={tmp_path}")


# Two processes.


@pytest.mark.parametrize("head", ["linear_probe", "lora"])
@pytest.mark.slow
def test_two_processes_give_the_reader_of_one(tiny_whisper_path, tmp_path, head, console):
    """48 training clips minus fold and development leave batches that do not divide by two."""
    shared = [
        "head=" + head,
        "model=whisper",
        f"model.path={tiny_whisper_path}",
        "model.device=cpu",
        "fit.max_epochs=3",
        "fit.batch_size=7",
        "logger=none",
        "dataset.limit=41",
        "analysis.figures=false",
        "trainer.accelerator=cpu",
        "trainer.enable_progress_bar=false",
        *(["head.layers=[-1]"] if head == "linear_probe" else ["head.dropout=0", "head.rank=2"]),
    ]
    for done in (
        console("train", *shared, f"hydra.run.dir={tmp_path / 'one'}"),
        alone("train", *shared, *TWO, f"hydra.run.dir={tmp_path / 'two'}"),
    ):
        assert done.status == 0, done.out[-2000:] + done.err[-4000:]
        assert done.out.count("JS ↓") == 1  # one process speaks
    (ids, first), (names, second) = (log_probs(tmp_path / name, head) for name in ("one", "two"))
    assert ids == names
    assert len(ids) == len(set(ids))
    np.testing.assert_allclose(first, second, atol=1e-5)
    one, two = (pd.read_csv(tmp_path / name / "learning_curves.csv") for name in ("one", "two"))
    pd.testing.assert_frame_equal(one, two, atol=1e-5)
    development = json.loads((tmp_path / "two" / "head_fold0" / "head.json").read_text())["development"][0]
    assert development["clips"] == one["clips"][0] > 0  # every development clip once


def test_epoch_batches_are_the_parts_of_one_epoch():
    from emoprobe.training.batches import EpochBatches, OwnPart

    whole = EpochBatches(23, 7, 3, lambda: 5)
    parts = [EpochBatches(23, 7, 3, lambda: 5, rank=rank, world=2) for rank in range(2)]
    batches = list(whole)
    assert sorted(i for batch in batches for i, _ in batch) == list(range(23))
    for batch, *own in zip(batches, *parts, strict=True):
        together = [(i, share / 2) for part in own for i, share in part if share]
        assert sorted(i for i, _ in together) == sorted(i for i, _ in batch)
        assert [share for _, share in together] == pytest.approx([share for _, share in batch])
        assert len({len(part) for part in own}) == 1
    assert sorted(i for rank in range(2) for batch in OwnPart(23, 4, rank, 2) for i, _ in batch) == list(range(23))
    first = list(EpochBatches(23, 7, 3, lambda: 0))
    assert first != batches
    assert first == list(EpochBatches(23, 7, 3, lambda: 0))
