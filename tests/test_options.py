"""Options: what is refused, and in which words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Annotated, Literal

import pytest
from annotated_types import MinLen

from emoprobe.errors import InputError
from emoprobe.options import (
    At,
    Count,
    Distinct,
    Name,
    Named,
    Natural,
    Number,
    OneOf,
    Part,
    Place,
    Positive,
    Seed,
    Several,
    Share,
    ShareBelowOne,
    Word,
    Words,
    check,
    options,
    shown,
    valid,
)

LATER = dict.fromkeys(["list"])


@options("study.{name}")
class Study:
    name: Name
    clips: Count = 8
    rate: Positive = 1e-3
    part: Share = 0.5
    shift: Number = 0
    kinds: Distinct[Literal["mean", "std"]] = ("mean",)
    many: Annotated[Several[int], MinLen(1)] = (1,)
    how: Literal["cosine", "linear"] = "cosine"
    rest: Literal["next"] | ShareBelowOne = "next"
    most: Natural | None = None
    draw: bool = True
    merge: Mapping[Word, str] = field(default_factory=dict)
    where: Place | None = None
    format: Annotated[str, OneOf(LATER)] = "word"
    seed: Seed = 0
    fold: Annotated[Natural, At("corpus.fold")] = 0
    level: Annotated[Literal["low", "high"], Words("a level")] = "low"

    def __post_init__(self) -> None:
        if self.most is not None and self.most > self.clips:
            raise InputError(f"{self.most} of {self.clips} clips", field=f"study.{self.name}.most")


@options()
class Whole:
    study: Part[Study] = field(default_factory=lambda: Study("one"))
    studies: Named[Study] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"clips": "big"}, "'big' is not a whole number of at least 1 (field study.x.clips)."),
        ({"clips": 0}, "0 is not a whole number of at least 1 (field study.x.clips)."),
        ({"clips": None}, "null is not a whole number of at least 1 (field study.x.clips)."),
        ({"clips": True}, "true is not a whole number of at least 1 (field study.x.clips)."),
        ({"clips": 1.0}, "1.0 is not a whole number of at least 1 (field study.x.clips)."),
        ({"clips": [8]}, "[8] is not a whole number of at least 1 (field study.x.clips)."),
        ({"clips": {"a": None}}, "{a: null} is not a whole number of at least 1 (field study.x.clips)."),
        ({"rate": math.nan}, "nan is not a number above 0 (field study.x.rate)."),
        ({"rate": math.inf}, "inf is not a number above 0 (field study.x.rate)."),
        ({"rate": "1e-3"}, "'1e-3' is not a number above 0 (field study.x.rate)."),
        ({"rate": True}, "true is not a number above 0 (field study.x.rate)."),
        ({"part": 1.5}, "1.5 is not a number from 0 to 1 (field study.x.part)."),
        ({"shift": "far"}, "'far' is not a number (field study.x.shift)."),
        ({"kinds": "mean"}, "'mean' is not a list of some of mean, std (field study.x.kinds)."),
        ({"kinds": ["mean", "max"]}, "'max' is not one of mean, std (field study.x.kinds)."),
        ({"kinds": ["mean", "mean"]}, "'mean' is given twice (field study.x.kinds)."),
        ({"many": []}, "[] is not a list of at least one whole number (field study.x.many)."),
        ({"how": "cosin"}, "'cosin' is not one of cosine, linear (field study.x.how). Did you mean cosine?"),
        ({"rest": 1}, "1 is not 'next' or a number from 0 to below 1 (field study.x.rest)."),
        ({"most": -1}, "-1 is not a whole number of at least 0 or null (field study.x.most)."),
        ({"most": 9}, "9 of 8 clips (field study.x.most)."),
        ({"draw": "yes"}, "'yes' is not true or false (field study.x.draw)."),
        ({"merge": ["a"]}, "['a'] is not a mapping from a text to a text (field study.x.merge)."),
        ({"where": 3}, "3 is not a path or null (field study.x.where)."),
        ({"format": "dict"}, "'dict' is not one of list, word (field study.x.format)."),
        ({"seed": 2**32}, "4294967296 is not a whole number from 0 to 4294967295 (field study.x.seed)."),
        ({"level": "none"}, "'none' is not a level (field study.x.level)."),
        ({"clip": 3}, "there is no option 'clip' (field study.x.clip). Did you mean clips?"),
    ],
)
def test_a_wrong_value_is_refused_with_option_value_and_what_is_right(given, message):
    with pytest.raises(InputError) as refused:
        Study("x", **given)
    assert str(refused.value) == message
    with pytest.raises(InputError) as refused:
        check(Whole, {"study": {"name": "x"} | given})
    assert str(refused.value) == message
    with pytest.raises(InputError) as refused:
        check(Whole, {"studies": {"x": given}})
    assert str(refused.value) == message


def test_a_key_of_a_mapping_that_yaml_has_misread_is_to_be_quoted():
    with pytest.raises(InputError, match=r"^false is not a text \(field study.x.merge\). YAML reads no.*Quote them"):
        Study("x", merge={False: "neutral"})
    with pytest.raises(InputError, match=r"^true is not a text \(field study.x.merge.on\). YAML reads no.*Quote them"):
        Study("x", merge={"on": True})
    assert Study("x", merge={1: "neutral"}).merge == {"1": "neutral"}


def test_an_option_may_stand_elsewhere_than_its_field():
    with pytest.raises(InputError, match=r"^-1 is not a whole number of at least 0 \(field corpus.fold\)"):
        Study("x", fold=-1)


def test_what_is_no_mapping_or_lacks_a_value_is_refused():
    with pytest.raises(InputError, match=r"^3 is not a mapping of name, clips, .* \(field study\)"):
        check(Whole, {"study": 3})
    with pytest.raises(InputError, match=r"^null is not a mapping of study, studies\.$"):
        check(Whole, None)
    with pytest.raises(InputError, match=r"^'x' is not a mapping of name, clips.* \(field studies.x\)"):
        check(Whole, {"studies": {"x": "x"}})
    with pytest.raises(InputError, match=r"^x has a name; leave x.name out \(field studies\)"):
        check(Whole, {"studies": {"x": {"name": "y"}}})
    with pytest.raises(InputError, match=r"^a value must be given \(field study.NAME.name\)"):
        check(Whole, {"study": {}})
    with pytest.raises(InputError, match="there is no option 'fold'"):
        check(Study, {"name": "x", "fold": 1})


LATER["word"] = None  # a registry fills itself after it was named


def test_right_values_stay_what_they_are():
    study = Study("x", 3, rate=1, kinds=["std", "mean"], where="a/b", rest=0.5)
    assert (study.clips, study.kinds, study.where, study.rest) == (3, ("std", "mean"), Path("a/b"), 0.5)
    assert type(study.rate) is int  # what is recorded is what was written
    assert replace(study, clips=4).clips == 4
    assert asdict(study)["rate"] == 1
    assert study == Study("x", 3, rate=1, kinds=["std", "mean"], where="a/b", rest=0.5)
    with pytest.raises(InputError, match="0 is not a whole number"):
        replace(study, clips=0)
    with pytest.raises(AttributeError):
        study.clips = 5
    whole = check(Whole, {"studies": {"a": {}, "b": {"clips": 2}}})
    assert whole.studies == {"a": Study("a"), "b": Study("b", 2)}


def test_a_programming_mistake_is_none_of_the_user():
    with pytest.raises(TypeError):
        Study("x", name="y")


def test_a_single_value_is_checked_in_the_same_words():
    assert valid(Count, 3, "--number") == 3
    with pytest.raises(InputError, match=r"^0 is not a whole number of at least 1 \(field --number\)\.$"):
        valid(Count, 0, "--number")


def test_values_are_shown_as_they_are_typed():
    assert shown([None, True, "a", 1.5, {"b": math.nan}]) == "[null, true, 'a', 1.5, {b: nan}]"
    assert len(shown("x" * 500)) == 80
