"""The Python API: the verbs, on a tiny model and made-up corpora; what they give is what the commands give."""

from __future__ import annotations

import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import soundfile

import emoprobe
from emoprobe.errors import InputError
from emoprobe.recipes import probe as recipe
from emoprobe.recipes.settings import read_probe
from emoprobe.settings import compose

QUIET = ["trainer.enable_progress_bar=false", "analysis.figures=false", "analysis.resamples=20"]


@pytest.fixture(scope="module")
def model(tiny_whisper_path) -> emoprobe.Model:
    return emoprobe.load_model("whisper", path=tiny_whisper_path)


@pytest.fixture
def sound() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)


def test_the_import_is_light():
    code = (
        "import emoprobe, sys; dir(emoprobe); print(sorted(set(sys.modules) & {'torch', 'pandas', 'hydra', 'numpy'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_verb_is_there_and_nothing_else_is():
    assert {"load_model", "load_corpus", "probe", "train", "open_run"} <= set(emoprobe.__all__) <= set(dir(emoprobe))
    assert all(getattr(emoprobe, name).__doc__ for name in emoprobe.__all__)
    with pytest.raises(AttributeError, match="no attribute 'prob'"):
        _ = emoprobe.prob


def test_a_clip_is_read_as_a_run_reads_it(model, tiny_whisper_path, tmp_path):
    options = [f"model.path={tiny_whisper_path}", "model=whisper", "dataset.limit=2", "logger=none", *QUIET]
    folder = recipe.run(read_probe(compose([*options, "prompt=voice_sounds", f"output_dir={tmp_path / 'run'}"])))
    run = emoprobe.open_run(folder)
    clips = run.utterances.query("role == 'evaluated'")["audio"].tolist()
    together = model.read(clips, prompt="voice_sounds")
    stored = run.predictions.query("calibration == 'none'")
    for i, name in enumerate(run.utterances.query("role == 'evaluated'")["utterance_id"]):
        alone = model.read(clips[i], prompt="voice_sounds")
        for cell, probs in alone.distributions.items():
            rows = stored[(stored["utterance_id"] == name) & (stored["readout"] == cell.readout)]
            row = rows[rows["variant"] == cell.variant].iloc[0]
            expected = row[[f"p_{label}" for label in alone.labels]].to_numpy(float)
            np.testing.assert_allclose(probs, expected, atol=2e-6, rtol=0)
            np.testing.assert_allclose(together.distributions[cell][i], expected, atol=2e-6, rtol=0)


def test_an_array_is_a_clip(model, sound, tmp_path):
    soundfile.write(tmp_path / "a.wav", sound, 16_000, subtype="FLOAT")
    asked = {"prompt": "voice_sounds", "readout": "label_likelihood"}
    file, array = model.read(str(tmp_path / "a.wav"), **asked), model.read(sound, sampling_rate=16_000, **asked)
    np.testing.assert_array_equal(file["label_likelihood"], array["label_likelihood"])
    assert file["label_likelihood"].sum() == pytest.approx(1)
    with pytest.raises(InputError, match="needs its sampling rate"):
        model.read(sound)


def test_a_long_clip_is_read_in_windows(model, tmp_path):
    long = np.random.default_rng(1).normal(0, 0.1, 40_001).astype(np.float32) * np.linspace(
        0, 2, 40_001, dtype=np.float32
    )
    asked = {"sampling_rate": 16_000, "prompt": "bare_label", "readout": "label_likelihood"}
    halves = [model.read(half, **asked)["label_likelihood"] for half in (long[:20_000], long[20_000:])]
    limits = ["dataset.audio.max_seconds=2", "dataset.audio.long_audio=window"]
    found = model.read(long, **asked, overrides=limits)["label_likelihood"]
    np.testing.assert_allclose(found, np.mean(halves, axis=0), atol=1e-6)


def test_beliefs_are_small_and_open(model, sound):
    beliefs = model.read(sound, sampling_rate=16_000, prompt=["voice_sounds", "speaker_feeling"])
    frame = beliefs.to_frame()
    assert set(frame["prompt"]) >= {"voice_sounds", "speaker_feeling"}
    ok = frame[frame["status"] == "ok"]
    assert len(ok)
    np.testing.assert_allclose(ok[[f"p_{label}" for label in beliefs.labels]].sum(axis=1), 1)
    assert all(0 <= mass <= 1 for mass in beliefs.label_mass.values() if not np.isnan(mass))
    assert all(isinstance(text, str) for text in beliefs.text.values())
    assert "label_likelihood" in str(beliefs)
    assert "<table" in beliefs._repr_html_()
    with pytest.raises(KeyError, match=r"there are .*label_likelihood/sum"):
        _ = beliefs["likelihood"]
    axes = beliefs.plot()
    assert [text.get_text() for text in axes.get_xticklabels()] == list(beliefs.labels)
    plt.close("all")


def test_words_and_a_sentence_of_ones_own(model, sound):
    beliefs = model.read(
        sound, sampling_rate=16_000, prompt="It sounds {label}.", labels=["calm", "tense"], readout="label_likelihood"
    )
    assert beliefs.labels == ("calm", "tense")
    assert beliefs["label_likelihood"].shape == (2,)


def test_a_calibration_that_needs_no_votes(model, sound):
    asked = {"sampling_rate": 16_000, "prompt": "voice_sounds", "readout": "label_likelihood"}
    plain = model.read(sound, **asked)["label_likelihood"]
    found = model.read(sound, **asked, calibration="contextual_silence", overrides=["null_inputs.seconds=0.5"])
    taken = found["label_likelihood"]
    assert taken.sum() == pytest.approx(1)
    assert not np.allclose(taken, plain)


def test_probing_gives_what_the_command_gives(model, tiny_whisper_path, tmp_path):
    corpus = emoprobe.load_corpus("demo", limit=3)
    run = emoprobe.probe(
        model,
        corpus,
        prompt="voice_sounds",
        readout="label_likelihood",
        calibration="none",
        logger="none",
        output_dir=tmp_path / "api",
        overrides=QUIET,
    )
    options = [f"model.path={tiny_whisper_path}", "model=whisper", "dataset.limit=3", "logger=none", *QUIET]
    options += ["prompt=voice_sounds", "readout=label_likelihood", "calibration=none"]
    folder = recipe.run(read_probe(compose([*options, f"output_dir={tmp_path / 'command'}"])))
    command = emoprobe.open_run(folder)
    pd.testing.assert_frame_equal(run.scores, command.scores)
    pd.testing.assert_frame_equal(run.predictions, command.predictions)
    pd.testing.assert_frame_equal(run.metrics, command.metrics)
    assert len(corpus) == len(corpus.to_frame()) > 3
    tables = run.judge(resamples=20, figures=False)
    assert "strata" in tables
    page = run.report()
    assert page.name == "index.html"
    assert page.is_relative_to(run.folder)


@pytest.mark.parametrize(("head", "own"), [("linear_probe", ["head.layers=[-1]"]), ("lora", [])])
def test_training_leaves_the_model_as_it_was(model, sound, tmp_path, head, own):
    asked = {"sampling_rate": 16_000, "prompt": "voice_sounds", "readout": "label_likelihood"}
    before = model.read(sound, **asked)["label_likelihood"]
    overrides = [*QUIET, *own, "fit.max_epochs=1", "dataset.limit=20"]
    run = emoprobe.train(
        model, head=head, loss="soft_kl", logger="none", output_dir=tmp_path / "run", overrides=overrides
    )
    assert (run.metrics["readout"] == head).any()
    assert (run.folder / "head_fold0").is_dir()
    np.testing.assert_array_equal(model.read(sound, **asked)["label_likelihood"], before)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: emoprobe.load_model("whisper_bse"), "whisper_bse"),
        (lambda: emoprobe.load_corpus("cremad"), "dataset.root"),
        (lambda: emoprobe.load_corpus("manifest", path="/nowhere.csv"), "nowhere"),
        (lambda: emoprobe.open_run("/nowhere"), "nowhere"),
        (lambda: emoprobe.load_model("whisper base"), "no name of a configuration"),
    ],
)
def test_what_is_wrong_is_one_line(call, said):
    with pytest.raises(InputError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)
