"""Audio LLMs that are asked in whole passes: as plain transformers, and as the same model asked as a token tree."""

from __future__ import annotations

import copy
import json
import shutil

import pytest
import torch
from conftest import OTHERS, WHOLE
from tiny.plain import chat_inputs, chat_logits

from emoprobe.errors import InputError
from emoprobe.models.answering import Sampling
from emoprobe.models.audio_llm import AudioLLM
from emoprobe.models.families import REFUSED
from emoprobe.models.load import load_audio_llm
from emoprobe.models.progress import watching
from emoprobe.models.text import PromptText
from emoprobe.models.whole_pass import WholePassLLM, read_audio_llm

PROMPTS = (
    PromptText(instruction="What is the emotion? Answer with one word."),
    PromptText(instruction="Choose one word.", before="The emotion is", system="You are a helpful assistant."),
    PromptText(instruction="The voice in this recording is", audio_first=False),
)


@pytest.fixture(params=WHOLE)
def sfm(request, tiny_llm):
    return tiny_llm(request.param)


@pytest.fixture
def whole(tiny_llm):
    """A model that could be asked as a tree, in whole passes."""
    tree = tiny_llm("qwen3_asr")
    return WholePassLLM(tree.model, tree.family, name="whole", revision="", reason="a test")


def ask(sfm):
    return [sfm.question(p, [f" {word}" if p.before else word for word in ("happy", "sadness")]) for p in PROMPTS]


REASONS = {
    "gemma3n": "its text decoder has layers without keys and values of their own",
    "gemma4": "its text decoder has layers without keys and values of their own",
    "phi4_multimodal": "its class hands its text decoder audio_embed_sizes and audio_input_features and input_ids",
    "nemotron_h_omni": "its text decoder has linear_attention layers and layers without keys and values of their own",
    "nemo_speechlm": "its text decoder has linear_attention layers and layers without keys and values of their own",
    "inkling": "its text decoder has hybrid_sliding layers",
    "dots3_note": "its text decoder has indexed_attention layers",
}


def test_which_models_are_asked_so_and_that_it_is_said(tiny_path, tiny_llm, capsys):
    assert set(REASONS) == set(WHOLE)
    for family, why in REASONS.items():
        tiny_path(family)
        capsys.readouterr()
        assert isinstance(load_audio_llm("tiny", path=tiny_path(family), device="cpu"), WholePassLLM)
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note:")]
        assert line == f"note: tiny is asked every question in a pass of its own: {why}"
    assert isinstance(tiny_llm("gemma4_unified"), AudioLLM)
    assert isinstance(tiny_llm("qwen2_audio"), AudioLLM)


def test_scores_are_those_of_plain_forward_passes(sfm, voices):
    questions = ask(sfm)
    found = sfm.score_logits(sfm.encode(voices), questions)
    scores = sfm.score(sfm.encode(voices), questions)
    for question, forms, ours in zip(questions, found, scores, strict=True):
        for continuation, values, score in zip(question.continuations, forms, ours, strict=True):
            for clip, voice in enumerate(voices):
                plain = chat_logits(sfm, question.prompt, voice, continuation[:-1])[-len(continuation) :]
                picked = plain.gather(-1, torch.tensor(continuation)[:, None])[:, 0]
                torch.testing.assert_close(values[clip, 0], picked, atol=1e-5, rtol=0)
                torch.testing.assert_close(values[clip, 1], plain.logsumexp(-1), atol=1e-5, rtol=0)
                torch.testing.assert_close(score[clip], picked - plain.logsumexp(-1), atol=1e-5, rtol=0)


def test_a_batch_and_its_order_change_nothing(sfm, voices):
    questions = ask(sfm)
    context = sfm.encode(voices)
    together = sfm.score(context, questions)
    alone = sfm.score(sfm.encode(voices[1:2]), questions[::-1])[::-1]
    part = sfm.score(sfm.select(context, 1), questions)
    for a, b, c in zip(together, alone, part, strict=True):
        for x, y, z in zip(a, b, c, strict=True):
            assert torch.equal(x[1:2], y)
            assert torch.equal(y, z)


