"""Drawn answers: their mean, and when there is none."""

from __future__ import annotations

import numpy as np
import pytest
from stored import text_table

from emoprobe.errors import InputError
from emoprobe.readout.sampled_text import SampledTextOptions, sampled_text

LABELS = ("angry", "sad")


def test_sampled_answers_are_averaged_over_those_that_state_something_if_enough_do():
    texts = [
        ["angry", "sad", "sad", "Sad."],
        ["hm", "sad", "I cannot tell.", "Angry"],
        ["hm", "hm", "sad", "hm"],
        ["hm", "I cannot tell.", "I cannot tell.", "hm"],
        ["I cannot tell.", "hm", "hm", "hm"],
        ["hm", "hm", "hm", "hm"],
        ["sad", "sad", "sad", "sad"],
    ]
    table = text_table(texts, column="sampled_texts")
    result = sampled_text(table, LABELS)
    assert result.status == ("ok", "partial", "too_few_parsed", "refused", "unparsed", "unparsed", "ok")
    np.testing.assert_allclose(result.share_parsed, [1, 0.5, 0.25, 0, 0, 0, 1])
    np.testing.assert_allclose(result.probs[:2], [[0.25, 0.75], [0.5, 0.5]])
    assert np.isnan(result.log_probs[2:6]).all()
    np.testing.assert_array_equal(result.log_probs[6], [-np.inf, 0])
    none = sampled_text(table, LABELS, min_parsed=0)
    assert none.status == ("ok", "partial", "partial", "refused", "unparsed", "unparsed", "ok")
    np.testing.assert_allclose(none.probs[2], [0, 1])
    whole = sampled_text(table, LABELS, min_parsed=1)
    assert whole.status[:3] == ("ok", "too_few_parsed", "too_few_parsed")


def test_drawn_answers_that_did_not_end_do_not_count():
    drawn = ['{"angry": 1.0}', '{"angry": 0.5, "contempt": 0.5}', '{"sad": 1.0}']
    table = text_table(
        [drawn] * 2,
        column="sampled_texts",
        answer_format=["probability_dict"] * 2,
        finished=[[True, True, False], [False] * 3],
    )
    result = sampled_text(table, LABELS)
    assert result.status == ("partial", "truncated")
    np.testing.assert_allclose(result.share_parsed, [2 / 3, 0])
    np.testing.assert_allclose(result.label_mass, [0.75, np.nan])
    np.testing.assert_allclose(result.probs[0], [1, 0])


def test_one_drawn_answer_after_reasoning_with_known_words():
    table = text_table(
        [["anger\nIt is loud."]] * 2,
        forms=("A", "B"),
        column="sampled_texts",
        reasoning=["loud", "lou"],
        reasoning_finished=[True, False],
    )
    result = sampled_text(table, LABELS, [("angry", "anger")])
    assert result.status == ("ok", "reasoning_cut")
    np.testing.assert_array_equal(result.probs[0], [1, 0])


@pytest.mark.parametrize("value", [-0.1, 1.5, "half", True, None])
def test_what_is_no_share_of_draws_is_refused(value):
    with pytest.raises(InputError, match=r"analysis\.sampled_text\.min_parsed"):
        SampledTextOptions(value)
