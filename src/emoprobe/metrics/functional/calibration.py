"""Whether predicted probabilities mean what they say: likelihood of the votes and calibration errors.

``pred`` and ``target`` are probabilities ``[utterances, labels]``; every result is a float64 scalar over all utterances
unless stated. All raise InputError where :func:`~emoprobe.metrics.functional.checks.check_pair` does.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torch.special import xlogy

from emoprobe.errors import InputError
from emoprobe.metrics.functional.checks import Array, check_pair, check_votes
from emoprobe.metrics.functional.ties import TIE_TOLERANCE, majority, predicted_labels


class VoteLosses(NamedTuple):
    """What :func:`vote_nll` sums.

    Args:
        loss: Negative log-likelihood of all votes of the utterance, nats, ``[utterances]``.
        weight: How many votes those were, ``[utterances]``; 1 where only shares are known.
    """

    loss: Tensor
    weight: Tensor


def vote_losses(pred: Array, target: Array, votes: Array | None = None) -> VoteLosses:
    """Negative log-likelihood of each utterance's votes, and how many votes there were.

    Args:
        pred: Predicted probabilities, ``[utterances, labels]``.
        target: Human probabilities, used as votes of total weight one if there are no counts, ``[utterances, labels]``.
        votes: Vote counts, ``[utterances, labels]``.
    """
    pred, target = check_pair(pred, target)
    counts = target if votes is None else check_votes(votes, like=pred)
    return VoteLosses(loss=-xlogy(counts, pred).sum(dim=-1), weight=counts.sum(dim=-1))


def vote_nll(pred: Array, target: Array, votes: Array | None = None) -> Tensor:
    """Mean negative log-likelihood of a vote, in nats; a proper score (Wu et al., 2402.12862).

    ``sum_i sum_k n_ik (-ln p_ik) / sum_i sum_k n_ik`` with n the vote counts, so that every vote has the same weight.
    Without counts n is the target, and every utterance has the same weight. Infinite if a label with votes has
    probability 0.

    Args:
        pred: Predicted probabilities, ``[utterances, labels]``.
        target: Human probabilities, ``[utterances, labels]``.
        votes: Vote counts, ``[utterances, labels]``.
    """
    loss, weight = vote_losses(pred, target, votes)
    return loss.sum() / weight.sum()


def ece(pred: Array, target: Array, *, bins: int) -> Tensor:
    """Expected calibration error of the top label, 0 to 1 (Guo et al. 2017; AER-LLM uses 5 bins, 2601.14620 uses 10).

    Utterances are put by their highest probability into equal bins ``(b / B, (b + 1) / B]``; the error is
    ``sum_b n_b / N |accuracy_b - mean confidence_b|``. Right means that the top label is the raters' majority label;
    ties follow :mod:`~emoprobe.metrics.functional.ties`, so N counts utterances with a majority, and the result is NaN
    if there are none. A uniform prediction has an error of 0: never read this number alone.

    Args:
        pred: Predicted probabilities, ``[utterances, labels]``.
        target: Human probabilities, ``[utterances, labels]``.
        bins: Number of bins B.
    """
    pred, target = check_pair(pred, target)
    label, unique = majority(target)
    right = predicted_labels(pred)[unique].gather(1, label[unique, None]).squeeze(1)
    confidence = pred[unique].amax(dim=-1)
    gap = in_bins(confidence, bins).T @ (right - confidence)
    return gap.abs().sum() / unique.sum()


def classwise_ece(pred: Array, target: Array, *, bins: int = 10) -> Tensor:
    """Expected calibration error of every label's probability against its share of the votes, 0 to 1.

    ``sum_k sum_b n_kb / (N K) |mean prediction_kb - mean human share_kb|``: for each label, utterances are put into
    equal bins by the predicted probability of that label, and mean prediction and mean human share are compared bin by
    bin. The soft-target form of the classwise error of Kull et al. 2019; all utterances count, no majority is needed.

    Args:
        pred: Predicted probabilities, ``[utterances, labels]``.
        target: Human probabilities, ``[utterances, labels]``.
        bins: Number of bins B.
    """
    pred, target = check_pair(pred, target)
    gap = torch.einsum("ukb,uk->kb", in_bins(pred, bins), pred - target)
    return gap.abs().sum() / pred.numel()


def in_bins(probabilities: Tensor, bins: int) -> Tensor:
    """Membership in the bins ``(b / B, (b + 1) / B]``, the first one with 0; float64, one more axis of length B."""
    if not isinstance(bins, int) or bins < 1:
        raise InputError(f"the number of bins is {bins!r}", field="bins", remedy="Give a whole number above zero.")
    # Answers in tenths are common, and (0.1 + 0.2) * 10 is 3.0000000000000004: an edge belongs to the bin below it.
    index = (probabilities.detach() * bins - TIE_TOLERANCE).ceil().long() - 1
    return one_hot(index.clamp(0, bins - 1), bins).to(probabilities)
