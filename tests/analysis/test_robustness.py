"""Prompt robustness against scipy and by hand; variance shares against the analysis of variance."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from emoprobe.analysis.robustness import between_prompts, prompt_robustness, prompt_scores, variance_explained
from emoprobe.errors import InputError

NAN = math.nan
LABELS = ["anger", "joy", "calm"]
P = [f"p_{label}" for label in LABELS]


def js(p, q) -> float:
    return jensenshannon(p, q, base=2) ** 2


def three_prompts(cell, **options):
    votes = [[1, 0, 0], [1, 1, 0], [0, 1, 3]]
    preds = {
        "a": [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]],
        "b": [[0.1, 0.3, 0.6], [0.4, 0.4, 0.2], [NAN] * 3],
        "c": [[0.6, 0.3, 0.1], [NAN] * 3, [NAN] * 3],
    }
    return pd.concat([cell(pred, votes, prompt=name, **options) for name, pred in preds.items()]), preds, votes


def test_between_prompts_by_hand(cell):
    table, preds, _ = three_prompts(cell)
    frame = between_prompts(table, LABELS)
    pairs = [js(preds[x][0], preds[y][0]) for x, y in (("a", "b"), ("a", "c"), ("b", "c"))]
    np.testing.assert_allclose(frame.js_between, [np.mean(pairs), js(preds["a"][1], preds["b"][1]), NAN])
    # Clip 0: a > b > c against c > b > a, the same order, and again the reverse: (-1 + 1 - 1) / 3.
    # Clip 1: one of three pairs is tied in b: 2 / sqrt(3 * 2).
    np.testing.assert_allclose(frame.label_tau, [-1 / 3, 2 / math.sqrt(6), NAN])
    assert list(frame.num_prompts) == [3, 2, 1]
    assert list(frame.utterance_id) == ["u000", "u001", "u002"]


def test_between_prompts_agrees_with_scipy(random_cells):
    table, labels = random_cells(40, [{"prompt": name} for name in "abcd"], failures=0.2)
    columns = [f"p_{label}" for label in labels]
    # Ties, zeros and a constant prediction, whose order is undefined.
    table.loc[table.index[:15], columns] = table.loc[table.index[:15], columns].round(1)
    table.loc[table.index[:15], columns] = table.loc[table.index[:15], columns].pipe(
        lambda f: f.div(f.sum(axis=1), axis=0)
    )
    table.loc[table.index[2], columns] = 1 / len(labels)
    frame = between_prompts(table, labels).set_index("utterance_id")
    for name, rows in table.groupby("utterance_id"):
        pred = rows[columns].dropna().to_numpy()
        pairs = list(itertools.combinations(pred, 2))
        taus = [stats.kendalltau(p, q).statistic for p, q in pairs]
        expected = (np.mean([js(p, q) for p, q in pairs]), np.nanmean(taus)) if pairs else (NAN, NAN)
        np.testing.assert_allclose(frame.loc[name, ["js_between", "label_tau"]].astype(float), expected, atol=1e-12)
        assert frame.loc[name, "num_prompts"] == len(pred)


def test_probabilities_that_differ_by_rounding_tie(cell):
    # 0.1 + 0.2 is above 0.3 in floating point; without the tie the two orders would be the same.
    table = pd.concat(
        [cell([[0.1 + 0.2, 0.3, 0.4]], [[1, 0, 0]], prompt="a"), cell([[0.3, 0.2, 0.5]], [[1, 0, 0]], prompt="b")]
    )
    assert between_prompts(table, LABELS).label_tau.tolist() == pytest.approx([2 / math.sqrt(6)])


def test_prompts_are_compared_on_the_same_utterances(cell):
    votes = [[1, 0, 0]] * 3
    good, bad, half = [1, 0, 0], [0, 1, 0], [0.5, 0.5, 0]
    table = pd.concat(
        [
            cell([good, bad, bad], votes, prompt="a"),
            cell([half, half, [NAN] * 3], votes, prompt="b"),
            cell([[NAN] * 3] * 3, votes, prompt="silent"),
        ]
    )
    frame = prompt_scores(table, LABELS).set_index("prompt")
    assert list(frame.num_complete) == [2, 2, 2]
    assert list(frame.num_failed) == [0, 1, 3]
    np.testing.assert_allclose(frame.js_divergence, [0.5, js(good, half), NAN])
    row = prompt_robustness(table, LABELS).iloc[0]
    assert (row.num_prompts, row.num_prompts_failed, row.num_complete) == (3, 1, 2)
    assert (row.num_utterances, row.num_failed) == (2, 1)
    assert (row.best_prompt, row.worst_prompt) == ("b", "a")
    assert row.gap == pytest.approx(0.5 - js(good, half))
    assert row.sd == pytest.approx(np.std([0.5, js(good, half)], ddof=1))


def test_prompt_robustness_agrees_with_scipy(random_cells):
    table, labels = random_cells(50, [{"prompt": name} for name in "abc"], seed=3)
    p, t = ([f"{prefix}_{label}" for label in labels] for prefix in ("p", "target"))
    row = prompt_robustness(table, labels).iloc[0]
    between = between_prompts(table, labels)
    np.testing.assert_allclose(
        [row.js_between, row.js_between_q25, row.js_between_median, row.js_between_q75],
        [between.js_between.mean(), *np.percentile(between.js_between, [25, 50, 75])],
    )
    assert row.js_between_low < row.js_between < row.js_between_high
    assert row.label_tau == pytest.approx(between.label_tau.mean())
    bits = [stats.entropy(table.loc[table.prompt == name, p], axis=1) for name in "abc"]
    taus = [stats.kendalltau(a, b).statistic for a, b in itertools.combinations(bits, 2)]
    assert row.entropy_tau == pytest.approx(np.mean(taus))
    of = {
        name: np.array([js(a, b) for a, b in zip(rows[p].to_numpy(), rows[t].to_numpy(), strict=True)])
        for name, rows in table.groupby("prompt")
    }
    means = {name: values.mean() for name, values in of.items()}
    assert row.best_prompt == min(means, key=means.get)
    assert row.worst_prompt == max(means, key=means.get)
    assert row.best_js_divergence == pytest.approx(min(means.values()))
    assert row.gap == pytest.approx(max(means.values()) - min(means.values()))
    assert row.sd == pytest.approx(np.std(list(means.values()), ddof=1))
    assert row.gap_low < row.gap < row.gap_high


def test_equal_prompts_do_not_differ(random_cells):
    table, labels = random_cells(20, [{"prompt": "a"}])
    row = prompt_robustness(pd.concat([table, table.assign(prompt="b")]), labels).iloc[0]
    assert row.js_between == pytest.approx(0, abs=1e-12)
    assert (row.label_tau, row.entropy_tau) == pytest.approx((1, 1))
    assert (row.gap, row.sd) == (0, 0)


def test_ensembles_means_over_orders_and_single_prompts_are_left_out(random_cells):
    prompts = ["a", "a@1", "a@mean(2)", "ensemble_arithmetic(2)"]
    table, labels = random_cells(8, [{"prompt": name} for name in prompts] + [{"prompt": "a", "readout": "other"}])
    assert list(prompt_scores(table, labels).prompt) == ["a", "a@1"]
    assert list(prompt_robustness(table, labels).readout) == ["label_likelihood"]
    single = table[table.readout == "other"]
    assert prompt_robustness(single, labels).empty
    assert list(between_prompts(single, labels).columns)[-1] == "label_tau"
    assert list(prompt_scores(single, labels).columns)[-1] == "js_divergence"


def test_settings_are_kept_apart(random_cells):
    keys = [{"prompt": p, "calibration": c, "model": m} for p in "ab" for c in ("none", "batch") for m in ("x", "y")]
    table, labels = random_cells(6, keys)
    frame = prompt_robustness(table, labels)
    assert len(frame) == 4
    assert not frame.duplicated(["model", "calibration"]).any()


def test_no_utterance_on_which_two_prompts_work(cell):
    votes = [[1, 0, 0], [0, 1, 0]]
    table = pd.concat(
        [
            cell([[1, 0, 0], [NAN] * 3], votes, prompt="a"),
            cell([[NAN] * 3, [1, 0, 0]], votes, prompt="b"),
        ]
    )
    row = prompt_robustness(table, LABELS).iloc[0]
    assert (row.num_utterances, row.num_failed, row.num_complete, row.best_prompt) == (0, 2, 0, "")
    assert row[["js_between", "label_tau", "entropy_tau", "gap", "sd"]].isna().all()


# -- variance ----------------------------------------------------------------------------------------------------------


def design(levels, effect, rng=None):
    rows = []
    for prompt, model, calibration, readout in itertools.product(*(range(n) for n in levels)):
        noise = 0 if rng is None else rng.normal()
        rows.append(
            {
                "kind": "readout",
                "prompt": f"p{prompt}",
                "model": f"m{model}",
                "calibration": f"c{calibration}",
                "readout": f"r{readout}",
                "variant": "",
                "js_divergence": effect(prompt, model, calibration, readout) + noise,
            }
        )
    return pd.DataFrame(rows)


def test_a_balanced_design_gives_the_analysis_of_variance():
    scores = design((4, 3, 2, 2), lambda p, m, c, r: 0.3 * p - 0.7 * m + c * r, np.random.default_rng(0))
    frame = variance_explained(scores).set_index("term")
    y = scores.js_divergence
    explained = 0.0
    for factor in ("prompt", "model", "calibration", "readout"):
        groups = scores.groupby(factor).js_divergence
        expected = (groups.size() * (groups.mean() - y.mean()) ** 2).sum()
        assert frame.loc[factor, "sum_of_squares"] == pytest.approx(expected)
        assert frame.loc[factor, "df"] == groups.ngroups - 1
        explained += expected
    total = ((y - y.mean()) ** 2).sum()
    assert frame.loc["total", "sum_of_squares"] == pytest.approx(total)
    assert frame.loc["residual", "sum_of_squares"] == pytest.approx(total - explained)
    assert frame.loc["shared", "share"] == pytest.approx(0, abs=1e-12)
    parts = frame.drop("total")
    assert parts.share.sum() == pytest.approx(1)
    assert parts.df.sum() == frame.loc["total", "df"] == 47


def test_shares_by_hand():
    # 2 x 2: prompt adds 3, model adds 1, nothing else: sums of squares 9 and 1 of 10.
    frame = variance_explained(design((2, 2, 1, 1), lambda p, m, c, r: 3 * p + m)).set_index("term")
    np.testing.assert_allclose(
        frame.share[["prompt", "model", "calibration", "readout", "shared", "residual"]],
        [0.9, 0.1, 0, 0, 0, 0],
        atol=1e-12,
    )
    # With an interaction of size 2 the main effects are 4 and 2, and the residual is left with 1.
    frame = variance_explained(design((2, 2, 1, 1), lambda p, m, c, r: 3 * p + m + 2 * p * m)).set_index("term")
    np.testing.assert_allclose(frame.sum_of_squares[["prompt", "model", "residual"]], [16, 4, 1])


@pytest.mark.parametrize("seed", range(3))
def test_an_unbalanced_design_gives_type_two_sums_of_squares(seed):
    rng = np.random.default_rng(seed)
    scores = design((4, 3, 2, 2), lambda p, m, c, r: 0.5 * p + m, rng).sample(20, random_state=seed)
    frame = variance_explained(scores).set_index("term")
    factors = ["prompt", "model", "calibration", "readout"]

    def residual(kept):
        # Normal equations with a pseudo-inverse and a full set of indicators: another way to the same fit.
        x = np.concatenate(
            [np.ones((len(scores), 1)), *(pd.get_dummies(scores[f]).to_numpy(float) for f in kept)], axis=1
        )
        y = scores.js_divergence.to_numpy()
        return float(y @ (np.eye(len(y)) - x @ np.linalg.pinv(x)) @ y)

    full = residual(factors)
    for factor in factors:
        expected = residual([other for other in factors if other != factor]) - full
        assert frame.loc[factor, "sum_of_squares"] == pytest.approx(expected, abs=1e-9)
    assert frame.loc["residual", "sum_of_squares"] == pytest.approx(full)
    assert frame.share.drop("total").sum() == pytest.approx(1)
    shuffled = variance_explained(scores.sample(frac=1, random_state=1), factors=factors[::-1]).set_index("term")
    np.testing.assert_allclose(shuffled.share[factors], frame.share[factors], atol=1e-9)


def test_confounded_factors_share_what_neither_explains_alone():
    scores = pd.concat([design((2, 1, 1, 1), lambda p, m, c, r: 1.0 * p)] * 2, ignore_index=True)
    scores["model"] = scores["prompt"]
    frame = variance_explained(scores).set_index("term")
    np.testing.assert_allclose(frame.share[["prompt", "model", "residual"]], 0, atol=1e-12)
    assert frame.loc["shared", "share"] == pytest.approx(1)
    assert frame.loc["shared", "df"] == 1


def test_floors_combinations_layers_and_failures_are_left_out():
    scores = design((2, 2, 1, 1), lambda p, m, c, r: 3 * p + m)
    extra = scores.iloc[:1]
    more = [
        extra.assign(kind="floor", js_divergence=100),
        extra.assign(prompt="ensemble_arithmetic(2)", js_divergence=100),
        extra.assign(prompt="p0@mean(3)", js_divergence=100),
        extra.assign(readout="layerwise", js_divergence=100),
        extra.assign(readout="text", js_divergence=NAN),
        extra.assign(readout="text", js_divergence=math.inf),
    ]
    frame = variance_explained(pd.concat([scores, *more])).set_index("term")
    assert frame.loc["prompt", "share"] == pytest.approx(0.9)
    assert set(frame.num_cells) == {4}
    assert set(frame.num_left_out) == {2}


def test_variants_are_levels_of_the_readout():
    scores = design((1, 1, 1, 1), lambda p, m, c, r: 0.0)
    scores = pd.concat([scores.assign(variant=f"v{i}", js_divergence=float(i)) for i in range(3)])
    assert variance_explained(scores).set_index("term").loc["readout", ["levels", "share"]].tolist() == [3, 1]


def test_equal_scores_have_no_shares():
    frame = variance_explained(design((2, 2, 1, 1), lambda p, m, c, r: 0.1 + 0.2))
    assert frame.share.isna().all()
    with pytest.raises(InputError, match="1 cells have a finite js_divergence"):
        variance_explained(design((1, 1, 1, 1), lambda p, m, c, r: 0.5))
    with pytest.raises(InputError, match="no column 'wa'"):
        variance_explained(design((2, 1, 1, 1), lambda p, m, c, r: 0.5), metric="wa")


def test_prompts_that_saw_the_votes_have_no_best(random_cells):
    keys = [{"prompt": name, "calibration": "training_prior"} for name in ("a", "b")]
    table, labels = random_cells(30, [*keys, {"prompt": "a"}, {"prompt": "b"}])
    table.loc[table["calibration"] == "training_prior", "fitted_on"] = "evaluated inputs + evaluated votes"
    frame = prompt_robustness(table, labels, resamples=50).set_index("calibration")
    seen, plain = frame.loc["training_prior"], frame.loc["none"]
    assert (seen["best_prompt"], seen["worst_prompt"]) == ("", "")
    assert np.isnan(seen[["best_js_divergence", "worst_js_divergence", "gap"]].astype(float)).all()
    assert seen["sd"] > 0
    assert seen["fitted_on"] == "evaluated inputs + evaluated votes"
    assert {plain["best_prompt"], plain["worst_prompt"]} == {"a", "b"}
