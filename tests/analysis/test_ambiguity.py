"""Ambiguity as an outcome: ranks, calibration of entropy, selective answers, against scipy, scikit-learn and loops."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import entropy, kendalltau, spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

from emoprobe.analysis import ambiguity
from emoprobe.analysis.ambiguity import AMBIGUOUS_BITS, disagreement, human_side
from emoprobe.beliefs.targets import Targets
from emoprobe.metrics.ceiling import Ratings

LABELS = ["anger", "joy", "calm", "fear"]
SIZE, SPEAKERS, FAILED = 120, 8, 6


def targets_of(votes: np.ndarray, raters=None, **more) -> Targets:
    frame = pd.DataFrame(votes, columns=[f"votes_{label}" for label in LABELS])
    frame.index = pd.Index([f"u{i:03d}" for i in range(len(votes))], name="utterance_id")
    frame["num_raters"] = pd.array(votes.sum(axis=1) if raters is None else raters, dtype="Float64")
    return Targets(frame, votes / votes.sum(axis=1, keepdims=True), votes, votes.mean(axis=0), "", **more)


class Case:
    """A model that knows something, on clips of 2 to 7 raters; the last clips have failed."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        truth = rng.dirichlet([0.5] * 4, SIZE)
        self.votes = np.stack([rng.multinomial(rng.integers(2, 8), p) for p in truth]).astype(float)
        self.target = self.votes / self.votes.sum(axis=1, keepdims=True)
        self.pred = np.round(0.6 * truth + 0.4 * rng.dirichlet([1] * 4, SIZE), 2)
        self.pred /= self.pred.sum(axis=1, keepdims=True)
        self.shown = np.where(np.arange(SIZE)[:, None] >= SIZE - FAILED, np.nan, self.pred)
        self.used = slice(0, SIZE - FAILED)
        self.human = human_side(targets_of(self.votes))
        self.ours = entropy(self.pred[self.used], base=2, axis=1)
        self.theirs = entropy(self.target[self.used], base=2, axis=1)

    def table(self, make) -> pd.DataFrame:
        return make(self.shown, self.votes, labels=LABELS, speakers=[f"s{i % SPEAKERS}" for i in range(SIZE)])


CASE = Case()


def inside(row: dict, name: str) -> bool:
    return row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]


def test_ranks_are_those_of_scipy_and_scikit_learn(cell):
    (row,) = ambiguity.entropy_ranks(CASE.table(cell), LABELS, CASE.human, resamples=100).to_dict("records")
    ours, theirs, target = CASE.ours, CASE.theirs, CASE.target[CASE.used]
    assert row["spearman"] == pytest.approx(spearmanr(ours.round(9), theirs.round(9)).statistic)
    assert row["kendall"] == pytest.approx(kendalltau(ours.round(9), theirs.round(9)).statistic)
    kinds = {"ambiguous": theirs > AMBIGUOUS_BITS - 1e-9, "no_majority": target.max(axis=1) < 0.5 + 1e-9}
    for name, there in kinds.items():
        assert row[f"num_{name}"] == there.sum()
        assert row[f"auroc_{name}"] == pytest.approx(roc_auc_score(there, ours.round(9)))
        assert row[f"precision_{name}"] == pytest.approx(average_precision_score(there, ours.round(9)))
    assert (row["num_utterances"], row["num_failed"], row["num_speakers"]) == (SIZE - FAILED, FAILED, SPEAKERS)
    for name in ("spearman", "kendall", "auroc_ambiguous", "precision_no_majority"):
        assert inside(row, name)


def test_entropy_is_compared_with_what_few_votes_were_drawn_from():
    """Of clips whose truth is known: votes are too little spread, the corrected mean and the disagreement are not."""
    rng = np.random.default_rng(1)
    truth = rng.dirichlet([0.7] * 4, 3000)
    human = human_side(targets_of(rng.multinomial(3, truth).astype(float)))
    true = entropy(truth, base=2, axis=1).mean()
    assert entropy(human.votes / 3, base=2, axis=1).mean() < true - 0.3
    assert human.entropy.mean() == pytest.approx(true, abs=0.05)
    certain = truth.max(axis=1) > 0.7  # right in every part, not on the whole only
    for part in (certain, ~certain):
        assert human.disagreement[part].mean() == pytest.approx((1 - (truth[part] ** 2).sum(axis=1)).mean(), abs=0.02)


def test_disagreement_is_that_of_all_pairs():
    for clip in range(5):
        said = np.repeat(np.arange(4), CASE.votes[clip].astype(int))
        pairs = [a != b for i, a in enumerate(said) for j, b in enumerate(said) if i != j]
        assert CASE.human.disagreement[clip] == pytest.approx(np.mean(pairs))
    shared = Ratings(np.array([0, 0]), np.array([[0.5, 0.5], [1.0, 0.0]]))
    assert disagreement(shared, 2).tolist() == pytest.approx([0.5, math.nan], nan_ok=True)


