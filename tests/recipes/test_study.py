"""A study of readouts: ordinary runs as parts, their numbers, intervals by speakers."""

from __future__ import annotations

import json
from unittest.mock import Mock, create_autospec

import numpy as np
import pandas as pd
import pytest
from classes import write_classifier
from console import TWO, alone
from scipy.stats import bootstrap

from emoprobe.errors import InputError
from emoprobe.metrics.intervals import expanded_percentiles, mean_interval
from emoprobe.models import load


def test_intervals_of_single_clips_are_scipys():
    values = np.random.default_rng(0).gamma(2, size=200)
    low, high = mean_interval(values, range(200), resamples=20_000)
    expected = bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    assert (low, high) == pytest.approx(tuple(expected), abs=0.01)


def test_intervals_resample_whole_speakers():
    rng = np.random.default_rng(0)
    clusters = rng.integers(0, 12, 300)
    values = rng.normal(size=12)[clusters] + rng.normal(0, 0.1, 300)
    means = []
    for _ in range(4000):
        chosen = rng.integers(0, 12, 12)
        means.append(np.concatenate([values[clusters == c] for c in chosen]).mean())
    expected = expanded_percentiles(np.array(means), 12)
    assert mean_interval(values, clusters, resamples=20_000) == pytest.approx(expected, abs=0.06)
    low, high = np.quantile(means, [0.025, 0.975])
    assert expected[0] < low < high < expected[1]  # twelve speakers are few
    naive = mean_interval(values, range(300))
    assert np.ptp(mean_interval(values, clusters)) > 2 * np.ptp(naive)
    assert mean_interval(values, clusters) == mean_interval(values, clusters)
    assert np.isnan(mean_interval(values, ["one"] * 300)).all()
    with pytest.raises(InputError):
        mean_interval(values, range(3))


def test_one_table_of_all_parts(tiny_whisper_path, tmp_path, console, monkeypatch):
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path / "features"))
    loaded = Mock(wraps=load.load_transcriber)
    monkeypatch.setattr(load, "load_transcriber", create_autospec(load.load_transcriber, side_effect=loaded))
    folder = tmp_path / "study"
    command = [
        "train",
        "experiment=finetuning_study",
        "model=whisper",
        f"model.path={tiny_whisper_path}",
        "model.device=cpu",
        "dataset.limit=24",
        "study.seeds=[0,1]",
        "fit.max_epochs=2",
        "head.members=1",
        "logger=csv",
        "trainer.enable_progress_bar=false",
        f"hydra.run.dir={folder}",
        'study.trained.mlp_probe=["head=mlp_probe","head.layers=last"]',
        "~study.trained.linear_probe_middle",
    ]
    done = console(*command)
    assert done.status == 0, done.out[-2000:] + done.err[-4000:]
    assert loaded.call_count == 1  # by nine parts
    frame = pd.read_csv(folder / "comparison.csv").set_index("name")
    assert list(frame["kind"].unique()) == ["zero-shot", "trained", "floor", "reference", "ceiling"]
    assert {"linear_probe_first", "linear_probe_last", "mlp_probe", "lora"} == set(frame.index[frame.kind == "trained"])
    assert len(frame[frame.kind == "zero-shot"]) == 4
    for name in ("linear_probe_first", "lora"):
        found = []
        for seed in (0, 1):
            rows = pd.read_csv(folder / name / f"seed{seed}" / "metrics.csv")
            found.append(rows.loc[rows["kind"] == "readout", "js_divergence"].item())
        row = frame.loc[name]
        assert row["js_divergence"] == pytest.approx(np.mean(found))
        assert row["js_divergence_sd"] == pytest.approx(np.std(found, ddof=1))
        assert row["js_divergence_low"] <= row["js_divergence"] <= row["js_divergence_high"]
    zero_shot = pd.read_csv(folder / "zero_shot" / "metrics.csv")
    plain = zero_shot[(zero_shot["readout"] == "label_likelihood") & (zero_shot["calibration"] == "none")]
    uncalibrated = frame[frame.index.str.contains("uncalibrated")]["js_divergence"].item()
    assert uncalibrated == pytest.approx(plain["js_divergence"].item())
    assert (folder / "comparison.png").stat().st_size > 10_000
    assert "| lora |" in (folder / "comparison.md").read_text()
    (folder / "lora" / "seed1" / "scores.parquet").unlink()  # as if it had been interrupted there
    again = console(*command)
    assert again.status == 0, again.out[-2000:] + again.err[-4000:]
    assert again.out.count("Finished before with the same settings") == 8  # of nine parts
    pd.testing.assert_frame_equal(pd.read_csv(folder / "comparison.csv").set_index("name"), frame)
    other = console(*command, "fit.learning_rate=0.5")
    assert other.status == 2
    assert "this output folder holds another training run" in other.err
    assert other.err.splitlines()[1:] == ["  fit.learning_rate: 0.001 -> 0.5"]


