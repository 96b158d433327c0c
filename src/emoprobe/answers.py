"""Text answers: what distribution, if any, a model wrote down. The parse status is data; a failure is never a label."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

STATUSES = ("ok", "renormalised", "single_label", "partial", "ranked", "refused", "unparsed")

_SUM_TOLERANCE = 0.011  # two-decimal answers over many labels still count as summing to one

# The number is atomic and not the beginning of something longer: of 1/5, 40-50, 2nd or 0,5 no part may count.
_NUMBER = (
    r"[\"']?(?P<number>[-+]?(?>\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|\.\d+))(?![\w/]|[.,]\d|[ \t]*[-–][ \t]*\d)"
    r"[ \t]*(?P<percent>%|per[ ]?cent\b)?"
)
_WORD = r"(?P<word>[^\W\d_][\w\- ]{0,60}?)[\"']?"
_WORD_THEN_NUMBER = re.compile(rf"[\"']?{_WORD}[ \t]*[:=][ \t]*{_NUMBER}")
_SEGMENT_WORD_FIRST = re.compile(rf"{_WORD}[ \t]*(?P<sign>[:=]|[(–—-]?)[ \t]*{_NUMBER}[\"')\].! \t]*")
_SEGMENT_NUMBER_FIRST = re.compile(rf"{_NUMBER}[ \t]*[:–—-]?[ \t]*(?:of )?{_WORD}[).! \t]*")
_SEGMENT_END = re.compile(r"[,;\n{}]|\band\b")
_SEGMENT_LEAD = re.compile(r"[\s\"'(\[•#–-]*(?:\d+[.)](?=\s)[\s\"']*)?")

_ENTRY = re.compile(r"(?:^|(?<=[\s,;(]))(\d{1,2})[.):][ \t]*+(?!\d)")
_ENTRY_END = re.compile(r"[:(–—\n]|[ \t]-[ \t]")
_OPTION = re.compile(r"\W*([A-Za-z])\s*[).:\]]+(.*)", re.DOTALL)

_CUE = re.compile(r"\banswer[\"']?\s*:", re.IGNORECASE)
_SPECIAL = re.compile(r"(?<!\s)(?:\s*+(?:<\|[^<>|]+\|>|</?s>|<(?:eos|bos|pad|unk|end_of_turn|eot|endoftext)>))+\s*\Z")
_MARKDOWN = re.compile(r"```\w*|[*`]")
_REFUSAL = re.compile(
    r"\bi (?:can(?:no|')t|can not|could not|am unable|am not able|'m unable|'m not able|won't|do not|don't)(?: to)?"
    r"(?: \w+)? (?:determine|tell|assess|identify|detect|recogni[sz]e|infer|classify|judge|analy[sz]e|provide|answer|"
    r"assist|process|access|have the (?:ability|capability)|have access|hear (?:any|the) (?:audio|sound|recording))\b|"
    r"\bas an? (?:ai|(?:large )?language model)\b|\bi'?m sorry\b|\bi am sorry\b|\bi apologi[sz]e\b|"
    r"\b(?:unable|not (?:able|possible)|impossible) to (?:determine|tell|assess|identify|judge)\b|"
    r"\bcan(?:no|')t be (?:determined|assessed|identified)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ParsedAnswer:
    """A parsed text answer.

    Args:
        status: ``ok`` (every label has a number and they sum to one), ``renormalised`` (they do not sum to one),
            ``partial`` (labels are missing or others were named; missing ones count as zero), ``single_label`` (the
            whole answer is one label), ``ranked`` (labels in order, without numbers: shares are proportional to
            1 / rank, which is a convention of emoprobe's and nothing the model said; labels left out count as zero),
            ``refused``, ``unparsed``.
        shares: Distribution over the labels, None if there is none.
    """

    status: str
    shares: tuple[float, ...] | None


@dataclass(frozen=True)
class _Vocabulary:
    """Which label, by index, a word or an option's letter stands for."""

    size: int
    words: dict[str, int]
    letters: dict[str, int]

    @classmethod
    def of(cls, labels: Sequence[str], words: Sequence[tuple[str, str]]) -> _Vocabulary:
        index = {label: i for i, label in enumerate(labels)}
        named = [*words, *((label, label) for label in labels)]
        pairs = [(_bare(word), index[label]) for label, word in named]
        letters = {word: i for word, i in pairs if _is_letter(word)}
        return cls(len(labels), {word.lower(): i for word, i in pairs if word and not _is_letter(word)}, letters)

    def find(self, text: str) -> int | None:
        """The label of a text that is one word or letter and nothing else."""
        bare = _bare(text)
        return self.letters.get(bare) if _is_letter(bare) else self.words.get(bare.lower())

    def choice(self, text: str) -> int | None:
        """The label of a text that is one choice and nothing else: ``happy``, ``B``, ``(B)``, ``B. happy``."""
        found = self.find(text)
        if found is not None:
            return found
        option = _OPTION.fullmatch(text)
        if option is None or option[1] not in self.letters:
            return None
        chosen, named = self.letters[option[1]], self.find(option[2])
        if named is None:
            # The option's own word need not be among the known ones, but it is no more than a word.
            rest = _bare(option[2])
            return chosen if rest.isalpha() and not _is_letter(rest) else None
        return chosen if named == chosen else None

    def certain(self, label: int) -> ParsedAnswer:
        """The answer that gives all to one label."""
        return ParsedAnswer("single_label", tuple(float(i == label) for i in range(self.size)))


def parse_answer(text: str, labels: Sequence[str], words: Sequence[tuple[str, str]]) -> ParsedAnswer:
    """Parse a distribution, a ranking or one label out of an answer.

    A label counts only if it is all there is: a label word inside running text (a transcript: "I'm so angry") says
    nothing about what the model heard in the voice. If the answer says "Answer:" somewhere, only what follows the last
    one counts, and there a label may also be the first line alone.

    Args:
        text: The answer; special tokens at its end and Markdown are ignored.
        labels: Labels in order.
        words: ``(label, word)`` pairs: surface forms, matched as whole words without case, and letters of options,
            matched as they are written (the word "a" is no option). Label names count as well.
    """
    vocabulary = _Vocabulary.of(labels, words)
    text = _MARKDOWN.sub(" ", _SPECIAL.sub("", text.replace("’", "'"))).strip()
    *earlier, said = _CUE.split(text)
    parsed = _parse(said, vocabulary)
    if parsed is None and earlier:
        label = vocabulary.choice(said.strip().partition("\n")[0])
        parsed = None if label is None else vocabulary.certain(label)
    if parsed is None:
        return ParsedAnswer("refused" if _REFUSAL.search(said) else "unparsed", None)
    return parsed


def _parse(text: str, vocabulary: _Vocabulary) -> ParsedAnswer | None:
    """What a text says; None if that is no distribution, ranking or label."""
    for pairs in (_segments(text), _numbers(text)):
        known = [(vocabulary.find(word), value) for word, value in pairs]
        if any(label is not None for label, _ in known):
            return _from_numbers(known, vocabulary.size)
    entries = [vocabulary.choice(entry) for entry in _entries(text)]
    if len(entries) > 1:
        return _from_ranking(entries, vocabulary.size)
    label = entries[0] if entries else vocabulary.choice(text)
    return None if label is None else vocabulary.certain(label)


def _numbers(text: str) -> list[tuple[str, float]]:
    """``(word, value)`` of every ``word: number`` in the text, percentages as fractions."""
    return [(match["word"], _value(match)) for match in _WORD_THEN_NUMBER.finditer(text)]


def _segments(text: str) -> list[tuple[str, float]]:
    """``(word, value)`` of a text that is a list of them and no more: ``happy 40%``, ``40% happy``, ``happy: 40``.

    Without a colon the per cent sign is wanted, and nothing else may stand between: "I'm 100% happy" is running text.
    """
    pairs = []
    lines = [line for line in text.splitlines() if not line.rstrip().endswith(":")]
    for segment in _SEGMENT_END.split("\n".join(lines)):
        segment = segment[_SEGMENT_LEAD.match(segment).end() :].strip()
        if not segment:
            continue
        match = _SEGMENT_WORD_FIRST.fullmatch(segment)
        if match is None or not (match["percent"] or match["sign"] in (":", "=")):
            match = _SEGMENT_NUMBER_FIRST.fullmatch(segment)
            if match is None or not match["percent"]:
                return []
        pairs.append((match["word"], _value(match)))
    return pairs


def _value(match: re.Match) -> float:
    return float(match["number"]) / (100 if match["percent"] else 1)


def _from_numbers(numbers: Sequence[tuple[int | None, float]], size: int) -> ParsedAnswer | None:
    shares: list[float | None] = [None] * size
    for label, value in numbers:
        if label is not None:
            # A label with two numbers, or a negative one: what is meant cannot be told.
            if shares[label] is not None or value < 0:
                return None
            shares[label] = value
    given = [value for value in shares if value is not None]
    total = sum(given)
    if not total > 0 or not math.isfinite(total):
        return None
    distribution = tuple((value or 0.0) / total for value in shares)
    if len(given) < max(size, len(numbers)):
        return ParsedAnswer("partial", distribution)
    # 50, 30, 20 without a per cent sign is a list of percentages, not a failure to sum to one.
    exact = any(abs(total / whole - 1) <= _SUM_TOLERANCE for whole in (1.0, 100.0))
    return ParsedAnswer("ok" if exact else "renormalised", distribution)


def _entries(text: str) -> list[str]:
    """Entries of a list numbered from 1, best first; empty if there is none. What stands before it is no entry."""
    _, *parts = _ENTRY.split(text)
    numbers, entries = [int(number) for number in parts[::2]], parts[1::2]
    if numbers != list(range(1, len(numbers) + 1)):
        return []
    return [_entry(entry) for entry in entries]


def _entry(text: str) -> str:
    """An entry without the remark that follows it."""
    text = text.strip(" \t\r\n,;")
    return text if _OPTION.match(text) else _ENTRY_END.split(text)[0]


def _from_ranking(entries: Sequence[int | None], size: int) -> ParsedAnswer | None:
    """Shares proportional to 1 / rank; entries that are no label keep their rank."""
    ranks = {label: rank for rank, label in enumerate(entries, 1) if label is not None}
    known = [label for label in entries if label is not None]
    if len(known) < 2 or len(known) != len(ranks):
        return None
    total = math.fsum(1 / rank for rank in ranks.values())
    return ParsedAnswer("ranked", tuple(1 / ranks[i] / total if i in ranks else 0.0 for i in range(size)))


def _bare(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text).strip()


def _is_letter(word: str) -> bool:
    return len(word) == 1 and word.isascii() and word.isalpha()
