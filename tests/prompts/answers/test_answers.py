"""What each answer format takes, with which status, and that a failure is never a label."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emoprobe.prompts.answers import FAILED, FORMATS, STATUSES, parse_answer

LABELS = ("anger", "happy", "sad")
WORDS = (("anger", "angry"), ("happy", "happy"), ("sad", "sad"), ("sad", "sadness"))
LETTERS = (("anger", "A"), ("happy", "B"), ("sad", "C"))
OF_WORDS = [form for form in FORMATS if FORMATS[form].scale != "only"]
ANGER, HAPPY, SAD = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def check(text, status, shares, form, words=WORDS, mass=None):
    parsed = parse_answer(text, LABELS, words, answer_format=form)
    assert parsed.status == status
    assert parsed.shares == (None if shares is None else pytest.approx(shares))
    if shares is not None:
        assert parsed.label_mass == pytest.approx(1.0 if mass is None else mass)


@pytest.mark.parametrize(
    ("text", "status", "shares", "mass"),
    [
        ('{"anger": 0.5, "happy": 0.3, "sad": 0.2}', "ok", (0.5, 0.3, 0.2), 1),
        ("```json\n{'angry': .5, 'happy': .3, 'sadness': .2,}\n```", "ok", (0.5, 0.3, 0.2), 1),
        ('Here it is:\n{\n"anger": 0.5,\n"happy": 0.5,\n"sad": 0.0\n}\nThat is all.', "ok", (0.5, 0.5, 0.0), 1),
        ('{"anger": "50%", "happy": "3e-1", "sad": 0.2}', "ok", (0.5, 0.3, 0.2), 1),
        ('{"probabilities": {"anger": 0.5, "happy": 0.5, "sad": 0}}', "ok", (0.5, 0.5, 0.0), 1),
        ("{anger: 50; happy: 30; sad: 20}<|im_end|>", "ok", (0.5, 0.3, 0.2), 1),
        ("anger: 0.33, happy: 0.33, sad: 0.33", "ok", (1 / 3, 1 / 3, 1 / 3), 1),
        ('{"anger": 0.8, "happy": 0.2}', "ok", (0.8, 0.2, 0.0), 1),
        ("anger = 0.5, happy = 0.5, sad = 0.6", "renormalised", (0.3125, 0.3125, 0.375), 1),
        ('{"anger": 0.2, "happy": 0.1, "sad": 0.1}', "renormalised", (0.5, 0.25, 0.25), 1),
        ('{"anger": 0.4, "happy": 0.3, "sad": 0.1, "surprise": 0.2}', "partial", (0.5, 0.375, 0.125), 0.8),
        ('{"anger": 0.5, "sad": 0.5} {"angry": 50, "sad": 50}', "ok", (0.5, 0.0, 0.5), 1),
        ("<thinking>{anger: 1}</thinking>\n{sad: 1.0}", "ok", SAD, 1),
        ("anger: 1</think>{sad: 1.0}", "ok", SAD, 1),
        ('{"anger": 1.0}\nFinal answer: {"sad": 1.0}', "ok", SAD, 1),
        ("Anger.", "single_label", ANGER, 1),
        ('{"surprise": 1.0}', "unparsed", None, None),
        ('{"anger": 0.5, "happy": 0.2}', "ambiguous", None, None),  # .3 is nobody's
        ('{"anger": 60, "sad": 0.4}', "ambiguous", None, None),
        ('{"anger": 1, "sad": 0.5}', "ambiguous", None, None),
        ('{"anger": "60%", "sad": 40}', "ambiguous", None, None),
        ('{"anger": 0.6, "sad": 0.4, "confidence": 0.9}', "ambiguous", None, None),
        ('{"anger": 0.6, "not sad": 0.4}', "ambiguous", None, None),
        ('{"anger": 0.5, "angry": 0.1, "sad": 0.4}', "ambiguous", None, None),
        ('{"anger": -0.5, "happy": 1.5}', "ambiguous", None, None),
        ('{"anger": 0.5, "sad": 0.5}, {"anger": 0.4, "sad": 0.6}', "ambiguous", None, None),
        ('Answer: {"anger": 1.0}\nAnswer: {"sad": 1.0}', "ambiguous", None, None),
        ('{"anger": 0.6, "sad": about half}', "unparsed", None, None),
        ('{"anger": 0, "happy": 0, "sad": 0}', "unparsed", None, None),
        ('{"anger": 1e999, "happy": 1}', "unparsed", None, None),
        ('{"anger": 0,5; "happy": 0,5}', "unparsed", None, None),
        ('{"anger": 0.6, "sad": 0.4', "unparsed", None, None),
        ('I am 90% sure: {"anger": 0.6, "sad": 0.4}', "unparsed", None, None),
        ('For example: {"anger": 0.6, "sad": 0.4}', "unparsed", None, None),
        ('{"anger": 0.6, "sad": 0.4} Rather the other way round.', "unparsed", None, None),
        ('I cannot tell. {"anger": 0.6, "sad": 0.4}', "refused", None, None),
        ("angry: 2/5", "unparsed", None, None),
        ("dinner: 7", "unparsed", None, None),
    ],
)
def test_dictionaries(text, status, shares, mass):
    check(text, status, shares, "probability_dict", mass=mass)


@pytest.mark.parametrize(
    ("text", "status", "shares"),
    [
        ("Anger: 50%, happy: 30 %, sad: 20%", "ok", (0.5, 0.3, 0.2)),
        ("anger: 50\nhappy: 30\nsad: 20", "ok", (0.5, 0.3, 0.2)),
        ("anger: 0.5\nhappy: 0.3\nsad: 0.2", "ok", (0.5, 0.3, 0.2)),
        ("40% angry, 40% happy and 20% sad.", "ok", (0.4, 0.4, 0.2)),
        ("- **Angry**: 40%\n- **Happy**: 40%\n- **Sad**: 20%</s>", "ok", (0.4, 0.4, 0.2)),
        ("The percentages are:\n1. sad (60%)\n2. angry (30%)\n3. happy (10%)", "ok", (0.3, 0.1, 0.6)),
        ("angry - 40 per cent\nhappy – 40 percent\nsad: 20%", "ok", (0.4, 0.4, 0.2)),
        ("ANGRY：４０％、happy：６０％", "ok", (0.4, 0.6, 0.0)),
        ("angry: 70%\nsad: 40%", "renormalised", (7 / 11, 0.0, 4 / 11)),
        ("angry: 0.7%\nsad: 0.3%", "renormalised", (0.7, 0.0, 0.3)),
        ("100% happy", "ok", HAPPY),
        ("angry: 70%\nsad: 2", "ambiguous", None),
        ("angry: 70%", "ambiguous", None),
        ("happy: 1", "ambiguous", None),  # 1 %
        ("angry: 70%\nangry: 30%", "ambiguous", None),
        ("angry: 60%\nsad: 40%\ntotal: 100%", "ambiguous", None),
        ("Happy: 10 people were there. angry: 100%", "unparsed", None),
        ("angry: 40-50%\nsad: 50%", "unparsed", None),
        ("angry: about 40%\nsad: 60%", "unparsed", None),
        ("angry: 40%\nsad: 57%\nhap", "unparsed", None),
        ("40% angry, 60% ha", "unparsed", None),
        ("1. angry 40%\n3. sad 60%", "unparsed", None),
        ("I'm 100% happy", "unparsed", None),
        ("Well, I am 100% sure, and happy.", "unparsed", None),
        ("angry 40% happy 60%", "unparsed", None),
        ("happy 40, sad 60", "unparsed", None),
    ],
)
def test_percentages(text, status, shares):
    check(text, status, shares, "percentages")


@pytest.mark.parametrize(
    "text",
    [
        '{"emotions": {"anger": 0.6, "sadness": 0.4}, "explanation": "The voice is loud, not happy: 90 of 100."}',
        '{"anger": 0.6, "sadness": 0.4, "reasoning": "The speaker\'s voice is loud."}',
        '{"emotion": "angry", "probabilities": {"anger": 0.6, "sad": 0.4}}',
        'The speaker sounds angry:\n{"anger": 0.6, "sad": 0.4}',
        '{"anger": 0.6, "sad": 0.4}\n\nThe speaker is mostly angry, with a hint of sadness.',
        'Here are the probabilities of the 3 emotions, which sum to 1.0:\n{"anger": 0.6, "sad": 0.4}',
        "<|channel|>analysis<|message|>Sad: 90%?<|end|><|start|>assistant"
        '<|channel|>final<|message|>{"anger": 0.6, "sad": 0.4}<|return|>',
        "<|START_THINKING|>sad: 90%<|END_THINKING|><|START_RESPONSE|>angry: 60%, sad: 40%<|END_RESPONSE|>",
        "◁think▷happy: 90%◁/think▷angry: 60%, sad: 40%",
        "<THINK><REASONING>happy?</REASONING></THINK><RESPONSE>angry: 60%, sad: 40%</RESPONSE>",
        "| Emotion | Percentage (%) |\n|:---|---:|\n| **Angry** | 60 |\n| Sad | 40 |",
        "Angry: 60% - the angry voice is loud\nSad: 40% (the pitch falls)",
        "Angry: 60%, sad: 40%. The tone is tense.",
        "### Answer\nangry: 60%\nsad: 40%\n\nThe percentages add up to 100%.",
    ],
)
def test_what_stands_beside_shares_without_changing_them(text):
    check(text, "ok", (0.6, 0.0, 0.4), "probability_dict" if "{" in text else "percentages")


@pytest.mark.parametrize(
    "text",
    [
        '{"anger": 0.6, "sad": 0.4, "explanation": 0.9}',
        '{"probabilities": {"anger": 0.6, "sad": 0.4}, "happy": 0.3}',
        '{"probabilities": {"anger": 0.6, "sad": 0.4}, "happy": "about 30%"}',
        '{"first": {"anger": 0.6, "sad": 0.4}, "second": {"sad": 1.0}}',
        '{"emotion": "sad", "probabilities": {"anger": 0.6, "sad": 0.4}}',
        '{"anger": 0.6, "sad": 0.4}\nThe speaker is sad.',
        '{"anger": 0.6, "sad": 0.4}\nThe speaker is angry and happy.',
        '{"≠ anger": 0.6, "sad": 0.4}',
        '{"anger": 0.6, "sad": 0.4}\nThese sum to 1.05.',
        '<|channel|>analysis<|message|>{"anger": 0.6, "sad": 0.4}<|end|>',
        "| Angry | Sad |\n|---|---|\n| 60% | 40% |",
        "| Angry | 60% | 50% |\n| Sad | 40% | 50% |",
        "Angry: 60% (sad)\nSad: 40%",
        "Angry: 60% - or less\nSad: 40%",
        "angry: 57%\nsad: 40%. hap",
        "Happy: 10 (people were there)\nangry: 90%",
    ],
)
def test_what_stands_beside_shares_and_changes_them_is_a_failure(text):
    parsed = parse_answer(text, LABELS, WORDS, answer_format="probability_dict" if "{" in text else "percentages")
    assert parsed.status in FAILED


def test_remarks_and_prose_of_rankings_may_name_what_they_speak_of():
    check(
        "1. Sad: the sad voice is slow\n2. Angry\n\nThe speaker is sad.", "ranked", (1 / 3, 0.0, 2 / 3), "ranked_list"
    )
    for text in ("1. Sad: an angry voice\n2. Angry", "1. Sad\n2. Angry\n\nThe speaker is angry."):
        check(text, "unparsed", None, "ranked_list")


def test_shares_of_lettered_options():
    for text in ("A: 60%\nC: 40%", '{"A": 0.6, "C": 0.4}', "A. angry: 60%\nC. sad: 40%"):
        check(text, "ok", (0.6, 0.0, 0.4), "probability_dict", WORDS + LETTERS)
    for text in ("A. angry: 60%\nB. sad: 40%", "A: 60%\nangry: 40%"):
        check(text, "ambiguous", None, "percentages", WORDS + LETTERS)


def test_a_word_that_is_no_label_keeps_its_percentage():
    check("sad 60%, surprised 20%, 20% happy", "partial", (0.0, 0.25, 0.75), "percentages", mass=0.8)


@pytest.mark.parametrize(
    ("text", "status", "shares", "mass"),
    [
        ("1. sad\n2. angry\n3. happy", "ranked", (3 / 11, 2 / 11, 6 / 11), 1),
        (
            "Here they are:\n\n1) **Sad** - slow\n2) Angry (a bit)\n3) Happy\nBye.",
            "ranked",
            (3 / 11, 2 / 11, 6 / 11),
            1,
        ),
        ("1. sad, 2. angry, 3. happy", "ranked", (3 / 11, 2 / 11, 6 / 11), 1),
        ("1. sad\n2. angry", "ranked", (1 / 3, 0.0, 2 / 3), 1),
        ("1. sad\n2. annoyed\n3. angry", "ranked", (1 / 4, 0.0, 3 / 4), 8 / 11),
        ("Answer: 1. sad\n2. happy", "ranked", (0.0, 1 / 3, 2 / 3), 1),
        ("1. sad (0.7)\n2. happy (0.3)", "ok", (0.0, 0.3, 0.7), 1),
        ("1. sad: 70%\n2. happy: 30%", "ok", (0.0, 0.3, 0.7), 1),
        ("1. sad", "single_label", SAD, 1),
        ("1. sad\n2. happy (0.3)", "ambiguous", None, None),
        ("1. sad (0.3)\n2. happy (0.7)", "ambiguous", None, None),
        ("1. sad\n2. sadness\n3. angry", "ambiguous", None, None),
        ("1. sad\n3. angry", "unparsed", None, None),
        ("1. sad\n2. angry\n3. hap", "unparsed", None, None),
        ("1. sad or angry\n2. happy\n3. anger", "unparsed", None, None),
        ("1. sad\n2. angry (not heard)", "unparsed", None, None),
        ("1. The speaker is sad and low and slow\n2. happy\n3. angry", "unparsed", None, None),
        ("sad, angry, happy", "unparsed", None, None),
    ],
)
def test_rankings(text, status, shares, mass):
    check(text, status, shares, "ranked_list", mass=mass)


@pytest.mark.parametrize(
    ("text", "status", "shares"),
    [
        (" Angry.", "single_label", ANGER),
        ("[sadness]", "single_label", SAD),
        ("**happy**<|im_end|>\n<|endoftext|>", "single_label", HAPPY),
        ("Answer: happy", "single_label", HAPPY),
        ("The pitch is high: not sad.\n\n**Final answer:** Happy.", "single_label", HAPPY),
        ("Answer: happy\nThe voice is bright.", "single_label", HAPPY),
        ("Answer: happy\nAnswer: happy", "single_label", HAPPY),
        ("Answer: sad\nFinal answer: happy", "single_label", HAPPY),
        ("<answer>happy</answer>", "single_label", HAPPY),
        ('{"emotion": "angry"}', "single_label", ANGER),
        ("{'emotion': 'angry', 'reason': 'It is loud.'}", "single_label", ANGER),
        ("The speaker is angry.", "single_label", ANGER),
        ("In this recording, the speaker sounds very sad.", "single_label", SAD),
        ("The primary emotion expressed by the speaker is sadness.", "single_label", SAD),
        ("I would say that the speaker's voice is sad", "single_label", SAD),
        ("She seems to be sad", "single_label", SAD),
        ("Emotion: happy", "single_label", HAPPY),
        ("<think>sad or angry?</think> happy", "single_label", HAPPY),
        ("<think>sad or angry?", "reasoning_cut", None),
        ("1. sad", "single_label", SAD),
        ("• sad", "single_label", SAD),
        ("sad…", "single_label", SAD),
        ("<sad>", "single_label", SAD),
        ("Sad 😢", "single_label", SAD),
        ("$\\boxed{\\text{sad}}$", "single_label", SAD),
        ("**Final answer**\n\nsad", "single_label", SAD),
        ("Answer: sad\n\nIt is slow, which speaks of sadness.", "single_label", SAD),
        ("Answer: sad\n\nIt is fast, which speaks of happiness and anger.", "ambiguous", None),
        ("<|happy|>", "unparsed", None),
        ("The speaker is not angry.", "ambiguous", None),
        ("The speaker isn't angry.", "ambiguous", None),
        ("happy or sad", "ambiguous", None),
        ("angry and sad", "ambiguous", None),
        ("Answer: sad? No. ANSWER : happy", "ambiguous", None),
        ("Answer: happy\nor sad", "ambiguous", None),
        ("Answer: happy\nAnswer: sad", "ambiguous", None),
        ('{"emotion": "angry", "confidence": 0.9}', "unparsed", None),
        ("happy\nAnswer:", "unparsed", None),
        ("Wrong answer: happy", "unparsed", None),
        ("Answer: happy. The voice is bright.", "unparsed", None),
        ("happy\nThe voice is bright.", "unparsed", None),
        ("angry 90%", "unparsed", None),
        ("happy?", "unparsed", None),
        ("happy:", "unparsed", None),
        ("happy -", "unparsed", None),
        ("≠ happy", "unparsed", None),
        ("unhappy", "unparsed", None),
        ("I'm so angry!", "unparsed", None),
        ("He is sad.", "unparsed", None),  # may be what was said
        ("Kids are talking by the door.", "unparsed", None),
        ("", "unparsed", None),
        ("I cannot determine emotions from audio.", "refused", None),
        ("I’m sorry, but I can’t hear any audio.", "refused", None),
        ("I can't tell whether it is happy or sad.", "refused", None),
        ("As an AI, I only read text.", "refused", None),
        ("It sounds sad. Answer: I cannot tell.", "refused", None),
        ("I can't believe you are so happy.", "ambiguous", None),
    ],
)
def test_single_labels_marks_and_failures(text, status, shares):
    check(text, status, shares, "single_word")


def test_a_completion_is_the_label_alone():
    check(" angry.", "single_label", ANGER, "completion")
    for text in ("The speaker is angry.", "Answer: angry", '{"emotion": "angry"}', "angry and sad"):
        check(text, "unparsed", None, "completion")


@pytest.mark.parametrize(
    ("text", "status", "shares"),
    [
        ("B", "single_label", HAPPY),
        ("(B)", "single_label", HAPPY),
        ("B. happy", "single_label", HAPPY),
        ("B) Happy<|im_end|>", "single_label", HAPPY),
        ("(A) angry", "single_label", ANGER),
        ("Option B", "single_label", HAPPY),
        ("option b: happy", "single_label", HAPPY),
        ("The correct answer is (B).", "single_label", HAPPY),
        ("选项B", "single_label", HAPPY),
        ("Answer: **C**", "single_label", SAD),
        ("happy", "single_label", HAPPY),
        ("a", "unparsed", None),
        ("b", "unparsed", None),
        ("D", "unparsed", None),
        ("A.M.", "unparsed", None),
        ("A dog", "unparsed", None),
        ("A. The speaker is sad", "unparsed", None),
        ("B?", "unparsed", None),
        ("B. sad", "ambiguous", None),
        ("A or B", "ambiguous", None),
        ("B. C.", "ambiguous", None),
        ("A. B. C.", "ambiguous", None),
        ("A. angry\nB. happy\nC. sad", "ambiguous", None),
    ],
)
def test_letters(text, status, shares):
    check(text, status, shares, "lettered_options", WORDS + LETTERS)


def test_letters_are_those_of_the_prompts_own_order():
    turned = (("anger", "C"), ("happy", "A"), ("sad", "B"))
    check("Option B", "single_label", SAD, "lettered_options", WORDS + turned)
    check("B. happy", "ambiguous", None, "lettered_options", WORDS + turned)


def test_reasoning_ends_with_a_marked_answer():
    text = "The pitch is high, so happy seems likely at 70%, but the voice trembles.\nAnswer: sad"
    check(text, "single_label", SAD, "chain_of_thought")
    check("It is loud, so it is angry.", "unparsed", None, "chain_of_thought")
    cut = [
        parse_answer(text[:end], LABELS, WORDS, answer_format="chain_of_thought", finished=False) for end in (60, 83)
    ]
    assert [(parsed.status, parsed.shares) for parsed in cut] == [("reasoning_cut", None), ("truncated", None)]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("text", ["sad", '{"sad": 1.0}', "sad: 100%", "1. sad\n2. happy", "I cannot tell.", ""])
def test_an_answer_that_did_not_end_is_never_parsed(form, text):
    parsed = parse_answer(text, LABELS, WORDS, answer_format=form, finished=False)
    assert parsed.status == ("reasoning_cut" if form == "chain_of_thought" else "truncated")
    assert parsed.shares is None


@pytest.mark.parametrize("form", [form for form in OF_WORDS if form not in ("completion", "chain_of_thought")])
def test_words_of_any_script(form):
    words = (
        ("anger", "fed-up"),
        ("anger", "злой"),
        ("happy", "glücklich"),
        ("happy", "快乐"),
        ("sad", "悲"),
        ("sad", "उदास"),
    )
    for text, shares in [
        *(
            ("Fed up!", ANGER),
            ("ЗЛОЙ.", ANGER),
            ("GLÜCKLICH", HAPPY),
            ("“快乐”。", HAPPY),
            ("【悲】", SAD),
            ("उदास।", SAD),
        ),
        *(
            ("说话者很悲。", SAD),
            ("Der Sprecher klingt glücklich.", HAPPY),
            ("Голос злой", ANGER),
            ("答案：快乐", HAPPY),
        ),
    ]:
        parsed = parse_answer(text, LABELS, words, answer_format=form)
        assert (parsed.status, parsed.shares) == ("single_label", shares), text
    assert parse_answer("不快乐", LABELS, words, answer_format=form).shares is None


def test_words_that_differ_only_in_vowel_signs_stay_apart():
    words = (("happy", "सुख"), ("sad", "सख"))
    assert parse_answer("सुख", LABELS, words).shares == HAPPY
    assert parse_answer("सख", LABELS, words).shares == SAD


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
@given(
    st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=12).map("".join)), st.sampled_from(list(FORMATS))
)
def test_no_text_raises_and_shares_are_a_distribution_or_none(text, form):
    parsed = parse_answer(text, LABELS, WORDS + LETTERS, answer_format=form)
    assert parsed.status in STATUSES
    assert (parsed.shares is None) == (parsed.status in FAILED)
    if parsed.shares is not None:
        assert len(parsed.shares) == len(LABELS)
        assert all(share >= 0 for share in parsed.shares)
        assert math.isclose(sum(parsed.shares), 1, abs_tol=1e-9)
        assert 0 < parsed.label_mass <= 1 + 1e-9


@pytest.mark.parametrize("form", FORMATS)
def test_degenerate_answers_take_no_time(form):
    start = time.perf_counter()
    for text in (
        "1. sad" + " " * 9000 + "x",
        "the speaker " * 800,
        "{" * 6000,
        '"' * 6000,
        "40% " * 3000,
        "\n" * 9000 + "sad:",
    ):
        assert parse_answer(text, LABELS, WORDS, answer_format=form).status == "unparsed"
    assert time.perf_counter() - start < 5
