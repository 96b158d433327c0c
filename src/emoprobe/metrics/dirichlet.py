"""Mixtures of Dirichlet distributions fitted to votes: what true distributions the clips of a corpus may have."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

COMPONENTS = (1, 2, 3, 4, 6, 8, 12, 16)
"""Numbers of mixture components tried, until two in a row raise the AIC."""

_ALPHA_RANGE = (math.log(1e-3), math.log(1e4))
_WEIGHT_RANGE = (-12.0, 12.0)
STARTS = 2


@dataclass(frozen=True)
class DirichletMixture:
    """A mixture of Dirichlet distributions, the prior of a clip's true distribution.

    Args:
        log_weights: Natural logarithm of the components' weights, ``[components]``.
        alpha: Their parameters, ``[components, labels]``.
        log_likelihood: Marginal log-likelihood of the votes it was fitted to, nats, without multinomial coefficients.
    """

    log_weights: np.ndarray
    alpha: np.ndarray
    log_likelihood: float

    def draw(self, votes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One true distribution per clip, given its votes.

        Args:
            votes: Votes, ``[utterances, labels]``; may be fractional.
            rng: Source of the draws.

        Returns:
            Distributions, ``[utterances, labels]``.
        """
        from scipy.special import logsumexp

        joint = self.log_weights + _VoteTable(votes).log_likelihood(self.alpha)
        cumulated = np.exp(joint - logsumexp(joint, axis=1, keepdims=True)).cumsum(axis=1)
        component = (rng.random((len(votes), 1)) > cumulated[:, :-1]).sum(axis=1)
        alpha = self.alpha[component] + votes
        # G(a) = G(a + 1) U^(1 / a), in logarithms: with small parameters it is below the smallest float.
        log_gamma = np.log(rng.standard_gamma(alpha + 1)) + np.log1p(-rng.random(alpha.shape)) / alpha
        return np.exp(log_gamma - logsumexp(log_gamma, axis=1, keepdims=True))


def fit_dirichlet_mixture(votes: np.ndarray, *, seed: int = 0, starts: int = STARTS) -> DirichletMixture | None:
    """Maximum-likelihood mixture of Dirichlets for vote counts; the number of components has the lowest AIC.

    The Dirichlet-multinomial likelihood (Minka 2000, "Estimating a Dirichlet distribution") is climbed by L-BFGS-B in
    the logarithms of weights and parameters. BIC takes too few components for the tails that distances depend on.

    Args:
        votes: Votes, ``[utterances, labels]``; may be fractional.
        seed: Of the starting points.
        starts: How many of them for each number of components above one.

    Returns:
        The mixture; None where there are no votes, or their likelihood is no number.
    """
    rng = np.random.default_rng(seed)
    rows, repeats = np.unique(votes, axis=0, return_counts=True)
    table, repeats = _VoteTable(rows), repeats.astype(np.float64)
    best: DirichletMixture | None = None
    lowest, worse = math.inf, 0
    for components in COMPONENTS:
        if components > len(rows):
            break
        climbs = range(1 if components == 1 else starts)
        fits = [_climb(table, rows, repeats, components, rng) for _ in climbs]
        found = max(fits, key=lambda fit: fit.log_likelihood)
        aic = 2 * (found.alpha.size + components - 1) - 2 * found.log_likelihood
        best, lowest, worse = (found, aic, 0) if aic < lowest else (best, lowest, worse + 1)
        if worse == 2:
            break
    return best


