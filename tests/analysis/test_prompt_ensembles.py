"""Ensembles of prompts by hand, mixture weights against scipy, and what weights have seen."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize, minimize_scalar

from emoprobe.analysis.prompt_ensembles import KINDS, ensembles, mixture_weights
from emoprobe.analysis.strata import stratify
from emoprobe.errors import InputError
from emoprobe.run.predictions import read_cells

NAN = math.nan
LABELS = ["anger", "joy", "calm"]
P = [f"p_{label}" for label in LABELS]


def of(found, kind, labels=LABELS) -> np.ndarray:
    rows = found.predictions[found.predictions.prompt.str.startswith(f"ensemble_{kind}(")]
    return rows.set_index("utterance_id")[[f"p_{label}" for label in labels]].sort_index().to_numpy()


def divergence(pred, target, weights) -> float:
    mix = np.einsum("m,mnk->nk", weights, pred)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(target > 0, target * np.log(target / mix), 0)
    return float(terms.sum(axis=1).mean())


def test_three_kinds_by_hand(cell):
    votes = [[1, 0, 0]] * 4
    a = [[0.6, 0.3, 0.1], [0.4, 0.4, 0.2], [1, 0, 0], [NAN] * 3]
    b = [[0.2, 0.3, 0.5], [0.8, 0.1, 0.1], [NAN] * 3, [NAN] * 3]
    found = ensembles(
        pd.concat([cell(a, votes, prompt="a"), cell(b, votes, prompt="b", fitted_on="null inputs")]),
        LABELS,
        kinds=("arithmetic", "geometric", "hard_vote"),
    )
    np.testing.assert_allclose(of(found, "arithmetic"), [[0.4, 0.3, 0.3], [0.6, 0.25, 0.15], [NAN] * 3, [NAN] * 3])
    roots = np.sqrt(np.multiply(a[:2], b[:2]))
    np.testing.assert_allclose(of(found, "geometric")[:2], roots / roots.sum(axis=1, keepdims=True))
    # Second clip: a is torn between two labels.
    np.testing.assert_allclose(of(found, "hard_vote"), [[0.5, 0, 0.5], [0.75, 0.25, 0], [1, 0, 0], [NAN] * 3])
    votes_of = found.predictions[found.predictions.prompt == "ensemble_hard_vote(2)"].sort_values("utterance_id")
    assert list(votes_of.status) == ["ok", "ok", "partial", "undefined"]
    assert list(votes_of.num_members) == [2, 2, 1, 0]
    assert set(found.predictions.fitted_on) == {"null inputs"}
    assert found.weights.empty


def test_geometric_mean_of_answers_that_exclude_each_other_is_undefined(cell):
    votes = [[1, 0, 0]]
    table = pd.concat([cell([[1, 0, 0]], votes, prompt="a"), cell([[0, 1, 0]], votes, prompt="b")])
    found = ensembles(table, LABELS, kinds=("geometric", "hard_vote"))
    assert np.isnan(of(found, "geometric")).all()
    assert list(found.predictions.status) == ["undefined", "ok"]


def test_a_prompt_in_several_orders_counts_once(cell):
    votes = [[1, 0, 0]]
    preds = {
        "a": [[1, 0, 0]],
        "a@1": [[1, 0, 0]],
        "a@mean(2)": [[1, 0, 0]],
        "b": [[0, 1, 0]],
        "ensemble_x(2)": [[0, 0, 1]],
    }
    table = pd.concat([cell(pred, votes, prompt=name) for name, pred in preds.items()])
    np.testing.assert_allclose(of(ensembles(table, LABELS, kinds=("arithmetic",)), "arithmetic"), [[0.5, 0.5, 0]])


@pytest.mark.parametrize("members", [2, 3, 6])
@pytest.mark.parametrize("seed", range(4))
def test_mixture_weights_agree_with_scipy(seed, members):
    rng = np.random.default_rng(seed)
    pred, target = rng.dirichlet(np.ones(4), (members, 30)), rng.dirichlet(np.full(4, 0.5), 30)
    pred[0] = 0.7 * target + 0.3 * pred[0]
    weights = mixture_weights(pred, target, tolerance=1e-9)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    best = minimize(
        lambda w: divergence(pred, target, w),
        np.full(members, 1 / members),
        bounds=[(0, 1)] * members,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-13, "maxiter": 500},
    )
    assert divergence(pred, target, weights) <= best.fun + 1e-8
    np.testing.assert_allclose(weights, best.x, atol=2e-3)


def test_mixture_weights_are_recovered():
    rng = np.random.default_rng(0)
    pred = rng.dirichlet(np.ones(5), (3, 500))
    target = np.einsum("m,mnk->nk", [0.2, 0.7, 0.1], pred)
    np.testing.assert_allclose(mixture_weights(pred, target, tolerance=1e-10), [0.2, 0.7, 0.1], atol=1e-3)


def test_mixture_weights_of_answers_with_zeros():
    # Votes that no member serves do not count; the others give the closed form of counting.
    pred = np.array([[[1, 0, 0]] * 4, [[0, 1, 0]] * 4], dtype=float)
    target = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=float)
    np.testing.assert_allclose(mixture_weights(pred, target), [2 / 3, 1 / 3])
    np.testing.assert_allclose(mixture_weights(pred, target[3:].repeat(4, axis=0)), [0.5, 0.5])


def test_equal_members_keep_equal_weights():
    pred = np.full((3, 5, 2), 0.5)
    np.testing.assert_allclose(mixture_weights(pred, np.full((5, 2), 0.5)), 1 / 3)


@pytest.mark.parametrize("pred", [np.full((2, 3, 2), NAN), np.ones((2, 3, 4)), np.ones((3, 2))])
def test_mixture_weights_refuse_what_does_not_fit(pred):
    with pytest.raises(InputError, match="members of shape"):
        mixture_weights(pred, np.full((3, 2), 0.5))


def weighted(table, labels, **options):
    return ensembles(table, labels, kinds=("weighted",), **options)


def test_weights_are_fitted_on_the_development_split_and_used_on_the_others(random_cells):
    table, labels = random_cells(60, [{"prompt": "a"}, {"prompt": "b"}], seed=5)
    p, t = ([f"{prefix}_{label}" for label in labels] for prefix in ("p", "target"))
    speakers = table.speaker.str[1:].astype(int)
    table["split"] = np.where(speakers < 5, "development", "test")
    found = weighted(table, labels)
    pred = np.stack([table.loc[table.prompt == name, p].to_numpy() for name in "ab"])
    target = table.loc[table.prompt == "a", t].to_numpy()
    development = (table.loc[table.prompt == "a", "split"] == "development").to_numpy()
    best = minimize_scalar(
        lambda w: divergence(pred[:, development], target[development], np.array([w, 1 - w])),
        bounds=(0, 1),
        method="bounded",
    ).x
    fit = found.weights[found.weights.fit == "development"].set_index("member")
    assert fit.weight["a"] == pytest.approx(best, abs=5e-3)
    assert set(fit.num_utterances) == {development.sum()}
    assert set(fit.num_speakers) == {table.speaker[table.split == "development"].nunique()}
    rows = found.predictions.set_index("utterance_id").loc[table.utterance_id.unique()]
    mix = np.einsum("m,mnk->nk", fit.weight[["a", "b"]].to_numpy(), pred)
    np.testing.assert_allclose(rows.loc[~development, p], mix[~development])
    assert set(rows.loc[~development, "fitted_on"]) == {"development votes"}
    assert set(rows.loc[development, "fitted_on"]) == {"other speakers' votes (5 folds)"}
    (cell,) = read_cells(found.predictions, labels)
    assert cell.fitted_on == "development votes + other speakers' votes (5 folds)"


def test_no_weights_have_seen_the_speaker_they_score(random_cells):
    """Change one speaker's votes to nonsense: that speaker's own predictions stay as they were, others' do not."""
    table, labels = random_cells(60, [{"prompt": "a"}, {"prompt": "b"}, {"prompt": "c"}], seed=6)
    before = weighted(table, labels)
    changed = table.copy()
    mine = (table.speaker == "s3").to_numpy()
    for prefix in ("target", "votes"):
        columns = [f"{prefix}_{label}" for label in labels]
        # What prompt a predicts is suddenly the truth.
        own = table.loc[mine & (table.prompt == "a"), [f"p_{label}" for label in labels]].to_numpy()
        changed.loc[mine, columns] = np.tile(own, (3, 1)) * (1 if prefix == "target" else 10)
    after = weighted(changed, labels)
    a, b = of(before, "weighted", labels), of(after, "weighted", labels)
    who = before.predictions.set_index("utterance_id").speaker.sort_index().to_numpy()
    np.testing.assert_array_equal(a[who == "s3"], b[who == "s3"])
    assert np.abs(a - b)[who != "s3"].max() > 1e-6


