"""Domain-conditional PMI (arXiv 2104.08315): subtract each surface form's log-likelihood under a content-free input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import log_softmax, logsumexp

from emoprobe.beliefs.calibrations.base import CALIBRATIONS, Calibrated, Evidence
from emoprobe.beliefs.calibrations.null_inputs import FITTED_ON, OfNullInputs
from emoprobe.beliefs.distributions import pool_forms
from emoprobe.options import options


@CALIBRATIONS.register("pmi")
@options("calibration.{name}")
class Pmi(OfNullInputs):
    """Subtracts before surface forms are pooled, so it applies to readouts that score surface forms."""

    def apply(self, evidence: Evidence) -> Calibrated | None:
        """Log-likelihood ratios of the forms, pooled by label."""
        rows = self.rows(evidence)
        form_scores = evidence.reading.form_scores
        if rows is None or form_scores is None:
            return None
        scores = pmi_forms(form_scores(evidence.clips), form_scores(rows))
        pooled = pool_forms(scores, evidence.clips["form_labels"][0].as_py(), evidence.labels)
        return Calibrated(replace(evidence.plain, log_probs=log_softmax(pooled, axis=1)), FITTED_ON)


def pmi_forms(form_scores: np.ndarray, null_form_scores: np.ndarray) -> np.ndarray:
    """``log P(form | x) - log P(form | null)``; the null likelihood is the mean over null inputs.

    Args:
        form_scores: ``[utterances, forms]`` nats.
        null_form_scores: ``[null inputs, forms]`` nats.
    """
    return form_scores - (logsumexp(null_form_scores, axis=0) - np.log(len(null_form_scores)))
