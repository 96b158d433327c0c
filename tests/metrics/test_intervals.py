"""Cluster-bootstrap intervals cover what they say they cover."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from emoprobe.errors import InputError
from emoprobe.metrics import intervals
from emoprobe.metrics.functional import METRICS, js_divergence, metrics_of
from emoprobe.metrics.intervals import bootstrap_intervals, expanded_percentiles, mean_interval, tail_probability

COVERED = ("js_divergence", "wa", "r2_per_class")
LABELS = 4


def draw_corpus(clusters: int, rng: np.random.Generator):
    """Utterances of speakers of unequal number, skill of the model and direction of its errors."""
    sizes = 1 + rng.poisson(12 * rng.gamma(2, 0.5, clusters))
    speaker = np.repeat(np.arange(clusters), sizes)
    skill = np.clip(0.5 + 0.25 * rng.standard_normal(clusters), 0, 1)[speaker, None]
    truth, noise = rng.dirichlet(np.full(LABELS, 0.5), (2, len(speaker)))
    bias = rng.dirichlet(np.full(LABELS, 0.7), clusters)[speaker]
    votes = rng.multinomial(7, truth / truth.sum(axis=1, keepdims=True)).astype(float)
    return skill * truth + (1 - skill) * (noise + bias) / 2, votes / 7, votes, speaker


@pytest.fixture(scope="module")
def population() -> dict[str, float]:
    """The values that intervals should cover, from a corpus of very many speakers."""
    data = draw_corpus(20_000, np.random.default_rng(0))[:3]
    return {name: float(METRICS[name](*data)) for name in COVERED}


def coverage(population: dict[str, float], clusters: int, *, corpora: int, ignore_clusters: bool = False):
    rng = np.random.default_rng(clusters)
    hits = dict.fromkeys(COVERED, 0)
    for seed in range(corpora):
        pred, target, votes, speaker = draw_corpus(clusters, rng)
        groups = np.arange(len(pred)) if ignore_clusters else speaker
        found = bootstrap_intervals(pred, target, votes, groups, resamples=600, seed=seed, metrics=COVERED)
        for name, (low, high) in found.items():
            hits[name] += low <= population[name] <= high
    return {name: number / corpora for name, number in hits.items()}


@pytest.mark.parametrize("clusters", [12, 24, 45])
def test_intervals_cover_the_population_value(population, clusters):
    for name, covered in coverage(population, clusters, corpora=500).items():
        assert 0.90 <= covered <= 0.98, name


def test_plain_percentiles_cover_less_with_few_clusters(population, monkeypatch):
    expanded = coverage(population, 12, corpora=200)
    monkeypatch.setattr(intervals, "tail_probability", lambda num_clusters, level: (1 - level) / 2)
    plain = coverage(population, 12, corpora=200)
    assert all(plain[name] < expanded[name] for name in COVERED)
    assert np.mean(list(plain.values())) < 0.91


def test_ignoring_clusters_covers_far_too_little(population):
    covered = coverage(population, 45, corpora=100, ignore_clusters=True)
    assert covered["js_divergence"] < 0.75
    assert covered["wa"] < 0.85


@pytest.mark.parametrize("clusters", [2, 4])
def test_intervals_of_very_few_speakers_are_students(population, clusters, monkeypatch):
    """Percentiles of so few different resamples hold half of the truths, or five of six."""
    students = coverage(population, clusters, corpora=200)["js_divergence"]
    monkeypatch.setattr(intervals, "FEW_CLUSTERS", 0)
    percentiles = coverage(population, clusters, corpora=200)["js_divergence"]
    assert students >= 0.9
    assert percentiles < {2: 0.65, 4: 0.92}[clusters]
    assert percentiles < students - 0.03


def test_interval_of_five_single_clips_is_students(make):
    case = make(1, 5, 5)
    values = js_divergence(case.pred, case.target, reduction="none").numpy()
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = bootstrap_intervals(case.pred, case.target, case.votes, range(5), resamples=20_000)["js_divergence"]
    assert found == pytest.approx(tuple(expected), abs=0.03 * np.ptp(expected))


def test_calibration_errors_have_no_interval_since_resamples_miss_the_truth():
    """Noise raises the estimate, a resample raises it again: percentiles of a calibrated model lie above zero."""
    rng = np.random.default_rng(0)
    pred = rng.dirichlet(np.ones(LABELS), 300)
    votes = rng.multinomial(7, pred).astype(float)
    measure = intervals.WeightedMetrics(pred, votes / 7, votes, metrics=["classwise_ece"])
    values = measure(intervals.draw_clusters(rng, 300, 200))["classwise_ece"]
    assert expanded_percentiles(values, 300)[0] > 0.01
    ends = bootstrap_intervals(pred, votes / 7, votes, range(300), resamples=50)
    assert all(np.isnan(ends[name]).all() for name in ("ece_5", "ece_10", "classwise_ece"))
    assert "no interval" in METRICS["ece_10"].definition


def test_tail_probability_is_the_usual_one_with_many_clusters_and_smaller_with_few():
    assert tail_probability(100_000, 0.95) == pytest.approx(0.025, abs=1e-5)
    tails = [tail_probability(number, 0.95) for number in (3, 6, 12, 24, 100)]
    assert tails == sorted(tails)
    # The width it stands for under a normal law is that of Student's interval of a mean, variance over n - 1.
    width = stats.norm.isf(tail_probability(12, 0.95)) * np.sqrt(11 / 12)
    assert width == pytest.approx(stats.t.isf(0.025, 11))


def test_interval_of_a_mean_over_single_clips_is_students(make):
    """With every utterance its own cluster and a mean metric, the width is that of scipy's t interval."""
    case = make(1, 60, 5)
    values = js_divergence(case.pred, case.target, reduction="none").numpy()
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = bootstrap_intervals(case.pred, case.target, case.votes, range(60), resamples=20_000)["js_divergence"]
    assert np.subtract(*found) == pytest.approx(np.subtract(*expected), rel=0.03)
    assert found == pytest.approx(tuple(expected), abs=0.003)


