"""A list of labels and percentages; with a lead-in, it takes 120 tokens."""

from __future__ import annotations

from emoprobe.prompts.answers.formats import register
from emoprobe.prompts.answers.result import ParsedAnswer
from emoprobe.prompts.answers.shares import parse_shares
from emoprobe.prompts.answers.words import Vocabulary
from emoprobe.prompts.answers.writing import write_percentages


@register("percentages", max_new_tokens=320, write=write_percentages)
def parse(text: str, vocabulary: Vocabulary, *, marked: bool = False) -> ParsedAnswer | None:
    """`parse_shares`, where whole numbers without a unit are percentages."""
    return parse_shares(text, vocabulary, marked=marked, percentages=True)
