"""Label sets: which emotions are asked about, in which order, and the words that stand for them."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated

from annotated_types import MinLen
from pydantic import AfterValidator, BeforeValidator

from emoprobe.errors import InputError
from emoprobe.options import Name, Several, Words, options

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


@options("labels")
class LabelSet:
    """An ordered set of emotion labels with its verbalizer.

    Args:
        name: Name of the set, for tables.
        labels: Label names in the order of every distribution's last axis.
        forms: Verbalizer: label -> kind of word (``adjective``, ``noun``, ...) -> surface forms. A prompt says which
            kinds it wants; a label's probability is the sum over its surface forms.
        aliases: Other words that raters or corpora use for a label (``happiness`` -> ``happy``); compared without case.

    Raises:
        InputError: Something is no text (YAML reads ``no``, ``on``, ``1`` and ``null`` as something else), is blank,
            has spaces at its ends, invisible characters or a control token, is longer than 80 characters, or is the
            same as another, apart from case and Unicode form, where they must differ.

    >>> forms = {"happy": {"noun": ["happiness", "joy"]}, "sad": {"noun": ["sadness"]}}
    >>> labels = LabelSet("two", ("happy", "sad"), forms, {"Sorrow": "sad"})
    >>> labels.resolve("SORROW"), labels.resolve("fear")
    ('sad', None)
    >>> labels.surface_forms(("noun",))
    (('happy', 'happiness'), ('happy', 'joy'), ('sad', 'sadness'))
    """

    name: Name
    labels: Annotated[Several[Text], Words("a list of at least two labels"), MinLen(2)]
    forms: Mapping[Text, Kinds]
    aliases: Annotated[Mapping[Text, Text], Words("a mapping from other words to labels")] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len({_key(label) for label in self.labels}) != len(self.labels):
            raise InputError(f"labels occur twice: {list(self.labels)}", field="labels.labels")
        unknown = set(self.forms) ^ set(self.labels)
        if unknown:
            raise InputError(
                f"labels and their surface forms differ in {sorted(unknown)}",
                field="labels.forms",
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

    def resolve(self, word: str) -> str | None:
        """The label that a word stands for, by name or alias, ignoring case; None if there is none."""
        key = word.strip().lower()
        for label in self.labels:
            if label.lower() == key:
                return label
        return self.aliases.get(key)

    def surface_forms(self, kinds: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """All ``(label, surface form)`` pairs of the given kinds, in label order.

        Raises:
            InputError: A label has no form of any of the kinds, or one form stands for two labels.
        """
        pairs: list[tuple[str, str]] = []
        owner: dict[str, tuple[str, str]] = {}
        for label in self.labels:
            words = [word for kind in kinds for word in self.forms[label].get(kind, ())]
            if not words:
                raise InputError(
                    f"label {label!r} has no surface form of kind {' or '.join(kinds)}",
                    field="labels.forms",
                    remedy=f"It has the kinds {sorted(self.forms[label])}; add one to the label set or change the "
                    "prompt's `forms`.",
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
        """First 16 hexadecimal digits of the SHA-256 of the labels, their order and their surface forms."""
        value = [
            [label, {kind: list(words) for kind, words in sorted(self.forms[label].items())}] for label in self.labels
        ]
        return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()[:16]


def _key(text: str) -> str:
    """Text without what case and Unicode form make of it."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
