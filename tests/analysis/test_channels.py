"""Channels, parse failures, label mass, layers, calibration and mixtures, by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from sklearn.calibration import calibration_curve

from emoprobe.analysis import channels
from emoprobe.errors import InputError
from emoprobe.metrics.functional import classwise_ece, evaluate, metrics_of

NAN = math.nan
FAILED = [NAN] * 3
LABELS = ["anger", "joy", "calm"]
UNIFORM = [1 / 3] * 3


def js(p, q) -> float:
    return jensenshannon(p, q, base=2) ** 2


def pair(cell, tokens, texts, votes, **options) -> pd.DataFrame:
    written = cell(texts, votes, readout="generated_text", variant="parsed", **options)
    return pd.concat([cell(tokens, votes, **options), written])


# -- text against tokens -----------------------------------------------------------------------------------------------


def test_agreement_by_hand(cell):
    votes = [[1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0]]
    tokens = [[0.7, 0.2, 0.1], [0.4, 0.4, 0.2], [0.5, 0.3, 0.2], [1, 0, 0], FAILED, FAILED]
    texts = [[1, 0, 0], [0, 1, 0], [0, 0.5, 0.5], FAILED, [1, 0, 0], FAILED]
    table = pair(cell, tokens, texts, votes)
    (row,) = channels.channel_agreement(table, LABELS).to_dict("records")
    assert [row[f"num_{name}"] for name in ("both", "only_token", "only_text", "neither")] == [3, 1, 1, 1]
    assert row["agreement"] == pytest.approx((1 + 0.5 + 0) / 3)  # a tie of two agrees half
    target = np.array(votes) / np.sum(votes, axis=1, keepdims=True)
    between = [js(tokens[i], texts[i]) for i in range(3)]
    of_token, of_text = ([js(p[i], target[i]) for i in range(3)] for p in (tokens, texts))
    assert row["js_between"] == pytest.approx(np.mean(between))
    assert (row["js_token"], row["js_text"]) == pytest.approx((np.mean(of_token), np.mean(of_text)))
    assert row["text_minus_token"] == pytest.approx(np.mean(of_text) - np.mean(of_token))
    assert row["text_minus_token_low"] <= row["text_minus_token"] <= row["text_minus_token_high"]
    clips = channels.channel_clips(table, LABELS)
    np.testing.assert_allclose(clips.agreement, [1, 0.5, 0, NAN, NAN, NAN])
    np.testing.assert_allclose(clips.js_text, [*of_text, NAN, js([1, 0, 0], [1, 0, 0]), NAN], atol=1e-12)


def test_rows_are_matched_by_utterance(cell):
    votes = [[1, 0, 0], [0, 1, 0]]
    table = pair(cell, [[1, 0, 0], [0, 1, 0]], [[1, 0, 0], [0, 1, 0]], votes)
    shuffled = pd.concat([table.iloc[:2], table.iloc[[3, 2]]])
    assert channels.channel_agreement(shuffled, LABELS).agreement.tolist() == [1.0]
    assert channels.channel_agreement(shuffled.iloc[:3], LABELS).num_both.tolist() == [1]


def test_every_token_readout_meets_every_text_readout_of_its_prompt(random_cells):
    keys = [{"calibration": c} for c in ("none", "batch")] + [{"readout": "layerwise", "variant": "layer_00"}]
    keys += [{"readout": "generated_text", "variant": "parsed"}, {"readout": "sampled_text", "variant": "mean"}]
    keys += [{"prompt": "silent"}, {"prompt": "written", "readout": "generated_text", "variant": "parsed"}]
    table, labels = random_cells(9, keys)
    frame = channels.channel_agreement(table, labels)
    assert list(zip(frame.prompt, frame.token_calibration, frame.text_readout, strict=True)) == [
        ("p", "none", "generated_text"),
        ("p", "none", "sampled_text"),
        ("p", "batch", "generated_text"),
        ("p", "batch", "sampled_text"),
    ]
    nothing = table[table.prompt != "p"]
    assert channels.channel_agreement(nothing, labels).empty
    assert "agreement" in channels.channel_clips(nothing, labels)


def test_a_text_that_never_parsed_is_counted(cell):
    table = pair(cell, [[1, 0, 0]] * 2, [FAILED] * 2, [[1, 0, 0]] * 2)
    (row,) = channels.channel_agreement(table, LABELS).to_dict("records")
    assert (row["num_both"], row["num_only_token"]) == (0, 2)
    assert all(
        math.isnan(row[name]) for name in ("agreement", "js_between", "text_minus_token", "text_minus_token_low")
    )


def test_parse_statuses(cell):
    votes = [[1, 0, 0]] * 4
    status = ["ok", "refused", "ok", "undefined"]
    texts = [[1, 0, 0], FAILED, [0, 1, 0], FAILED]
    written = cell(texts, votes, readout="generated_text", variant="parsed", status=status)
    frame = channels.parse_statuses(pd.concat([cell(texts, votes), written]))
    assert set(frame.readout) == {"generated_text"}
    found = frame.set_index("status")
    assert found["count"].to_dict() == {
        "ok": 2,
        "renormalised": 0,
        "single_label": 0,
        "partial": 0,
        "ranked": 0,
        "refused": 1,
        "unparsed": 0,
        **dict.fromkeys(["truncated", "reasoning_cut", "ambiguous"], 0),
        "undefined": 1,
    }
    assert found.share["ok"] == 0.5
    assert frame.share.sum() == 1
    assert list(channels.parse_statuses(cell(texts, votes)).columns) == [*frame.columns]


def test_label_masses(cell):
    votes = [[1, 0, 0]] * 5
    mass = [0.005, 0.01, 0.2, 0.4, NAN]
    table = pd.concat(
        [
            cell([UNIFORM] * 5, votes, mass=mass),
            cell([UNIFORM] * 5, votes, mass=mass, calibration="batch"),
            cell([UNIFORM] * 5, votes, readout="averaged_logits"),
        ]
    )
    (row,) = channels.label_masses(table).to_dict("records")
    assert (row["num_utterances"], row["num_missing"], row["readout"]) == (4, 1, "label_likelihood")
    assert row["mean"] == pytest.approx(0.15375)
    assert row["median"] == pytest.approx(0.105)
    assert (row["p05"], row["p95"]) == pytest.approx((0.005 + 0.15 * 0.005, 0.2 + 0.85 * 0.2))
    assert row["share_below"] == 0.25  # .01 is not below .01
    assert channels.label_masses(table, threshold=0.3).share_below.tolist() == [0.75]


def test_layer_curves_are_sorted_by_number(random_cells):
    order = (10, 2, 0)
    keys = [{"readout": "layerwise", "variant": f"layer_{layer:02}"} for layer in order]
    table, labels = random_cells(20, [*keys, {}], failures=0.2)
    frame = channels.layer_curves(table, labels)
    assert list(frame.layer) == [0, 2, 10]
    p, t, v = ([f"{prefix}_{label}" for label in labels] for prefix in ("p", "target", "votes"))
    rows = table[table.variant == "layer_02"].dropna(subset=p)
    expected = evaluate(rows[p].to_numpy(), rows[t].to_numpy(), rows[v].to_numpy())
    assert frame.loc[1, list(metrics_of())].to_dict() == pytest.approx({name: expected[name] for name in metrics_of()})
    assert frame.loc[1, ["num_utterances", "num_failed"]].tolist() == [len(rows), 20 - len(rows)]
    assert channels.layer_curves(table[table.readout != "layerwise"], labels).empty
    with pytest.raises(InputError, match="'last' is no layer"):
        channels.layer_curves(table.replace({"variant": {"layer_02": "last"}}), labels)


def test_layers_of_two_readouts_are_two_curves(random_cells, monkeypatch):
    monkeypatch.setattr(channels, "names_of", {"layers": {"layerwise", "tuned_lens"}}.__getitem__)
    cells = [
        {"readout": name, "variant": f"layer_{layer:02}"} for layer in (1, 0) for name in ("layerwise", "tuned_lens")
    ]
    table, labels = random_cells(20, cells)
    both = channels.layer_curves(table, labels)
    assert list(zip(both.readout, both.layer, strict=True)) == [
        *(("layerwise", 0), ("layerwise", 1), ("tuned_lens", 0), ("tuned_lens", 1)),
    ]
    for name in ("layerwise", "tuned_lens"):
        one = channels.layer_curves(table[table.readout == name], labels)
        pd.testing.assert_frame_equal(both[both.readout == name].reset_index(drop=True), one)


# -- calibration and confusion -----------------------------------------------------------------------------------------


def test_reliability_by_hand(cell):
    pred = [[0.7, 0.25, 0.05], [0.65, 0.1 + 0.2, 0.05], FAILED]
    frame = channels.reliability(cell(pred, [[1, 0, 0], [1, 1, 0], [1, 0, 0]]), LABELS)
    pooled = frame[frame.label == ""]
    assert list(pooled["count"]) == [2, 0, 2, 0, 0, 0, 2, 0, 0, 0]  # 0.1 + 0.2 is above 0.3 in floating point
    filled = pooled[pooled["count"] > 0]
    np.testing.assert_allclose(filled.mean_probability, [0.05, 0.275, 0.675])
    np.testing.assert_allclose(filled.mean_share, [0, 0.25, 0.75])
    assert pooled[pooled["count"] == 0].mean_share.isna().all()
    np.testing.assert_allclose(pooled[["lower", "upper"]].iloc[2], [0.2, 0.3])
    joy = frame[(frame.label == "joy") & (frame["count"] > 0)]
    assert joy[["bin", "count"]].to_numpy().tolist() == [[2, 2]]
    assert len(frame) == 40


@pytest.mark.parametrize("bins", [1, 5, 10])
def test_reliability_adds_up_to_the_calibration_error(random_cells, bins):
    table, labels = random_cells(50, [{}], failures=0.1)
    rows = channels.reliability(table, labels, bins=bins)
    single = rows[rows.label != ""].dropna()
    error = (single["count"] * (single.mean_probability - single.mean_share).abs()).sum() / single["count"].sum()
    p, t = ([f"{prefix}_{label}" for label in labels] for prefix in ("p", "target"))
    scored = table.dropna(subset=p)
    expected = float(classwise_ece(scored[p].to_numpy(), scored[t].to_numpy(), bins=bins))
    assert error == pytest.approx(expected)


def test_reliability_agrees_with_scikit_learn(random_cells):
    table, labels = random_cells(200, [{}], labels=2)
    table["votes_label0"] = (table["target_label0"] > 0.5).astype(float)
    table["votes_label1"] = 1 - table["votes_label0"]
    table["target_label0"], table["target_label1"] = table["votes_label0"], table["votes_label1"]
    share, probability = calibration_curve(table["votes_label0"], table["p_label0"], n_bins=10)
    rows = channels.reliability(table, labels)
    rows = rows[(rows.label == "label0") & (rows["count"] > 0)]
    np.testing.assert_allclose(rows.mean_share, share)
    np.testing.assert_allclose(rows.mean_probability, probability)


def test_reliability_of_nothing_and_of_no_bins(cell):
    frame = channels.reliability(cell([FAILED], [[1, 0, 0]]), LABELS)
    assert frame["count"].sum() == 0
    assert frame.mean_share.isna().all()
    with pytest.raises(InputError, match="bins"):
        channels.reliability(cell([FAILED], [[1, 0, 0]]), LABELS, bins=0)


def test_expected_confusion_by_hand(cell):
    pred = [[0.5, 0.5, 0], [0.2, 0.2, 0.6], FAILED]
    frame = channels.expected_confusion(cell(pred, [[1, 0, 0], [1, 1, 0], [0, 0, 1]]), LABELS)
    matrix = frame.set_index(["rater_label", "model_label"])
    share = matrix.share.unstack()[LABELS].loc[LABELS].to_numpy()
    # Anger has weight 1 in the first clip and 1/2 in the second; joy is in the second only; nobody scored says calm.
    expected = [[(0.5 + 0.1) / 1.5, (0.5 + 0.1) / 1.5, 0.3 / 1.5], [0.2, 0.2, 0.6], [NAN] * 3]
    np.testing.assert_allclose(share, expected)
    raters = matrix.raters.unstack()[LABELS].loc[LABELS].to_numpy()
    np.testing.assert_allclose(raters, [[1.25 / 1.5, 0.25 / 1.5, 0], [0.5, 0.5, 0], [NAN] * 3])
    np.testing.assert_allclose(matrix.weight.unstack()["joy"].loc[LABELS], [0.75, 0.25, 0])
    assert set(frame.num_utterances) == {2}
    assert set(frame.num_failed) == {1}


def test_expected_confusion_rows_sum_to_one_and_equal_a_simulation(random_cells):
    table, labels = random_cells(30, [{}], labels=3)
    frame = channels.expected_confusion(table, labels)
    sums = frame.groupby("rater_label")[["share", "raters"]].sum()
    np.testing.assert_allclose(sums, 1)
    p, t = (table[[f"{prefix}_{label}" for label in labels]].to_numpy() for prefix in ("p", "target"))
    # A clip and a rater of it, drawn in proportion: as many copies as 27,720 raters would give.
    drawn = [(i, k) for i, row in enumerate(t) for k, part in enumerate(row) for _ in range(round(part * 27720))]
    of = {i: np.mean([p[clip] for clip, k in drawn if k == i], axis=0) for i in range(3)}
    share = frame.set_index(["rater_label", "model_label"]).share.unstack()[labels].loc[labels].to_numpy()
    np.testing.assert_allclose(share, [of[i] for i in range(3)], atol=1e-6)


def test_missed_mixtures_by_hand(cell):
    votes = [[3, 1, 0], [2, 2, 0], [1, 1, 1], [4, 0, 0], [5, 1, 0], [2, 2, 0]]
    pred = [[0.1, 0.2, 0.7], [0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.8, 0.1, 0.1], [0.4, 0.4, 0.2], FAILED]
    frame = channels.missed_mixtures(cell(pred, votes), LABELS)
    rows = frame.set_index(["first", "second"])
    assert list(frame.kind) == ["pair"] * 3 + ["clear"] * 3
    both = rows.loc[("anger", "joy")]
    # 3:1 is at the limit of a quarter, 1:1:1 is every pair, 5:1 is not; the last failed.
    assert (both.num_utterances, both.num_failed) == (3, 1)
    assert both.human_mass == pytest.approx((1 + 1 + 2 / 3) / 3)
    assert both.model_mass == pytest.approx((0.3 + 0.8 + 0.7) / 3)
    assert both.js_divergence == pytest.approx(
        np.mean([js(pred[0], [0.75, 0.25, 0]), js(pred[1], [0.5, 0.5, 0]), js(pred[2], UNIFORM)])
    )
    assert both.found == pytest.approx(1 / 3)
    assert rows.loc[("joy", "calm"), ["num_utterances", "found"]].tolist() == [1, 1]
    clear = rows.loc[("anger", "")]
    # 3:1 is clear as well as mixed; the tie of the fifth counts half.
    assert (clear.num_utterances, clear.num_failed) == (3, 0)
    assert clear.found == pytest.approx((0 + 1 + 0.5) / 3)
    empty = rows.loc[("calm", "")]
    assert empty.num_utterances == 0
    assert empty[["human_mass", "model_mass", "js_divergence", "found"]].isna().all()


def top_sets(row, size) -> list[tuple[int, ...]]:
    """All choices of the highest labels that break ties somehow; every order of the labels is tried."""
    orders = itertools.permutations(range(len(row)))
    return [tuple(sorted(sorted(order, key=lambda k: -row[k])[:size])) for order in orders]


@pytest.mark.parametrize("size", [1, 2])
def test_found_is_the_share_of_all_ways_to_break_ties(size):
    rng = np.random.default_rng(0)
    rows = np.concatenate(
        [rng.multinomial(6, [0.25] * 4, 60), np.ones((1, 4)), [[1, 1, 0, 0]], [[2, 1, 1, 0]], [[1, 0, 0, 0]]]
    )
    pred = rows / rows.sum(axis=1, keepdims=True)
    for members in itertools.combinations(range(4), size):
        found = channels._found(pred, members)
        for value, row in zip(found, rows, strict=True):
            choices = top_sets(row, size)
            positive = min(row[list(members)]) > 0
            assert value == pytest.approx(np.mean([choice == members for choice in choices]) * positive)


@pytest.mark.parametrize("options", [{"share": 0}, {"share": 0.6}, {"clear": 0.5}, {"clear": 1.1}])
def test_shares_out_of_range_are_refused(cell, options):
    with pytest.raises(InputError, match="share"):
        channels.missed_mixtures(cell([UNIFORM], [[1, 0, 0]]), LABELS, **options)
