"""Label sets: which emotions are asked about, in which order, and the words that stand for them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from emoprobe.errors import InputError


@dataclass(frozen=True)
class LabelSet:
    """An ordered set of emotion labels with its verbalizer.

    Args:
        name: Name of the set, for tables.
        labels: Label names in the order of every distribution's last axis.
        forms: Verbalizer: label -> kind of word (``adjective``, ``noun``, ...) -> surface forms. A prompt says which
            kinds it wants; a label's probability is the sum over its surface forms.
        aliases: Other words that raters or corpora use for a label (``happiness`` -> ``happy``); compared without case.
    """

    name: str
    labels: tuple[str, ...]
    forms: Mapping[str, Mapping[str, tuple[str, ...]]]
    aliases: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        forms = {
            label: {kind: (words,) if isinstance(words, str) else tuple(words) for kind, words in kinds.items()}
            for label, kinds in self.forms.items()
        }
        object.__setattr__(self, "forms", forms)
        object.__setattr__(self, "aliases", {str(k).lower(): v for k, v in dict(self.aliases).items()})
        if len(self.labels) < 2:
            raise InputError("a label set needs at least two labels", field=f"labels.{self.name}")
        if len({label.lower() for label in self.labels}) != len(self.labels):
            raise InputError(f"labels occur twice: {list(self.labels)}", field=f"labels.{self.name}")
        unknown = set(self.forms) ^ set(self.labels)
        if unknown:
            raise InputError(
                f"labels and their surface forms differ in {sorted(unknown)}",
                field="labels.forms",
                remedy="Give every label of the set its surface forms, and no others.",
            )
        for alias, label in self.aliases.items():
            if label not in self.labels:
                raise InputError(f"alias {alias!r} points to {label!r}, which is not a label", field="labels.aliases")

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
        owner: dict[str, str] = {}
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
                if owner.setdefault(word, label) != label:
                    raise InputError(
                        f"surface form {word!r} stands for both {owner[word]!r} and {label!r}", field="labels.forms"
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
