"""The curve by number of training clips: its interval covers, its table is that of the metrics."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_1samp
from sklearn.metrics import recall_score

from emoprobe.labels import LabelSet
from emoprobe.metrics.functional import evaluate
from emoprobe.report import few_shot

LABELS = LabelSet("set", ("a", "b", "c"), {label: {"noun": [label]} for label in "abc"})
SIZE, SPEAKERS = 90, 9
RNG = np.random.default_rng(0)
VOTES = RNG.multinomial(9, RNG.dirichlet([1, 1, 1], SIZE)).astype(float)
TARGET = VOTES / 9
CLUSTERS = [f"s{i % SPEAKERS}" for i in range(SIZE)]
PREDICTIONS = {
    name: [weight * TARGET + (1 - weight) * RNG.dirichlet([1, 1, 1], SIZE) for _ in range(seeds)]
    for name, weight, seeds in (("few", 0.2, 3), ("many", 0.8, 3), ("alone", 0.5, 1), ("floor", 0.0, 1))
}
PLACES = {"many": ("linear_probe", 128.0), "few": ("linear_probe", 8.0), "alone": ("mlp_probe", 8.0)}


@pytest.fixture(scope="module")
def frame():
    return few_shot.few_shot_frame(PREDICTIONS, PLACES, TARGET, VOTES, CLUSTERS, LABELS)


def test_rows_are_means_over_seeds(frame):
    assert frame["name"].tolist() == ["few", "many", "alone"]
    row = frame.iloc[0]
    found = [evaluate(pred, TARGET, VOTES) for pred in PREDICTIONS["few"]]
    for metric in ("js_divergence", "uar", "wa"):
        values = [values[metric] for values in found]
        assert row[metric] == pytest.approx(np.mean(values))
        assert row[f"{metric}_sd"] == pytest.approx(np.std(values, ddof=1))
        assert row[f"{metric}_low"] < row[metric] < row[f"{metric}_high"]
        assert [float(text) for text in row[f"{metric}_seeds"].split()] == pytest.approx(values, rel=1e-5)
    unique = (TARGET.max(axis=1, keepdims=True) == TARGET).sum(axis=1) == 1
    recalls = [
        recall_score(TARGET[unique].argmax(axis=1), pred[unique].argmax(axis=1), average="macro")
        for pred in PREDICTIONS["few"]
    ]
    assert row["uar"] == pytest.approx(np.mean(recalls))
    assert np.isnan(frame.iloc[2]["js_divergence_sd"])


def test_with_equal_speakers_the_interval_is_students_over_seeds():
    values = np.array([0.2, 0.25, 0.31, 0.22])
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert few_shot.interval(values, np.full(100, values.mean()), 9) == pytest.approx(tuple(expected))


def test_the_interval_covers_where_seeds_and_speakers_both_vary():
    rng, held = np.random.default_rng(0), 0
    for _ in range(300):
        speakers, seeds = rng.normal(0, 1, 12), rng.normal(0, 0.6, 5)
        values = speakers.mean() + seeds
        by_speakers = speakers[rng.integers(0, 12, (400, 12))].mean(axis=1) + seeds.mean()
        low, high = few_shot.interval(values, by_speakers, 12)
        held += low <= 0 <= high
    assert 0.92 < held / 300 < 0.985


def test_table_and_figure_have_floors_and_ceiling(frame, tmp_path):
    kinds = dict.fromkeys(PLACES, "trained") | {"floor": "floor"}
    ceiling = {"js_divergence": 0.05, "uar": 0.9, "wa": 0.9}
    lines = few_shot.untrained(PREDICTIONS, kinds, TARGET, VOTES, ceiling, LABELS)
    assert list(lines) == ["floor", "ceiling: human"]
    assert lines["floor"]["js_divergence"] == pytest.approx(evaluate(PREDICTIONS["floor"][0], TARGET)["js_divergence"])
    (figure,) = few_shot.save_few_shot(frame, lines, tmp_path, "Title", "Corpus")
    assert figure.stat().st_size > 10_000
    text = (tmp_path / "few_shot.md").read_text().splitlines()
    assert text[0].startswith("|  | training clips | JS ↓ | UAR ↑ | WA ↑ |")
    assert len({line.count("|") for line in text}) == 1
    drawn = few_shot.few_shot_figure(frame, lines, "Title")
    left, right = drawn.axes
    assert left.get_xscale() == "log"
    named = {line.get_label(): line for line in left.lines}
    assert named["linear_probe"].get_ydata().tolist() == frame["js_divergence"][:2].tolist()
    assert named["ceiling: human"].get_ydata()[0] == 0.05
    assert {line.get_label() for line in right.lines} == set(named)
