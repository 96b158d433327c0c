"""Whether predicted probabilities mean what they say: likelihood of the votes and calibration errors.

``pred`` and ``target`` are probabilities ``[utterances, labels]``; every result is a float64 scalar over all utterances
unless stated. All raise InputError where :func:`~emoprobe.metrics.functional.checks.check_pair` does.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import numpy as np

from emoprobe.errors import InputError
from emoprobe.metrics.functional.arrays import Values, as_numpy, library, one_hot, xlogy
from emoprobe.metrics.functional.checks import Array, check_pair
from emoprobe.metrics.functional.classification import hits
from emoprobe.metrics.functional.definition import Sum, Terms, number_of, of_sums, ratio_of_sums
from emoprobe.metrics.functional.ties import TIE_TOLERANCE


@ratio_of_sums(
    "negative log-likelihood per vote, natural logarithm",
    short="vote NLL",
    unit="nats",
    upper=math.inf,
    needs_votes=True,
    is_differentiable=True,
)
def vote_nll(pred: Values, target: Values, votes: Values | None) -> Terms:
    """Mean negative log-likelihood of a vote, in nats; a proper score (Wu et al., 2402.12862).

    ``sum_i sum_k n_ik (-ln p_ik) / sum_i sum_k n_ik`` with n the vote counts, so that every vote has the same weight.
    Without counts n is the target, and every utterance has the same weight. Infinite if a label with votes has
    probability 0. Its ``terms`` are the negative log-likelihood of all votes of an utterance, and how many they are.

    >>> import numpy as np
    >>> round(float(vote_nll(np.array([[0.5, 0.5]]), np.array([[0.75, 0.25]]), np.array([[3, 1]]))), 3)
    0.693
    """
    counts = target if votes is None else votes
    return Terms(total=-xlogy(counts, pred).sum(-1), weight=counts.sum(-1))


NO_INTERVAL = "; no interval: noise only raises it, so that resamples miss the truth"


# -- calibration errors ------------------------------------------------------------------------------------------------


def ece(pred: Array, target: Array, *, bins: int) -> Values:
    """Expected calibration error of the top label, 0 to 1 (Guo et al. 2017; AER-LLM uses 5 bins, 2601.14620 uses 10).

    Utterances are put by their highest probability into equal bins ``(b / B, (b + 1) / B]``; the error is
    ``sum_b n_b / N |accuracy_b - mean confidence_b|``. Right means that the top label is the raters' majority label;
    ties follow :mod:`~emoprobe.metrics.functional.ties`, so N counts utterances with a majority, and the result is NaN
    if there are none. A uniform prediction has an error of 0: never read this number alone.

    Args:
        pred: Predicted probabilities, ``[utterances, labels]``.
        target: Human probabilities, ``[utterances, labels]``.
        bins: Number of bins B.

    >>> import numpy as np
    >>> round(float(ece(np.array([[0.8, 0.2], [0.8, 0.2]]), np.array([[1.0, 0.0], [0.0, 1.0]]), bins=5)), 3)
    0.3
    """
    return _error_of_top(*(part.total() for part in _gaps_of_top(*check_pair(pred, target), bins=bins)))


def classwise_ece(pred: Array, target: Array, *, bins: int = 10) -> Values:
    """Expected calibration error of every label's probability against its share of the votes, 0 to 1.

    ``sum_k sum_b n_kb / (N K) |mean prediction_kb - mean human share_kb|``: for each label, utterances are put into
    equal bins by the predicted probability of that label, and mean prediction and mean human share are compared bin by
    bin. The soft-target form of the classwise error of Kull et al. 2019; all utterances count, no majority is needed.

    Args:
        pred: Predicted probabilities, ``[utterances, labels]``.
        target: Human probabilities, ``[utterances, labels]``.
        bins: Number of bins B.

    >>> import numpy as np
    >>> round(float(classwise_ece(np.array([[0.8, 0.2], [0.8, 0.2]]), np.array([[1.0, 0.0], [0.5, 0.5]]))), 3)
    0.05
    """
    pred, target = check_pair(pred, target)
    return _error_of_labels(len(pred), *(part.total() for part in _gaps_of_labels(pred, target, bins=bins)))


def _gaps_of_top(pred: Values, target: Values, *, bins: int) -> tuple[Sum, Sum]:
    """Right minus confidence by bin of the confidence, and how many utterances have a majority label."""
    right, has_majority = hits(pred, target)
    confidence, unique = library(pred).amax(pred, axis=-1), has_majority > 0
    return Sum("ub,u->b", (in_bins(confidence, bins), right - confidence), where=unique), number_of(unique)


def _error_of_top(gap: Values, kept: Values) -> Values:
    return abs(gap).sum(-1) / kept


def _gaps_of_labels(pred: Values, target: Values, *, bins: int = 10) -> tuple[Sum]:
    """Prediction minus human share by label and bin of the prediction."""
    return (Sum("ukb,uk->kb", (in_bins(pred, bins), pred - target)),)


def _error_of_labels(number: Values, gap: Values) -> Values:
    return abs(gap).sum((-2, -1)) / (number * gap.shape[-2])


@of_sums(
    partial(_gaps_of_top, bins=5),
    "calibration error of the top label, 5 equal bins" + NO_INTERVAL,
    noise_raises=True,
    suits="categories",
)
def ece_5(number: Values, gap: Values, kept: Values) -> Values:
    """`ece` with 5 bins."""
    return _error_of_top(gap, kept)


@of_sums(
    partial(_gaps_of_top, bins=10),
    "calibration error of the top label, 10 equal bins" + NO_INTERVAL,
    noise_raises=True,
    suits="categories",
)
def ece_10(number: Values, gap: Values, kept: Values) -> Values:
    """`ece` with 10 bins."""
    return _error_of_top(gap, kept)


of_sums(
    _gaps_of_labels,
    "calibration error of each label against its vote share, 10 equal bins, averaged over labels" + NO_INTERVAL,
    name="classwise_ece",
    noise_raises=True,
)(_error_of_labels)


# -- bins --------------------------------------------------------------------------------------------------------------


def bin_of(probabilities: Values, bins: int) -> Values:
    """Which of the bins ``(b / B, (b + 1) / B]`` a probability is in, the first one with 0; whole numbers as float64.

    Args:
        probabilities: Of any shape.
        bins: Number of bins B.

    Raises:
        InputError: The number of bins is not a whole number above zero.

    >>> import numpy as np
    >>> bin_of(np.array([0.0, 0.1, 0.1 + 0.2, 0.31, 1.0]), 10).tolist()
    [0.0, 0.0, 2.0, 3.0, 9.0]
    """
    if not isinstance(bins, int) or bins < 1:
        raise InputError(f"the number of bins is {bins!r}", field="bins", remedy="Give a whole number above zero.")
    # Answers in tenths are common, and (0.1 + 0.2) * 10 is 3.0000000000000004: an edge belongs to the bin below it.
    return (library(probabilities).ceil(probabilities * bins - TIE_TOLERANCE) - 1).clip(0, bins - 1)


def in_bins(probabilities: Values, bins: int) -> Values:
    """Membership in the bins of `bin_of`, 0 or 1; float64, one more axis of length B."""
    return one_hot(bin_of(probabilities, bins), bins)


class ReliabilityBins(NamedTuple):
    """Predicted probabilities against the raters' shares, by bin of the former.

    Args:
        counts: How many probabilities are in each bin, ``[bins]``.
        mean_probability: Their mean, NaN in an empty bin, ``[bins]``.
        mean_share: Mean of the raters' shares of the same labels, ``[bins]``.
    """

    counts: np.ndarray
    mean_probability: np.ndarray
    mean_share: np.ndarray


def reliability_bins(pred: Values, target: Values, bins: int = 10) -> ReliabilityBins:
    """What a reliability diagram shows, over all utterances and labels given.

    Args:
        pred: Predicted probabilities, of any shape.
        target: Human probabilities of the same shape.
        bins: Number of bins, as in `classwise_ece`.

    Raises:
        InputError: The number of bins is not a whole number above zero.

    >>> import numpy as np
    >>> found = reliability_bins(np.array([[0.8, 0.2], [0.6, 0.4]]), np.array([[1.0, 0.0], [0.5, 0.5]]), bins=2)
    >>> found.counts.tolist(), [round(share, 3) for share in found.mean_share.tolist()]
    ([2, 2], [0.25, 0.75])
    """
    pred, target = (as_numpy(values).ravel() for values in (pred, target))
    which = bin_of(pred, bins).astype(np.int64)
    count = np.bincount(which, minlength=bins)
    filled = np.where(count > 0, count, np.nan)
    return ReliabilityBins(count, *(np.bincount(which, values, bins) / filled for values in (pred, target)))
