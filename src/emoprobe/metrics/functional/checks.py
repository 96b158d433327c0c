"""The boundary of the metrics: what a caller gives becomes float64 distributions, or an error that says which row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, Union

import numpy as np

from emoprobe.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Array: TypeAlias = Union["Tensor", np.ndarray]
Reduction: TypeAlias = Literal["mean", "none"]

ROW_SUM_TOLERANCE = 1e-4
"""How far a row may be from summing to one; half-precision inputs get their own machine epsilon where it is larger."""


def check_pair(pred: Array, target: Array) -> tuple[Tensor, Tensor]:
    """Predicted and human distributions as float64 tensors on the device of ``pred``.

    Args:
        pred: Predicted probabilities, ``[utterances, labels]``.
        target: Human probabilities (usually vote shares), ``[utterances, labels]``.

    Returns:
        Both as float64 ``[utterances, labels]``, every row summing to one up to float64 rounding.

    Raises:
        InputError: A shape, a value or a row sum is wrong, see :func:`check_distributions`, or the shapes differ.
    """
    pred, target = check_distributions(pred, field="pred"), check_distributions(target, field="target")
    _check_same_shape(target, pred, field="target")
    return pred, target.to(pred.device)


def check_distributions(values: Array, *, field: str) -> Tensor:
    """Rows of probabilities as a float64 tensor.

    A row whose sum is off by no more than the tolerance was rounded (half precision, shares written with five
    decimals): it is divided by its sum. A row further off is an error and is never rescaled.

    Args:
        values: Probabilities, ``[utterances, labels]``; at least one utterance and two labels.
        field: What to call the values in an error.

    Returns:
        Float64 ``[utterances, labels]``; gradients flow through.

    Raises:
        InputError: The values are not a numeric matrix, are empty, negative, not finite or do not sum to one.
    """
    matrix, epsilon = _as_matrix(values, field=field)
    total = matrix.sum(dim=-1, keepdim=True)
    row = _first_row((total - 1).abs() > max(ROW_SUM_TOLERANCE, epsilon))
    if row is not None:
        raise InputError(
            f"probabilities sum to {float(total[row]):.6g}, not to one",
            field=field,
            row=row + 1,
            remedy="Give each utterance a distribution over the labels (probabilities, not logits, votes or percent).",
        )
    return matrix / total


def check_votes(votes: Array, *, like: Tensor | None = None) -> Tensor:
    """Vote counts as a float64 tensor, on the device of ``like`` where that is given.

    Args:
        votes: Number of raters per label, ``[utterances, labels]``; a row may hold shares where counts are not known.
        like: Distributions that must be of the same utterances and labels.

    Returns:
        Float64 ``[utterances, labels]``.

    Raises:
        InputError: The votes are not a numeric matrix of the same shape, are negative or not finite, or a row has none.
    """
    matrix, _ = _as_matrix(votes, field="votes")
    if like is not None:
        _check_same_shape(matrix, like, field="votes")
        matrix = matrix.to(like.device)
    row = _first_row(matrix.sum(dim=-1) <= 0)
    if row is not None:
        raise InputError(
            "an utterance has no votes",
            field="votes",
            row=row + 1,
            remedy="Leave out utterances that nobody rated.",
        )
    return matrix


def _as_matrix(values: Array, *, field: str) -> tuple[Tensor, float]:
    """Finite non-negative float64 ``[utterances, labels]``, and the machine epsilon of what was given."""
    import torch

    if isinstance(values, torch.Tensor):
        if values.is_complex():
            raise InputError("the values are complex numbers", field=field, remedy="Give real numbers.")
        epsilon = torch.finfo(values.dtype).eps if values.is_floating_point() else 0.0
        matrix = values.to(torch.float64)
    else:
        try:
            array = np.asarray(values)
        except (TypeError, ValueError) as error:
            raise InputError(
                "the values do not form a matrix", field=field, remedy="Give equally long rows."
            ) from error
        if array.dtype.kind not in "biuf":
            raise InputError("the values are not numbers", field=field, remedy="Give a numeric array.")
        epsilon = float(np.finfo(array.dtype).eps) if array.dtype.kind == "f" else 0.0
        # A copy: torch cannot wrap reversed views and warns about read-only arrays.
        matrix = torch.from_numpy(np.array(array, dtype=np.float64, order="C"))
    if matrix.ndim != 2 or matrix.shape[1] < 2:
        raise InputError(
            f"the values have shape {list(matrix.shape)}, not [utterances, labels] with at least two labels",
            field=field,
        )
    if not len(matrix):
        raise InputError("there are no utterances", field=field, remedy="Score at least one utterance.")
    row = _first_row(~matrix.isfinite())
    if row is not None:
        raise InputError("a value is NaN or infinite", field=field, row=row + 1)
    row = _first_row(matrix < 0)
    if row is not None:
        raise InputError(f"a value is negative ({float(matrix[row].min()):.6g})", field=field, row=row + 1)
    return matrix, epsilon


def _check_same_shape(values: Tensor, like: Tensor, *, field: str) -> None:
    if values.shape != like.shape:
        raise InputError(
            f"the shape {list(values.shape)} differs from the predictions' shape {list(like.shape)}",
            field=field,
            remedy="Give the same utterances and labels in the same order.",
        )


def _first_row(bad: Tensor) -> int | None:
    rows = bad.reshape(len(bad), -1).any(dim=1).nonzero()
    return int(rows[0]) if len(rows) else None
