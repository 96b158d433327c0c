"""What an answer with a number says of a scale: the number, divided between two points, or a failure, never a guess."""

from __future__ import annotations

import time

import pytest
from copies.labels import label_set
from hypothesis import given, settings
from hypothesis import strategies as st

from emoprobe.data.scales import on_points
from emoprobe.prompts.answers import FAILED, FORMATS, STATUSES, parse_answer
from emoprobe.readout.written import known_words

FIVE = label_set("valence5")
SCALED = [name for name in FORMATS if FORMATS[name].scale != "never"]


def read(text, form="number", labels=FIVE.labels, words=None, dimension="valence", **how):
    words = known_words(FIVE) if words is None else words
    return parse_answer(text, labels, words, answer_format=form, dimension=dimension, **how)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("3", 3), ("3.", 3), ("3.0", 3), (" 3 \n", 3), ("**3**", 3), ("`3`", 3), ("```\n3\n```", 3), ("(3)", 3)),
        *(("[3]", 3), ('"3"', 3), ("$\\boxed{3}$", 3), ("three", 3), ("Three.", 3), ("３", 3), ("3<|im_end|>", 3)),
        *(("3.5", 3.5), ("3,5", 3.5), ("+4", 4), ("1.25", 1.25), ("5", 5), ("1", 1), ("4.99", 4.99)),
        *(("3/5", 3), ("3 / 5", 3), ("3.5/5", 3.5), ("4 out of 5", 4), ("four out of five", 4), ("4 of 5.", 4)),
        *(("valence: 3", 3), ("Valence = 2.5", 2.5), ("Valence rating: 4/5", 4), ("Rating: 2", 2), ("Score: 2/5", 2)),
        *(("Answer: 3", 3), ("Final answer: 2\nThe voice is dull.", 2), ("<answer>3</answer>", 3)),
        *(("The valence is 3.", 3), ("The valence of the speaker's voice is 4.", 4), ("My rating is a 2", 2)),
        ("The valence of the speaker's voice in this recording is 4 out of 5.", 4),
        ("The speaker's valence is 2.5.", 2.5),
        ("On a scale from 1 (very negative) to 5 (very positive), the valence of the speaker's voice is 3.", 3),
        ("On a scale of 1 to 5, I would rate the valence as a 4.", 4),
        ("I'd rate it a 3 on a scale from 1 to 5.", 3),
        ("I would give it a rating of 3.", 3),
        ("I would rate the valence of the speaker's voice in this recording as 2.", 2),
        *(("3 (neutral)", 3), ("2 - negative", 2), ("2: somewhat negative", 2), ("4, since the voice is bright", 4)),
        *(('{"valence": 3}', 3), ('{"rating": 3.5, "reason": "a dull voice"}', 3.5), ("{'score': '4/5'}", 4)),
        *(("<think>2 or 3?</think>3", 3), ("2\nFinal answer: 3", 3)),
    ],
)
def test_numbers(text, number):
    parsed = read(text)
    assert parsed.shares == pytest.approx(on_points(number, (1, 5), FIVE.points).tolist())
    assert (parsed.status, parsed.label_mass) == ("single_label" if number == round(number) else "ok", 1.0)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        *((text, "unparsed") for text in ("", "7", "0", "6/5", "0.5", "5.01", "-3", "- 3", "−3", "1e1", "3e0", "03")),
        *((text, "unparsed") for text in ("60%", "3 %", "3 per cent", "~3", "about 3", "<3", ">3", "3+", "≈3", "3rd")),
        *(
            (text, "unparsed")
            for text in ("#3", "3x", "1,000", "3.5.2", "3½", "six", "twenty-one", "Three Mile", "⭐⭐⭐")
        ),
        *((text, "ambiguous") for text in ("3-4", "3 - 4", "3 to 4", "3 or 4", "between 3 and 4", "3, 5", "3 4")),
        *(
            (text, "ambiguous")
            for text in ("1. 3", "3/10", "6 out of 10", "3/7", "Answer: 3\nAnswer: 4", "two or three")
        ),
        *(
            (text, "ambiguous")
            for text in ("not 3", "3 (not sure)", "It is not a 3.", "3, or rather 4", "Valence: 3\nArousal: 4")
        ),
        *((text, "ambiguous") for text in ("8 on a scale of 1 to 10", '{"valence": 3} {"valence": 4}', "4 3/4")),
        *((text, "unparsed") for text in ("arousal: 3", "The arousal is 3.", '{"arousal": 3}', '{"valence": "high"}')),
        *((text, "unparsed") for text in ("The voice is neutral.", "neutral", "3, but it might be more")),
        *(
            (text, "unparsed")
            for text in ("I am 3 years old", "He has three", "The speaker is 3.", "I'm three, like you")
        ),
        ("I cannot determine the valence of the voice.", "refused"),
        ("I'm sorry, I can't assess audio. 3", "refused"),
        ("<think>3", "reasoning_cut"),
    ],
)
def test_what_is_no_number_on_the_scale_fails(text, status):
    parsed = read(text)
    assert (parsed.status, parsed.shares, parsed.label_mass) == (status, None, None)


