"""Answers of many questions and clips that end at different steps: equal to transformers' own, and no work for nothing.

A random model rarely ends an answer. Here a share of the vocabulary does, for transformers as well.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager

import pytest
import torch
from tiny.plain import chat_inputs

from emoprobe.models import branches, generation, prefix
from emoprobe.models.answering import AnsweringModel, Sampling
from emoprobe.models.progress import watching
from emoprobe.models.text import PromptText

WORDS = ("happy", "sad", "angry", "calm", "the person", "a voice", "this recording", "one word")
LIMIT = 24


def ending(sfm, every: int = 9):
    """The model, of whose vocabulary every so-manieth token ends an answer too."""
    vocabulary = sfm.model.get_output_embeddings().weight.shape[0]
    return stopping_at(sfm, (*sfm.stop_tokens, *range(5, vocabulary, every)))


def stopping_at(sfm, tokens):
    """The model with other end tokens."""
    other = copy.copy(sfm)
    vars(other).pop("stop_tokens", None)
    other.__class__ = type("Stopping", (type(sfm),), {"stop_tokens": tuple(tokens)})
    return other


@pytest.fixture(params=["qwen2_audio", "granite_speech"])
def sfm(request, tiny_llm):
    return ending(tiny_llm(request.param))


@pytest.fixture
def questions(sfm):
    prompts = [PromptText(instruction=f"What is {word}? Answer with one word.") for word in WORDS]
    return [sfm.question(prompt) for prompt in [*prompts, PromptText(instruction="Which?", before="The emotion is")]]


@contextmanager
def counted(decoder):
    """Positions that each pass of a decoder computes."""
    positions: list[int] = []

    def note(module, args, kwargs, out):
        positions.append(out.last_hidden_state.shape[:2].numel())

    handle = decoder.register_forward_hook(note, with_kwargs=True)
    yield positions
    handle.remove()


def lengths(answers):
    """Tokens of every row, the end included."""
    return [len(answer.log_normalizer) for row in answers for answer in row]


def check_work(positions, answers):
    """Each step computes as many columns as the clip with most answers needs, and clips are left out by halves."""
    written = [[len(answer.log_normalizer) for answer in clip] for clip in zip(*answers, strict=True)]
    clips = len(written)
    for step, computed in enumerate(positions[-(max(lengths(answers)) - 1) :], 1):
        going = [sum(length > step for length in clip) for clip in written]
        if 2 * sum(map(bool, going)) <= clips:
            clips = sum(map(bool, going))
        assert computed == clips * max(going)


def check_told(steps, answers, limits):
    """What is told adds up to all answers and all they might have been."""
    rows = sum(map(len, answers))
    assert sum(step.asked for step in steps) == sum(step.ended for step in steps) == rows
    assert sum(step.tokens for step in steps) == sum(lengths(answers))
    clips = len(answers[0])
    assert sum(step.settled for step in steps) == clips * sum(limits)


def check_equal(some, others):
    for row, other in zip(some, others, strict=True):
        for a, b in zip(row, other, strict=True):
            assert (a.tokens, a.text, a.finished) == (b.tokens, b.text, b.finished)
            torch.testing.assert_close(a.kept_logits, b.kept_logits, atol=1e-4, rtol=0)
            torch.testing.assert_close(a.log_normalizer, b.log_normalizer, atol=1e-4, rtol=0)


def test_answers_that_end_at_different_steps_are_those_of_generate(sfm, questions, voices):
    keep = [tuple(range(20, 20 + i)) for i in range(len(questions))]
    answers = sfm.generate(sfm.encode(voices), questions, max_new_tokens=LIMIT, keep=keep)
    assert len(set(lengths(answers))) > 4
    assert {answer.finished for row in answers for answer in row} == {True, False} or max(lengths(answers)) < LIMIT
    for question, kept, row in zip(questions, keep, answers, strict=True):
        for waveform, answer in zip(voices, row, strict=True):
            inputs = chat_inputs(sfm, question.prompt, waveform)
            options = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
            made = sfm.model.generate(**inputs, **options, max_new_tokens=LIMIT, eos_token_id=list(sfm.stop_tokens))
            expected = made[0, inputs["input_ids"].shape[1] :].tolist()
            finished = expected[-1] in sfm.stop_tokens
            assert answer.finished == finished
            assert list(answer.tokens) == expected[: len(expected) - finished]
            logits = sfm.reference(waveform, question, expected[:-1])[-len(expected) :]
            torch.testing.assert_close(answer.kept_logits, logits[:, list(kept)], atol=2e-4, rtol=0)
            torch.testing.assert_close(answer.log_normalizer, logits.logsumexp(-1), atol=2e-4, rtol=0)


def test_answers_do_not_depend_on_what_else_is_written(sfm, questions, voices):
    keep = [(20, 21)] * len(questions)
    whole = sfm.generate(sfm.encode(voices), questions, max_new_tokens=LIMIT, keep=keep)
    turned = sfm.generate(sfm.encode(voices[::-1]), questions[::-1], max_new_tokens=LIMIT, keep=keep)
    check_equal(whole, [row[::-1] for row in turned[::-1]])
    left = sfm.generate(sfm.encode(voices, padding="left"), questions, max_new_tokens=LIMIT, keep=keep)
    check_equal(whole, left)
    alone = [
        [sfm.generate(sfm.encode([voice]), [one], max_new_tokens=LIMIT, keep=keep[:1])[0][0] for voice in voices]
        for one in questions
    ]
    check_equal(whole, alone)


def test_each_question_has_its_own_limit(sfm, questions, voices):
    limits = [1 + 3 * (i % 5) for i in range(len(questions))]
    together = sfm.generate(sfm.encode(voices), questions, max_new_tokens=limits)
    alone = [
        sfm.generate(sfm.encode(voices), [question], max_new_tokens=limit)[0]
        for question, limit in zip(questions, limits, strict=True)
    ]
    check_equal(together, alone)
    assert all(len(one.log_normalizer) <= n for row, n in zip(together, limits, strict=True) for one in row)


def test_draws_are_those_of_each_row_alone(sfm, questions, voices):
    seeds = [[100 * i + clip for clip in range(len(voices))] for i in range(len(questions))]
    drawn = sfm.generate(sfm.encode(voices), questions, max_new_tokens=LIMIT, sampling=Sampling(1.2, seeds))
    assert len(set(lengths(drawn))) > 4
    for i in (0, len(questions) - 1):
        for clip, voice in enumerate(voices):
            own = Sampling(1.2, [[seeds[i][clip]]])
            (alone,) = sfm.generate(sfm.encode([voice]), questions[i : i + 1], max_new_tokens=LIMIT, sampling=own)[0]
            check_equal([[drawn[i][clip]]], [[alone]])


def test_a_draw_is_the_inverse_of_the_cumulative_distribution_with_one_number_a_step():
    """As the loop once drew: a number at a time, of each row's own generator, on the CPU."""
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(1))
    generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    ahead = torch.stack([torch.rand(5, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]).double()
    for step in range(5):
        drawn = generation.draw(logits, 0.8, ahead[:, step])
        for row, generator in enumerate(generators):
            cumulative = (logits[row].double() / 0.8).softmax(-1).cumsum(-1)
            number = torch.rand((), generator=generator).item() * cumulative[-1]
            assert int(drawn[row]) == int((cumulative <= number).sum())


def test_what_ended_costs_nothing_more(sfm, questions, voices):
    context = sfm.encode(voices)
    with counted(sfm.decoder) as positions:
        answers = sfm.generate(context, questions, max_new_tokens=LIMIT)
    check_work(positions, answers)
    steps = positions[-(max(lengths(answers)) - 1) :]
    rows = len(voices) * len(questions)
    assert sum(steps) < 0.7 * rows * len(steps)
    whole = sfm.generate(context, questions, max_new_tokens=max(lengths(answers)))
    check_equal(answers, whole)


def test_each_clip_is_asked_its_own_questions(sfm, questions, voices):
    """Longer and shorter ones, as after reasoning, and what one clip is asked changes nothing for another."""
    own = [
        [sfm.extend(question, questions[clip].prefix[-3 * clip :] if clip else (), " The") for clip in range(3)]
        for question in questions[:3]
    ]
    assert len({len(question.prefix) for question in own[0]}) == 3
    keep = [(20, 21 + i) for i in range(len(own))]
    context = sfm.encode(voices)
    with counted(sfm.decoder) as positions:
        answers = sfm.generate_each(context, own, max_new_tokens=[LIMIT, 5, LIMIT], keep=keep)
    check_work(positions, answers)
    alone = [
        [
            sfm.generate(sfm.encode([voice]), [question], max_new_tokens=limit, keep=[kept])[0][0]
            for voice, question in zip(voices, row, strict=True)
        ]
        for row, limit, kept in zip(own, [LIMIT, 5, LIMIT], keep, strict=True)
    ]
    check_equal(answers, alone)
    plain = AnsweringModel.generate_each(sfm, context, own, max_new_tokens=[LIMIT, 5, LIMIT], keep=keep)
    check_equal(answers, plain)


@pytest.mark.parametrize("sampling", [None, 1.2])
def test_every_step_is_told(sfm, questions, voices, sampling):
    limits = [3 + i for i in range(len(questions))]
    seeds = [[i + clip for clip in range(len(voices))] for i in range(len(questions))]
    drawn = None if sampling is None else Sampling(sampling, seeds)
    steps = []
    with watching(steps.append):
        answers = sfm.generate(sfm.encode(voices), questions, max_new_tokens=limits, sampling=drawn)
    check_told(steps, answers, limits)
    ended = [sum(step.ended for step in steps[: i + 1]) for i in range(len(steps))]
    assert ended[2] < ended[-1]


def test_one_answer_that_does_not_end_keeps_no_other_row(sfm, questions, voices):
    context = sfm.encode(voices)
    limits = [2] * len(questions)
    limits[3] = LIMIT
    stubborn = stopping_at(sfm, sfm.stop_tokens[:1])
    with counted(sfm.decoder) as positions:
        stubborn.generate(context, questions, max_new_tokens=limits)
    assert positions[-(LIMIT - 2) :] == [len(voices)] * (LIMIT - 2)


def test_memory_grows_by_blocks_and_places_are_used_again(sfm, questions, voices, monkeypatch):
    """The cache is allocated a few times, whatever the number of steps, and never more than half of it is empty."""
    monkeypatch.setattr(branches, "BLOCK", 16)
    enlarged, packed = [], []
    move, pack = branches.RoomyLayer._move, branches.Branches._pack
    monkeypatch.setattr(branches.RoomyLayer, "_move", lambda self, n: (enlarged.append(n), move(self, n))[1])

    def packing(self, left):
        before = self.used
        pack(self, left)
        packed.append((before, self.used))

    monkeypatch.setattr(branches.Branches, "_pack", packing)
    keep = [(20, 21)] * len(questions)
    small = sfm.generate(sfm.encode(voices), questions, max_new_tokens=2 * LIMIT, keep=keep)
    layers = sfm.num_decoder_layers
    assert len(enlarged) / layers <= 8
    assert packed
    assert all(after < before for before, after in packed)
    monkeypatch.undo()
    check_equal(small, sfm.generate(sfm.encode(voices), questions, max_new_tokens=2 * LIMIT, keep=keep))


def test_answers_that_would_not_fit_into_memory_are_written_in_parts(sfm, questions, voices, monkeypatch):
    keep = [(20, 21)] * len(questions)
    limits = [4 + i for i in range(len(questions))]
    whole = sfm.generate(sfm.encode(voices), questions, max_new_tokens=limits, keep=keep)
    context = sfm.encode(voices)
    group = next(sfm._groups(context, questions, 10**9))

    def parts_of(group):
        return sfm._parts(group.prefix, group.members, limits)

    assert parts_of(group) == [list(range(len(questions)))]
    each = sum(part.nbytes // part.shape[2] for pair in group.prefix.layers for part in pair)
    monkeypatch.setattr(prefix, "free_bytes", lambda device: 2 * each * 20)
    parts = parts_of(group)
    assert [i for part in parts for i in part] == list(range(len(questions)))
    assert len(parts) > 2
    assert all(sum(limits[i] for i in part) <= 20 for part in parts)
    check_equal(whole, sfm.generate(context, questions, max_new_tokens=limits, keep=keep))
    monkeypatch.setattr(prefix, "free_bytes", lambda device: 0)
    assert parts_of(group) == [[i] for i in range(len(questions))]


def test_a_prefix_is_there_once_while_answers_are_written(sfm, questions, voices):
    context = sfm.encode(voices)
    sfm.score(context, questions)
    (held, *_) = context.state.prefixes.values()
    before = [(keys.clone(), values.clone()) for keys, values in held.layers]
    with held.growing() as cache:
        for layer, (keys, values) in zip(cache.layers, before, strict=True):
            layer.update(keys[:, :, :3], values[:, :, :3])
        for layer, (keys, values) in zip(cache.layers, held.layers, strict=True):
            assert keys.data_ptr() == layer.keys.data_ptr()
            assert values.data_ptr() == layer.values.data_ptr()
    sfm.generate(context, questions, max_new_tokens=LIMIT)
    for pair, old in zip(held.layers, before, strict=True):
        for part, copied in zip(pair, old, strict=True):
            assert torch.equal(part, copied)
            assert part.untyped_storage().nbytes() == part.nbytes


@pytest.mark.filterwarnings("ignore")
def test_transcribers_answers_that_end_at_different_steps(tiny_whisper, voices):
    sfm = ending(tiny_whisper, 3)
    questions = [sfm.question(PromptText(f"The {word} sounds")) for word in WORDS]
    keep = [(3, 9)] * len(questions)
    context = sfm.encode(voices)
    with counted(sfm.decoder) as positions:
        answers = sfm.generate(context, questions, max_new_tokens=LIMIT, keep=keep)
    assert len(set(lengths(answers))) > 3
    check_work(positions, answers)
    for question, row in zip(questions, answers, strict=True):
        for voice, answer in zip(voices, row, strict=True):
            made = sfm.model.generate(
                sfm.input_features([voice]),
                decoder_input_ids=torch.tensor([question.prefix]),
                max_new_tokens=LIMIT,
                do_sample=False,
                eos_token_id=list(sfm.stop_tokens),
            )[0].tolist()
            finished = made[-1] in sfm.stop_tokens
            assert answer.finished == finished
            assert list(answer.tokens) == made[: len(made) - finished]
    alone = [sfm.generate(sfm.select(context, 1), [q], max_new_tokens=LIMIT, keep=keep[:1])[0] for q in questions]
    check_equal([row[1:2] for row in answers], alone)


def test_a_transcriber_s_longer_question_cuts_no_other_answer(tiny_whisper, voices):
    sfm = tiny_whisper
    short, long = sfm.question(PromptText("The")), sfm.question(PromptText("The voice sounds"))
    context = sfm.encode(voices[:1])
    room = sfm.max_positions - len(long.prefix) + 1
    answers = sfm.generate(context, [short, long], max_new_tokens=10_000)
    check_equal(answers, [sfm.generate(context, [one], max_new_tokens=10_000)[0] for one in (short, long)])
    assert lengths(answers[1:]) <= [room]
    assert answers[1][0].finished or lengths(answers[1:]) == [room]
