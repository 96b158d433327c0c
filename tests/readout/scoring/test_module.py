"""What is asked of a model and how: memory, hearing, facts, reasoning, draws, filled dictionaries."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.labels import LabelSet
from emoprobe.prompts.answers import FORMATS
from emoprobe.prompts.prompt import make_prompts
from emoprobe.readout.base import make_readouts
from emoprobe.readout.constrained_text import SHARES
from emoprobe.readout.scoring.module import ZeroShotProbe
from emoprobe.readout.scoring.plan import Plans, make_plan
from emoprobe.readout.scoring.read import read

LABELS = LabelSet("two", ("happy", "sad"), {"happy": {"adjective": ["happy"]}, "sad": {"adjective": ["sad"]}})
ASK = {"family": "instruction", "instruction": "Which of {labels}?"}
TOLD = {"family": "instruction", "instruction": "It says: {transcript}. Which of {labels}?"}
REASON = ASK | {"reasoning_tokens": 5, "answer_cue": "Answer:"}
EVERYTHING = {
    "label_likelihood": {},
    "averaged_logits": {"max_new_tokens": 3},
    "generated_text": {"max_new_tokens": 4},
    "sampled_text": {"samples": 3, "max_new_tokens": 2},
    "constrained_text": {"max_new_tokens": 3},
    "layerwise": {},
}


def clip(waveform, name):
    return SimpleNamespace(
        waveform=waveform.numpy(),
        sha256=name,
        duration_seconds=len(waveform) / 16_000,
        truncated=False,
        windows=1,
    )


def batch(voices):
    return SimpleNamespace(
        utterances=[SimpleNamespace(id=f"u{i}") for i in range(len(voices))],
        clips=[clip(voice, f"sound{i}") for i, voice in enumerate(voices)],
        prepared=(),
    )


def probe(sfm, prompts, readouts=None, facts=None):
    plans = Plans(sfm, make_prompts(prompts, LABELS), LABELS, facts)
    return ZeroShotProbe(sfm, plans, make_readouts(readouts or {"label_likelihood": {}}))


@pytest.fixture
def sfm(tiny_llm):
    return tiny_llm("qwen2_audio")


def test_rows_do_not_depend_on_the_batch(sfm, voices):
    facts = {f"u{i}": {"transcript": f"the voice {i}"} for i in range(3)}
    prompts = {"plain": ASK, "told": TOLD, "reasoned": REASON}
    whole = probe(sfm, prompts, EVERYTHING, facts).predict_step(batch(voices))
    alone = probe(sfm, prompts, EVERYTHING, facts)
    part = batch(voices)
    single = SimpleNamespace(utterances=part.utterances[1:2], clips=part.clips[1:2], prepared=())
    rows = {(row["prompt"], row["readout"]): row for row in whole if row["utterance_id"] == "u1"}
    assert len(rows) == 3 * 6
    for row in alone.predict_step(single):
        other = rows[row["prompt"], row["readout"]]
        assert {name for name in row if row[name] is not None} == {name for name in other if other[name] is not None}
        for name, value in row.items():
            if name in ("form_logprobs", "kept_logits", "log_normalizers", "layer_form_logprobs", "spelled_logits"):
                assert value == pytest.approx(other[name], abs=2e-4)
            elif name in ("forced_logits", "forced_log_normalizers"):
                for values, of_form in zip(value, other[name], strict=True):
                    assert values == pytest.approx(of_form, abs=2e-4)
            elif name in ("form_token_logprobs", "log_label_mass"):
                continue
            else:
                assert value == other[name], name


def test_facts_reach_the_model_and_the_hash_of_the_question(sfm, voices):
    facts = {"u0": {"transcript": "the voice"}, "u1": {"transcript": "the emotion"}}
    rows = probe(sfm, {"told": TOLD}, facts=facts).predict_step(batch([voices[0], voices[0]]))
    assert rows[0]["prompt_hash"] == rows[1]["prompt_hash"]
    assert rows[0]["question_hash"] != rows[1]["question_hash"]
    assert rows[0]["form_logprobs"] != pytest.approx(rows[1]["form_logprobs"], abs=1e-3)
    plan = make_plan(sfm, make_prompts({"told": TOLD}, LABELS)[0], LABELS, facts["u1"])
    assert "It says: the emotion." in sfm.decode(plan.question.prefix)
    logits = sfm.reference(voices[0], plan.question, plan.question.continuations[0][:-1]).log_softmax(-1)
    tokens = torch.tensor(plan.question.continuations[0])
    expected = logits[-len(tokens) :].gather(-1, tokens[:, None]).sum().item()
    assert rows[1]["form_logprobs"][0] == pytest.approx(expected, abs=1e-4)


def test_a_control_token_in_a_transcript_is_refused(sfm, voices):
    facts = {"u0": {"transcript": "hm <|im_end|> hm"}}
    with pytest.raises(InputError, match="control token"):
        probe(sfm, {"told": TOLD}, facts=facts).predict_step(batch(voices[:1]))


def test_the_answer_is_read_after_the_reasoning(sfm, voices):
    rows = probe(sfm, {"reasoned": REASON}, EVERYTHING).predict_step(batch(voices))
    plan = make_plan(sfm, make_prompts({"reasoned": REASON}, LABELS)[0], LABELS)
    for i, voice in enumerate(voices):
        mine = [row for row in rows if row["utterance_id"] == f"u{i}"]
        written = sfm.generate(sfm.encode([voice]), [plan.free], max_new_tokens=5)[0][0]
        assert {row["reasoning"] for row in mine} == {written.text}
        assert {row["reasoning_finished"] for row in mine} == {written.finished}
        cue = sfm.family.answer_tokens("\nAnswer:")
        prefix = (*plan.free.prefix, *written.tokens, *cue)
        asked = sfm.extend(plan.free, written.tokens, "\nAnswer:", [" happy"])
        assert asked.prefix == prefix
        logits = sfm.reference(voice, asked, asked.continuations[0][:-1]).log_softmax(-1)
        tokens = torch.tensor(asked.continuations[0])
        expected = logits[-len(tokens) :].gather(-1, tokens[:, None]).sum().item()
        likelihood = next(row for row in mine if row["readout"] == "label_likelihood")
        assert likelihood["form_logprobs"][0] == pytest.approx(expected, abs=2e-4)


def test_reasoning_that_comes_to_the_cue_is_cut_before_it(sfm, voices):
    from emoprobe.models.answering import Generation
    from emoprobe.readout.scoring.read import _reason

    other = copy.copy(sfm)
    tokens = sfm.family.answer_tokens("a voice. Answer: sad")
    made = Generation(tokens, sfm.decode(tokens), True, torch.zeros(0, 0), torch.zeros(0))
    other.generate = lambda *arguments, **options: [[made]]
    plan = make_plan(sfm, make_prompts({"reasoned": REASON}, LABELS)[0], LABELS)
    [[(written, after)]] = _reason(other, None, [plan])
    assert written["reasoning"].rstrip() == "a voice."
    assert sfm.decode(after.question.prefix).count("Answer:") == 1


def test_a_dictionary_is_filled_with_the_likeliest_numbers(sfm, voices):
    rows = probe(sfm, {"plain": ASK}, {"constrained_text": {"max_new_tokens": 3}}).predict_step(batch(voices[:1]))
    text = rows[0]["generated_text"]
    assert list(json.loads(text)) == ["happy", "sad"]
    plan = make_plan(sfm, make_prompts({"plain": ASK}, LABELS)[0], LABELS)
    scores = {}
    for share in SHARES:  # each by one plain forward pass
        question = sfm.extend(plan.free, (), '{"happy":', [f" {share},"])
        tokens = question.continuations[0][:-1]
        logits = sfm.reference(voices[0], question, tokens[:-1]).log_softmax(-1)
        scores[share] = logits[-len(tokens) :].gather(-1, torch.tensor(tokens)[:, None]).sum().item()
    assert text.startswith(f'{{"happy": {max(scores, key=scores.get)}, "sad": ')
    assert rows[0]["free_text"] == sfm.generate(sfm.encode(voices[:1]), [plan.free], max_new_tokens=3)[0][0].text


def test_draws_differ_between_draws_and_repeat_with_the_seed(sfm, voices):
    options = {"sampled_text": {"samples": 6, "max_new_tokens": 3}}
    first = probe(sfm, {"plain": ASK}, options).predict_step(batch(voices))
    again = probe(sfm, {"plain": ASK}, options).predict_step(batch(voices))
    other = probe(sfm, {"plain": ASK}, {"sampled_text": options["sampled_text"] | {"seed": 1}}).predict_step(
        batch(voices)
    )
    assert [row["sampled_texts"] for row in first] == [row["sampled_texts"] for row in again]
    assert [row["sampled_texts"] for row in first] != [row["sampled_texts"] for row in other]
    assert len(set(first[0]["sampled_texts"])) > 1


# -- limits ------------------------------------------------------------------------------------------------------------


def scripted(sfm, text):
    """The model, except that it writes a text, which ends it, whatever it is asked; limits are kept as they are."""
    from emoprobe.models.answering import Generation

    other, tokens = copy.copy(sfm), sfm.family.answer_tokens(text)

    def generate(context, questions, *, max_new_tokens, keep=None, sampling=None):
        other.limits.append(max_new_tokens)
        made = []
        for ids, limit in zip(keep or [()] * len(questions), max_new_tokens, strict=True):
            said, ended = tokens[:limit], len(tokens) < limit
            count = len(said) + ended
            made.append(Generation(said, sfm.decode(said), ended, torch.zeros(count, len(ids)), torch.zeros(count)))
        return [[one] * context.size for one in made]

    other.generate, other.limits = generate, []
    return other, len(tokens)


def test_an_answer_may_be_as_long_as_its_format_wants_and_each_format_its_own(sfm, voices):
    prompts = make_prompts(
        {"word": ASK, "dict": ASK | {"instruction": "A dict of {labels}?", "format": "probability_dict"}}, LABELS
    )
    plans = [make_plan(sfm, prompt, LABELS) for prompt in prompts]
    model, _ = scripted(sfm, "a voice")
    texts = make_readouts(
        {"generated_text": {}, "sampled_text": {"samples": 2}, "averaged_logits": {}, "constrained_text": {}}
    )
    rows = read(model, sfm.encode(voices[:1]), plans, texts, ["x"])[0]
    word, whole = FORMATS["single_word"].max_new_tokens, FORMATS["probability_dict"].max_new_tokens
    assert word < whole
    assert model.limits == [[word, whole], [word, word, whole, whole]]  # the greedy answers, and the drawn ones
    limits = {(row["prompt"], row["readout"]): json.loads(row["readout_options"])["max_new_tokens"] for row in rows}
    for name in ("generated_text", "sampled_text", "constrained_text"):
        assert [limits["word", name], limits["dict", name]] == [word, whole]
    assert limits["dict", "averaged_logits"] == 16
    assert {row["prompt"]: row["answer_format"] for row in rows} == {"word": "single_word", "dict": "probability_dict"}


def test_an_answer_is_finished_only_if_its_end_is_within_the_limit(sfm, voices):
    text = "the voice and the emotion of the voice"
    model, length = scripted(sfm, text)
    assert length > 4
    plan = make_plan(sfm, make_prompts({"plain": ASK}, LABELS)[0], LABELS)
    for limit, finished in ((length - 1, False), (length, False), (length + 1, True)):
        options = {name: {"max_new_tokens": limit} for name in ("generated_text", "sampled_text", "constrained_text")}
        for others in ({}, {"averaged_logits": {"max_new_tokens": 2}}, {"averaged_logits": {"max_new_tokens": 99}}):
            rows = read(model, sfm.encode(voices[:1]), [plan], make_readouts(options | others), ["x"])[0]
            row = {row["readout"]: row for row in rows}
            assert row["generated_text"]["finished"] is finished
            assert row["sampled_text"]["sampled_finished"] == [finished] * 10
            assert row["constrained_text"]["free_finished"] is finished
            assert row["constrained_text"]["finished"] is True
            if finished:
                assert row["generated_text"]["generated_text"].strip() == text
            if others:
                kept = min(others["averaged_logits"]["max_new_tokens"], length + 1)
                assert len(row["averaged_logits"]["log_normalizers"]) == kept
                assert row["averaged_logits"]["finished"] is (kept > length)


def test_a_real_answer_under_its_limit_and_one_token_less(sfm, voices):
    """The end token counts: the model's own loop and the shortening of longer answers agree on it."""
    other = copy.copy(sfm)
    plan = make_plan(sfm, make_prompts({"plain": ASK}, LABELS)[0], LABELS)
    context = sfm.encode(voices[:1])
    long = sfm.generate(context, [plan.free], max_new_tokens=6)[0][0]
    # Make the last token an end token: then the answer has five tokens and ends with the sixth.
    assert long.tokens[5] not in long.tokens[:5]
    other.stop_tokens = (*sfm.stop_tokens, long.tokens[5])
    for limit, finished in ((5, False), (6, True), (9, True)):
        alone = read(other, context, [plan], make_readouts({"generated_text": {"max_new_tokens": limit}}), ["x"])[0][0]
        beside = {"generated_text": {"max_new_tokens": limit}, "averaged_logits": {"max_new_tokens": 12}}
        shared = read(other, context, [plan], make_readouts(beside), ["x"])[0][0]
        for row in (alone, shared):
            assert (row["finished"], tuple(row["generated_tokens"])) == (finished, long.tokens[:5])


