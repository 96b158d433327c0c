"""Metrics as pure functions of ``(pred, target)``: torch or numpy in, a float64 tensor out.

Every name of `METRICS` is a function of this module, but for those that share one: ``ece_5`` and ``ece_10`` are `ece`
with that many bins.
"""

from emoprobe.metrics.functional.agreement import (
    bhattacharyya,
    brier,
    cosine,
    entropy_spearman,
    r2_per_class,
    r2_within_clip,
)
from emoprobe.metrics.functional.calibration import classwise_ece, ece, reliability_bins, vote_nll
from emoprobe.metrics.functional.classification import confusion_matrix, macro_f1, uar, wa, weighted_f1
from emoprobe.metrics.functional.definition import (
    METRICS,
    MetricDefinition,
    Sum,
    Terms,
    mean_over_clips,
    of_sums,
    ratio_of_sums,
)
from emoprobe.metrics.functional.divergences import (
    entropy,
    js_distance,
    js_divergence,
    kl_pred_target,
    kl_target_pred,
    total_variation,
)
from emoprobe.metrics.functional.of_labels import clip_metric_of, headline_of, metrics_of
from emoprobe.metrics.functional.ordinal import ccc, emd, expected, pearson, rmse, spread
from emoprobe.metrics.functional.table import evaluate
from emoprobe.metrics.functional.ties import TIE_TOLERANCE, Majority, majority, predicted_labels

__all__ = [
    "METRICS",
    "TIE_TOLERANCE",
    "Majority",
    "MetricDefinition",
    "Sum",
    "Terms",
    "bhattacharyya",
    "brier",
    "ccc",
    "classwise_ece",
    "clip_metric_of",
    "confusion_matrix",
    "cosine",
    "ece",
    "emd",
    "entropy",
    "entropy_spearman",
    "evaluate",
    "expected",
    "headline_of",
    "js_distance",
    "js_divergence",
    "kl_pred_target",
    "kl_target_pred",
    "macro_f1",
    "majority",
    "mean_over_clips",
    "metrics_of",
    "of_sums",
    "pearson",
    "predicted_labels",
    "r2_per_class",
    "r2_within_clip",
    "ratio_of_sums",
    "reliability_bins",
    "rmse",
    "spread",
    "total_variation",
    "uar",
    "vote_nll",
    "wa",
    "weighted_f1",
]
