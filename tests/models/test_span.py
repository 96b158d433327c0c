"""What a processor writes around and within a sound is part of the prompt, or the model is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny.plain import chat_logits

from emoprobe.errors import InputError
from emoprobe.models.span import Frame, find_frame
from emoprobe.models.text import PromptText

PROMPTS = (
    PromptText(instruction="What is the emotion? Answer with one word."),
    PromptText(instruction="The voice in this recording is", audio_first=False, before="The emotion is"),
)
SOUND = 99


def planted(sfm, write):
    """The model with a processor whose text for a sound is what ``write(token, count)`` says."""
    made = copy.copy(sfm)
    made.family = copy.copy(sfm.family)
    old = sfm.family.processor

    def replace_audio_token(self, audio_inputs, audio_idx, **kwargs):
        text = old.replace_audio_token(audio_inputs, audio_idx, **kwargs)
        return write(self.audio_token, text.count(self.audio_token))

    kind = type(type(old).__name__, (type(old),), {"replace_audio_token": replace_audio_token})
    made.family.processor = copy.copy(old)
    made.family.processor.__class__ = kind
    return made


def largest_difference(sfm, voices):
    """Between our scores and those of the class's own forward pass of the processor's own inputs, nats."""
    questions = [sfm.question(p, [f" {w}" if p.before else w for w in ("happy", "sadness")]) for p in PROMPTS]
    scores = sfm.score(sfm.encode(voices), questions)
    worst = 0.0
    for question, ours in zip(questions, scores, strict=True):
        for continuation, values in zip(question.continuations, ours, strict=True):
            for clip, voice in enumerate(voices):
                logits = chat_logits(sfm, question.prompt, voice, continuation[:-1]).log_softmax(-1)
                expected = logits[-len(continuation) :].gather(-1, torch.tensor(continuation)[:, None])[:, 0]
                worst = max(worst, (values[clip] - expected).abs().max().item())
    return worst


PLANTS = {
    "a mark before": lambda token, count: "<|endoftext|>" + token * count,
    "a mark after": lambda token, count: token * count + "<|endoftext|>",
    "text around that joins with what stands there": lambda token, count: "\n\n" + token * count + "\n",
    "a number before": lambda token, count: f"{count} {token * count}",
    "a number after": lambda token, count: f"{token * count} {count}",
    "a mark within": lambda token, count: token * (count // 2) + "<|im_start|>" + token * (count - count // 2),
    "a number within every ten": lambda token, count: "".join(
        token + (str(i // 10) if i and i % 10 == 0 else "") for i in range(count)
    ),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_what_a_processor_adds_is_read(tiny_llm, voices, plant):
    sfm = tiny_llm("qwen2_audio")
    other = planted(sfm, PLANTS[plant])
    assert largest_difference(other, voices) < 1e-4
    question = sfm.question(PROMPTS[0], ["happy"])
    again = other.question(PROMPTS[0], ["happy"])
    before, after = (m.score(m.encode(voices), [q])[0][0] for m, q in ((sfm, question), (other, again)))
    assert (before - after).abs().max() > 1e-2  # what was added matters


@pytest.mark.parametrize("family", ["music_flamingo", "moss", "glm_asr", "vibevoice_asr"])
def test_native_processors_that_write_marks(tiny_llm, voices, family):
    longer = torch.cat([voices[0], voices[2], voices[0]])
    assert largest_difference(tiny_llm(family), [*voices, longer, longer[:32_000]]) < 1e-4


def test_marks_stand_where_the_processor_writes_them(tiny_llm, voices):
    sfm = tiny_llm("moss")
    (tokens,) = sfm.encode([torch.cat([voices[0], voices[2]])]).state.tokens
    text = "".join(sfm.decode([token]) for token in tokens if token != sfm.family.audio_token_id)
    assert text == "12"  # of 2.6 s
    question = sfm.question(PROMPTS[0])
    assert "<|audio_start|><|audio_pad|><|audio_end|>" in sfm.decode(question.prefix)
    question = tiny_llm("music_flamingo").question(PROMPTS[0])
    assert "<|sound_bos|><sound><|sound_eos|>" in tiny_llm("music_flamingo").decode(question.prefix)


def test_generation_penalises_what_is_written_within_the_sound(tiny_llm, voices):
    from tiny.plain import chat_inputs

    sfm = tiny_llm("moss")
    assert sfm.family.repetition_penalty() != 1
    longer = torch.cat([voices[0], voices[2]])
    answer = sfm.generate(sfm.encode([longer]), [sfm.question(PROMPTS[0])], max_new_tokens=8)[0][0]
    inputs = chat_inputs(sfm, PROMPTS[0], longer)
    expected = sfm.model.generate(**inputs, do_sample=False, max_new_tokens=8)[0, inputs["input_ids"].shape[1] :]
    assert answer.tokens == tuple(expected.tolist()[: len(answer.tokens)])


REFUSED = {
    "no sound": (lambda token, count: "<|endoftext|>", "has no token of it"),
    "one sound too few": (lambda token, count: token * (count - 1), "does not take what its own processor made"),
    "the sound twice": (lambda token, count: token * count + "<|im_end|>" + token * count, "does not take"),
}


@pytest.mark.parametrize("plant", REFUSED)
def test_what_does_not_fit_is_refused(tiny_llm, voices, plant):
    write, message = REFUSED[plant]
    sfm = planted(tiny_llm("qwen2_audio"), write)
    with pytest.raises(InputError, match=message):
        sfm.score(sfm.encode(voices[:1]), [sfm.question(PROMPTS[0], ["happy"])])


def test_a_mark_that_only_long_sounds_have_is_read(tiny_llm, voices):
    sfm = planted(tiny_llm("qwen2_audio"), lambda token, count: ("a" if count > 76 else "") + token * count)
    assert largest_difference(sfm, [voices[0], torch.cat([voices[0]] * 3)]) < 1e-4


def test_a_chat_that_only_long_sounds_change_is_refused(tiny_llm, voices):
    sfm = planted(tiny_llm("qwen2_audio"), lambda token, count: token * count)
    kind = type(sfm.family.processor)
    call = kind.__call__

    def announce(self, text, audio, **options):
        return call(self, text=f"long {text}" if len(audio[0]) > 3 * 16_000 else text, audio=audio, **options)

    kind.__call__ = announce
    sfm.encode(voices)
    with pytest.raises(InputError, match="other text around this sound"):
        sfm.encode([torch.cat([voices[0]] * 3)])


def test_frames_by_hand():
    assert find_frame([(1, 2, SOUND, SOUND, 3), (1, 2, SOUND, 5, SOUND, 3)], SOUND) == Frame((1, 2), (3,))
    frame = Frame((1, 2), (3,))
    assert frame.sound((1, 2, SOUND, 7, 3), SOUND) == (SOUND, 7)  # a mark behind the last part of this sound
    for ids in [(1, SOUND, 3), (1, 2, SOUND, 4), (1, 2, 3), (2, 3), (1, 2, 7, 3)]:
        with pytest.raises(InputError):
            frame.sound(ids, SOUND)
    differing = find_frame([(1, 4, 2, SOUND, 6, 3), (1, 5, 2, SOUND, SOUND, 7, 7, 3)], SOUND)
    assert differing == Frame((1,), (3,))
    assert differing.sound((1, 8, 2, SOUND, 9, 3), SOUND) == (8, 2, SOUND, 9)
    with pytest.raises(InputError, match="no token of it"):
        find_frame([(1, 3)], SOUND)
