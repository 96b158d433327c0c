"""A prompt as a versioned, hashed value: what is said to the model around the label."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Annotated, Any, Literal

from annotated_types import Ge, MinLen
from pydantic import BeforeValidator

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.models.text import PromptText
from emoprobe.options import Count, Name, Named, Natural, OneOf, Several, Words, options, valid
from emoprobe.prompts.answers import FORMATS
from emoprobe.prompts.scaled import SCALE, refuse_another_scale, words_of_scale

FACTS = ("transcript", "dialogue", "acoustics")
LISTS = ("labels", "options")

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")


def _listed(kinds: object) -> object:
    return (kinds,) if isinstance(kinds, str) else kinds


Kinds = Annotated[Several[Name], MinLen(1), BeforeValidator(_listed), Words("a list of at least one kind of word")]
Format = Annotated[str, OneOf(FORMATS)]


@options("prompt.{name}")
class Prompt:
    """A prompt and the kinds of words its label slot takes.

    The fields from ``instruction`` on belong to the family ``instruction``. Three of them, ``instruction``,
    ``stimulus`` and ``system``, may hold placeholders: ``{labels}`` is a comma list of the labels' first forms,
    ``{options}`` a lettered list of them, one a line (``A. angry``); ``{transcript}``, ``{dialogue}`` and
    ``{acoustics}`` are facts of the utterance. Other braces are text.

    A prompt that asks for a point of a scale says so by ``dimension``, or holds in any of its texts what the label set
    fills in: ``{dimension}`` (``valence``), ``{low}`` and ``{high}``, what its ends mean (``very negative``), and
    ``{lowest}`` and ``{highest}``, their numbers as the label slot takes them (``1``, ``5``).

    Args:
        name: Name in tables; not part of the hash.
        template: The answer as a whole with one ``{label}``, for example ``The speaker is feeling {label}.``; the label
            alone by default in an instruction prompt. Where its answers are scored, an instructed model finds the text
            before the label as the beginning of its own turn.
        forms: Kinds of surface forms to fill in, in the verbalizer's words (``adjective``, ``noun``).
        context: Text that a transcribing model is given ahead of the answer; ``{labels}`` stands for all labels' first
            forms. Family ``completion`` only.
        family: ``completion``: the model continues the template (Whisper). ``instruction``: the model is asked in a
            chat (audio LLMs).
        version: Raised whenever the text changes, so that old rows keep their meaning.
        source: Where the wording comes from.
        dimension: The dimension that is asked about, where the text says it itself; not part of the hash.
        instruction: What the user says beside the sound.
        system: What the system turn says; None leaves what the model's chat template puts there.
        stimulus: A sentence that is to move the model (emotional or negative stimulus), appended to the instruction
            after a space.
        audio_first: Whether the sound stands before the instruction.
        answer: What the label slot takes: a surface ``form``, or the ``letter`` of the label's option.
        orders: In how many orders the labels are listed, or ``all``: one for every label; see `make_prompts`.
        order: Indices of the labels in the order in which they are listed and lettered; None is the label set's own.
        reasoning_tokens: If not 0, the model first writes up to so many tokens of its own (asked with an empty
            ``before``), and its answer is read after them.
        answer_cue: What is written between the two, on a new line: ``Answer:``.
        format: How the answer is written that is asked for, one of `emoprobe.prompts.answers.FORMATS`: how long it may
            be and how its text is parsed. Where it is not given: ``lettered_options`` for letters,
            ``chain_of_thought`` with reasoning, ``number`` for a point of a scale, else ``single_word``.
    """

    name: Name
    template: str = ""
    forms: Kinds = ("adjective",)
    context: str = ""
    family: Literal["completion", "instruction"] = "completion"
    version: Annotated[int, Ge(0)] = 1
    source: str = ""
    dimension: str = ""
    instruction: str = ""
    system: str | None = None
    stimulus: str = ""
    audio_first: bool = True
    answer: Literal["form", "letter"] = "form"
    orders: Count | Literal["all"] = 1
    order: Several[Natural] | None = None
    reasoning_tokens: Natural = 0
    answer_cue: str = ""
    format: Literal[""] | Format = ""

    def __post_init__(self) -> None:
        if self.family == "instruction" and not self.template:
            object.__setattr__(self, "template", "{label}")
        if self.template.count("{label}") != 1:
            raise self._error(
                "template",
                f"the template {self.template!r} must hold {{label}} exactly once",
                "Write for example 'The speaker is feeling {label}.'",
            )
        if self.family == "completion":
            self._check_completion()
        else:
            self._check_instruction()
            self._check_lists()
            self._check_format()

    def _check_completion(self) -> None:
        fields = dataclasses.fields(self)
        first = next(i for i, field in enumerate(fields) if field.name == "instruction")
        for field in fields[first:]:
            if getattr(self, field.name) != field.default:
                raise self._error(
                    field.name,
                    f"a completion prompt cannot have the field {field.name}",
                    "Add family: instruction, or leave the field out.",
                )

    def _check_instruction(self) -> None:
        if not self.instruction.strip():
            raise self._error("instruction", "an instruction prompt needs an instruction")
        if self.context:
            raise self._error("context", "an instruction prompt has no context", "Put its text into the instruction.")
        unknown = sorted(self._placeholders - {*LISTS, *FACTS, *SCALE})
        if unknown:
            raise self._error(
                "instruction",
                f"unknown placeholder {', '.join(f'{{{name}}}' for name in unknown)}",
                f"There are {', '.join(f'{{{name}}}' for name in (*LISTS, *FACTS, *SCALE))}.",
            )
        if bool(self.reasoning_tokens) != bool(self.answer_cue.strip()):
            raise self._error(
                "answer_cue",
                "reasoning_tokens and answer_cue belong together",
                "Give both, for example reasoning_tokens: 128 and answer_cue: 'Answer:', or neither.",
            )

    def _check_lists(self) -> None:
        if self.answer == "letter" and "options" not in self._placeholders:
            raise self._error(
                "answer", "a letter is asked for, but the instruction gives none", "Put {options} into it."
            )
        if self.order is not None and self.orders != 1:
            raise self._error("order", "one order and a number of orders exclude each other", "Give only one of them.")
        if self.order is not None and sorted(self.order) != list(range(len(self.order))):
            raise self._error("order", f"{list(self.order)} does not hold every label's index (from 0) exactly once")
        if (self.orders != 1 or self.order is not None) and not self._placeholders & set(LISTS):
            raise self._error(
                "orders", "the instruction lists no labels to be ordered", "Put {labels} or {options} into it."
            )

    def _check_format(self) -> None:
        if self.format == "completion":
            raise self._error("format", "an instruction is answered, not completed", "Use another format.")
        if self.format == "lettered_options" and self.answer != "letter":
            raise self._error("format", "lettered options are answered with letters", "Add answer: letter.")
        if not self.format and any(character.isdigit() for character in self.template):
            raise self._error(
                "format",
                f"the template {self.template!r} is more than a label, but the prompt does not say how it is answered",
                f"Add format: with one of {tuple(FORMATS)}.",
            )

    def _error(self, field: str, what: str, remedy: str | None = None) -> InputError:
        return InputError(what, field=f"prompt.{self.name}.{field}", remedy=remedy)

    @property
    def base(self) -> str:
        """The name that all orders of a prompt share: ``lettered@2`` is an order of ``lettered``."""
        return self.name.partition("@")[0]

    @property
    def answer_format(self) -> str:
        """How the answer is written, out of `emoprobe.prompts.answers.FORMATS`."""
        if self.family == "completion":
            return "completion"
        if self.format:
            return self.format
        if self.answer == "letter":
            return "lettered_options"
        return "chain_of_thought" if self.answer_cue else "number" if self.asks_for_points else "single_word"

    @property
    def asks_for_points(self) -> bool:
        """Whether it asks for a point of a scale."""
        return bool(self.dimension) or any(f"{{{name}}}" in text for text in self._texts.values() for name in SCALE)

    @property
    def needs(self) -> frozenset[str]:
        """Facts of an utterance that the prompt wants, out of `FACTS`."""
        return self._placeholders & frozenset(FACTS)

    @property
    def hash(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of everything that reaches the model, the format, and the version.

        The labels (`LabelSet.hash`) and the facts of an utterance are not in it.
        """
        if self.family == "completion":
            value = [self.family, self.version, self.template, self.context, list(self.forms)]
        else:
            order = None if self.order is None or list(self.order) == sorted(self.order) else list(self.order)
            value = [
                *(self.family, self.version, self.template, list(self.forms), self._turn, self.system),
                *(self.audio_first, self.answer, order),
                *(self.reasoning_tokens, self.answer_cue, self.answer_format),
            ]
        return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()[:16]

    def text(self, labels: LabelSet, facts: Mapping[str, str] | None = None) -> PromptText:
        """The part of the prompt that all labels share.

        Of a prompt with reasoning, ``before`` is what is written after the reasoning, cue included.

        Args:
            labels: The label set asked about.
            facts: Facts of the utterance, at least those in `needs`; inserted as they are.

        Raises:
            InputError: A fact that the prompt needs is missing or empty, or the order is one of another label set.
        """
        before = self._split()[0]
        listed = [form for _, form in self._listed(labels)]
        if self.family == "completion":
            return PromptText(before, self.context.replace("{labels}", ", ".join(listed)))
        values = {"labels": ", ".join(listed)}
        if "options" in self._placeholders:
            values["options"] = "\n".join(
                f"{letter}. {form}" for letter, form in zip(self._letters(len(listed)), listed, strict=True)
            )
        for fact in sorted(self.needs):
            values[fact] = (facts or {}).get(fact) or ""
            if not values[fact].strip():
                raise InputError(
                    f"prompt {self.name!r} needs the {fact} of an utterance that has none",
                    field=f"prompt.{self.name}",
                    remedy=f"Choose a prompt without {{{fact}}}, or a corpus that gives it for every utterance.",
                )

        def fill(text: str) -> str:
            # One pass, so that braces in a transcript stay what they are.
            return _PLACEHOLDER.sub(lambda match: values[match[1]], text)

        system = None if self.system is None else fill(self.system)
        return PromptText(before, instruction=fill(self._turn), system=system, audio_first=self.audio_first)

    def answers(self, labels: LabelSet) -> list[tuple[str, str, str]]:
        """``(label, surface form or letter, text that continues the prompt)`` of every answer, in label order."""
        _, gap, after = self._split()
        if self.answer == "form":
            words: Sequence[tuple[str, str]] = labels.surface_forms(self.forms)
        else:
            listed = [label for label, _ in self._listed(labels)]
            letter = dict(zip(listed, self._letters(len(listed)), strict=True))
            words = [(label, letter[label]) for label in labels.labels]
        return [(label, word, gap + word + after) for label, word in words]

    @property
    def _texts(self) -> dict[str, str]:
        """Fields that the label set's scale is filled into."""
        names = ("template", "context", "instruction", "system", "stimulus")
        return {name: text for name in names if (text := getattr(self, name))}

    @property
    def _turn(self) -> str:
        """The user's turn before anything is filled in."""
        if not self.stimulus or self.instruction[-1].isspace():
            return self.instruction + self.stimulus
        return f"{self.instruction} {self.stimulus}"

    @property
    def _placeholders(self) -> frozenset[str]:
        return frozenset(_PLACEHOLDER.findall(f"{self.instruction} {self.stimulus} {self.system or ''}"))

    def _split(self) -> tuple[str, str, str]:
        """What stands before the label without trailing space, the space between them, and what follows the label."""
        before, after = self.template.split("{label}")
        if self.family == "completion":
            # A transcript begins with a space; an answer in a chat does not.
            return before.rstrip(), " " if before == "" or before[-1].isspace() else "", after
        if self.answer_cue:
            before = f"{self.answer_cue.rstrip()} {before}"
        written = before.rstrip()
        return written, before[len(written) :], after

    def _listed(self, labels: LabelSet) -> list[tuple[str, str]]:
        """``(label, first surface form)`` in the order in which they are listed."""
        first: dict[str, str] = {}
        for label, form in labels.surface_forms(self.forms):
            first.setdefault(label, form)
        listed = list(first.items())
        if self.order is None:
            return listed
        if len(self.order) != len(listed):
            raise self._error("order", f"the order is one of {len(self.order)} labels, the set has {len(listed)}")
        return [listed[i] for i in self.order]

    def _letters(self, size: int) -> str:
        if size > len(ascii_uppercase):
            raise self._error("instruction", f"{size} labels are more than the alphabet has letters", "Use {labels}.")
        return ascii_uppercase[:size]