def test_the_reference_and_next_token_logits(sfm, voices):
    questions = ask(sfm)
    logits = sfm.logits(sfm.encode(voices[:2]), questions)
    for i, question in enumerate(questions):
        expected = chat_logits(sfm, question.prompt, voices[1])
        torch.testing.assert_close(sfm.reference(voices[1], question), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(logits[1, i], expected[-1], atol=1e-5, rtol=0)


def test_generation_is_that_of_the_class_and_its_logits_are_raw(sfm, voices):
    questions, keep = ask(sfm)[:2], tuple(range(20, 26))
    steps = []
    with watching(steps.append):
        ours = sfm.generate(sfm.encode(voices[:2]), questions, max_new_tokens=6, keep=[keep, keep])
    assert sum(step.asked for step in steps) == sum(step.ended for step in steps) == 4
    assert sum(step.settled for step in steps) == 4 * 6
    assert sum(step.tokens for step in steps) >= sum(len(answer.log_normalizer) for row in ours for answer in row)
    for question, row in zip(questions, ours, strict=True):
        for voice, answer in zip(voices, row, strict=False):
            inputs = chat_inputs(sfm, question.prompt, voice)
            expected = sfm.model.generate(
                **inputs, do_sample=False, use_cache=False, max_new_tokens=6, temperature=None, top_p=None, top_k=None
            )[0, inputs["input_ids"].shape[1] :].tolist()
            assert answer.tokens == tuple(expected[: len(answer.tokens)])
            assert answer.finished == (expected[-1] in sfm.stop_tokens)
            count = len(answer.tokens) + answer.finished
            plain = chat_logits(sfm, question.prompt, voice, answer.tokens)[-len(answer.tokens) - 1 :][:count]
            torch.testing.assert_close(answer.kept_logits, plain[:, list(keep)], atol=2e-4, rtol=0)
            torch.testing.assert_close(answer.log_normalizer, plain.logsumexp(-1), atol=2e-4, rtol=0)


@pytest.mark.parametrize("family", [family for family in WHOLE if family != "gemma3n"])
def test_layers_end_in_the_score_and_pass_the_final_norm(tiny_llm, voices, family):
    sfm = tiny_llm(family)
    question = ask(sfm)[0]
    context = sfm.encode(voices[:1])
    layers, scores = sfm.score_layers(context, [question])[0], sfm.score(context, [question])[0]
    states = sfm.hidden_states(context, question)
    with torch.no_grad():
        out = sfm.model(**chat_inputs(sfm, question.prompt, voices[0]), output_hidden_states=True)
        for layer, hidden in enumerate(out.hidden_states):
            torch.testing.assert_close(states[layer][0], hidden[0, -1], atol=1e-4, rtol=1e-5)
            last = hidden[0, -1] if layer == sfm.num_decoder_layers else sfm.family.norm(hidden[0, -1])
            logits = sfm.family.head.logits(last)
            for form, values in zip(question.continuations, layers, strict=True):
                torch.testing.assert_close(values[0, layer, 0], logits.log_softmax(-1)[form[0]], atol=1e-4, rtol=0)
    for values, score in zip(layers, scores, strict=True):
        torch.testing.assert_close(values[:, -1], score, atol=1e-5, rtol=0)


def test_layers_that_a_class_keeps_in_a_form_of_its_own_are_refused(tiny_llm, voices):
    sfm = tiny_llm("gemma3n")  # several streams of states for every layer
    context, question = sfm.encode(voices[:1]), ask(sfm)[0]
    with pytest.raises(InputError, match="form of its own, so they cannot be read"):
        sfm.score_layers(context, [question])
    states = sfm.hidden_states(context, question)
    assert sorted(states) == [sfm.num_decoder_layers]
    with torch.no_grad():
        logits = sfm.family.head.logits(states[sfm.num_decoder_layers][0])
    torch.testing.assert_close(logits, sfm.logits(context, [question])[0, 0], atol=1e-5, rtol=0)


def test_without_audio_the_place_of_the_sound_is_empty(sfm):
    question = ask(sfm)[0]
    values = sfm.score(sfm.encode_without_audio(), [question])[0][0]
    continuation = question.continuations[0]
    ids = [token for token in question.prefix if token != sfm.family.audio_token_id]
    row = torch.tensor([[*ids, *continuation[:-1]]])
    with torch.no_grad():
        logits = sfm.model(input_ids=row, attention_mask=torch.ones_like(row)).logits[0].float().log_softmax(-1)
    expected = logits[-len(continuation) :].gather(-1, torch.tensor(continuation)[:, None])[:, 0]
    torch.testing.assert_close(values[0], expected, atol=1e-5, rtol=0)


def test_encoder_states_depend_on_the_clip_alone(sfm, voices):
    layers = range(sfm.num_encoder_layers + 1)
    together, alone = sfm.hear(voices, layers).states, sfm.hear(voices[1:2], layers).states
    for layer in layers:
        assert torch.equal(together[1][layer], alone[0][layer])
        assert together[0][layer].ndim == 2
        assert len(together[0][layer]) > len(together[1][layer])


def test_too_short_a_clip_is_refused_and_the_shortest_is_read(sfm, voices):
    for length in (1, 160, 320, sfm.min_samples - 1):
        for hear in (sfm.encode, sfm.hear):
            with pytest.raises(InputError, match=f"clip 0 of the batch has {length} samples and .* needs"):
                hear([voices[0][:length]])
    assert sfm.min_samples == (800 if type(sfm.family).__name__ == "Gemma3n" else 400)
    shortest = voices[1][4_000 : 4_000 + sfm.min_samples]
    question = ask(sfm)[0]
    expected = chat_logits(sfm, question.prompt, shortest)[-1]
    torch.testing.assert_close(sfm.logits(sfm.encode([shortest]), [question])[0, 0], expected, atol=1e-5, rtol=0)


def test_it_is_what_a_tree_says_of_the_same_model(whole, tiny_llm, voices):
    tree = tiny_llm("qwen3_asr")
    question = ask(tree)[0]
    assert ask(whole)[0] == question
    contexts = [model.encode(voices[:2]) for model in (tree, whole)]
    models = list(zip((tree, whole), contexts, strict=True))
    for a, b in zip(*(model.score_layers(context, [question])[0] for model, context in models), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=0)
    seeds = [[7, 8], [9, 10]]
    drawn = [
        model.generate(context, [question] * 2, max_new_tokens=4, sampling=Sampling(1.3, seeds))
        for model, context in models
    ]
    assert [[a.tokens for a in row] for row in drawn[0]] == [[a.tokens for a in row] for row in drawn[1]]
    assert len({answer.tokens for row in drawn[0] for answer in row}) > 1
    answers = [question.continuations[0], question.continuations[1]]
    means = [model.teacher_forced(model.hear(voices[:2]).sounds, question, answers) for model in (tree, whole)]
    torch.testing.assert_close(*means, atol=1e-4, rtol=0)
    assert means[1].requires_grad


def test_phi_4_hears_with_its_adapter(tiny_path, tiny_llm, voices, tmp_path):
    from transformers import Phi4MultimodalForCausalLM

    sfm, path = tiny_llm("phi4_multimodal"), tiny_path("phi4_multimodal")
    question = ask(sfm)[0]
    model = Phi4MultimodalForCausalLM.from_pretrained(path).eval()
    inputs = chat_inputs(sfm, question.prompt, voices[0])
    with torch.no_grad():
        without = model(**inputs).logits[0, -1]
        model.load_adapter(path, adapter_name="speech", adapter_kwargs={"subfolder": "speech-lora"})
        model.set_adapter("speech")
        expected = model(**inputs).logits[0, -1]
    assert (without - expected).abs().max() > 0.1
    ours = sfm.logits(sfm.encode(voices[:1]), [question])[0, 0]
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=0)
    shutil.copytree(path, tmp_path / "bare", ignore=shutil.ignore_patterns("speech-lora"))
    with pytest.raises(InputError, match=r"hears with an adapter, and there is no speech-lora/ beside its weights"):
        load_audio_llm("tiny", path=tmp_path / "bare", device="cpu")