@pytest.mark.parametrize(
    ("text", "finished", "expected"),
    [("a voice", True, True), ("a voice", False, False), ("a voice. Answer: sad", False, True)],
)
def test_reasoning_is_finished_if_it_ended_or_came_to_the_cue(sfm, text, finished, expected):
    from emoprobe.models.answering import Generation
    from emoprobe.readout.scoring.read import _reason

    other = copy.copy(sfm)
    tokens = sfm.family.answer_tokens(text)
    made = Generation(tokens, sfm.decode(tokens), finished, torch.zeros(0, 0), torch.zeros(0))
    other.generate = lambda *arguments, **options: [[made]]
    plan = make_plan(sfm, make_prompts({"reasoned": REASON}, LABELS)[0], LABELS)
    [[(written, _)]] = _reason(other, None, [plan])
    assert written["reasoning_finished"] is expected


def test_out_of_memory_halves_the_batch_and_says_so_once(sfm, voices, capsys, monkeypatch):
    expected = probe(sfm, {"plain": ASK}).predict_step(batch([*voices, voices[0]]))
    small, sizes = copy.copy(sfm), []
    encode = sfm.encode

    def limited(waveforms, **options):
        if len(waveforms) != 4 or sizes:  # the check of hearing encodes four waveforms, too
            sizes.append(len(waveforms))
        if sizes and len(waveforms) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return encode(waveforms, **options)

    small.encode = limited
    module = probe(small, {"plain": ASK})
    module.heard = True
    sizes.append(0)
    rows = module.predict_step(batch([*voices, voices[0]])) + module.predict_step(batch(voices[:2]))
    assert sizes[1:] == [4, 2, 1, 1, 1, 1, 1, 1]
    assert [row["form_logprobs"] for row in rows[:4]] == [pytest.approx(r["form_logprobs"], abs=1e-4) for r in expected]
    assert capsys.readouterr().err.count("out of memory") == 1