def make_prompts(config: Mapping[str, Prompt | Mapping], labels: LabelSet) -> list[Prompt]:
    """Prompts from the composed ``prompt`` config: name -> prompt, or its fields.

    Where the label set has a verbalizer, every prompt takes its kinds of word and bears its name: ``NAME+capitalised``.
    One that asks for a point of a scale is filled in with the label set's.
    A prompt with ``orders: k`` becomes k prompts ``NAME@0`` ... ``NAME@k-1``. Their orders are cyclic rotations of the
    label set's, evenly spaced and beginning with none; with ``all`` every label stands once in every position.

    Raises:
        InputError: A field is unknown or wrong, there are more orders than labels, two prompts say the same, the labels
            lack words of a kind that a prompt wants or share one, or one of labels and prompt is of a scale alone.
    """
    prompts: list[Prompt] = []
    named: Mapping[str, Any] = valid(Named[Prompt], config, "prompt")
    for name, prompt in named.items():
        if "@" in name:
            raise InputError("a prompt's name cannot hold '@'", field=f"prompt.{name}", remedy="'@' counts orders.")
        asked = prompt.dimension if prompt.asks_for_points else None
        refuse_another_scale(name, asked, prompt.answer_format, labels)
        labels.surface_forms(labels.kinds_of(prompt.forms))
        prompts += _in_orders(_on_scale(_verbalized(prompt, labels), labels), len(labels))
    if not prompts:
        raise InputError("no prompt was chosen", field="prompt", remedy="Give one, for example prompt=voice_sounds.")
    _refuse_equal(prompts)
    return prompts


