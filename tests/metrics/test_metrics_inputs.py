"""Bad input is an InputError that names the field and the row, never a number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emoprobe.errors import InputError
from emoprobe.metrics.functional import METRICS, ece, evaluate, js_divergence, majority, vote_nll

GOOD = np.array([[0.2, 0.8], [0.5, 0.5], [1.0, 0.0]])


def changed(value: float, row: int = 1) -> np.ndarray:
    values = GOOD.copy()
    values[row, 0] = value
    return values


@pytest.mark.parametrize("field", ["pred", "target"])
@pytest.mark.parametrize(
    ("bad", "what", "row"),
    [
        (changed(np.nan), "NaN or infinite", 2),
        (changed(np.inf, row=2), "NaN or infinite", 3),
        (changed(-0.1), r"negative \(-0.1\)", 2),
        (changed(0.6, row=0), "sum to 1.4, not to one", 1),
        (changed(0.5002), "not to one", 2),
        (np.array([[3.0, 5.0]]), "sum to 8", 1),
        (np.zeros((1, 2)), "sum to 0", 1),
        (np.zeros((0, 2)), "no utterances", None),
        (np.array([0.2, 0.8]), r"shape \[2\]", None),
        (np.ones((3, 1)), "at least two labels", None),
        (np.full((1, 1, 2), 0.5), r"shape \[1, 1, 2\]", None),
        (np.array([["a", "b"]]), "not numbers", None),
        (np.array([[0.5, 0.5j]]), "not numbers", None),
        (torch.tensor([[0.5, 0.5j]]), "complex", None),
        ([[0.5, 0.5], [1.0]], "do not form a matrix", None),
    ],
)
def test_bad_distributions_are_named_with_field_and_row(field, bad, what, row):
    data = {"pred": GOOD, "target": GOOD} | {field: bad}
    with pytest.raises(InputError, match=what) as caught:
        js_divergence(**data)
    assert caught.value.field == field
    assert caught.value.row == row


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_checks_its_input(name):
    with pytest.raises(InputError, match="not to one"):
        METRICS[name](changed(0.9), GOOD)
    with pytest.raises(InputError, match="no utterances"):
        METRICS[name](np.zeros((0, 2)), np.zeros((0, 2)))


@pytest.mark.parametrize("target", [GOOD[:2], np.array([[0.2, 0.3, 0.5]] * 3)])
def test_different_shapes_are_an_error_and_never_broadcast(target):
    with pytest.raises(InputError, match=r"differs from the predictions' shape \[3, 2\]") as caught:
        evaluate(GOOD, target)
    assert caught.value.field == "target"


@pytest.mark.parametrize(
    ("votes", "what", "row"),
    [
        (np.array([[1, 4], [2, 2], [0, 0]]), "no votes", 3),
        (np.array([[1, 4], [2, -2], [1, 0]]), "negative", 2),
        (np.array([[1, np.nan], [2, 2], [1, 0]]), "NaN", 1),
        (np.array([[1, 4], [2, 2]]), "differs from the predictions' shape", None),
    ],
)
def test_bad_votes_are_named_with_field_and_row(votes, what, row):
    for function in (evaluate, vote_nll):
        with pytest.raises(InputError, match=what) as caught:
            function(GOOD, GOOD, votes)
        assert caught.value.field == "votes"
        assert caught.value.row == row


def test_unknown_reduction_and_bins_are_errors():
    with pytest.raises(InputError, match="unknown reduction 'sum'"):
        js_divergence(GOOD, GOOD, reduction="sum")
    for bins in (0, -1, 2.5):
        with pytest.raises(InputError, match="number of bins"):
            ece(GOOD, GOOD, bins=bins)


def test_majority_checks_its_input():
    with pytest.raises(InputError, match="sum to 8"):
        majority(np.array([[3.0, 5.0]]))


def test_rounded_shares_are_rescaled_and_larger_errors_are_not():
    third = np.array([[0.33333, 0.33333, 0.33333]])
    assert js_divergence(third, np.full((1, 3), 1 / 3)).item() == pytest.approx(0, abs=1e-12)
    with pytest.raises(InputError, match="not to one"):
        js_divergence(np.array([[0.333, 0.333, 0.333]]), third)


def test_half_precision_rows_may_be_off_by_their_own_rounding():
    row = torch.tensor([[0.7, 0.1, 0.1, 0.1]])
    for dtype in (torch.float16, torch.bfloat16):
        assert js_divergence(row.to(dtype), row).item() < 1e-4
    off = torch.tensor([[0.7, 0.1, 0.1, 0.103]])
    assert js_divergence(off.to(torch.bfloat16), row).item() < 1e-3
    with pytest.raises(InputError, match="not to one"):
        js_divergence(off, row)


@pytest.mark.parametrize(
    "values",
    [
        GOOD[::-1],
        np.asfortranarray(GOOD),
        GOOD.astype(">f8"),
        GOOD.astype(np.float16),
        np.array([[1, 0], [0, 1], [1, 0]]),
        np.array([[True, False], [False, True], [True, False]]),
        [[0.2, 0.8], [0.5, 0.5], [1.0, 0.0]],
    ],
    ids=["reversed", "fortran", "big-endian", "half", "integers", "booleans", "lists"],
)
def test_any_numeric_matrix_is_accepted(values):
    plain = np.array([[float(value) for value in row] for row in values])
    plain /= plain.sum(axis=1, keepdims=True)
    assert js_divergence(values, GOOD).item() == pytest.approx(js_divergence(plain, GOOD).item(), abs=1e-12)


def test_input_is_never_changed():
    pred, target = GOOD.copy(), GOOD[:, ::-1].copy()
    for array in (pred, target):
        array.setflags(write=False)
    evaluate(pred, target)
    np.testing.assert_array_equal(pred, GOOD)
