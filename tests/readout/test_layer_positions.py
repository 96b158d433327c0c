"""Layers x positions: they end in what `layerwise` and `label_likelihood` store, and name what stands at each place."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import logsumexp

from emoprobe.errors import EmoprobeError
from emoprobe.labels import LabelSet
from emoprobe.prompts.prompt import make_prompts
from emoprobe.readout.base import make_readouts
from emoprobe.readout.layer_positions import LayerPositions, position_scores
from emoprobe.readout.scoring.plan import make_plan
from emoprobe.readout.scoring.read import read
from emoprobe.run.scores import schema

WORDS = {"happy": {"adjective": ["happy", "joyful"]}, "sad": {"adjective": ["sad", "sadness"]}}
LABELS = LabelSet("two", ("happy", "sad"), WORDS)
READOUTS = ("label_likelihood", "layerwise", "layer_positions")
PROMPTS = {
    "plain": {"family": "instruction", "instruction": "Which of {labels}?"},
    "begun": {"family": "instruction", "instruction": "Which of {labels}?", "template": "The emotion is {label}"},
    "thought": {
        "family": "instruction",
        "instruction": "Which of {labels}?",
        "reasoning_tokens": 3,
        "answer_cue": "Answer:",
    },
}


def rows_of(sfm, voices, prompts, batch=2):
    plans = [make_plan(sfm, prompt, LABELS) for prompt in make_prompts(prompts, LABELS)]
    readouts = make_readouts({name: {"max_new_tokens": 3} if name == READOUTS[2] else {} for name in READOUTS})
    found = []
    for i in range(0, len(voices), batch):
        part = voices[i : i + batch]
        found += [row for clip in read(sfm, sfm.encode(part), plans, readouts, ["s"] * len(part)) for row in clip]
    return {(row["prompt"], row["readout"], i // len(plans) // 3): row for i, row in enumerate(found)}


@pytest.fixture(scope="module", params=["qwen2_audio", "gemma4_unified", "nemotron_h_omni", "whisper"])
def stored(request, tiny_llm, tiny_whisper, voices):
    if request.param == "whisper":
        prompts = {"said": {"family": "completion", "template": "The voice sounds {label}."}}
        return tiny_whisper, rows_of(tiny_whisper, voices[:2], prompts)
    sfm = tiny_llm(request.param)
    return sfm, rows_of(sfm, voices[:2], PROMPTS if request.param == "qwen2_audio" else {"begun": PROMPTS["begun"]})


def test_they_end_in_layerwise_and_in_the_label_likelihood(stored):
    _, rows = stored
    for (prompt, readout, clip), row in rows.items():
        if readout != "layer_positions":
            continue
        kinds = row["position_kinds"]
        end = kinds.index("written") if "written" in kinds else len(kinds)
        assert "written" not in kinds[:end]
        assert set(kinds[end:]) <= {"written"}
        scores = position_scores(row)
        layers = np.reshape(rows[prompt, "layerwise", clip]["layer_form_logprobs"], (len(scores), -1))
        assert row["layer_form_logprobs"] == rows[prompt, "layerwise", clip]["layer_form_logprobs"]
        owner = np.array([LABELS.labels.index(label) for label in row["form_labels"]])
        for column in range(2):
            expected = logsumexp(layers[:, owner == column], axis=1)
            np.testing.assert_allclose(scores[:, end - 1, column], expected, rtol=1e-6)
        sums = np.array(rows[prompt, "label_likelihood", clip]["form_logprobs"])
        expected = [logsumexp(sums[owner == column]) for column in range(2)]
        np.testing.assert_allclose(scores[-1, end - 1], expected, atol=1e-5)


def test_every_position_says_what_it_is(stored):
    sfm, rows = stored
    for (_, readout, _), row in rows.items():
        if readout != "layer_positions":
            continue
        kinds, texts = np.array(row["position_kinds"]), np.array(row["position_texts"])
        assert position_scores(row).shape == (sfm.num_decoder_layers + 1, len(kinds), 2)
        assert ("sound" in kinds) == hasattr(sfm, "family")
        assert set(texts[kinds == "sound"]) <= {""}
        words = [sfm.decode([token]) for token in np.array(row["position_tokens"])[kinds != "sound"]]
        assert texts[kinds != "sound"].tolist() == words
        assert 0 < (kinds == "written").sum() <= 3 or "written" not in kinds


def test_a_batch_changes_nothing(tiny_llm, voices):
    found = [rows_of(tiny_llm("qwen2_audio"), voices, {"plain": PROMPTS["plain"]}, batch) for batch in (3, 1)]
    for clip in range(3):
        one, other = (rows["plain", "layer_positions", clip] for rows in found)
        assert one["position_kinds"] == other["position_kinds"]
        np.testing.assert_allclose(position_scores(one), position_scores(other), atol=1e-4)


def test_positions_that_end_elsewhere_are_refused(tiny_llm, voices, monkeypatch):
    sfm = tiny_llm("qwen2_audio")
    found = sfm.score_positions

    def wrong(*args):
        made = found(*args)
        made.log_probs.sub_(0.01)
        return made

    monkeypatch.setattr(sfm, "score_positions", wrong)
    with pytest.raises(EmoprobeError, match=r"end 0\.01 nats from its label likelihood"):
        rows_of(sfm, voices[:1], {"plain": PROMPTS["plain"]})


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda row: row["position_label_scores"].pop(), "has a wrong length"),
        (lambda row: row["position_texts"].pop(), "has not one for each position"),
        (lambda row: row["position_label_scores"].__setitem__(3, 0.1), "holds no log-probability"),
        (
            lambda row: row["position_label_scores"].__setitem__(slice(2, 4), [-0.1, -0.1]),
            "is above a probability of 1",
        ),
    ],
)
def test_what_contradicts_itself_is_found(change, what, tiny_llm, voices):
    def found(row):
        table = pa.Table.from_pylist([row], schema(frozenset(each.name for each in LayerPositions.columns)))
        return [one.what for one in LayerPositions.contradictions(table) if one.wrong.any()]

    row = rows_of(tiny_llm("qwen2_audio"), voices[:1], {"plain": PROMPTS["plain"]})["plain", "layer_positions", 0]
    assert found(row) == []
    change(row)
    assert found(row)[0] == what
