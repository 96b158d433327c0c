"""Label likelihoods to distributions, against worked examples and formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from stored import likelihood_table

from emoprobe.errors import InputError
from emoprobe.readout.label_likelihood import LabelLikelihoodOptions, label_likelihood

LABELS = ("angry", "sad")


def test_label_likelihood_adds_the_probabilities_of_a_labels_forms():
    row = [np.log([0.2, 1.0]), np.log([0.1, 0.5]), np.log([0.1, 0.5, 1.0])]
    probs = label_likelihood(likelihood_table([row]), LABELS).probs[0]
    np.testing.assert_allclose(probs, [0.2 / 0.3, 0.1 / 0.3])


def test_normalizations_by_hand():
    table = likelihood_table([[[-1.0, -1.0], [-2.0, -4.0]]], ((1, 9), (2, 9)), ("angry", "sad"))
    np.testing.assert_allclose(label_likelihood(table, LABELS, "mean_token").probs[0], softmax([-1.0, -3.0]))
    np.testing.assert_allclose(label_likelihood(table, LABELS, "without_end").probs[0], softmax([-1.0, -2.0]))
    with pytest.raises(InputError, match=r"'bytes' is not one of sum, .*analysis\.label_likelihood"):
        LabelLikelihoodOptions(("sum", "bytes"))


def test_leaving_out_the_end_is_refused_where_only_the_end_tells_forms_apart():
    table = likelihood_table([[[-1.0, -1.0], [-2.0, -1.0], [-2.0, -1.0, -1.0]]])
    with pytest.raises(InputError, match="'sad' begins 'sadness'"):
        label_likelihood(table, LABELS, "without_end")
