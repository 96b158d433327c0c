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

import torch
from torch import Tensor

from emoprobe.metrics.functional.checks import Array, check_distributions

TIE_TOLERANCE = 1e-9
"""Probabilities (and entropies in bits) closer than this are equal."""


class Majority(NamedTuple):
    """The majority label of each utterance.

    Args:
        label: Index of the top label, ``[utterances]``; the first of them where raters tie.
        unique: Whether the top label is unique, so that ``label`` may be used, ``[utterances]``.
    """

    label: Tensor
    unique: Tensor


def top_labels(probabilities: Tensor) -> Tensor:
    """Which labels hold the highest probability, boolean ``[utterances, labels]``.

    Args:
        probabilities: Checked probabilities, ``[utterances, labels]``.
    """
    return probabilities >= probabilities.amax(dim=-1, keepdim=True) - TIE_TOLERANCE


def majority(target: Array) -> Majority:
    """The label that most raters chose, and whether it is the only one.

    Args:
        target: Human probabilities, ``[utterances, labels]``.

    Raises:
        InputError: The rows are not distributions.
    """
    top = top_labels(check_distributions(target, field="target"))
    return Majority(label=top.int().argmax(dim=-1), unique=top.sum(dim=-1) == 1)


def predicted_labels(pred: Array) -> Tensor:
    """Weight with which each label is predicted, float64 ``[utterances, labels]``: 1, or 1/n for each of n tied labels.

    Args:
        pred: Predicted probabilities, ``[utterances, labels]``.

    Raises:
        InputError: The rows are not distributions.
    """
    top = top_labels(check_distributions(pred, field="pred")).to(torch.float64)
    return top / top.sum(dim=-1, keepdim=True)
