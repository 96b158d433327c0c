"""What a metric is: registered once, and every table, interval, paired test, torchmetrics class and page has it.

A metric is written as a formula over checked distributions ``pred`` and ``target``, float64 ``[utterances, labels]``,
in numpy's vocabulary (`emoprobe.metrics.functional.arrays`). There are two kinds.

`mean_over_clips`: a value per utterance, which is averaged::

    @mean_over_clips("Hellinger distance")
    def hellinger(pred, target):
        return (1 - ((pred * target) ** 0.5).sum(-1)).clip(0) ** 0.5

`of_sums`: a function of sums over utterances, such as a confusion matrix. What is summed is a tuple of `Sum`; the
decorated function gets the number of utterances and the sums, and gives the value. The sums may have leading axes, for
many weightings of the utterances at once.

Either makes a `MetricDefinition`, which is called like the function it stands for: ``hellinger(pred, target)``. What
an installed package registers under ``emoprobe.parts`` (see `emoprobe.registry`) is a metric like emoprobe's own.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np

from emoprobe.errors import InputError
from emoprobe.metrics.functional.arrays import Values, as_numbers, as_numpy, library
from emoprobe.metrics.functional.checks import Array, Reduction, check_pair, check_votes
from emoprobe.registry import Registry

ORDER = (
    *("kl_target_pred", "kl_pred_target", "js_divergence", "js_distance", "bhattacharyya", "r2_within_clip"),
    *("r2_per_class", "total_variation", "cosine", "brier", "vote_nll", "ece_5", "ece_10", "classwise_ece"),
    *("wa", "uar", "macro_f1", "weighted_f1", "entropy_spearman"),
    *("ccc", "pearson", "rmse", "emd"),
)
"""The order of every table; metrics that are not in it follow by name."""
Suits = Literal["any", "categories", "points"]


class Terms(NamedTuple):
    """A metric as a ratio of two sums over utterances.

    Args:
        total: What is summed above the line, ``[utterances]``.
        weight: What is summed below it, ``[utterances]``.
    """

    total: Values
    weight: Values


class Sum(NamedTuple):
    """A sum over utterances of products.

    Args:
        spec: As in ``einsum``, the letter u running over utterances: ``ua,ub->ab``.
        factors: Float64 arrays, one per term of the left side.
        where: Which utterances take part, boolean ``[utterances]``; all of them where it is None.
        finite: Whether no term is infinite.
    """

    spec: str
    factors: tuple[Values, ...]
    where: Values | None = None
    finite: bool = True

    def total(self) -> Values:
        """The sum."""
        factors = self.factors if self.where is None else [factor[self.where] for factor in self.factors]
        return library(factors[0]).einsum(self.spec, *factors)

    def terms(self) -> np.ndarray:
        """What every utterance adds to it, ``[utterances, ...]``."""
        terms = np.einsum(self.spec.replace("->", "->u"), *map(as_numpy, self.factors))
        if self.where is None:
            return terms
        return terms * as_numpy(self.where).reshape(-1, *[1] * (terms.ndim - 1))


BLOCKS = ("means", "ratios", "sums", "moments")
"""The order in which sums stand in one matrix; published intervals have it, to the last bit."""


class Part(NamedTuple):
    """A metric of one set of predictions, ready to be computed under many weightings of the utterances.

    Args:
        key: Metrics of one key are functions of the same sums.
        sums: Makes these sums.
        finish: ``(weights [resamples, clusters], sums of the weights [resamples], weighted sums [resamples, ...])`` to
            values ``[resamples]``.
        block: One of `BLOCKS`.
    """

    key: object
    sums: Callable[[], tuple[Sum, ...]]
    finish: Callable[..., np.ndarray]
    block: str = "sums"


@dataclass(frozen=True, kw_only=True, eq=False)
class MetricDefinition(ABC):
    """What one must know to compute a number of this name, and to read it.

    Args:
        name: Name in every table.
        definition: One line for the reader of a table.
        short: Name where there is little room; ``name`` where there is none shorter.
        unit: ``nats``, ``bits``, ``points`` of a scale, or ``1`` for a plain number.
        higher_is_better: Direction.
        lower: Lowest possible value; ``-inf`` if there is none.
        upper: Highest possible value; ``inf`` if there is none.
        needs_votes: Whether vote counts change the value.
        is_differentiable: Whether it has a useful gradient for predictions without zeros.
        noise_raises: Whether it is a calibration error, which noise biases upwards.
        suits: Which labels it is a metric of: ``points`` of a scale, for what needs their order; ``categories``, for
            what needs one right label; ``any``, for what compares distributions.
    """

    name: str
    definition: str
    short: str = ""
    unit: str = "1"
    higher_is_better: bool = False
    lower: float = 0.0
    upper: float = 1.0
    needs_votes: bool = False
    is_differentiable: bool = False
    noise_raises: bool = False
    suits: Suits = "any"

    per_utterance: ClassVar[bool] = False
    """Whether it is a mean over utterances, so that ``reduction="none"`` gives the utterances' own values."""
    has_sums: ClassVar[bool] = True
    """Whether it is a function of sums over utterances, so that it has a mean over draws of a prediction."""

    def __call__(
        self, pred: Array, target: Array, votes: Array | None = None, *, reduction: Reduction = "mean"
    ) -> Values:
        """The value over all utterances, a float64 scalar.

        Args:
            pred: Predicted probabilities, ``[utterances, labels]``.
            target: Human probabilities, ``[utterances, labels]``.
            votes: Vote counts, ``[utterances, labels]``; used by the metrics that need them.
            reduction: ``none`` for the utterances' own values, ``[utterances]``, of a mean over utterances.

        Raises:
            InputError: A shape, a value or a row sum is wrong, or the metric has no such reduction.
        """
        return self._reduced(*_checked(pred, target, votes if self.needs_votes else None), reduction)

    def _reduced(self, pred: Values, target: Values, votes: Values | None, reduction: Reduction) -> Values:
        if reduction != "mean":
            raise InputError(f"unknown reduction {reduction!r}", field="reduction", remedy="Use 'mean'.")
        return self.value(pred, target, votes)

    @abstractmethod
    def value(self, pred: Values, target: Values, votes: Values | None = None) -> Values:
        """The value of checked distributions, a float64 scalar."""

    @abstractmethod
    def part(self, pred: Values, target: Values, votes: Values | None, clusters: np.ndarray) -> Part:
        """The metric of checked distributions, ready for weights.

        Args:
            pred: Predicted probabilities.
            target: Human probabilities.
            votes: Vote counts, or None.
            clusters: Number of each utterance's cluster from 0, ``[utterances]``.
        """

    @property
    def is_ratio(self) -> bool:
        """Whether it is a ratio of two sums over utterances, so that it has `terms`."""
        return False

    def terms(self, pred: Array, target: Array, votes: Array | None = None) -> Terms:
        """The two sums that a ratio is made of, utterance by utterance.

        Raises:
            InputError: A shape, a value or a row sum is wrong, or the metric is no ratio.
        """
        raise InputError(f"{self.name} is no ratio of sums over utterances", field="metric")


