"""A prompt as a versioned, hashed value: what is said to the model around the label."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.models.base import PromptText

FAMILIES = ("completion",)


@dataclass(frozen=True)
class Prompt:
    """A prompt and the kinds of words its label slot takes.

    Args:
        name: Name in tables; not part of the hash.
        template: The answer as a whole with one ``{label}``, for example ``The speaker is feeling {label}.``.
        forms: Kinds of surface forms to fill in, in the verbalizer's words (``adjective``, ``noun``).
        context: Text the model is given ahead of the answer; ``{labels}`` stands for all labels' first forms.
        family: ``completion``: the model continues the template (Whisper).
        version: Raised whenever the text changes, so that old rows keep their meaning.
        source: Where the wording comes from.
    """

    name: str
    template: str
    forms: tuple[str, ...] = ("adjective",)
    context: str = ""
    family: str = "completion"
    version: int = 1
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "forms", (self.forms,) if isinstance(self.forms, str) else tuple(self.forms))
        where = f"prompt.{self.name}"
        if self.template.count("{label}") != 1:
            raise InputError(
                f"the template {self.template!r} must hold {{label}} exactly once",
                field=f"{where}.template",
                remedy="Write for example 'The speaker is feeling {label}.'",
            )
        if self.family not in FAMILIES:
            raise InputError(
                f"unknown prompt family {self.family!r}", field=f"{where}.family", remedy=f"Use one of {FAMILIES}."
            )
        if not self.forms:
            raise InputError("a prompt needs at least one kind of surface form", field=f"{where}.forms")

    @property
    def hash(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of everything that reaches the model, and the version."""
        value = [self.family, self.version, self.template, self.context, list(self.forms)]
        return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()[:16]

    def text(self, labels: LabelSet) -> PromptText:
        """The part of the prompt that all labels share."""
        first: dict[str, str] = {}
        for label, form in labels.surface_forms(self.forms):
            first.setdefault(label, form)
        return PromptText(self._split()[0].rstrip(), self.context.replace("{labels}", ", ".join(first.values())))

    def answers(self, labels: LabelSet) -> list[tuple[str, str, str]]:
        """``(label, surface form, text that continues the prompt)`` for every surface form, in label order."""
        before, after = self._split()
        space = " " if before == "" or before[-1].isspace() else ""
        return [(label, form, space + form + after) for label, form in labels.surface_forms(self.forms)]

    def _split(self) -> tuple[str, str]:
        before, after = self.template.split("{label}")
        return before, after


def make_prompts(config: Mapping[str, Mapping]) -> list[Prompt]:
    """Prompts from the composed ``prompt`` config: name -> fields.

    Raises:
        InputError: A field is unknown or wrong, or two prompts say the same.
    """
    prompts = []
    for name, fields in config.items():
        try:
            prompts.append(Prompt(name=name, **fields))
        except TypeError as error:
            raise InputError(
                f"prompt {name!r} is malformed: {error}",
                field=f"prompt.{name}",
                remedy="Its fields are template, forms, context, family, version and source.",
            ) from error
    if not prompts:
        raise InputError("no prompt was chosen", field="prompt", remedy="Give one, for example prompt=voice_sounds.")
    _refuse_equal(prompts)
    return prompts


def _refuse_equal(prompts: Sequence[Prompt]) -> None:
    seen: dict[str, str] = {}
    for prompt in prompts:
        if prompt.hash in seen:
            raise InputError(
                f"prompts {seen[prompt.hash]!r} and {prompt.name!r} say the same", field="prompt", remedy="Drop one."
            )
        seen[prompt.hash] = prompt.name
