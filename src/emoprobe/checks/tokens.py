"""How a model's tokenizer splits every label after every prompt; an ambiguous set of labels is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import permutations
from typing import TYPE_CHECKING

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.models.text import check_answers
from emoprobe.prompts.prompt import Prompt, make_prompts
from emoprobe.settings import compose, make, read_node, read_part, read_values

if TYPE_CHECKING:
    from emoprobe.models.answering import AnsweringModel, Question
    from emoprobe.readout.scoring.plan import PromptPlan

SHOWN = 60  # characters of a prompt's end
SPACINGS = {" ": "with a space", "": "without a space"}
WEIGHTLESS = {"device_map": "meta", "quantization": None}  # what a loader is told that can leave the weights out


@dataclass(frozen=True)
class FormTokens:
    """How one surface form is tokenised after a prompt.

    Args:
        label: Its label.
        form: The surface form.
        ids: Token ids of the whole continuation: the form's own, the template's text after it, the end.
        own: Text of the form's own tokens.
        tail: Text of the tokens of the template's text after the label.
        end: Text of the end token.
        others: Text of the form's tokens under the spacings of `SPACINGS` that are not used; None where the form cannot
            be written so, since it would join with the prompt.
    """

    label: str
    form: str
    ids: tuple[int, ...]
    own: tuple[str, ...]
    tail: tuple[str, ...]
    end: str
    others: Mapping[str, tuple[str, ...] | None]


@dataclass(frozen=True)
class TokenAudit:
    """What a model's tokenizer makes of a prompt and a label set.

    Args:
        plan: The tokenised prompt.
        ending: Text that the answer continues: the last `SHOWN` characters of the prefix. Of a prompt with reasoning
            there are two, one that the reasoning continues and one that the answer does.
        spacing: What stands between prompt and form.
        forms: The surface forms, in the order of the plan.
        sounds: How often the sound stands in the prefix; None for a model that does not read it there.
    """

    plan: PromptPlan
    ending: tuple[str, ...]
    spacing: str
    forms: tuple[FormTokens, ...]
    sounds: int | None

    @property
    def conflicts(self) -> list[tuple[FormTokens, FormTokens, bool]]:
        """``(short, long, whether only the end tells them apart)``: a form's tokens begin another form's."""
        found = []
        for short, long in permutations(self.forms, 2):
            own = short.ids[: len(short.own)] == long.ids[: len(long.own)][: len(short.own)]
            whole = short.ids[:-1] == long.ids[:-1][: len(short.ids) - 1]
            if own or whole:
                found.append((short, long, whole))
        return found

    @property
    def shared(self) -> dict[int, tuple[str, ...]]:
        """First tokens of several labels, with these labels."""
        labels: dict[int, dict[str, None]] = {}
        for item in self.forms:
            labels.setdefault(item.ids[0], {})[item.label] = None
        return {token: tuple(names) for token, names in labels.items() if len(names) > 1}


def audit(sfm: AnsweringModel, prompt: Prompt, labels: LabelSet) -> TokenAudit:
    """Tokenise a prompt with all surface forms; facts of an utterance that it needs are ``N/A``.

    Raises:
        InputError: Two surface forms have the same tokens, a form has no token or the unknown one, the prompt and a
            label cannot be told apart, or the sound does not stand in the prompt exactly once.
    """
    from emoprobe.readout.scoring.plan import NO_FACTS, make_plan

    plan = make_plan(sfm, prompt, labels, NO_FACTS)
    text = prompt.text(labels, NO_FACTS)
    _, word, answer = prompt.answers(labels)[0]
    tail = prompt.template.partition("{label}")[2]
    spacing = answer.removesuffix(word + tail)

    def ask(continuation: str) -> Question:
        if prompt.reasoning_tokens:
            return sfm.extend(plan.free, (), f"\n{text.before}", [continuation])
        return sfm.question(text, [continuation])

    def under(other: str, form: str) -> tuple[str, ...] | None:
        try:
            question = ask(other + form)
        except InputError:
            return None
        return pieces(sfm, question.prefix[-1:], question.continuations[0][:-1])

    forms = []
    for label, form, ids, own in zip(
        plan.labels, plan.forms, plan.question.continuations, plan.own_tokens, strict=True
    ):
        *texts, end = pieces(sfm, plan.question.prefix[-1:], ids)
        others = {other: under(other, form) for other in SPACINGS if other != spacing}
        forms.append(FormTokens(label, form, ids, tuple(texts[:own]), tuple(texts[own:]), end, others))
    family = getattr(sfm, "family", None)
    sounds = None if family is None else plan.question.prefix.count(family.audio_token_id)
    return TokenAudit(plan, _ending(sfm, plan), spacing, tuple(forms), sounds)


def _ending(sfm: AnsweringModel, plan: PromptPlan) -> tuple[str, ...]:
    prefix = plan.question.prefix
    if not plan.prompt.reasoning_tokens:
        return (sfm.decode(prefix)[-SHOWN:],)
    length = len(plan.free.prefix)
    return sfm.decode(prefix[:length])[-SHOWN:], sfm.decode(prefix[length:])[-SHOWN:]


def pieces(sfm: AnsweringModel, before: Sequence[int], tokens: Sequence[int]) -> tuple[str, ...]:
    """Text of each token, read where it stands: some tokenizers drop the space at the beginning of a text.

    Args:
        sfm: The model.
        before: At least the last token before them.
        tokens: The tokens.
    """
    texts = [sfm.decode((*before, *tokens[:count])) for count in range(len(tokens) + 1)]
    found = []
    for short, long, token in zip(texts, texts[1:], tokens, strict=False):
        # A token that is a part of a character changes the text before it, or nothing; it is shown by itself.
        grown = long[len(short) :] if long.startswith(short) else ""
        found.append(grown or sfm.decode([token]))
    return tuple(found)


def load(overrides: Sequence[str]) -> tuple[AnsweringModel, LabelSet, list[Prompt]]:
    """The model, labels and prompts of a configuration; weights stay out of memory where a loader takes a device map.

    Raises:
        InputError: An override is wrong, or the model does not answer.
    """
    config = compose(overrides)
    labels = read_part(config, "labels", LabelSet)
    prompts = make_prompts(read_values(config, "prompt") or {}, labels)
    options = read_node(config, "model")
    check_answers(options)
    if "device_map" in options and find_spec("accelerate") is not None:
        options |= {name: value for name, value in WEIGHTLESS.items() if name in options}

    from emoprobe.models.answering import answering

    return answering(make(options, "model")), labels, prompts