class _VoteTable:
    """Log-likelihoods of many clips' votes; gamma functions are evaluated once per number of votes that occurs."""

    def __init__(self, votes: np.ndarray) -> None:
        from scipy.sparse import csr_array

        size, labels = votes.shape
        self.levels, level = np.unique(votes, return_inverse=True)
        self.totals, total = np.unique(votes.sum(axis=1), return_inverse=True)
        column = (level.reshape(votes.shape) * labels + np.arange(labels)).ravel()
        start = np.arange(0, votes.size + 1, labels)
        self._cells = csr_array((np.ones(votes.size), column, start), shape=(size, len(self.levels) * labels))
        self._sizes = csr_array((np.ones(size), total.ravel(), np.arange(size + 1)), shape=(size, len(self.totals)))
        self._by_cell, self._by_size = self._cells.T, self._sizes.T

    def log_likelihood(self, alpha: np.ndarray) -> np.ndarray:
        """``[utterances, components]``, nats, without the multinomial coefficients."""
        from scipy.special import gammaln

        cells, sizes = self._apply(gammaln, alpha)
        return self._cells @ cells.reshape(-1, len(alpha)) - self._sizes @ sizes

    def gradient(self, alpha: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Of the sum of ``weights * log_likelihood`` by alpha, ``[components, labels]``."""
        from scipy.special import digamma

        cells, sizes = self._apply(digamma, alpha)
        of_cells = ((self._by_cell @ weights).reshape(cells.shape) * cells).sum(axis=0)
        return (of_cells - ((self._by_size @ weights) * sizes).sum(axis=0)).T

    def _apply(self, function: Callable, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``f(n + alpha) - f(alpha)`` for ``[levels, labels, components]`` and ``[totals, components]``."""
        total = alpha.sum(axis=1)
        cells = function(self.levels[:, None, None] + alpha.T) - function(alpha.T)
        return cells, function(self.totals[:, None] + total) - function(total)


def _climb(
    table: _VoteTable, rows: np.ndarray, repeats: np.ndarray, components: int, rng: np.random.Generator
) -> DirichletMixture:
    """One local maximum of the likelihood."""
    from scipy.optimize import minimize

    labels, size = rows.shape[1], repeats.sum()

    def unpack(point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits = point[:components]
        return logits - _log_sums(logits), np.exp(point[components:]).reshape(components, labels)

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        log_weights, alpha = unpack(point)
        joint = log_weights + table.log_likelihood(alpha)
        marginal = _log_sums(joint)
        belongs = np.exp(joint - marginal[:, None]) * repeats[:, None]
        by_weight = belongs.sum(axis=0) - size * np.exp(log_weights)
        by_alpha = table.gradient(alpha, belongs) * alpha
        return -(repeats @ marginal) / size, -np.concatenate([by_weight, by_alpha.ravel()]) / size

    start = np.concatenate([np.zeros(components), np.log(_start(rows, repeats, components, rng)).ravel()])
    bounds = [_WEIGHT_RANGE] * components + [_ALPHA_RANGE] * (components * labels)
    options = {"maxiter": 400, "maxcor": 20, "ftol": 1e-9}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return DirichletMixture(*unpack(found.x), log_likelihood=-found.fun * size)


def _log_sums(values: np.ndarray) -> np.ndarray:
    """Log-sum-exp over the last axis, of finite values: scipy's checks would take half of the time of a fit."""
    top = values.max(axis=-1, keepdims=True)
    return np.log(np.exp(values - top).sum(axis=-1)) + top[..., 0]


def _start(rows: np.ndarray, repeats: np.ndarray, components: int, rng: np.random.Generator) -> np.ndarray:
    """Parameters around clips that lie far apart (as k-means++ starts), ``[components, labels]``."""
    shares = (rows + 0.3) / (rows + 0.3).sum(axis=1, keepdims=True)
    mean = (repeats @ shares) / repeats.sum()
    centres, distance = [], np.ones(len(rows))
    for _ in range(components):
        chance = repeats * distance
        centres.append(shares[rng.choice(len(rows), p=chance / chance.sum())])
        distance = np.min([((shares - centre) ** 2).sum(axis=1) for centre in centres], axis=0)
    centre = mean[None] if components == 1 else 0.8 * np.stack(centres) + 0.2 * mean
    return 3 * centre
