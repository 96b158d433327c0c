"""Calibration: take out of a distribution what the model would have said anyway. Pure functions of stored scores.

Whatever is fitted says on what: ``null inputs``, ``evaluated inputs``, ``training votes``, ``evaluated votes``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, logsumexp

from emoprobe.errors import EmoprobeError, InputError

KINDS = ("none", "contextual", "pmi", "prior_matching")
NULLS = ("silence", "noise", "no_audio")


@dataclass(frozen=True)
class Calibration:
    """How a label prior is removed.

    Args:
        name: Name in tables.
        kind: ``none``; ``contextual`` (arXiv 2102.09690: divide by the label distribution under a null input); ``pmi``
            (domain-conditional PMI, arXiv 2104.08315: subtract each surface form's log-likelihood under a null input
            before forms are pooled); ``prior_matching`` (arXiv 2311.09363: one constant per label, so that the mean
            prediction over the evaluated clips equals a prior).
        null: For ``contextual`` and ``pmi``: ``silence``, ``noise`` or ``no_audio``.
        prior: For ``prior_matching``: ``uniform``, or ``votes`` (the vote prior of the training split; of the evaluated
            clips if there is none).
    """

    name: str
    kind: str = "none"
    null: str = ""
    prior: str = ""

    def __post_init__(self) -> None:
        where = f"calibration.{self.name}"
        if self.kind not in KINDS:
            raise InputError(f"unknown kind {self.kind!r}", field=f"{where}.kind", remedy=f"Use one of {KINDS}.")
        if self.kind in ("contextual", "pmi") and self.null not in NULLS:
            raise InputError(f"unknown null input {self.null!r}", field=f"{where}.null", remedy=f"Use one of {NULLS}.")
        if self.kind == "prior_matching" and self.prior not in ("uniform", "votes"):
            raise InputError(
                f"unknown prior {self.prior!r}", field=f"{where}.prior", remedy="Use 'uniform' or 'votes'."
            )


def contextual(log_probs: np.ndarray, null_probs: np.ndarray) -> np.ndarray:
    """``q(y|x) = p(y|x) / p0(y)``, renormalised; p0 is the mean distribution over the null inputs.

    Args:
        log_probs: ``[utterances, labels]`` nats.
        null_probs: ``[null inputs, labels]``.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        shifted = log_probs - np.log(null_probs.mean(axis=0))
    return log_softmax(shifted, axis=1)


def pmi_forms(form_scores: np.ndarray, null_form_scores: np.ndarray) -> np.ndarray:
    """``log P(form | x) - log P(form | null)``; the null likelihood is the mean over null inputs.

    Args:
        form_scores: ``[utterances, forms]`` nats.
        null_form_scores: ``[null inputs, forms]`` nats.
    """
    return form_scores - (logsumexp(null_form_scores, axis=0) - np.log(len(null_form_scores)))


def prior_matching(
    log_probs: np.ndarray, prior: np.ndarray, *, tolerance: float = 1e-9, max_steps: int = 20_000
) -> np.ndarray:
    """Add one constant per label so that the mean prediction equals the prior, by iterative proportional fitting.

    Rows without a distribution (NaN) take no part and stay NaN. A label with prior 0 ends with probability 0.

    Args:
        log_probs: ``[utterances, labels]`` nats.
        prior: ``[labels]``.
        tolerance: Largest absolute gap between mean prediction and prior.
        max_steps: Limit of iterations.

    Raises:
        EmoprobeError: The predictions cannot be matched (a label with a positive prior is never predicted).
    """
    usable = np.isfinite(log_probs).any(axis=1)
    rows = log_probs[usable]
    if not len(rows):
        return log_probs.copy()
    with np.errstate(divide="ignore"):
        log_prior = np.log(np.asarray(prior, dtype=np.float64))
    constants = np.where(np.isfinite(log_prior), 0.0, -np.inf)
    for _ in range(max_steps):
        matched = log_softmax(rows + constants, axis=1)
        log_mean = logsumexp(matched, axis=0) - np.log(len(rows))
        if np.abs(np.exp(log_mean) - prior).max() <= tolerance:
            result = np.full_like(log_probs, np.nan)
            result[usable] = matched
            return result
        positive = np.isfinite(log_prior)
        if not np.isfinite(log_mean[positive]).all():
            break
        constants[positive] += log_prior[positive] - log_mean[positive]
    raise EmoprobeError("prior matching did not converge: a label of the prior has no probability in any prediction")
