"""Hard-label scores: the top predicted label against the raters' majority label.

``pred`` and ``target`` are probabilities ``[utterances, labels]``. Only utterances with a majority label count, and
tied predictions count in parts (:mod:`~emoprobe.metrics.functional.ties`); without any such utterance the result is
NaN. Labels that are no utterance's majority are left out of the averages, whether predicted or not, so that the set of
labels never depends on the prediction. All raise InputError where
:func:`~emoprobe.metrics.functional.checks.check_pair` does.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import one_hot

from emoprobe.metrics.functional.checks import Array, check_pair
from emoprobe.metrics.functional.ties import majority, predicted_labels


def confusion_matrix(pred: Array, target: Array) -> Tensor:
    """Utterances by majority label (rows) and predicted label (columns), float64 ``[labels, labels]``."""
    pred, target = check_pair(pred, target)
    label, unique = majority(target)
    truth = one_hot(label[unique], pred.shape[1]).to(pred)
    return truth.T @ predicted_labels(pred)[unique]


def wa(pred: Array, target: Array) -> Tensor:
    """Weighted accuracy, 0 to 1: the share of utterances whose top label is the majority label."""
    confusion = confusion_matrix(pred, target)
    return confusion.diagonal().sum() / confusion.sum()


def uar(pred: Array, target: Array) -> Tensor:
    """Unweighted average recall, 0 to 1: recall averaged over the labels that are some utterance's majority label."""
    confusion = confusion_matrix(pred, target)
    support = confusion.sum(dim=1)
    return (confusion.diagonal()[support > 0] / support[support > 0]).mean()


def macro_f1(pred: Array, target: Array) -> Tensor:
    """F1 averaged over the labels that are some utterance's majority label, 0 to 1.

    ``F1_k = 2 C_kk / (sum_j C_kj + sum_j C_jk)`` with C the :func:`confusion_matrix` of all utterances.
    """
    f1, _ = _f1_and_support(pred, target)
    return f1.mean()


def weighted_f1(pred: Array, target: Array) -> Tensor:
    """F1 of each label (see :func:`macro_f1`) averaged with the number of utterances of that majority label, 0 to 1."""
    f1, support = _f1_and_support(pred, target)
    return (f1 * support).sum() / support.sum()


def _f1_and_support(pred: Array, target: Array) -> tuple[Tensor, Tensor]:
    """F1 and number of utterances of the labels that occur, ``[labels that occur]`` each."""
    confusion = confusion_matrix(pred, target)
    support, predicted = confusion.sum(dim=1), confusion.sum(dim=0)
    occurs = support > 0
    return (2 * confusion.diagonal() / (support + predicted))[occurs], support[occurs]