def test_calibration_of_entropy_by_bins(cell):
    table = ambiguity.entropy_calibration(CASE.table(cell), LABELS, CASE.human, resamples=100)
    whole, bins = table.iloc[0], table.iloc[1:]
    assert bins["num_utterances"].sum() == whole["num_utterances"] == SIZE - FAILED
    assert bins["predicted_entropy"].is_monotonic_increasing
    assert whole["predicted_entropy"] == pytest.approx(CASE.ours.mean())
    assert whole["votes_entropy"] == pytest.approx(CASE.theirs.mean())
    lowest = np.argsort(CASE.ours)[: int(bins["num_utterances"].iloc[0])]
    known = CASE.human.entropy[CASE.used][lowest]
    assert bins["entropy_gap"].iloc[0] == pytest.approx((CASE.ours[lowest] - known).mean())
    gap = 1 - (CASE.pred[CASE.used][lowest] ** 2).sum(axis=1) - CASE.human.disagreement[CASE.used][lowest]
    assert bins["disagreement_gap"].iloc[0] == pytest.approx(gap.mean())
    assert inside(dict(whole), "entropy_gap")


def test_selective_answers_by_a_plain_loop(cell):
    table = ambiguity.selective_answering(CASE.table(cell), LABELS, CASE.human, resamples=100)
    by_risk = {row["risk"]: row for row in table.to_dict("records")}
    pred, target = CASE.pred[CASE.used], CASE.target[CASE.used]
    top = target >= target.max(axis=1, keepdims=True) - 1e-9
    unique = top.sum(axis=1) == 1
    best = pred >= pred.max(axis=1, keepdims=True) - 1e-9
    error = 1 - (best * top).sum(axis=1) / best.sum(axis=1)
    row = by_risk["error"]
    assert row["num_utterances"] == unique.sum()
    assert row["all_answered"] == pytest.approx(error[unique].mean())

    def area(confidence: np.ndarray, loss: np.ndarray) -> float:
        kept, groups = [], sorted(set(confidence.round(9)), reverse=True)
        for value in groups:  # equal confidence: each is any of them
            members = loss[confidence.round(9) == value]
            kept += [members.mean()] * len(members)
        return float(np.mean([np.mean(kept[: k + 1]) for k in range(len(kept))]))

    sure = pred.max(axis=1)[unique]
    assert row["aurc"] == pytest.approx(area(sure, error[unique]))
    assert row["oracle_aurc"] == pytest.approx(area(-error[unique], error[unique]))
    assert row["excess_aurc"] == pytest.approx(row["aurc"] - row["oracle_aurc"])
    assert row["gain"] == pytest.approx(row["all_answered"] - row["aurc"])
    assert all(inside(row, name) for name in ("all_answered", "aurc", "excess_aurc", "gain"))
    assert by_risk["js_divergence"]["num_utterances"] == SIZE - FAILED
    curves = ambiguity.risk_coverage(CASE.table(cell), LABELS, CASE.human)
    ends = curves[curves["coverage"] == 1].set_index("risk")
    assert ends.loc["error", "value"] == pytest.approx(row["all_answered"])
    assert (curves["oracle"] <= curves["value"] + 1e-12).all()


def test_a_constant_model_ranks_nothing_and_gains_nothing(cell):
    table = cell(np.full((SIZE, 4), 0.25), CASE.votes, labels=LABELS)
    (row,) = ambiguity.entropy_ranks(table, LABELS, CASE.human, resamples=20).to_dict("records")
    assert math.isnan(row["spearman"])
    assert math.isnan(row["kendall"])
    assert row["auroc_ambiguous"] == 0.5
    gains = ambiguity.selective_answering(table, LABELS, CASE.human, resamples=20)["gain"]
    assert gains.tolist() == pytest.approx([0, 0], abs=1e-12)


def test_clips_of_which_only_a_mean_is_known_are_left_out(cell):
    raters = np.where(np.arange(SIZE) < 20, np.nan, CASE.votes.sum(axis=1))
    human = human_side(targets_of(CASE.votes, raters=raters, num_means=20))
    (row,) = ambiguity.entropy_ranks(CASE.table(cell), LABELS, human, resamples=0).to_dict("records")
    assert row["num_utterances"] == SIZE - FAILED - 20


def test_a_cell_without_any_distribution_is_counted(cell):
    table = cell(np.full((SIZE, 4), np.nan), CASE.votes, labels=LABELS)
    (row,) = ambiguity.entropy_ranks(table, LABELS, CASE.human).to_dict("records")
    assert (row["num_utterances"], row["num_failed"]) == (0, SIZE)
    assert ambiguity.selective_answering(table, LABELS, CASE.human).empty
