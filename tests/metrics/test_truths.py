"""The ceiling on resamples, and from how many votes on it is to be relied on: simulated raters whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from emoprobe.metrics.dirichlet import fit_dirichlet_mixture
from emoprobe.metrics.intervals import expanded_percentiles
from emoprobe.metrics.resampling import draw_clusters
from emoprobe.metrics.truths import REFIT_BELOW, SURE_VOTES, Truths, resampled_metrics

ALPHA = [0.2, 0.4, 0.6, 0.8, 1.0]


def simulate(clips: int, raters: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.dirichlet(ALPHA, clips)
    return truth, rng.multinomial(raters, truth).astype(float)


def js(pred: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Independent of the code: scipy's distance to base 2, squared."""
    return jensenshannon(pred, target, base=2, axis=1) ** 2


def test_resampled_ceiling_is_the_weighted_mean_of_the_clips_expected_scores():
    _, votes = simulate(40, 5, 0)
    truths, clusters = Truths(votes, draws=6), np.arange(40) % 7
    drawn = draw_clusters(np.random.default_rng(3), 7, 25)
    prior, rng = fit_dirichlet_mixture(votes, seed=0), np.random.default_rng(0)
    expected = np.mean([js(prior.draw(votes, rng), votes / 5) for _ in range(6)], axis=0)
    weights = drawn[:, clusters]
    values = truths.resampled(clusters, drawn)
    np.testing.assert_allclose(values["js_divergence"], weights @ expected / weights.sum(axis=1), atol=1e-12)
    assert set(values) == set(resampled_metrics())
    once = truths.resampled(clusters, np.ones((1, 7), dtype=int))
    for name in ("js_divergence", "brier", "vote_nll", "r2_per_class", "wa", "uar"):
        assert once[name][0] == pytest.approx(truths.scores()[name]), name


def test_clips_of_one_vote_are_left_out_of_the_resamples():
    _, votes = simulate(40, 5, 0)
    clusters = np.arange(40) % 7
    single = np.concatenate([votes, np.eye(5)[:3]])
    more = np.concatenate([clusters, [7, 7, 0]])  # speaker 7 has no usable clip
    drawn = draw_clusters(np.random.default_rng(3), 8, 10)
    found = Truths(single, draws=3).resampled(more, drawn)["js_divergence"]
    plain = Truths(votes, draws=3).resampled(clusters, drawn[:, :7])["js_divergence"]
    np.testing.assert_allclose(found, plain)


def test_too_few_votes_are_said():
    _, votes = simulate(100, 3, 0)
    assert Truths(votes, draws=1).doubt == ""
    fewer = Truths(votes[:99], draws=1)
    assert fewer.spare_votes == 198
    assert f"198 votes beyond each clip's first, and {SURE_VOTES} are needed" in fewer.doubt
    assert Truths(votes[:10], draws=1).doubt == ""  # there is no ceiling to doubt
    assert Truths(votes[:10], draws=1).resampled(np.arange(10), np.ones((2, 10), dtype=int)) == {}


def test_few_clips_and_pairs_of_raters_are_said():
    """However many votes they have."""
    assert "40 clips, and 50 are needed" in Truths(simulate(40, 10, 0)[1], draws=1).doubt
    assert Truths(simulate(60, 10, 0)[1], draws=1).doubt == ""
    assert "300 clips of about two raters, and 500 are needed" in Truths(simulate(300, 2, 0)[1], draws=1).doubt
    assert Truths(simulate(500, 2, 0)[1], draws=1).doubt == ""


def test_what_no_mixture_tells_is_in_the_interval():
    """By its definition: a normal deviation of .1 over the raters, as a part of the distance from prior to ceiling."""
    _, votes = simulate(200, 4, 0)
    truths, shares = Truths(votes, draws=4), votes / 4
    drawn, clusters = np.ones((4000, 20), dtype=int), np.arange(200) % 20
    plain = truths.resampled(clusters, drawn)["js_divergence"]
    moved = truths.resampled(clusters, drawn, misfit=True)["js_divergence"]
    floor = js(np.broadcast_to(shares.mean(axis=0), shares.shape), shares).mean()
    assert np.std(moved - plain) == pytest.approx(0.1 / 4 * (floor - plain[0]), rel=0.05)


@pytest.mark.parametrize("raters", [3, 8])
def test_the_threshold_is_where_the_error_is_a_tenth_of_the_range(raters):
    """Coarsely what the table in `emoprobe.metrics.truths` states."""
    truth, votes = simulate(20_000, raters, 99)
    shares = votes / raters
    gain = js(np.broadcast_to(shares.mean(axis=0), shares.shape), shares).mean() - js(truth, shares).mean()

    def error(clips: int, repeats: int) -> float:
        found = []
        for seed in range(repeats):
            truth, votes = simulate(clips, raters, seed)
            oracle = js(truth, votes / raters).mean()
            found.append(Truths(votes, draws=5, seed=seed).scores()["js_divergence"] - oracle)
        return math.sqrt(np.mean(np.square(found))) / gain

    assert error(math.ceil(SURE_VOTES / (raters - 1)), 12) < 0.13
    if raters == 3:
        assert error(20, 24) > 0.18


def test_the_interval_needs_the_refits_to_hold_the_populations_ceiling():
    truth, votes = simulate(20_000, 3, 99)
    ceiling = js(truth, votes / 3).mean()
    clusters = np.arange(60) % 12
    drawn = draw_clusters(np.random.default_rng(0), 12, 400)
    held = {0: 0, 8: 0}
    for seed in range(8):
        truths = Truths(simulate(60, 3, 7000 + seed)[1], draws=5)
        assert truths.spare_votes < REFIT_BELOW
        for refits in held:
            low, high = expanded_percentiles(truths.resampled(clusters, drawn, refits=refits)["js_divergence"], 12)
            held[refits] += low <= ceiling <= high
    assert held[8] >= 7
    assert held[0] <= 6
