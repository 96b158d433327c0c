"""The decoding loop that every family shares: all answers of a batch at once, raw logits kept before any processing.

A row is one question asked of one clip. Rows that have ended are computed no further: those that go on are packed into
as few columns as the clip with most of them needs, and clips without any are left out in time
(`emoprobe.models.branches`). What stands on the device stays there; each step brings one small tensor back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from emoprobe.models.answering import Generation, Sampling
from emoprobe.models.branches import Branches
from emoprobe.models.progress import Step, tell
from emoprobe.models.vocabulary import VocabularyHead

VOCABULARY_ROWS = 512  # rows whose logits over the whole vocabulary exist at once


@dataclass(frozen=True)
class Decoder:
    """What the loop needs of a model.

    Args:
        head: Vocabulary head.
        branches: Continues the answers.
        process: ``(logits [rows, vocabulary], numbers of the rows, tokens so far [rows, steps])`` to the logits a token
            is chosen from; may work in place. Row ``clip * questions + question`` has this number.
        stop: Token ids that end an answer.
        decode: Token ids to text.
    """

    head: VocabularyHead
    branches: Branches
    process: Callable[[Tensor, Tensor, Tensor], Tensor]
    stop: Sequence[int]
    decode: Callable[[Sequence[int]], str]


@torch.no_grad()
def decode_answers(
    decoder: Decoder,
    states: Tensor,
    *,
    limits: Sequence[int],
    keep: Sequence[Sequence[int]],
    sampling: Sampling | None = None,
) -> list[list[Generation]]:
    """Answers by question and clip.

    Args:
        decoder: The model's side.
        states: States at the answer position, ``[clips, questions, width]``.
        limits: Per question its longest answer, tokens.
        keep: Per question the token ids whose raw logits are kept at every position.
        sampling: None for greedy answers.
    """
    clips, questions = states.shape[:2]
    stop = torch.tensor(list(decoder.stop))
    rows = _Rows(clips, questions, limits)
    choose = _Choice(decoder, clips, limits, keep, sampling, states.device)
    numbers: list[Tensor] = []
    noted: list[Tensor] = []
    states = states.flatten(0, 1)
    tell(Step(asked=clips * questions))
    for step in range(max(limits)):
        note = choose(states, rows.numbers, step).cpu()  # the one wait for the device of each step
        numbers.append(rows.numbers)
        noted.append(note)
        chosen = note[:, 0].long()
        going = ~torch.isin(chosen, stop)
        packed = rows.end(~going, step + 1)
        tell(rows.told)
        if not rows.any:
            break
        if packed is not None:
            decoder.branches.keep(*packed)
        states = decoder.branches.step(rows.spread(chosen[rows.went_on], int(stop[0])))
        states = states.flatten(0, 1)[rows.places.to(states.device)]
    number, note = torch.cat(numbers), torch.cat(noted)
    parts = note[number.argsort(stable=True)].split(number.bincount(minlength=clips * questions).tolist())
    return [
        [_generation(decoder, parts[clip * questions + i], len(keep[i])) for clip in range(clips)]
        for i in range(questions)
    ]


def limits_of(max_new_tokens: int | Sequence[int], questions: int) -> list[int]:
    """Per question its longest answer, tokens."""
    return [max_new_tokens] * questions if isinstance(max_new_tokens, int) else list(max_new_tokens)


class _Rows:
    """Which rows are still written, and where each stands; on the CPU.

    Args:
        clips: Clips of the batch.
        questions: Questions asked of each of them.
        limits: Per question its longest answer, tokens.

    Attributes:
        places: Flat places of the rows in ``[clips, columns]``.
        numbers: Their numbers.
        went_on: Which rows of the last step these are.
        told: What the last step has brought.
    """

    told: Step

    def __init__(self, clips: int, questions: int, limits: Sequence[int]) -> None:
        self.number = torch.arange(clips * questions).view(clips, questions)  # by place
        self.alive = torch.ones_like(self.number, dtype=torch.bool)
        self.limit = torch.tensor(limits).repeat(clips)
        self.went_on = torch.arange(clips * questions)
        self._find()

    def _find(self) -> None:
        self.places = self.alive.flatten().nonzero()[:, 0]
        self.numbers = self.number.flatten()[self.places]

    @property
    def any(self) -> bool:
        """Whether a row is left."""
        return bool(len(self.places))

    def end(self, ended: Tensor, length: int) -> tuple[Tensor | None, Tensor] | None:
        """Leave out rows that ended, and those that have reached their limit.

        Args:
            ended: Which of the rows, ``[rows]`` bool.
            length: Tokens that each has now.

        Returns:
            What `emoprobe.models.branches.Branches.keep` is told; None where nothing moves.
        """
        spare = self.limit[self.numbers] - length
        ended = ended | (spare <= 0)
        count = len(spare)
        self.told = Step(tokens=count, ended=int(ended.sum()), settled=count + int(spare[ended].sum()))
        self.went_on = (~ended).nonzero()[:, 0]
        self.alive.view(-1)[self.places[ended]] = False
        left, columns = self.alive.any(1), int(self.alive.sum(1).max())
        some = left.nonzero()[:, 0] if 2 * int(left.sum()) <= len(left) else None  # a clip left out is a copy of others
        packed = None
        if columns and (some is not None or columns < self.alive.shape[1]):
            if some is not None:
                self.alive, self.number = self.alive[some], self.number[some]
            order = self.alive.int().argsort(dim=1, descending=True, stable=True)[:, :columns]
            self.alive, self.number = self.alive.gather(1, order), self.number.gather(1, order)
            packed = some, order
        self._find()
        return packed

    def spread(self, values: Tensor, empty: int) -> Tensor:
        """A value of every row at its place, ``[clips, columns]``."""
        placed = torch.full(self.number.shape, empty)
        placed.view(-1)[self.places] = values
        return placed


class _Choice:
    """The next token of every row, and what is kept of the logits it is chosen from; on the device."""

    def __init__(
        self,
        decoder: Decoder,
        clips: int,
        limits: Sequence[int],
        keep: Sequence[Sequence[int]],
        sampling: Sampling | None,
        device: torch.device,
    ) -> None:
        self.decoder, self.questions, longest = decoder, len(limits), max(limits)
        widest = max(map(len, keep))
        self.kept = torch.tensor([[*ids, *[0] * (widest - len(ids))] for ids in keep], dtype=torch.long, device=device)
        self.written = torch.zeros(clips * self.questions, longest, dtype=torch.long, device=device)
        self.temperature, self.uniform = 1.0, None
        if sampling is not None:
            self.temperature = sampling.temperature
            each = [generator for of_clip in zip(*sampling.generators(), strict=True) for generator in of_clip]
            self.uniform = torch.stack([torch.rand(longest, generator=one) for one in each]).double().to(device)

    def __call__(self, states: Tensor, numbers: Tensor, step: int) -> Tensor:
        """``[rows, 2 + kept]``: token, log normalizer and kept logits; a float32 holds every token id exactly.

        Args:
            states: ``[rows, width]``.
            numbers: Of the rows.
            step: Tokens that each has.
        """
        parts = zip(states.split(VOCABULARY_ROWS), numbers.to(self.written.device).split(VOCABULARY_ROWS), strict=True)
        return torch.cat([self._part(part, number, step) for part, number in parts])

    def _part(self, states: Tensor, numbers: Tensor, step: int) -> Tensor:
        logits = self.decoder.head.logits(states).to(numbers.device)
        raw = torch.cat([logits.logsumexp(-1, keepdim=True), logits.gather(-1, self.kept[numbers % self.questions])], 1)
        logits = self.decoder.process(logits, numbers, self.written[numbers, :step])
        if self.uniform is None:
            chosen = logits.argmax(-1)
        else:
            chosen = draw(logits, self.temperature, self.uniform[numbers, step])
        self.written[numbers, step] = chosen
        return torch.cat([chosen[:, None].to(raw.dtype), raw], dim=1)


def draw(logits: Tensor, temperature: float, uniform: Tensor) -> Tensor:
    """One token per row by the inverse of the cumulative distribution.

    Args:
        logits: ``[rows, vocabulary]``.
        temperature: Divides them.
        uniform: A uniform number per row, ``[rows]`` float64.
    """
    cumulative = (logits.double() / temperature).softmax(-1).cumsum(-1)
    index = torch.searchsorted(cumulative, (uniform * cumulative[:, -1])[:, None], right=True)[:, 0]
    return index.clamp_max(logits.shape[-1] - 1)


def _generation(decoder: Decoder, note: Tensor, kept: int) -> Generation:
    ids = note[:, 0].long().tolist()
    finished = ids[-1] in decoder.stop
    tokens = tuple(ids[: len(ids) - finished])
    return Generation(tokens, decoder.decode(tokens), finished, note[:, 2 : 2 + kept].clone(), note[:, 1].clone())
