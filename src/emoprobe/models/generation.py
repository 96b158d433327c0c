"""The decoding loop that every family shares: one node per question and step, raw logits kept before any processing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from emoprobe.models.answering import Generation, Sampling
from emoprobe.models.vocabulary import VocabularyHead


@dataclass(frozen=True)
class Decoder:
    """What the loop needs of a model.

    Args:
        head: Vocabulary head.
        step: ``tokens [clips, questions]`` to the states of these new tokens ``[clips, questions, width]``, or None
            where the model has no further position.
        process: ``(logits [clips, questions, vocabulary], tokens so far [clips, questions, steps])`` to the logits a
            token is chosen from; may work in place.
        stop: Token ids that end an answer; the first one fills up answers that ended earlier.
        decode: Token ids to text.
    """

    head: VocabularyHead
    step: Callable[[Tensor], Tensor | None]
    process: Callable[[Tensor, Tensor], Tensor]
    stop: Sequence[int]
    decode: Callable[[Sequence[int]], str]


@torch.no_grad()
def decode_answers(
    decoder: Decoder,
    states: Tensor,
    *,
    max_new_tokens: int,
    keep: Sequence[Sequence[int]] | None = None,
    sampling: Sampling | None = None,
) -> list[list[Generation]]:
    """Answers by question and clip.

    Args:
        decoder: The model's side.
        states: States at the answer position, ``[clips, questions, width]``.
        max_new_tokens: Longest answer, tokens.
        keep: Per question the token ids whose raw logits are kept at every position.
        sampling: None for greedy answers.
    """
    clips, questions = states.shape[:2]
    keep = keep if keep is not None else [()] * questions
    stop = torch.tensor(list(decoder.stop))
    generators = sampling.generators() if sampling else []
    done = torch.zeros(clips, questions, dtype=torch.bool)
    sequence = torch.zeros(clips, questions, 0, dtype=torch.long)
    kept: list[list[Tensor]] = [[] for _ in range(questions)]
    normalizers: list[Tensor] = []
    for _ in range(max_new_tokens):
        logits = decoder.head.logits(states)
        normalizers.append(logits.logsumexp(-1).cpu())
        for i, ids in enumerate(keep):
            kept[i].append(logits[:, i, list(ids)].cpu())
        logits = decoder.process(logits, sequence)
        chosen = logits.argmax(-1).cpu() if sampling is None else draw(logits, sampling.temperature, generators)
        sequence = torch.cat([sequence, chosen.masked_fill(done, int(stop[0]))[..., None]], dim=-1)
        done |= torch.isin(chosen, stop)
        if done.all():
            break
        further = decoder.step(sequence[..., -1])
        if further is None:
            break
        states = further
    lse = torch.stack(normalizers, dim=-1)
    return [
        [
            _generation(decoder, sequence[clip, i], torch.stack([row[clip] for row in kept[i]]), lse[clip, i])
            for clip in range(clips)
        ]
        for i in range(questions)
    ]


def draw(logits: Tensor, temperature: float, generators: Sequence[Sequence[torch.Generator]]) -> Tensor:
    """One token per clip and question by the inverse of the cumulative distribution, each with its own generator."""
    cumulative = (logits.double() / temperature).softmax(-1).cumsum(-1).cpu()
    clips, questions = logits.shape[:2]
    uniform = torch.tensor(
        [[torch.rand((), generator=generators[i][clip]).item() for i in range(questions)] for clip in range(clips)],
        dtype=torch.float64,
    )
    index = torch.searchsorted(cumulative, (uniform * cumulative[..., -1]).unsqueeze(-1), right=True).squeeze(-1)
    return index.clamp_max(logits.shape[-1] - 1)


def _generation(decoder: Decoder, sequence: Tensor, kept: Tensor, normalizer: Tensor) -> Generation:
    ids = sequence.tolist()
    end = next((i for i, token in enumerate(ids) if token in decoder.stop), None)
    length = len(ids) if end is None else end
    positions = length if end is None else length + 1
    return Generation(
        tuple(ids[:length]), decoder.decode(ids[:length]), end is not None, kept[:positions], normalizer[:positions]
    )
