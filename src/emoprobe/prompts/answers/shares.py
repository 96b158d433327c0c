"""Answers that give labels numbers: a dictionary of probabilities, or a list of percentages.

::

    answer  = [prose] dictionary [prose] | [prose lines] list [prose lines]
    list    = pair {separator pair} | "|" word "|" number "|"       separator: line end, "," ";" "and"
    pair    = [bullet | n "."] word (":" | "=") number ["%"] | ... word ["-"] number "%" | number "%" ["of"] word
    number  = digits ["." digits] [exponent]         nothing before it ("about", "<", "-") and no range after it

Prose holds no number and no word that casts doubt. Labels that it names have a share, the likeliest among them. In a
dictionary, remarks (``"explanation": "..."``) are free, and a label beside the shares is the likeliest. After "-", "."
or in brackets at the end of a list's line, prose may name that line's labels. Bullets numbered ``1.``, ``2.``, ...
count the lines.

Units. With a per cent sign a number is a percentage. Without one, numbers of at most 1 are shares (in a list of
percentages: if they have decimals), greater ones percentages. Numbers with and without a sign only mix where those
without are 0 or have decimals and all sum to one. Whole numbers but 0 never mix with fractions: nobody knows what is
meant.

The whole. What is missing from one may belong to anybody, so numbers below .95 in all are ambiguous, unless a closed
dictionary gives every label its number. Shares of labels are renormalised, and the status says so. Where words that are
no labels have numbers, all must sum to one: else they may be numbers of something else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from emoprobe.prompts.answers.dictionaries import REMARKS, read_dictionary, split_dictionaries
from emoprobe.prompts.answers.one_label import KEYS, choice, find_label
from emoprobe.prompts.answers.result import AmbiguousError, ParsedAnswer
from emoprobe.prompts.answers.words import Vocabulary, bare, has_number

TOLERANCE = 0.011  # two-decimal answers over many labels still count as summing to one
EXACT = 0.005  # where the sum has to tell which unit is meant
LEAST = 0.95

NUMBER = (
    r"(?P<number>[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?|\.[0-9]+))(?![\w.,/]*[0-9])"
    r"\s*(?P<percent>%|per ?cent\b)?"
)
_WORD = r"[\"']?(?P<word>[^\W\d_][^\d:=,;%(){}\[\]\"\n]{0,40}?)[\"']?"
_END = r"[\"')\].!\s]*"
_ALONE = re.compile(rf"\s*{NUMBER}\s*", re.IGNORECASE)
_WORD_FIRST = re.compile(rf"{_WORD}\s*(?P<sign>[:=]|\(|-(?=\s)|)\s*[\"']?{NUMBER}{_END}", re.IGNORECASE)
_NUMBER_FIRST = re.compile(rf"{NUMBER}\s*(?:[:-]|of\b)?\s*{_WORD}{_END}", re.IGNORECASE)
_BULLET = re.compile(r"[\s\"'(\[•#>+-]*(?:(?P<n>[0-9]{1,2})[.)]\s+)?[\"'(\[]*")
_REMARK = re.compile(r"(?P<pairs>.*?(?:%|\.[0-9]+)[)\]\"']*)(?:\s+-\s+|\s*\(|\.\s+)(?P<remark>[^0-9%]+)")
_CELLS = re.compile(r"\s*\|\s*([^|]*[^|\s])\s*\|\s*([^|]*[^|\s])\s*\|\s*")
_RULE = re.compile(r"[\s|:-]*")
_SEPARATOR = re.compile(r"[,;]|\b(?:and|und|et|y|и)\b")


@dataclass(frozen=True)
class Written:
    """A word and its number as they were written."""

    word: str
    number: str
    percent: bool

    @property
    def value(self) -> float:
        """The number, its sign left out."""
        return float(self.number)

    @property
    def has_decimals(self) -> bool:
        """Whether the number is written as fractions are, with a decimal point or an exponent."""
        return "." in self.number or "e" in self.number.lower()


def parse_shares(
    text: str, vocabulary: Vocabulary, *, marked: bool = False, percentages: bool = False
) -> ParsedAnswer | None:
    """The distribution that an answer states, or the one label; None if it does not fit the grammar.

    Args:
        text: The answer.
        vocabulary: Words of the labels.
        marked: As in `find_label`.
        percentages: Whether percentages were asked for.

    Raises:
        AmbiguousError: What is written can be read in more than one way.
    """
    if "{" in text or "}" in text:
        parsed = _from_dictionaries(text, vocabulary)
    else:
        parsed = _from_list(text, vocabulary, percentages)
    return find_label(text, vocabulary, marked=marked) if parsed is None else parsed


def _from_dictionaries(text: str, vocabulary: Vocabulary) -> ParsedAnswer | None:
    found = split_dictionaries(text)
    if found is None or not found[0]:
        return None
    blocks, around = found
    parsed = []
    for block in blocks:
        read = _dictionary(block, vocabulary)
        if read is None:
            return None
        parsed.append(read)
    if any(one != parsed[0] for one in parsed):
        raise AmbiguousError
    return parsed[0] if parsed[0].shares is None or vocabulary.agrees(around, parsed[0].shares) else None


def _dictionary(block: str, vocabulary: Vocabulary) -> ParsedAnswer | None:
    pairs, said = [], []
    for key, value in read_dictionary(block) or []:
        match = _ALONE.fullmatch(value)
        if match:
            pairs.append(Written(key, match["number"], bool(match["percent"])))
        elif bare(key) in KEYS and (label := choice(value, vocabulary)) is not None:
            said.append(label)
        elif bare(key) not in REMARKS or vocabulary.find(key) is not None:
            return None
    if not pairs:
        return None
    parsed = distribution(pairs, vocabulary, closed=True)
    if parsed.shares is not None and any(parsed.shares[label] < max(parsed.shares) for label in said):
        raise AmbiguousError
    return parsed


def _from_list(text: str, vocabulary: Vocabulary, percentages: bool) -> ParsedAnswer | None:
    lines = [_row(line) for line in text.splitlines() if not _RULE.fullmatch(line)]
    places = [
        i for i, line in enumerate(lines) if has_number(line) and not vocabulary.is_prose(line, range(vocabulary.size))
    ]
    if not places:
        return None
    listed, around = lines[places[0] : places[-1] + 1], [*lines[: places[0]], *lines[places[-1] + 1 :]]
    if any(map(vocabulary.begins, around)):
        return None
    pairs, numbered = [], []
    for line in listed:
        read = _line(line)
        if read is None:
            remark = _REMARK.fullmatch(line)
            read = _line(remark["pairs"]) if remark else None
            if remark is None or read is None or vocabulary.begins(remark["remark"]):
                return None
            labels = {choice(pair.word, vocabulary) for pair in read[0]}
            if not vocabulary.is_prose(remark["remark"], labels):
                return None
        pairs += read[0]
        numbered += read[1]
    if any(numbered) and numbered != [str(i) for i in range(1, len(numbered) + 1)]:
        return None
    parsed = distribution(pairs, vocabulary, percentages=percentages)
    return parsed if parsed.shares is None or vocabulary.agrees(around, parsed.shares) else None


def _row(line: str) -> str:
    """A line of a table with two columns as a pair; any other as it is."""
    cells = _CELLS.fullmatch(line)
    return f"{cells[1]}: {cells[2]}".replace("(%)", "") if cells else line


def _line(line: str) -> tuple[list[Written], list[str | None]] | None:
    """Pairs of a line that is a list of them, and the number before each; None if it is not."""
    pairs, numbered = [], []
    for segment in _SEPARATOR.split(line):
        bullet = _BULLET.match(segment)  # which may be empty
        if bullet is None or not segment.strip(" .!\"'()[]"):
            continue
        numbered.append(bullet["n"])
        pair = _pair(segment[bullet.end() :].strip())
        if pair is None:
            return None
        pairs.append(pair)
    return pairs, numbered


def _pair(text: str) -> Written | None:
    match = _WORD_FIRST.fullmatch(text)
    if match and (match["percent"] or match["sign"] in (":", "=")):
        return Written(match["word"], match["number"], bool(match["percent"]))
    match = _NUMBER_FIRST.fullmatch(text)
    return Written(match["word"], match["number"], True) if match and match["percent"] else None


def distribution(
    pairs: Sequence[Written], vocabulary: Vocabulary, *, closed: bool = False, percentages: bool = False
) -> ParsedAnswer:
    """The distribution over labels that words with numbers state; unparsed if no label has a share.

    Args:
        pairs: All words that have a number.
        vocabulary: Words of the labels.
        closed: Whether the end of the list is written, so that nothing can be missing after it.
        percentages: Whether whole numbers without a unit are percentages, whatever their size.

    Raises:
        AmbiguousError: A label has two numbers, one is negative, units are mixed, or the numbers leave much to nobody.
    """
    found = [choice(pair.word, vocabulary) for pair in pairs]
    names = [bare(pair.word) if label is None else label for pair, label in zip(pairs, found, strict=True)]
    others = [pair.word for pair, label in zip(pairs, found, strict=True) if label is None]
    if not all(map(vocabulary.is_prose, others)):
        raise AmbiguousError  # "not sad", "sad or happy"
    if any(map(vocabulary.begins, others)):
        return ParsedAnswer("unparsed")  # the list broke off within a label's word
    values = _values(pairs, whole_are_percentages=percentages and not closed)
    if len(set(names)) < len(names) or any(value < 0 for value in values):
        raise AmbiguousError
    total = math.fsum(values)
    if not total > 0 or not math.isfinite(total):
        return ParsedAnswer("unparsed")
    shares = [0.0] * vocabulary.size
    for label, value in zip(found, values, strict=True):
        if label is not None:
            shares[label] = value
    on_labels = math.fsum(shares)
    mass, sums_to_one = on_labels / total, abs(total - 1) <= TOLERANCE
    if not on_labels > 0:
        return ParsedAnswer("unparsed", None, 0.0 if sums_to_one else None)
    if on_labels < total and not sums_to_one:
        raise AmbiguousError
    if total < LEAST and not (closed and len(set(found) - {None}) == vocabulary.size) and not _is_of_one(pairs, values):
        raise AmbiguousError
    status = "partial" if on_labels < total else "ok" if sums_to_one else "renormalised"
    return ParsedAnswer(status, tuple(share / on_labels for share in shares), mass)


def _values(pairs: Sequence[Written], *, whole_are_percentages: bool) -> list[float]:
    """The numbers as shares."""
    signed = [pair for pair in pairs if pair.percent]
    plain = [pair for pair in pairs if not pair.percent]
    if signed and plain:
        values = [pair.value / (100 if pair.percent else 1) for pair in pairs]
        unclear = any(pair.value > 1 or (pair.value and not pair.has_decimals) for pair in plain)
        if unclear or abs(math.fsum(values) - 1) > EXACT:
            raise AmbiguousError
        return values
    whole_or_above = any(pair.value > 1 or (pair.value == 1 and not pair.has_decimals) for pair in plain)
    if whole_or_above and any(0 < pair.value < 1 for pair in plain):
        raise AmbiguousError
    whole = whole_are_percentages and not any(pair.has_decimals for pair in plain)
    if signed or whole or any(pair.value > 1 for pair in plain):
        return [pair.value / 100 for pair in pairs]
    return [pair.value for pair in pairs]


def _is_of_one(pairs: Sequence[Written], values: Sequence[float]) -> bool:
    """Whether percentages sum to 1 % and are written as shares are: 0.7 % and 0.3 %."""
    alike = len(pairs) > 1 and all(pair.percent and (pair.has_decimals or pair.value == 0) for pair in pairs)
    return alike and abs(100 * math.fsum(values) - 1) <= TOLERANCE
