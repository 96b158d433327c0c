"""One number on a scale, such as ``3`` or ``3.5``; a sentence that says it takes 16 tokens."""

from __future__ import annotations

from emoprobe.prompts.answers.formats import register
from emoprobe.prompts.answers.numbers import find_number
from emoprobe.prompts.answers.result import ParsedAnswer
from emoprobe.prompts.answers.words import Vocabulary
from emoprobe.prompts.answers.writing import write_word


@register("number", max_new_tokens=48, write=write_word, scale="only")
def parse(text: str, vocabulary: Vocabulary, *, marked: bool = False) -> ParsedAnswer | None:
    """The one number that the text says; it fits nothing where the labels are no scale."""
    return find_number(text, vocabulary, marked=marked) if vocabulary.points else None
