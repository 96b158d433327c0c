"""The readings of the averaged logits, by hand and as published."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import softmax

from emoprobe.errors import InputError
from emoprobe.readout.averaged_logits import AVERAGED_LOGITS, AveragedLogitsVariant, averaged_logits

LABELS = ("angry", "sad")


def logits_table(logits, normalizers=None, form_tokens=((1, 9), (2, 3, 9)), kept=(1, 2, 3)):
    normalizers = normalizers or [[10.0] * len(row) for row in logits]
    return pa.table(
        {
            "form_labels": [["angry", "sad"]] * len(logits),
            "form_tokens": [[list(form) for form in form_tokens]] * len(logits),
            "form_own_tokens": [[len(form) - 1 for form in form_tokens]] * len(logits),
            "kept_tokens": [list(kept)] * len(logits),
            "kept_logits": [[float(v) for position in row for v in position] for row in logits],
            "log_normalizers": normalizers,
        }
    )


def test_averaged_logits_variants_by_hand():
    # Two positions; "angry" is token 1, "sad" is the mean of tokens 2 and 3: labels (20, 18), then (10, 6).
    table = logits_table([[[20, 19, 17], [10, 4, 8]]], [[21.0, 12.0]])
    probs = {name: averaged_logits(table, LABELS, variant).probs[0] for name, variant in AVERAGED_LOGITS.items()}
    np.testing.assert_allclose(probs["raw_logit_ratio"], np.array([15, 12]) / 27)
    np.testing.assert_allclose(probs["raw_logit_ratio_answer"], np.array([20, 18]) / 38)
    np.testing.assert_allclose(probs["raw_logit_ratio_first_token"], np.array([15, 11.5]) / 26.5)
    np.testing.assert_allclose(probs["softmax_of_mean"], softmax([15, 12]))
    np.testing.assert_allclose(probs["mean_of_softmax"], (softmax([20, 18]) + softmax([10, 6])) / 2)
    np.testing.assert_allclose(probs["answer_softmax"], softmax([20, 19]))
    first, second = np.exp([[-1.0, -2.0, -4.0], [-2.0, -8.0, -4.0]])
    expected = np.array([(first[0] + second[0]) / 2, (first[1:].mean() + second[1:].mean()) / 2])
    np.testing.assert_allclose(probs["probability_ratio"], expected / expected.sum())


def test_the_templates_text_after_a_label_has_no_logit():
    # "angry." and "sad.": of (1, 4, 9) and (2, 3, 4, 9) the full stop is 4 and the end is 9, which are not kept.
    table = logits_table([[[20, 19, 17]]], form_tokens=((1, 4, 9), (2, 3, 4, 9)))
    own = pa.array([[1, 2]])
    table = table.set_column(table.column_names.index("form_own_tokens"), "form_own_tokens", own)
    probs = averaged_logits(table, LABELS, AVERAGED_LOGITS["raw_logit_ratio"]).probs[0]
    np.testing.assert_allclose(probs, np.array([20, 18]) / 38)


def test_published_example_of_ratio_against_softmax():
    """Logits 20/18/17/15 give 0.29/0.26/0.24/0.21 as a ratio and 0.84/0.11/0.04/0.01 as a softmax."""
    labels = ("a", "b", "c", "d")
    table = pa.table(
        {
            "form_labels": [list(labels)],
            "form_tokens": [[[i, 9] for i in range(4)]],
            "form_own_tokens": [[1] * 4],
            "kept_tokens": [[0, 1, 2, 3]],
            "kept_logits": [[20.0, 18.0, 17.0, 15.0]],
            "log_normalizers": [[25.0]],
        }
    )
    ratio = averaged_logits(table, labels, AVERAGED_LOGITS["raw_logit_ratio"]).probs[0]
    np.testing.assert_allclose(ratio, [0.29, 0.26, 0.24, 0.21], atol=0.005)
    soft = averaged_logits(table, labels, AVERAGED_LOGITS["softmax_of_mean"]).probs[0]
    np.testing.assert_allclose(soft, [0.84, 0.11, 0.04, 0.01], atol=0.005)


def test_a_ratio_of_values_that_are_not_positive_is_undefined():
    table = logits_table([[[20, 19, 17]], [[20, -19, 17]]])
    result = averaged_logits(table, LABELS, AVERAGED_LOGITS["raw_logit_ratio"])
    assert result.status == ("ok", "undefined")
    assert np.isnan(result.log_probs[1]).all()


def test_first_tokens_that_labels_share_are_refused():
    table = logits_table([[[20, 19, 17]]], form_tokens=((2, 1, 9), (2, 3, 9)))
    with pytest.raises(InputError, match="share their first token"):
        averaged_logits(table, LABELS, AVERAGED_LOGITS["answer_softmax"])


def test_unknown_variants_are_refused():
    with pytest.raises(InputError, match=r"'last' is not one of all, answer .*positions"):
        AveragedLogitsVariant(positions="last")
    with pytest.raises(InputError, match="softmax of probabilities"):
        AveragedLogitsVariant(values="probability", shares="softmax")
