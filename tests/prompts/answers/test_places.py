"""Where an answer first writes a label."""

from __future__ import annotations

import unicodedata

import pytest

from emoprobe.prompts.answers import find_label_word
from emoprobe.prompts.answers.words import Vocabulary

LABELS = ("angry", "sad")
WORDS = [("angry", "very cross"), ("sad", "悲しい"), ("sad", "désolé"), ("angry", "wütend")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sad", "sad"),
        ("  **SAD**", "SAD"),
        ("The speaker, I'd say, is Very  cross.", "Very  cross"),
        ("彼は悲しいです", "悲しい"),
        ("Il est DÉSOLÉ", "DÉSOLÉ"),
        (unicodedata.normalize("NFD", "Elle est désolé"), unicodedata.normalize("NFD", "désolé")),
        ("ﬁrst: wu\u0308tend", "wu\u0308tend"),
        ("Straße… sad", "sad"),
        ("ｓａｄ", "ｓａｄ"),
        ("sadness, then sad", "sad"),
    ],
)
def test_a_label_begins_where_its_first_letter_stands(text, said):
    place = find_label_word(text, LABELS, WORDS)
    assert text[place:].startswith(said)
    if said == "sad" and text.startswith("sadness"):
        assert place == text.rindex("sad")


@pytest.mark.parametrize("text", ["", "happy", "sadly", "cross", "<think>sad", "sad<think>sad</think>sad"])
def test_where_no_label_is_written_there_is_no_place(text):
    assert find_label_word(text, LABELS, WORDS) is None


def test_a_place_is_found_wherever_a_word_is_found():
    """Every beginning and end of an answer: the parser's search for words and the place agree."""
    text = "Well… it's “Wütend”, 悲しい or désolé; not SAD—very\u00a0cross!"
    vocabulary = Vocabulary.of(LABELS, WORDS)
    for start in range(len(text)):
        for end in range(start, len(text) + 1):
            part = text[start:end]
            place = vocabulary.place(part)
            assert (place is not None) == bool(vocabulary.mentioned(part))
            if place is not None:
                assert vocabulary.mentioned(part[place:])
                assert part[place].isalpha()
                assert not vocabulary.mentioned(part[:place])
