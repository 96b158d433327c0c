"""How often 95 % intervals of floor, ceiling and share of the range hold what they are of, on raters that are known.

    python benchmarks/coverage.py [--clips 20 50 100 200 500] [--raters 2 3 5 10] [--repeats 30]

Every corpus is drawn anew: clips of speakers who differ, a true distribution per clip of one of three kinds (one
Dirichlet, two clusters of clips, logistic normal), votes drawn from it, and a model that knows part of the truth. What
an interval should hold are the values of a very large corpus drawn alike; in brackets the worst kind. ``error`` is the
root-mean-square error of the ceiling as a part of the distance from floor to ceiling, ``bounded`` how many corpora have
an interval of the share at all, ``width`` the median width of that.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
import pandas as pd

from emoprobe.analysis.yardsticks import Yardstick
from emoprobe.beliefs.targets import Targets
from emoprobe.metrics.ceiling import share_of_range
from emoprobe.metrics.functional import METRICS, evaluate

LABELS = 5
KINDS = ("dirichlet", "clusters", "normal")
PER_SPEAKER = 5
MOST_SPEAKERS = 24


class Drawn(NamedTuple):
    """A corpus: truth, votes and the model's distributions ``[clips, labels]``, speakers ``[clips]``."""

    truth: np.ndarray
    votes: np.ndarray
    pred: np.ndarray
    speakers: np.ndarray


class Values(NamedTuple):
    """What intervals should hold."""

    floor: float
    ceiling: float
    share: float


def normalised(values: np.ndarray) -> np.ndarray:
    """Rows that sum to one."""
    return values / values.sum(axis=1, keepdims=True)


def draw(kind: str, clips: int, raters: int, speakers: int, rng: np.random.Generator) -> Drawn:
    """A corpus of clips, dealt to speakers whose voices lean to some labels and of whom the model errs alike."""
    if kind == "dirichlet":
        truth = rng.dirichlet(np.linspace(0.2, 1.0, LABELS), clips)
    elif kind == "clusters":
        clear, mixed = rng.dirichlet(np.full(LABELS, 0.1), clips), rng.dirichlet(np.full(LABELS, 4.0), clips)
        truth = np.where(rng.random((clips, 1)) < 0.5, clear, mixed)
    else:
        truth = np.exp(rng.normal(np.linspace(-1, 1, LABELS), 2.0, (clips, LABELS)))
    which = np.arange(clips) % speakers
    lean, bias = rng.normal(0, 0.5, (2, speakers, LABELS))
    truth = normalised(np.maximum(normalised(truth), 1e-12) * np.exp(lean[which]))
    noise = bias[which] + rng.normal(0, 0.5, truth.shape)
    pred = normalised(np.maximum(truth, 1e-4) ** 0.6 * np.exp(noise))
    return Drawn(truth, rng.multinomial(raters, truth).astype(np.float64), pred, which)


def population(kind: str, raters: int, metric: str, size: int) -> tuple[np.ndarray, Values]:
    """The vote prior and the values of a corpus so large that its own error is small."""
    large = draw(kind, size, raters, size // PER_SPEAKER, np.random.default_rng(1))
    shares, prior = normalised(large.votes), normalised(large.votes).mean(axis=0)

    def score(pred: np.ndarray) -> float:
        return evaluate(pred, shares, large.votes, metrics=[metric])[metric]

    floor, ceiling = score(np.broadcast_to(prior, shares.shape)), score(large.truth)
    share = share_of_range(score(large.pred), floor, ceiling, METRICS[metric].higher_is_better)
    return prior, Values(floor, ceiling, share)


def yardstick(corpus: Drawn, prior: np.ndarray, metric: str, resamples: int) -> Yardstick:
    """That of a corpus whose prior is known from other clips."""
    frame = pd.DataFrame({"speaker": [f"s{i}" for i in corpus.speakers]})
    frame["num_raters"] = pd.array(corpus.votes.sum(axis=1), dtype="Float64")
    targets = Targets(frame, normalised(corpus.votes), corpus.votes, prior, "training votes", (metric,))
    return Yardstick(targets, np.ones(len(frame), dtype=bool), resamples)


def main() -> None:
    """Draw, count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[20, 50, 100, 200, 500])
    parser.add_argument("--raters", type=int, nargs="+", default=[2, 3, 5, 10])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--metric", default="js_divergence")
    parser.add_argument("--repeats", type=int, default=30, help="corpora of each kind")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--population", type=int, default=100_000, help="clips of the large corpora")
    options = parser.parse_args()

    print(f"{options.metric}: {len(options.kinds)} kinds of raters, {options.repeats} corpora of each")
    for raters in options.raters:
        known = {kind: population(kind, raters, options.metric, options.population) for kind in options.kinds}
        for clips in options.clips:
            speakers = max(2, min(MOST_SPEAKERS, clips // PER_SPEAKER))
            print(f"{raters:3d} raters {clips:4d} clips {speakers:3d} speakers  {line(options, clips, raters, known)}")


def line(options: argparse.Namespace, clips: int, raters: int, known: dict[str, tuple[np.ndarray, Values]]) -> str:
    """One size: how often each interval held its value, over all kinds and of the worst one."""
    speakers = max(2, min(MOST_SPEAKERS, clips // PER_SPEAKER))
    held: dict[str, dict[str, list[bool]]] = {name: {kind: [] for kind in known} for name in Values._fields}
    errors: dict[str, list[float]] = {kind: [] for kind in known}
    widths, doubted = [], []
    for kind, (prior, values) in known.items():
        for seed in range(options.repeats):
            corpus = draw(kind, clips, raters, speakers, np.random.default_rng((seed, clips, raters)))
            stick = yardstick(corpus, prior, options.metric, options.resamples)
            found = {
                "floor": stick.floor_intervals("prior"),
                "ceiling": stick.ceiling_intervals,
                "share": stick.share_intervals(stick.resample(corpus.pred)),
            }
            for name, ends in found.items():
                if options.metric in ends:
                    low, high = ends[options.metric]
                    held[name][kind].append(low <= getattr(values, name) <= high)
            if options.metric in found["share"]:
                widths.append(np.ptp(found["share"][options.metric]))
            errors[kind].append((stick.ceiling[options.metric] - values.ceiling) / (values.ceiling - values.floor))
            doubted.append(bool(stick.truths.doubt))
    covered = "  ".join(f"{name} {rate(of)}" for name, of in held.items())
    error = max((float(np.sqrt(np.mean(np.square(of)))) for of in errors.values()), default=np.nan)
    bounded = sum(map(len, held["share"].values())) / sum(map(len, errors.values()))
    width = float(np.median(widths)) if widths else np.nan
    return f"{covered}  error {error:.2f}  bounded {bounded:.0%}  width {width:.2f}  doubted {np.mean(doubted):.0%}"


def rate(held: dict[str, list[bool]]) -> str:
    """How often, over all kinds, and of the worst kind in brackets."""
    every = [one for of in held.values() for one in of]
    if not every:
        return "none"
    return f"{np.mean(every):.0%} ({min(np.mean(of) for of in held.values() if of):.0%})"


if __name__ == "__main__":
    main()
