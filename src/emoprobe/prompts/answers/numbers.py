"""Answers that say one number on a scale, and nothing else.

::

    answer    = said | "{" key ":" said "}"               key: the dimension, rating, score, answer, ...
    said      = [scale] [subject (":" | "=" | verb) | rate] number [of] [scale] [gloss]
    number    = digits [("." | ",") digits] | the word of a point
    of        = ("/" | "out of" | "of") highest
    scale     = "on a scale from" lowest "to" highest
    subject   = the dimension, the rating, the score, ... of the voice, the speaker, ...
    rate      = "I would rate" [subject | it] ["as"] ["a"]
    gloss     = prose in brackets or after "-", ":" or ","

A number between two points is divided between them, so that its mean is the number. What is off the scale, has another
scale's highest number, is a range, a percentage or one of several numbers is none; "-3" is no bullet and a 3. After a
mark of the end result, lines of prose may follow.
"""

from __future__ import annotations

import re
from functools import lru_cache

from emoprobe.data.scales import on_points
from emoprobe.prompts.answers.dictionaries import REMARKS, read_dictionary
from emoprobe.prompts.answers.result import AmbiguousError, ParsedAnswer, certain
from emoprobe.prompts.answers.words import NUMERAL, Vocabulary, bare, is_negated

_WRAPPED = re.compile(r"[\s\"'(\[_]*(?P<core>.*?)[\s\"')\].,;!_]*", re.DOTALL)
_RATINGS = ("rating", "score", "value", "number", "answer", "level", "estimate", "point", "result", "prediction")
_THING = r"(?:speaker|person|voice|speech|audio|recording|clip|sound|tone|utterance|emotion|feeling)"
_OWNER = r"(?:(?:the|this|that|its|his|her|their|my|a)\s+)?"
_KIND = r"(?:(?:overall|perceived|expressed|estimated|emotional|vocal|final|average|most\s+likely|best|correct)\s+)*"
_VERB = r"\s+(?:is(?:\s+rated)?|was|seems|appears|(?:would|should)\s+be)(?:\s+to\s+be)?(?:\s+(?:as|at))?(?:\s+an?)?\s+"
_ANY = re.compile(rf"(?<![\w.,]){NUMERAL}(?![\w.,]*[0-9])|[^\W\d_]+")


@lru_cache(maxsize=16)
def _grammar(dimension: str, lowest: str, highest: str) -> tuple[re.Pattern, re.Pattern]:
    """What an answer is, with the number as ``number`` and what explains it as ``gloss``; and how a scale is said.

    Args:
        dimension: Its name.
        lowest: What the lowest point is called, as alternatives of a regular expression.
        highest: Likewise.
    """
    asked = rf"(?:{re.escape(dimension)}|{'|'.join(_RATINGS)})"
    owned = rf"{_OWNER}(?:{_THING}|{re.escape(dimension)})(?:'s\s+(?:{_THING}|{re.escape(dimension)}))?"
    subject = rf"{_OWNER}(?:{_THING}'s\s+)?{_KIND}{asked}(?:\s+{asked})?(?:\s+(?:of|in|for|from)\s+{owned})*"
    whole = rf"(?:\s*/\s*|\s+(?:out\s+)?of\s+)(?:{highest})(?![\w.,/]*[0-9])"
    end = r"(?:\s*\([^()0-9]*\))?"
    scale = rf"\bon\s+(?:a|the|this)\s+scale\s+(?:of|from)\s+(?:{lowest}){end}\s*(?:to|-)\s*(?:{highest})(?!\w){end}"
    rate = (
        rf"i(?:\s+would|'d)?\s+(?:rate|score|give|estimate|judge|assess|say)(?:\s+that)?(?:\s+(?:{subject}|it|{owned}))?"
        r"(?:\s+(?:as|at|to\s+be|is|with))?(?:\s+an?)?(?:\s+(?:rating|score)\s+of)?(?:\s+an?)?\s+"
    )
    number = rf"(?P<number>{NUMERAL}|[^\W\d_]+(?:[ -][^\W\d_]+){{0,2}}?)"
    gloss = r"(?:\s*\((?P<bracket>[^()]*)\)?|\s*[,:]\s+(?P<behind>.+)|\s+-\s+(?P<dash>.+))?"
    said = rf"(?:{subject}(?:\s*[:=]\s*|{_VERB})|{rate})?{number}(?:{whole})?"
    answer = rf"(?:{scale}\s*,?\s+)?{said}(?:\s*,?\s+{scale})?{gloss}"
    return re.compile(answer, re.IGNORECASE | re.DOTALL), re.compile(rf"{scale}|{whole}", re.IGNORECASE)


