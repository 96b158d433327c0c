"""A probe with a score cache, of a model that hears and of one that is told words: what hits, what misses."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch

from emoprobe.labels import LabelSet
from emoprobe.models.load import load_cascade
from emoprobe.prompts.prompt import make_prompts
from emoprobe.readout.base import make_readouts
from emoprobe.readout.scoring.module import ZeroShotProbe
from emoprobe.readout.scoring.plan import Plans

LABELS = LabelSet("two", ("happy", "sad"), {"happy": {"adjective": ["happy"]}, "sad": {"adjective": ["sad"]}})
ASK = {"family": "instruction", "instruction": "Which of {labels}?"}
TOLD = {"family": "instruction", "instruction": "It says: {transcript}. Which of {labels}?"}
REASON = ASK | {"reasoning_tokens": 5, "answer_cue": "Answer:"}
READOUTS = {
    "label_likelihood": {},
    "averaged_logits": {"max_new_tokens": 3},
    "sampled_text": {"samples": 2, "max_new_tokens": 2},
}
RUN = ("utterance_id", "prompt")


@pytest.fixture(params=["audio_llm", "cascade"])
def sfm(request, tiny_llm, tiny_chat_path, tiny_whisper_path):
    if request.param == "audio_llm":
        return tiny_llm("qwen2_audio")
    return load_cascade("", path=tiny_chat_path("llama"), transcriber={"path": tiny_whisper_path}, device="cpu")


def probe(sfm, cache, prompts, facts=None) -> ZeroShotProbe:
    plans = Plans(sfm, make_prompts(prompts, LABELS), LABELS, facts)
    made = ZeroShotProbe(sfm, plans, make_readouts(READOUTS), cache)
    made.heard = True  # its check asks, too
    return made


def batch(voices, names):
    clips = [
        SimpleNamespace(
            waveform=voices[i].numpy(),
            sha256=f"sound{i}",
            duration_seconds=len(voices[i]) / 16_000,
            truncated=False,
            window=0,
            windows=1,
        )
        for i in names
    ]
    return SimpleNamespace(utterances=[SimpleNamespace(id=name) for name in names.values()], clips=clips, prepared=())


def without_names(rows):
    return [{name: value for name, value in row.items() if name not in RUN} for row in rows]


def by_name(rows):
    return {(row["utterance_id"], row["prompt"], row["readout"]): row for row in rows}


def deaf(sfm):
    """The same model, which can be asked nothing."""
    other = copy.copy(sfm)

    def encode(*arguments, **options):
        raise AssertionError("it was asked")

    other.encode = encode
    return other


def test_names_order_and_batches_hit_bit_for_bit(sfm, voices, tmp_path):
    prompts = {"plain": ASK, "reasoned": REASON}
    plain = probe(sfm, None, prompts).predict_step(batch(voices, {0: "a", 1: "b", 2: "c"}))
    cold = probe(sfm, tmp_path, prompts)
    assert cold.predict_step(batch(voices, {0: "a", 1: "b", 2: "c"})) == plain
    cold.flush()
    assert (cold.known.cells, cold.known.clips) == (0, 0)
    other = copy.copy(deaf(sfm))
    warm = probe(other, tmp_path, {"renamed": REASON, "too": ASK})
    rows = warm.predict_step(batch(voices, {2: "z"})) + warm.predict_step(batch(voices, {1: "y", 0: "x"}))
    assert (warm.known.cells, warm.known.clips) == (18, 3)
    was = dict(zip(("a", "b", "c"), ("x", "y", "z"), strict=True))
    called = {"plain": "too", "reasoned": "renamed"}
    found = by_name(rows)
    for (utterance, prompt, readout), row in by_name(plain).items():
        named = row | {"utterance_id": was[utterance], "prompt": called[prompt]}
        assert found[was[utterance], called[prompt], readout] == named


def test_what_is_said_of_a_clip_counts_and_only_of_that_clip(sfm, voices, tmp_path):
    facts = {"a": {"transcript": "the voice"}, "b": {"transcript": "a word"}}
    first = probe(sfm, tmp_path, {"told": TOLD}, facts)
    expected = first.predict_step(batch(voices, {0: "a", 1: "b"}))
    again = probe(sfm, tmp_path, {"told": TOLD}, facts)
    again.cache = first.cache
    assert again.predict_step(batch(voices, {0: "a", 1: "b"})) == expected
    assert again.known.clips == 2
    other = probe(sfm, tmp_path, {"told": TOLD}, facts | {"b": {"transcript": "another word"}})
    other.cache = first.cache
    rows = other.predict_step(batch(voices, {0: "a", 1: "b"}))
    assert (other.known.cells, other.known.clips) == (3, 1)
    assert by_name(rows)["a", "told", "label_likelihood"] == by_name(expected)["a", "told", "label_likelihood"]
    assert without_names(rows[3:]) != without_names(expected[3:])


def test_a_batch_that_comes_again_in_smaller_ones_is_counted_once(tiny_llm, voices, tmp_path):
    sfm = tiny_llm("qwen2_audio")
    names = {0: "a", 1: "b", 2: "c"}
    first = probe(sfm, tmp_path, {"plain": ASK})
    first.predict_step(batch(voices, names))
    small, encode = copy.copy(sfm), sfm.encode

    def limited(waveforms, **options):
        if len(waveforms) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return encode(waveforms, **options)

    small.encode = limited
    second = probe(small, tmp_path, {"plain": ASK, "reasoned": REASON})
    second.cache = first.cache
    second.predict_step(batch(voices, names))
    assert (second.known.cells, second.known.clips) == (9, 0)