@dataclass(frozen=True, kw_only=True, eq=False)
class OfSums(MetricDefinition):
    """A function of sums over utterances.

    Args:
        sums: ``(pred, target)`` to the sums; metrics of the same function share them.
        finish: ``(number of utterances, *sums)`` to the value.
        ratio: ``(pred, target)`` to `Terms`, where the metric is a ratio of sums.
    """

    sums: Callable[[Values, Values], tuple[Sum, ...]]
    finish: Callable[..., Values]
    ratio: Callable[[Values, Values], Terms] | None = None

    def value(self, pred: Values, target: Values, votes: Values | None = None) -> Values:
        return self.finish(len(pred), *(part.total() for part in self.sums(pred, target)))

    def part(self, pred: Values, target: Values, votes: Values | None, clusters: np.ndarray) -> Part:
        return Part(self.sums, lambda: self.sums(pred, target), lambda weights, *sums: self.finish(*sums))

    @property
    def is_ratio(self) -> bool:
        return self.ratio is not None

    def terms(self, pred: Array, target: Array, votes: Array | None = None) -> Terms:
        return super().terms(pred, target) if self.ratio is None else self.ratio(*check_pair(pred, target))


@dataclass(frozen=True, kw_only=True, eq=False)
class MeanOverClips(MetricDefinition):
    """A mean over utterances.

    Args:
        formula: ``(pred, target)`` to one value per utterance, ``[utterances]``.
    """

    formula: Callable[[Values, Values], Values]
    per_utterance: ClassVar[bool] = True

    @property
    def is_ratio(self) -> bool:
        return True

    def _reduced(self, pred: Values, target: Values, votes: Values | None, reduction: Reduction) -> Values:
        if reduction == "mean":
            return self.value(pred, target)
        if reduction == "none":
            return self.formula(pred, target)
        raise InputError(f"unknown reduction {reduction!r}", field="reduction", remedy="Use 'mean' or 'none'.")

    def value(self, pred: Values, target: Values, votes: Values | None = None) -> Values:
        return self.formula(pred, target).mean()

    def by_clip(self, pred: np.ndarray, target: np.ndarray) -> np.ndarray:
        """The utterances' own values, float64 ``[utterances]``; NaN where either side is no distribution.

        Args:
            pred: Predicted probabilities, ``[utterances, labels]``; a row with NaN is none.
            target: Human probabilities, likewise.

        Raises:
            InputError: The shapes differ, or a row without NaN is no distribution.
        """
        both = np.isfinite(pred).all(axis=1) & np.isfinite(target).all(axis=1)
        values = np.full(len(pred), np.nan)
        if both.any():
            values[both] = as_numpy(self(pred[both], target[both], reduction="none"))
        return values

    def part(self, pred: Values, target: Values, votes: Values | None, clusters: np.ndarray) -> Part:
        sums = (Sum("u->", (self(pred, target, reduction="none"),), finite=False),)
        return Part(self, lambda: sums, lambda weights, number, total: total / number, "means")

    def terms(self, pred: Array, target: Array, votes: Array | None = None) -> Terms:
        values = self.formula(*check_pair(pred, target))
        return Terms(values, library(values).ones_like(values))


