"""The table of all metrics, in the order of every result table, and one call that computes them all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from torch import Tensor

from emoprobe.metrics.functional import agreement, calibration, classification, divergences
from emoprobe.metrics.functional.checks import Array, check_pair, check_votes
from emoprobe.metrics.functional.ties import majority


@dataclass(frozen=True)
class MetricDefinition:
    """What one must know to read a number of this name.

    Args:
        name: Name in every table.
        function: ``function(pred, target)``, or ``function(pred, target, votes)`` if ``needs_votes``; a float64 scalar.
        higher_is_better: Direction.
        unit: ``nats``, ``bits`` or ``1`` for a plain number.
        definition: One line for the reader of a table.
        lower: Lowest possible value; ``-inf`` if there is none.
        upper: Highest possible value; ``inf`` if there is none.
        needs_votes: Whether vote counts change the value.
        per_utterance: Whether it is a mean over utterances; ``function`` then takes ``reduction="none"``.
        is_differentiable: Whether it has a useful gradient for predictions without zeros.
    """

    name: str
    function: Callable[..., Tensor]
    higher_is_better: bool
    unit: str
    definition: str
    lower: float
    upper: float
    needs_votes: bool = False
    per_utterance: bool = False
    is_differentiable: bool = False

    def __call__(self, pred: Array, target: Array, votes: Array | None = None) -> Tensor:
        """The value over all utterances, a float64 scalar.

        Args:
            pred: Predicted probabilities, ``[utterances, labels]``.
            target: Human probabilities, ``[utterances, labels]``.
            votes: Vote counts, ``[utterances, labels]``; used by the metrics that need them.

        Raises:
            InputError: A shape, a value or a row sum is wrong.
        """
        return self.function(pred, target, votes) if self.needs_votes else self.function(pred, target)


def _mean(
    function: Callable[..., Tensor], definition: str, *, higher: bool = False, unit: str = "1", upper: float = 1.0
) -> MetricDefinition:
    """A mean over utterances, never below 0."""
    return MetricDefinition(
        name=function.__name__,
        function=function,
        higher_is_better=higher,
        unit=unit,
        definition=definition,
        lower=0.0,
        upper=upper,
        per_utterance=True,
        is_differentiable=True,
    )


def _hard(function: Callable[..., Tensor], definition: str) -> MetricDefinition:
    """A score of top labels, 0 to 1, higher is better."""
    return MetricDefinition(function.__name__, function, True, "1", definition, 0.0, 1.0)


def _ece(name: str, function: Callable[..., Tensor], definition: str) -> MetricDefinition:
    """A calibration error, 0 to 1, lower is better."""
    return MetricDefinition(name, function, False, "1", definition, 0.0, 1.0)


_DEFINITIONS = (
    _mean(divergences.kl_target_pred, "KL(target || prediction), natural logarithm", unit="nats", upper=math.inf),
    _mean(divergences.kl_pred_target, "KL(prediction || target), natural logarithm", unit="nats", upper=math.inf),
    _mean(divergences.js_divergence, "Jensen-Shannon divergence, base 2, no root", unit="bits"),
    _mean(divergences.js_distance, "mean over utterances of the root of the base-2 Jensen-Shannon divergence"),
    _mean(agreement.bhattacharyya, "Bhattacharyya coefficient, sum over labels of sqrt(p t)", higher=True),
    _mean(agreement.r2_within_clip, "squared Pearson correlation over the labels of one utterance", higher=True),
    MetricDefinition(
        "r2_per_class",
        agreement.r2_per_class,
        higher_is_better=True,
        unit="1",
        definition="coefficient of determination of each label over utterances, averaged over labels that vary",
        lower=-math.inf,
        upper=1.0,
        is_differentiable=True,
    ),
    _mean(divergences.total_variation, "total variation distance, half the sum over labels of |p - t|"),
    _mean(agreement.cosine, "cosine similarity of the two probability vectors", higher=True),
    _mean(agreement.brier, "squared difference averaged over labels"),
    MetricDefinition(
        "vote_nll",
        calibration.vote_nll,
        higher_is_better=False,
        unit="nats",
        definition="negative log-likelihood per vote, natural logarithm",
        lower=0.0,
        upper=math.inf,
        needs_votes=True,
        is_differentiable=True,
    ),
    _ece("ece_5", partial(calibration.ece, bins=5), "calibration error of the top label, 5 equal bins"),
    _ece("ece_10", partial(calibration.ece, bins=10), "calibration error of the top label, 10 equal bins"),
    _ece(
        "classwise_ece",
        calibration.classwise_ece,
        "calibration error of each label against its vote share, 10 equal bins, averaged over labels",
    ),
    _hard(classification.wa, "accuracy of the top label against the majority label"),
    _hard(classification.uar, "recall averaged over the majority labels that occur"),
    _hard(classification.macro_f1, "F1 averaged over the majority labels that occur"),
    _hard(classification.weighted_f1, "F1 averaged over the majority labels, weighted by their utterances"),
    MetricDefinition(
        "entropy_spearman",
        agreement.entropy_spearman,
        higher_is_better=True,
        unit="1",
        definition="Spearman correlation of predicted and human entropy over utterances",
        lower=-1.0,
        upper=1.0,
    ),
)

METRICS: Mapping[str, MetricDefinition] = MappingProxyType({metric.name: metric for metric in _DEFINITIONS})
"""Every metric by name, in the order of every table."""


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
    """
    pred, target = check_pair(pred, target)
    votes = None if votes is None else check_votes(votes, like=pred)
    values: dict[str, float] = {name: float(metric(pred, target, votes)) for name, metric in METRICS.items()}
    return values | {"num_utterances": len(pred), "num_majority": int(majority(target).unique.sum())}
