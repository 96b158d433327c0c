"""Columns of lists in a score table, row by row without a loop."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def lengths(column: pa.ChunkedArray) -> np.ndarray:
    """Length of each list, 0 where there is none, ``[rows]``."""
    return pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)


def unlike_the_first(column: pa.ChunkedArray) -> np.ndarray:
    """Which lists differ from the first, ``[rows]``; lists of texts or of numbers."""
    size = lengths(column)
    alike = size == size[0]
    if alike.all() and size[0]:
        flat = pc.list_flatten(column)
        if pa.types.is_string(flat.type):
            flat = flat.combine_chunks().dictionary_encode()
            flat = (flat.combine_chunks() if isinstance(flat, pa.ChunkedArray) else flat).indices
        values = flat.to_numpy().reshape(-1, size[0])
        alike = (values == values[0]).all(axis=1)
    return ~alike


def joined(column: pa.ChunkedArray) -> np.ndarray:
    """The numbers of all lists, one behind the other, float64."""
    return pc.list_flatten(column).to_numpy().astype(np.float64)


def by_row(values: np.ndarray, size: np.ndarray, reduce: np.ufunc = np.add) -> np.ndarray:
    """Sum (or maximum) of every row's stretch of a flat array, 0 for empty ones, ``[rows]``."""
    result = np.zeros(len(size))
    filled = size > 0
    if filled.any():
        starts = np.concatenate([[0], np.cumsum(size)[:-1]])[filled]
        result[filled] = reduce.reduceat(values, starts)
    return result


def log_mass(values: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Log-sum-exp of every row's stretch of a flat array of logarithms, minus infinity for empty ones, ``[rows]``."""
    with np.errstate(divide="ignore"):
        return np.log(by_row(np.exp(np.minimum(values, 500.0)), size))