def test_one_clip_that_does_not_fit_ends_the_run_with_a_remedy(sfm, voices):
    small = copy.copy(sfm)

    def full(*arguments, **options):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    small.score_logits = full
    module = probe(small, {"plain": ASK})
    module.heard = True
    with pytest.raises(EmoprobeError, match=r"single clip does not fit .* model\.dtype=bfloat16"):
        module.predict_step(batch(voices))


def test_other_errors_are_not_taken_for_memory(sfm, voices):
    small = copy.copy(sfm)

    def fail(*arguments, **options):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    small.score_logits = fail
    module = probe(small, {"plain": ASK})
    module.heard = True
    with pytest.raises(RuntimeError, match="shapes"):
        module.predict_step(batch(voices))


def test_a_model_that_is_read_wrongly_stops_the_run(sfm, voices):
    wrong = copy.copy(sfm)
    wrong.family = copy.copy(sfm.family)
    wrong.family.inputs = (
        lambda prompt, waveform: (
            (  # a processor that adds a token where it is not looked for
                inputs := sfm.family.inputs(prompt, waveform)
            )
            | {name: torch.cat([inputs[name][:, :1], inputs[name]], dim=1) for name in ("input_ids", "attention_mask")}
        )
    )
    frame = sfm.family.frame
    wrong.family.frame = lambda prompt: frame(prompt)
    wrong._hear = sfm._hear
    with pytest.raises(EmoprobeError, match="not read rightly"):
        probe(wrong, {"plain": ASK}).predict_step(batch(voices))


