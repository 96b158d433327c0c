"""Reasoning, then the label behind a mark of the end result."""

from __future__ import annotations

from emoprobe.prompts.answers.formats import register
from emoprobe.prompts.answers.one_label import parse_label
from emoprobe.prompts.answers.result import ParsedAnswer
from emoprobe.prompts.answers.words import Vocabulary


@register("chain_of_thought", max_new_tokens=512, reasons=True, scale="too")
def parse(text: str, vocabulary: Vocabulary, *, marked: bool = False) -> ParsedAnswer | None:
    """The label behind the mark; without a mark only a text that is a label and nothing else."""
    return parse_label(text, vocabulary, marked=marked, sentences=marked)
