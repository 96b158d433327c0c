"""Audio LLMs of the true transformers classes, tiny and random, against plain forward passes and `generate`."""

from __future__ import annotations

import copy

import pytest
import torch
from conftest import FAMILIES, OTHERS
from tiny.plain import chat_inputs, chat_logits

from emoprobe.errors import InputError
from emoprobe.models import chat_llm, prefilled
from emoprobe.models.answering import Question, Sampling
from emoprobe.models.text import PromptText

PROMPTS = (
    PromptText(instruction="What is the emotion? Answer with one word."),
    PromptText(instruction="What does the person feel in this voice? Choose one word.", before="The emotion is"),
    PromptText(instruction="Which?", system="You are a helpful assistant of the person."),
    PromptText(instruction="The voice in this recording is", audio_first=False),
)


@pytest.fixture(params=[*FAMILIES, *OTHERS])
def sfm(request, tiny_llm):
    return tiny_llm(request.param)


@pytest.fixture
def questions(sfm):
    return [
        sfm.question(prompt, [f" {word}" if prompt.before else word for word in ("happy", "sad", "sadness")])
        for prompt in PROMPTS
    ]


def plain_scores(sfm, waveform, question):
    """Log-probabilities of every continuation token by one plain forward pass each."""
    rows = []
    after = question.prefix[len(question.prefix) - question.added :]
    for continuation in question.continuations:
        logits = chat_logits(sfm, question.prompt, waveform, (*after, *continuation[:-1])).log_softmax(-1)
        rows.append(logits[-len(continuation) :].gather(-1, torch.tensor(continuation)[:, None])[:, 0])
    return rows


@pytest.mark.parametrize("size", [1, 3, 8])
def test_scores_are_those_of_plain_forward_passes(sfm, questions, voices, size):
    waveforms = [voices[i % 3][: 9_000 + 700 * i] for i in range(size)]
    scores = sfm.score(sfm.encode(waveforms), questions)
    for clip in {0, size // 2, size - 1}:
        for question, ours in zip(questions, scores, strict=True):
            for values, expected in zip(ours, plain_scores(sfm, waveforms[clip], question), strict=True):
                torch.testing.assert_close(values[clip], expected, atol=1e-4, rtol=0)


def test_raw_logits_and_normalizers_are_those_of_plain_forward_passes(sfm, questions, voices):
    found = sfm.score_logits(sfm.encode(voices), questions)
    for question, forms in zip(questions, found, strict=True):
        for continuation, values in zip(question.continuations, forms, strict=True):
            for voice, (logits, normalizers) in zip(voices, values, strict=True):
                plain = chat_logits(sfm, question.prompt, voice, continuation[:-1])[-len(continuation) :]
                expected = plain.gather(-1, torch.tensor(continuation)[:, None])[:, 0]
                torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
                torch.testing.assert_close(normalizers, plain.logsumexp(-1), atol=1e-4, rtol=0)


def test_the_reference_is_the_plain_forward_pass(sfm, questions, voices):
    for question in questions:
        written = question.continuations[-1][:-1]
        ours = sfm.reference(voices[0], question, written)
        torch.testing.assert_close(ours, chat_logits(sfm, question.prompt, voices[0], written), atol=1e-5, rtol=0)


def test_the_reference_knows_what_was_written_after_the_prompt(sfm, voices):
    question = sfm.question(PROMPTS[0])
    asked = sfm.extend(sfm.extend(question, (40, 41), " The"), (42,), " voice is", [" happy"])
    written = asked.prefix[len(question.prefix) :]
    assert len(written) > 4
    expected = chat_logits(sfm, PROMPTS[0], voices[0], written)
    torch.testing.assert_close(sfm.reference(voices[0], asked), expected, atol=1e-5, rtol=0)
    ours = sfm.logits(sfm.encode(voices[:1]), [asked])[0, 0]
    torch.testing.assert_close(ours, expected[-1], atol=1e-4, rtol=0)


def test_results_depend_neither_on_padding_nor_on_order(sfm, questions, voices):
    right = sfm.score(sfm.encode(voices), questions)
    left = sfm.score(sfm.encode(voices, padding="left"), questions)
    turned = sfm.score(sfm.encode(voices[::-1]), questions[::-1])[::-1]
    for a, b, c in zip(right, left, turned, strict=True):
        for x, y, z in zip(a, b, c, strict=True):
            torch.testing.assert_close(x, y, atol=1e-4, rtol=0)
            torch.testing.assert_close(x, z.flip(0), atol=1e-4, rtol=0)


def test_many_passes_are_as_one(sfm, questions, voices, monkeypatch):
    context = sfm.encode(voices)
    whole = sfm.score(context, questions)
    answers = sfm.generate(context, questions, max_new_tokens=3)
    monkeypatch.setattr(chat_llm, "MAX_NODES", 1)
    monkeypatch.setattr(chat_llm, "MAX_ANSWERS", 1)
    monkeypatch.setattr(prefilled, "MAX_PREFIXES", 1)
    parts = sfm.score(sfm.encode(voices), questions)
    for a, b in zip(whole, parts, strict=True):
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x, y, atol=1e-4, rtol=0)
    again = sfm.generate(sfm.encode(voices), questions, max_new_tokens=3)
    assert [[a.tokens for a in row] for row in answers] == [[a.tokens for a in row] for row in again]


