"""Every encoder-decoder that transcribes, against plain passes of its class on its processor's own inputs."""

# ruff: noqa: F811  # fixtures are imported, and named again as arguments
from __future__ import annotations

import pickle

import pytest
import torch
import transformers
from transcribing import SEAMLESS, TOLERANCE, ask, folders, kind, loaded, plain, plains, sfm  # noqa: F401

from emoprobe.errors import InputError
from emoprobe.models.cascade import Describer
from emoprobe.models.load import load_transcriber
from emoprobe.models.text import PromptText


def test_the_prompt_is_the_processors(sfm, plain, voices):
    expected = plain.inputs(voices[0])["decoder_input_ids"][0].tolist()
    question = sfm.question(PromptText("The voice"), (" sad",))
    assert list(question.prefix[: len(expected)]) == expected
    tokenizer = plain.processor.tokenizer
    text = tokenizer.decode([*question.prefix[len(expected) :], *question.continuations[0][:-1]])
    assert text.strip() == "The voice sad"
    assert tokenizer.convert_tokens_to_ids(tokenizer.eos_token) == question.continuations[0][-1]


@pytest.mark.parametrize("company", [(0,), (2, 1), (0, 1, 2)])
def test_scores_are_those_of_plain_passes_alone_and_in_company(sfm, plain, voices, company):
    waves, start = [voices[i] for i in company], len(sfm.start_tokens)
    questions = ask(sfm)
    with torch.no_grad():
        for question, scores in zip(questions, sfm.score(sfm.encode(waves), questions), strict=True):
            for continuation, found in zip(question.continuations, scores, strict=True):
                expected = torch.stack([plain.score(wave, question, start, continuation) for wave in waves])
                torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


def test_a_tree_says_what_each_continuation_says_alone(sfm, voices):
    context, questions = sfm.encode(voices), ask(sfm)
    together = sfm.score(context, questions)
    for question, scores in zip(questions, together, strict=True):
        for continuation, found in zip(question.continuations, scores, strict=True):
            one = type(question)(question.prefix, (continuation,))
            torch.testing.assert_close(sfm.score(context, [one])[0][0], found, atol=TOLERANCE, rtol=0)
    for clip in range(3):
        alone = sfm.score(sfm.select(context, clip), questions)
        for row, other in zip(together, alone, strict=True):
            for found, expected in zip(row, other, strict=True):
                torch.testing.assert_close(found[clip], expected[0], atol=TOLERANCE, rtol=0)


def test_logits_and_states_are_those_of_the_answer_position(sfm, plain, voices):
    question, start = ask(sfm)[0], len(sfm.start_tokens)
    context = sfm.encode(voices)
    logits, states = sfm.logits(context, [question])[:, 0], sfm.hidden_states(context, question)
    for i, wave in enumerate(voices):
        with torch.no_grad():
            out = plain.logits(wave, question.prefix[start:], output_hidden_states=True)
        torch.testing.assert_close(logits[i], out.logits[0, -1], atol=TOLERANCE, rtol=0)
        assert len(states) == len(out.decoder_hidden_states) == sfm.num_decoder_layers + 1
        for layer, expected in enumerate(out.decoder_hidden_states):
            torch.testing.assert_close(states[layer][i], expected[0, -1], atol=TOLERANCE, rtol=0)


def test_layers_end_with_the_score_and_begin_with_the_embeddings(sfm, plain, voices):
    questions, context = ask(sfm), sfm.encode(voices)
    layers = sfm.score_layers(context, questions)
    for row, scores in zip(layers, sfm.score(context, questions), strict=True):
        for found, score in zip(row, scores, strict=True):
            assert found.shape[:2] == (3, sfm.num_decoder_layers + 1)
            torch.testing.assert_close(found[:, -1], score, atol=TOLERANCE, rtol=0)
    question = questions[0]
    with torch.no_grad():
        out = plain.logits(voices[1], question.prefix[len(sfm.start_tokens) :], output_hidden_states=True)
        for layer in (0, 1):
            rows = plain.head(plain.norm(out.decoder_hidden_states[layer][0, -1])).log_softmax(-1)
            token = question.continuations[0][0]
            torch.testing.assert_close(layers[0][0][1, layer, 0], rows[token], atol=TOLERANCE, rtol=0)


