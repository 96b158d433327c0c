"""Post-hoc calibration: a few parameters that bring distributions closer to the votes of other clips.

One model, ``q = softmax(W log p + b)``, with three shapes of ``W``: one inverse temperature and no bias (temperature
scaling, Guo et al. 2017, arXiv 1706.04599), one weight per label (vector scaling, ibid.), or a full matrix (matrix
scaling; on log-probabilities it is Dirichlet calibration, Kull et al. 2019, arXiv 1910.12656). The fit minimises the
mean ``KL(target || q)`` over clips, so that the whole soft label counts and not only its top label, plus a penalty:

* ``l2 / (2 clips)`` times a sum of squares: for vector scaling of the weights less their mean over labels and of the
  biases, so that a strong penalty leaves temperature scaling; for matrix scaling of the off-diagonal weights and of the
  biases (ODIR of Kull et al.). So ``l2`` is the precision of a normal prior, as scikit-learn's ``1 / C``, and weighs
  the less the more clips there are.
* ``scale_l2 / (2 clips)`` times the mean square of the diagonal. It is small, and keeps the weights finite where the
  fitting clips are separated without an error.

In the penalties a weight is that of log-probabilities divided by their spread: the root mean square, over the fitting
clips, of log-probabilities less their mean over labels. The strengths mean the same for sharp and for flat predictions.

The objective is convex: it has one minimum, found by L-BFGS with its analytic gradient. Nothing here reads a clip's own
votes for its own distribution: `emoprobe.beliefs.crossfit.plan` says whose votes each clip's parameters are fitted on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, xlogy

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.options import NotNegative, ShareBelowOne, valid

VECTOR_L2, MATRIX_L2 = 1.0, 3.0
SCALE_L2 = 0.1
FLOOR = 0.01


@dataclass(frozen=True)
class Scaling:
    """Fitted parameters of ``q = softmax(weight @ log p + bias)``.

    Args:
        kind: ``temperature``, ``vector`` or ``matrix``.
        weight: ``[labels, labels]``; row i makes label i's logit.
        bias: ``[labels]`` nats.
        floor: Share of the uniform distribution mixed into rows that hold a probability of zero, see `without_zeros`.
    """

    kind: str
    weight: np.ndarray
    bias: np.ndarray
    floor: float

    @property
    def temperature(self) -> float | None:
        """Temperature of temperature scaling: above 1 it flattens, at infinity every distribution is uniform."""
        if self.kind != "temperature":
            return None
        return float("inf") if self.weight[0, 0] == 0 else float(1 / self.weight[0, 0])


# -- fitting and applying ----------------------------------------------------------------------------------------------


def temperature_scaling(
    log_probs: np.ndarray, target: np.ndarray, *, l2: float = SCALE_L2, floor: float = FLOOR
) -> Scaling:
    """Fit one temperature T > 0 (infinity included): ``q = softmax(log p / T)``.

    Args:
        log_probs: ``[clips, labels]`` nats; rows with NaN take no part.
        target: Soft labels ``[clips, labels]``.
        l2: Strength of the penalty of the weight 1/T (``scale_l2`` of the others).
        floor: See `without_zeros`.

    Raises:
        InputError: A shape or value is wrong, or fewer than two clips per label have a distribution.
    """
    valid(NotNegative, l2, "l2")
    return _fit("temperature", log_probs, target, l2=0.0, scale_l2=l2, floor=floor)


def vector_scaling(
    log_probs: np.ndarray,
    target: np.ndarray,
    *,
    l2: float = VECTOR_L2,
    scale_l2: float = SCALE_L2,
    floor: float = FLOOR,
) -> Scaling:
    """Fit one weight and one bias per label: ``q = softmax(w * log p + b)``.

    Args:
        log_probs: ``[clips, labels]`` nats; rows with NaN take no part.
        target: Soft labels ``[clips, labels]``.
        l2: Strength of the penalty of unequal weights and of the bias.
        scale_l2: Strength of the penalty of the weights' scale.
        floor: See `without_zeros`.

    Raises:
        InputError: As of `temperature_scaling`.
    """
    return _fit("vector", log_probs, target, l2=l2, scale_l2=scale_l2, floor=floor)


def matrix_scaling(
    log_probs: np.ndarray,
    target: np.ndarray,
    *,
    l2: float = MATRIX_L2,
    scale_l2: float = SCALE_L2,
    floor: float = FLOOR,
) -> Scaling:
    """Fit a full weight matrix and a bias: ``q = softmax(W log p + b)``.

    Args:
        log_probs: ``[clips, labels]`` nats; rows with NaN take no part.
        target: Soft labels ``[clips, labels]``.
        l2: Strength of the off-diagonal and intercept regularisation (ODIR).
        scale_l2: Strength of the penalty of the diagonal's scale.
        floor: See `without_zeros`.

    Raises:
        InputError: As of `temperature_scaling`.
    """
    return _fit("matrix", log_probs, target, l2=l2, scale_l2=scale_l2, floor=floor)


def apply(scaling: Scaling, log_probs: np.ndarray) -> np.ndarray:
    """Calibrated log-probabilities ``[clips, labels]`` nats; a row with NaN stays without a distribution.

    Args:
        scaling: What `temperature_scaling`, `vector_scaling` or `matrix_scaling` gave.
        log_probs: ``[clips, labels]`` nats.
    """
    log_probs = np.asarray(log_probs, dtype=np.float64)
    result = np.full_like(log_probs, np.nan)
    usable = has_distribution(log_probs)
    rows = without_zeros(log_softmax(log_probs[usable], axis=1), scaling.floor)
    # Written as a sum and not as a matrix product, whose last digit depends on how many rows there are.
    logits = (rows[:, None, :] * scaling.weight).sum(axis=2) + scaling.bias
    result[usable] = log_softmax(logits, axis=1)
    return result


def has_distribution(log_probs: np.ndarray) -> np.ndarray:
    """Which rows are a distribution, boolean ``[clips]``: no NaN, and some probability above zero."""
    return ~np.isnan(log_probs).any(axis=1) & np.isfinite(log_probs).any(axis=1)


def without_zeros(log_probs: np.ndarray, floor: float) -> np.ndarray:
    """Rows that hold a probability of zero, mixed with the uniform distribution: ``(1 - floor) p + floor / labels``.

    A written answer excludes labels outright, and no scaling brings back what has a logarithm of minus infinity. Rows
    without a zero are left as they are, however small their probabilities.

    Args:
        log_probs: ``[clips, labels]`` nats.
        floor: Between 0 and 1; of 0 a zero is refused.

    Raises:
        InputError: There is a zero and the floor is 0.
    """
    zero = np.isneginf(log_probs).any(axis=1)
    if not zero.any():
        return log_probs
    if floor == 0:
        raise InputError(
            f"{int(zero.sum())} distributions hold a probability of zero, which no scaling changes",
            field="floor",
            remedy=f"Mix such rows with the uniform distribution, for example floor={FLOOR}.",
        )
    result = log_probs.copy()
    result[zero] = np.log((1 - floor) * np.exp(log_probs[zero]) + floor / log_probs.shape[1])
    return result


def _fit(kind: str, log_probs: np.ndarray, target: np.ndarray, *, l2: float, scale_l2: float, floor: float) -> Scaling:
    valid(NotNegative, l2, "l2")
    valid(NotNegative, scale_l2, "scale_l2")
    valid(ShareBelowOne, floor, "floor")
    rows, target = _fitting_rows(log_probs, target, floor)
    labels = rows.shape[1]
    spread = float(np.sqrt(np.mean((rows - rows.mean(axis=1, keepdims=True)) ** 2))) or 1.0
    rows = rows / spread
    means = rows.mean(axis=0)

    def at_means(parameters: np.ndarray, kind: str) -> tuple[float, np.ndarray]:
        # Biases as logits of the mean row: apart from the weights' effect, so that the search takes fewer steps.
        weight, bias = _unpack(kind, parameters, labels)
        value, slope = objective(_pack(kind, weight, bias - weight @ means), kind, rows, target, l2, scale_l2)
        of_weight, of_bias = _unpack(kind, slope, labels)
        return value, _pack(kind, of_weight - np.outer(of_bias, means), of_bias)

    def solve(kind: str, start: np.ndarray, function: Callable = at_means) -> np.ndarray:
        # A negative temperature would turn the model's ranking round; of the other weights the votes decide.
        bounds = [(0, None)] if kind == "temperature" else None
        options = {"maxiter": 20_000, "maxfun": 50_000, "maxcor": 20, "ftol": 0.0, "gtol": 1e-9}
        found = minimize(function, start, (kind,), "L-BFGS-B", jac=True, bounds=bounds, options=options)
        slope = found.x - np.clip(found.x - found.jac, 0, None) if bounds else found.jac
        if not np.abs(slope).max() < 1e-5:
            raise EmoprobeError(f"{kind} scaling did not converge ({found.message}); a larger l2 makes it easier")
        return found.x

    scale = solve("temperature", np.array([spread]), lambda x, kind: objective(x, kind, rows, target, 0.0, scale_l2))
    if kind == "temperature":
        return Scaling(kind, scale / spread * np.eye(labels), np.zeros(labels), floor)
    start = _pack(kind, scale * np.eye(labels), scale * means)
    weight, bias = _unpack(kind, solve(kind, start), labels)
    return Scaling(kind, weight / spread, bias - weight @ means, floor)


def objective(
    parameters: np.ndarray, kind: str, rows: np.ndarray, target: np.ndarray, l2: float, scale_l2: float
) -> tuple[float, np.ndarray]:
    """Mean ``KL(target || q)`` plus the penalties, in nats, and its gradient.

    Args:
        parameters: ``[1]``, ``[2 * labels]`` or ``[labels ** 2 + labels]``: weights, then biases.
        kind: ``temperature``, ``vector`` or ``matrix``: the shape of ``W``.
        rows: Log-probabilities divided by their spread, finite, ``[clips, labels]``.
        target: Soft labels ``[clips, labels]``.
        l2: See the module.
        scale_l2: See the module.
    """
    clips, labels = rows.shape
    weight, bias = _unpack(kind, parameters, labels)
    log_q = log_softmax(rows @ weight.T + bias, axis=1)
    value = (xlogy(target, target) - target * log_q).sum()
    slope = np.exp(log_q) * target.sum(axis=1, keepdims=True) - target
    of_weight, of_bias = slope.T @ rows, slope.sum(axis=0)

    diagonal = np.diag(weight)
    value += scale_l2 / 2 * np.mean(diagonal**2)
    of_weight = of_weight + np.diag(scale_l2 * diagonal / labels)
    if kind == "temperature":
        return value / clips, np.array([np.trace(of_weight) / clips])
    penalised = np.diag(diagonal - diagonal.mean()) if kind == "vector" else weight - np.diag(diagonal)
    value += l2 / 2 * ((penalised**2).sum() + (bias**2).sum())
    of_weight += l2 * penalised
    of_bias = of_bias + l2 * bias
    return value / clips, _pack(kind, of_weight, of_bias) / clips


def _unpack(kind: str, parameters: np.ndarray, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """``(weight [labels, labels], bias [labels])``."""
    if kind == "temperature":
        return parameters[0] * np.eye(labels), np.zeros(labels)
    weight, bias = parameters[:-labels], parameters[-labels:]
    return (np.diag(weight) if kind == "vector" else weight.reshape(labels, labels)), bias


def _pack(kind: str, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Inverse of `_unpack`; of vector scaling the diagonal is kept."""
    return np.concatenate([np.diag(weight) if kind == "vector" else weight.ravel(), bias])


