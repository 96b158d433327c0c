"""What a cell says: nothing, an id, or words."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import pytest
from pandas._libs.parsers import STR_NA_VALUES

from emoprobe.data.reading.fields import identity, is_blank, known, words

NOTHING = [None, float("nan"), "", " \t", "nan", "NaN", "NAN", "None", "none", "NULL", "null", "NA", "na", "n/a", "N/A"]
NOTHING += ["#N/A", "<NA>", "NaT", "-", "--", "?", r"\N", "Unknown", " nan "]
NOTHING += ["#REF!", "#NAME?", "#DIV/0!", "#NULL!", "#value!", ".", "unk", "Missing", "undefined", "n.a."]
NOTHING += sorted(STR_NA_VALUES)  # what pandas itself takes for an empty cell


@pytest.mark.parametrize("value", NOTHING)
def test_nobody_is_no_id(value):
    assert identity(value) is None


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("S1", "S1"),
        (" S1 ", "S1"),
        ("Nana", "Nana"),
        ("NA1", "NA1"),
        ("0", "0"),
        ("01", "01"),  # padding may matter: what looks alike is refused, not merged
        ("1.0", "1.0"),  # of text, only the whole column tells whether this is 1
        (0, "0"),
        (b"S1", "S1"),
        (7, "7"),
        (7.0, "7"),
        (1.5, "1.5"),
        (-0.0, "0"),
        (10**25, str(10**25)),
        (2.0**53 - 1, str(2**53 - 1)),
        (Decimal("3"), "3"),
        ("a\u0308", "\u00e4"),
        ("1e5x", "1e5x"),
        ("3E+02", "3E+02"),
    ],
)
def test_ids(value, name: str):
    assert identity(value) == name


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        b"\xe4",
        ["s1"],
        date(2024, 1, 3),
        datetime(2024, 1, 3),
        {"id": 1},
        2.0**53,
        1e300,
        float("inf"),
        "1.23457E+15",
        "1e+18",
        "9.9E+12",
    ],
)
def test_no_ids(value):
    with pytest.raises(ValueError, match=r"is not text|last digits|is a date"):
        identity(value)


@pytest.mark.parametrize(
    "value", [None, float("nan"), "", "  ", "nan", "NaN", "None", "NULL", "NA", "<NA>", "N/A", "-", "#REF!", "-nan"]
)
def test_nothing_was_said(value):
    assert words(value) is None


@pytest.mark.parametrize("text", ["none", "None.", "null", "na", "Nan", "unknown", "Null!", "no", "?"])
def test_words_that_may_have_been_said(text: str):
    assert words(f" {text} ") == text


def test_words_are_text():
    assert words(3) == "3"
    assert words("\u00e4".encode()) == "\u00e4"
    for value in ([], {}, b"\xe4"):
        with pytest.raises(ValueError, match="is not text"):
            words(value)


def test_blank_and_known():
    assert [is_blank(value) for value in (None, float("nan"), " ", "nan", 0, False)] == [True] * 3 + [False] * 3
    assert (known(" s1 "), known("UNKNOWN"), known("")) == ("s1", None, None)
