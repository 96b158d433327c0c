"""The rest of a sentence that a prompt has begun: the label and nothing else, without a mark of an end result."""

from __future__ import annotations

from emoprobe.prompts.answers.formats import register
from emoprobe.prompts.answers.one_label import find_label
from emoprobe.prompts.answers.result import ParsedAnswer
from emoprobe.prompts.answers.words import Vocabulary


@register("completion", max_new_tokens=32, has_marks=False, scale="too")
def parse(text: str, vocabulary: Vocabulary, *, marked: bool = False) -> ParsedAnswer | None:
    """The one label that the text is."""
    return find_label(text, vocabulary, marked=marked, sentences=False)
