"""The one rule for ties, used by every metric that needs a single label.

* **Ties between raters.** An utterance whose highest human share belongs to several labels has no majority label. It
  is left out of ``wa``, ``uar``, ``macro_f1``, ``weighted_f1``, ``ece_5`` and ``ece_10``, as the field does
  (MSP-Podcast, EMO-SUPERB); the number of utterances kept is reported as ``num_majority``. All other metrics use every
  utterance. "Majority" means the most votes (a plurality), not more than half of them.
* **Ties in a prediction.** A prediction that gives its highest probability to n labels predicts each with weight 1/n,
  the expected value of a fair draw. The order of the labels therefore never matters, and a uniform prediction over K
  labels has an accuracy of exactly 1/K.

Shares closer than ``TIE_TOLERANCE`` are equal.
"""

from __future__ import annotations

from typing import NamedTuple

from emoprobe.metrics.functional.arrays import Values, as_numbers, library
from emoprobe.metrics.functional.checks import Array, check_distributions

TIE_TOLERANCE = 1e-9
"""Probabilities (and entropies in bits) closer than this are equal."""


class Majority(NamedTuple):
    """The majority label of each utterance.

    Args:
        label: Index of the top label, ``[utterances]``; the first of them where raters tie.
        unique: Whether the top label is unique, so that ``label`` may be used, ``[utterances]``.
    """

    label: Values
    unique: Values


def top_labels(probabilities: Values) -> Values:
    """Which labels hold the highest probability, boolean ``[utterances, labels]``.

    Args:
        probabilities: Checked probabilities, ``[utterances, labels]``.
    """
    top = library(probabilities).amax(probabilities, axis=-1, keepdims=True)
    return probabilities >= top - TIE_TOLERANCE


def majority(target: Array) -> Majority:
    """The label that most raters chose, and whether it is the only one.

    Args:
        target: Human probabilities, ``[utterances, labels]``.

    Raises:
        InputError: The rows are not distributions.

    >>> import numpy as np
    >>> label, unique = majority(np.array([[0.2, 0.8], [0.5, 0.5]]))
    >>> label.tolist(), unique.tolist()
    ([1, 0], [True, False])
    """
    return majority_of(check_distributions(target, field="target"))


def majority_of(target: Values) -> Majority:
    """:func:`majority` of checked distributions."""
    top = top_labels(target)
    return Majority(label=as_numbers(top).argmax(-1), unique=top.sum(-1) == 1)


def predicted_labels(pred: Array) -> Values:
    """Weight with which each label is predicted, float64 ``[utterances, labels]``: 1, or 1/n for each of n tied labels.

    Args:
        pred: Predicted probabilities, ``[utterances, labels]``.

    Raises:
        InputError: The rows are not distributions.

    >>> import numpy as np
    >>> predicted_labels(np.array([[0.2, 0.6, 0.2], [0.4, 0.4, 0.2]])).tolist()
    [[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]]
    """
    return predicted_labels_of(check_distributions(pred, field="pred"))


def predicted_labels_of(pred: Values) -> Values:
    """:func:`predicted_labels` of checked distributions."""
    top = as_numbers(top_labels(pred))
    return top / top.sum(-1)[..., None]