@dataclass(frozen=True, kw_only=True, eq=False)
class RatioOfSums(MetricDefinition):
    """A sum over utterances divided by another one.

    Args:
        formula: ``(pred, target, votes)`` to `Terms`.
    """

    formula: Callable[[Values, Values, Values | None], Terms]

    @property
    def is_ratio(self) -> bool:
        return True

    def value(self, pred: Values, target: Values, votes: Values | None = None) -> Values:
        terms = self.formula(pred, target, votes)
        return terms.total.sum() / terms.weight.sum()

    def part(self, pred: Values, target: Values, votes: Values | None, clusters: np.ndarray) -> Part:
        sums = tuple(Sum("u->", (values,), finite=False) for values in self.terms(pred, target, votes))
        return Part(self, lambda: sums, lambda weights, number, total, weight: total / weight, "ratios")

    def terms(self, pred: Array, target: Array, votes: Array | None = None) -> Terms:
        return self.formula(*_checked(pred, target, votes))


class MetricTable(Registry[MetricDefinition]):
    """Metrics by name, in `ORDER`."""

    def __iter__(self) -> Iterator[str]:
        place = {name: number for number, name in enumerate(ORDER)}
        return iter(sorted(super().__iter__(), key=lambda name: (place.get(name, len(ORDER)), name)))


METRICS = MetricTable("metric", "emoprobe.metrics.functional")
"""Every metric by name, in the order of every table."""


def mean_over_clips(definition: str, **facts: Any) -> Callable[[Callable[[Values, Values], Values]], MeanOverClips]:
    """Decorator: a formula ``(pred, target) -> [utterances]`` becomes a metric of its name, the mean over utterances.

    Args:
        definition: One line for the reader of a table.
        facts: Of `MetricDefinition`.
    """

    def register(formula: Callable[[Values, Values], Values]) -> MeanOverClips:
        given = {"name": formula.__name__, "is_differentiable": True, **facts}
        return add(MeanOverClips(definition=definition, formula=formula, **given), formula)

    return register


def ratio_of_sums(definition: str, **facts: Any) -> Callable[[Callable[..., Terms]], RatioOfSums]:
    """Decorator: a formula ``(pred, target, votes) -> Terms`` becomes a metric of its name.

    Args:
        definition: One line for the reader of a table.
        facts: Of `MetricDefinition`.
    """

    def register(formula: Callable[..., Terms]) -> RatioOfSums:
        given = {"name": formula.__name__, **facts}
        return add(RatioOfSums(definition=definition, formula=formula, **given), formula)

    return register


def of_sums(
    sums: Callable[[Values, Values], tuple[Sum, ...]], definition: str, **facts: Any
) -> Callable[[Callable[..., Values]], OfSums]:
    """Decorator: a function ``(number of utterances, *sums)`` becomes a metric of its name.

    Args:
        sums: ``(pred, target)`` to what is summed.
        definition: One line for the reader of a table.
        facts: Of `MetricDefinition` and `OfSums`.
    """

    def register(finish: Callable[..., Values]) -> OfSums:
        given = {"name": finish.__name__, **facts}
        return add(OfSums(definition=definition, sums=sums, finish=finish, **given), finish)

    return register


M = TypeVar("M", bound=MetricDefinition)


def add(metric: M, function: Callable | None = None) -> M:
    """Register a metric; it takes the documentation and the examples of its function, or of its class."""
    signature = inspect.signature(MetricDefinition.__call__)
    own = {
        "__doc__": (function or type(metric)).__doc__,
        "__name__": metric.name,
        "__qualname__": metric.name,
        "__module__": (function or type(metric)).__module__,
        "__signature__": signature.replace(parameters=list(signature.parameters.values())[1:]),
    }
    vars(metric).update(own | ({"__wrapped__": function} if function else {}))
    METRICS.register(metric.name)(metric)
    return metric


def number_of(where: Values) -> Sum:
    """How many utterances take part."""
    return Sum("u->", (as_numbers(where),))


def _checked(pred: Array, target: Array, votes: Array | None) -> tuple[Values, Values, Values | None]:
    pred, target = check_pair(pred, target)
    return pred, target, None if votes is None else check_votes(votes, like=pred)