def test_interval_of_a_metric_that_is_no_mean_is_that_of_resampled_data(make):
    case = make(2, 80, 4)
    clusters = np.random.default_rng(0).integers(0, 15, 80)
    rng, found = np.random.default_rng(1), []
    names = ("uar", "weighted_f1", "entropy_spearman", "r2_per_class", "vote_nll")
    for _ in range(500):
        rows = np.concatenate([np.flatnonzero(clusters == c) for c in rng.integers(0, 15, 15)])
        data = case.pred[rows], case.target[rows], case.votes[rows]
        found.append({name: float(METRICS[name](*data)) for name in names})
    ends = bootstrap_intervals(case.pred, case.target, case.votes, clusters, resamples=8000, level=0.8)
    assert tuple(ends) == metrics_of()
    tail = tail_probability(15, 0.8)
    for name in names:
        values = np.array([row[name] for row in found])
        expected = np.quantile(values, [tail, 1 - tail])
        # The standard error of a tail quantile of 500 draws is a tenth of the standard deviation.
        assert ends[name] == pytest.approx(tuple(expected), abs=0.3 * values.std()), name


def test_infinite_and_undefined_metrics_have_intervals_as_they_are():
    pred = np.tile([1.0, 0.0], (40, 1))
    target = np.tile([1.0, 0.0], (40, 1))
    target[0] = [0.5, 0.5]
    # One utterance of 40 makes it infinite in about 63 % of the resamples.
    ends = bootstrap_intervals(pred, target, None, range(40))
    assert ends["kl_target_pred"] == (0.0, np.inf)
    assert np.isnan(ends["entropy_spearman"]).all()
    target[:] = [0.5, 0.5]
    ends = bootstrap_intervals(pred, target, None, range(40))
    assert ends["kl_target_pred"] == (np.inf, np.inf)
    assert np.isnan(ends["wa"]).all()


def test_undefined_resamples_are_left_out_up_to_half():
    values = np.arange(1000.0)
    values[::3] = np.nan
    low, high = expanded_percentiles(values, 100_000)
    assert (low, high) == pytest.approx(tuple(np.nanquantile(values, [0.025, 0.975])), abs=2)
    values[::2] = np.nan
    assert np.isnan(expanded_percentiles(values, 100_000)).all()


def test_one_cluster_has_no_interval_and_seeds_repeat(make):
    case = make(3, 30, 3)
    data = case.pred, case.target, case.votes
    assert all(np.isnan(ends).all() for ends in bootstrap_intervals(*data, ["a"] * 30).values())
    clusters = list("abcdef") * 5
    first, again, other = (bootstrap_intervals(*data, clusters, resamples=200, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    wide, narrow = (bootstrap_intervals(*data, clusters, level=level)["wa"] for level in (0.95, 0.5))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_plain_percentiles_remain_for_values_of_any_kind():
    values = np.random.default_rng(0).gamma(2, size=300)
    expected = stats.bootstrap((values,), np.mean, method="percentile", rng=1).confidence_interval
    assert mean_interval(values, range(300), resamples=10_000) == pytest.approx(tuple(expected), abs=0.01)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"level": 1.0}, "level"),
        ({"level": 0}, "level"),
        ({"resamples": 0}, "number of resamples"),
        ({"resamples": 10.0}, "number of resamples"),
        ({"metrics": ["js"]}, "unknown metric 'js'"),
    ],
)
def test_bad_options_are_errors(make, options, what):
    case = make(4, 10, 3)
    with pytest.raises(InputError, match=what):
        bootstrap_intervals(case.pred, case.target, case.votes, range(10), **options)


def test_bad_clusters_are_errors(make):
    case = make(4, 10, 3)
    with pytest.raises(InputError, match="9 clusters for 10 utterances"):
        bootstrap_intervals(case.pred, case.target, case.votes, range(9))
    with pytest.raises(InputError, match="has no cluster"):
        bootstrap_intervals(case.pred, case.target, case.votes, [None] * 10)
