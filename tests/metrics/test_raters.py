"""What ratings say of raters: against published values, counting by hand, and simulated raters."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emoprobe.metrics.raters import agreement, krippendorff_alpha, rater_statistics

# Krippendorff: Computing Krippendorff's Alpha-Reliability (2011), part E: four observers, twelve units, gaps.
PUBLISHED = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""


def published() -> tuple[np.ndarray, list[str], np.ndarray]:
    given = [
        (clip, name, int(cell) - 1)
        for name, line in zip("ABCD", PUBLISHED.strip().splitlines(), strict=True)
        for clip, cell in enumerate(line.split())
        if cell != "."
    ]
    return np.array([g[0] for g in given]), [g[1] for g in given], np.eye(5)[[g[2] for g in given]]


def test_the_published_alphas():
    clip, _, votes = published()
    assert krippendorff_alpha(clip, votes) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(clip, votes, (1, 2, 3, 4, 5)) == pytest.approx(0.849, abs=5e-4)


def test_alpha_at_its_ends():
    same = np.repeat(np.arange(6), 3)
    assert krippendorff_alpha(same, np.eye(3)[same % 3]) == 1
    assert np.isnan(krippendorff_alpha(same, np.eye(3)[same * 0]))
    assert np.isnan(krippendorff_alpha(np.arange(4), np.eye(2)[[0, 1, 0, 1]]))
    rng = np.random.default_rng(0)
    assert abs(krippendorff_alpha(np.repeat(np.arange(2000), 4), np.eye(3)[rng.integers(0, 3, 8000)])) < 0.02


ratings = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from("abcd"), st.integers(0, 2)),
    min_size=1,
    max_size=14,
    unique_by=lambda r: r[:2],
)


@settings(max_examples=60, deadline=None)
@given(ratings)
def test_statistics_by_counting_pairs(given: list[tuple[int, str, int]]):
    clip, names, said = zip(*given, strict=True)
    votes = np.eye(3)[list(said)]
    found = rater_statistics(np.array(clip), names, votes, (1, 2, 3))
    assert sum(each.num_ratings for each in found) == len(given)
    assert sum(each.share for each in found) == pytest.approx(1)
    for each in found:
        same, others, bias, above = [], [], [], []
        for c, n, s in given:
            rest = [(m, t) for d, m, t in given if d == c and m != n]
            if n != each.rater or not rest:
                continue
            same.append(np.mean([t == s for _, t in rest]))
            bias.append(np.eye(3)[s] - np.mean([np.eye(3)[t] for _, t in rest], axis=0))
            above.append(s - np.mean([t for _, t in rest]))
            if len(rest) > 1:
                others.append(np.mean([t == u for (_, t), (_, u) in permutations(rest, 2)]))
        assert each.num_compared == len(same)
        for value, by_hand in ((each.agreement, same), (each.others, others), (each.mean_difference, above)):
            assert value == pytest.approx(np.mean(by_hand) if by_hand else np.nan, nan_ok=True)
        np.testing.assert_allclose(each.bias, np.mean(bias, axis=0) if bias else [np.nan] * 3, atol=1e-12)
    whole = agreement(np.array(clip), names, votes)
    compared = [each for each in found if each.num_compared]
    total = sum(each.num_compared for each in found)
    mean = sum(each.agreement * each.num_compared for each in compared) / total if total else np.nan
    assert whole.observed == pytest.approx(mean, nan_ok=True)
    assert (whole.num_raters, whole.num_ratings, whole.num_compared) == (len(set(names)), len(given), total)


def test_a_rater_who_always_says_the_same_stands_out():
    rng = np.random.default_rng(1)
    truth = rng.dirichlet(np.ones(4), 300)
    said = np.array([[rng.choice(4, p=p) for _ in range(4)] for p in truth])
    said[:, 3] = 2
    found = rater_statistics(np.repeat(np.arange(300), 4), ["a", "b", "c", "odd"] * 300, np.eye(4)[said.ravel()])
    odd = next(each for each in found if each.rater == "odd")
    assert odd.bias[2] == max(each.bias[2] for each in found) > 0.6
    assert odd.agreement < odd.others - 0.1
    assert odd.total_bias == max(each.total_bias for each in found)
    assert np.isnan(odd.mean_difference)


def test_divided_votes_count_as_parts():
    votes = np.array([[0.5, 0.5], [1, 0], [0, 1]])
    found = rater_statistics(np.zeros(3), ["both", "first", "second"], votes)
    assert {each.rater: each.agreement for each in found} == {"both": 0.5, "first": 0.25, "second": 0.25}
    assert all(each.others == pytest.approx(0 if each.rater == "both" else 0.5) for each in found)
