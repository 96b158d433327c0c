"""One minus Lin's concordance correlation of the expected values, over the clips of a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.options import At, NotNegative, Several, options
from emoprobe.training.losses.base import LOSSES, Loss, check_shape
from emoprobe.training.losses.soft_kl import soft_kl

if TYPE_CHECKING:
    from torch import Tensor


@LOSSES.register("ccc")
@options("loss")
class CCC(Loss):
    """``1 - CCC`` of the expected values over a batch, and ``distribution_weight`` times the mean `soft_kl` beside it.

    CCC sees a distribution's expected value alone and leaves its shape free, so that with a weight of 0 the
    distribution means nothing; the default holds it to the votes.

    It is of a batch, not a mean over clips: its variances are those of the batch (over all processes), so a batch of
    few clips is a noisy estimate, and ``fit.accumulate`` averages the CCCs of its batches, which is not the CCC of them
    all. Take large batches (64 clips or more of a probe). The development loss is that of all development clips.

    Args:
        distribution_weight: Weight of the Kullback-Leibler divergence, in nats, beside ``1 - CCC``.
        points: Numbers of the labels, set by :meth:`of`.
    """

    of_batch: ClassVar[bool] = True

    distribution_weight: NotNegative = 1.0
    points: Annotated[Several[float] | None, At("loss")] = None

    def of(self, labels: LabelSet) -> CCC:
        """The loss of the points of a scale.

        Raises:
            InputError: The labels are no scale.
        """
        if labels.points is None:
            raise InputError(
                f"the concordance correlation is one of numbers, and the labels of {labels.name} are none",
                field="loss.name",
                remedy="Choose a label set of a scale, such as labels=valence5, or another loss.",
            )
        return replace(self, points=labels.points)

    def per_clip(self, output: Tensor, human: Tensor) -> Tensor:
        return self._terms(output, human, output.new_ones(len(output)))

    def per_utterance(self, output: Tensor, target: Tensor, votes: Tensor | None = None) -> Tensor:
        check_shape(target, like=output, field="target")
        target = target.to(output)
        weights = self.utterance_weights(target, votes)
        return weights * self._terms(output, target, weights)

    def _terms(self, log_probs: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        if self.points is None:
            raise ValueError("a loss of numbers needs their scale; use what CCC.of(labels) returns")
        points = log_probs.new_tensor(self.points)
        terms = ccc_terms(log_probs.exp() @ points, target @ points, weights)
        return terms if not self.distribution_weight else terms + self.distribution_weight * soft_kl(log_probs, target)


def ccc_terms(predicted: Tensor, human: Tensor, weights: Tensor | None = None) -> Tensor:
    """What each clip adds to ``1 - CCC``, whose (weighted) mean over the batch it is, ``[batch]`` (Lin 1989).

    ``1 - CCC = mean_i (x_i - y_i)^2 / D`` with ``D = var(x) + var(y) + (mean(x) - mean(y))^2``, variances over n: the
    numerator is ``D - 2 cov(x, y)``. Where D is 0 all numbers are the same, and so is the loss.

    Args:
        predicted: Expected values x, ``[batch]``.
        human: The raters' y, ``[batch]``.
        weights: Of the clips, at least 0, ``[batch]``; all alike by default.
    """
    import torch

    share = torch.ones_like(predicted) if weights is None else weights
    share = share / share.sum()
    means = (share * predicted).sum(), (share * human).sum()
    spread = (share * ((predicted - means[0]).square() + (human - means[1]).square())).sum()
    scale = spread + (means[0] - means[1]).square()
    return (predicted - human).square() / torch.where(scale > 0, scale, torch.ones_like(scale))
