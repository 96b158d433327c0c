"""A list of labels and percentages; with a lead-in, it takes 120 tokens."""

from __future__ import annotations

from emoprobe.prompts.answers.formats import register
from emoprobe.prompts.answers.result import ParsedAnswer
from emoprobe.prompts.answers.shares import parse_shares
from emoprobe.prompts.answers.words import Vocabulary


@register("percentages", max_new_tokens=320)
def parse(text: str, vocabulary: Vocabulary, *, marked: bool = False) -> ParsedAnswer | None:
    """`parse_shares`, where whole numbers without a unit are percentages."""
    return parse_shares(text, vocabulary, marked=marked, percentages=True)