def find_number(
    text: str, vocabulary: Vocabulary, *, marked: bool = False, sentences: bool = True
) -> ParsedAnswer | None:
    """The points of the one number that an answer says; None if it does not fit the grammar, or is off the scale.

    Args:
        text: The answer.
        vocabulary: The points and their words.
        marked: Whether it was marked as the end result: then lines of prose may follow its first.
        sentences: Whether statements and dictionaries count, or only the number itself.

    Raises:
        AmbiguousError: There are two numbers, or one is denied.
    """
    number = _said(text, vocabulary, sentences)
    if number is None and marked:
        first, _, rest = text.partition("\n")
        number = _said(first, vocabulary, sentences) if vocabulary.is_prose(rest) else None
    lowest, highest = vocabulary.points[0], vocabulary.points[-1]
    if number is None:
        others = _numbers(text, vocabulary)
        if len(others) > 1 or (others and is_negated(text)):
            raise AmbiguousError
        return None
    if not lowest <= number <= highest:
        return None
    if number in vocabulary.points:
        return certain(vocabulary.points.index(number), vocabulary.size)
    shares = on_points(number, (lowest, highest), vocabulary.points)
    return ParsedAnswer("ok", tuple(shares.tolist()), 1.0)


def _said(text: str, vocabulary: Vocabulary, sentences: bool) -> float | None:
    wrapped = _WRAPPED.fullmatch(text)
    core = wrapped["core"] if wrapped else text
    if not sentences:
        return vocabulary.number(core)
    match = _patterns(vocabulary)[0].fullmatch(core)
    if match:
        gloss = match["bracket"] or match["behind"] or match["dash"]
        if gloss is None or vocabulary.is_prose(gloss):
            return vocabulary.number(match["number"])
    return _keyed(text, vocabulary) if "{" in text else None


def _keyed(text: str, vocabulary: Vocabulary) -> float | None:
    """The number of ``{"valence": 3}``; remarks beside it are words only."""
    entries = read_dictionary(text)
    if entries is None:
        return None
    keys = {*_RATINGS, bare(vocabulary.dimension), *(f"{bare(vocabulary.dimension)} {name}" for name in _RATINGS)}
    said = [value for key, value in entries if bare(key) in keys]
    others = [key for key, _ in entries if bare(key) not in keys | REMARKS]
    return _said(said[0], vocabulary, sentences=True) if len(said) == 1 and not others else None


def _numbers(text: str, vocabulary: Vocabulary) -> set[float]:
    """All numbers that a text holds but those that say what the scale is."""
    found = (vocabulary.number(each[0]) for each in _ANY.finditer(_patterns(vocabulary)[1].sub(" ", text)))
    return {number for number in found if number is not None}


def _patterns(vocabulary: Vocabulary) -> tuple[re.Pattern, re.Pattern]:
    ends = []
    for i in (0, vocabulary.size - 1):
        words = [re.escape(word) for word, point in vocabulary.words.items() if point == i and not word.isdigit()]
        ends.append("|".join([re.escape(f"{vocabulary.points[i]:g}"), *words]))
    return _grammar(vocabulary.dimension, *ends)
