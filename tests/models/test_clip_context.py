"""Whisper's encoder on a clip's own frames and half a second, instead of 30 s."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from emoprobe.checks import doctor
from emoprobe.checks.tiny import TINY
from emoprobe.errors import InputError
from emoprobe.models.load import load_transcriber
from emoprobe.models.text import PromptText
from emoprobe.training.feature_spec import FeatureSpec

HALF_A_SECOND = 25  # frames


@pytest.fixture(scope="module")
def clip(tiny_whisper_path):
    return load_transcriber("tiny", path=tiny_whisper_path, device="cpu", context="clip")


@pytest.fixture(scope="module")
def questions(clip):
    return [clip.question(PromptText(text), [" happy", " sad", " sadness"]) for text in ("The voice sounds", "")]


def states_by_hand(sfm, waveform):
    """Every layer's states of a clip, from the modules of the class."""
    encoder = sfm.model.model.encoder
    frames = min(-(-len(waveform) // 320) + HALF_A_SECOND, 1500)
    mel = sfm.processor.feature_extractor(waveform.numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    x = F.gelu(encoder.conv2(F.gelu(encoder.conv1(mel[..., : 2 * frames])))).transpose(1, 2)
    states = [x + encoder.embed_positions.weight[:frames]]
    for layer in encoder.layers:
        out = layer(states[-1], None)
        states.append(out[0] if isinstance(out, tuple) else out)
    states[-1] = encoder.layer_norm(states[-1])
    return [layer[0] for layer in states]


@torch.no_grad()
def test_states_are_the_class_s_with_fewer_positions(clip, voices):
    heard = clip.hear(voices, range(clip.num_encoder_layers + 1))
    for waveform, states, sound in zip(voices, heard.states, heard.sounds, strict=True):
        own = -(-len(waveform) // 320)
        assert len(sound) == own + HALF_A_SECOND
        for layer, expected in enumerate(states_by_hand(clip, waveform)):
            assert len(states[layer]) == own
            torch.testing.assert_close(states[layer], expected[:own], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(sound, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_clip_that_fills_the_window_is_heard_as_without_the_option(clip, tiny_whisper):
    waveform = torch.randn(round(29.6 * 16_000), generator=torch.Generator().manual_seed(0)) * 0.1
    short, whole = (sfm.hear([waveform], (0, 2)) for sfm in (clip, tiny_whisper))
    assert len(short.sounds[0]) == 1500
    torch.testing.assert_close(short.sounds[0], whole.sounds[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(short.states[0][2], whole.states[0][2], atol=1e-5, rtol=1e-5)


def test_the_doctor_passes_it(clip, voices, questions):
    verdicts = doctor.examine(clip, voices, questions)
    assert [verdict.check for verdict in verdicts if not verdict.passed] == []


@torch.no_grad()
def test_clips_of_other_lengths_change_nothing(clip, voices, questions):
    together = clip.score(clip.encode(voices), questions)
    written = clip.generate(clip.encode(voices), questions, max_new_tokens=5)
    trained, _ = clip.answer(clip.hear(voices).sounds, questions[0])
    for i, waveform in enumerate(voices):
        context = clip.encode([waveform])
        for all_of_them, alone in zip(together, clip.score(context, questions), strict=True):
            for a, b in zip(all_of_them, alone, strict=True):
                torch.testing.assert_close(a[i : i + 1], b, atol=1e-5, rtol=0)
        alone = clip.generate(context, questions, max_new_tokens=5)
        assert [row[i].tokens for row in written] == [row[0].tokens for row in alone]
        scored = torch.stack([tokens.sum() for tokens in clip.score(context, questions[:1])[0]])
        torch.testing.assert_close(trained[i], scored, atol=1e-4, rtol=0)


@torch.no_grad()
def test_the_window_is_untouched(tiny_whisper, tiny_whisper_path, voices, questions):
    # Hooks by which frames are hidden change nothing where none are.
    from transformers import WhisperForConditionalGeneration

    plain = WhisperForConditionalGeneration.from_pretrained(tiny_whisper_path).eval()
    mel = tiny_whisper.processor.feature_extractor(voices[0].numpy(), sampling_rate=16_000, return_tensors="pt")
    ids = torch.tensor([[*questions[0].prefix]])
    expected = plain(mel.input_features, decoder_input_ids=ids).logits[0, -1].log_softmax(-1)
    found = tiny_whisper.logits(tiny_whisper.encode(voices), questions)[0, 0].log_softmax(-1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_it_is_another_model_in_tables_bundles_and_caches(clip, tiny_whisper):
    assert (clip.name, tiny_whisper.name) == ("tiny (clip context)", "tiny")
    spec = FeatureSpec("encoder", (2,), ("mean",))
    assert spec.key(clip) != spec.key(tiny_whisper)


def test_others_are_not_padded_and_know_no_such_choice(tmp_path, tiny_whisper_path):
    path = TINY["moonshine"](tmp_path)
    with pytest.raises(InputError, match=r"knows no context 'clip'.*model\.context"):
        load_transcriber("moonshine", path=path, device="cpu", context="clip")
    with pytest.raises(InputError, match="knows no context 'half'"):
        load_transcriber("tiny", path=tiny_whisper_path, device="cpu", context="half")
