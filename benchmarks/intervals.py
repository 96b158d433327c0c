"""Cluster-bootstrap intervals of all metrics beside the naive way, in one run.

    python benchmarks/intervals.py [--utterances 10000] [--speakers 91] [--resamples 2000]

(a) `bootstrap_intervals`; (b) calling `evaluate` on resampled data sets, timed on a few resamples and scaled to all.
The values of both ways are compared on the same resamples.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import torch

from emoprobe.metrics.functional import evaluate, metrics_of
from emoprobe.metrics.intervals import bootstrap_intervals
from emoprobe.metrics.resampling import WeightedMetrics, draw_clusters


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=10_000)
    parser.add_argument("--labels", type=int, default=6)
    parser.add_argument("--speakers", type=int, default=91, help="0: every utterance is a cluster")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--naive-resamples", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)

    rng = np.random.default_rng(0)
    size = options.utterances
    truth, pred = rng.dirichlet(np.full(options.labels, 0.5), (2, size))
    votes = rng.multinomial(9, truth / truth.sum(axis=1, keepdims=True)).astype(float)
    target = votes / 9
    clusters = rng.integers(0, options.speakers, size) if options.speakers else np.arange(size)
    clusters = np.unique(clusters, return_inverse=True)[1]

    evaluate(pred, target, votes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    bootstrap_intervals(pred, target, votes, clusters, resamples=options.resamples)
    ours = time.perf_counter() - start
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024

    drawn = draw_clusters(rng, clusters.max() + 1, options.naive_resamples)
    start = time.perf_counter()
    expected = []
    for counts in drawn:
        rows = np.repeat(np.arange(size), counts[clusters])
        expected.append(evaluate(pred[rows], target[rows], votes[rows]))
    naive = (time.perf_counter() - start) / len(drawn) * options.resamples

    values = WeightedMetrics(pred, target, votes, clusters=clusters)(drawn)
    pairs = [(values[name], np.array([row[name] for row in expected])) for name in metrics_of()]
    kept = [(found[np.isfinite(wanted)], wanted[np.isfinite(wanted)]) for found, wanted in pairs]
    gap = max(np.abs(found - wanted).max(initial=0) for found, wanted in kept)

    sizes = f"{size:,} utterances, {clusters.max() + 1:,} clusters, {options.resamples:,} resamples"
    print(f"{sizes}, {len(pairs)} metrics")
    print(f"(a) bootstrap_intervals       {ours:9.2f} s   {memory:.0f} MiB more memory")
    print(f"(b) evaluate on resampled data{naive:9.2f} s   {naive / ours:.0f} times (from {len(drawn)} resamples)")
    print(f"largest difference of the values on the same resamples: {gap:.1e}")


if __name__ == "__main__":
    main()
