"""Which metrics a label set has: those of its kind, in the order of its tables, and the ones that lead."""

from __future__ import annotations

from emoprobe.labels import LabelSet
from emoprobe.metrics.functional.definition import METRICS

FIRST_OF_SCALES = ("ccc", "pearson", "rmse", "emd", "js_divergence")
"""What tables of a label set with a scale begin with."""


def metrics_of(labels: LabelSet | None = None) -> tuple[str, ...]:
    """Names of the metrics of a label set, in the order of its tables.

    Points of a scale have those that see how far points are apart, and those that compare any distributions; not those
    that need one right label: the most frequent point is no answer to "how much", a rating between two points has none,
    and a miss by one point would count as much as one by four.

    Args:
        labels: With a scale, or categories; categories where it is None.

    >>> metrics_of()[:3]
    ('kl_target_pred', 'kl_pred_target', 'js_divergence')
    """
    if labels is None or labels.scale is None:
        return tuple(name for name, metric in METRICS.items() if metric.suits != "points")
    found = [name for name, metric in METRICS.items() if metric.suits != "categories"]
    return (*FIRST_OF_SCALES, *(name for name in found if name not in FIRST_OF_SCALES))


def headline_of(labels: LabelSet | None = None) -> str:
    """The metric by which runs of a label set are ranked unless another is asked for."""
    return "js_divergence" if labels is None or labels.scale is None else "ccc"


def clip_metric_of(labels: LabelSet | None = None) -> str:
    """The distance of one clip from its raters by which clips and groups of clips of a label set are compared."""
    return "js_divergence" if labels is None or labels.scale is None else "emd"
