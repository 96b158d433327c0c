"""Label sets: which emotions are asked about, in which order, and the words that stand for them."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, field
from typing import Annotated

from annotated_types import MinLen
from pydantic import AfterValidator, BeforeValidator

from emoprobe.errors import InputError
from emoprobe.options import Distinct, Name, Part, Several, Words, options

LONGEST = 80  # characters of a label or surface form; what is longer is a sentence and belongs into a prompt
_CONTROL_TOKEN = re.compile(r"<\|[^|]*\|>")
_JOINERS = "\u200c\u200d"  # letters of some scripts need them, though they are invisible


def _word(value: str) -> str:
    """A label, surface form or other word of a label set, if it is one."""
    wrong = None
    if not any(unicodedata.category(letter)[0] in "LNSP" for letter in value):
        wrong = "is blank"
    elif value != value.strip():
        wrong = "begins or ends with a space"
    elif any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") and c not in _JOINERS for c in value):
        wrong = "holds an invisible or control character"
    elif _CONTROL_TOKEN.search(value):
        wrong = "holds a control token"
    elif len(value) > LONGEST:
        wrong = f"is longer than {LONGEST} characters"
    if wrong:
        raise ValueError(f"{value[: LONGEST + 1]!r} {wrong}; use another word, or none")
    return value


def _listed(words: object) -> object:
    return words if isinstance(words, list | tuple | Mapping) else (words,)


def _unlike(words: tuple[str, ...]) -> tuple[str, ...]:
    if len({unicodedata.normalize("NFKC", word) for word in words}) != len(words):
        raise ValueError(f"surface forms occur twice: {list(words)}")
    return words


Text = Annotated[str, AfterValidator(_word)]
Forms = Annotated[
    Several[Text], BeforeValidator(_listed), AfterValidator(_unlike), Words("a surface form or a list of some")
]
Kinds = Annotated[Mapping[Text, Forms], Words("a mapping from kinds of word, such as adjective, to surface forms")]
Verbalizer = Annotated[
    Distinct[Name], MinLen(1), BeforeValidator(_listed), Words("a kind of word, such as adjective, or a list of some")
]
PROMPT, LABEL, CAPITALISED = "prompt", "label", "capitalised"
"""Kinds that every label set has beside its own: those of the prompt, the label's name; and any with a capital."""


@options("labels.scale")
class Scale:
    """What a label set means whose labels are the points of a scale, such as 1 to 5.

    Args:
        dimension: What is rated: ``valence``, ``arousal``, ``dominance``, ``intensity``, or a word of one's own; the
            name under which a corpus gives the ratings.
        low: What the lowest point means, for prompts: ``very negative``.
        high: What the highest point means.
    """

    dimension: Name
    low: Text
    high: Text


