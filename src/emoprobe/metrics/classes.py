"""The metrics as torchmetrics classes: they add up batches and ranks; what they compute is the functional core's.

There is one class for every entry of `METRICS`, those of installed packages included: ``JSDivergence`` of
``js_divergence`` and so on, see `metric_class`. ``update`` takes what the function of the same name takes, ``compute``
gives that function's value over all utterances seen (a float64 scalar), whatever the batches were. Direction, bounds
and differentiability are class attributes, taken from the table. A wrong input raises InputError in ``update``;
``compute`` before any ``update`` does too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.utilities.data import dim_zero_cat

from emoprobe.errors import InputError
from emoprobe.metrics.functional import METRICS, MetricDefinition, metrics_of
from emoprobe.metrics.functional.checks import Array, check_pair
from emoprobe.metrics.functional.definition import MeanOverClips, RatioOfSums

ABBREVIATIONS = ("js", "kl", "nll", "ece", "wa", "uar", "ccc", "rmse", "emd")


class EmotionMetric(Metric):
    """Base of the classes: the contract of torchmetrics from the table."""

    definition: ClassVar[MetricDefinition]
    full_state_update = False


class RatioMetric(EmotionMetric):
    """Base of the metrics that are means over utterances or votes; keeps a sum and the sum of the weights."""

    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("weight", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, pred: Array, target: Array, votes: Array | None = None) -> None:
        """Add a batch: predicted and human probabilities and, where they matter, votes, ``[utterances, labels]``."""
        total, weight = self.definition.terms(pred, target, votes)
        self.total = self.total + total.sum()
        self.weight = self.weight + weight.sum()

    def compute(self) -> Tensor:
        """The mean over everything seen, a float64 scalar."""
        if not self.weight:
            raise _nothing_seen(self)
        return self.total / self.weight


class CorpusMetric(EmotionMetric):
    """Base of the metrics that are no mean over utterances; keeps all distributions."""

    pred: list[Tensor]
    target: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("pred", [], dist_reduce_fx="cat")
        self.add_state("target", [], dist_reduce_fx="cat")

    def update(self, pred: Array, target: Array) -> None:
        """Add a batch: predicted and human probabilities, ``[utterances, labels]``."""
        pred, target = check_pair(pred, target)
        self.pred.append(pred)
        self.target.append(target)

    def compute(self) -> Tensor:
        """The value over everything seen, a float64 scalar."""
        if not len(self.pred):
            raise _nothing_seen(self)
        return self.definition(dim_zero_cat(self.pred), dim_zero_cat(self.target))


def class_name(metric: str) -> str:
    """Name of a metric's class.

    >>> class_name("js_divergence"), class_name("r2_within_clip"), class_name("ece_5"), class_name("macro_f1")
    ('JSDivergence', 'R2WithinClip', 'ECE5', 'MacroF1')
    """
    return "".join(word.upper() if word in ABBREVIATIONS else word.capitalize() for word in metric.split("_"))


@cache
def metric_class(name: str) -> type[EmotionMetric]:
    """The class of a metric, always the same one; an attribute of this module too.

    Args:
        name: Of `METRICS`.

    Raises:
        InputError: There is no such metric.
    """
    definition = METRICS.find(name, "metric")
    base = RatioMetric if isinstance(definition, MeanOverClips | RatioOfSums) else CorpusMetric
    lower, upper = (end if math.isfinite(end) else None for end in (definition.lower, definition.upper))
    contract = {
        "definition": definition,
        "higher_is_better": definition.higher_is_better,
        "is_differentiable": definition.is_differentiable,
        "plot_lower_bound": lower,
        "plot_upper_bound": upper,
        "__doc__": f"{definition.definition[0].upper()}{definition.definition[1:]}.",
        "__module__": __name__,
    }
    return type(class_name(name), (base,), contract)


def metric_classes() -> tuple[type[EmotionMetric], ...]:
    """One class for each entry of `METRICS`, in its order."""
    return tuple(metric_class(name) for name in METRICS)


def __getattr__(name: str) -> type[EmotionMetric]:
    metric = next((metric for metric in METRICS if class_name(metric) == name), None)
    if metric is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return metric_class(metric)


def metric_collection(metrics: Sequence[str] | None = None) -> MetricCollection:
    """Metrics by name; ``update(pred, target)`` or ``update(pred, target, votes=votes)``.

    torchmetrics returns them in alphabetical order; `emoprobe.metrics.functional.metrics_of` has the table's.

    Args:
        metrics: Names of the metrics; those of categories by default.
    """
    # torchmetrics would group metrics whose states are equal after the first batch, and a batch predicted perfectly
    # leaves all distances at zero: from then on they would share one sum. So the groups are named here.
    classes = {name: metric_class(name) for name in metrics or metrics_of()}
    whole_corpus = [name for name, cls in classes.items() if issubclass(cls, CorpusMetric)]
    return MetricCollection({name: cls() for name, cls in classes.items()}, compute_groups=[whole_corpus])


def _nothing_seen(metric: EmotionMetric) -> InputError:
    return InputError(
        f"{metric.definition.name} has seen no utterances", remedy="Call update before compute, with at least one."
    )