def test_generation_is_that_of_the_class(sfm, questions, voices):
    ours = sfm.generate(sfm.encode(voices), questions[:2], max_new_tokens=7)
    for question, row in zip(questions, ours, strict=False):
        for waveform, answer in zip(voices, row, strict=True):
            inputs = chat_inputs(sfm, question.prompt, waveform)
            expected = sfm.model.generate(
                **inputs, do_sample=False, max_new_tokens=7, temperature=None, top_p=None, top_k=None
            )[0, inputs["input_ids"].shape[1] :].tolist()
            assert answer.tokens == tuple(expected[: len(answer.tokens)])
            assert answer.finished == (expected[-1] in sfm.stop_tokens)
            assert len(answer.log_normalizer) == len(answer.tokens) + answer.finished


def test_kept_logits_are_raw(sfm, questions, voices):
    keep = tuple(range(20, 26))
    answer = sfm.generate(sfm.encode(voices[:1]), questions[:1], max_new_tokens=4, keep=[keep])[0][0]
    logits = sfm.reference(voices[0], questions[0], answer.tokens)[-len(answer.tokens) - 1 :]
    count = len(answer.log_normalizer)
    torch.testing.assert_close(answer.kept_logits, logits[:count, list(keep)], atol=2e-4, rtol=0)
    torch.testing.assert_close(answer.log_normalizer, logits[:count].logsumexp(-1), atol=2e-4, rtol=0)


def test_layers_end_in_the_score_and_pass_the_final_norm(sfm, questions, voices):
    context = sfm.encode(voices[:2])
    layers, scores = sfm.score_layers(context, questions[:1])[0], sfm.score(context, questions[:1])[0]
    inputs = chat_inputs(sfm, questions[0].prompt, voices[0])
    with torch.no_grad():
        out = sfm.model(**inputs, output_hidden_states=True)
    hidden = out.hidden_states
    decoder = sfm.family.decoder
    for values, score, continuation in zip(layers, scores, questions[0].continuations, strict=True):
        assert values.shape == (2, len(decoder.layers) + 1, len(continuation))
        torch.testing.assert_close(values[:, -1], score)
        for layer in range(len(decoder.layers)):
            with torch.no_grad():
                logits = sfm.family.head.logits(decoder.norm(hidden[layer][0, -1]))
            expected = logits.log_softmax(-1)[continuation[0]]
            torch.testing.assert_close(values[0, layer, 0], expected, atol=1e-4, rtol=0)


def test_one_clip_of_a_batch_is_that_clip(sfm, questions, voices):
    context = sfm.encode(voices)
    whole = sfm.score(context, questions)
    part = sfm.select(context, 1)
    for a, b in zip(whole, sfm.score(part, questions), strict=True):
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x[1:2], y, atol=1e-4, rtol=0)
    one, all_of_them = (sfm.hidden_states(each, questions[0])[1] for each in (part, context))
    torch.testing.assert_close(one, all_of_them[1:2], atol=1e-5, rtol=1e-5)


def test_a_prefix_is_never_modified(sfm, questions, voices):
    context = sfm.encode(voices)
    first = sfm.score(context, questions)
    (prefix, *_) = context.state.prefixes.values()
    before = [(keys.clone(), values.clone()) for keys, values in prefix.layers]
    sfm.generate(context, questions, max_new_tokens=3)
    sfm.score_layers(context, questions)
    for (keys, values), (old_keys, old_values) in zip(prefix.layers, before, strict=True):
        assert torch.equal(keys, old_keys)
        assert torch.equal(values, old_values)
    for a, b in zip(first, sfm.score(context, questions), strict=True):
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x, y, atol=1e-5, rtol=0)


@torch.no_grad()
def test_encoder_states_do_not_depend_on_the_batch(sfm, voices):
    layers = range(len(sfm.family.encoder_layers) + 1)
    together = sfm.hear(voices, layers).states
    (alone,) = sfm.hear(voices[1:2], layers).states
    assert [sorted(states) for states in together] == [list(layers)] * len(voices)
    for layer in layers:
        torch.testing.assert_close(together[1][layer], alone[layer])
    assert not torch.allclose(together[0][0].mean(0), together[1][0].mean(0))
    with pytest.raises(InputError, match=f"no encoder layer {len(layers)}"):
        sfm.hear(voices[:1], (len(layers),))