def test_folds_do_not_depend_on_the_order_of_the_rows(random_cells):
    table, labels = random_cells(40, [{"prompt": "a"}, {"prompt": "b"}], failures=0.1, seed=7)
    a, b = (
        weighted(t, labels) for t in (table, table.sample(frac=1, random_state=2).sort_values("prompt", kind="stable"))
    )
    np.testing.assert_allclose(of(a, "weighted", labels), of(b, "weighted", labels), atol=1e-9)
    other = of(weighted(table, labels, seed=1), "weighted", labels)
    assert not np.allclose(of(a, "weighted", labels), other, equal_nan=True)


def test_fewer_speakers_than_folds(cell):
    votes, who = [[1, 0, 0], [0, 1, 0], [1, 0, 0]], ["x", "y", "y"]
    table = pd.concat(
        [cell([[1, 0, 0]] * 3, votes, prompt="a", speakers=who), cell([[0, 1, 0]] * 3, votes, prompt="b", speakers=who)]
    )
    found = weighted(table, LABELS)
    # x is scored with what y taught (half and half), y with what x taught (all on a).
    np.testing.assert_allclose(of(found, "weighted"), [[0.5, 0.5, 0], [1, 0, 0], [1, 0, 0]], atol=1e-6)
    assert set(found.predictions.fitted_on) == {"other speakers' votes (2 folds)"}


