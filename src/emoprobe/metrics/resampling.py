"""Every metric under many weightings of the utterances at once: the engine of intervals and paired tests.

A resample of a data set is a weight per utterance (how often it was drawn), and every metric is a function of a few
weighted sums over utterances. The sums are formed once per cluster, all resamples are then one matrix product, and no
metric is ever computed on a resampled data set. ``entropy_spearman`` alone has no such sums: its utterances are sorted
once, and the ranks of a resample are cumulative sums of its weights.

At weights of one the values are those of :func:`~emoprobe.metrics.functional.evaluate`; at whole weights they are
those of the data set with every utterance repeated as often.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from typing import NamedTuple

import numpy as np

from emoprobe.errors import InputError
from emoprobe.metrics.functional import METRICS, entropy, majority, predicted_labels, vote_losses
from emoprobe.metrics.functional.calibration import in_bins
from emoprobe.metrics.functional.checks import Array, check_pair
from emoprobe.metrics.functional.ties import TIE_TOLERANCE

CHUNK = 2_000_000
"""Weights or sums held at a time; bounds the memory, not the result."""

# Below this weighted variance of a label's share the sums have lost too many digits, and its R2 is computed directly.
_SMALL_VARIANCE = 1e-4

_HARD = ("wa", "uar", "macro_f1", "weighted_f1")
_BINS = {"ece_5": 5, "ece_10": 10}
_CLASSWISE_BINS = 10

Values = dict[str, np.ndarray]


class _Part(NamedTuple):
    """Some metrics as a function of sums.

    Args:
        columns: What is summed over utterances, ``[utterances, columns]``, finite.
        finish: ``(weighted sums [resamples, columns], sums of the weights [resamples], weights [resamples, clusters])``
            to the values, metric -> ``[resamples]``.
    """

    columns: np.ndarray
    finish: Callable[[np.ndarray, np.ndarray, np.ndarray], Values]


class WeightedMetrics:
    """The metrics of one set of predictions, ready to be computed under weights.

    Args:
        pred: Predicted probabilities, ``[utterances, labels]``.
        target: Human probabilities, ``[utterances, labels]``.
        votes: Vote counts, ``[utterances, labels]``; as in :func:`~emoprobe.metrics.functional.evaluate`.
        clusters: Number of each utterance's cluster from 0, ``[utterances]``; without it every utterance is one.
        metrics: Names of the metrics to compute; all by default.

    Raises:
        InputError: A shape, a value, a row sum, a cluster or a metric's name is wrong.
    """

    def __init__(
        self,
        pred: Array,
        target: Array,
        votes: Array | None = None,
        *,
        clusters: np.ndarray | None = None,
        metrics: Sequence[str] | None = None,
    ) -> None:
        self.names = tuple(METRICS) if metrics is None else tuple(metrics)
        for name in self.names:
            if name not in METRICS:
                remedy = f"Use one of {', '.join(METRICS)}."
                raise InputError(f"unknown metric {name!r}", field="metrics", remedy=remedy)
        pred, target = (values.detach().cpu() for values in check_pair(pred, target))
        self.num_utterances = len(pred)
        self._clusters = _check_clusters(clusters, self.num_utterances)
        self.num_clusters = int(self._clusters.max()) + 1
        parts = [part for part in _parts(pred, target, votes, self.names, self._clusters) if part is not None]
        self._finishers = [part.finish for part in parts]
        columns = np.concatenate([np.ones((self.num_utterances, 1)), *(part.columns for part in parts)], axis=1)
        self._sums = _cluster_sums(columns, self._clusters)
        self._cuts = np.cumsum([1, *(part.columns.shape[1] for part in parts)])[:-1]
        self._ranks = _RankSums(pred, target, self._clusters) if "entropy_spearman" in self.names else None

    def __call__(self, weights: Array) -> Values:
        """Values under weights.

        Args:
            weights: How often each cluster counts, ``[resamples, clusters]``, finite and not negative.

        Returns:
            Metric -> float64 ``[resamples]``, in the order of :data:`~emoprobe.metrics.functional.METRICS`. Infinite or
            NaN where the metric is, so NaN where all weights are zero.

        Raises:
            InputError: The weights have a wrong shape, are negative or not finite.
        """
        weights = np.asarray(weights)
        if weights.ndim != 2 or weights.shape[1] != self.num_clusters:
            what = f"the weights have shape {list(weights.shape)}, not [resamples, {self.num_clusters} clusters]"
            raise InputError(what, field="weights")
        step = max(1, CHUNK // max(self._sums.shape))
        chunks = [self._chunk(weights[start : start + step]) for start in range(0, max(len(weights), 1), step)]
        return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in METRICS if name in self.names}

    def _chunk(self, weights: np.ndarray) -> Values:
        weights = weights.astype(np.float64)
        if not np.isfinite(weights).all() or (weights < 0).any():
            raise InputError("a weight is negative or not finite", field="weights")
        total, *sums = np.split(weights @ self._sums, self._cuts, axis=1)
        values: Values = {}
        with np.errstate(divide="ignore", invalid="ignore"):
            for finish, part in zip(self._finishers, sums, strict=True):
                values |= finish(part, total[:, 0], weights)
            if self._ranks is not None:
                values["entropy_spearman"] = self._ranks(weights)
        return values


def average_measures(measures: Iterable[WeightedMetrics]) -> WeightedMetrics:
    """Several predictions of the same utterances, such as draws, as one whose sums are the means of theirs.

    Its values are the mean of theirs for every metric that is linear in the prediction's sums: all but the F1 scores,
    which are those of the mean confusion matrix, and calibration errors and ``entropy_spearman``, which have no mean.

    Args:
        measures: With the same target, votes, clusters and metrics, at least one.
    """
    first, *others = measures
    found = copy(first)
    found._sums = np.mean([first._sums, *(measure._sums for measure in others)], axis=0)
    return found


def metric_values(
    pred: Array,
    target: Array,
    votes: Array | None,
    weights: Array,
    *,
    clusters: np.ndarray | None = None,
    metrics: Sequence[str] | None = None,
) -> Values:
    """Metrics of one set of predictions under many weightings of its utterances.

    Args:
        pred: Predicted probabilities, ``[utterances, labels]``.
        target: Human probabilities, ``[utterances, labels]``.
        votes: Vote counts, ``[utterances, labels]``, or None.
        weights: How often each utterance counts, ``[resamples, utterances]``, or each cluster,
            ``[resamples, clusters]``.
        clusters: Number of each utterance's cluster from 0, ``[utterances]``, see :func:`number_clusters`.
        metrics: Names of the metrics to compute; all by default.

    Returns:
        Metric -> float64 ``[resamples]``, see :class:`WeightedMetrics`.

    Raises:
        InputError: A shape, a value, a row sum, a cluster, a weight or a metric's name is wrong.
    """
    return WeightedMetrics(pred, target, votes, clusters=clusters, metrics=metrics)(weights)


def number_clusters(clusters: Sequence[object], size: int) -> np.ndarray:
    """Clusters, for example speakers, as whole numbers from 0.

    Args:
        clusters: Cluster of each utterance; equal as text means the same cluster.
        size: Number of utterances.

    Returns:
        Int64 ``[utterances]``.

    Raises:
        InputError: There is not one cluster per utterance, or one is missing (None, NaN or empty).
    """
    names = [None if name is None or name != name else str(name) for name in _plain(clusters)]
    if len(names) != size:
        raise InputError(f"{len(names)} clusters for {size} utterances", field="clusters")
    missing = next((row for row, name in enumerate(names, start=1) if not name), None)
    if missing is not None:
        raise InputError(
            "an utterance has no cluster",
            field="clusters",
            row=missing,
            remedy="Give every utterance's speaker or, where speakers are not known, its own id.",
        )
    return np.unique(np.asarray(names, dtype=str), return_inverse=True)[1].astype(np.int64)


def draw_clusters(rng: np.random.Generator, num_clusters: int, resamples: int) -> np.ndarray:
    """How often each cluster is drawn when as many as there are, are drawn with replacement.

    Args:
        rng: Source of the draws.
        num_clusters: Number of clusters.
        resamples: Number of resamples.

    Returns:
        Whole numbers ``[resamples, clusters]`` (int32); every row sums to the number of clusters.
    """
    counts = np.empty((resamples, num_clusters), dtype=np.int32)
    for row in counts:
        row[:] = np.bincount(rng.integers(num_clusters, size=num_clusters), minlength=num_clusters)
    return counts


def _plain(clusters: Sequence[object]) -> list[object]:
    """As a list in which pandas' missing values are None."""
    if hasattr(clusters, "isna"):
        return [None if missing else name for name, missing in zip(clusters, clusters.isna(), strict=True)]
    return list(clusters)


