"""What a trained head minimises: distances between its prediction and the votes of the raters.

Everywhere p is the prediction, t the human target, n the vote counts, k runs over the K labels. The functions take
``[batch, labels]`` and give one value per utterance, ``[batch]``; they are differentiable in their first argument. A
label with share 0 adds exactly what the formula says there, also where its log-probability is minus infinity. Nothing
is clipped or smoothed: a NaN that goes in comes out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Annotated

import torch
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence
from torch.special import xlogy

from emoprobe.errors import InputError
from emoprobe.metrics.functional.ties import TIE_TOLERANCE
from emoprobe.options import At, Several, options
from emoprobe.training.options import LossOptions


def soft_kl(log_probs: Tensor, target: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the prediction from the target, in nats: ``sum_k t_k (ln t_k - ln p_k)``.

    Args:
        log_probs: Predicted log-probabilities (natural logarithm), ``[batch, labels]``.
        target: Human probabilities, ``[batch, labels]``.
    """
    return xlogy(target, target).sum(dim=-1) + soft_ce(log_probs, target)


def soft_ce(log_probs: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with the soft label, in nats: ``-sum_k t_k ln p_k``.

    Its gradient is that of :func:`soft_kl`; its minimum is the entropy of the target, not 0.

    Args:
        log_probs: Predicted log-probabilities (natural logarithm), ``[batch, labels]``.
        target: Human probabilities, ``[batch, labels]``.
    """
    # Only 0 times minus infinity is set to its limit 0; a NaN beside a share of 0 is kept.
    return -(target * log_probs.masked_fill(_impossible(log_probs, target), 0)).sum(dim=-1)


def js(log_probs: Tensor, target: Tensor) -> Tensor:
    """Jensen-Shannon divergence to base 2, in bits, 0 to 1; the metric ``js_divergence`` (Lin 1991).

    ``JS(p, t) = KL(p || m) / 2 + KL(t || m) / 2`` with ``m = (p + t) / 2`` and logarithms to base 2.

    Args:
        log_probs: Predicted log-probabilities (natural logarithm), ``[batch, labels]``.
        target: Human probabilities, ``[batch, labels]``.
    """
    # In the logarithmic domain: the gradient of x ln x at x = exp(log_probs) is lost as soon as x underflows.
    log_middle = torch.logaddexp(log_probs.masked_fill(_impossible(log_probs, target), 0), target.log()) - math.log(2)
    log_pred = log_probs.masked_fill(torch.isneginf(log_probs), 0)
    pred_part = log_probs.exp() * (log_pred - log_middle)
    target_part = xlogy(target, target) - target * log_middle
    return (pred_part + target_part).sum(dim=-1) / (2 * math.log(2))


def hard_ce(log_probs: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with the top vote as a one-hot label, in nats; labels that tie for the top share it equally.

    Args:
        log_probs: Predicted log-probabilities (natural logarithm), ``[batch, labels]``.
        target: Human probabilities, ``[batch, labels]``.
    """
    return soft_ce(log_probs, top_votes(target))


def emd(log_probs: Tensor, target: Tensor) -> Tensor:
    """Squared earth mover's distance along the order of the labels, ``sum_k (P_k - T_k)^2``, 0 to K - 1.

    P and T are the cumulative distributions. Neighbouring labels are one step apart, so the order must mean something
    (levels of arousal, not names of emotions). From Hou et al. 2016 (1611.05916), without their factor 1/K.

    Args:
        log_probs: Predicted log-probabilities (natural logarithm), ``[batch, labels]``.
        target: Human probabilities, ``[batch, labels]``, labels in their order.
    """
    return (log_probs.exp() - target).cumsum(dim=-1).square().sum(dim=-1)


def dirichlet(concentration: Tensor, votes: Tensor, *, regulariser: float = 0.05) -> Tensor:
    """Evidential loss: how badly a Dirichlet predicts the votes, plus a price for evidence that no rater bears out.

    ``-ln P(n | a) / N + regulariser * KL(Dir(b) || Dir(1))``, in nats, where a is the concentration, ``A = sum_k a_k``,
    ``N = sum_k n_k``, and b is a with 1 in place of the labels that have votes.

    * ``ln P(n | a) = lnG(A) - lnG(A + N) + sum_k [lnG(a_k + n_k) - lnG(a_k)]`` (lnG: log-gamma function) is the
      Dirichlet-multinomial probability of the votes in a given order: one distribution is drawn for the utterance, all
      its raters vote from it. The votes are scored together because the likelihood of single votes, ``a_k / A``, sees
      only the mean and leaves the strength A undetermined. Without the multinomial coefficient, which is constant, and
      per vote it is on the scale of ``vote_nll``: for large A it tends to :func:`soft_ce` of the mean.
    * b keeps the misleading evidence, ``a_k - 1`` for the labels that nobody chose; drawn to the uniform Dirichlet it
      stops growing. For a one-hot label this is the regulariser of Sensoy et al. 2018 (1806.01768). Their formula with
      a soft label, ``b = t + (1 - t) a``, would also tax the evidence that split votes do support and so pull every
      ambiguous prediction to the uniform one.

    After the evidential losses on individual votes of Wu et al. (2402.12862).

    Args:
        concentration: Parameters of the Dirichlet, above 0, ``[batch, labels]``.
        votes: Vote counts, not all 0 (else NaN), ``[batch, labels]``.
        regulariser: Weight of the second term, 0 or more. 0.05 moves the mean fitted to nine raters by about 0.01.
    """
    # Differences of log-gamma functions cancel: at A = 1e4 float32 keeps two digits.
    a, n = concentration.double(), votes.double()
    strength, number = a.sum(dim=-1), n.sum(dim=-1)
    log_likelihood = strength.lgamma() - (strength + number).lgamma() + ((a + n).lgamma() - a.lgamma()).sum(dim=-1)
    misleading = a.masked_fill(n > 0, 1)
    # Unchecked, so that a NaN goes through to the loss and is not reported as a wrong parameter.
    penalty = kl_divergence(
        Dirichlet(misleading, validate_args=False), Dirichlet(torch.ones_like(a), validate_args=False)
    )
    return (-log_likelihood / number + regulariser * penalty).to(concentration.dtype)


def top_votes(target: Tensor) -> Tensor:
    """Weight 1 on the label with the highest share, or 1/m on each of m tied labels, ``[batch, labels]``.

    Args:
        target: Human probabilities, ``[batch, labels]``.
    """
    # Equal shares may differ by rounding; different ones differ by the share of a vote.
    tolerance = max(TIE_TOLERANCE, 4 * torch.finfo(target.dtype).eps)
    top = (target >= target.amax(dim=-1, keepdim=True) - tolerance).to(target.dtype)
    return top / top.sum(dim=-1, keepdim=True)


def _impossible(log_probs: Tensor, target: Tensor) -> Tensor:
    """Labels with probability 0 and share 0, whose logarithms the formulas multiply by 0. ``[batch, labels]``"""
    return torch.isneginf(log_probs) & (target == 0)


LOSSES: Mapping[str, Callable[..., Tensor]] = MappingProxyType(
    {"soft_kl": soft_kl, "soft_ce": soft_ce, "js": js, "hard_ce": hard_ce, "emd": emd, "dirichlet": dirichlet}
)
"""Every loss by name."""


@options("loss")
class Loss(LossOptions):
    """A loss with the treatment of its targets and the weights of its utterances: ``mean_i w_i loss_i`` over a batch.

    The weights have mean 1 over the training utterances, not over each batch, so that the mean over batches does not
    depend on how they are cut. They need :meth:`fit`.

    Args:
        prior: Mean training target, set by :meth:`fit`.
        mean_weight: Mean weight of the training utterances before normalisation, set by :meth:`fit`.
    """

    prior: Annotated[Several[float] | None, At("loss")] = None
    mean_weight: Annotated[float | None, At("loss")] = None

    def fit(self, targets: Tensor, votes: Tensor | None = None) -> Loss:
        """The same loss with the weights of these training utterances; itself if it weighs all alike.

        Args:
            targets: Human probabilities of all training utterances, ``[utterances, labels]``.
            votes: Their vote counts, ``[utterances, labels]``; needed for a rater weight.

        Raises:
            InputError: No training utterance has a vote for some label, so that it has no balanced weight, or there are
                no votes where they are needed.
        """
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
            votes: Vote counts, ``[batch, labels]``; used by ``dirichlet`` and by rater weights.

        Raises:
            InputError: Shapes differ, votes are missing, or the weights are not fitted.
        """
        _check_shape(target, like=output, field="target")
        target = target.to(output)
        weights = self.utterance_weights(target, votes)
        if self.name == "dirichlet":
            losses = dirichlet(output, self._votes(votes, like=output), regulariser=self.regulariser)
        elif self.name == "hard_ce":
            # The top vote is smoothed, not searched for in a smoothed target.
            losses = soft_ce(output, self._smoothed(top_votes(target)))
        else:
            losses = LOSSES[self.name](output, self._smoothed(self._tempered(target)))
        return weights * losses

    def _tempered(self, target: Tensor) -> Tensor:
        return target if self.temperature == 1 else (target.log() / self.temperature).softmax(dim=-1)

    def _smoothed(self, target: Tensor) -> Tensor:
        return torch.lerp(target, torch.full_like(target, 1 / target.shape[-1]), self.label_smoothing)

    def _votes(self, votes: Tensor | None, *, like: Tensor) -> Tensor:
        if votes is None:
            what = "the dirichlet loss" if self.name == "dirichlet" else f"the rater weight {self.rater_weight!r}"
            raise InputError(
                f"{what} needs vote counts, and none were given",
                field="loss",
                remedy="Give the votes, also to Loss.fit; without any, use loss=soft_kl with rater_weight=none.",
            )
        _check_shape(votes, like=like, field="votes")
        return votes


def _check_shape(values: Tensor, *, like: Tensor, field: str) -> None:
    if values.shape != like.shape:
        raise InputError(
            f"the shape {list(values.shape)} differs from {list(like.shape)}",
            field=field,
            remedy="Give the same utterances and labels in the same order.",
        )
