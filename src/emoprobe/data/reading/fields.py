"""What a field of somebody's own table says: nothing, an id, or words. One rule for every reader of such tables.

Programs write "nothing" as text (``nan``, ``None``, ``NA``), and whole numbers as ``1.0``. By the kind of field:

* **Ids** (utterance, speaker, rater, split, facts that divide a corpus): a spelling in `UNKNOWN`, whatever its case,
  is no id. A person who is really called ``NA`` needs another name in the table. ``1.0`` as a number is ``1``.
* **Words spoken** and other facts: only the spellings that programs write, in their own case (`WRITTEN`), are nothing;
  "none", "null" and "na" may have been said.
* **Emotion words**: nothing is dropped. ``none`` and ``NA`` may be choices of raters, so they stay words, which the
  soft-label policy must know; spellings that are never a word (`NO_WORD`) are refused.
"""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import date, time
from decimal import Decimal

_ERRORS = ("#N/A", "#NA", "#N/A N/A", "#NULL!", "#REF!", "#VALUE!", "#NAME?", "#NUM!", "#DIV/0!")  # of spreadsheets
_NO_NUMBER = ("NaN", "nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN", "NaT", "<NA>")
_NEVER = (*_ERRORS, *_NO_NUMBER, "N/A", "n/a", r"\N", "-", "--")  # written by programs, said by nobody
WRITTEN = frozenset((*_NEVER, "", "NA", "None", "NULL"))
NO_WORD = frozenset(spelling.lower() for spelling in (*_NEVER, "null"))
UNKNOWN = NO_WORD | {"", "na", "n.a.", "none", "unknown", "unk", "missing", "undefined", "?", "."}
_MOST = 100_000  # numbers that are remembered
# A float keeps whole numbers up to here; spreadsheets write longer ones so that their last digits are gone.
_LARGEST = 2**53
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_SCIENTIFIC = re.compile(r"\d(\.\d+)?[eE]\+?\d+", re.ASCII)


def is_blank(value: object) -> bool:
    """Whether a field holds nothing at all: no value, NaN, or white space."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def text_of(value: object) -> object:
    """Bytes as the text that they are; any other value as it is.

    Raises:
        ValueError: They are not UTF-8.
    """
    if isinstance(value, (bytes, bytearray)):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise ValueError(f"{bytes(value)!r:.80} is not text") from None
    return value


def known(text: str) -> str | None:
    """An id without the blanks around it; None where the text says that nobody knows."""
    text = unicodedata.normalize("NFC", text).strip()
    return None if text.lower() in UNKNOWN else text


def identity(value: object) -> str | None:
    """A field as an id: text in one Unicode form, whole numbers without a fraction; None where nobody knows.

    Raises:
        ValueError: It is no id, or a number that has lost digits, so that two ids may have become one.
    """
    if is_blank(value):
        return None
    value = text_of(value)
    if isinstance(value, (bool, list, dict, tuple, set)):
        raise ValueError(f"{value!r:.80} is not text")
    if isinstance(value, (date, time)):
        raise ValueError(f"{value!s:.80} is a date, as spreadsheets make of ids such as 3-1; let the column be text")
    if isinstance(value, float):
        if not math.isfinite(value) or abs(value) >= _LARGEST:
            raise ValueError(f"the id {value!r} is a floating-point number, which has lost its last digits")
        value = int(value) if value.is_integer() else value
    name = known(str(value))
    if name is not None and isinstance(value, str) and _SCIENTIFIC.fullmatch(name) and float(name) >= 1e9:
        raise ValueError(f"the id {name!r:.80} is a number without its last digits, as spreadsheets write long ones")
    return name


def words(value: object) -> str | None:
    """A field as words that were spoken, or as another fact; None where it holds nothing.

    Raises:
        ValueError: It is no text.
    """
    if is_blank(value):
        return None
    value = text_of(value)
    if isinstance(value, (list, dict, tuple, set)):
        raise ValueError(f"{value!r:.80} is not text")
    text = str(value).strip()
    return None if text in WRITTEN else text


def emotion_word(text: str) -> str:
    """A word that a rater chose, in one Unicode form, without the blanks around it.

    Raises:
        ValueError: It is a spelling of nothing.
    """
    word = unicodedata.normalize("NFC", text).strip()
    if word.lower() in NO_WORD:
        raise ValueError(f"{word!r} is no emotion word")
    return word


class NumberReader:
    """Reads the numbers of one table.

    Args:
        comma: Whether a comma may stand before the fraction, as spreadsheets of many countries write it; a table
            that writes both ``0,5`` and ``0.5`` is refused, since one of the signs may separate thousands.
    """

    def __init__(self, comma: bool = False) -> None:
        self.comma, self._mark = comma, ""
        self._known: dict[str, float] = {}  # tables repeat their numbers

    def __call__(self, value: object) -> float:
        """A number.

        Raises:
            ValueError: It is none, or not finite.
        """
        if isinstance(value, str):
            if value in self._known:
                return self._known[value]
            if len(self._known) < _MOST:
                number = self._known[value] = self._read(value)
                return number
        return self._read(value)

    def _read(self, value: object) -> float:
        if isinstance(value, str):
            text = value.strip()
            if self.comma and ("," in text or "." in text):
                mark = "," if "," in text else "."
                if self._mark and mark != self._mark:
                    raise ValueError(f"{text!r:.80} has another decimal sign than the numbers before, {self._mark!r}")
                if _NUMBER.fullmatch(text.replace(",", ".")):
                    self._mark = mark
                    text = text.replace(",", ".")
            if _NUMBER.fullmatch(text):
                value = float(text)
        if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:  # of an integer
                number = math.inf
            if math.isfinite(number):
                return number
        raise ValueError(f"{value!r:.80} is not a number")
