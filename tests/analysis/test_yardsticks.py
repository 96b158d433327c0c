"""A readout is measured by the floors and the ceiling of the very clips that its metrics are of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import norm

from emoprobe.analysis.options import AnalysisOptions
from emoprobe.analysis.rows import make_rows
from emoprobe.beliefs.belief import Belief
from emoprobe.beliefs.distributions import Distributions
from emoprobe.beliefs.targets import Targets
from emoprobe.metrics.ceiling import human_ceiling
from emoprobe.metrics.resampling import draw_clusters
from emoprobe.run.cell import Cell
from emoprobe.run.metric_rows import metrics_frame, read_rows

LABELS = ("anger", "neutral", "sad")
SIZE, RATERS, SPEAKERS = 90, 8, 9
PRIOR = np.array([0.2, 0.5, 0.3])


def js(pred: np.ndarray, target: np.ndarray) -> float:
    """Independent of the code under test: scipy's distance to base 2, squared."""
    return float((jensenshannon(np.broadcast_to(pred, target.shape), target, base=2, axis=1) ** 2).mean())


def make_targets(kept=slice(None), speakers=SPEAKERS) -> Targets:
    """The first half of the clips is clear, the other ambiguous."""
    rng = np.random.default_rng(0)
    clear, mixed = rng.dirichlet([0.1, 0.1, 0.1], SIZE // 2), rng.dirichlet([9, 9, 9], SIZE // 2)
    votes = rng.multinomial(RATERS, np.concatenate([clear, mixed])).astype(float)[kept]
    frame = pd.DataFrame(votes, columns=[f"votes_{label}" for label in LABELS])
    numbers = np.arange(SIZE)[kept]
    frame["speaker"] = [f"s{i % speakers}" for i in numbers]
    frame["num_raters"] = pd.array([float(RATERS)] * len(frame), dtype="Float64")
    frame.index = pd.Index([f"u{i}" for i in numbers], name="utterance_id")
    return Targets(frame, votes / RATERS, votes, PRIOR, "training votes")


TARGETS = make_targets()
PRED = 0.5 * TARGETS.distribution + 0.5 * np.random.default_rng(1).dirichlet([1, 1, 1], SIZE)
FAILED = slice(0, 30)


def belief(pred: np.ndarray, **changes) -> Belief:
    status = tuple("unparsed" if np.isnan(row).any() else "ok" for row in pred)
    facts = {"model": "m", "prompt": "p", "readout": "generated_text", "variant": "parsed", "calibration": "none"}
    return Belief(Cell(**{**facts, **changes}), "", Distributions(np.log(pred), status))


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    failing = PRED.copy()
    failing[FAILED] = np.nan
    cells = [belief(failing), belief(PRED, readout="label_likelihood")]
    return make_rows(cells, TARGETS, AnalysisOptions((), resamples=300))


def test_floors_ceiling_and_range_of_a_row_with_failures_are_of_its_own_clips(rows):
    failing, whole, *others = rows
    kept = np.ones(SIZE, dtype=bool)
    kept[FAILED] = False
    target, votes = TARGETS.distribution[kept], TARGETS.votes[kept]
    expected = {
        "uniform": np.full(3, 1 / 3),
        "prior": PRIOR,
        "majority": np.eye(3)[1],
        "one_hot_of_top_vote": np.eye(3)[votes.argmax(axis=1)],
    }
    for name, pred in expected.items():
        assert failing["floors"][name]["js_divergence"] == pytest.approx(js(pred, target)), name
    assert failing["ceiling"] == human_ceiling(votes, target, num_raters=np.full(len(votes), RATERS)).values
    value, floor = js(PRED[kept], target), js(PRIOR, target)
    ceiling = failing["ceiling"]["js_divergence"]
    assert failing["share_of_range"]["js_divergence"] == pytest.approx((floor - value) / (floor - ceiling))
    everybody = {row["readout"]: row["metrics"]["js_divergence"] for row in others}
    assert everybody["prior"] == pytest.approx(js(PRIOR, TARGETS.distribution))
    wrong = (everybody["prior"] - value) / (everybody["prior"] - everybody["human"])
    assert abs(failing["share_of_range"]["js_divergence"] - wrong) > 0.02
    assert whole["floors"] == whole["ceiling"] == {}


def test_a_row_with_failures_is_placed_as_in_a_run_of_its_clips_alone(rows):
    kept = np.r_[30:SIZE]
    alone, *others = make_rows([belief(PRED[kept])], make_targets(kept), AnalysisOptions((), resamples=300))
    for name in ("metrics", "intervals", "shuffled", "share_of_range", "range_intervals", "doubt"):
        np.testing.assert_equal(rows[0][name], alone[name])
    found = {row["readout"]: row["metrics"] for row in others}
    np.testing.assert_equal(rows[0]["floors"], {name: found[name] for name in rows[0]["floors"]})
    np.testing.assert_equal(rows[0]["ceiling"], found["human"])


def test_a_prior_of_evaluated_votes_is_that_of_the_rows_own_clips():
    """Without training clips: else a readout that fails on all but one label beats the floor by saying that label."""

    def blind(targets: Targets) -> Targets:
        prior = (targets.votes / targets.votes.sum(axis=1, keepdims=True)).mean(axis=0)
        return replace(targets, prior=prior, prior_source="evaluated votes")

    kept = TARGETS.votes.argmax(axis=1) == 1
    own = blind(make_targets(kept))
    failing = np.where(kept[:, None], own.prior, np.nan)
    row, *_ = make_rows([belief(failing)], blind(TARGETS), AnalysisOptions((), resamples=200))
    alone, *others = make_rows([belief(failing[kept])], own, AnalysisOptions((), resamples=200))
    assert row["floors"]["prior"]["js_divergence"] == pytest.approx(js(own.prior, TARGETS.distribution[kept]))
    assert row["share_of_range"]["js_divergence"] == pytest.approx(0, abs=1e-9)
    for name in ("share_of_range", "range_intervals"):
        np.testing.assert_equal(row[name], alone[name])
    found = {other["readout"]: other["metrics"] for other in others}
    np.testing.assert_equal(row["floors"], {name: found[name] for name in row["floors"]})


def test_failures_scored_as_uniform_are_measured_on_all_clips():
    failing = PRED.copy()
    failing[FAILED] = np.nan
    options = AnalysisOptions((), failures="uniform", resamples=0)
    row, *others = make_rows([belief(failing)], TARGETS, options)
    filled = np.where(np.isnan(failing), 1 / 3, failing)
    floor, ceiling = js(PRIOR, TARGETS.distribution), others[-1]["metrics"]["js_divergence"]
    expected = (floor - js(filled, TARGETS.distribution)) / (floor - ceiling)
    assert row["share_of_range"]["js_divergence"] == pytest.approx(expected)
    assert row["floors"] == {}


def test_value_floor_and_ceiling_of_the_range_vary_together(rows):
    """The interval of the range again, by hand: the same speakers of all three, over the same resamples."""
    whole, ceiling = rows[1], rows[-1]
    low, high = whole["range_intervals"]["js_divergence"]
    assert low < whole["share_of_range"]["js_divergence"] < high
    ends = ceiling["intervals"]["js_divergence"]
    assert ends[0] < ceiling["metrics"]["js_divergence"] < ends[1]
    drawn = draw_clusters(np.random.default_rng(0), SPEAKERS, 300)[:, np.arange(SIZE) % SPEAKERS]

    def means(pred: np.ndarray) -> np.ndarray:
        each = (
            jensenshannon(np.broadcast_to(pred, TARGETS.distribution.shape), TARGETS.distribution, base=2, axis=1) ** 2
        )
        return drawn @ each / drawn.sum(axis=1)

    floor, value = means(PRIOR), means(PRED)
    # Only the ceiling's own spread is added to what floor and value do together.
    fixed = (floor - value) / (floor - ceiling["metrics"]["js_divergence"])
    assert high - low > np.quantile(fixed, 0.9) - np.quantile(fixed, 0.1)
    assert abs((high + low) / 2 - fixed.mean()) < 0.2


def test_the_table_for_pandas_has_floors_and_ceiling_of_every_readouts_own_clips(rows):
    frame = metrics_frame(rows)
    assert frame.loc[0, "prior_js_divergence"] == rows[0]["floors"]["prior"]["js_divergence"]
    assert frame.loc[0, "ceiling_js_divergence"] == rows[0]["ceiling"]["js_divergence"]
    everybody = {row["readout"]: row["metrics"] for row in rows[2:]}
    assert frame.loc[1, "prior_js_divergence"] == everybody["prior"]["js_divergence"]
    assert frame.loc[1, "ceiling_js_divergence"] == everybody["human"]["js_divergence"]
    assert frame.loc[1, "share_of_range_js_divergence_low"] == rows[1]["range_intervals"]["js_divergence"][0]
    assert frame.loc[2:, "prior_js_divergence"].isna().all()


def test_a_single_speaker_has_no_interval_and_few_votes_are_doubted():
    kept = slice(0, 25)
    alone = make_targets(kept, speakers=1)
    row, *others = make_rows([belief(PRED[kept])], alone, AnalysisOptions((), resamples=100))
    assert row["intervals"] == row["range_intervals"] == others[-1]["intervals"] == {}
    assert row["num_speakers"] == 1
    assert "175 votes" in row["doubt"]
    assert row["doubt"] == others[-1]["doubt"]


def test_the_difference_from_a_floor_is_paired_by_speaker(rows):
    """Again by hand: both on the same resamples, so what makes all clips of a speaker hard cancels out."""
    drawn = draw_clusters(np.random.default_rng(0), SPEAKERS, 300)[:, np.arange(SIZE) % SPEAKERS]

    def each(pred: np.ndarray) -> np.ndarray:
        shape = TARGETS.distribution.shape
        return jensenshannon(np.broadcast_to(pred, shape), TARGETS.distribution, base=2, axis=1) ** 2

    whole, *others = rows[1:]
    for name, pred in {"uniform": np.full(3, 1 / 3), "prior": PRIOR, "majority": np.eye(3)[1]}.items():
        gaps = drawn @ (each(PRED) - each(pred)) / drawn.sum(axis=1)
        low, high = whole["minus_floor"][name]["js_divergence"]
        # Hesterberg's expansion for nine speakers: t(8) at 97.5 % is 2.306, times sqrt(9 / 8), as a normal quantile.
        place = int(norm.cdf(-2.306 * np.sqrt(9 / 8)) * 299)
        assert (low, high) == pytest.approx((np.sort(gaps)[place], np.sort(gaps)[-1 - place]), abs=1e-9), name
    frame = metrics_frame(rows)
    assert frame.loc[1, "minus_prior_js_divergence_low"] == whole["minus_floor"]["prior"]["js_divergence"][0]
    assert frame.loc[2:, "minus_prior_js_divergence_low"].isna().all()
    assert read_rows(rows)[1]["minus_floor"]["prior"]["wa"] == tuple(whole["minus_floor"]["prior"]["wa"])
    assert all(read["minus_floor"] == {} for read in read_rows(others))
