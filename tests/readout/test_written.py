"""Answers in words: what distributions they state."""

from __future__ import annotations

import numpy as np
from stored import text_table

from emoprobe.labels import LabelSet
from emoprobe.readout.written import known_words, written_text

LABELS = ("angry", "sad")


def test_text_that_states_nothing_has_no_distribution():
    table = text_table(
        [" I'm so angry about the door.", " Sad.", '{"angry": 0.25, "sad": 0.75}'],
        answer_format=["single_word", "single_word", "probability_dict"],
    )
    result = written_text(table, LABELS)
    assert result.status == ("unparsed", "single_label", "ok")
    assert np.isnan(result.log_probs[0]).all()
    np.testing.assert_allclose(result.probs[1:], [[0, 1], [0.25, 0.75]])
    np.testing.assert_array_equal(result.label_mass, [np.nan, 1, 1])


def test_an_answer_is_parsed_by_the_format_of_its_prompt_and_only_if_it_ended():
    text, forms = "1. sad\n2. angry", ["ranked_list", "percentages", "ranked_list", "ranked_list"]
    result = written_text(text_table([text] * 4, answer_format=forms, finished=[True, True, False, None]), LABELS)
    assert result.status == ("ranked", "unparsed", "truncated", "truncated")
    np.testing.assert_allclose(result.probs[0], [1 / 3, 2 / 3])
    assert np.isnan(result.log_probs[1:]).all()


def test_label_mass_of_text_is_the_share_of_what_is_written():
    texts = ['{"angry": 0.6, "contempt": 0.4}', '{"angry": 0.6, "sad": 0.4}', '{"contempt": 1.0}']
    result = written_text(text_table(texts, answer_format=["probability_dict"] * 3), LABELS)
    assert result.status == ("partial", "ok", "unparsed")
    np.testing.assert_allclose(result.label_mass, [0.6, 1, 0])


def test_the_models_own_text_is_read_from_its_column():
    table = text_table(
        ['{"angry": 0.9, "sad": 0.1}', "I cannot tell.", "sad", '{"angry": 0.9, "sad": 0.'],
        column="free_text",
        answer_format=["probability_dict"] * 4,
        finished=[True, True, False, False],
    )
    result = written_text(table, LABELS, column="free_text", ended="free_finished")
    assert result.status == ("ok", "refused", "truncated", "truncated")
    np.testing.assert_allclose(result.probs[0], [0.9, 0.1])


def test_a_filled_dictionary_is_one_whatever_the_prompt_asks_for():
    table = text_table(
        ['{"angry": 0.90, "sad": 0.10}'] * 2, reasoning=["It is loud."] * 2, reasoning_finished=[True, False]
    )
    result = written_text(table, LABELS, form="probability_dict")
    assert result.status == ("ok", "reasoning_cut")
    np.testing.assert_allclose(result.probs[0], [0.9, 0.1])


def test_after_reasoning_the_text_continues_the_cue_of_an_answer():
    text = "sad\nThe voice is low and slow."  # a label on the first line of an answer, running text without its cue
    table = text_table(
        [text, text, "I cannot tell.", text],
        reasoning=[None, "The voice trembles.", "", "The voice"],
        reasoning_finished=[None, True, True, False],
    )
    result = written_text(table, LABELS)
    assert result.status == ("unparsed", "single_label", "refused", "reasoning_cut")
    np.testing.assert_allclose(result.probs[1], [0, 1])


BOTH_SAD = {"angry": {"adjective": ["angry"], "noun": ["anger"]}, "sad": {"adjective": ["sad"], "noun": ["sadness"]}}


def test_known_words_are_forms_of_all_kinds_and_aliases_but_no_letters_and_nothing_doubtful():
    aliases = {"fury": "angry", "blue": "sad", "A": "sad", "b": "angry", "怒": "angry"}
    labels = LabelSet("two", LABELS, BOTH_SAD, aliases)
    words = {("angry", "angry"), ("angry", "anger"), ("sad", "sad"), ("sad", "sadness")}
    assert set(known_words(labels)) == words | {("angry", "fury"), ("sad", "blue"), ("angry", "怒")}
    twice = {"angry": {"adjective": ["upset"]}, "sad": {"adjective": ["sad"], "noun": ["Upset"]}}
    assert known_words(LabelSet("two", LABELS, twice)) == [("sad", "sad")]


def test_a_lettered_prompt_knows_words_too_and_its_own_letters_win():
    labels = LabelSet("two", LABELS, BOTH_SAD, {"fury": "angry", "A": "angry"})
    texts = ["A", "B", "Anger.", "fury", "(B) sadness", "a", "wrath"]
    result = written_text(text_table(texts, forms=("B", "A")), LABELS, known_words(labels))
    angry, sad = [1, 0], [0, 1]
    np.testing.assert_array_equal(result.probs[:4], [sad, angry, angry, angry])
    assert result.status[4:] == ("ambiguous", "unparsed", "unparsed")  # (B) is angry, and not sad
    # A word of the row's own wins over one known from elsewhere.
    result = written_text(text_table(["down"], forms=("angry", "down")), LABELS, [("angry", "down")])
    np.testing.assert_array_equal(result.probs, [sad])