def _verbalized(prompt: Prompt, labels: LabelSet) -> Prompt:
    """The prompt with the kinds of word of the label set's verbalizer, which its name tells."""
    if labels.forms is None:
        return prompt
    name = "+".join([prompt.name, *labels.forms])
    return dataclasses.replace(prompt, name=name, forms=labels.kinds_of(prompt.forms))


def _on_scale(prompt: Prompt, labels: LabelSet) -> Prompt:
    """The prompt with all that it says of the label set's scale filled in."""
    if labels.scale is None:
        return prompt
    values = words_of_scale(labels, prompt.forms)
    filled: dict[str, Any] = {
        name: _PLACEHOLDER.sub(lambda at: values.get(at[1], at[0]), text) for name, text in prompt._texts.items()
    }
    if prompt.family == "instruction":
        filled["format"] = prompt.answer_format
    return dataclasses.replace(prompt, dimension=labels.scale.dimension, **filled)


def _in_orders(prompt: Prompt, size: int) -> list[Prompt]:
    count = size if prompt.orders == "all" else prompt.orders
    if count == 1:
        return [prompt]
    if count > size:
        raise InputError(
            f"{count} orders of {size} labels: rotations give one order for every label",
            field=f"prompt.{prompt.name}.orders",
            remedy="Use orders: all.",
        )
    shifts = [i * size // count for i in range(count)]
    return [
        dataclasses.replace(
            prompt,
            name=f"{prompt.name}@{i}",
            orders=1,
            order=tuple((position + shift) % size for position in range(size)),
        )
        for i, shift in enumerate(shifts)
    ]


def _refuse_equal(prompts: Sequence[Prompt]) -> None:
    seen: dict[str, str] = {}
    for prompt in prompts:
        if prompt.hash in seen:
            raise InputError(
                f"prompts {seen[prompt.hash]!r} and {prompt.name!r} say the same", field="prompt", remedy="Drop one."
            )
        seen[prompt.hash] = prompt.name