def _check_clusters(clusters: np.ndarray | None, size: int) -> np.ndarray:
    if clusters is None:
        return np.arange(size)
    clusters = np.asarray(clusters)
    if clusters.shape != (size,) or clusters.dtype.kind not in "iu" or clusters.min() < 0:
        raise InputError(
            f"the clusters are not {size} whole numbers from 0", field="clusters", remedy="Use number_clusters."
        )
    return clusters


def _cluster_sums(columns: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Sums over the utterances of each cluster, ``[clusters, columns]``."""
    from scipy.sparse import csr_array

    size = len(columns)
    member = csr_array((np.ones(size), (clusters, np.arange(size))), shape=(int(clusters.max()) + 1, size))
    return member @ columns


def _parts(pred, target, votes, names: Sequence[str], clusters: np.ndarray) -> list[_Part | None]:
    """The parts that the metrics need; ``pred`` and ``target`` are checked tensors."""
    label, unique = (values.numpy() for values in majority(target))
    needs_top = any(name in names for name in (*_HARD, *_BINS))
    top = predicted_labels(pred).numpy() if needs_top else None
    return [
        _means(pred, target, [name for name in names if METRICS[name].per_utterance]),
        _likelihood(pred, target, votes) if "vote_nll" in names else None,
        _confusion(top, label, unique) if any(name in names for name in _HARD) else None,
        *(_top_calibration(name, pred, top, label, unique) for name in _BINS if name in names),
        _classwise_calibration(pred, target) if "classwise_ece" in names else None,
        _determination(pred.numpy(), target.numpy(), clusters) if "r2_per_class" in names else None,
    ]


def _split_infinite(values: np.ndarray) -> np.ndarray:
    """Columns with infinities as zero, then as many that count them: zero times infinity would be NaN."""
    infinite = np.isinf(values)
    return np.concatenate([np.where(infinite, 0.0, values), infinite], axis=1)


def _join_infinite(sums: np.ndarray) -> np.ndarray:
    finite, infinite = np.split(sums, 2, axis=1)
    return np.where(infinite > 0, np.inf, finite)


def _means(pred, target, names: Sequence[str]) -> _Part:
    if not names:
        return _Part(np.empty((len(pred), 0)), lambda sums, total, weights: {})
    values = np.stack([METRICS[name].function(pred, target, reduction="none").numpy() for name in names], axis=1)

    def finish(sums: np.ndarray, total: np.ndarray, weights: np.ndarray) -> Values:
        return dict(zip(names, (_join_infinite(sums) / total[:, None]).T, strict=True))

    return _Part(_split_infinite(values), finish)


def _likelihood(pred, target, votes: Array | None) -> _Part:
    losses = vote_losses(pred, target, votes)

    def finish(sums: np.ndarray, total: np.ndarray, weights: np.ndarray) -> Values:
        loss, count = _join_infinite(sums).T
        return {"vote_nll": loss / count}

    return _Part(_split_infinite(np.stack([losses.loss.numpy(), losses.weight.numpy()], axis=1)), finish)


def _confusion(top: np.ndarray, label: np.ndarray, unique: np.ndarray) -> _Part:
    """The metrics of the confusion matrix of utterances with a majority label."""
    size = top.shape[1]
    truth = np.eye(size)[label] * unique[:, None]

    def finish(sums: np.ndarray, total: np.ndarray, weights: np.ndarray) -> Values:
        confusion = sums.reshape(-1, size, size)
        hits = np.diagonal(confusion, axis1=1, axis2=2)
        support, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
        occurs = support > 0
        number, kept = occurs.sum(axis=1), support.sum(axis=1)
        recall = np.where(occurs, hits / support, 0.0)
        f1 = np.where(occurs, 2 * hits / (support + predicted), 0.0)
        return {
            "wa": hits.sum(axis=1) / kept,
            "uar": recall.sum(axis=1) / number,
            "macro_f1": f1.sum(axis=1) / number,
            "weighted_f1": (f1 * support).sum(axis=1) / kept,
        }

    return _Part((truth[:, :, None] * top[:, None, :]).reshape(len(top), -1), finish)


def _top_calibration(name: str, pred, top: np.ndarray, label: np.ndarray, unique: np.ndarray) -> _Part:
    confidence = pred.amax(dim=-1)
    right = np.take_along_axis(top, label[:, None], axis=1)[:, 0]
    member = in_bins(confidence, _BINS[name]).numpy() * unique[:, None]
    columns = np.concatenate([member * (right - confidence.numpy())[:, None], unique[:, None]], axis=1)
    return _Part(columns, lambda sums, total, weights: {name: np.abs(sums[:, :-1]).sum(axis=1) / sums[:, -1]})


def _classwise_calibration(pred, target) -> _Part:
    labels = pred.shape[1]
    columns = (in_bins(pred, _CLASSWISE_BINS) * (pred - target)[:, :, None]).reshape(len(pred), -1).numpy()
    return _Part(columns, lambda sums, total, weights: {"classwise_ece": np.abs(sums).sum(axis=1) / (total * labels)})


def _determination(pred: np.ndarray, target: np.ndarray, clusters: np.ndarray) -> _Part:
    """R2 per label, averaged over the labels that vary in the resample."""
    residual = (target - pred) ** 2
    centred = target - target.mean(axis=0)  # against cancellation

    def direct(weights: np.ndarray, label: int) -> float:
        kept = weights > 0
        values, kept_weights = target[kept, label], weights[kept]
        if not len(values) or np.ptp(values) <= TIE_TOLERANCE:
            return np.nan
        middle = kept_weights @ values / kept_weights.sum()
        return 1 - kept_weights @ residual[kept, label] / (kept_weights @ (values - middle) ** 2)

    def finish(sums: np.ndarray, total: np.ndarray, weights: np.ndarray) -> Values:
        left, first, second = np.split(sums, 3, axis=1)
        variance = second - first**2 / total[:, None]
        r2 = 1 - left / variance
        for row, label in np.argwhere(~(variance > _SMALL_VARIANCE * total[:, None])):
            r2[row, label] = direct(weights[row, clusters], label)
        varies = ~np.isnan(r2)
        return {"r2_per_class": np.where(varies, r2, 0.0).sum(axis=1) / varies.sum(axis=1)}

    return _Part(np.concatenate([residual, centred, centred**2], axis=1), finish)


class _RankSums:
    """Spearman's correlation of predicted and human entropy under weights.

    The rank of utterances of one entropy is the weight below them and half their own. Which entropies are equal is
    decided once, on all utterances.
    """

    def __init__(self, pred, target, clusters: np.ndarray) -> None:
        pred_group, target_group = (_groups(entropy(values).numpy()) for values in (pred, target))
        # In the order of the predicted entropy, so that only the human ranks have to be looked up.
        order = np.argsort(pred_group, kind="stable")
        self._clusters = clusters[order]
        self._pred_group, self._target_group = pred_group[order], target_group[order]
        self._target_order = np.argsort(self._target_group, kind="stable")

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """``[resamples]`` for weights ``[resamples, clusters]``."""
        return np.asarray([self._correlation(row[self._clusters]) for row in weights], dtype=np.float64)

    def _correlation(self, weights: np.ndarray) -> float:
        pred = _centred_ranks(weights, self._pred_group)
        target = _centred_ranks(weights[self._target_order], self._target_group[self._target_order], full=False)
        target = target[self._target_group]
        weighted = weights * pred
        power = (weighted @ pred) * (weights @ target**2)
        return float(np.clip(weighted @ target / np.sqrt(power), -1, 1))


def _groups(values: np.ndarray) -> np.ndarray:
    """Number of each value's group of equal values, ascending from 0. ``[utterances]``"""
    order = np.argsort(values, kind="stable")
    group = np.empty(len(values), dtype=np.int64)
    group[order] = np.concatenate([[0], np.cumsum(np.diff(values[order]) > TIE_TOLERANCE)])
    return group


def _centred_ranks(weights: np.ndarray, group: np.ndarray, *, full: bool = True) -> np.ndarray:
    size = np.bincount(group, weights=weights)
    below = np.cumsum(size)
    ranks = below - size / 2 - below[-1] / 2
    return ranks[group] if full else ranks
