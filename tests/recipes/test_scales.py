"""Valence asked about and trained on, from a corpus with ratings to the tables."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from console import TWO, alone
from copies.labels import label_set

from emoprobe.data.corpora import CORPORA
from emoprobe.data.utterance import Corpus, Rating, Utterance
from emoprobe.errors import InputError
from emoprobe.readout.classifier import whole_map
from emoprobe.recipes import probe as probing
from emoprobe.recipes import train as training
from emoprobe.recipes.settings import read_probe, read_train
from emoprobe.run.scores import read_scores
from emoprobe.settings import compose

QUIET = ["logger=none", "trainer.enable_progress_bar=false", "trainer.accelerator=cpu", "analysis.figures=false"]
QUIET += ["labels=valence5", "analysis.resamples=20", "dataset.split=all"]
CLIPS = 24


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    """Tones whose pitch and loudness tell the valence that three raters gave from -1 to 1."""
    folder, rng, utterances = tmp_path_factory.mktemp("tones"), np.random.default_rng(0), []
    for i in range(CLIPS):
        level = i % 4 / 3
        wave = np.sin(np.arange(8_000) * (0.05 + 0.3 * level)) * (0.05 + 0.5 * level)
        soundfile.write(folder / f"{i}.wav", wave + rng.normal(0, 0.01, 8_000), 16_000)
        given = np.clip(1.6 * level - 0.8 + rng.normal(0, 0.2, 3), -1, 1)
        ratings = tuple(Rating(f"r{k}", values={"valence": float(value)}) for k, value in enumerate(given))
        speaker = f"s{i // 4 % 6}"
        scales = {"valence": (-1.0, 1.0)}
        utterances.append(Utterance(f"u{i}", folder / f"{i}.wav", speaker=speaker, ratings=ratings, scales=scales))
    return Corpus(CORPORA["demo"].card, tuple(utterances))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path_factory.getbasetemp() / "features"))


def test_an_audio_llm_is_asked_for_a_number_in_every_way(tiny_llm, corpus, tmp_path):
    names = ("label_likelihood", "averaged_logits", "generated_text", "constrained_text", "sampled_text", "layerwise")
    asked = [*QUIET, "prompt=instruction/scale_all", f"readout=[{','.join(names)}]", "readout.sampled_text.samples=2"]
    asked += [f"readout.{name}.max_new_tokens=3" for name in names[1:5]]
    asked += ["prompt.scale_chain_of_thought.reasoning_tokens=4", "null_inputs.kinds=[]", "calibration=none"]
    settings = read_probe(compose([*asked, f"output_dir={tmp_path / 'run'}"]))
    some = replace(corpus, utterances=corpus.utterances[:2])
    folder = probing.run(settings, sfm=tiny_llm("qwen2_audio"), corpus=some)
    scores = read_scores(folder).to_pandas()
    assert set(scores["prompt"]) == {prompt.name for prompt in settings.prompts}
    assert {tuple(forms) for forms in scores["forms"]} == {("1", "2", "3", "4", "5")}
    rows = json.loads((folder / "metrics.json").read_text())["rows"]
    constrained = [row for row in rows if row["variant"] == "constrained" and row["kind"] == "readout"]
    assert sum(sum(row["statuses"].get(name, 0) for name in ("ok", "renormalised")) for row in constrained) > 0
    predictions = pd.read_parquet(folder / "predictions.parquet")
    columns = [f"p_{label}" for label in settings.labels.labels]
    told = predictions[predictions["readout"] == "label_likelihood"]
    np.testing.assert_allclose(told[columns].sum(axis=1), 1, rtol=1e-6)
    one = scores[(scores["readout"] == "label_likelihood") & (scores["prompt"] == "scale_number")].iloc[0]
    own = told[(told["prompt"] == "scale_number") & (told["utterance_id"] == one["utterance_id"])].iloc[0]
    np.testing.assert_allclose(
        own[columns].astype(float), np.exp(one["form_logprobs"]) / np.exp(one["form_logprobs"]).sum()
    )


@pytest.mark.parametrize("forms", ["numeral", "word"])
def test_points_have_the_probabilities_of_a_plain_pass(forms, tiny_whisper, corpus, tmp_path):
    """Tiny Whisper, whose numerals follow a space: log P(" 3]", end | prompt, sound) by transformers alone."""
    asked = [*QUIET, "prompt=scale/scale_bracketed", "readout=label_likelihood", f"labels.forms={forms}"]
    asked += ["null_inputs.kinds=[]", "calibration=none", f"output_dir={tmp_path / 'run'}"]
    some = replace(corpus, utterances=corpus.utterances[:1])
    folder = probing.run(read_probe(compose(asked)), sfm=tiny_whisper, corpus=some)
    row = read_scores(folder).to_pylist()[0]
    assert row["forms"] == (
        ["1", "2", "3", "4", "5"] if forms == "numeral" else ["one", "two", "three", "four", "five"]
    )
    wave, _ = soundfile.read(corpus.utterances[0].audio, dtype="float32")
    features = tiny_whisper.processor.feature_extractor(wave, sampling_rate=16_000, return_tensors="pt").input_features
    tokenizer = tiny_whisper.processor.tokenizer
    ends = (row["forms"][0], row["forms"][-1])
    said = f" [valence of the voice, from {ends[0]} to {ends[1]}:"
    head = tokenizer.convert_tokens_to_ids(["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"])
    for form, tokens, found in zip(row["forms"], row["form_tokens"], row["form_logprobs"], strict=True):
        assert tokenizer.decode(tokens[:-1]) == f" {form}]"
        prefix = [*head, *tokenizer.encode(said, add_special_tokens=False)]
        with torch.no_grad():
            ids = torch.tensor([[*prefix, *tokens]])
            logits = tiny_whisper.model(input_features=features, decoder_input_ids=ids).logits[0].log_softmax(-1)
        expected = sum(logits[len(prefix) - 1 + i, token].item() for i, token in enumerate(tokens))
        assert found == pytest.approx(expected, abs=1e-3)


def test_a_probe_beats_its_floor(tiny_whisper_path, corpus, tmp_path):
    asked = [*QUIET, "loss=ccc", f"model.path={tiny_whisper_path}", "head.layers=[-1]", "fit.monitor=ccc"]
    asked += ["dataset.fold=all", "dataset.partition.folds=3", "fit.learning_rate=0.03", "fit.max_epochs=12"]
    folder = training.run(read_train(compose([*asked, f"output_dir={tmp_path / 'run'}"], "train")), corpus=corpus)
    rows = {row["readout"]: row for row in json.loads((folder / "metrics.json").read_text())["rows"]}
    probe, floor = rows["linear_probe"]["metrics"], rows["prior"]["metrics"]
    assert probe["ccc"] > 0.6 > 0.1 > floor["ccc"]
    for name in ("rmse", "emd", "js_divergence"):
        assert probe[name] < floor[name]
    curves = pd.read_csv(folder / "learning_curves.csv")
    assert curves["ccc"].notna().all()


@pytest.mark.slow
def test_the_concordance_of_a_batch_is_one_of_all_processes(tiny_whisper_path, corpus, tmp_path):
    """Batches of seven, which two processes cannot halve: the same curve as of one."""
    rows = [f"{each.audio},{each.speaker},{each.ratings[0].values['valence']}" for each in corpus.utterances]
    (tmp_path / "clips.csv").write_text("\n".join(["path,speaker,valence", *rows]) + "\n")
    asked = ["dataset=manifest", f"dataset.path={tmp_path / 'clips.csv'}", "dataset.scales={valence: [-1,1]}", *QUIET]
    asked += [f"dataset.root={corpus.utterances[0].audio.parent}", "loss=ccc", "head.layers=[-1]", "fit.batch_size=7"]
    asked += [f"model.path={tiny_whisper_path}", "fit.max_epochs=3"]
    curves = []
    for name, more in (("one", []), ("two", TWO)):
        done = alone("train", *asked, *more, f"hydra.run.dir={tmp_path / name}")
        assert done.status == 0, done.err[-3000:]
        curves.append(pd.read_csv(tmp_path / name / "learning_curves.csv").dropna(axis=1))
    pd.testing.assert_frame_equal(*curves, atol=1e-5)


def test_classes_are_no_points_of_a_scale():
    five = label_set("valence5")
    with pytest.raises(InputError, match=r"are not the labels of valence5.*regression head.*loss=ccc"):
        whole_map("msp-dim", ("arousal", "dominance", "valence"), five, {})
    stars = dict(zip(("one star", "two", "three", "four", "five"), five.labels, strict=True))
    assert whole_map("stars", tuple(stars), five, {"one star": "1"}) == stars
