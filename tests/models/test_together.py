"""Clips that go through an audio LLM's encoder together are heard as each alone, or they go one by one."""

from __future__ import annotations

import copy

import pytest
import torch
from conftest import FAMILIES, OTHERS

from emoprobe.models import audio_llm
from emoprobe.models.text import PromptText

WINDOWS = ("qwen2_audio", "qwen2_5_omni", "voxtral", "audio_flamingo3", "music_flamingo", "glm_asr")
PACKED = ("qwen2_5_omni", "qwen3_omni", "qwen3_asr")  # their encoders' states of several clips stand in one row


@pytest.fixture(params=[*FAMILIES, *OTHERS])
def family(request):
    return request.param


@pytest.fixture
def together(monkeypatch, tiny_llm):
    """A tiny audio LLM that hears clips as on a GPU, and knows nothing yet of whether its class takes them."""
    monkeypatch.setattr(audio_llm, "clips_at_once", lambda device: 16)

    def make(family):
        sfm = copy.copy(tiny_llm(family))
        sfm._batches = {}
        return sfm

    return make


def count(sfm, work):
    """How often the first layer of the encoder was called, and the work's result."""
    calls = []
    handle = sfm.family.encoder_layers[0].register_forward_hook(lambda *told: calls.append(1))
    try:
        result = work()
    finally:
        handle.remove()
    return len(calls), result


def assert_same(ours, alone):
    for a, b in zip(ours, alone, strict=True):
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()


@torch.no_grad()
def test_clips_heard_together_are_as_alone_in_one_pass(together, tiny_llm, family, voices):
    sfm, clips = together(family), voices if family in WINDOWS else [voice[:11_000] for voice in voices]
    alone = tiny_llm(family).hear(clips[:1]), tiny_llm(family).hear(clips[1:2]), tiny_llm(family).hear(clips[2:])
    sfm.hear(clips)  # measured here
    calls, heard = count(sfm, lambda: sfm.hear(clips))
    assert calls == 1
    assert list(sfm._batches.values()) == [True]
    assert_same(heard.sounds, [one.sounds[0] for one in alone])
    assert heard.tokens == [one.tokens[0] for one in alone]


@torch.no_grad()
def test_layers_are_divided_among_the_clips(together, tiny_llm, family, voices):
    sfm, clips = together(family), voices if family in WINDOWS else [voice[:11_000] for voice in voices]
    layers = range(sfm.num_encoder_layers + 1)
    sfm.hear(clips, layers)
    calls, heard = count(sfm, lambda: sfm.hear(clips, layers))
    assert calls == (3 if family in PACKED else 1)
    for clip, states in zip(clips, heard.states, strict=True):
        (own,) = tiny_llm(family).hear([clip], layers).states
        assert [*states] == [*own]
        assert_same(states.values(), own.values())


@torch.no_grad()
def test_clips_of_other_shapes_keep_their_order(together, tiny_llm, voices):
    sfm = together("granite_speech")  # its processor pads nothing
    clips = [voices[0][:9_000], voices[1], voices[2][:9_000], voices[0]]
    sfm.hear(clips)
    calls, heard = count(sfm, lambda: sfm.hear(clips))
    assert calls == 3
    for clip, sound in zip(clips, heard.sounds, strict=True):
        assert_same([sound], tiny_llm("granite_speech").hear([clip]).sounds)


@torch.no_grad()
def test_a_class_in_which_clips_touch_each_other_hears_them_one_by_one(together, tiny_llm, voices):
    sfm = together("qwen2_audio")
    alone = [tiny_llm("qwen2_audio").hear([voice]).sounds[0] for voice in voices]
    leak = sfm.family.encoder_layers[0].register_forward_hook(
        lambda layer, args, output: output + 1e-3 * (output.mean(0) - output)
    )
    try:
        sfm.hear(voices)
        calls, heard = count(sfm, lambda: sfm.hear(voices))
    finally:
        leak.remove()
    assert list(sfm._batches.values()) == [False]
    assert calls == 3
    assert all(torch.equal(a, b) for a, b in zip(heard.sounds, alone, strict=True))


