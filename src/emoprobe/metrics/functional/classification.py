"""Hard-label scores: the top predicted label against the raters' majority label.

``pred`` and ``target`` are probabilities ``[utterances, labels]``. Only utterances with a majority label count, and
tied predictions count in parts (:mod:`~emoprobe.metrics.functional.ties`); without any such utterance the result is
NaN. Labels that are no utterance's majority are left out of the averages, whether predicted or not, so that the set of
labels never depends on the prediction. All raise InputError where
:func:`~emoprobe.metrics.functional.checks.check_pair` does.
"""

from __future__ import annotations

from emoprobe.metrics.functional.arrays import Values, as_numbers, library, mean_where, one_hot, sum_where
from emoprobe.metrics.functional.checks import Array, check_pair
from emoprobe.metrics.functional.definition import Sum, Terms, of_sums
from emoprobe.metrics.functional.ties import majority_of, predicted_labels_of


def confusion_matrix(pred: Array, target: Array) -> Values:
    """Utterances by majority label (rows) and predicted label (columns), float64 ``[labels, labels]``.

    >>> import numpy as np
    >>> confusion_matrix(np.array([[0.5, 0.5], [0.9, 0.1]]), np.array([[1.0, 0.0], [0.2, 0.8]])).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    (confusion,) = _confusion(*check_pair(pred, target))
    return confusion.total()


def hits(pred: Values, target: Values) -> Terms:
    """With which weight each utterance's majority label is predicted, and whether it has one."""
    label, unique = majority_of(target)
    right = (one_hot(label, pred.shape[1]) * predicted_labels_of(pred)).sum(-1)
    return Terms(right * unique, as_numbers(unique))


def _confusion(pred: Values, target: Values) -> tuple[Sum]:
    label, unique = majority_of(target)
    return (Sum("ua,ub->ab", (one_hot(label, pred.shape[1]), predicted_labels_of(pred)), where=unique),)


@of_sums(
    _confusion,
    "accuracy of the top label against the majority label",
    short="WA",
    higher_is_better=True,
    ratio=hits,
    suits="categories",
)
def wa(number: Values, confusion: Values) -> Values:
    """Weighted accuracy, 0 to 1: the share of utterances whose top label is the majority label.

    >>> import numpy as np
    >>> float(wa(np.array([[0.5, 0.5], [0.9, 0.1]]), np.array([[1.0, 0.0], [0.8, 0.2]])))
    0.75
    """
    # The order of the additions is that of published numbers, to the last bit.
    total = confusion.sum() if confusion.ndim == 2 else _support(confusion).sum(-1)
    return _diagonal(confusion).sum(-1) / total


@of_sums(
    _confusion,
    "recall averaged over the majority labels that occur",
    short="UAR",
    higher_is_better=True,
    suits="categories",
)
def uar(number: Values, confusion: Values) -> Values:
    """Unweighted average recall, 0 to 1: recall averaged over the labels that are some utterance's majority label.

    >>> import numpy as np
    >>> float(uar(np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1]]), np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])))
    0.5
    """
    support = _support(confusion)
    return mean_where(_diagonal(confusion) / support, support > 0)


@of_sums(_confusion, "F1 averaged over the majority labels that occur", higher_is_better=True, suits="categories")
def macro_f1(number: Values, confusion: Values) -> Values:
    """F1 averaged over the labels that are some utterance's majority label, 0 to 1.

    ``F1_k = 2 C_kk / (sum_j C_kj + sum_j C_jk)`` with C the :func:`confusion_matrix` of all utterances.

    >>> import numpy as np
    >>> float(macro_f1(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[1.0, 0.0], [1.0, 0.0]])))
    0.6666666666666666
    """
    return mean_where(_f1(confusion), _support(confusion) > 0)


@of_sums(
    _confusion,
    "F1 averaged over the majority labels, weighted by their utterances",
    higher_is_better=True,
    suits="categories",
)
def weighted_f1(number: Values, confusion: Values) -> Values:
    """F1 of each label (see :func:`macro_f1`) averaged with the number of utterances of that majority label, 0 to 1.

    >>> import numpy as np
    >>> float(weighted_f1(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[1.0, 0.0], [0.0, 1.0]])))
    1.0
    """
    support = _support(confusion)
    return sum_where(_f1(confusion) * support, support > 0) / sum_where(support, support > 0)


def _diagonal(confusion: Values) -> Values:
    return library(confusion).diagonal(confusion, 0, -2, -1)


def _support(confusion: Values) -> Values:
    """Number of utterances of each majority label, ``[..., labels]``."""
    return confusion.sum(-1)


def _f1(confusion: Values) -> Values:
    return 2 * _diagonal(confusion) / (_support(confusion) + confusion.sum(-2))
