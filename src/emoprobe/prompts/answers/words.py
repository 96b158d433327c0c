"""Words of an answer in any script: how they are written, which labels they name, and what casts doubt on them."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_SAME = {
    **dict.fromkeys("“”„‟«»「」『』〝〞", '"'),
    **dict.fromkeys("‘’‚‛ʼ", "'"),
    **dict.fromkeys("‐‑‒–—―−", "-"),
    **dict.fromkeys("、،", ","),
    **dict.fromkeys("。｡", "."),
    **dict.fromkeys("【〔", "["),
    **dict.fromkeys("】〕", "]"),
    **dict.fromkeys("\u200b\u200c\u200d\u200e\u200f\u2060\ufeff", None),  # zero width
    **dict.fromkeys("\u00a0\u2007\u202f\u3000", " "),
    "؛": ";",
    "٪": "%",
    "…": "...",
}
_TABLE: dict[int, int | str] = {**_FULL_WIDTH, **{ord(old): new for old, new in _SAME.items()}}

# Scripts that write no space between words, or join particles to them: Thai to Khmer, kana, Han, Hangul.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")

_NEGATION = (
    r"\b(?:not|no|non|never|neither|nor|none|cannot|without|hardly|barely|nicht|kein\w*|weder|pas|ni|jamais|nunca|"
    r"не|ни|нет)\b|n't\b|不|没|沒|非|ない"
)
_DOUBT = re.compile(
    _NEGATION
    + r"|\b(?:or|but|either|however|although|wait|instead|rather|actually|correct\w*|wrong|incorrect|mistake\w*|"
    r"error|sorry|unsure|example|instance|e\.g|format|template|placeholder|like|alternativ\w*|previous\w*|opposite|"
    r"swap\w*|revers\w*|vice|half|third|quarter|twice|double|rest|remain\w*|per\s?cent|oder|sondern|aber|beispiel\w*|"
    r"ou|mais|exemple|pero|ejemplo|или|но|пример\w*)\b|或|但|例",
    re.IGNORECASE,
)
_NEGATED = re.compile(_NEGATION, re.IGNORECASE)
_WHOLE = re.compile(  # what all numbers sum to
    r"\b(?:sum|add|total)(?:s|ed|med|ming|ing|ling)?(?: up)? to "
    r"(?:1(?:\.0+)?|100 ?(?:%|per ?cent\b)?)(?![\w.,/]*[0-9])",
    re.IGNORECASE,
)


NUMERAL = r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]+|,[0-9]{1,2})?|\.[0-9]+)"
"""A number in digits; behind a decimal comma there are no three of them, which would be thousands."""
_DIGITS = re.compile(NUMERAL)
_LETTERS = re.compile(r"[^\W\d_]+(?:[ -][^\W\d_]+)*")


def normalise(text: str) -> str:
    """One way to write each sign: composed letters, half-width forms, plain quotes, dashes and spaces."""
    return unicodedata.normalize("NFC", text).translate(_TABLE).replace("\\%", "%")


def bare(text: str) -> str:
    """Letters, their marks and digits, case folded; anything else is a space."""
    kept = (c if unicodedata.category(c)[0] in "LMN" else " " for c in normalise(text).casefold())
    return " ".join("".join(kept).split())


def is_letter(word: str) -> bool:
    """Whether a word is the letter of an option."""
    return len(word) == 1 and word.isascii() and word.isalpha()


def has_number(text: str) -> bool:
    """Whether a text holds a digit or a number sign of any script."""
    return any(unicodedata.category(c)[0] == "N" for c in text)


def is_negated(text: str) -> bool:
    """Whether a text denies something."""
    return _NEGATED.search(text) is not None


@dataclass(frozen=True)
class Vocabulary:
    """Which label, by index, a word or an option's letter stands for.

    Args:
        size: Number of labels.
        words: `bare` words -> label.
        letters: Letters of options, as they are written -> label.
        dimension: What the labels are points of; empty where they are no scale.
        points: Their numbers, ascending.
    """

    size: int
    words: dict[str, int]
    letters: dict[str, int]
    dimension: str = ""
    points: tuple[float, ...] = ()

    @classmethod
    def of(cls, labels: Sequence[str], words: Sequence[tuple[str, str]], dimension: str | None = None) -> Vocabulary:
        """Labels in order, and ``(label, word)`` pairs; label names count as well and win over other words.

        Where they are points of a dimension, a number is read as what it is, sign and decimals included.
        """
        index = {label: i for i, label in enumerate(labels)}
        pairs = [(word.strip(), index[label]) for label, word in [*words, *((label, label) for label in labels)]]
        letters = {word: i for word, i in pairs if is_letter(word)}
        names = {bare(word): i for word, i in pairs if bare(word) and not is_letter(word)}
        points = () if dimension is None else tuple(map(float, labels))
        return cls(len(labels), names, letters, dimension or "", points)

    def find(self, word: str) -> int | None:
        """The label that a word is a name of, without case; a letter is none."""
        return self.words.get(bare(word))

    def number(self, text: str) -> float | None:
        """The number that a text is, in digits or as the word of a point, on the scale or not; None if it is none.

        >>> Vocabulary.of(["1", "2"], [("2", "two")], "valence").number("Two")
        2.0
        """
        if _DIGITS.fullmatch(text):
            return float(text.replace(",", "."))
        point = self.words.get(bare(text)) if _LETTERS.fullmatch(text) else None
        return None if point is None else self.points[point]

    def mentioned(self, text: str) -> set[int]:
        """The labels that are named anywhere in a text."""
        said = f" {bare(text)} "
        return {label for pattern, label in self._patterns if pattern in said}

    def place(self, text: str) -> int | None:
        """Where the first word that names a label, or the first letter of an option, begins in a text; None without.

        >>> Vocabulary.of(["happy"], []).place("The voice: Happy!")
        11
        """
        said = f" {bare(text)} "
        found = [(said.find(pattern), pattern) for pattern, _ in self._patterns if pattern in said]
        letters = [at.start() for at in re.finditer(r"\b[A-Za-z]\b", text) if at[0] in self.letters]
        places = letters[:1]
        if found:
            at, pattern = min(found)
            letter = at if pattern[0] == " " else at - 1  # its index among the bare letters
            # What of the text gives so many bare letters and one more ends with it.
            places.append(bisect_left(range(len(text) + 1), letter + 1, key=lambda size: len(bare(text[:size]))) - 1)
        return min(places, default=None)

    def begins(self, text: str) -> bool:
        """Whether a text is the beginning of a label's word, and no label."""
        said = bare(text)
        return said not in self.words and any(word.startswith(said) for word in self.words)

    def is_prose(self, text: str, labels: Collection[int | None] = ()) -> bool:
        """Whether a text beside a distribution changes nothing about it: no number, no doubt, no bracket, no label.

        Args:
            text: The text. How many labels there are and what shares sum to are no numbers of it.
            labels: Labels that it may name.
        """
        text = self._count.sub("", _WHOLE.sub("", text))
        if has_number(text) or any(c in "%{}<>[]|" for c in text):
            return False
        return not _DOUBT.search(text) and self.mentioned(text) <= set(labels)

    def agrees(self, texts: Sequence[str], shares: Sequence[float]) -> bool:
        """Whether texts beside a distribution are prose that names no label, or the likeliest and such with a share."""
        given = [label for label, share in enumerate(shares) if share > 0]
        named = set().union(*map(self.mentioned, texts))
        likeliest = {label for label in given if shares[label] == max(shares)}
        return all(self.is_prose(text, given) for text in texts) and (not named or bool(named & likeliest))

    @cached_property
    def _count(self) -> re.Pattern:
        return re.compile(
            rf"\b{self.size} (?:emotions?|(?:emotion )?(?:labels|categories|classes)|options)\b", re.IGNORECASE
        )

    @cached_property
    def _patterns(self) -> list[tuple[str, int]]:
        return [(word if _UNSPACED.search(word) else f" {word} ", label) for word, label in self.words.items()]