@pytest.mark.filterwarnings("ignore")
def test_generation_is_the_classes_own(sfm, plain, voices):
    questions, start = ask(sfm), len(sfm.start_tokens)
    keep = [(3, 9), (4,), ()]
    answers = sfm.generate(sfm.encode(voices), questions, max_new_tokens=8, keep=keep)
    written = set()
    for question, kept, clips in zip(questions, keep, answers, strict=True):
        for wave, answer in zip(voices, clips, strict=True):
            inputs = plain.inputs(wave) | {"decoder_input_ids": torch.tensor([question.prefix])}
            if plain.kind == "whisper":
                inputs.pop("attention_mask", None)
            ids = plain.model.generate(**inputs, max_new_tokens=8, do_sample=False)[0].tolist()
            ids = ids[len(question.prefix) :] if tuple(ids[: len(question.prefix)]) == question.prefix else ids
            assert list(answer.tokens) == [token for token in ids if token != sfm.end_token]
            written.add(answer.tokens)
            with torch.no_grad():
                rows = plain.logits(wave, (*question.prefix[start:], *answer.tokens)).logits[0]
            rows = rows[len(question.prefix) - 1 :][: len(answer.log_normalizer)]
            torch.testing.assert_close(answer.kept_logits, rows[:, list(kept)], atol=1e-4, rtol=0)
            torch.testing.assert_close(answer.log_normalizer, rows.logsumexp(-1), atol=1e-4, rtol=0)
    assert len(written) > 3  # the sound and the question matter


@pytest.mark.filterwarnings("ignore")
def test_a_cascade_is_told_what_it_transcribes(sfm, plain, voices):
    inputs = plain.inputs(voices[1])
    length = inputs["decoder_input_ids"].shape[1]
    room = sfm.max_positions - length
    ids = plain.model.generate(**inputs, max_new_tokens=room, do_sample=False)[0]
    ids = ids[length:] if ids[:length].tolist() == inputs["decoder_input_ids"][0].tolist() else ids
    text = plain.processor.tokenizer.decode(ids, skip_special_tokens=True)
    assert text.strip()
    assert Describer.transcribe(sfm, voices[1]) == " ".join(text.split())


def test_training_reads_what_scoring_reads_with_the_gradients_of_plain_passes(folders, kind, plain, voices):
    sfm = load_transcriber("tiny", path=folders[kind], device="cpu")
    question, start = ask(sfm)[0], len(sfm.start_tokens)
    context = sfm.encode(voices)
    scores = torch.stack([tokens.sum(-1) for tokens in sfm.score(context, [question])[0]], dim=-1)
    likelihoods, state = sfm.answer(sfm.hear(voices).sounds, question)
    torch.testing.assert_close(likelihoods, scores, atol=2e-5, rtol=0)
    torch.testing.assert_close(state, sfm.hidden_states(context, question)[sfm.num_decoder_layers], atol=1e-5, rtol=0)
    cross = "cross_attention" if kind in SEAMLESS else "encoder_attn"
    wanted = (f"decoder.layers.0.{cross}.k_proj.weight", "decoder.layers.1.self_attn.q_proj.weight")
    wanted += (
        "layers.0.self_attn.linear_q.weight" if kind in SEAMLESS else "encoder.layers.0.self_attn.q_proj.weight",
    )
    ours, theirs = (
        {end: p for name, p in model.named_parameters() for end in wanted if name.endswith(end)}
        for model in (sfm.model, plain.model)
    )
    assert len(ours) == len(theirs) == len(wanted)
    likelihoods.sum().backward()
    for continuation in question.continuations:
        sum(plain.score(wave, question, start, continuation).sum() for wave in voices).backward()
    for name in wanted:
        assert ours[name].grad.abs().max() > 1e-3
        scale = theirs[name].grad.abs().max().item()
        torch.testing.assert_close(ours[name].grad, theirs[name].grad, atol=1e-4 * scale, rtol=1e-3)
    plain.model.zero_grad()


