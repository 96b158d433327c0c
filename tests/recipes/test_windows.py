"""Clips that are longer than what is heard at once: windows are asked one by one, and their beliefs are averaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from scoring import EMOTIONS, config

from emoprobe.errors import InputError
from emoprobe.recipes import loaded
from emoprobe.recipes import probe as probing
from emoprobe.recipes import train as training
from emoprobe.recipes.settings import read_probe, read_train
from emoprobe.run.folder import open_folder
from emoprobe.run.scores import read_scores
from emoprobe.settings import compose

RATE = 16_000
READOUTS = "readout=[label_likelihood,averaged_logits,generated_text,layerwise,sampled_text]"
SHORT = [READOUTS, "readout.sampled_text.samples=2", "readout.sampled_text.max_new_tokens=3", "prompt=bare_label"]
SHORT += ["analysis.averaged_logits=all", "analysis.label_likelihood=[sum,mean_token]", "calibration=none"]
SHORT += ["analysis.resamples=0", "dataset.audio.max_seconds=2"]
WINDOW = [*SHORT, "dataset.audio.long_audio=window"]
CELL = ["prompt", "readout", "variant", "calibration"]
SHARES = [f"p_{name}" for name in EMOTIONS]
OWN = "readout != 'sampled_text'"  # what is drawn depends on the sound's name


def corpus(folder: Path, clips: dict[str, np.ndarray]) -> Path:
    folder.mkdir(parents=True)
    rows = []
    for i, (name, wave) in enumerate(clips.items()):
        soundfile.write(folder / f"{name}.wav", wave, RATE, subtype="FLOAT")
        rows.append({"path": f"{name}.wav", "utterance_id": name, "speaker": f"s{i % 3}"})
        rows[-1] |= {f"votes_{label}": 1 + (i + k) % 3 for k, label in enumerate(EMOTIONS)}
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


def noise(seconds: float, seed: int) -> np.ndarray:
    """A voice-like noise whose loudness and colour change, so that its windows are unlike each other."""
    wave = np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE))
    slow = np.linspace(0.2, 2.0, len(wave))
    return (slow * wave + 0.1 * np.sin(2 * np.pi * np.cumsum(100 + 300 * slow) / RATE)).astype(np.float32)


LONG = {"long": noise(5.3, 0), "middle": noise(2.0001, 1)}
PLAIN = {"short": noise(0.9, 2), "whole": noise(2.0, 3), "other": noise(1.4, 4)}


def cut(wave: np.ndarray) -> list[np.ndarray]:
    """The stated rule: as few equal parts as the longest allowed clip permits."""
    count = -(-len(wave) // (2 * RATE))
    return [wave[len(wave) * i // count : len(wave) * (i + 1) // count] for i in range(count)]


def run(model: Path, manifest: Path, folder: Path, options: Sequence[str]) -> Path:
    return probing.run(config(model, manifest, folder, *options))


def shares(folder: Path) -> pd.DataFrame:
    frame = pd.read_parquet(folder / "predictions.parquet").query(OWN)
    return frame.astype({name: str for name in CELL}).set_index([*CELL, "utterance_id"])


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    return corpus(tmp_path_factory.mktemp("own") / "c", LONG | PLAIN)


@pytest.fixture(scope="module")
def windowed(tiny_whisper_path, manifest, tmp_path_factory) -> Path:
    return run(tiny_whisper_path, manifest, tmp_path_factory.mktemp("run") / "w", WINDOW)


def test_the_belief_of_a_long_clip_is_the_mean_of_its_parts_scored_as_clips(tiny_whisper_path, windowed, tmp_path):
    parts = {f"{name}{i}": part for name, wave in LONG.items() for i, part in enumerate(cut(wave))}
    assert len(parts) == 3 + 2
    apart = shares(run(tiny_whisper_path, corpus(tmp_path / "cut", parts | PLAIN), tmp_path / "apart", SHORT))
    found = shares(windowed)
    compared = failed = 0
    for name, count in (("long", 3), ("middle", 2)):
        for cell in sorted(set(found.index.droplevel("utterance_id"))):
            own = [apart.loc[(*cell, f"{name}{i}")] for i in range(count)]
            whole = found.loc[(*cell, name)]
            if any(part["status"] != "ok" for part in own):
                assert whole["status"] == next(part["status"] for part in own if part["status"] != "ok")
                assert whole[SHARES].isna().all()
                failed += 1
            else:
                mean = np.mean([part[SHARES].to_numpy(float) for part in own], axis=0)
                np.testing.assert_allclose(whole[SHARES].to_numpy(float), mean, atol=2e-6, err_msg=str(cell))
                if not np.isnan(whole["label_mass"]):
                    assert whole["label_mass"] == pytest.approx(np.mean([p["label_mass"] for p in own]), rel=1e-4)
                compared += 1
            if cell[1] == "generated_text":
                assert whole["generated_text"] == "\n".join(part["generated_text"] for part in own)
    assert compared > 20
    assert failed  # an untrained model's text states nothing


def test_clips_in_one_piece_are_what_they_are_without_windows(tiny_whisper_path, windowed, tmp_path):
    alone = shares(run(tiny_whisper_path, corpus(tmp_path / "short", PLAIN), tmp_path / "alone", SHORT))
    found = shares(windowed)
    kept = found.loc[found.index.get_level_values("utterance_id").isin(PLAIN)]
    assert set(kept["windows"]) == {1}
    assert "windows" not in alone
    pd.testing.assert_frame_equal(kept[SHARES].sort_index(), alone[SHARES].sort_index(), check_categorical=False)
    assert "window" not in read_scores(tmp_path / "alone").column_names


def test_rows_are_counted_clip_by_clip(windowed):
    found = open_folder(windowed)  # whose checks all hold
    heard = found.predictions.drop_duplicates("utterance_id").set_index("utterance_id")
    assert heard["windows"].to_dict() == {"long": 3, "middle": 2, "short": 1, "whole": 1, "other": 1}
    lengths = {name: len(wave) / RATE for name, wave in (LONG | PLAIN).items()}
    assert heard["duration_seconds"].to_dict() == pytest.approx(lengths)
    assert not heard["truncated"].any()
    record = json.loads((windowed / "run.json").read_text())
    assert (record["num_evaluated"], record["num_scored"], record["num_skipped"]) == (5, 5, {})
    assert record["speed"]["clips"] == 5
    assert record["long_audio"] == {"max_seconds": 2.0, "choice": "window", "utterances": ["long", "middle"]}


def test_neither_batch_nor_resume_changes_anything(tiny_whisper_path, manifest, windowed, tmp_path):
    one = run(tiny_whisper_path, manifest, tmp_path / "one", [*WINDOW, "batch_size=1"])
    np.testing.assert_allclose(shares(one)[SHARES], shares(windowed)[SHARES], atol=1e-5)
    before = read_scores(windowed)
    again = run(tiny_whisper_path, manifest, tmp_path / "again", [*WINDOW, f"resume={windowed}"])
    assert read_scores(again).num_rows == before.num_rows
    assert json.loads((again / "run.json").read_text())["speed"]["clips"] == 0
    np.testing.assert_array_equal(shares(again)[SHARES], shares(windowed)[SHARES])
    same = Path(shutil.copytree(windowed, tmp_path / "same"))
    run(tiny_whisper_path, manifest, same, WINDOW)
    assert (same / "run.json").read_bytes() == (windowed / "run.json").read_bytes()
    np.testing.assert_array_equal(shares(same)[SHARES], shares(windowed)[SHARES])
    # Other windows are other sound.
    with pytest.raises(InputError, match=r"another configuration .*\n  dataset\.audio\.max_seconds: 2 -> 1\.5$"):
        run(tiny_whisper_path, manifest, same, [*WINDOW, "dataset.audio.max_seconds=1.5"])
    shorter = [*WINDOW, "dataset.audio.max_seconds=1.5", f"resume={windowed}"]
    other = run(tiny_whisper_path, manifest, tmp_path / "other", shorter)
    assert json.loads((other / "run.json").read_text())["speed"]["clips"] == 2  # 4 windows and not 3, 2 and not 1
    cut_off = [*SHORT, "dataset.audio.long_audio=truncate", f"resume={windowed}"]
    other = run(tiny_whisper_path, manifest, tmp_path / "cut", cut_off)
    assert json.loads((other / "run.json").read_text())["speed"]["clips"] == 2


def test_long_clips_end_a_run_before_its_model_is_loaded(tiny_whisper_path, manifest, tmp_path, monkeypatch):
    settings = config(tiny_whisper_path, manifest, tmp_path / "refused", *SHORT)
    long = corpus(tmp_path / "hour", {"hour": noise(31, 0)})
    deaf = config(tiny_whisper_path, long, tmp_path / "deaf", "dataset.audio.max_seconds=60")

    def load(*_):
        raise AssertionError("loaded")

    monkeypatch.setattr(loaded, "make", load)
    with pytest.raises(InputError, match=r"2 of 5 clips are longer than 2 s .*: long, middle") as caught:
        probing.run(settings)
    assert caught.value.field == "dataset.audio.long_audio"
    assert all(choice in str(caught.value.remedy) for choice in ("truncate", "window", "skip"))
    with pytest.raises(InputError, match=r"1 of 1 clips is longer than the 30 s that .* hears whole: hour"):
        probing.run(deaf)


@pytest.mark.parametrize("choice", ["window", "truncate"])
def test_a_head_hears_windows_as_well(tiny_whisper_path, tmp_path, monkeypatch, choice):
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path / "cache"))
    manifest = corpus(tmp_path / "c", LONG | PLAIN | {"sixth": noise(1.1, 6)})
    shared = ["model=whisper", f"model.path={tiny_whisper_path}", "model.device=cpu", "logger=none"]
    shared += ["analysis.figures=false", "analysis.resamples=0", "trainer.enable_progress_bar=false"]
    shared += ["dataset=manifest", f"dataset.path={manifest}", "dataset.audio.max_seconds=2"]
    shared += [f"dataset.audio.long_audio={choice}"]
    fit = ["head=linear_probe", "head.layers=last", "fit.max_epochs=1", "dataset.partition.folds=3", "dataset.fold=all"]
    trained = training.run(read_train(compose([*shared, *fit, f"output_dir={tmp_path / 'trained'}"], "train")))
    read = ["head=bundle", f"head.path={trained}/head_fold0", "head.seen=evaluate", "prompt=bare_label"]
    read += ["readout=label_likelihood", "calibration=none", f"output_dir={tmp_path / 'read'}"]
    both = probing.run(read_probe(compose([*shared, *read])))
    count = {"long": 3, "middle": 2} if choice == "window" else {}
    for folder in (trained, both):
        found = open_folder(folder)
        assert found.table.num_rows
        heard = found.predictions.drop_duplicates(["utterance_id", "readout"])
        assert set(heard.loc[heard["truncated"], "utterance_id"]) == (set(LONG) if choice == "truncate" else set())
        if choice == "window":
            assert all(row.windows == count.get(row.utterance_id, 1) for row in heard.itertuples())
        assert json.loads((folder / "run.json").read_text())["long_audio"]["utterances"] == list(LONG)


def test_faulty_clips_are_warned_of_and_counted(tiny_whisper_path, tmp_path, capsys):
    voice = noise(1.0, 5) / 4
    clips = {"good": voice, "low": voice + 0.1, "apart": np.stack([voice, 1e-4 - voice], axis=1)}
    wrong = corpus(tmp_path / "wrong", clips)
    done = run(tiny_whisper_path, wrong, tmp_path / "kept", SHORT)
    assert json.loads((done / "run.json").read_text())["sound"] == {"offset": ["low"], "antiphase": ["apart"]}
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Sound")]
    assert said[0].startswith("Sound    warning: 1 near-silent (below -70 dBFS): apart")
    assert "warning: 1 with a constant offset of 1 % of full scale or more: low; all in run.json" in said[1]
    assert "dataset.audio.leave_out=[antiphase] leaves them out" in said[2]
    done = run(tiny_whisper_path, wrong, tmp_path / "left", [*SHORT, "dataset.audio.leave_out=[offset,antiphase]"])
    assert json.loads((done / "run.json").read_text())["num_skipped"] == {"offset": 1, "antiphase": 1}
    assert not [line for line in capsys.readouterr().out.splitlines() if line.startswith("Sound")]


def test_skipped_clips_are_listed_and_counted(tiny_whisper_path, manifest, tmp_path, capsys):
    done = run(tiny_whisper_path, manifest, tmp_path / "skip", [*SHORT, "dataset.audio.long_audio=skip"])
    said = capsys.readouterr().out
    assert "Sound    2 of 5 clips longer than 2 s, 0 longer than the 30 s that" in said
    assert "Sound    2 longer than 2 s, left out: long, middle" in said
    skipped = pd.read_csv(done / "skipped.csv")
    assert dict(zip(skipped["utterance_id"], skipped["reason"], strict=True)) == dict.fromkeys(LONG, "too_long")
    record = json.loads((done / "run.json").read_text())
    assert (record["num_evaluated"], record["num_scored"], record["num_skipped"]) == (5, 3, {"too_long": 2})
