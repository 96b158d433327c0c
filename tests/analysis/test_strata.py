"""Strata and what is measured in them, by hand and against explicit subsets."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy, ttest_1samp

from emoprobe.analysis.clips import floor_predictions
from emoprobe.analysis.partition import make_strata
from emoprobe.analysis.strata import clear_and_ambiguous, gaps, stratify
from emoprobe.errors import InputError
from emoprobe.metrics.functional import METRICS, evaluate, metrics_of
from emoprobe.metrics.intervals import bootstrap_intervals

LABELS = ["anger", "joy", "calm"]
NAN = math.nan
UNIFORM = [1 / 3] * 3


def members(strata) -> dict[str, list[str]]:
    found = {stratum.name: [] for stratum in strata.strata}
    for utterance, i in strata.position.items():
        found[strata.strata[i].name].append(utterance)
    return found


def js(pred, target) -> np.ndarray:
    return np.array([jensenshannon(p, t, base=2) ** 2 for p, t in zip(pred, target, strict=True)])


def partition(cell, human, votes, facts=None, **options):
    table = cell([UNIFORM] * len(votes), votes, **{k: options.pop(k) for k in ("seconds", "speakers") if k in options})
    return make_strata(table, human(table, facts or [{}] * len(votes)), LABELS, **options)


def test_entropy_ranges_hold_their_upper_ends_and_empty_ones_stay(cell, human):
    # 0; 1 exactly (an even split); .811 (3:1); 1.5 (2:1:1); log2 3 (1:1:1)
    votes = [[4, 0, 0], [2, 2, 0], [3, 1, 0], [2, 1, 1], [1, 1, 1]]
    strata = partition(cell, human, votes, by="entropy")
    assert members(strata) == {
        "0 bits": ["u000"],
        "0.0 to 0.5 bits": [],
        "0.5 to 1.0 bits": ["u001", "u002"],
        "1.0 to 1.5 bits": ["u003"],
        "1.5 to 1.58 bits": ["u004"],
    }
    ends = [(stratum.lower, stratum.upper) for stratum in strata.strata]
    assert ends == [(0, 0), (0, 0.5), (0.5, 1), (1, 1.5), (1.5, math.log2(3))]


def test_entropy_up_to_a_whole_number_of_bits_has_no_extra_range(cell):
    table = cell([[0.25] * 4], [[1, 1, 1, 1]], labels=list("abcd"))
    strata = make_strata(table, table, list("abcd"), by="entropy")
    assert [stratum.upper for stratum in strata.strata] == [0, 0.5, 1, 1.5, 2]
    assert strata.position == {"u000": 4}


def test_an_entropy_at_an_edge_is_below_it_whatever_rounding_does():
    from emoprobe.analysis.partition import _of_entropy

    edges = np.arange(7) * 0.5
    for rounding in (-1e-15, 0, 1e-15):
        assert _of_entropy(edges + rounding, 0.5, 3.0)[1].tolist() == list(range(7))
    assert _of_entropy(edges[1:-1] + 1e-6, 0.5, 3.0)[1].tolist() == list(range(2, 7))


def test_quantiles_split_evenly_where_nothing_ties(cell, human):
    strata = partition(cell, human, [[1, 2, 0]] * 7, seconds=[5, 1, 4, 2, 3, 7, 6], by="duration", quantiles=3)
    assert [sorted(names) for names in members(strata).values()] == [
        ["u001", "u003", "u004"],
        ["u000", "u002"],
        ["u005", "u006"],
    ]
    assert [stratum.name for stratum in strata.strata] == [
        "tertile 1: 1.0 to 3.0 s",
        "tertile 2: 4.0 to 5.0 s",
        "tertile 3: 6.0 to 7.0 s",
    ]


def test_ties_are_never_split_and_may_leave_a_quantile_empty(cell, human):
    # More than two thirds are unanimous: the first two tertiles are one.
    votes = [[3, 0, 0], [0, 3, 0], [0, 0, 5], [4, 0, 0], [0, 1, 0], [2, 1, 0], [1, 1, 1]]
    strata = partition(cell, human, votes, by="entropy_quantiles")
    assert [len(names) for names in members(strata).values()] == [5, 0, 2]
    assert strata.strata[1].name == "tertile 2: none"
    assert math.isnan(strata.strata[1].lower)
    assert strata.strata[0].name == "tertile 1: 0.0 to 0.0 bits"


def test_values_that_differ_by_rounding_tie(cell, human):
    seconds = [1.0, 0.1 + 0.2, 0.3, 2.0]  # 0.1 + 0.2 is above 0.3 in floating point
    strata = partition(cell, human, [[1, 2, 0]] * 4, seconds=seconds, by="duration", quantiles=4)
    assert strata.position["u001"] == strata.position["u002"]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("quantiles", [2, 3, 4, 7])
def test_quantiles_are_a_partition_that_keeps_the_order(cell, human, seed, quantiles):
    rng = np.random.default_rng(seed)
    seconds = rng.integers(0, 12, size=40).astype(float)
    strata = partition(cell, human, [[1, 2, 0]] * 40, seconds=seconds, by="duration", quantiles=quantiles)
    which = np.array([strata.position[f"u{i:03d}"] for i in range(40)])
    for i in range(40):
        for j in range(40):
            if seconds[i] < seconds[j]:
                assert which[i] <= which[j]
            if seconds[i] == seconds[j]:
                assert which[i] == which[j]
    # Nobody is further down than where an even split without ties would put the last of the equal values.
    for i in range(40):
        assert which[i] <= math.ceil(np.mean(seconds <= seconds[i]) * quantiles) - 1


def test_number_of_raters_and_the_unknown(cell, human):
    table = cell([UNIFORM] * 4, [[3, 0, 0], [5, 0, 0], [3, 0, 0], [0, 1, 0]])
    table["num_raters"] = pd.array([3, 5, 3, None], dtype="Float64")
    strata = make_strata(table, human(table, [{}] * 4), LABELS, by="num_raters")
    assert members(strata) == {"3 raters": ["u000", "u002"], "5 raters": ["u001"], "unknown": ["u003"]}


def test_many_numbers_of_raters_become_quantiles(cell, human):
    strata = partition(cell, human, [[n, 0, 0] for n in range(1, 14)], by="num_raters")
    assert [stratum.name.split(":")[0] for stratum in strata.strata] == ["tertile 1", "tertile 2", "tertile 3"]
    strata = partition(cell, human, [[n, 0, 0] for n in range(1, 13)], by="num_raters")
    assert [stratum.lower for stratum in strata.strata] == list(range(1, 13))


def test_ties_of_raters_are_a_stratum_of_their_own(cell, human):
    strata = partition(cell, human, [[2, 1, 0], [1, 1, 0], [0, 0, 1], [1, 1, 1]], by="majority")
    assert members(strata) == {"anger": ["u000"], "joy": [], "calm": ["u002"], "no majority": ["u001", "u003"]}


def test_facts_texts_decades_and_missing_ones(cell, human):
    facts = [{"gender": "f", "age": 29}, {"gender": "m", "age": "30"}, {"age": None, "gender": " "}, {}]
    votes = [[1, 0, 0]] * 4
    assert members(partition(cell, human, votes, facts, by="fact:gender")) == {
        "f": ["u000"],
        "m": ["u001"],
        "unknown": ["u002", "u003"],
    }
    ages = partition(cell, human, votes, facts, by="fact:age")
    assert members(ages) == {"20 to 29": ["u000"], "30 to 39": ["u001"], "unknown": ["u002", "u003"]}
    assert ages.strata[0][1:] == (20, 30)


def test_ages_that_are_not_all_numbers_are_taken_as_they_are(cell, human):
    facts = [{"age": "20-29"}, {"age": 31}]
    assert members(partition(cell, human, [[1, 0, 0]] * 2, facts, by="fact:age")) == {"20-29": ["u000"], "31": ["u001"]}


def test_numeric_facts_other_than_age_keep_their_values(cell, human):
    facts = [{"level": 0.5}, {"level": 1}, {"level": 0.5}]
    strata = partition(cell, human, [[1, 0, 0]] * 3, facts, by="fact:level")
    assert members(strata) == {"0.5": ["u000", "u002"], "1": ["u001"]}


def test_facts_of_the_training_part_are_not_taken_for_the_clips(cell, human):
    table = cell([UNIFORM], [[1, 0, 0]])
    evaluated = human(table, [{"gender": "f"}])
    training = evaluated.assign(role="training", metadata='{"gender": "m"}')
    strata = make_strata(table, pd.concat([evaluated, training]), LABELS, by="fact:gender")
    assert members(strata) == {"f": ["u000"]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "colour"}, "no strata by 'colour'"),
        ({"by": "fact:height"}, "The facts are gender"),
        ({"by": "entropy", "width": 0}, "width"),
        ({"by": "duration", "quantiles": 1}, "quantiles"),
    ],
)
def test_wrong_options_are_refused(cell, human, options, message):
    with pytest.raises(InputError, match=message):
        partition(cell, human, [[1, 0, 0]], [{"gender": "f"}], **options)


@pytest.mark.parametrize("text", ["{", "[1]", '"x"'])
def test_damaged_metadata_is_named(cell, human, text):
    table = cell([UNIFORM], [[1, 0, 0]])
    with pytest.raises(InputError, match=r"metadata of 'u000' is no JSON object \(row 1, field metadata\)"):
        make_strata(table, human(table, [{}]).assign(metadata=text), LABELS, by="fact:gender")


def test_two_targets_of_one_utterance_are_refused(cell):
    table = pd.concat([cell([UNIFORM], [[1, 0, 0]]), cell([UNIFORM], [[0, 1, 0]], prompt="q")])
    with pytest.raises(InputError, match="u000"):
        make_strata(table, table, LABELS, by="entropy")


def test_an_utterance_twice_in_a_cell_is_refused(cell):
    table = pd.concat([cell([UNIFORM], [[1, 0, 0]])] * 2)
    with pytest.raises(InputError, match="stands twice in one cell"):
        stratify(table, table, LABELS, by="entropy")


def test_a_missing_column_is_named(cell):
    table = cell([UNIFORM], [[1, 0, 0]])
    with pytest.raises(InputError, match="no column 'target_fear'"):
        stratify(table, table, [*LABELS, "fear"], by="entropy")


# -- stratify ----------------------------------------------------------------------------------------------------------


def test_stratify_by_hand(cell, human):
    pred = [[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0], [NAN] * 3, [0.2, 0.3, 0.5]]
    votes = [[2, 0, 0], [2, 0, 0], [1, 1, 0], [2, 0, 0], [1, 1, 0]]
    table = cell(pred, votes, speakers=["a", "a", "b", "b", None], fitted_on="null inputs")
    frame = stratify(table, human(table, [{}] * 5), LABELS, by="entropy").set_index("stratum")
    first, empty, third = frame.loc["0 bits"], frame.loc["0.0 to 0.5 bits"], frame.loc["0.5 to 1.0 bits"]
    assert (first.num_utterances, first.num_failed, first.num_speakers, first.num_majority) == (2, 1, 1, 2)
    assert first.js_divergence == pytest.approx((0 + 1) / 2)
    assert first.wa == 0.5
    assert first.kl_target_pred == math.inf
    assert math.isnan(first.js_divergence_low)  # one speaker
    assert (empty.num_utterances, empty.num_failed, empty.num_speakers) == (0, 0, 0)
    assert empty[[*metrics_of(), "js_divergence_low", "js_divergence_high"]].isna().all()
    # The clip of nobody known is a cluster, but no speaker.
    assert (third.num_utterances, third.num_speakers, third.num_majority) == (2, 1, 0)
    expected = js([[0.5, 0.5, 0], [0.2, 0.3, 0.5]], [[0.5, 0.5, 0]] * 2)
    assert third.js_divergence == pytest.approx(expected.mean())
    low, high = ttest_1samp(expected, 0).confidence_interval(0.95)  # two clusters: Student's, cut at 0 and 1
    assert third.js_divergence_low == max(low, 0) == 0
    assert third.js_divergence_high == pytest.approx(min(high, 1), rel=0.05)
    assert math.isnan(third.wa)
    assert set(frame.fitted_on) == {"null inputs"}


@pytest.mark.parametrize("by", ["entropy", "entropy_quantiles", "num_raters", "duration", "majority", "fact:gender"])
def test_every_stratum_equals_the_metrics_of_its_subset(random_cells, human, by):
    table, labels = random_cells(60, [{}, {"prompt": "q"}], failures=0.2)
    people = human(table, [{"gender": "fm"[i % 2]} for i in range(60)])
    frame = stratify(table, people, labels, by=by, resamples=200)
    strata = make_strata(table, people, labels, by=by)
    assert len(frame) == 2 * len(strata.strata)
    assert frame.num_utterances.sum() + frame.num_failed.sum() == len(table)
    p, t, v = ([f"{prefix}_{label}" for label in labels] for prefix in ("p", "target", "votes"))
    for row in frame.to_dict("records"):
        names = [name for name, i in strata.position.items() if strata.strata[i].name == row["stratum"]]
        subset = table[(table.prompt == row["prompt"]) & table.utterance_id.isin(names)].dropna(subset=p)
        assert row["num_utterances"] == len(subset)
        if not len(subset):
            continue
        expected = evaluate(subset[p].to_numpy(), subset[t].to_numpy(), subset[v].to_numpy())
        for name in metrics_of():
            assert row[name] == pytest.approx(expected[name], nan_ok=True), name
        ends = bootstrap_intervals(
            subset[p].to_numpy(), subset[t].to_numpy(), None, subset.speaker, resamples=200, metrics=["js_divergence"]
        )["js_divergence"]
        assert (row["js_divergence_low"], row["js_divergence_high"]) == pytest.approx(ends, nan_ok=True)


def test_the_order_of_rows_changes_nothing(random_cells, human):
    table, labels = random_cells(50, [{}, {"prompt": "q"}], failures=0.1)
    people = human(table, [{"age": 20 + i} for i in range(50)])
    shuffled = table.sample(frac=1, random_state=1)
    for make in (stratify, gaps):
        a, b = (make(t, people, labels, by="fact:age", resamples=100) for t in (table, shuffled))
        order = [column for column in ("prompt", "stratum") if column in a]
        a, b = (frame.sort_values(order, ignore_index=True) for frame in (a, b))
        pd.testing.assert_frame_equal(a, b)


def test_categories_of_other_rows_are_no_cells(random_cells, human):
    table, labels = random_cells(10, [{}, {"prompt": "q"}])
    table["prompt"] = table["prompt"].astype("category")
    kept = table[table["prompt"] == "q"]
    assert set(stratify(kept, human(kept, [{}] * 10), labels, by="majority").prompt) == {"q"}


def test_a_cell_that_failed_everywhere_is_counted(cell, human):
    table = cell([[NAN] * 3] * 3, [[1, 0, 0], [1, 1, 0], [1, 1, 1]])
    people = human(table, [{"gender": "f"}] * 3)
    frame = stratify(table, people, LABELS, by="entropy")
    assert frame.num_failed.sum() == 3
    assert frame[list(metrics_of())].isna().all().all()
    assert gaps(table, people, LABELS, by="fact:gender").loc[0, "num_groups"] == 0
    row = clear_and_ambiguous(table, LABELS).iloc[0]
    assert row.num_failed_clear == 1
    assert math.isnan(row.wa_clear)


# -- gaps --------------------------------------------------------------------------------------------------------------


def test_gap_by_hand(cell, human):
    # JS of a one-hot prediction against a one-hot target is 0 or 1; speakers have different numbers of clips.
    right = [1, 1, 0, 1, 0, 0, 1, 0]
    who = ["a", "a", "b", "b", "c", "d", "d", "d"]
    table = cell([[1, 0, 0] if r else [0, 1, 0] for r in right], [[1, 0, 0]] * 8, speakers=who)
    people = human(table, [{"gender": "f" if s in "ab" else "m"} for s in who])
    (row,) = gaps(table, people, LABELS, by="fact:gender", resamples=4000).to_dict("records")
    assert (row["best"], row["worst"], row["best_value"], row["worst_value"]) == ("f", "m", 0.25, 0.75)
    assert (row["gap"], row["num_groups"], row["best_speakers"], row["worst_speakers"]) == (0.5, 2, 2, 2)
    # All that can happen: f is 0 (a a), .25 (a b), .5 (b b); m is 1 (c c), .75 (c d), 2/3 (d d).
    # Two speakers a group are too few to exclude any gap.
    assert (row["gap_low"], row["gap_high"]) == (-1, 1)
    # Dealing a, b, c, d into pairs: {ab, cd} .5, {ac, bd} |1/3 - 3/5|, {ad, bc} |2/5 - 2/3|, each equally likely.
    assert row["gap_by_chance"] == pytest.approx((0.5 + 4 / 15 + 4 / 15) / 3, abs=0.01)
    assert row["p_value"] == pytest.approx(1 / 3, abs=0.03)
    (row,) = gaps(table, people, LABELS, by="fact:gender", metric="wa").to_dict("records")
    assert (row["best"], row["best_value"], row["worst_value"], row["gap"]) == ("f", 0.75, 0.25, 0.5)


@pytest.mark.parametrize("metric", ["js_divergence", "bhattacharyya", "brier", "vote_nll", "wa"])
def test_values_of_groups_are_the_metric_itself(random_cells, human, metric):
    table, labels = random_cells(80, [{}], failures=0.1, speakers=20)
    people = human(table, [{"gender": "fmx"[int(name[1:]) % 3]} for name in table.speaker])
    frame = stratify(table, people, labels, by="fact:gender", resamples=10).set_index("stratum")[metric]
    (row,) = gaps(table, people, labels, by="fact:gender", metric=metric, resamples=100).to_dict("records")
    best, worst = (frame.max(), frame.min()) if METRICS[metric].higher_is_better else (frame.min(), frame.max())
    assert (row["best_value"], row["worst_value"]) == pytest.approx((best, worst))
    assert row["gap"] == pytest.approx(frame.max() - frame.min())


def test_the_interval_of_a_gap_covers_the_truth(cell, human):
    """Two groups of 12 speakers with random effects; the true gap is known."""
    rng = np.random.default_rng(0)
    covered, repeats, truth = 0, 150, 0.1
    for _ in range(repeats):
        pred, who, facts = [], [], []
        for speaker in range(24):
            clips = int(rng.integers(4, 12))
            chance = np.clip(rng.normal(0.5 + truth * (speaker % 2), 0.15), 0, 1)
            pred += [[1, 0, 0] if right else [0, 1, 0] for right in rng.random(clips) < 1 - chance]
            who += [f"s{speaker}"] * clips
            facts += [{"g": "ab"[speaker % 2]}] * clips
        table = cell(pred, [[1, 0, 0]] * len(pred), speakers=who)
        (row,) = gaps(table, human(table, facts), LABELS, by="fact:g", resamples=300).to_dict("records")
        low, high = (row["gap_low"], row["gap_high"]) if row["best"] == "a" else (-row["gap_high"], -row["gap_low"])
        covered += low <= truth <= high
    assert 0.90 <= covered / repeats <= 0.99


def test_the_p_value_of_a_gap_keeps_its_level(cell, human):
    """Without any difference between five groups the gap is never 0, and is found significant in one case of twenty."""
    rng = np.random.default_rng(1)
    rejected, repeats = 0, 200
    for _ in range(repeats):
        who = np.repeat([f"s{i}" for i in range(20)], rng.integers(3, 9, size=20))
        wrong = rng.random(len(who)) < np.repeat(rng.beta(3, 3, size=20), [np.sum(who == f"s{i}") for i in range(20)])
        table = cell([[0, 1, 0] if w else [1, 0, 0] for w in wrong], [[1, 0, 0]] * len(who), speakers=who)
        people = human(table, [{"g": "abcde"[int(name[1:]) % 5]} for name in who])
        (row,) = gaps(table, people, LABELS, by="fact:g", resamples=200).to_dict("records")
        assert row["gap"] > 0
        rejected += row["p_value"] <= 0.05
    assert 0.01 <= rejected / repeats <= 0.10


def test_groups_of_few_speakers_and_the_unknown_are_left_out(cell, human):
    table = cell([UNIFORM] * 5, [[1, 0, 0]] * 5, speakers=["a", "b", "c", "d", "e"])
    facts = [{"g": "x"}, {"g": "x"}, {"g": "y"}, {}, {}]
    (row,) = gaps(table, human(table, facts), LABELS, by="fact:g").to_dict("records")
    assert (row["num_groups"], row["num_groups_left_out"], row["best"]) == (1, 1, "")
    assert math.isnan(row["gap"])
    assert math.isnan(row["p_value"])
    (row,) = gaps(table, human(table, facts), LABELS, by="fact:g", min_speakers=1).to_dict("records")
    assert (row["num_groups"], row["gap"]) == (2, 0)
    assert math.isnan(row["gap_low"])  # one speaker has no spread


def test_speakers_in_several_groups_cannot_be_dealt(cell, human):
    table = cell([UNIFORM] * 4, [[1, 0, 0], [0, 1, 0]] * 2, speakers=["a", "a", "b", "b"])
    (row,) = gaps(table, human(table, [{}] * 4), LABELS, by="majority").to_dict("records")
    assert row["num_groups"] == 2
    assert row["gap"] == pytest.approx(0, abs=1e-12)
    assert math.isnan(row["gap_by_chance"])


def test_an_infinite_gap_has_no_interval(cell, human):
    table = cell([[0, 1, 0]] * 2 + [[1, 0, 0]] * 2, [[1, 0, 0]] * 4)
    people = human(table, [{"g": g} for g in "xxyy"])
    (row,) = gaps(table, people, LABELS, by="fact:g", metric="vote_nll").to_dict("records")
    assert row["gap"] == math.inf
    assert math.isnan(row["gap_low"])


def test_metrics_that_are_no_means_are_refused(cell, human):
    table = cell([UNIFORM], [[1, 0, 0]])
    with pytest.raises(InputError, match="gaps of 'uar' are not available"):
        gaps(table, human(table, [{"g": "x"}]), LABELS, by="fact:g", metric="uar")


# -- clear and ambiguous -----------------------------------------------------------------------------------------------


def test_clear_and_ambiguous_by_hand(cell):
    votes = [[2, 1, 0], [3, 0, 0], [0, 3, 1], [1, 1, 0], [2, 2, 2], [2, 1, 1], [0, 0, 5]]
    pred = [[0.6, 0.3, 0.1], [0, 1, 0], [0.5, 0.5, 0], [1, 0, 0], UNIFORM, [0.5, 0.25, 0.25], [NAN] * 3]
    row = clear_and_ambiguous(cell(pred, votes), LABELS).iloc[0]
    # Clear: the first three (2/3 counts although 2 / 3 is rounded) and the last, which failed.
    assert (row.num_utterances_clear, row.num_failed_clear) == (3, 1)
    assert row.wa_clear == pytest.approx((1 + 0 + 0.5) / 3)  # a tie counts half
    assert row.wa_clear_low <= row.wa_clear <= row.wa_clear_high
    assert (row.num_utterances_between, row.num_utterances_no_majority) == (1, 2)
    assert row.js_divergence_between == pytest.approx(0, abs=1e-12)
    assert row.js_divergence_no_majority == pytest.approx(js([[1, 0, 0]], [[0.5, 0.5, 0]])[0] / 2)
    strict = clear_and_ambiguous(cell(pred, votes), LABELS, share=1).iloc[0]
    assert (strict.num_utterances_clear, strict.num_utterances_between) == (1, 3)


@pytest.mark.parametrize("share", [0.5, 1.01, 0])
def test_a_share_that_is_no_majority_is_refused(cell, share):
    with pytest.raises(InputError, match="share"):
        clear_and_ambiguous(cell([UNIFORM], [[1, 0, 0]]), LABELS, share=share)


# -- floors ------------------------------------------------------------------------------------------------------------


def test_floors_as_cells(cell, human):
    table = pd.concat(
        [cell([UNIFORM] * 2, [[3, 1, 0], [0, 1, 1]]), cell([UNIFORM] * 2, [[3, 1, 0], [0, 1, 1]], prompt="q")]
    )
    people = human(table, [{}] * 2)
    frame = floor_predictions(table, people, LABELS)
    assert list(frame.groupby("readout", sort=False).size().items()) == [
        ("uniform", 2),
        ("prior", 2),
        ("majority", 2),
        ("one_hot_of_top_vote", 2),
    ]
    p = [f"p_{label}" for label in LABELS]
    np.testing.assert_allclose(frame.loc[frame.readout == "prior", p], [[0.375, 0.375, 0.25]] * 2)
    assert set(frame.loc[frame.readout == "prior", "fitted_on"]) == {"evaluated votes"}
    training = people.iloc[:1].assign(role="training", votes_anger=0.0, votes_joy=0.0, votes_calm=2.0)
    frame = floor_predictions(table, pd.concat([people, training]), LABELS)
    np.testing.assert_allclose(frame.loc[frame.readout == "prior", p], [[0, 0, 1]] * 2)
    assert set(frame.loc[frame.readout == "majority", "fitted_on"]) == {"training votes"}
    rows = stratify(frame, people, LABELS, by="entropy").set_index(["readout", "stratum"])
    bits = entropy([0.75, 0.25], base=2)
    assert 0.5 < bits < 1
    assert rows.loc[("uniform", "0.5 to 1.0 bits"), "num_utterances"] == 2