def test_states_heard_are_the_encoders(sfm, plain, voices):
    depth = sfm.num_encoder_layers
    heard = sfm.hear(voices, layers=range(depth + 1))
    for i, wave in enumerate(voices):
        inputs = plain.inputs(wave)
        del inputs["decoder_input_ids"]
        with torch.no_grad():
            out = plain.encoder(**inputs, output_hidden_states=True)
        assert len(out.hidden_states) == depth + 1
        frames = len(heard.states[i][depth])
        mask = getattr(out, "attention_mask", None)
        if plain.kind == "whisper":
            assert frames == -(-len(wave) // 320)
        elif plain.kind in SEAMLESS:
            assert frames == plain.model._compute_sub_sample_lengths_from_attention_mask(inputs["attention_mask"])
        else:
            assert frames == (out.last_hidden_state.shape[1] if mask is None else mask.sum())
        if plain.kind != "whisper":
            assert torch.equal(heard.sounds[i], heard.states[i][depth])
        for layer, expected in enumerate(out.hidden_states):
            own = frames
            if plain.kind in SEAMLESS and layer < depth:  # an adapter follows
                own = inputs["attention_mask"].sum()
            torch.testing.assert_close(heard.states[i][layer], expected[0, :own], atol=TOLERANCE, rtol=0)


def test_bfloat16_loads_and_is_close(folders, kind, sfm, voices):
    half, questions = load_transcriber("tiny", path=folders[kind], dtype="bfloat16", device="cpu"), ask(sfm)
    assert half.dtype == "bfloat16"
    full, rough = (model.score(model.encode(voices), questions) for model in (sfm, half))
    worst = max((a - b).abs().max() for x, y in zip(full, rough, strict=True) for a, b in zip(x, y, strict=True))
    assert 0 < worst < 0.6


def test_the_shortest_clip_is_heard_and_a_shorter_one_refused(sfm):
    generator = torch.Generator().manual_seed(3)
    wave, other = torch.randn(2, sfm.min_samples, generator=generator) * 0.1
    (scores,) = sfm.score(sfm.encode([wave, other]), ask(sfm)[:1])
    assert all(values.isfinite().all() for values in scores)
    assert (scores[0][0] - scores[0][1]).abs().max() > 1e-3  # something of it is heard
    with pytest.raises(InputError, match=f"needs {sfm.min_samples} to hear it"):
        sfm.encode([wave, wave[:-1]])
    with pytest.raises(InputError, match="is longer than"):
        sfm.encode([torch.zeros(round(sfm.max_seconds * 16_000) + 2)])
    with pytest.raises(InputError, match="no encoder layer 9"):
        sfm.hear([wave], layers=(9,))


def test_the_longest_clip_is_one_piece(loaded, plains):
    sfm, wave = loaded["cohere_asr"], torch.randn(35 * 16_000) * 0.1
    question = ask(sfm)[0]
    (scores,) = sfm.score(sfm.encode([wave]), [question])
    inputs = plains["cohere_asr"].processor(audio=[wave.numpy()], language="en", sampling_rate=16_000)
    assert len(inputs["input_features"]) == 1
    ids = torch.tensor([[*question.prefix, *question.continuations[0]]])
    with torch.no_grad():
        out = plains["cohere_asr"].model(
            inputs["input_features"], attention_mask=inputs["attention_mask"], decoder_input_ids=ids
        )
    token = question.continuations[0][0]
    torch.testing.assert_close(scores[0][0, 0], out.logits[0, -3].log_softmax(-1)[token], atol=TOLERANCE, rtol=0)


def test_without_audio_the_decoder_is_given_states_of_zero(sfm, plain, voices):
    question = ask(sfm)[0]
    (nothing,) = sfm.score(sfm.encode_without_audio(), [question])
    # Moonshine Streaming knows the place of every frame: one is the least that it can be given.
    frames, width = 1 if plain.kind == "moonshine_streaming" else 7, sfm.hear(voices[:1]).sounds[0].shape[1]
    for continuation, found in zip(question.continuations, nothing, strict=True):
        zeros = transformers.modeling_outputs.BaseModelOutput(torch.zeros(1, frames, width))
        zeros["attention_mask"] = None
        ids = torch.tensor([[*question.prefix, *continuation]])
        with torch.no_grad():
            out = plain.model(encoder_outputs=zeros, decoder_input_ids=ids).logits[0, -len(continuation) - 1 : -1]
        expected = out.log_softmax(-1)[range(len(continuation)), list(continuation)]
        torch.testing.assert_close(found[0], expected, atol=TOLERANCE, rtol=0)
    (sound,) = sfm.score(sfm.encode(voices[:1]), [question])
    assert (sound[0] - nothing[0]).abs().max() > 1e-2


def test_in_training_no_layer_is_dropped(folders, kind, voices):
    sfm = load_transcriber("tiny", path=folders[kind], device="cpu")
    sfm.model.train()
    assert not any(getattr(module, "layerdrop", 0) for module in sfm.model.modules())
    assert not getattr(sfm.model.config, "speech_encoder_layerdrop", 0)
    depth = sfm.num_encoder_layers
    for _ in range(5):
        assert len(sfm.hear(voices[:1], layers=range(depth + 1)).states[0]) == depth + 1


@torch.no_grad()
def test_what_was_prepared_ahead_elsewhere_is_heard_as_what_is_prepared_here(sfm, voices):
    made = [sfm.prepare_clip(voice) for voice in voices]
    ours = sfm.hear(voices, [1], prepared=pickle.loads(pickle.dumps([made[0], None, made[2]])))
    own = sfm.hear(voices, [1])
    assert all(torch.equal(a, b) for a, b in zip(ours.sounds, own.sounds, strict=True))
    assert all(torch.equal(a[1], b[1]) for a, b in zip(ours.states, own.states, strict=True))
