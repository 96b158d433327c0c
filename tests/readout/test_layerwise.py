"""Layers to distributions: each is a label likelihood of its own."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from scipy.special import logsumexp, softmax
from stored import likelihood_table

from emoprobe.readout.label_likelihood import label_likelihood
from emoprobe.readout.layerwise import layer_scores, layerwise

LABELS = ("angry", "sad")


def test_layers_are_label_likelihoods_of_their_own():
    # Three layers of three forms, row by row; the last layer is what label_likelihood read.
    sums = np.random.default_rng(0).uniform(-60, -1, (4, 3, 3))
    last = likelihood_table([[[value, 0.0] for value in row[-1]] for row in sums])
    column = pa.chunked_array([[row.ravel().tolist() for row in part] for part in (sums[:3], sums[3:])])
    table = last.append_column("layer_form_logprobs", column)
    np.testing.assert_array_equal(layer_scores(table), sums)
    for layer in range(3):
        result = layerwise(table, LABELS, layer)
        expected = softmax([[angry, logsumexp([sad, sadness])] for angry, sad, sadness in sums[:, layer]], axis=1)
        np.testing.assert_allclose(result.probs, expected)
        assert result.status == ("ok",) * 4
    np.testing.assert_allclose(layerwise(table, LABELS, 2).log_probs, label_likelihood(last, LABELS).log_probs)
    np.testing.assert_array_equal(layer_scores(table.take([2, 0])), sums[[2, 0]])