@pytest.mark.parametrize("family", [*WHOLE, *OTHERS, "qwen2_5_omni"])
def test_what_is_saved_is_read_again(tiny_llm, voices, tmp_path, family):
    sfm = tiny_llm(family)
    question = sfm.question(PROMPTS[0], ["happy"])
    scores = sfm.score(sfm.encode(voices[:1]), [question])[0][0]
    sfm.model.save_pretrained(tmp_path)
    sfm.save_processor(tmp_path)
    again = load_audio_llm("again", path=tmp_path, device="cpu")
    assert again.question(PROMPTS[0], ["happy"]) == question
    torch.testing.assert_close(again.score(again.encode(voices[:1]), [question])[0][0], scores, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_models_that_no_chat_can_be_held_with_are_refused_by_name(tmp_path, kind):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(InputError, match=f"{kind} is no chat model: it writes along with the sound"):
        load_audio_llm("tiny", path=tmp_path, device="cpu")


def test_a_decoder_with_states_that_run_along_is_asked_so(tiny_llm, voices, capsys):
    sfm = copy.copy(tiny_llm("qwen3_asr"))
    model = copy.deepcopy(sfm.model)
    model.get_decoder().config.layer_types = ["linear_attention"] * sfm.num_decoder_layers
    made = read_audio_llm(model, type(sfm.family)(model, sfm.family.processor), name="mixed", revision="")
    assert isinstance(made, WholePassLLM)
    assert "mixed is asked every question in a pass of its own" in capsys.readouterr().err
    assert made.reason == "its text decoder has linear_attention layers"
