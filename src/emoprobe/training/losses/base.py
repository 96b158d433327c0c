"""What a trained reader minimises: distances between its prediction and the votes of the raters.

Everywhere p is the prediction, t the human target, n the vote counts, k runs over the K labels. The functions take
``[batch, labels]`` and give one value per utterance, ``[batch]``; they are differentiable in their first argument. A
label with share 0 adds exactly what the formula says there, also where its log-probability is minus infinity. Nothing
is clipped or smoothed: a NaN that goes in comes out.

Each loss is a file beside this one; its fields are the options of a ``loss`` config of its name. Torch is imported
where something is computed, so that a wrong option is refused before.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.options import At, Name, Positive, Several, ShareBelowOne, options
from emoprobe.registry import Registry, make_part

if TYPE_CHECKING:
    from torch import Tensor


@options("loss")
class Loss(ABC):
    """A loss with the weights of its utterances: ``mean_i w_i loss_i`` over a batch.

    The weights have mean 1 over the training utterances, not over each batch, so that the mean over batches does not
    depend on how they are cut. They need :meth:`fit`.

    Args:
        name: A key of `LOSSES`.
        class_balance: Weigh an utterance by ``sum_k t_k / prior_k``, the prior being the mean training target.
        rater_weight: Weigh an utterance by the number of its votes (``count``), its root (``sqrt``) or not (``none``).
        prior: Mean training target, set by :meth:`fit`.
        mean_weight: Mean weight of the training utterances before normalisation, set by :meth:`fit`.

    Attributes:
        of_head: Which field of a head's output it is computed from.
        counts: Whether it compares with vote counts rather than with shares.
        of_batch: Whether the loss of an utterance depends on the others of its batch.
    """

    of_head: ClassVar[Literal["log_probs", "concentration"]] = "log_probs"
    counts: ClassVar[bool] = False
    of_batch: ClassVar[bool] = False

    name: Name
    class_balance: bool = False
    rater_weight: Literal["none", "count", "sqrt"] = "none"
    prior: Annotated[Several[float] | None, At("loss")] = None
    mean_weight: Annotated[float | None, At("loss")] = None

    @property
    def needs_votes(self) -> bool:
        """Whether vote counts are needed beside the target."""
        return self.counts or self.rater_weight != "none"

    @abstractmethod
    def per_clip(self, output: Tensor, human: Tensor) -> Tensor:
        """The loss of each utterance, ``[batch]``.

        Args:
            output: What :attr:`of_head` names, ``[batch, labels]``.
            human: Probabilities, or vote counts where :attr:`counts` says so, ``[batch, labels]``.
        """

    def of(self, labels: LabelSet) -> Loss:
        """The loss as it is of these labels, all that they decide decided.

        Raises:
            InputError: It means nothing of them.
        """
        return self

    def fit(self, targets: Tensor, votes: Tensor | None = None) -> Loss:
        """The same loss with the weights of these training utterances; itself if it weighs all alike.

        Args:
            targets: Human probabilities of all training utterances, ``[utterances, labels]``.
            votes: Their vote counts, ``[utterances, labels]``; needed for a rater weight.

        Raises:
            InputError: No training utterance has a vote for some label, so that it has no balanced weight, or there are
                no votes where they are needed.
        """
        import torch

        if not self.class_balance and self.rater_weight == "none":
            return self
        prior = targets.double().mean(dim=0)
        empty = torch.nonzero(prior == 0).flatten().tolist()
        if self.class_balance and empty:
            raise InputError(
                f"no training utterance has a vote for the labels at positions {empty} (from 0)",
                field="loss.class_balance",
                remedy="Leave these labels out of the label set, or set loss.class_balance=false.",
            )
        unscaled = replace(self, prior=tuple(prior.tolist()), mean_weight=1.0)
        mean_weight = unscaled.utterance_weights(targets.double(), votes).mean()
        return replace(unscaled, mean_weight=float(mean_weight))

    def utterance_weights(self, target: Tensor, votes: Tensor | None = None) -> Tensor:
        """Weight of each utterance, ``[batch]``; their mean over the training utterances is 1.

        Args:
            target: Human probabilities, ``[batch, labels]``.
            votes: Vote counts, ``[batch, labels]``; needed for a rater weight.

        Raises:
            InputError: Weights were asked for but not fitted, or there are no votes where they are needed.
        """
        weights = target.new_ones(len(target))
        if not self.class_balance and self.rater_weight == "none":
            return weights
        if self.prior is None or self.mean_weight is None:
            raise InputError(
                "the weights of the utterances are not fitted",
                field="loss.class_balance" if self.class_balance else "loss.rater_weight",
                remedy="Use the loss that Loss.fit(targets, votes) returns for the training utterances.",
            )
        if self.class_balance:
            weights = weights * (target / target.new_tensor(self.prior)).sum(dim=-1)
        if self.rater_weight != "none":
            number = self._votes(votes, like=target).to(target).sum(dim=-1)
            weights = weights * (number.sqrt() if self.rater_weight == "sqrt" else number)
        return weights / self.mean_weight

    def __call__(self, output: Tensor, target: Tensor, votes: Tensor | None = None) -> Tensor:
        """The weighted mean over the utterances of a batch, a scalar; see `per_utterance`."""
        return self.per_utterance(output, target, votes).mean()

    def per_utterance(self, output: Tensor, target: Tensor, votes: Tensor | None = None) -> Tensor:
        """The weighted losses ``w_i loss_i``, ``[batch]``.

        Args:
            output: What :attr:`of_head` names, ``[batch, labels]``.
            target: Human probabilities, ``[batch, labels]``.
            votes: Vote counts, ``[batch, labels]``; used by a loss that compares with counts, and by rater weights.

        Raises:
            InputError: Shapes differ, votes are missing, or the weights are not fitted.
        """
        check_shape(target, like=output, field="target")
        target = target.to(output)
        weights = self.utterance_weights(target, votes)
        return weights * self.per_clip(output, self._votes(votes, like=output) if self.counts else target)

    def _votes(self, votes: Tensor | None, *, like: Tensor) -> Tensor:
        if votes is None:
            what = f"the {self.name} loss" if self.counts else f"the rater weight {self.rater_weight!r}"
            raise InputError(
                f"{what} needs vote counts, and none were given",
                field="loss",
                remedy="Give the votes, also to Loss.fit; without any, use loss=soft_kl with rater_weight=none.",
            )
        check_shape(votes, like=like, field="votes")
        return votes


@options("loss")
class SoftLabelLoss(Loss):
    """A loss of shares, which can be changed before they are compared; a subclass says how they are, in `distance`.

    Args:
        temperature: The target becomes ``t_k^(1/temperature)``, normalised: below 1 sharper, above 1 flatter over the
            labels that have votes. The prediction is not touched.
        label_smoothing: The target becomes ``(1 - s) t_k + s / K``, as in torch. The 0.05 of EMO-SUPERB, which leaves a
            one-hot label 0.95, is ``s = 0.05 K / (K - 1)`` here.
    """

    temperature: Positive = 1.0
    label_smoothing: ShareBelowOne = 0.0

    @abstractmethod
    def distance(self, log_probs: Tensor, target: Tensor) -> Tensor:
        """Of each prediction from its target, ``[batch]``.

        Args:
            log_probs: Predicted log-probabilities (natural logarithm), ``[batch, labels]``.
            target: Probabilities, ``[batch, labels]``.
        """

    def per_clip(self, output: Tensor, human: Tensor) -> Tensor:
        return self.distance(output, self.smoothed(self.tempered(human)))

    def tempered(self, target: Tensor) -> Tensor:
        """The target at its temperature, ``[batch, labels]``."""
        return target if self.temperature == 1 else (target.log() / self.temperature).softmax(dim=-1)

    def smoothed(self, target: Tensor) -> Tensor:
        """The target mixed with the uniform distribution, ``[batch, labels]``."""
        import torch

        return torch.lerp(target, torch.full_like(target, 1 / target.shape[-1]), self.label_smoothing)


LOSSES: Registry[type[Loss]] = Registry("loss", "emoprobe.training.losses")


def make_loss(config: object) -> Loss:
    """The loss that a config names.

    Raises:
        InputError: There is no such loss, or an option is wrong.
    """
    return make_part(LOSSES, config, "loss")


def impossible(log_probs: Tensor, target: Tensor) -> Tensor:
    """Labels with probability 0 and share 0, whose logarithms the formulas multiply by 0. ``[batch, labels]``"""
    import torch

    return torch.isneginf(log_probs) & (target == 0)


def check_shape(values: Tensor, *, like: Tensor, field: str) -> None:
    """Refuse values of another shape, which would be broadcast.

    Raises:
        InputError: They are.
    """
    if values.shape != like.shape:
        raise InputError(
            f"the shape {list(values.shape)} differs from {list(like.shape)}",
            field=field,
            remedy="Give the same utterances and labels in the same order.",
        )
