"""The pass that training goes through says what reading says, and lets gradients flow."""

from __future__ import annotations

import pytest
import torch
from conftest import FAMILIES, OTHERS, WHOLE

from emoprobe.models.text import PromptText

LABELS = ["anger", "sadness", "fear", "happiness now"]


def ask(sfm):
    if sfm.instructed:
        return sfm.question(
            PromptText(before="The speaker feels", instruction="How does it sound?"), [f" {x}" for x in LABELS]
        )
    return sfm.question(PromptText(before="The speaker feels"), [f" {label}" for label in LABELS])


@pytest.fixture(params=["whisper", *FAMILIES, *OTHERS, *WHOLE])
def sfm(request, tiny_whisper, tiny_llm):
    return tiny_whisper if request.param == "whisper" else tiny_llm(request.param)


def test_it_equals_scores_and_states(sfm, voices):
    question = ask(sfm)
    context = sfm.encode(voices)
    scores = torch.stack([tokens.sum(-1) for tokens in sfm.score(context, [question])[0]], dim=-1)
    states = sfm.hidden_states(context, question=question)
    with torch.no_grad():
        likelihoods, state = sfm.answer(sfm.hear(voices).sounds, question)
    torch.testing.assert_close(likelihoods, scores, atol=1e-4, rtol=0)
    torch.testing.assert_close(state, states[max(states)], atol=1e-4, rtol=1e-4)


def query(decoder):
    """Weights of a decoder's first queries, however its class calls them."""
    names = ("q_proj.weight", "qkv_proj.weight", "q_b_proj.weight")
    return next(p for n, p in decoder.named_parameters() if n.startswith("layers.") and n.endswith(names))


def test_gradients_are_those_of_the_plain_forward_pass(sfm, voices):
    question, weight = ask(sfm), query(sfm.decoder)
    weight.requires_grad_(True)
    sfm.answer(sfm.hear(voices[:1]).sounds, question)[0].sum().backward()
    ours, weight.grad = weight.grad, None
    plain = type(sfm).reference.__wrapped__  # without its no_grad
    for continuation in question.continuations:
        logits = plain(sfm, voices[0], question, continuation)[-len(continuation) - 1 : -1]
        logits.log_softmax(-1)[range(len(continuation)), list(continuation)].sum().backward()
    torch.testing.assert_close(ours, weight.grad, atol=1e-4, rtol=1e-3)
    weight.grad = None
    assert ours.abs().max() > 1e-3
