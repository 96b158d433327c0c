"""Every position at every layer, and one sound put into another, against plain passes of transformers' own classes."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import torch
from tiny.plain import chat_inputs, chat_logits
from transcribing import Plain

from emoprobe.checks.tiny import TINY
from emoprobe.errors import InputError
from emoprobe.models.load import load_transcriber
from emoprobe.models.positions import seconds_covered
from emoprobe.models.text import PromptText

PROMPT = PromptText(instruction="Which emotion?", before="The emotion is")
WORDS = (" happy", " sad", " sadness")
LLMS = ("qwen2_audio", "voxtral", "granite_speech", "music_flamingo", "nemotron_h_omni", "dots3_note")
PASSES = ("qwen2_audio", "voxtral", "granite_speech", "music_flamingo")  # whose layers' states transformers hands out
TRANSCRIBERS = ("whisper", "canary")


def asked(sfm, kind):
    return sfm.question(PromptText("The voice sounds") if kind in TRANSCRIBERS else PROMPT, WORDS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, spectra):
    root = tmp_path_factory.mktemp("positions")
    return {kind: TINY[kind](root / kind) for kind in TRANSCRIBERS}


@pytest.fixture(scope="module")
def loaded(folders, tiny_llm):
    def load(kind):
        return load_transcriber("tiny", path=folders[kind], device="cpu") if kind in folders else tiny_llm(kind)

    return load


@pytest.mark.parametrize("kind", PASSES)
def test_positions_of_an_audio_llm_are_those_of_a_plain_pass(kind, tiny_llm, voices):
    sfm = tiny_llm(kind)
    question, wanted, written = asked(sfm, kind), [21, 30, 22], (31, 32, 33)
    found = sfm.score_positions(sfm.encode(voices[:2]), 1, question, written, wanted)
    inputs = chat_inputs(sfm, PROMPT, voices[1], written)
    with torch.no_grad():
        out = sfm.model(**inputs, output_hidden_states=True)
        layers = [sfm.family.norm(states[0]) for states in out.hidden_states[:-1]] + [out.hidden_states[-1][0]]
        expected = torch.stack([sfm.family.head.logits(states).log_softmax(-1)[:, wanted] for states in layers])
    assert found.tokens == tuple(inputs["input_ids"][0].tolist())
    placeholders = inputs["input_ids"][0] == sfm.family.audio_token_id
    assert list(found.is_sound) == placeholders.tolist()
    assert placeholders.sum() > 1
    torch.testing.assert_close(found.log_probs, expected, atol=1e-4, rtol=0)
    own = chat_logits(sfm, PROMPT, voices[1], written).log_softmax(-1)[:, wanted]
    torch.testing.assert_close(found.log_probs[-1], own, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", TRANSCRIBERS)
def test_positions_of_a_transcriber_are_those_of_a_plain_pass(kind, folders, loaded, voices):
    sfm, plain = loaded(kind), Plain(folders[kind], kind)
    question, wanted, written = asked(sfm, kind), [5, 9], (7, 8)
    found = sfm.score_positions(sfm.encode(voices), 1, question, written, wanted)
    after = (*question.prefix[len(sfm.start_tokens) :], *written)
    with torch.no_grad():
        states = plain.logits(voices[1], after, output_hidden_states=True).decoder_hidden_states
        layers = [plain.norm(one[0]) for one in states[:-1]] + [states[-1][0]]
        expected = torch.stack([plain.head(one).log_softmax(-1)[:, wanted] for one in layers])
    assert found.tokens == (*question.prefix, *written)
    assert not any(found.is_sound)
    torch.testing.assert_close(found.log_probs, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [*LLMS, *TRANSCRIBERS])
def test_the_last_prompt_position_is_what_every_layer_scores(kind, loaded, voices):
    sfm = loaded(kind)
    question = asked(sfm, kind)
    context = sfm.encode(voices[:1])
    firsts = [tokens[0] for tokens in question.continuations]
    found = sfm.score_positions(context, 0, question, (), firsts).log_probs[:, -1]
    expected = torch.stack([form[0, :, 0] for form in sfm.score_layers(context, [question])[0]], dim=-1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [*LLMS, "gemma4", *TRANSCRIBERS])
def test_a_clip_put_into_itself_changes_nothing_and_at_the_first_layer_it_is_the_donor(kind, loaded, voices):
    sfm = loaded(kind)
    question, depth = asked(sfm, kind), sfm.num_decoder_layers
    receiver, donor = (sfm.encode([voice[:11_000]]) for voice in voices[:2])
    own, other = (torch.stack([form.sum() for form in sfm.score(one, [question])[0]]) for one in (receiver, donor))
    assert (own - other).abs().max() > 1e-3
    itself = sfm.score_patched(receiver, receiver, question, range(depth + 1))
    torch.testing.assert_close(itself, own.expand(depth + 1, -1), atol=1e-5, rtol=0)
    ends = sfm.score_patched(receiver, donor, question, [0, depth])
    torch.testing.assert_close(ends, torch.stack([other, own]), atol=1e-5, rtol=0)


def plain_patched(sfm, waves, form, layer):
    """Log-likelihood of a form in a plain pass over one sound, whose layer is given the states of another's."""
    module, kept = sfm.family.decoder.layers[layer], []
    receiver, donor = (chat_inputs(sfm, PROMPT, wave, form[:-1]) for wave in waves)
    where = (receiver["input_ids"][0] == sfm.family.audio_token_id).nonzero()[:, 0]

    def swap(module, args, kwargs):
        states = (args[0] if args else kwargs["hidden_states"]).clone()
        if not kept:
            kept.append(states)
        states[:, where] = kept[0][:, where]
        return ((states, *args[1:]), kwargs) if args else ((), kwargs | {"hidden_states": states})

    with ExitStack() as held, torch.no_grad():
        held.callback(module.register_forward_pre_hook(swap, with_kwargs=True).remove)
        sfm.model(**donor)
        logits = sfm.family.class_logits(sfm.model(**receiver).logits[0, -len(form) :].float())
    return logits.log_softmax(-1).gather(-1, torch.tensor(form)[:, None]).sum()


