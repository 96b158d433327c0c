"""All metrics of one set of predictions in one call."""

from __future__ import annotations

from collections.abc import Sequence

from emoprobe.metrics.functional.checks import Array, check_pair, check_votes
from emoprobe.metrics.functional.definition import METRICS
from emoprobe.metrics.functional.of_labels import metrics_of
from emoprobe.metrics.functional.ties import majority_of

SIZES = ("num_utterances", "num_majority")
"""What `evaluate` counts beside the metrics."""


def evaluate(
    pred: Array, target: Array, votes: Array | None = None, *, metrics: Sequence[str] | None = None
) -> dict[str, float]:
    """The metrics of a label set over all utterances, then ``num_utterances`` and ``num_majority``.

    The last is how many have a majority label.

    Nothing is smoothed or clipped, so a probability of zero can make ``kl_target_pred``, ``kl_pred_target`` and
    ``vote_nll`` infinite; undefined values (no majority label anywhere, constant entropy) are NaN.

    Args:
        pred: Predicted probabilities, ``[utterances, labels]``.
        target: Human probabilities, ``[utterances, labels]``.
        votes: Vote counts, ``[utterances, labels]``; without them every utterance weighs the same in ``vote_nll``.
        metrics: Names of the metrics, see `metrics_of`; those of categories by default.

    Returns:
        Values in the order of the names, then the two numbers of utterances.

    Raises:
        InputError: A shape, a value or a row sum is wrong.

    >>> import numpy as np
    >>> values = evaluate(np.array([[0.5, 0.5], [0.1, 0.9]]), np.array([[0.5, 0.5], [0.0, 1.0]]))
    >>> values["wa"], values["num_utterances"], values["num_majority"]
    (1.0, 2, 1)
    """
    pred, target = check_pair(pred, target)
    votes = None if votes is None else check_votes(votes, like=pred)
    chosen = [METRICS.find(name, "metrics") for name in metrics or metrics_of()]
    values = {each.name: float(each.value(pred, target, votes if each.needs_votes else None)) for each in chosen}
    return values | dict(zip(SIZES, (len(pred), int(majority_of(target).unique.sum())), strict=True))
