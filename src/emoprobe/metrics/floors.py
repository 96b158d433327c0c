"""Predictions that need no model: the floors that every result table carries, and the perfect hard classifier."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from emoprobe.errors import InputError
from emoprobe.metrics.functional.checks import Array, check_distributions, check_votes
from emoprobe.metrics.functional.ties import majority_of

FLOORS = ("uniform", "prior", "majority", "one_hot_of_top_vote")
"""Names of the rows, in the order of every table; the last is a reference that knows the votes, not a floor."""


def vote_prior(votes: Array) -> np.ndarray:
    """Mean over utterances of the vote shares, float64 ``[labels]``.

    Every utterance has the same weight, however many raters it had: of all constant predictions this one has the lowest
    mean ``kl_target_pred`` and ``brier``, so it is the highest floor. (Total votes per label over all votes would be
    best for ``vote_nll`` alone; on CREMA-D the two differ by at most .002 and give the same scores to three decimals.)

    Args:
        votes: Vote counts or shares, ``[utterances, labels]``.

    Raises:
        InputError: The votes are no matrix, are negative, not finite, or an utterance has none.
    """
    return _shares(check_votes(votes)).mean(dim=0).cpu().numpy()


def floors(target: Array, votes: Array | None = None, *, prior: Array | None = None) -> dict[str, np.ndarray]:
    """Predictions of the model-free baselines for the same utterances.

    * ``uniform``: 1/K for every label.
    * ``prior``: the same vote prior for every utterance: the one given (of the training split), else that of the
      evaluated utterances, which has seen the answers and is to be named so.
    * ``majority``: all probability on the prior's top label.
    * ``one_hot_of_top_vote``: all probability on the utterance's own top vote, a perfect hard classifier.

    Where labels tie for the top, the first in label order is taken. The scores of ``one_hot_of_top_vote`` do not depend
    on which of the tied labels that is: the distances see equal shares, the hard-label scores leave the utterance out.

    Args:
        target: Human probabilities, ``[utterances, labels]``.
        votes: Vote counts, ``[utterances, labels]``; the target is used without them.
        prior: Vote prior, ``[labels]``, see :func:`vote_prior`.

    Returns:
        For each of ``FLOORS``, float64 ``[utterances, labels]``.

    Raises:
        InputError: The target, the votes or the prior are not what they should be, or their sizes differ.
    """
    target = check_distributions(target, field="target")
    shares = target if votes is None else _shares(check_votes(votes, like=target))
    constant = shares.mean(dim=0, keepdim=True) if prior is None else _check_prior(prior, labels=target.shape[1])
    predictions = (
        torch.full_like(target, 1 / target.shape[1]),
        constant.to(target).expand_as(target),
        _one_hot_of_first_top(constant).to(target).expand_as(target),
        _one_hot_of_first_top(shares),
    )
    return {
        name: prediction.detach().cpu().numpy().copy() for name, prediction in zip(FLOORS, predictions, strict=True)
    }


def _shares(votes: Tensor) -> Tensor:
    return votes / votes.sum(dim=-1, keepdim=True)


def _one_hot_of_first_top(shares: Tensor) -> Tensor:
    first = majority_of(shares).label
    return torch.nn.functional.one_hot(first, shares.shape[1]).to(shares)


def _check_prior(prior: Array, *, labels: int) -> Tensor:
    """The prior as float64 ``[1, labels]``."""
    row = (prior if isinstance(prior, Tensor) else np.asarray(prior)).reshape(1, -1)
    if row.shape[1] != labels:
        raise InputError(
            f"the prior has {row.shape[1]} labels, the target {labels}",
            field="prior",
            remedy="Take the prior from the same label set.",
        )
    return check_distributions(row, field="prior")