def test_a_deaf_model_stops_the_run(sfm, voices, tiny_whisper):
    deaf = copy.copy(sfm)
    hear = sfm._hear
    deaf._hear = lambda *sounds: [replace(one, embeddings=torch.zeros_like(one.embeddings)) for one in hear(*sounds)]
    with pytest.raises(EmoprobeError, match="does not hear"):
        probe(deaf, {"plain": ASK}).predict_step(batch(voices))
    module = probe(sfm, {"plain": ASK})
    module.predict_step(batch([torch.zeros(16_000)]))  # a silent clip is no proof of deafness: noise sounds different
    assert module.heard
    whisper = copy.copy(tiny_whisper)
    whisper.encode = lambda waveforms, **options: tiny_whisper.encode([torch.zeros(16_000)] * len(waveforms), **options)
    with pytest.raises(EmoprobeError, match="does not hear"):
        probe(whisper, {"bare": {"template": "{label}"}}).predict_step(batch(voices))


def test_whisper_refuses_instructions(tiny_whisper):
    with pytest.raises(InputError, match="cannot follow an instruction"):
        probe(tiny_whisper, {"plain": ASK})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"tea_leaves": {}}, r"'tea_leaves' is not one of .*layerwise.*field readout"),
        (
            {"generated_text": {"max_new_tokens": 0}},
            r"0 is not a whole number of at least 1 or null \(field readout.generated_text.max_new_tokens\)",
        ),
        ({"sampled_text": {"max_new_tokens": 2.5}}, r"2.5 is not a whole number of at least 1 or null"),
        (
            {"sampled_text": {"samples": 0}},
            r"0 is not a whole number of at least 1 \(field readout.sampled_text.samples\)",
        ),
        ({"sampled_text": {"heat": 1}}, r"no option 'heat' \(field readout.sampled_text.heat\)"),
        ({}, "no readout"),
    ],
)
def test_bad_readouts_are_refused(config, message):
    with pytest.raises(InputError, match=message):
        make_readouts(config)


def test_the_letters_of_options_are_scored(sfm, voices):
    prompt = ASK | {"instruction": "Which?\n{options}", "answer": "letter", "orders": 2}
    prompts = make_prompts({"letters": prompt}, LABELS)
    plans = [make_plan(sfm, one, LABELS) for one in prompts]
    assert [plan.prompt.name for plan in plans] == ["letters@0", "letters@1"]
    assert [plan.forms for plan in plans] == [("A", "B"), ("B", "A")]
    rows = read(sfm, sfm.encode(voices[:1]), plans, make_readouts({"label_likelihood": {}}), ["x"])[0]
    for plan, row in zip(plans, rows, strict=True):
        logits = sfm.logits(sfm.encode(voices[:1]), [plan.question])[0, 0].log_softmax(-1)
        for tokens, values in zip(plan.question.continuations, row["form_token_logprobs"], strict=True):
            assert values[0] == pytest.approx(logits[tokens[0]].item(), abs=1e-4)