@options("labels")
class LabelSet:
    """An ordered set of emotion labels with its verbalizer.

    Args:
        name: Name of the set, for tables.
        labels: Label names in the order of every distribution's last axis.
        words: Label -> kind of word (``adjective``, ``noun``, ...) -> surface forms. A prompt says which kinds it
            wants; a label's probability is the sum over its surface forms.
        aliases: Other words that raters or corpora use for a label (``happiness`` -> ``happy``); compared without case.
        forms: Verbalizer: the kinds of word that every prompt takes instead of those it names, their forms adding up.
            One or several of the set's own kinds; ``label``, its name; ``prompt``, what the prompt names;
            ``capitalised``, the same with a capital; and ``KIND_capitalised``. None leaves it to the prompts.
        scale: That the labels are points of a scale: whole numbers in ascending order, one apart. Then votes are
            ratings of its dimension, whose numbers fall on the points or between two of them.

    Raises:
        InputError: Something is no text (YAML reads ``no``, ``on``, ``1`` and ``null`` as something else), is blank,
            has spaces at its ends, invisible characters or a control token, is longer than 80 characters, or is the
            same as another, apart from case and Unicode form, where they must differ.

    >>> words = {"happy": {"noun": ["happiness", "joy"]}, "sad": {"noun": ["sadness"]}}
    >>> labels = LabelSet("two", ("happy", "sad"), words, {"Sorrow": "sad"})
    >>> labels.resolve("SORROW"), labels.resolve("fear")
    ('sad', None)
    >>> labels.surface_forms(("noun",))
    (('happy', 'happiness'), ('happy', 'joy'), ('sad', 'sadness'))
    >>> labels.surface_forms(("label", "label_capitalised"))
    (('happy', 'happy'), ('happy', 'Happy'), ('sad', 'sad'), ('sad', 'Sad'))
    """

    name: Name
    labels: Annotated[Several[Text], Words("a list of at least two labels"), MinLen(2)]
    words: Mapping[Text, Kinds]
    aliases: Annotated[Mapping[Text, Text], Words("a mapping from other words to labels")] = field(default_factory=dict)
    forms: Verbalizer | None = None
    scale: Part[Scale] | None = None

    def __post_init__(self) -> None:
        if self.scale is not None and not _are_points(self.labels):
            raise InputError(
                f"the points of a scale are whole numbers, one apart and ascending, not {', '.join(self.labels)}",
                field="labels.labels",
                remedy="Write for example ['1', '2', '3', '4', '5'], or leave scale out.",
            )
        if len({_key(label) for label in self.labels}) != len(self.labels):
            raise InputError(f"labels occur twice: {list(self.labels)}", field="labels.labels")
        unknown = set(self.words) ^ set(self.labels)
        if unknown:
            raise InputError(
                f"labels and their surface forms differ in {sorted(unknown)}",
                field="labels.words",
                remedy="Give every label of the set its surface forms, and no others.",
            )
        object.__setattr__(self, "aliases", self._checked_aliases())

    def _checked_aliases(self) -> dict[str, str]:
        aliases: dict[str, str] = {}
        for alias, label in self.aliases.items():
            key = alias.lower()
            if label not in self.labels:
                raise InputError(f"alias {alias!r} points to {label!r}, which is not a label", field="labels.aliases")
            named = aliases.get(key) or next((name for name in self.labels if name.lower() == key), label)
            if named != label:
                raise InputError(f"alias {alias!r} stands for both {named!r} and {label!r}", field="labels.aliases")
            aliases[key] = label
        return aliases

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def points(self) -> tuple[float, ...] | None:
        """The numbers that the labels of a scale are; None where the labels are no scale."""
        return None if self.scale is None else tuple(map(float, self.labels))

    @property
    def dimension(self) -> str | None:
        """What the points of a scale are points of; None where the labels are no scale."""
        return None if self.scale is None else self.scale.dimension

    def resolve(self, word: str) -> str | None:
        """The label that a word stands for, by name or alias, ignoring case; None if there is none."""
        key = word.strip().lower()
        for label in self.labels:
            if label.lower() == key:
                return label
        return self.aliases.get(key)

    def kinds_of(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """The kinds of word that a prompt takes which names some: those of the verbalizer, if there is one."""
        kinds: list[str] = []
        for name in self.forms or (PROMPT,):
            if all(name in self.words[label] for label in self.labels):
                kinds.append(name)
            elif name == CAPITALISED:
                kinds += [f"{kind}_{CAPITALISED}" for kind in wanted]
            else:
                kinds += wanted if name == PROMPT else [name]
        return tuple(dict.fromkeys(kinds))

    def _forms_of(self, label: str, kind: str) -> tuple[str, ...]:
        own, (base, _, made) = self.words[label], kind.rpartition("_")
        if kind in own or kind == LABEL:
            return own.get(kind, (label,))
        words = self._forms_of(label, base) if base and made == CAPITALISED else ()
        return tuple(word[:1].upper() + word[1:] for word in words)

    def surface_forms(self, kinds: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """All ``(label, surface form)`` pairs of the given kinds, in label order.

        Raises:
            InputError: A label has no form of any of the kinds, or one form stands for two labels.
        """
        pairs: list[tuple[str, str]] = []
        owner: dict[str, tuple[str, str]] = {}
        for label in self.labels:
            words = [word for kind in kinds for word in self._forms_of(label, kind)]
            if not words:
                empty = next((f".{kind}" for kind in kinds if kind in self.words[label]), "")
                raise InputError(
                    f"label {label!r} has no surface form of kind {' or '.join(kinds)}",
                    field="labels.forms" if self.forms else f"labels.words.{label}{empty}",
                    remedy=f"It has the kinds {', '.join(sorted({*self.words[label], LABEL}))}, each also as "
                    f"KIND_{CAPITALISED}; add one to the label set or change the prompt's `forms`.",
                )
            for word in dict.fromkeys(words):
                other, form = owner.setdefault(_key(word), (label, word))
                if other != label:
                    same = "" if form == word else f" (written {form!r} there)"
                    raise InputError(
                        f"surface form {word!r} stands for both {other!r}{same} and {label!r}", field="labels.forms"
                    )
                pairs.append((label, word))
        return tuple(pairs)

    @property
    def hash(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the labels, their order and all their words.

        What a verbalizer takes of them is in the hash of every prompt.
        """
        value: list[list[object]] = [
            [label, {kind: list(words) for kind, words in sorted(self.words[label].items())}] for label in self.labels
        ]
        if self.scale is not None:
            value.append(["scale", asdict(self.scale)])
        return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()[:16]


def _are_points(labels: tuple[str, ...]) -> bool:
    """Whether labels are whole numbers, one apart and ascending."""
    if not all(re.fullmatch(r"0|-?[1-9]\d{0,2}", label, re.ASCII) for label in labels):
        return False
    return [int(label) for label in labels] == list(range(int(labels[0]), int(labels[0]) + len(labels)))


def _key(text: str) -> str:
    """Text without what case and Unicode form make of it."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
