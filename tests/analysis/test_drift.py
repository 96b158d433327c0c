"""Linear CKA against the form by features and by centring matrices; divergence of beliefs against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import qr
from scipy.spatial.distance import jensenshannon

from emoprobe.analysis.drift import drift_by_layer, linear_cka
from emoprobe.errors import InputError

RNG = np.random.default_rng(0)


def by_features(x, y):
    """Kornblith et al. 2019, equation 4 with linear kernels, column by column."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


def by_hsic(x, y):
    """HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with the centring matrix."""
    centre = np.eye(len(x)) - 1 / len(x)

    def hsic(a, b):
        return np.trace(a @ a.T @ centre @ b @ b.T @ centre)

    return hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))


@pytest.mark.parametrize("shape", [(30, 5, 8), (6, 40, 3)])
def test_cka_is_that_of_the_paper(shape):
    clips, width, other = shape
    x, y = RNG.normal(1, 1, (clips, width)), RNG.normal(0, 2, (clips, other))
    assert linear_cka(x, y) == pytest.approx(by_features(x, y), abs=1e-12)
    assert linear_cka(x, y) == pytest.approx(by_hsic(x, y), abs=1e-12)
    rotation = qr(RNG.normal(size=(width, width)))[0]
    assert linear_cka(x, 3 * x @ rotation + 5) == pytest.approx(1)


def test_cka_of_nothing_is_undefined():
    assert np.isnan(linear_cka(np.ones((4, 2)), RNG.normal(size=(4, 3))))
    with pytest.raises(InputError, match="not of the same two clips or more"):
        linear_cka(np.ones((1, 2)), np.ones((1, 2)))


def test_drift_has_a_row_for_each_part_and_layer():
    before, after = ({p: {i: RNG.normal(size=(5, 4)) for i in range(2)} for p in ("encoder", "decoder")} for _ in "ab")
    beliefs = RNG.dirichlet(np.ones(3), (2, 5, 2))
    found = drift_by_layer(before, after, (beliefs[0], beliefs[1]), list("aabbc"), resamples=100)
    assert found[["part", "layer"]].to_numpy().tolist() == [[p, i] for p in ("encoder", "decoder") for i in range(2)]
    for row in found.itertuples():
        assert row.cka == pytest.approx(by_features(before[row.part][row.layer], after[row.part][row.layer]))
    assert found["js"].iloc[:2].isna().all()
    js = [np.mean([jensenshannon(*beliefs[:, clip, layer], 2) ** 2 for clip in range(5)]) for layer in range(2)]
    np.testing.assert_allclose(found["js"].iloc[2:], js)
    assert (found["js_low"].iloc[2:] <= found["js"].iloc[2:]).all()
    assert drift_by_layer(before, after, None, list("aabbc"))["js"].isna().all()
