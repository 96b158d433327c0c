"""The metrics as torchmetrics classes: they add up batches and ranks; what they compute is the functional core's.

``update`` takes what the function of the same name takes, ``compute`` gives that function's value over all utterances
seen (a float64 scalar), whatever the batches were. Direction, bounds and differentiability are class attributes, taken
from :data:`emoprobe.metrics.functional.METRICS`. A wrong input raises InputError in ``update``; ``compute`` before any
``update`` does too.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.utilities.data import dim_zero_cat

from emoprobe.errors import InputError
from emoprobe.metrics.functional import METRICS, MetricDefinition, vote_losses
from emoprobe.metrics.functional.checks import Array, check_pair


class EmotionMetric(Metric):
    """Base: takes the class attributes of the contract from the table, by ``of="name"`` in the class statement."""

    definition: ClassVar[MetricDefinition]
    full_state_update = False

    def __init_subclass__(cls, of: str | None = None) -> None:
        super().__init_subclass__()
        if of is None:
            return
        cls.definition = METRICS[of]
        cls.higher_is_better = cls.definition.higher_is_better
        cls.is_differentiable = cls.definition.is_differentiable
        cls.plot_lower_bound = cls.definition.lower if math.isfinite(cls.definition.lower) else None
        cls.plot_upper_bound = cls.definition.upper if math.isfinite(cls.definition.upper) else None


class _Ratio(EmotionMetric):
    """A sum divided by a sum of weights; the weights are utterances or votes."""

    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("weight", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def compute(self) -> Tensor:
        """The mean over everything seen, a float64 scalar."""
        if not self.weight:
            raise _nothing_seen(self)
        return self.total / self.weight


class UtteranceMean(_Ratio):
    """Base of the metrics that are means over utterances; keeps their sum and number."""

    def update(self, pred: Array, target: Array) -> None:
        """Add a batch: predicted and human probabilities, ``[utterances, labels]``."""
        values = self.definition.function(pred, target, reduction="none")
        self.total = self.total + values.sum()
        self.weight = self.weight + len(values)


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


class KLTargetPred(UtteranceMean, of="kl_target_pred"):
    """Kullback-Leibler divergence of the prediction from the target, in nats."""


class KLPredTarget(UtteranceMean, of="kl_pred_target"):
    """Kullback-Leibler divergence of the target from the prediction, in nats."""


class JSDivergence(UtteranceMean, of="js_divergence"):
    """Jensen-Shannon divergence to base 2, without root."""


class JSDistance(UtteranceMean, of="js_distance"):
    """Mean root of the Jensen-Shannon divergence to base 2."""


class Bhattacharyya(UtteranceMean, of="bhattacharyya"):
    """Bhattacharyya coefficient."""


class R2WithinClip(UtteranceMean, of="r2_within_clip"):
    """Squared Pearson correlation over the labels of one utterance."""


class R2PerClass(CorpusMetric, of="r2_per_class"):
    """Coefficient of determination of each label over utterances, averaged over labels."""


class TotalVariation(UtteranceMean, of="total_variation"):
    """Total variation distance."""


class Cosine(UtteranceMean, of="cosine"):
    """Cosine similarity."""


class Brier(UtteranceMean, of="brier"):
    """Squared difference averaged over labels."""


class VoteNLL(_Ratio, of="vote_nll"):
    """Negative log-likelihood per vote, in nats."""

    def update(self, pred: Array, target: Array, votes: Array | None = None) -> None:
        """Add a batch: predicted and human probabilities and vote counts, ``[utterances, labels]``."""
        losses = vote_losses(pred, target, votes)
        self.total = self.total + losses.loss.sum()
        self.weight = self.weight + losses.weight.sum()


class ECE5(CorpusMetric, of="ece_5"):
    """Calibration error of the top label in 5 bins."""


class ECE10(CorpusMetric, of="ece_10"):
    """Calibration error of the top label in 10 bins."""


class ClasswiseECE(CorpusMetric, of="classwise_ece"):
    """Calibration error of each label against its vote share in 10 bins."""


class WA(CorpusMetric, of="wa"):
    """Weighted accuracy: the share of utterances whose top label is the majority label."""


class UAR(CorpusMetric, of="uar"):
    """Unweighted average recall over the majority labels that occur."""


class MacroF1(CorpusMetric, of="macro_f1"):
    """F1 averaged over the majority labels that occur."""


class WeightedF1(CorpusMetric, of="weighted_f1"):
    """F1 averaged over the majority labels, weighted by their utterances."""


class EntropySpearman(CorpusMetric, of="entropy_spearman"):
    """Spearman correlation of predicted and human entropy."""


CLASSES: tuple[type[EmotionMetric], ...] = (
    KLTargetPred,
    KLPredTarget,
    JSDivergence,
    JSDistance,
    Bhattacharyya,
    R2WithinClip,
    R2PerClass,
    TotalVariation,
    Cosine,
    Brier,
    VoteNLL,
    ECE5,
    ECE10,
    ClasswiseECE,
    WA,
    UAR,
    MacroF1,
    WeightedF1,
    EntropySpearman,
)
"""One class for each entry of METRICS, in its order."""


def metric_collection() -> MetricCollection:
    """All metrics by name; ``update(pred, target)`` or ``update(pred, target, votes=votes)``.

    torchmetrics returns them in alphabetical order; :data:`~emoprobe.metrics.functional.METRICS` has the table's.
    """
    # torchmetrics would group metrics whose states are equal after the first batch, and a batch predicted perfectly
    # leaves all distances at zero: from then on they would share one sum. So the groups are named here.
    whole_corpus = [cls.definition.name for cls in CLASSES if issubclass(cls, CorpusMetric)]
    return MetricCollection({cls.definition.name: cls() for cls in CLASSES}, compute_groups=[whole_corpus])


def _nothing_seen(metric: EmotionMetric) -> InputError:
    return InputError(
        f"{metric.definition.name} has seen no utterances", remedy="Call update before compute, with at least one."
    )
