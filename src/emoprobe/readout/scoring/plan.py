"""From a prompt and a label set to the tokens a model is asked about."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.models.answering import AnsweringModel, Question, answering
from emoprobe.models.base import SpeechFoundationModel
from emoprobe.prompts.prompt import FACTS, Prompt

SPELLINGS: Sequence[Callable[[str], str]] = (
    lambda form: form,
    lambda form: form[:1].upper() + form[1:],
    lambda form: f" {form}",
    lambda form: f" {form[:1].upper()}{form[1:]}",
)
"""How a surface form may stand in the middle of an answer: as it is or with a capital, then both behind a space."""
NO_FACTS = dict.fromkeys(FACTS, "N/A")  # what a null input is said to be (arXiv 2102.09690)


@dataclass(frozen=True)
class PromptPlan:
    """A prompt tokenised for one model and label set.

    Args:
        prompt: The prompt.
        question: Its prefix and one continuation per surface form, end token included.
        free: The prefix that generated answers begin at: an instructed model writes its whole answer itself, so the
            template's text before the label is not written for it.
        own_tokens: How many tokens of each continuation, from its first, are the surface form's own; the rest is the
            template's text after the label, and the end.
        labels: Label of each surface form.
        forms: The surface forms.
        label_set_hash: Hash of the label set with its verbalizer.
        spelled: First token of each surface form in each of `SPELLINGS`, ``[spellings][forms]``.
    """

    prompt: Prompt
    question: Question
    free: Question
    own_tokens: tuple[int, ...]
    labels: tuple[str, ...]
    forms: tuple[str, ...]
    label_set_hash: str
    spelled: tuple[tuple[int, ...], ...]

    @property
    def question_hash(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of all tokens that the model is given, answers included."""
        value = [self.question.prefix, self.free.prefix, self.question.continuations]
        return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]

    def prefix_conflicts(self) -> list[tuple[str, str]]:
        """Surface forms whose tokens, without the end, begin another's: only their end tells them apart."""
        tokens = [continuation[:-1] for continuation in self.question.continuations]
        return [
            (self.forms[i], self.forms[j])
            for i, short in enumerate(tokens)
            for j, long in enumerate(tokens)
            if i != j and long[: len(short)] == short
        ]


def sayable(sfm: SpeechFoundationModel) -> Callable[[str], None]:
    """A check that the model would read what is written of a clip as text, see `AnsweringModel.check_text`."""
    return lambda text: answering(sfm).check_text(text)


def make_plan(
    sfm: AnsweringModel, prompt: Prompt, labels: LabelSet, facts: Mapping[str, str] | None = None
) -> PromptPlan:
    """Tokenise a prompt for a model.

    Args:
        sfm: The model.
        prompt: The prompt.
        labels: The label set.
        facts: Facts of the utterance that the prompt needs.

    Raises:
        InputError: Two surface forms have the same tokens, one has the tokenizer's unknown token, or the prompt and a
            label cannot be told apart.
    """
    answers = prompt.answers(labels)
    text = prompt.text(labels, facts)
    open_text = replace(text, before="") if prompt.family == "instruction" else text
    free = sfm.question(open_text, [])

    def ask(texts: Sequence[str]) -> Question:
        if prompt.reasoning_tokens:  # the model's own tokens come between the two at reading
            return sfm.extend(free, (), f"\n{text.before}", texts)
        return sfm.question(text, texts)

    question = ask([answer for _, _, answer in answers])
    tail = prompt.template.partition("{label}")[2]
    bare = ask([answer.removesuffix(tail) for _, _, answer in answers])
    own = [_common(*pair) for pair in zip(question.continuations, bare.continuations, strict=True)]
    owner: dict[tuple[int, ...], str] = {}
    for (label, form, _), tokens, count in zip(answers, question.continuations, own, strict=True):
        if sfm.unknown_token in tokens[:count]:
            raise InputError(
                f"surface form {form!r} of label {label!r} holds the unknown token of {sfm.name}",
                field="labels.words",
                remedy="Use another surface form.",
            )
        if tokens in owner:
            raise InputError(
                f"surface forms {owner[tokens]!r} and {form!r} have the same tokens in {sfm.name}",
                field="labels.words",
                remedy="Drop one of them.",
            )
        owner[tokens] = form
    forms = tuple(form for _, form, _ in answers)
    return PromptPlan(
        prompt,
        question,
        free,
        tuple(own),
        tuple(label for label, _, _ in answers),
        forms,
        labels.hash,
        tuple(tuple(sfm.text_tokens(spell(form))[0] for form in forms) for spell in SPELLINGS),
    )


def _common(whole: Sequence[int], bare: Sequence[int]) -> int:
    """Leading tokens that a continuation shares with the bare form (at least one), the end tokens left out."""
    pairs = zip(whole[:-1], bare[:-1], strict=False)
    return max(1, next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(whole), len(bare)) - 1))


class Plans:
    """Every prompt of a run tokenised: once for all clips, or clip by clip where it says something about the clip.

    Args:
        sfm: The model; it answers, unless there is no prompt.
        prompts: The prompts.
        labels: The label set.
        facts: Utterance id -> facts.
    """

    def __init__(
        self,
        sfm: SpeechFoundationModel,
        prompts: Sequence[Prompt],
        labels: LabelSet,
        facts: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.sfm, self.prompts, self.labels, self.facts = sfm, list(prompts), labels, facts or {}
        self.shared = [make_plan(answering(sfm), prompt, labels) for prompt in self.prompts if not prompt.needs]
        self.own = [prompt for prompt in self.prompts if prompt.needs]
        self.of_null = [make_plan(answering(sfm), prompt, labels, NO_FACTS) for prompt in self.own]

    def of(self, utterance_id: str) -> list[PromptPlan]:
        """The prompts that speak of this utterance."""
        facts = self.facts.get(utterance_id, {})
        return [make_plan(answering(self.sfm), prompt, self.labels, facts) for prompt in self.own]

    @property
    def samples(self) -> list[PromptPlan]:
        """One plan per prompt, for what does not depend on the utterance."""
        return [*self.shared, *self.of_null]
