"""Points of a scale through the analysis: rows, per-clip columns, strata; categories keep what they have."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

from emoprobe.analysis.channels import layer_curves
from emoprobe.analysis.derive import make_predictions
from emoprobe.analysis.options import AnalysisOptions
from emoprobe.analysis.partition import make_strata
from emoprobe.analysis.rows import human_side, make_rows
from emoprobe.analysis.strata import gaps, stratify
from emoprobe.beliefs.belief import Belief
from emoprobe.beliefs.distributions import Distributions
from emoprobe.beliefs.targets import Targets, make_targets
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.prepare import Item, Prepared
from emoprobe.data.utterance import Rating, Utterance
from emoprobe.data.votes import soft_label
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet, Scale
from emoprobe.metrics.functional import evaluate, metrics_of
from emoprobe.report.results import ambiguity
from emoprobe.report.tables import columns_of, footnote
from emoprobe.run.cell import Cell
from emoprobe.run.writing import utterances_frame

POINTS = ("1", "2", "3", "4", "5")
WORDS = {point: {"numeral": [point]} for point in POINTS}
AROUSAL = LabelSet("arousal5", POINTS, WORDS, scale=Scale("arousal", "very calm", "very active"))
PLAIN = LabelSet("plain5", POINTS, WORDS)
SIZE = 60


def people(raters: int | None) -> pd.DataFrame:
    """The human side of clips rated from -1 to 1 by so many raters, or of which only the mean is known."""
    rng, items = np.random.default_rng(0), []
    for i in range(SIZE):
        middle = rng.uniform(-0.8, 0.8)
        numbers = np.clip(np.round(middle + rng.normal(0, 0.2, raters or 1), 2), -1, 1)
        ratings = tuple(Rating(f"r{k}", (), values={"arousal": float(x)}) for k, x in enumerate(numbers))
        said = {"ratings": ratings} if raters else {"means": {"arousal": float(numbers[0])}}
        said |= {"speaker": f"s{i % 12}", "metadata": {"gender": "fm"[i % 2]}, "scales": {"arousal": (-1, 1)}}
        clip = Utterance(f"u{i:02d}", f"{i}.wav", **said)
        items.append(Item(clip, soft_label(clip, AROUSAL, SoftLabelPolicy())))
    return utterances_frame(Prepared(tuple(items), (), ()), AROUSAL, SoftLabelPolicy())


def predictions_of(targets: Targets) -> tuple[np.ndarray, pd.DataFrame, Belief]:
    probs = 0.6 * targets.distribution + 0.4 * np.random.default_rng(1).dirichlet(np.ones(5), SIZE)
    probs[3] = np.nan
    status = tuple("undefined" if i == 3 else "ok" for i in range(SIZE))
    belief = Belief(Cell("m", "p", "label_likelihood", "sum", "none"), "", Distributions(np.log(probs), status))
    ids = list(targets.frame.index)
    heard = pa.table({"utterance_id": ids, "duration_seconds": [2.0] * SIZE, "truncated": [False] * SIZE})
    return probs, make_predictions([belief], heard, AROUSAL, targets), belief


@pytest.fixture(scope="module")
def rated() -> pd.DataFrame:
    return people(6)


def test_the_human_side_has_mean_and_spread_of_the_raters_numbers(rated):
    assert {"target_mean", "target_spread"} <= set(rated)
    assert rated["num_raters"].eq(6).all()
    first = rated.iloc[0]
    numbers = [sum(int(p) * w for p, w in ballot.items()) for ballot in json.loads(first["rater_votes"]).values()]
    assert first["target_mean"] == pytest.approx(np.mean(numbers))
    shares = first[[f"target_{point}" for point in POINTS]].to_numpy(float)
    assert first["target_spread"] == pytest.approx(stats.rv_discrete(values=(range(1, 6), shares)).std())


def test_rows_have_the_metrics_of_a_scale_with_floors_ceiling_intervals_and_range(rated):
    targets = make_targets(rated, AROUSAL)
    probs, _, belief = predictions_of(targets)
    rows = make_rows([belief], targets, AnalysisOptions((), resamples=100))
    kept = np.arange(SIZE) != 3
    row, prior, ceiling = rows[0], rows[2], rows[-1]
    for each in rows:
        assert tuple(each["metrics"])[: len(metrics_of(AROUSAL))] == metrics_of(AROUSAL)
        assert "num_means" not in each
    data = probs[kept], targets.distribution[kept], targets.votes[kept]
    assert row["metrics"] == pytest.approx(evaluate(*data, metrics=metrics_of(AROUSAL)))
    low, high = row["intervals"]["ccc"]
    assert low < row["metrics"]["ccc"] < high
    assert prior["metrics"]["ccc"] == 0
    assert abs(row["shuffled"]["ccc"]) < 0.15
    # the floor is zero: the share is the part of the ceiling, on the clips that the row is of
    assert row["share_of_range"]["ccc"] == pytest.approx(row["metrics"]["ccc"] / row["ceiling"]["ccc"])
    assert 0.8 < ceiling["metrics"]["ccc"] <= 1
    assert ceiling["intervals"]["ccc"][0] < ceiling["metrics"]["ccc"]
    assert columns_of(AROUSAL)[:5] == ("ccc", "pearson", "rmse", "emd", "js_divergence")


def test_predictions_have_expected_values_and_spreads_in_the_numbers_of_the_labels(rated):
    targets = make_targets(rated, AROUSAL)
    probs, table, _ = predictions_of(targets)
    assert table["expected"].isna().tolist() == [i == 3 for i in range(SIZE)]
    of = stats.rv_discrete(values=(range(1, 6), probs[0]))
    assert table["expected"][0] == pytest.approx(of.mean())
    assert table["spread"][0] == pytest.approx(of.std())
    np.testing.assert_array_equal(table["target_mean"], rated["target_mean"])
    np.testing.assert_array_equal(table["target_spread"], rated["target_spread"])


def test_where_only_means_are_known_it_is_said_and_there_is_no_ceiling(rated):
    targets = make_targets(people(None), AROUSAL)
    rows = human_side(targets, 0)
    assert {row["num_means"] for row in rows} == {SIZE}
    assert np.isnan(rows[-1]["metrics"]["ccc"])
    assert f"of {SIZE} clips only the raters' mean is known" in footnote(rows, "ccc")
    assert ambiguity(targets, AROUSAL)[1] == f"{SIZE} means of arousal alone"
    known = make_targets(rated, AROUSAL)
    assert "mean is known" not in footnote(human_side(known, 0), "ccc")
    assert ambiguity(known, AROUSAL)[1] == f"{6 * SIZE} ratings of arousal"
    assert "from 1 to 5, mean " in ambiguity(known, AROUSAL)[0]


def test_labels_without_a_scale_stay_categories_whatever_they_are_called(rated):
    targets = make_targets(rated, PLAIN)
    _, _, belief = predictions_of(targets)
    rows = make_rows([belief], targets, AnalysisOptions((), resamples=0))
    assert tuple(rows[0]["metrics"])[: len(metrics_of())] == metrics_of()
    ids = list(targets.frame.index)
    heard = pa.table({"utterance_id": ids, "duration_seconds": [2.0] * SIZE, "truncated": [False] * SIZE})
    assert not {"expected", "spread", "target_mean"} & set(make_predictions([belief], heard, PLAIN, targets))


def test_strata_by_the_raters_mean_and_spread(rated):
    targets = make_targets(rated, AROUSAL)
    _, table, _ = predictions_of(targets)
    means = make_strata(table, rated, POINTS, by="mean")
    assert [stratum.name for stratum in means.strata] == [f"near {point}" for point in POINTS]
    for name, number in zip(rated["utterance_id"], rated["target_mean"], strict=True):
        assert abs(number - (means.position[name] + 1)) <= 0.5 + 1e-9
    spreads = make_strata(table, rated, POINTS, by="spread")
    third = np.array([spreads.position[name] for name in rated["utterance_id"]])
    values = rated["target_spread"].to_numpy()
    assert values[third == 0].max() <= values[third == 1].min() <= values[third == 1].max() <= values[third == 2].min()
    frame = stratify(table, rated, POINTS, by="mean", metric="emd", metrics=metrics_of(AROUSAL), resamples=50)
    assert {"ccc", "emd_low", "emd_high"} <= set(frame)
    assert not {"uar", "js_divergence_low"} & set(frame)
    kept = (table["expected"].notna() & (np.array([means.position[u] for u in table["utterance_id"]]) == 2)).to_numpy()
    of_points = [table.loc[kept, [f"{side}_{p}" for p in POINTS]].to_numpy() for side in ("p", "target", "votes")]
    middle = frame.set_index("stratum").loc["near 3"]
    assert middle["emd"] == pytest.approx(evaluate(*of_points, metrics=["emd"])["emd"])
    assert middle["emd_low"] < middle["emd"] < middle["emd_high"]
    assert gaps(table, rated, POINTS, by="fact:gender", metric="emd", resamples=20)["gap"].iloc[0] >= 0
    assert layer_curves(table, POINTS, metrics=metrics_of(AROUSAL)).columns[-1] == metrics_of(AROUSAL)[-1]
    with pytest.raises(InputError, match="'ccc' is no mean over utterances"):
        stratify(table, rated, POINTS, by="mean", metric="ccc")
