"""Parsing of text answers: what counts, and that a failure is never a label."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emoprobe.answers import STATUSES, parse_answer

LABELS = ("anger", "happy", "sad")
WORDS = (("anger", "angry"), ("happy", "happy"), ("sad", "sad"), ("sad", "sadness"))
LETTERS = (("anger", "A"), ("happy", "B"), ("sad", "C"))
ANGER, HAPPY, SAD = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def check(text, status, shares, words=WORDS):
    parsed = parse_answer(text, LABELS, words)
    assert parsed.status == status
    assert parsed.status in STATUSES
    assert parsed.shares == (None if shares is None else pytest.approx(shares))


@pytest.mark.parametrize(
    ("text", "status", "shares"),
    [
        ('{"anger": 0.5, "happy": 0.3, "sad": 0.2}', "ok", (0.5, 0.3, 0.2)),
        ("```json\n{'angry': .5, 'happy': .3, 'sadness': .2}\n```", "ok", (0.5, 0.3, 0.2)),
        (
            'Here it is:\n```json\n{\n"anger": 0.5,\n"happy": 0.5,\n"sad": 0.0\n}\n```\nThat is all.',
            "ok",
            (0.5, 0.5, 0.0),
        ),
        ('{"anger": "50%", "happy": "3e-1", "sad": 2E-1}', "ok", (0.5, 0.3, 0.2)),
        ('{"emotion": "angry", "probabilities": {"anger": 0.5, "happy": 0.5, "sad": 0}}', "ok", (0.5, 0.5, 0.0)),
        ('angry": 0.5, "happy": 0.3, "sad": 0.2}<|im_end|>', "ok", (0.5, 0.3, 0.2)),
        ("Anger: 50%, happy: 30 %, sad: 20%", "ok", (0.5, 0.3, 0.2)),
        ("anger: 50\nhappy: 30\nsad: 20", "ok", (0.5, 0.3, 0.2)),
        ("anger: 0.33, happy: 0.33, sad: 0.33", "ok", (1 / 3, 1 / 3, 1 / 3)),
        ("anger = 0.5, happy = 0.5, sad = 0.6", "renormalised", (0.3125, 0.3125, 0.375)),
        ("anger: 0.8, happy: 0.2", "partial", (0.8, 0.2, 0.0)),
        ("anger: 0.4, happy: 0.3, sad: 0.1, surprise: 0.2", "partial", (0.5, 0.375, 0.125)),
        ("anger: 0.5, anger: 0.7", "unparsed", None),
        ("anger: -0.5, happy: 1.5, sad: 0", "unparsed", None),
        ("anger: 0, happy: 0, sad: 0", "unparsed", None),
        ("anger: 1e999, happy: 1", "unparsed", None),
        ("anger: 1e308, happy: 1e308, sad: 1e308", "unparsed", None),
        ("anger: 0,5; happy: 0,5; sad: 0,0", "unparsed", None),
        ("anger: 40-50%", "unparsed", None),
        ("angry: 2/5", "unparsed", None),
        ("dinner: 7", "unparsed", None),
    ],
)
def test_dictionaries(text, status, shares):
    check(text, status, shares)


@pytest.mark.parametrize(
    ("text", "status", "shares"),
    [
        ("angry 40%, happy 40%, sad 20%", "ok", (0.4, 0.4, 0.2)),
        ("40% angry, 40% happy and 20% sad.", "ok", (0.4, 0.4, 0.2)),
        ("- **Angry**: 40%\n- **Happy**: 40%\n- **Sad**: 20%</s>", "ok", (0.4, 0.4, 0.2)),
        ("The percentages are:\n1. sad (60%)\n2. angry (30%)\n3. happy (10%)", "ok", (0.3, 0.1, 0.6)),
        ("angry - 40 per cent\nhappy – 40 percent\nsad: 20%", "ok", (0.4, 0.4, 0.2)),
        ("angry 40%, happy: 40%, sad 20%", "ok", (0.4, 0.4, 0.2)),
        ("sad 60%, surprised 20%, 20% happy", "partial", (0.0, 0.25, 0.75)),
        ("100% happy", "partial", HAPPY),
        ("I'm 100% happy", "unparsed", None),
        ("Well, I am 100% sure, and happy.", "unparsed", None),
        ("angry 40% happy 60%", "unparsed", None),
        ("happy 40, sad 60", "unparsed", None),
    ],
)
def test_percentages(text, status, shares):
    check(text, status, shares)


@pytest.mark.parametrize(
    ("text", "status", "shares"),
    [
        ("1. sad\n2. angry\n3. happy", "ranked", (3 / 11, 2 / 11, 6 / 11)),
        ("Here they are:\n\n1) **Sad** - slow\n2) Angry (a bit)\n3) Happy\nBye.", "ranked", (3 / 11, 2 / 11, 6 / 11)),
        ("1. sad, 2. angry, 3. happy", "ranked", (3 / 11, 2 / 11, 6 / 11)),
        ("1. sad\n2. angry", "ranked", (1 / 3, 0.0, 2 / 3)),
        ("1. sad\n2. annoyed\n3. angry", "ranked", (1 / 4, 0.0, 3 / 4)),
        ("1. sad", "single_label", SAD),
        ("1. sad\n2. sadness\n3. angry", "unparsed", None),
        ("1. sad\n3. angry", "unparsed", None),
        ("1. The speaker is sad\n2. The voice is angry", "unparsed", None),
        ("sad, angry, happy", "unparsed", None),
    ],
)
def test_rankings(text, status, shares):
    check(text, status, shares)


@pytest.mark.parametrize(
    ("text", "status", "shares"),
    [
        (" Angry.", "single_label", ANGER),
        ("[sadness]", "single_label", SAD),
        ("**happy**<|im_end|>\n<|endoftext|>", "single_label", HAPPY),
        ("angry</s>", "single_label", ANGER),
        ("Answer: happy", "single_label", HAPPY),
        ("The pitch is high: not sad.\n\n**Final answer:** Happy.", "single_label", HAPPY),
        ("Answer: sad? No. ANSWER : happy", "single_label", HAPPY),
        ("Answer: happy\nThe voice is bright.", "single_label", HAPPY),
        ('{"answer": "happy"}', "single_label", HAPPY),
        ("First, it is loud: 5.\nAnswer: angry: 60%, happy: 20%, sad: 20%", "ok", (0.6, 0.2, 0.2)),
        ("Answer: 1. sad\n2. happy", "ranked", (0.0, 1 / 3, 2 / 3)),
        ("happy\nAnswer:", "unparsed", None),
        ("Answer: happy. The voice is bright.", "unparsed", None),
        ("Answer: happy\nor sad\nAnswer: maybe", "unparsed", None),
        ("Answer: anger: 0.5\nanger: 0.7", "unparsed", None),
        ("happy\nThe voice is bright.", "unparsed", None),
        ("I'm so angry!", "unparsed", None),
        ("angry and sad", "unparsed", None),
        ("unhappy", "unparsed", None),
        ("Kids are talking by the door.", "unparsed", None),
        ("", "unparsed", None),
        ("I cannot determine emotions from audio.", "refused", None),
        ("I’m sorry, but I can’t hear any audio.", "refused", None),
        ("I am unable to accurately assess that.", "refused", None),
        ("As an AI, I only read text.", "refused", None),
        ("It sounds sad. Answer: I cannot tell.", "refused", None),
        ("I can't believe you are so happy.", "unparsed", None),
    ],
)
def test_single_labels_cues_and_failures(text, status, shares):
    check(text, status, shares)


@pytest.mark.parametrize(
    ("text", "status", "shares"),
    [
        ("B", "single_label", HAPPY),
        ("(B)", "single_label", HAPPY),
        ("B.", "single_label", HAPPY),
        ("B. happy", "single_label", HAPPY),
        ("B) Happy<|im_end|>", "single_label", HAPPY),
        ("(A) angry", "single_label", ANGER),  # a word that is no label name is the option's own
        ("Answer: **C**", "single_label", SAD),
        ("happy", "single_label", HAPPY),
        ("A: 40%, B: 40%, C: 20%", "ok", (0.4, 0.4, 0.2)),
        ("1. C\n2. B. happy", "ranked", (0.0, 1 / 3, 2 / 3)),
        ("a", "unparsed", None),
        ("b", "unparsed", None),
        ("D", "unparsed", None),
        ("B. sad", "unparsed", None),
        ("B. C.", "unparsed", None),
        ("A.M.", "unparsed", None),
        ("A dog", "unparsed", None),
        ("A. B. C.", "unparsed", None),
        ("A. angry\nB. happy\nC. sad", "unparsed", None),
        ("A. The speaker is sad", "unparsed", None),
    ],
)
def test_letters(text, status, shares):
    check(text, status, shares, LETTERS)


def test_words_are_compared_without_case_and_punctuation_in_any_script():
    words = (("anger", "fed-up"), ("happy", "glücklich"), ("sad", "悲"))
    assert parse_answer("Fed up!", LABELS, words).shares == ANGER
    assert parse_answer("GLÜCKLICH", LABELS, words).shares == HAPPY
    assert parse_answer("悲。", LABELS, words).shares == SAD


PIECES = [
    "angry",
    "happy",
    "Sad",
    "B",
    "a",
    "0.5",
    "40%",
    "1.",
    "2)",
    ":",
    "=",
    ",",
    "\n",
    " ",
    " and ",
    "-",
    '"',
    "{",
    "}",
]
PIECES += ["(", ")", "Answer:", "I cannot tell", "```json", "**", "<|im_end|>", "</s>", "9" * 400, "1e-320", "٣", "İ"]


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=12).map("".join)))
def test_no_text_raises_and_shares_are_a_distribution_or_none(text):
    parsed = parse_answer(text, LABELS, WORDS + LETTERS)
    assert parsed.status in STATUSES
    if parsed.status in ("refused", "unparsed"):
        assert parsed.shares is None
    else:
        assert len(parsed.shares) == len(LABELS)
        assert all(share >= 0 for share in parsed.shares)
        assert math.isclose(sum(parsed.shares), 1, abs_tol=1e-9)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 100), min_size=3, max_size=3).filter(any),
    st.sampled_from(["{}: {}%", "{} {}%", "{1}% {0}"]),
)
def test_what_is_written_is_what_is_read(percentages, form):
    text = "\n".join(form.format(label, value) for label, value in zip(LABELS, percentages, strict=True))
    parsed = parse_answer(text, LABELS, WORDS)
    assert parsed.shares == pytest.approx([value / sum(percentages) for value in percentages])
    assert parsed.status == ("ok" if abs(sum(percentages) - 100) <= 1 else "renormalised")
