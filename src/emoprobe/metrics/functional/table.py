"""All metrics of one set of predictions in one call."""

from __future__ import annotations

from emoprobe.metrics.functional.checks import Array, check_pair, check_votes
from emoprobe.metrics.functional.definition import METRICS
from emoprobe.metrics.functional.ties import majority_of


def evaluate(pred: Array, target: Array, votes: Array | None = None) -> dict[str, float]:
    """All metrics over all utterances, then ``num_utterances`` and ``num_majority`` (those with a majority label).

    Nothing is smoothed or clipped, so a probability of zero can make ``kl_target_pred``, ``kl_pred_target`` and
    ``vote_nll`` infinite; undefined values (no majority label anywhere, constant entropy) are NaN.

    Args:
        pred: Predicted probabilities, ``[utterances, labels]``.
        target: Human probabilities, ``[utterances, labels]``.
        votes: Vote counts, ``[utterances, labels]``; without them every utterance weighs the same in ``vote_nll``.

    Returns:
        Values in the order of :data:`METRICS`, then the two numbers of utterances.

    Raises:
        InputError: A shape, a value or a row sum is wrong.

    >>> import numpy as np
    >>> values = evaluate(np.array([[0.5, 0.5], [0.1, 0.9]]), np.array([[0.5, 0.5], [0.0, 1.0]]))
    >>> values["wa"], values["num_utterances"], values["num_majority"]
    (1.0, 2, 1)
    """
    pred, target = check_pair(pred, target)
    votes = None if votes is None else check_votes(votes, like=pred)
    values: dict[str, float] = {name: float(metric(pred, target, votes)) for name, metric in METRICS.items()}
    return values | {"num_utterances": len(pred), "num_majority": int(majority_of(target).unique.sum())}
