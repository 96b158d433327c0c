"""Predictions that need no model: the floors that every result table carries, and the perfect hard classifier."""

from __future__ import annotations

import numpy as np

from emoprobe.errors import InputError
from emoprobe.metrics.functional.arrays import Values, as_numpy, library, one_hot
from emoprobe.metrics.functional.checks import Array, check_distributions, check_votes
from emoprobe.metrics.functional.ties import majority_of

FLOORS = ("uniform", "prior", "majority", "one_hot_of_top_vote")
"""Names of the rows, in the order of every table; the last is a reference that knows the votes, not a floor."""
CONSTANT_FLOORS = FLOORS[:-1]
"""The floors, each the same for every utterance."""


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
    return as_numpy(_shares(check_votes(votes)).mean(0))


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
    constant = shares.mean(0)[None] if prior is None else _check_prior(prior, labels=target.shape[1])
    predictions: tuple[np.ndarray, ...] = (
        np.array(1 / target.shape[1]),
        as_numpy(constant),
        _one_hot_of_first_top(constant),
        _one_hot_of_first_top(shares),
    )
    shape = tuple(target.shape)
    return {
        name: np.broadcast_to(prediction, shape).copy() for name, prediction in zip(FLOORS, predictions, strict=True)
    }


def _shares(votes: Values) -> Values:
    return votes / votes.sum(-1)[..., None]


def _one_hot_of_first_top(shares: Values) -> np.ndarray:
    return as_numpy(one_hot(majority_of(shares).label, shares.shape[1]))


def _check_prior(prior: Array, *, labels: int) -> Values:
    """The prior as float64 ``[1, labels]``."""
    row = (np.asarray(prior) if library(prior) is np else prior).reshape(1, -1)
    if row.shape[1] != labels:
        raise InputError(
            f"the prior has {row.shape[1]} labels, the target {labels}",
            field="prior",
            remedy="Take the prior from the same label set.",
        )
    return check_distributions(row, field="prior")
