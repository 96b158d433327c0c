"""Answers in words that a model is taught beside its label likelihoods: they state a clip's vote shares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt, Lt, MinLen
from pydantic import AfterValidator

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.models.text import PromptText
from emoprobe.options import Named, Positive, Words, options
from emoprobe.prompts.answers import FORMATS
from emoprobe.prompts.prompt import Prompt, make_prompts

if TYPE_CHECKING:
    from emoprobe.models.answering import AnsweringModel, Question


STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25)


def _step(value: float) -> float:
    if value not in STEPS:
        raise ValueError
    return value


Step = Annotated[float, AfterValidator(_step), Words(f"one of {', '.join(map(str, STEPS))}")]


@options("answers")
class AnswersOptions:
    """What a model is taught to write.

    Args:
        prompts: Instruction prompts, asked in turn; each is answered in its own format.
        share: Of all steps; the others train the label likelihoods.
        weight: Of these steps' loss, the mean negative log-likelihood of an answer's tokens in nats.
        step: Of the shares that answers state: small models learn to sum few coarse steps to one.
    """

    prompts: Annotated[Named[Prompt], MinLen(1)]
    share: Annotated[float, Gt(0), Lt(1), Words("a number between 0 and 1, such as 0.25")] = 0.25
    weight: Positive = 1.0
    step: Step = 0.05

    def __post_init__(self) -> None:
        for prompt in self.prompts.values():
            if prompt.needs or prompt.reasoning_tokens or FORMATS[prompt.answer_format].write is None:
                able = ", ".join(name for name in FORMATS if FORMATS[name].write is not None)
                raise InputError(
                    f"nobody knows what a good answer to {prompt.name!r} is ({prompt.answer_format})",
                    field="answers.prompts",
                    remedy=f"Use prompts without facts of the clip, of the formats {able}.",
                )

    def turn(self, step: int) -> int | None:
        """How many answers in words were taught before this step; None where it trains label likelihoods."""
        before, after = (math.floor(round(each * self.share, 6)) for each in (step, step + 1))
        return before if after > before else None


class TaughtAnswers:
    """The questions of `AnswersOptions`, tokenised for a model, and what each clip answers.

    Args:
        sfm: The model.
        options: What it is taught.
        labels: The label set.
    """

    def __init__(self, sfm: AnsweringModel, options: AnswersOptions, labels: LabelSet) -> None:
        self.sfm, self.step = sfm, options.step
        self.asked: list[tuple[PromptText, str, list[str]]] = []
        for prompt in make_prompts(options.prompts, labels):
            words: dict[str, str] = {}
            for label, word, _ in prompt.answers(labels):
                words.setdefault(label, word)
            text = replace(prompt.text(labels), before="")  # the model writes its whole answer itself
            self.asked.append((text, prompt.answer_format, [words[label].strip() for label in labels.labels]))

    def texts(self, turn: int, shares: Sequence[Sequence[float]], draws: Sequence[float]) -> list[str]:
        """What each clip answers to the prompt whose turn it is.

        Args:
            turn: Of `AnswersOptions.turn`.
            shares: Of every clip ``[clips][labels]``.
            draws: A number from 0 to 1 of every clip, for answers that are drawn.
        """
        _, form, words = self.asked[turn % len(self.asked)]
        write = FORMATS[form].write
        assert write is not None
        return [write(own, words, draw, self.step) for own, draw in zip(shares, draws, strict=True)]

    def tokens(self, turn: int, texts: Sequence[str]) -> tuple[Question, list[tuple[int, ...]]]:
        """What is asked in this turn, and the tokens of answers to it, end token included."""
        question = self.sfm.question(self.asked[turn % len(self.asked)][0], texts)
        return question, list(question.continuations)
