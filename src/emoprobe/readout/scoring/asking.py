"""What is asked of a model about a batch of clips; what several readouts want to know is asked once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from emoprobe.models.answering import AnsweringModel, AudioContext, Generation, Question
    from emoprobe.prompts.prompt import Prompt
    from emoprobe.readout.scoring.plan import PromptPlan


class Asking:
    """A model, clips that it has heard, and the prompts that are asked of each of them.

    Args:
        sfm: The model.
        context: The encoded clips.
        plans: The tokenised prompts, asked of all of them.
        sounds: A name of each clip's sound, for the seeds of draws.
        longest: Prompt -> longest greedy answer that a readout wants, tokens, its end included.
        written: The greedy answers as long as that, ``[prompts][clips]``, where they are there already.
    """

    def __init__(
        self,
        sfm: AnsweringModel,
        context: AudioContext,
        plans: Sequence[PromptPlan],
        sounds: Sequence[str],
        longest: Callable[[Prompt], int],
        written: list[list[Generation]] | None = None,
    ) -> None:
        self.sfm, self.context, self.plans, self.sounds = sfm, context, list(plans), list(sounds)
        self.longest, self.written = longest, written

    @property
    def questions(self) -> list[Question]:
        """The prompts with the surface forms as continuations."""
        return [plan.question for plan in self.plans]

    @cached_property
    def form_logits(self) -> list[list[list[Tensor]]]:
        """Raw logits of (form, end) token by token and the log normalizers there, ``[prompts][clips][forms]`` of
        ``[2, tokens]``."""
        scores = self.sfm.score_logits(self.context, self.questions)
        return [self._by_clip(forms) for forms in scores]

    @property
    def form_logprobs(self) -> list[list[list[Tensor]]]:
        """log P(form, end) token by token, ``[prompts][clips][forms]`` of ``[tokens]`` nats."""
        return [[[one[0] - one[1] for one in forms] for forms in clips] for clips in self.form_logits]

    @cached_property
    def layer_form_logprobs(self) -> list[list[list[Tensor]]]:
        """The same at every decoder layer, ``[prompts][clips][forms]`` of ``[layers, tokens]`` nats."""
        scores = self.sfm.score_layers(self.context, self.questions)
        return [self._by_clip(forms) for forms in scores]

    def _by_clip(self, forms: Sequence[Tensor]) -> list[list[Tensor]]:
        return [[values[clip] for values in forms] for clip in range(self.context.size)]

    def answers(self, limit: Callable[[Prompt], int]) -> list[list[Generation]]:
        """The greedy answers with the logits of `wanted_tokens`, ``[prompts][clips]``.

        A greedy answer under a lower limit is the beginning of the longer one. The limit counts the end token, so an
        answer of as many tokens is not finished, whatever a longer one would show: what a readout stores does not
        depend on the others.

        Args:
            limit: Prompt -> longest answer, tokens, its end included.
        """
        return [
            [self._shortened(answer, limit(plan.prompt)) for answer in answers]
            for plan, answers in zip(self.plans, self._greedy, strict=True)
        ]

    @cached_property
    def _greedy(self) -> list[list[Generation]]:
        if self.written is not None:
            return self.written
        limits, keep = [self.longest(plan.prompt) for plan in self.plans], [wanted_tokens(plan) for plan in self.plans]
        return self.sfm.generate(self.context, [p.free for p in self.plans], max_new_tokens=limits, keep=keep)

    def _shortened(self, answer: Generation, limit: int) -> Generation:
        positions = min(limit, len(answer.log_normalizer))
        tokens = answer.tokens[:limit]
        return replace(
            answer,
            tokens=tokens,
            text=answer.text if len(tokens) == len(answer.tokens) else self.sfm.decode(tokens),
            finished=answer.finished and len(answer.tokens) < limit,
            kept_logits=answer.kept_logits[:positions],
            log_normalizer=answer.log_normalizer[:positions],
        )

    def alone(self, clip: int) -> AudioContext:
        """One clip of the batch."""
        return self.sfm.select(self.context, clip) if self.context.size > 1 else self.context


def wanted_tokens(plan: PromptPlan) -> tuple[int, ...]:
    """Tokens whose logits are kept while an answer is written: `kept_tokens`, then ``PromptPlan.spelled``."""
    return (*kept_tokens(plan), *chain(*plan.spelled))


def kept_tokens(plan: PromptPlan) -> tuple[int, ...]:
    """The distinct tokens of all surface forms themselves, in the order they first occur."""
    pairs = zip(plan.question.continuations, plan.own_tokens, strict=True)
    return tuple(dict.fromkeys(token for tokens, count in pairs for token in tokens[:count]))
