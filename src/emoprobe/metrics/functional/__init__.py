"""Metrics as pure functions of ``(pred, target)``: torch or numpy in, a float64 tensor out."""

from emoprobe.metrics.functional.agreement import (
    bhattacharyya,
    brier,
    cosine,
    entropy_spearman,
    r2_per_class,
    r2_within_clip,
)
from emoprobe.metrics.functional.calibration import VoteLosses, classwise_ece, ece, vote_losses, vote_nll
from emoprobe.metrics.functional.classification import confusion_matrix, macro_f1, uar, wa, weighted_f1
from emoprobe.metrics.functional.divergences import (
    entropy,
    js_distance,
    js_divergence,
    kl_pred_target,
    kl_target_pred,
    total_variation,
)
from emoprobe.metrics.functional.table import METRICS, MetricDefinition, evaluate
from emoprobe.metrics.functional.ties import TIE_TOLERANCE, Majority, majority, predicted_labels

__all__ = [
    "METRICS",
    "TIE_TOLERANCE",
    "Majority",
    "MetricDefinition",
    "VoteLosses",
    "bhattacharyya",
    "brier",
    "classwise_ece",
    "confusion_matrix",
    "cosine",
    "ece",
    "entropy",
    "entropy_spearman",
    "evaluate",
    "js_distance",
    "js_divergence",
    "kl_pred_target",
    "kl_target_pred",
    "macro_f1",
    "majority",
    "predicted_labels",
    "r2_per_class",
    "r2_within_clip",
    "total_variation",
    "uar",
    "vote_losses",
    "vote_nll",
    "wa",
    "weighted_f1",
]
