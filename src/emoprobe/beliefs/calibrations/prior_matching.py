"""Prior matching (arXiv 2311.09363): one constant per label, so that the mean prediction over the clips is a prior."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from scipy.special import log_softmax, logsumexp

from emoprobe.beliefs.calibrations.base import CALIBRATIONS, Calibrated, Calibration, Evidence
from emoprobe.errors import EmoprobeError, InputError
from emoprobe.options import options
from emoprobe.run.cell import EVALUATED_INPUTS


@CALIBRATIONS.register("prior_matching")
@options("calibration.{name}")
class PriorMatching(Calibration):
    """Matches the evaluated clips' mean prediction to a prior; of stated answers, which have no prior, it has none.

    Args:
        prior: ``uniform``, or ``votes`` (the vote prior of the training split; of the evaluated clips if there is
            none).
    """

    prior: Literal["uniform", "votes"]

    def apply(self, evidence: Evidence) -> Calibrated | None:
        """``undefined`` everywhere where no constants match the prior."""
        if evidence.reading.stated:
            return None
        targets, count = evidence.targets, len(evidence.labels)
        fitted_on = EVALUATED_INPUTS + (f" + {targets.prior_source}" if self.prior == "votes" else "")
        prior = np.full(count, 1 / count) if self.prior == "uniform" else targets.prior
        try:
            matched = prior_matching(evidence.plain.log_probs, prior)
        except EmoprobeError:
            # A few clips with all but certain predictions, as in single layers: the cell fails, not the analysis.
            return Calibrated(evidence.plain.undefined(), fitted_on)
        return Calibrated(replace(evidence.plain, log_probs=matched), fitted_on)


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