@pytest.mark.slow
def test_two_processes_make_the_table_of_one(tiny_whisper_path, tmp_path, console, monkeypatch):
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path / "cache"))
    shared = [
        *("experiment=finetuning_study", "model=whisper", f"model.path={tiny_whisper_path}", "model.device=cpu"),
        *("dataset.limit=24", "study.seeds=[0]", "fit.max_epochs=2", "fit.batch_size=7", "logger=none"),
        *("prompt=voice_sounds", "analysis.resamples=9", "trainer.accelerator=cpu", "dataset.partition.folds=3"),
        *(f"~study.trained.{name}" for name in ("lora", "linear_probe_middle", "mlp_probe")),
        "trainer.enable_progress_bar=false",
    ]
    frames = []
    for name, call, options in (("one", console, []), ("two", alone, TWO)):
        done = call("train", *shared, *options, f"hydra.run.dir={tmp_path / name}")
        assert done.status == 0, done.out[-2000:] + done.err[-4000:]
        frames.append(pd.read_csv(tmp_path / name / "comparison.csv"))
    assert {"linear_probe_first", "linear_probe_last"} <= set(frames[0]["name"])
    pd.testing.assert_frame_equal(*frames, atol=1e-4)


def test_classes_of_a_checkpoint_are_no_zero_shot_row(tmp_path, console, monkeypatch):
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path / "features"))
    done = console(
        "train",
        "experiment=finetuning_study",
        "model=encoder",
        f"model.path={write_classifier(tmp_path / 'checkpoint')}",
        "model.device=cpu",
        "dataset.limit=24",
        "study.seeds=[0]",
        "fit.max_epochs=2",
        "head.members=1",
        "logger=none",
        "analysis.figures=false",
        "trainer.enable_progress_bar=false",
        f"hydra.run.dir={tmp_path / 'study'}",
        'study.zero_shot=["readout=classifier","readout.classifier.map={cal:null}","calibration=none"]',
        'study.trained.mlp_probe=["head=mlp_probe","head.layers=last"]',
        *(
            f"~study.trained.{name}"
            for name in ("linear_probe_first", "linear_probe_middle", "linear_probe_last", "lora")
        ),
    )
    assert done.status == 0, done.err[-3000:]
    table = pd.read_csv(tmp_path / "study" / "comparison.csv")
    kinds = table.set_index("name")["kind"]
    assert kinds["supervised classifier, uncalibrated"] == "supervised"
    assert kinds["mlp_probe"] == "trained"
    assert "zero-shot" not in set(kinds)


def test_a_curve_by_number_of_training_clips(tmp_path, tiny_whisper_path, console, monkeypatch):
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path / "features"))
    folder = tmp_path / "study"
    done = console(
        "train",
        *("experiment=few_shot", "model=whisper", f"model.path={tiny_whisper_path}", "model.device=cpu"),
        *("dataset.limit=24", "study.seeds=[0,1]", "fit.max_epochs=2", "head.layers=[-1]", "logger=none"),
        *("dataset.partition.folds=3", "analysis.resamples=20", "trainer.enable_progress_bar=false"),
        *(f"~study.trained.linear_probe_{number}" for number in (32, 128, 512)),
        'study.trained.linear_probe_8=["head=linear_probe","fit.max_clips=4"]',
        f"hydra.run.dir={folder}",
    )
    assert done.status == 0, done.out[-2000:] + done.err[-4000:]
    assert not (folder / "zero_shot").exists()
    curve = pd.read_csv(folder / "few_shot.csv")
    assert curve["name"].tolist() == ["linear_probe_8", "linear_probe_all"]
    assert set(curve["curve"]) == {"linear_probe"}
    table = pd.read_csv(folder / "comparison.csv").set_index("name")
    for row in curve.to_dict("records"):
        assert row["js_divergence"] == pytest.approx(table.loc[row["name"], "js_divergence"])
        assert row["num_utterances"] == 24
    heard = {
        (name, seed): set(json.loads(file.read_text())["seen"]["sounds"])
        for name in ("linear_probe_8", "linear_probe_all")
        for seed in (0, 1)
        for file in [folder / name / f"seed{seed}" / "head_fold0" / "head.json"]
    }
    assert curve["training_clips"].tolist() == [4, 8]
    assert len(heard["linear_probe_8", 0]) == 8  # 4 to train on and 4 to choose the epoch by
    assert heard["linear_probe_8", 0] != heard["linear_probe_8", 1]
    assert heard["linear_probe_8", 0] <= heard["linear_probe_all", 0] == heard["linear_probe_all", 1]
    assert (folder / "few_shot.png").stat().st_size > 10_000
    assert "few_shot.csv" in done.out
