"""The doctor passes sound models and catches each way of breaking one."""

from __future__ import annotations

import copy
import re
from dataclasses import replace

import pytest
import torch
from conftest import FAMILIES

from emoprobe.checks import doctor
from emoprobe.cli.doctor import main
from emoprobe.models.prefix import Prefix
from emoprobe.models.text import PromptText

PROMPTS = (
    PromptText(instruction="What is the emotion? Answer with one word."),
    PromptText(instruction="What does the person feel?", before="The emotion is"),
)


def examine(sfm, voices, **options):
    words = ("happy", "sad", "sadness")
    questions = [sfm.question(p, [f" {word}" if p.before else word for word in words]) for p in PROMPTS]
    return doctor.examine(sfm, voices, questions, **options)


def changed(sounds, change):
    return [replace(sound, embeddings=change(sound.embeddings)) for sound in sounds]


def failed(verdicts):
    return {verdict.check for verdict in verdicts if not verdict.passed}


@pytest.fixture
def broken(tiny_llm):
    """A copy of a model that a test may break."""

    def make(family="qwen2_audio"):
        sfm = copy.copy(tiny_llm(family))
        sfm.family = copy.copy(sfm.family)
        return sfm

    return make


@pytest.mark.parametrize("family", ["qwen2_audio", "granite_speech"])
def test_audio_llms_pass(tiny_llm, voices, family):
    # All the others, and all other classes: test_support.py.
    verdicts = examine(tiny_llm(family), voices)
    assert failed(verdicts) == set()
    assert len(verdicts) == 14
    assert all(verdict.applies for verdict in verdicts)


@pytest.mark.parametrize("family", ["gemma3n", "phi4_multimodal"])
def test_a_model_asked_in_whole_passes_passes(tiny_llm, voices, family):
    verdicts = examine(tiny_llm(family), voices[:2])
    assert failed(verdicts) == set()
    unread = {"last layer of the logit lens against the scores"} if family == "gemma3n" else set()
    assert {v.check for v in verdicts if not v.applies} == {"left against right padding"} | unread


def test_whisper_passes_and_says_what_does_not_apply(tiny_whisper, voices):
    questions = [tiny_whisper.question(PromptText("The voice sounds"), [" happy", " sad"])]
    verdicts = doctor.examine(tiny_whisper, voices, questions)
    assert failed(verdicts) == set()
    assert {v.check for v in verdicts if not v.applies} == {"left against right padding", "placeholders of the sound"}


@pytest.mark.parametrize("family", FAMILIES)
def test_sound_that_is_dropped_before_the_model(broken, voices, family):
    # What a processor does that ignores an unknown keyword: features of something else, here of silence.
    sfm = broken(family)
    inputs = sfm.family.inputs
    sfm.family.inputs = lambda prompt, waveform: inputs(prompt, torch.zeros_like(waveform))
    names = failed(examine(sfm, voices))
    assert {"the clip against silence", "the clip against noise", "the clip against another clip"} <= names


@pytest.mark.parametrize("family", FAMILIES)
def test_sound_that_is_dropped_inside(broken, voices, family):
    # The placeholders' own embeddings instead of the sound's.
    sfm = broken(family)
    hear = sfm._hear
    sfm._hear = lambda *sound: changed(hear(*sound), lambda embeddings: torch.ones_like(embeddings) * 0.01)
    names = failed(examine(sfm, voices))
    assert "shared prefix against a full forward pass" in names
    assert "the clip against silence" in names


def test_one_sound_too_few(broken, voices):
    sfm = broken()
    hear = sfm._hear
    sfm._hear = lambda *sound: changed(hear(*sound), lambda embeddings: embeddings[:-1])
    names = failed(examine(sfm, voices))
    assert {"placeholders of the sound", "shared prefix against a full forward pass"} <= names


@pytest.mark.parametrize("part", ["head", "tail"])
@pytest.mark.parametrize("family", ["music_flamingo", "moss", "qwen2_audio"])
def test_a_token_around_the_sound_that_is_dropped(broken, voices, family, part):
    # An adaptor that does not know of the marks that a processor writes.
    sfm = broken(family)
    frame = sfm.family.frame

    def wrong(prompt):
        right = frame(prompt)
        return replace(right, head=right.head[:-1]) if part == "head" else replace(right, tail=right.tail[1:])

    sfm.family.frame = wrong
    hear = sfm._hear
    sfm._hear = lambda *sound: _with(sfm.family, "frame", frame, lambda: hear(*sound))
    names = failed(examine(sfm, voices, other_dtype=False))
    assert {"placeholders of the sound", "shared prefix against a full forward pass"} <= names


def _with(thing, name, value, work):
    held = getattr(thing, name)
    setattr(thing, name, value)
    try:
        return work()
    finally:
        setattr(thing, name, held)