def _fitting_rows(log_probs: np.ndarray, target: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
    log_probs, target = np.asarray(log_probs, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if log_probs.ndim != 2 or log_probs.shape != target.shape or log_probs.shape[1] < 2:
        raise InputError(f"log-probabilities {log_probs.shape} do not fit targets {target.shape}", field="target")
    if np.isposinf(log_probs).any():
        raise InputError("a log-probability is infinite", field="log_probs")
    usable = has_distribution(log_probs)
    rows, target = log_probs[usable], target[usable]
    if not (np.isfinite(target).all() and (target >= 0).all() and np.allclose(target.sum(axis=1), 1, atol=1e-6)):
        raise InputError("the targets are not distributions", field="target", remedy="Give rows that sum to 1.")
    check_number(len(rows), rows.shape[1])
    return without_zeros(log_softmax(rows, axis=1), floor), target


def least_clips(labels: int) -> int:
    """Fewest clips that anything is fitted on: two per label."""
    return 2 * labels


def check_number(clips: int, labels: int) -> None:
    """Refuse to fit on too few clips.

    Raises:
        InputError: There are fewer than `least_clips`.
    """
    if clips < least_clips(labels):
        raise InputError(
            f"{clips} clips with a distribution are too few to fit a calibration of {labels} labels on",
            field="calibration",
            remedy=f"Use at least {least_clips(labels)} clips, or a calibration that needs no votes.",
        )