def test_a_single_speaker_or_failures_leave_it_undefined(cell):
    votes = [[1, 0, 0]] * 2
    table = pd.concat([cell([[1, 0, 0]] * 2, votes, prompt=name, speakers=["x", "x"]) for name in "ab"])
    found = weighted(table, LABELS)
    assert list(found.predictions.status) == ["undefined"] * 2
    assert set(found.predictions.fitted_on) == {""}
    table = pd.concat([cell([[1, 0, 0], [NAN] * 3], votes, prompt=name) for name in "ab"])
    assert list(weighted(table, LABELS).predictions.status) == ["undefined"] * 2


def test_unknown_speakers_are_dealt_one_by_one(cell):
    votes = [[1, 0, 0], [0, 1, 0]]
    table = pd.concat(
        [
            cell([[1, 0, 0]] * 2, votes, prompt="a", speakers=[None] * 2),
            cell([[0, 1, 0]] * 2, votes, prompt="b", speakers=[None] * 2),
        ]
    )
    np.testing.assert_allclose(of(weighted(table, LABELS), "weighted"), [[0, 1, 0], [1, 0, 0]], atol=1e-6)


def test_what_was_fitted_on_is_added_to_what_the_prompts_were_fitted_on(random_cells):
    keys = [{"prompt": name, "fitted_on": "evaluated inputs + evaluated votes"} for name in "ab"]
    table, labels = random_cells(20, keys)
    found = ensembles(table, labels)
    sources = found.predictions.groupby("prompt").fitted_on.unique().map(list).to_dict()
    assert sources.pop("ensemble_weighted(2)") == [
        "evaluated inputs + evaluated votes + other speakers' votes (5 folds)"
    ]
    assert all(value == ["evaluated inputs + evaluated votes"] for value in sources.values())


def test_the_result_goes_through_the_other_functions(random_cells):
    table, labels = random_cells(30, [{"prompt": name, "calibration": c} for name in "ab" for c in ("none", "batch")])
    found = ensembles(table, labels)
    assert found.predictions.groupby(["prompt", "calibration"]).size().to_dict() == {
        (f"ensemble_{kind}(2)", c): 30 for kind in KINDS for c in ("none", "batch")
    }
    frame = stratify(found.predictions, table, labels, by="majority")
    assert frame.groupby("prompt").num_utterances.sum().eq(60).all()


def test_one_prompt_makes_no_ensemble(random_cells):
    table, labels = random_cells(5, [{}])
    found = ensembles(table, labels)
    assert found.predictions.empty
    assert {"prompt", "num_members", "fitted_on", f"p_{labels[0]}"} <= set(found.predictions.columns)
    assert found.weights.empty


@pytest.mark.parametrize("options", [{"kinds": ("median",)}, {"folds": 1}])
def test_wrong_options_are_refused(random_cells, options):
    table, labels = random_cells(5, [{"prompt": "a"}, {"prompt": "b"}])
    with pytest.raises(InputError, match="Use"):
        ensembles(table, labels, **options)