def test_states_at_the_answer_position_are_the_class_s(sfm, questions, voices):
    ours = sfm.hidden_states(sfm.encode(voices[:1]), question=questions[0])
    with torch.no_grad():
        out = sfm.model(**chat_inputs(sfm, questions[0].prompt, voices[0]), output_hidden_states=True)
    for layer, states in enumerate(out.hidden_states):
        torch.testing.assert_close(ours[layer][0], states[0, -1], atol=1e-4, rtol=0)


def test_without_audio_the_place_of_the_sound_is_empty(sfm, questions):
    values = sfm.score(sfm.encode_without_audio(), questions[:1])[0][0]
    prefix = tuple(token for token in questions[0].prefix if token != sfm.family.audio_token_id)
    ids = torch.tensor([[*prefix, *questions[0].continuations[0][:-1]]])
    with torch.no_grad():
        logits = sfm.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].float()
    logits = sfm.family.class_logits(logits).log_softmax(-1)
    continuation = torch.tensor(questions[0].continuations[0])
    expected = logits[-len(continuation) :].gather(-1, continuation[:, None])[:, 0]
    torch.testing.assert_close(values[0], expected, atol=1e-4, rtol=0)


def test_draws_are_repeatable_and_follow_the_distribution(tiny_llm, voices):
    sfm = tiny_llm("qwen2_audio")
    question = sfm.question(PROMPTS[0])
    count = 400
    context = sfm.encode(voices[:2])
    seeds = [[1000 * clip + draw for clip in range(2)] for draw in range(count)]
    drawn = sfm.generate(context, [question] * count, max_new_tokens=1, sampling=Sampling(0.7, seeds))
    alone = sfm.generate(
        sfm.encode(voices[1:2]), [question] * 5, max_new_tokens=1, sampling=Sampling(0.7, [s[1:] for s in seeds[:5]])
    )
    assert [row[1].tokens for row in drawn[:5]] == [row[0].tokens for row in alone]
    probabilities = (sfm.logits(context, [question])[0, 0] / 0.7).softmax(-1)
    top = int(probabilities.argmax())
    share = sum(row[0].tokens[:1] == (top,) for row in drawn) / count
    p = probabilities[top].item()
    assert abs(share - p) < 4 * (p * (1 - p) / count) ** 0.5


def test_granite_is_read_with_the_scaling_it_was_trained_with(tiny_llm, voices):
    sfm = tiny_llm("granite_speech")
    scaling = sfm.model.config.text_config.logits_scaling
    assert scaling != 1
    question = sfm.question(PROMPTS[0])
    with torch.no_grad():
        plain = sfm.model(**chat_inputs(sfm, question.prompt, voices[0])).logits[0, -1]
    ours = sfm.logits(sfm.encode(voices[:1]), [question])[0, 0]
    torch.testing.assert_close(ours, plain / scaling, atol=1e-4, rtol=0)


def test_bfloat16_is_near_float32(tiny_path, tiny_llm, voices):
    from emoprobe.models.load import load_audio_llm

    half = load_audio_llm("tiny", path=tiny_path("qwen2_audio"), device="cpu", dtype="bfloat16")
    full = tiny_llm("qwen2_audio")
    question = full.question(PROMPTS[0], ["happy", "sad"])
    near = [values.sum(-1) for values in half.score(half.encode(voices), [question])[0]]
    exact = [values.sum(-1) for values in full.score(full.encode(voices), [question])[0]]
    assert near[0].dtype == torch.float32
    torch.testing.assert_close(torch.stack(near), torch.stack(exact), atol=0.5, rtol=0)


@pytest.mark.parametrize(
    ("prompt", "continuations", "message"),
    [
        (PromptText(context="Before."), ["sad"], "no slot for the transcript"),
        (PromptText(instruction="Say <|im_end|>"), ["sad"], "control token"),
        (PromptText(instruction="Which?", before="<|AUDIO|>"), ["sad"], "control token"),
        (PromptText(instruction="Which?"), [""], "has no token"),
        (PromptText(instruction="Which?", before="sad"), ["ness"], None),
        (PromptText(instruction="Which?", before="sa"), ["d"], "joins the end"),
    ],
)
def test_bad_prompts_are_refused(tiny_llm, prompt, continuations, message):
    sfm = tiny_llm("qwen2_audio")
    if message is None:
        assert isinstance(sfm.question(prompt, continuations), Question)
        return
    with pytest.raises(InputError, match=message):
        sfm.question(prompt, continuations)


