"""From a prompt and a label set to the tokens a model is asked about."""

from __future__ import annotations

from dataclasses import dataclass

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.models.base import Question, SpeechFoundationModel
from emoprobe.prompts import Prompt


@dataclass(frozen=True)
class PromptPlan:
    """A prompt tokenised for one model and label set.

    Args:
        prompt: The prompt.
        question: Its prefix and one continuation per surface form, end token included.
        labels: Label of each surface form.
        forms: The surface forms.
        label_set_hash: Hash of the label set with its verbalizer.
    """

    prompt: Prompt
    question: Question
    labels: tuple[str, ...]
    forms: tuple[str, ...]
    label_set_hash: str

    def prefix_conflicts(self) -> list[tuple[str, str]]:
        """Surface forms whose tokens, without the end, begin another's: only their end tells them apart."""
        tokens = [continuation[:-1] for continuation in self.question.continuations]
        return [
            (self.forms[i], self.forms[j])
            for i, short in enumerate(tokens)
            for j, long in enumerate(tokens)
            if i != j and long[: len(short)] == short
        ]


def make_plan(sfm: SpeechFoundationModel, prompt: Prompt, labels: LabelSet) -> PromptPlan:
    """Tokenise a prompt for a model.

    Raises:
        InputError: Two surface forms have the same tokens, or the prompt and a label cannot be told apart.
    """
    answers = prompt.answers(labels)
    question = sfm.question(prompt.text(labels), [text for _, _, text in answers])
    owner: dict[tuple[int, ...], str] = {}
    for (_, form, _), tokens in zip(answers, question.continuations, strict=True):
        if tokens in owner:
            raise InputError(
                f"surface forms {owner[tokens]!r} and {form!r} have the same tokens in {sfm.name}",
                field="labels.forms",
                remedy="Drop one of them.",
            )
        owner[tokens] = form
    return PromptPlan(
        prompt, question, tuple(label for label, _, _ in answers), tuple(form for _, form, _ in answers), labels.hash
    )
