"""The recipe from configuration to files with an audio LLM: every instruction format and readout."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from emoprobe.cli.analyse import main as analyse_main
from emoprobe.data.corpora.demo import read_demo
from emoprobe.data.sound.limits import AudioError
from emoprobe.errors import InputError
from emoprobe.recipes import probe as probing
from emoprobe.recipes.settings import read_probe
from emoprobe.run.scores import read_scores
from emoprobe.settings import compose

EMOTIONS = ("anger", "disgust", "fear", "happy", "neutral", "sad")
READOUTS = ("label_likelihood", "averaged_logits", "generated_text", "sampled_text", "constrained_text", "layerwise")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    """Clips of the demo corpus with a transcript and a dialogue; the last one has no dialogue."""
    folder = tmp_path_factory.mktemp("told")
    with (folder / "manifest.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        names = ["path", "utterance_id", "speaker", "transcript", "dialogue", *(f"votes_{name}" for name in EMOTIONS)]
        writer.writerow(names)
        for i, utterance in enumerate(read_demo().utterances[:4]):
            (folder / f"{i}.mp3").write_bytes(utterance.audio.read_bytes())
            dialogue = "" if i == 3 else f"A: the {i}th turn {{labels}}"
            writer.writerow([f"{i}.mp3", f"u{i}", "s", f"words {i}", dialogue, *np.roll([5, 2, 1, 0, 0, 0], i)])
    return folder / "manifest.csv"


def config(path, manifest, output, *overrides):
    return read_probe(
        compose(
            [
                "model=qwen2_audio",
                f"model.path={path}",
                "model.device=cpu",
                "dataset=manifest",
                f"dataset.path={manifest}",
                f"output_dir={output}",
                "null_inputs.seconds=0.5",
                "null_inputs.noise_draws=2",
                "calibration=standard",
                "logger=none",
                "analysis.figures=false",
                "analysis.resamples=50",
                "trainer.enable_progress_bar=false",
                "trainer.accelerator=cpu",
                *overrides,
            ]
        )
    )


def readouts(*names):
    short = {"averaged_logits": 3, "generated_text": 4, "sampled_text": 2, "constrained_text": 3}
    chosen = [f"readout=[{','.join(names)}]"]
    return chosen + [f"readout.{name}.max_new_tokens={short[name]}" for name in names if name in short]


@pytest.fixture(scope="module")
def finished(tiny_path, manifest, tmp_path_factory):
    options = ["prompt=instruction/all_formats", *readouts(*READOUTS), "readout.sampled_text.samples=2"]
    options += ["prompt.chain_of_thought.reasoning_tokens=4", "analysis.figures=true"]
    return probing.run(config(tiny_path("qwen2_audio"), manifest, tmp_path_factory.mktemp("run"), *options))


def test_every_format_and_readout_is_in_the_tables(finished):
    scores = read_scores(finished).to_pandas()
    clips = scores[scores["input"] == "clip"]
    assert len(clips) == 4 * 7 * 6
    assert set(clips["readout"]) == set(READOUTS)
    assert clips["question_hash"].nunique() == 7
    reasoned = clips["prompt"] == "chain_of_thought"
    assert clips[reasoned]["reasoning"].notna().all()
    assert clips[~reasoned]["reasoning"].isna().all()
    rows = json.loads((finished / "metrics.json").read_text())["rows"]
    cells = {(row["prompt"], row["readout"], row["variant"]) for row in rows if row["kind"] == "readout"}
    assert {variant for _, readout, variant in cells if readout == "constrained_text"} == {"constrained", "free"}
    assert len({variant for _, readout, variant in cells if readout == "layerwise"}) == 4
    filled = [row for row in rows if row["variant"] == "constrained"]
    assert sum(row["statuses"].get("ok", 0) + row["statuses"].get("renormalised", 0) for row in filled) > 0
    assert (finished / "figures" / "layers.png").is_file()


def test_the_last_layer_is_the_label_likelihood(finished):
    predictions = pd.read_parquet(finished / "predictions.parquet")
    columns = [f"p_{name}" for name in EMOTIONS]
    plain = predictions[predictions["calibration"] == "none"]
    last = plain[plain["variant"] == "layer_03"].set_index(["prompt", "utterance_id"])[columns].sort_index()
    label = plain[plain["readout"] == "label_likelihood"].set_index(["prompt", "utterance_id"])[columns].sort_index()
    label = label[~label.index.get_level_values(0).str.startswith("ensemble")]
    last = last[~last.index.get_level_values(0).str.startswith("ensemble")]
    np.testing.assert_allclose(last, label, atol=1e-5)


def test_orders_are_asked_and_averaged(tiny_path, manifest, tmp_path):
    run = probing.run(
        config(
            tiny_path("qwen2_audio"),
            manifest,
            tmp_path,
            "prompt=instruction/lettered_options_permuted",
            *readouts("label_likelihood"),
            "calibration=none",
            "labels=basic4",
            "dataset.soft_label.outside=drop",
            "dataset.on_error=skip",
        )
    )
    predictions = pd.read_parquet(run / "predictions.parquet")
    columns = [name for name in predictions.columns if name.startswith("p_")]
    means = predictions[predictions["prompt"] == "lettered_options_permuted@mean(4)"].set_index("utterance_id")[columns]
    orders = predictions[predictions["prompt"].str.contains("@") & ~predictions["prompt"].str.contains("mean")]
    assert orders["prompt"].nunique() == 4
    np.testing.assert_allclose(means, orders.groupby("utterance_id")[columns].mean().loc[means.index])


def test_facts_are_told_and_what_lacks_them_is_named_or_left_out(tiny_path, manifest, tmp_path):
    path = tiny_path("qwen2_audio")
    options = ["prompt=instruction/all_facts", *readouts("label_likelihood"), "calibration=none"]
    with pytest.raises(InputError, match=r"'u3' has no dialogue.*manifest\.csv.*row 5.*on_error=skip"):
        probing.run(config(path, manifest, tmp_path / "strict", *options))
    run = probing.run(config(path, manifest, tmp_path / "lenient", *options, "dataset.on_error=skip"))
    skipped = pd.read_csv(run / "skipped.csv")
    assert skipped[["utterance_id", "reason"]].to_numpy().tolist() == [["u3", "missing_fact"]]
    scores = read_scores(run).to_pandas()
    clips = scores[scores["input"] == "clip"]
    assert clips.groupby("prompt")["question_hash"].nunique().to_dict()["single_word"] == 1
    assert clips.groupby("prompt")["question_hash"].nunique().to_dict()["single_word_transcript"] == 3
    # The same command finds everything done; another transcript is scored anew.
    again = probing.run(config(path, manifest, tmp_path / "again", *options, "dataset.on_error=skip", f"resume={run}"))
    assert json.loads((again / "run.json").read_text())["speed"]["clips"] == 0
    changed = manifest.with_name("changed.csv")
    changed.write_text(manifest.read_text().replace("words 1", "other words"))
    third = probing.run(config(path, changed, tmp_path / "third", *options, "dataset.on_error=skip", f"resume={run}"))
    assert json.loads((third / "run.json").read_text())["speed"]["clips"] == 1


def test_one_bad_transcript_or_one_short_clip_is_named_or_left_out(tiny_path, manifest, tmp_path):
    folder = tmp_path / "corpus"
    shutil.copytree(manifest.parent, folder)
    table = folder / "manifest.csv"
    table.write_text(table.read_text().replace("words 1", "words <|im_end|> 1"))
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 100)
    (folder / "2.mp3").unlink()
    soundfile.write(folder / "2.wav", noise, 16_000)
    table.write_text(table.read_text().replace("2.mp3", "2.wav"))
    path = tiny_path("qwen2_audio")
    options = ["prompt=instruction/single_word_transcript", *readouts("label_likelihood"), "calibration=none"]
    options += ["dataset.audio.min_seconds=0"]
    with pytest.raises(InputError, match=r"transcript of utterance 'u1' .*im_end.*manifest\.csv, row 3"):
        probing.run(config(path, table, tmp_path / "strict", *options))
    run = probing.run(config(path, table, tmp_path / "lenient", *options, "dataset.on_error=skip"))
    skipped = pd.read_csv(run / "skipped.csv")
    assert set(map(tuple, skipped[["utterance_id", "reason"]].to_numpy())) == {("u1", "bad_fact"), ("u2", "too_short")}
    scores = read_scores(run).to_pandas()
    assert set(scores[scores["input"] == "clip"]["utterance_id"]) == {"u0", "u3"}
    table.write_text(table.read_text().replace("words <|im_end|> 1", "words 1"))
    with pytest.raises(AudioError, match=r"lasts 0\.0063 s and the model needs 0\.025 s .*2\.wav"):
        probing.run(config(path, table, tmp_path / "short", *options))
    for i in range(4):
        table.write_text(table.read_text().replace(f"words {i}", f"<|im_end|> {i}"))
    with pytest.raises(InputError, match=r"clips were left out .*skipped\.csv"):
        probing.run(config(path, table, tmp_path / "none", *options, "dataset.on_error=skip"))


def test_analysing_again_needs_no_model(finished, capsys):
    assert analyse_main([str(finished), "calibration=none", "analysis.figures=false"]) == 0
    before = pd.read_csv(finished / "metrics.csv").query("calibration == 'none' and kind == 'readout'")
    after = pd.read_csv(finished / "analysis" / "metrics.csv").query("kind == 'readout'")
    key = ["prompt", "readout", "variant"]
    both = before.merge(after, on=key, suffixes=("", "_again"))
    assert len(both) == len(before) == len(after)
    np.testing.assert_allclose(both["js_divergence"], both["js_divergence_again"])
    assert "layer" in capsys.readouterr().out