def test_a_template_without_the_sound_is_refused(tiny_llm):
    sfm = copy.copy(tiny_llm("qwen2_audio"))
    sfm.family = copy.copy(sfm.family)
    sfm.family.messages = lambda prompt: [{"role": "user", "content": "Hello"}]
    with pytest.raises(InputError, match=r"0 placeholders .* Check the chat template"):
        sfm.question(PROMPTS[0])


def test_a_missing_template_is_named(tiny_llm):
    sfm = copy.copy(tiny_llm("audio_flamingo3"))
    sfm.family = copy.copy(sfm.family)
    sfm.family.processor = copy.copy(sfm.family.processor)
    sfm.family.processor.chat_template = None
    with pytest.raises(InputError, match="chat template cannot be used"):
        sfm.question(PROMPTS[0])


def test_too_short_a_clip_is_refused_and_the_shortest_is_read(sfm, voices):
    for length in (0, 1, sfm.min_samples - 1):
        with pytest.raises(
            InputError, match=f"clip 1 of the batch has {length} samples and .* needs {sfm.min_samples}"
        ):
            sfm.encode([voices[0], voices[0][:length]])
    assert sfm.min_samples <= 0.1 * sfm.sampling_rate  # what configurations take at least
    shortest = voices[1][4_000 : 4_000 + sfm.min_samples]
    question = sfm.question(PROMPTS[0], ["happy"])
    ours = sfm.score(sfm.encode([shortest]), [question])[0][0][0]
    torch.testing.assert_close(ours, plain_scores(sfm, shortest, question)[0], atol=1e-4, rtol=0)


def test_too_long_a_clip_is_refused(tiny_llm):
    sfm = tiny_llm("qwen2_audio")
    with pytest.raises(InputError, match="longer than the 30 s"):
        sfm.encode([torch.zeros(31 * 16_000)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float16"}, "unknown dtype"),
        ({"attention": "flash_attention_2"}, "unknown attention"),
        ({"quantization": "2bit"}, "unknown quantization"),
    ],
)
def test_bad_options_are_refused(tiny_path, options, message):
    from emoprobe.models.load import load_audio_llm

    with pytest.raises(InputError, match=message):
        load_audio_llm("tiny", path=tiny_path("qwen2_audio"), **options)


@pytest.mark.parametrize("family", ["qwen2_audio", "audio_flamingo3"])
def test_a_model_of_the_common_form_needs_no_family(tiny_path, tiny_llm, voices, family, monkeypatch):
    from emoprobe.models import families
    from emoprobe.models.families.chat import ChatFamily
    from emoprobe.models.load import load_audio_llm

    monkeypatch.setattr(families, "FAMILIES", {})
    other, sfm = load_audio_llm("tiny", path=tiny_path(family), device="cpu"), tiny_llm(family)
    assert type(other.family) is ChatFamily
    question = sfm.question(PROMPTS[0], ["happy"])
    assert other.question(PROMPTS[0], ["happy"]) == question
    scores = [one.score(one.encode(voices), [question])[0][0] for one in (other, sfm)]
    torch.testing.assert_close(*scores)


def test_quantization_without_bitsandbytes_names_the_remedy(tiny_path):
    from emoprobe.models.load import load_audio_llm

    pytest.importorskip("accelerate")
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match="bitsandbytes"):
            load_audio_llm("tiny", path=tiny_path("qwen2_audio"), quantization="8bit")


def test_eager_attention_gives_the_same(tiny_path, tiny_llm, voices):
    from emoprobe.models.load import load_audio_llm

    eager = load_audio_llm("tiny", path=tiny_path("qwen2_audio"), device="cpu", attention="eager")
    sfm = tiny_llm("qwen2_audio")
    question = sfm.question(PROMPTS[0], ["happy"])
    torch.testing.assert_close(
        eager.score(eager.encode(voices), [question])[0][0],
        sfm.score(sfm.encode(voices), [question])[0][0],
        atol=1e-4,
        rtol=0,
    )


def test_a_whisper_is_no_audio_llm(tiny_whisper_path):
    from emoprobe.models.load import load_audio_llm

    with pytest.raises(InputError, match="no model that hears and chats"):
        load_audio_llm("tiny", path=tiny_whisper_path)


def test_after_written_tokens_comes_further_text(sfm, voices):
    base = sfm.question(PROMPTS[0])
    written = (7, 8, 9)
    question = sfm.extend(base, written, "\nAnswer:", [" happy", " sad"])
    assert question.prefix[: len(base.prefix) + 3] == (*base.prefix, *written)
    scores = sfm.score(sfm.encode(voices[:1]), [question])[0]
    for values, expected in zip(scores, plain_scores(sfm, voices[0], question), strict=True):
        torch.testing.assert_close(values[0], expected, atol=1e-4, rtol=0)
