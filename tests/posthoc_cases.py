"""Made-up clips for tests of what is fitted on votes."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax, rel_entr

from emoprobe.beliefs import posthoc

FITS = {
    "temperature": posthoc.temperature_scaling,
    "vector": posthoc.vector_scaling,
    "matrix": posthoc.matrix_scaling,
}
KINDS = tuple(FITS)


def kl(target, log_q) -> float:
    return float(rel_entr(target, np.exp(log_q)).sum(axis=1).mean())


def clips(seed=0, number=300, labels=4, sharpness=2.0, votes=8, truth=None):
    """Log-probabilities and vote shares; the votes are drawn from ``truth(log p)``, by default from p itself."""
    rng = np.random.default_rng(seed)
    log_probs = log_softmax(rng.normal(0, sharpness, (number, labels)), axis=1)
    true = np.exp(log_probs if truth is None else truth(log_probs))
    return log_probs, rng.multinomial(votes, true / true.sum(axis=1, keepdims=True)) / votes
