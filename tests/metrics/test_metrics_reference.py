"""Every metric, function and class, against scipy and scikit-learn on all cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import spatial, special, stats
from sklearn import metrics as sk

from emoprobe.metrics.functional import METRICS


def vote_nll(pred, target, votes):
    """The loss of a list with one entry per vote."""
    utterance, label = np.nonzero(votes)
    times = votes[utterance, label].astype(int)
    chosen = np.repeat(pred[utterance, label], times)
    return np.inf if (chosen == 0).any() else float(np.log(stats.gmean(1 / chosen)))


def r2_within_clip(pred, target, votes):
    def one(p, t):
        constant = np.ptp(p) < 1e-9 or np.ptp(t) < 1e-9
        return 0.0 if constant else stats.pearsonr(p, t).statistic ** 2

    return np.mean([one(p, t) for p, t in zip(pred, target, strict=True)])


def r2_per_class(pred, target, votes):
    varies = np.ptp(target, axis=0) > 1e-9
    return sk.r2_score(target[:, varies], pred[:, varies]) if varies.any() else np.nan


def bhattacharyya(pred, target, votes):
    """By way of the Hellinger distance."""
    return 1 - np.mean(spatial.distance.cdist(np.sqrt(pred), np.sqrt(target)).diagonal() ** 2) / 2


def entropy_spearman(pred, target, votes):
    # scipy knows no tolerance: permuted votes give entropies that differ in the last digit.
    p, t = (np.round(stats.entropy(d, axis=1), 9) for d in (pred, target))
    return np.nan if np.ptp(p) == 0 or np.ptp(t) == 0 else stats.spearmanr(p, t).statistic


def numbers(pred, target):
    """Expected values on a scale that begins at 1."""
    return (shares @ np.arange(1, shares.shape[1] + 1) for shares in (pred, target))


def ccc(pred, target, votes):
    """Lin's formula by way of Pearson's correlation; torchmetrics divides by n - 1 and is compared elsewhere."""
    p, t = numbers(pred, target)
    constant = np.std(p) < 1e-6, np.std(t) < 1e-6
    if any(constant):
        return np.nan if all(constant) else 0.0
    rho = stats.pearsonr(p, t).statistic
    return 2 * rho * np.std(p) * np.std(t) / (np.var(p) + np.var(t) + (np.mean(p) - np.mean(t)) ** 2)


def pearson(pred, target, votes):
    p, t = numbers(pred, target)
    return np.nan if np.std(p) < 1e-6 or np.std(t) < 1e-6 else stats.pearsonr(p, t).statistic


def emd(pred, target, votes):
    points = np.arange(pred.shape[1])
    return np.mean([stats.wasserstein_distance(points, points, p, t) for p, t in zip(pred, target, strict=True)])


def hard(score):
    """A scikit-learn score in which an utterance with n tied predictions occurs n times with weight 1/n."""

    def reference(pred, target, votes):
        truth, labels, weights, _ = fair_draws(pred, target)
        return score(truth, labels, weights) if len(truth) else np.nan

    return reference


def fair_draws(pred, target):
    """Majority label, predicted label, weight and confidence of all (utterance, tied top label) with a majority."""
    rows = []
    for p, t in zip(pred, target, strict=True):
        majority, tied = np.flatnonzero(t.max() - t < 1e-9), np.flatnonzero(p.max() - p < 1e-9)
        if len(majority) == 1:
            rows += [(majority[0], label, 1 / len(tied), p.max()) for label in tied]
    return tuple(np.array(column) for column in zip(*rows, strict=True)) if rows else ((), (), (), ())


def ece(bins):
    def reference(pred, target, votes):
        truth, label, weight, confidence = fair_draws(pred, target)
        if not len(truth):
            return np.nan
        gap = weight * ((truth == label) - confidence)
        return binned_gaps(confidence, gap, bins) / weight.sum()

    return reference


def binned_gaps(probability, gap, bins):
    # scipy's bins are closed below; looking at 1 - p closes them above. Rounding keeps tenths on the edges.
    edges = np.round(np.linspace(0, 1, bins + 1), 9)
    return np.abs(stats.binned_statistic(np.round(1 - probability, 9), gap, "sum", bins=edges).statistic).sum()


def classwise_ece(pred, target, votes):
    return sum(binned_gaps(p, p - t, 10) for p, t in zip(pred.T, target.T, strict=True)) / pred.size


def present(truth):
    return np.unique(truth)


REFERENCES = {
    "kl_target_pred": lambda p, t, v: special.rel_entr(t, p).sum(axis=1).mean(),
    "kl_pred_target": lambda p, t, v: special.rel_entr(p, t).sum(axis=1).mean(),
    "js_divergence": lambda p, t, v: (spatial.distance.jensenshannon(p, t, base=2, axis=1) ** 2).mean(),
    "js_distance": lambda p, t, v: spatial.distance.jensenshannon(p, t, base=2, axis=1).mean(),
    "bhattacharyya": bhattacharyya,
    "r2_within_clip": r2_within_clip,
    "r2_per_class": r2_per_class,
    "total_variation": lambda p, t, v: sk.mean_absolute_error(t, p) * p.shape[1] / 2,
    "cosine": lambda p, t, v: np.mean([1 - spatial.distance.cosine(a, b) for a, b in zip(p, t, strict=True)]),
    "brier": lambda p, t, v: sk.mean_squared_error(t, p),
    "vote_nll": vote_nll,
    "ece_5": ece(5),
    "ece_10": ece(10),
    "classwise_ece": classwise_ece,
    "wa": hard(lambda truth, label, w: sk.accuracy_score(truth, label, sample_weight=w)),
    "uar": hard(
        lambda truth, label, w: sk.recall_score(
            truth, label, labels=present(truth), average="macro", sample_weight=w, zero_division=0
        )
    ),
    "macro_f1": hard(
        lambda truth, label, w: sk.f1_score(
            truth, label, labels=present(truth), average="macro", sample_weight=w, zero_division=0
        )
    ),
    "weighted_f1": hard(
        lambda truth, label, w: sk.f1_score(
            truth, label, labels=present(truth), average="weighted", sample_weight=w, zero_division=0
        )
    ),
    "entropy_spearman": entropy_spearman,
    "ccc": ccc,
    "pearson": pearson,
    "rmse": lambda p, t, v: np.sqrt(sk.mean_squared_error(t @ np.arange(t.shape[1]), p @ np.arange(p.shape[1]))),
    "emd": emd,
}


@pytest.mark.parametrize("name", METRICS)
def test_metric_equals_its_reference(name, case, check_metric):
    check_metric(name, REFERENCES[name], case)


def test_references_cover_the_table_in_the_order_the_project_reports():
    assert list(METRICS) == list(REFERENCES)
