"""Heads on speech encoders, from configuration to files: probes, LoRA, bundles, and clips that are too short."""

from __future__ import annotations

import csv
import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from emoprobe.checks.tiny.encoders import KINDS, available, write
from emoprobe.data.sound.limits import AudioLimits
from emoprobe.data.utterance import Utterance
from emoprobe.errors import EmoprobeError, InputError
from emoprobe.models.load_encoder import load_encoder
from emoprobe.recipes import probe as probing
from emoprobe.recipes import train as recipe
from emoprobe.recipes.settings import read_probe, read_train
from emoprobe.settings import compose
from emoprobe.training.feature_spec import FeatureSpec
from emoprobe.training.features import extract

EMOTIONS = ("anger", "disgust", "fear", "happy", "neutral", "sad")


@pytest.fixture(autouse=True)
def place(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path_factory.getbasetemp() / "features"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder of a tiny encoder, written once."""
    root = tmp_path_factory.mktemp("encoders")

    @cache
    def written(name):
        kind = KINDS[name]
        if name not in available():
            pytest.skip(
                f"this transformers lacks {name}, or its feature extractor needs a library that is not installed"
            )
        return write(kind, root / re.sub(r"\W+", "_", name))

    return written


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    """Tones whose pitch tells the emotion, of different length; u7 has 600 samples, 37.5 ms."""
    root = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(0)
    with (root / "manifest.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["path", "utterance_id", "speaker", "split", *(f"votes_{name}" for name in EMOTIONS)])
        for i in range(30):
            kind = i % 2
            samples = 600 if i == 7 else 6_000 + 200 * i
            wave = np.sin(np.arange(samples) * (0.05 + 0.4 * kind)) * 0.3
            soundfile.write(root / f"{i}.wav", wave + rng.normal(0, 0.01, samples), 16_000)
            votes = [7, 1, 0, 0, 2, 0] if kind else [0, 0, 1, 0, 3, 6]
            split = ("train", "train", "train", "development", "test")[i // 2 % 5]
            writer.writerow([f"{i}.wav", f"u{i}", f"s{i // 2 % 5}", split, *votes])
    return root / "manifest.csv"


def overrides(model, manifest, output, *more):
    own = ["model=encoder", f"model.path={model}", "model.device=cpu", "dataset=manifest", f"dataset.path={manifest}"]
    own += [f"output_dir={output}", "logger=none", "analysis.figures=false", "trainer.enable_progress_bar=false"]
    return [*own, *more]


def train(model, manifest, output, *more):
    fit = ["fit.max_epochs=30", "fit.learning_rate=0.02", "fit.batch_size=8", "head.layers=[1]"]
    return recipe.run(read_train(compose(overrides(model, manifest, output, *fit, *more), "train")))


LORA = [
    "head=lora_probe",
    "head.source=encoder",
    "head.part=encoder",
    "fit.max_epochs=12",
    "fit.learning_rate=0.005",
    "head.rank=4",
]


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("wavlm", ["head=linear_probe"]),
        ("wav2vec2-bert", ["head=linear_probe", "head.layers=all", "head.combine=weighted"]),
        ("wavlm (classifier)", ["head=mlp_probe", "head.hidden=8"]),
        ("wav2vec2 (layer norm)", LORA),
        ("parakeet_tdt", LORA),
    ],
)
def test_a_head_on_an_encoder_learns_and_reads_elsewhere_what_it_read(folder, manifest, tmp_path, name, head):
    done = train(folder(name), manifest, tmp_path / "train", "dataset.on_error=skip", *head)
    rows = {row["readout"]: row["metrics"] for row in json.loads((done / "metrics.json").read_text())["rows"]}
    kind = head[0].partition("=")[2]
    assert rows[kind]["js_divergence"] < 0.75 * rows["uniform"]["js_divergence"]
    bundle = [
        "head=bundle",
        f"head.path={done}/head_fold0",
        "head.seen=evaluate",
        "readout=[]",
        "dataset.on_error=skip",
    ]
    again = probing.run(read_probe(compose(overrides(folder(name), manifest, tmp_path / "again", *bundle))))
    columns = [f"p_{label}" for label in EMOTIONS]
    first, second = (pd.read_parquet(run / "predictions.parquet") for run in (done, again))
    keys = ["utterance_id", "readout", "calibration"]
    both = first[first["readout"] == kind].merge(second, on=keys, suffixes=("", "_again"))
    both = both[both["calibration"] == "none"]
    assert len(both) == 6  # of the test split
    assert np.abs(both[columns].to_numpy() - both[[f"{c}_again" for c in columns]].to_numpy()).max() <= 1e-5


def test_clips_too_short_for_a_frame_are_left_out_with_a_reason(folder, manifest, tmp_path):
    model = folder("sew")  # of 720 samples at least
    shorter = "dataset.audio.min_seconds=0.01"
    for head in (["head=linear_probe"], LORA):
        kind = head[0].partition("=")[2]
        done = train(model, manifest, tmp_path / kind, shorter, "dataset.on_error=skip", *head)
        skipped = pd.read_csv(done / "skipped.csv")
        assert skipped[["utterance_id", "reason"]].to_numpy().tolist() == [["u7", "too_short"]]
        assert "0.045 s" in skipped["message"][0]
        with pytest.raises(EmoprobeError, match=r"0\.045 s.*7\.wav"):
            train(model, manifest, tmp_path / f"{kind}_strict", shorter, *head)


@torch.no_grad()
def test_pooled_features_are_those_of_a_plain_pass(folder, manifest, tmp_path):
    name = "wav2vec2-bert"
    sfm = load_encoder("tiny", path=folder(name), device="cpu")
    clips = [Utterance(id=f"u{i}", audio=manifest.parent / f"{i}.wav") for i in (0, 5, 12)]
    spec = FeatureSpec("encoder", (1,), ("mean", "std", "max"))
    found = extract(sfm, clips, spec, AudioLimits(), progress=False, cache_dir=tmp_path)
    for clip in clips:
        wave = soundfile.read(clip.audio, dtype="float32")[0]
        inputs = sfm.extractor(wave, sampling_rate=16_000, return_tensors="pt")
        states = sfm.model(**inputs, output_hidden_states=True).hidden_states[1][0][inputs.attention_mask[0].bool()]
        expected = torch.stack([states.mean(0), states.std(0, correction=0), states.amax(0)])
        assert (found.stats([clip.id])[0, 0] - expected).abs().max() <= 1e-5


def test_who_only_hears_is_asked_nothing(folder, manifest, tmp_path):
    with pytest.raises(InputError, match="hears and does not answer"):
        probing.run(read_probe(compose(overrides(folder("wavlm"), manifest, tmp_path / "asked"))))