def test_what_leaks_with_unequal_lengths_only_is_found_when_they_come(together, voices):
    sfm = together("qwen2_audio")
    equal = [voice[:11_000] for voice in voices]
    sfm.hear(equal)
    assert sfm._batches == {(False, False): True}
    leak = sfm.family.encoder_layers[0].register_forward_hook(
        lambda layer, args, output: output + 1e-3 * (output.mean(0) - output)
    )
    try:
        sfm.hear(voices)
    finally:
        leak.remove()
    assert sfm._batches == {(False, False): True, (False, True): False}


def test_states_that_cannot_be_told_apart_after_all_come_of_each_clip_alone(together, tiny_llm, voices):
    sfm = together("qwen2_5_omni")
    sfm._batches = {(True, True): True}
    with torch.no_grad():
        calls, heard = count(sfm, lambda: sfm.hear(voices, [1]))
        own = tiny_llm("qwen2_5_omni").hear(voices, [1])
    assert calls == 4
    assert all(torch.equal(a[1], b[1]) for a, b in zip(heard.states, own.states, strict=True))


@pytest.mark.parametrize("family", ["qwen2_audio", "granite_speech"])
def test_gradients_flow_through_all_clips(together, tiny_llm, family, voices):
    clips = [voice[:11_000] for voice in voices]
    weights = [p for p in tiny_llm(family).family.encoder_layers[0].parameters() if p.requires_grad]
    sfm = together(family)
    sfm.model.train()
    try:
        sfm.hear(clips)
        assert all(module.training for module in sfm.model.modules())
    finally:
        sfm.model.eval()
    found = []
    for one in (sfm, tiny_llm(family)):
        for weight in weights:
            weight.grad = None  # also what another test of the same model has left
        batches = [clips] if one is sfm else [[clip] for clip in clips]
        sum(sound.square().sum() for batch in batches for sound in one.hear(batch).sounds).backward()
        found.append([weight.grad.clone() for weight in weights if weight.grad is not None])
    for weight in weights:
        weight.grad = None
    assert found[0]
    for ours, own in zip(*found, strict=True):
        torch.testing.assert_close(ours, own, rtol=1e-3, atol=1e-4 * own.abs().max().item())


def test_memory_that_runs_out_is_not_taken_for_a_class_that_cannot(together, voices):
    sfm = together("qwen2_audio")

    def full(layer, args, output):
        if len(output) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    handle = sfm.family.encoder_layers[0].register_forward_hook(full)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            sfm.hear(voices)
        sfm.hear(voices[:1])
    finally:
        handle.remove()
    assert sfm._batches == {}


def test_scores_are_those_of_clips_heard_alone(together, tiny_llm, voices):
    sfm, plain = together("qwen2_audio"), tiny_llm("qwen2_audio")
    asked = [plain.question(PromptText(instruction="What is the emotion?"), ["happy", "sad"])]
    ours, own = (one.score(one.encode(voices), asked)[0] for one in (sfm, plain))
    for a, b in zip(ours, own, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    half = plain.around(copy.deepcopy(plain.model).bfloat16())
    with torch.no_grad():
        half.hear(voices)
    assert half._batches == {(False, True): True}


def test_a_cpu_hears_one_at_a_time(tiny_llm, voices):
    sfm = tiny_llm("qwen2_audio")
    with torch.no_grad():
        calls, _ = count(sfm, lambda: sfm.hear(voices))
    assert calls == 3
    assert audio_llm.clips_at_once(torch.device("cuda")) > 1


@torch.no_grad()
def test_what_was_prepared_ahead_is_what_is_prepared_now(tiny_llm, family, voices):
    sfm = tiny_llm(family)
    prepared = [None, *(sfm.prepare_clip(voice) for voice in voices[1:])]
    ours, own = sfm.hear(voices, prepared=prepared), sfm.hear(voices)
    assert all(torch.equal(a, b) for a, b in zip(ours.sounds, own.sounds, strict=True))