@pytest.mark.parametrize("kind", ["qwen2_audio", "granite_speech", "nemotron_h_omni"])
def test_patched_layers_are_those_of_a_plain_pass_with_a_hook(kind, tiny_llm, voices):
    sfm = tiny_llm(kind)
    question, waves = asked(sfm, kind), [voice[:11_000] for voice in voices[:2]]
    layers = (1, sfm.num_decoder_layers - 1)
    found = sfm.score_patched(*(sfm.encode([wave]) for wave in waves), question, layers)
    for row, layer in zip(found, layers, strict=True):
        for form, value in zip(question.continuations, row, strict=True):
            torch.testing.assert_close(value, plain_patched(sfm, waves, form, layer), atol=1e-4, rtol=0)


def test_clips_of_other_length_do_not_fit(tiny_llm, voices):
    for kind in ("qwen2_audio", "nemotron_h_omni"):
        sfm = tiny_llm(kind)
        with pytest.raises(InputError, match="positions of one clip and"):
            sfm.score_patched(sfm.encode(voices[:1]), sfm.encode(voices[1:2]), asked(sfm, kind), [1])


def test_cross_attention_changes_hands_at_the_layer(folders, loaded, voices):
    sfm, plain = loaded("whisper"), Plain(folders["whisper"], "whisper")
    question, form = asked(sfm, "whisper"), asked(sfm, "whisper").continuations[0]
    found = sfm.score_patched(sfm.encode(voices[:1]), sfm.encode(voices[1:2]), question, [1])[0, 0]
    with torch.no_grad():
        donor = plain.encoder(plain.inputs(voices[1])["input_features"]).last_hidden_state

        def swap(module, args, kwargs):
            name = next(name for name in ("encoder_hidden_states", "key_value_states") if name in kwargs)
            return args, kwargs | {name: donor}

        with ExitStack() as held:
            for layer in plain.decoder.layers[1:]:
                held.callback(layer.encoder_attn.register_forward_pre_hook(swap, with_kwargs=True).remove)
            logits = plain.logits(voices[0], (*question.prefix[len(sfm.start_tokens) :], *form[:-1])).logits[0]
    expected = logits[-len(form) :].log_softmax(-1).gather(-1, torch.tensor(form)[:, None]).sum()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_windows_of_thirty_seconds_are_told_from_positions_that_grow(tiny_llm):
    growing, fixed = tiny_llm("qwen2_audio").family, tiny_llm("voxtral").family
    assert seconds_covered(growing, 25) == 0
    window = fixed.probed_sounds[0].count(fixed.audio_token_id)
    assert seconds_covered(fixed, 2 * window) == 2 * fixed.processor.feature_extractor.chunk_length
    assert seconds_covered(fixed, 0) == 0
