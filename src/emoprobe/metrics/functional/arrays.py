"""What the formulas need beside numpy's vocabulary, so that each is written once, for numpy arrays and torch tensors.

numpy and torch name nearly everything alike, and torch takes numpy's ``axis`` and ``keepdims``. Tensors keep their
device and their gradient; arrays need no torch.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

Values: TypeAlias = Any
"""A float64 array or tensor."""


def library(values: Values) -> ModuleType:
    """``numpy`` or ``torch``, whichever the values belong to."""
    return sys.modules["torch"] if type(values).__module__.partition(".")[0] == "torch" else np


def xlogy(x: Values, y: Values) -> Values:
    """``x ln y``, 0 where x is 0."""
    if library(x) is not np:
        return library(x).special.xlogy(x, y)
    from scipy import special

    return special.xlogy(x, y)


def as_numbers(truths: Values) -> Values:
    """0 and 1 as float64."""
    xp = library(truths)
    return xp.asarray(truths, dtype=xp.float64)


def one_hot(index: Values, size: int) -> Values:
    """0 and 1 as float64, with one more axis of length ``size``."""
    return as_numbers(index[..., None] == library(index).arange(size, device=index.device))


def sum_where(values: Values, where: Values) -> Values:
    """Sum over the last axis of the values that are meant, 0 of none."""
    if values.ndim == 1:
        return values[where].sum()
    return library(values).where(where, values, 0.0).sum(-1)


def mean_where(values: Values, where: Values) -> Values:
    """Mean over the last axis of the values that are meant, NaN of none."""
    return sum_where(values, where) / where.sum(-1)


def as_numpy(values: Values) -> np.ndarray:
    """The values on the CPU, without gradient."""
    return values if isinstance(values, np.ndarray) else values.detach().cpu().numpy()
