"""The shipped small audio LLM, end to end: what it writes and what its tokens hold of the demo corpus's test voices."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

READOUTS = ("label_likelihood", "averaged_logits", "generated_text", "constrained_text", "sampled_text", "layerwise")


@pytest.fixture(scope="module")
def run(real_cache, tmp_path_factory):
    """Six clips asked in two formats, in every channel."""
    from emoprobe.recipes.probe import run
    from emoprobe.recipes.settings import read_probe
    from emoprobe.settings import compose

    folder = tmp_path_factory.mktemp("small") / "run"
    asked = [
        "model=emoprobe_small",
        "prompt=[instruction/single_word,instruction/probability_dict]",
        f"readout=[{','.join(READOUTS)}]",
        "readout.sampled_text.samples=2",
        "calibration=[none,contextual_silence,batch]",
        "null_inputs.kinds=[silence]",
        "dataset.limit=6",
        "analysis.averaged_logits=[softmax_of_mean,softmax_forced]",
        "logger=none",
        "analysis.figures=false",
        "analysis.resamples=0",
        "trainer.enable_progress_bar=false",
        f"output_dir={folder}",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOPROBE_CACHE", str(real_cache))
        run(read_probe(compose(asked)))
    return folder


@pytest.fixture(scope="module")
def rows(run):
    return pd.read_csv(run / "metrics.csv")


def cell(rows, readout, prompt, calibration="none", variant=None):
    found = rows[(rows.readout == readout) & (rows.prompt == prompt) & (rows.calibration == calibration)]
    [row] = found[found.variant == variant].to_dict("records") if variant else found.to_dict("records")
    return row


def test_its_tokens_hold_more_of_the_votes_than_the_floors(rows):
    tokens = cell(rows, "label_likelihood", "single_word")
    floors = rows[rows.kind == "floor"].set_index("readout").js_divergence
    assert tokens["num_failed"] == 0
    assert tokens["mean_label_mass"] > 0.5
    assert tokens["js_divergence"] < min(floors["uniform"], floors["prior"]) - 0.05


def test_it_answers_in_the_formats_it_is_asked_for(run, rows):
    for prompt in ("single_word", "probability_dict"):
        written = cell(rows, "generated_text", prompt)
        assert written["num_failed"] <= 1
    scores = pd.read_parquet(run / "scores.parquet")
    of_clips = scores[(scores.readout == "generated_text") & (scores.input == "clip")]
    texts = of_clips[of_clips.prompt == "probability_dict"].generated_text
    dictionaries = [json.loads(text) for text in texts]
    assert all(set(each) <= {"angry", "disgusted", "fearful", "happy", "neutral", "sad"} for each in dictionaries)
    assert len({json.dumps(each) for each in dictionaries}) > 1
    assert of_clips.finished.all()


def test_every_channel_has_rows_and_every_calibration_too(rows):
    assert set(READOUTS) <= set(rows.readout)
    scored = rows[rows.readout.isin(READOUTS)]
    assert (scored.num_utterances + scored.num_failed == 6).all()
    for calibration in ("contextual_silence", "batch"):
        plain, other = (cell(rows, "label_likelihood", "single_word", name) for name in ("none", calibration))
        assert np.isfinite(other["js_divergence"])
        assert other["js_divergence"] != plain["js_divergence"]


def test_the_last_layer_is_the_label_likelihood(rows):
    layers = rows[(rows.readout == "layerwise") & (rows.prompt == "single_word") & (rows.calibration == "none")]
    assert len(layers) == 31
    last = layers[layers.variant.str.contains("30")].js_divergence.item()
    assert last == pytest.approx(cell(rows, "label_likelihood", "single_word")["js_divergence"], abs=1e-5)


def test_a_sampled_answer_is_one_of_several(run):
    scores = pd.read_parquet(run / "scores.parquet")
    drawn = scores[(scores.readout == "sampled_text") & (scores.prompt == "single_word") & (scores.input == "clip")]
    assert len(drawn)
    assert any(len(set(texts)) > 1 for texts in drawn.sampled_texts)