def test_a_cut_answer_is_not_read():
    assert read("3", finished=False).status == "truncated"
    assert read("The voice is dull. Answer: 3", "chain_of_thought", finished=False).status == "truncated"
    assert read("The voice is dull.", "chain_of_thought", finished=False).status == "reasoning_cut"


def test_other_scales_have_their_own_ends():
    signed, words = ("-2", "-1", "0", "1", "2"), (("-2", "minus two"), ("2", "two"))
    asked = {"labels": signed, "words": words}
    assert read("-2", **asked).shares == (1, 0, 0, 0, 0) == read("Minus two.", **asked).shares
    assert read("2", **asked).shares == (0, 0, 0, 0, 1) == read("two", **asked).shares
    assert read("-0.5", **asked).shares == (0, 0.5, 0.5, 0, 0)
    assert read('{"-2": 0.25, "2": 0.75}', "probability_dict", **asked).shares == (0.25, 0, 0, 0, 0.75)
    assert read("3", **asked).status == "unparsed"
    ten = {"labels": tuple(map(str, range(11))), "words": ()}
    assert read("10", **ten).shares[10] == 1 == read("7/10", **ten).shares[7]
    assert read("7.5/10", **ten).shares[7:9] == (0.5, 0.5)


def test_the_end_of_reasoning_and_of_a_sentence():
    assert read("It is calm, about 2 at first. Answer: 3", "chain_of_thought").shares == (0, 0, 1, 0, 0)
    assert read("3.5", "chain_of_thought").shares == (0, 0, 0.5, 0.5, 0)
    assert read("It is a calm 3 I think", "chain_of_thought").shares is None
    assert read(" 4.", "completion").shares == (0, 0, 0, 1, 0) == read(" four", "completion").shares
    for text in ("-3", "1. 3", "3 people came", "It's eleven o'clock.", "The valence is 3.", "Answer: 3", "3/5"):
        assert read(text, "completion").shares is None


@pytest.mark.parametrize(
    ("text", "status", "shares"),
    [
        ('{"1": 0.2, "2": 0.5, "3": 0.3}', "ok", (0.2, 0.5, 0.3, 0, 0)),
        ('{1: 20, "two": 50, "3.0": 30}', "ok", (0.2, 0.5, 0.3, 0, 0)),
        ('{"3": 1.0}', "ok", (0, 0, 1, 0, 0)),
        ('{"2": 0.5, "3": 0.25, "1": 0.15, "4": 0.1, "5": 0.1}', "renormalised", (0.15, 0.5, 0.25, 0.1, 0.1)),
        ("3", "single_label", (0, 0, 1, 0, 0)),
        ('{"2.5": 1.0}', "ambiguous", None),
        ('{"6": 0.5, "3": 0.5}', "ambiguous", None),
        ('{"-1": 0.5, "3": 0.5}', "ambiguous", None),
        ('{"3": 0.5, "three": 0.5}', "ambiguous", None),
        ('{"3": 0.5}', "ambiguous", None),
        ('{"valence": 3}', "unparsed", None),
        ("2: 0.5, 3: 0.5", "ambiguous", None),
    ],
)
def test_a_dictionary_over_the_points(text, status, shares):
    parsed = read(text, "probability_dict")
    assert parsed.status == status
    if shares is None:
        assert parsed.shares is None
    else:
        assert parsed.shares == pytest.approx([share / sum(shares) for share in shares])


def test_labels_that_are_no_scale_have_no_numbers():
    assert parse_answer("3", ("anger", "sad"), (), answer_format="number").status == "unparsed"
    assert parse_answer("2", ("1", "2"), (), answer_format="single_word").shares == (0, 1)
    assert read("2.5", "single_word", dimension=None).shares is None


def test_formats_that_are_taught_write_what_is_read():
    taught = [name for name in SCALED if FORMATS[name].write is not None]
    assert {"number", "probability_dict"} <= set(taught)
    for name in taught:
        text = FORMATS[name].write((0, 0.25, 0.75, 0, 0), FIVE.labels, 0.1)
        assert read(text, name).shares == ((0, 1, 0, 0, 0) if name == "number" else (0, 0.25, 0.75, 0, 0))


PIECES = [
    "3",
    "4.5",
    "-",
    "/5",
    " ",
    "valence",
    ": ",
    "of",
    "(",
    ")",
    "is",
    "Answer: ",
    "one",
    "{",
    "}",
    '"',
    "%",
    "\n",
]


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=10).map("".join)), st.sampled_from(SCALED))
def test_every_answer_is_a_distribution_or_a_failure(text, form):
    parsed = read(text, form)
    assert parsed.status in STATUSES
    assert (parsed.shares is None) == (parsed.status in FAILED)
    assert parsed.shares is None or sum(parsed.shares) == pytest.approx(1)


@pytest.mark.parametrize(
    "piece", ["3 ", "valence of the voice ", "the ", "a-", "on a scale from 1 to 5 ", "3/5, ", "("]
)
def test_long_answers_take_no_time(piece):
    start = time.perf_counter()
    for form in SCALED:
        read(piece * 2000, form)
    assert time.perf_counter() - start < 2
