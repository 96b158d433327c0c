"""Every metric under many weightings of the utterances at once: the engine of intervals and paired tests.

A resample of a data set is a weight per utterance (how often it was drawn), and every metric is a function of a few
weighted sums over utterances. The sums are formed once per cluster, all resamples are then one matrix product, and no
metric is ever computed on a resampled data set. ``entropy_spearman`` alone has no such sums: its utterances are sorted
once, and the ranks of a resample are cumulative sums of its weights.

At weights of one the values are those of :func:`~emoprobe.metrics.functional.evaluate`; at whole weights they are
those of the data set with every utterance repeated as often.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from copy import copy

import numpy as np

from emoprobe.errors import InputError
from emoprobe.metrics.functional.checks import Array, check_pair, check_votes
from emoprobe.metrics.functional.definition import BLOCKS, METRICS, Sum
from emoprobe.metrics.functional.of_labels import metrics_of

CHUNK = 2_000_000
"""Weights or sums held at a time; bounds the memory, not the result."""

Values = dict[str, np.ndarray]


class _Block:
    """Columns of the matrix of sums by cluster: the sums that some metrics are made of.

    Args:
        sums: Key of the metrics' parts to what they add up.
        clusters: Number of each utterance's cluster from 0, ``[utterances]``.
    """

    def __init__(self, sums: Mapping[object, tuple[Sum, ...]], clusters: np.ndarray) -> None:
        self._keys = [key for key, of in sums.items() for _ in of]
        terms = [one.terms() for of in sums.values() for one in of]
        self._shapes = [of.shape[1:] for of in terms]
        columns = [of.reshape(len(clusters), -1) for of in terms]
        self._finite = all(one.finite for of in sums.values() for one in of)
        if not self._finite:
            # Infinite terms stand apart, as zero and a count: zero times infinity would be NaN.
            infinite = [np.isinf(of) for of in columns]
            columns = [*(np.where(bad, 0.0, of) for of, bad in zip(columns, infinite, strict=True)), *infinite]
        self.by_cluster = _cluster_sums(np.concatenate(columns, axis=1), clusters)

    def restored(self, weighted: np.ndarray) -> dict[object, list[np.ndarray]]:
        """Weighted columns ``[resamples, columns]`` as the weighted sums of each key, ``[resamples, ...]`` each."""
        if not self._finite:
            sums, infinite = np.split(weighted, 2, axis=1)
            weighted = np.where(infinite > 0, np.inf, sums)
        pieces = np.split(weighted, np.cumsum([math.prod(shape) for shape in self._shapes])[:-1], axis=1)
        found: dict[object, list[np.ndarray]] = {key: [] for key in self._keys}
        for key, shape, piece in zip(self._keys, self._shapes, pieces, strict=True):
            found[key].append(piece.reshape(-1, *shape))
        return found


class WeightedMetrics:
    """The metrics of one set of predictions, ready to be computed under weights.

    Args:
        pred: Predicted probabilities, ``[utterances, labels]``.
        target: Human probabilities, ``[utterances, labels]``.
        votes: Vote counts, ``[utterances, labels]``; as in :func:`~emoprobe.metrics.functional.evaluate`.
        clusters: Number of each utterance's cluster from 0, ``[utterances]``; without it every utterance is one.
        metrics: Names of the metrics to compute; those of categories by default.

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
        self.names = tuple(dict.fromkeys(METRICS.find(name, "metrics").name for name in metrics or metrics_of()))
        pred, target = check_pair(pred, target)
        votes = None if votes is None else check_votes(votes, like=pred)
        self.num_utterances = len(pred)
        self._clusters = _check_clusters(clusters, self.num_utterances)
        self.num_clusters = int(self._clusters.max()) + 1
        self._parts = {name: METRICS[name].part(pred, target, votes, self._clusters) for name in self.names}
        self._blocks = self._make_blocks()
        ones = _cluster_sums(np.ones((self.num_utterances, 1)), self._clusters)
        columns = [ones, *(block.by_cluster for block in self._blocks)]
        self._sums = np.concatenate(columns, axis=1)
        self._cuts = np.cumsum([part.shape[1] for part in columns])[:-1]

    def _make_blocks(self) -> list[_Block]:
        """The sums that the metrics need, each once."""
        blocks: dict[str, dict[object, tuple[Sum, ...]]] = {name: {} for name in BLOCKS}
        for part in self._parts.values():
            if part.key not in blocks[part.block]:
                blocks[part.block][part.key] = part.sums()
        return [_Block(block, self._clusters) for block in blocks.values() if any(block.values())]

    def __call__(self, weights: Array) -> Values:
        """Values under weights.

        Args:
            weights: How often each cluster counts, ``[resamples, clusters]``, finite and not negative.

        Returns:
            Metric -> float64 ``[resamples]``, in the order of the names. Infinite or NaN where the metric is, so NaN
            where all weights are zero.

        Raises:
            InputError: The weights have a wrong shape, are negative or not finite.
        """
        weights = np.asarray(weights)
        if weights.ndim != 2 or weights.shape[1] != self.num_clusters:
            what = f"the weights have shape {list(weights.shape)}, not [resamples, {self.num_clusters} clusters]"
            raise InputError(what, field="weights")
        step = max(1, CHUNK // max(self._sums.shape))
        chunks = [self._chunk(weights[start : start + step]) for start in range(0, max(len(weights), 1), step)]
        return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in self.names}

    def _chunk(self, weights: np.ndarray) -> Values:
        weights = weights.astype(np.float64)
        if not np.isfinite(weights).all() or (weights < 0).any():
            raise InputError("a weight is negative or not finite", field="weights")
        number, *blocks = np.split(weights @ self._sums, self._cuts, axis=1)
        sums: dict[object, list[np.ndarray]] = {}
        for block, weighted in zip(self._blocks, blocks, strict=True):
            sums |= block.restored(weighted)
        with np.errstate(divide="ignore", invalid="ignore"):
            return {
                name: part.finish(weights, number[:, 0], *sums.get(part.key, [])) for name, part in self._parts.items()
            }


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
        metrics: Names of the metrics to compute; those of categories by default.

    Returns:
        Metric -> float64 ``[resamples]``, see :class:`WeightedMetrics`.

    Raises:
        InputError: A shape, a value, a row sum, a cluster, a weight or a metric's name is wrong.
    """
    return WeightedMetrics(pred, target, votes, clusters=clusters, metrics=metrics)(weights)


def number_clusters(clusters: Sequence[object] | np.ndarray, size: int) -> np.ndarray:
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


def draw_multinomially(rng: np.random.Generator, num_clusters: int, resamples: int) -> np.ndarray:
    """`draw_clusters` by another use of the random numbers: comparisons of trainings have published intervals of it."""
    return rng.multinomial(num_clusters, np.full(num_clusters, 1 / num_clusters), size=resamples)


def _plain(clusters: Sequence[object] | np.ndarray) -> list[object]:
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
