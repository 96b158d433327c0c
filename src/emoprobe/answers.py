"""Text answers: what distribution, if any, a model wrote down. The parse status is data; a failure is never a label."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

STATUSES = ("ok", "renormalised", "single_label", "partial", "refused", "unparsed")

_NUMBER = r"(?P<number>\d+(?:\.\d+)?|\.\d+)\s*(?P<percent>%)?"
_REFUSAL = re.compile(
    r"\b(?:i\s+(?:can(?:no|')t|am\s+(?:unable|not\s+able)|'m\s+(?:unable|not\s+able)|won't)|as an ai|i'm sorry|"
    r"unable to (?:determine|tell|assess))\b",
    re.IGNORECASE,
)
_SUM_TOLERANCE = 0.011  # two-decimal answers over many labels still count as summing to one


@dataclass(frozen=True)
class ParsedAnswer:
    """A parsed text answer.

    Args:
        status: ``ok`` (every label has a number and they sum to one), ``renormalised`` (they do not sum to one),
            ``partial`` (labels are missing or others were named; missing ones count as zero), ``single_label`` (the
            whole answer is one label), ``refused``, ``unparsed``.
        shares: Distribution over the labels, None if there is none.
    """

    status: str
    shares: tuple[float, ...] | None


def parse_answer(text: str, labels: Sequence[str], words: Sequence[tuple[str, str]]) -> ParsedAnswer:
    """Parse a distribution or one label out of an answer.

    A label is taken only if it is the whole answer: a label word inside running text (a transcript: "I'm so angry")
    says nothing about what the model heard in the voice.

    Args:
        text: The answer.
        labels: Labels in order.
        words: ``(label, word)`` pairs: label names and surface forms, matched as whole words without case.
    """
    index = {label: i for i, label in enumerate(labels)}
    owner = {word.lower(): index[label] for label, word in words} | {label.lower(): i for label, i in index.items()}
    numbers = _numbers(text)
    if numbers:
        return _from_numbers(numbers, owner, len(labels))
    whole = re.sub(r"[^\w]+", " ", text.lower()).strip()
    if whole in owner:
        return ParsedAnswer("single_label", tuple(float(i == owner[whole]) for i in range(len(labels))))
    return ParsedAnswer("refused" if _REFUSAL.search(text) else "unparsed", None)


def _numbers(text: str) -> list[tuple[str, float]]:
    """``(word, value)`` of every ``word: number`` in the text, percentages as fractions."""
    pattern = re.compile(r"[\"']?(?P<word>[^\W\d_][\w\- ]*?)[\"']?\s*[:=]\s*" + _NUMBER)
    return [
        (match["word"].strip().lower(), float(match["number"]) / (100 if match["percent"] else 1))
        for match in pattern.finditer(text)
    ]


def _from_numbers(numbers: Sequence[tuple[str, float]], owner: dict[str, int], size: int) -> ParsedAnswer:
    shares: list[float | None] = [None] * size
    foreign = False
    for word, value in numbers:
        if word not in owner:
            foreign = True
        elif shares[owner[word]] is None:
            shares[owner[word]] = value
        else:  # the answer gives one label two numbers: which one it means cannot be told
            return ParsedAnswer("unparsed", None)
    given = [value for value in shares if value is not None]
    total = math.fsum(given)
    if not given or not total > 0 or not math.isfinite(total):
        return ParsedAnswer("unparsed", None)
    distribution = tuple((value or 0.0) / total for value in shares)
    if foreign or len(given) < size:
        return ParsedAnswer("partial", distribution)
    # 50, 30, 20 without a per cent sign is a list of percentages, not a failure to sum to one.
    exact = any(abs(total / whole - 1) <= _SUM_TOLERANCE for whole in (1.0, 100.0))
    return ParsedAnswer("ok" if exact else "renormalised", distribution)
