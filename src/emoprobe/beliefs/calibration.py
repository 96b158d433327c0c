"""Calibration: take out of a distribution what the model would have said anyway. Pure functions of stored scores.

Whatever is fitted says on what: ``null inputs``, ``evaluated inputs``, ``training votes``, ``evaluated votes``; or, for
the parameters of `emoprobe.beliefs.posthoc`, the votes of other speakers than the clip's own (see `crossfit.plan`).
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge
from scipy.special import log_softmax, logsumexp

from emoprobe.beliefs import posthoc
from emoprobe.errors import EmoprobeError, InputError
from emoprobe.options import Name, Natural, NotNegative, OneOf, ShareBelowOne, options, valid

KINDS = ("none", "contextual", "pmi", "prior_matching", *posthoc.FITS)


@options("calibration.{name}")
class Calibration:
    """How a label prior is removed, or distributions are brought closer to the votes of other clips.

    Args:
        name: Name in tables.
        kind: ``none``; ``contextual`` (arXiv 2102.09690: divide by the label distribution under a null input); ``pmi``
            (domain-conditional PMI, arXiv 2104.08315: subtract each surface form's log-likelihood under a null input
            before forms are pooled); ``prior_matching`` (arXiv 2311.09363: one constant per label, so that the mean
            prediction over the evaluated clips equals a prior); ``temperature``, ``vector`` and ``matrix`` scaling
            (`emoprobe.beliefs.posthoc`: fitted on votes, out of sample).
        null: For ``contextual`` and ``pmi``: ``silence``, ``noise`` or ``no_audio``.
        prior: For ``prior_matching``: ``uniform``, or ``votes`` (the vote prior of the training split; of the evaluated
            clips if there is none).
        l2: Of the three scalings: strength of the penalty; by default that of the kind (`emoprobe.beliefs.posthoc`).
        floor: Share of the uniform distribution mixed into distributions that hold a probability of zero, as written
            answers do.
        folds: Folds of speakers, where clips must lend each other their parameters.
        seed: Which speakers go together.
    """

    name: Name
    kind: Annotated[str, OneOf(KINDS)] = "none"
    null: str = ""
    prior: str = ""
    l2: NotNegative | None = None
    floor: ShareBelowOne = posthoc.FLOOR
    folds: Annotated[int, Ge(2)] = 5
    seed: Natural = 0

    def __post_init__(self) -> None:
        if self.kind in ("contextual", "pmi"):
            valid(Literal["silence", "noise", "no_audio"], self.null, f"calibration.{self.name}.null")
        if self.kind == "prior_matching":
            valid(Literal["uniform", "votes"], self.prior, f"calibration.{self.name}.prior")


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
        prior: ``[labels]``; made to sum to 1 in double precision, which one of single precision does not.
        tolerance: Largest absolute gap between mean prediction and prior.
        max_steps: Limit of iterations.

    Raises:
        InputError: The prior is none.
        EmoprobeError: The predictions cannot be matched (a label with a positive prior is never predicted).
    """
    usable = np.isfinite(log_probs).any(axis=1)
    rows = log_probs[usable]
    if not len(rows):
        return log_probs.copy()
    prior = np.asarray(prior, dtype=np.float64)
    if prior.shape != rows.shape[1:] or not (np.isfinite(prior).all() and (prior >= 0).all() and prior.sum() > 0):
        raise InputError(f"{prior.tolist()} is no prior of {rows.shape[1]} labels", field="prior")
    prior = prior / prior.sum()
    with np.errstate(divide="ignore"):
        log_prior = np.log(prior)
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
