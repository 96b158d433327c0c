"""Who is put into whom, and the share of the way, against scipy's distance and a plain ratio."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon

from emoprobe.analysis.patching import by_layer, choose_donors, distances, fitted


def test_donors_are_drawn_by_the_seed_and_long_enough():
    ids, samples = [f"u{i}" for i in range(40)], list(range(100, 140))
    donors = choose_donors(ids, samples, 0)
    assert donors == choose_donors(ids, samples, 0) != choose_donors(ids, samples, 1)
    for clip, donor in enumerate(donors):
        assert donor != clip
        assert samples[donor] >= samples[clip] or clip == 39
    turned = choose_donors(ids[::-1], samples[::-1], 0)
    assert [39 - donor for donor in turned[::-1]] == donors


def test_a_donor_is_cut_or_followed_by_silence():
    np.testing.assert_array_equal(fitted(np.array([1.0, 2, 3]), 2), [1, 2])
    np.testing.assert_array_equal(fitted(np.array([1.0, 2, 3]), 5), [1, 2, 3, 0, 0])


def test_the_share_of_the_way_and_its_interval():
    rng = np.random.default_rng(0)
    rows, expected = [], []
    for pair in range(30):
        beliefs = rng.dirichlet(np.ones(4), 3)
        own, other = distances(beliefs, beliefs[-1], beliefs[0])
        js = [[jensenshannon(belief, end, 2) ** 2 for belief in beliefs] for end in (beliefs[-1], beliefs[0])]
        np.testing.assert_allclose([own, other], js, atol=1e-12)
        expected.append(js)
        for layer in range(3):
            names = {"prompt": "p", "layer": layer, "speaker": f"s{pair % 6}"}
            rows.append(names | {"js_from_receiver": own[layer], "js_from_donor": other[layer]})
    found = by_layer(pd.DataFrame(rows), resamples=500)
    total = np.sum(expected, axis=0)
    np.testing.assert_allclose(found["share"], total[0] / total.sum(axis=0))
    assert found["share"].iloc[[0, 2]].tolist() == pytest.approx([1, 0])
    assert found["share_low"].iloc[1] < found["share"].iloc[1] < found["share_high"].iloc[1]
    shares = np.sort([total_of(expected, rng) for _ in range(2000)])
    np.testing.assert_allclose(found[["share_low", "share_high"]].iloc[1], shares[[30, -31]], atol=0.04)


def total_of(expected, rng):
    """The share in the middle layer of speakers drawn with replacement."""
    drawn = rng.integers(6, size=6)
    own, other = np.sum([expected[pair] for s in drawn for pair in range(s, 30, 6)], axis=0)[:, 1]
    return own / (own + other)


def test_beliefs_that_do_not_differ_have_no_share():
    rows = [{"prompt": "p", "layer": 0, "speaker": s, "js_from_receiver": 0.0, "js_from_donor": 0.0} for s in "ab"]
    assert by_layer(pd.DataFrame(rows))[["share", "share_low"]].isna().all(axis=None)