def test_a_mark_within_the_sound_that_is_dropped(broken, voices):
    sfm = broken("moss")
    hear = sfm._hear

    def without_marks(heard):
        kept = [i for i, token in enumerate(heard.tokens) if token == sfm.family.audio_token_id]
        return replace(heard, tokens=tuple(heard.tokens[i] for i in kept), embeddings=heard.embeddings[kept])

    def wrong(*sounds):
        return [without_marks(heard) for heard in hear(*sounds)]

    assert len(wrong(voices[:1])[0].tokens) < len(hear(voices[:1])[0].tokens)
    sfm._hear = wrong
    names = failed(examine(sfm, voices, other_dtype=False))
    assert {"placeholders of the sound", "shared prefix against a full forward pass"} <= names


@pytest.mark.parametrize("family", ["qwen2_audio", "qwen2_5_omni", "qwen3_omni", "granite_speech", "audio_flamingo3"])
def test_a_mask_that_is_removed(broken, voices, family, monkeypatch):
    everything = property(lambda self: torch.ones(len(self.lengths), self.layers[0][0].shape[-2], dtype=torch.bool))
    monkeypatch.setattr(Prefix, "visible", everything)
    names = failed(examine(broken(family), voices))
    assert {"batch of 1 against all clips", "left against right padding"} <= names


@pytest.mark.parametrize("family", ["qwen2_audio", "qwen2_5_omni", "qwen3_omni", "granite_speech", "audio_flamingo3"])
def test_positions_that_count_the_padding(broken, voices, family):
    sfm = broken(family)
    prefill = sfm._prefill

    def wrong(context, tokens):
        prefix = prefill(context, tokens)
        longest = torch.full_like(prefix.lengths, prefix.layers[0][0].shape[-2])
        return _Shifted(prefix.tokens, prefix.layers, longest, prefix.starts, prefix.visible)

    sfm._prefill = wrong
    names = failed(examine(sfm, voices))
    assert {"batch of 1 against all clips", "shared prefix against a full forward pass"} <= names


class _Shifted(Prefix):
    """A prefix whose lengths count the padding, though its mask is right."""

    def __init__(self, tokens, layers, lengths, starts, visible):
        super().__init__(tokens, layers, lengths, starts)
        object.__setattr__(self, "shown", visible)

    @property
    def visible(self):
        return self.shown


def test_padding_on_the_wrong_side(broken, voices):
    # Left padding that is treated as if it stood on the right.
    sfm = broken()
    prefill = sfm._prefill

    def wrong(context, tokens):
        prefix = prefill(context, tokens)
        return Prefix(prefix.tokens, prefix.layers, prefix.lengths, torch.zeros_like(prefix.starts))

    sfm._prefill = wrong
    assert failed(examine(sfm, voices)) == {"left against right padding"}


def test_a_prefix_that_a_reader_spoils(broken, voices):
    sfm = broken()
    ask = sfm._ask

    def spoil(context, group, tree, **options):
        done = ask(context, group, tree, **options)
        group.prefix.layers[0][0].add_(0.05)
        return done

    sfm._ask = spoil
    # A second answer from the same context differs from the first.
    names = failed(examine(sfm, voices))
    questions = [sfm.question(PROMPTS[0], ["happy"])]
    context = sfm.encode(voices[:1])
    first, second = sfm.score(context, questions)[0][0], sfm.score(context, questions)[0][0]
    assert (first - second).abs().max() > 1e-3
    assert names


def test_reported_logits_that_were_processed(broken, voices):
    # Logits kept after the repetition penalty instead of before it.
    from emoprobe.models.vocabulary import VocabularyHead

    class Sharpened(VocabularyHead):
        def logits(self, states):
            return super().logits(states) * 1.1

    sfm = broken()
    head = Sharpened(sfm.model.get_output_embeddings())
    sfm.family.__class__ = type("Broken", (type(sfm.family),), {"head": property(lambda self: head)})
    names = failed(examine(sfm, voices, other_dtype=False))
    assert "reported logits against a plain forward pass" in names
    assert "generated text against its tokens' scores" in names


def test_not_a_number_fails(broken, voices):
    sfm = broken()
    hear = sfm._hear
    sfm._hear = lambda *sound: changed(hear(*sound), lambda embeddings: embeddings * torch.nan)
    assert "batch of 1 against all clips" in failed(examine(sfm, voices, other_dtype=False))


def test_command(tiny_path, capsys):
    arguments = ["model=qwen2_audio", f"model.path={tiny_path('qwen2_audio')}", "model.device=cpu", "labels=basic4"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"^passed", out, flags=re.MULTILINE)) == 14
    assert "2 prompts" in out


def test_command_fails_with_the_model(tiny_path, capsys, monkeypatch):
    monkeypatch.setitem(doctor.TOLERANCE, "float32", -1.0)
    assert main(["model=qwen2_audio", f"model.path={tiny_path('qwen2_audio')}", "model.device=cpu"]) == 1
    assert "FAILED" in capsys.readouterr().out
    assert main(["model=qwen2_audio", "model.path=/nowhere"]) == 2
    assert "no checkpoint" in capsys.readouterr().err
