"""Questions become tensors once, whatever asks them, and what they want is picked out of all values at once."""

from __future__ import annotations

import torch

from emoprobe.models import tree, vocabulary
from emoprobe.models.answering import Question
from emoprobe.models.text import PromptText
from emoprobe.models.tree import find_scored, fold

CPU = torch.device("cpu")
QUESTIONS = (Question((1, 2), ((3, 9), (3, 4, 9))), Question((1, 5)), Question((7,), ((9,),)))


def test_every_batch_is_asked_the_same_tensors(tiny_llm, voices, monkeypatch):
    built = []
    monkeypatch.setattr(tree, "build_tree", lambda asked, build=tree.build_tree: built.append(asked) or build(asked))
    sfm = tiny_llm("qwen2_audio")
    questions = [sfm.question(PromptText(instruction=f"Which one is it of {words}?"), ["happy"]) for words in "abc"]
    first = sfm.score(sfm.encode(voices[:1]), questions)
    again = sfm.score(sfm.encode(voices[:1]), questions)
    assert len(built) == 1
    assert torch.equal(first[0][0], again[0][0])


def test_what_was_made_without_gradients_serves_training():
    with torch.inference_mode():
        made = fold(QUESTIONS, CPU)
    assert fold(tuple(QUESTIONS), CPU) is made
    weight = torch.randn(10, 3, requires_grad=True)
    torch.nn.functional.embedding(made.tokens, weight).sum().backward()
    assert weight.grad is not None


def test_each_continuation_gets_its_own_values():
    made = fold(QUESTIONS, CPU)
    rows, tokens = made.wanted.shape
    values = torch.randn(4, 2, rows, tokens)
    picked = find_scored(QUESTIONS, made.tree).pick(values)
    assert [len(question) for question in picked] == [2, 0, 1]
    for question, nodes, forms in zip(QUESTIONS, made.tree.rows, picked, strict=True):
        for continuation, path, own in zip(question.continuations, nodes, forms, strict=True):
            for i, (token, node) in enumerate(zip(continuation, path, strict=True)):
                row = made.scored.nodes.index(node)
                column = made.wanted[row].tolist().index(token)
                assert torch.equal(own[..., i], values[..., row, column])


def test_the_vocabulary_in_parts_is_the_vocabulary_at_once(monkeypatch):
    head = vocabulary.VocabularyHead(torch.nn.Linear(8, 50))
    states, wanted = torch.randn(3, 7, 8), torch.randint(50, (7, 2))
    whole = head.token_logits(states, wanted)
    monkeypatch.setattr(vocabulary, "VOCABULARY_ROWS", 4)
    torch.testing.assert_close(head.token_logits(states, wanted), whole)
    logits = head.logits(states)
    torch.testing.assert_close(whole[:, 0], logits.gather(-1, wanted.expand(3, -1, -1)))
    assert vocabulary.rows_at_once(torch.empty(150_000, 8, device="meta")) > 1_000
