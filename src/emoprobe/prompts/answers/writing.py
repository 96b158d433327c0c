"""Vote shares as the answers that each format asks for: what a model is taught to write."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

STEP = 0.05  # of written shares: finer than ten raters are


def write_word(shares: Sequence[float], words: Sequence[str], draw: float, step: float = STEP) -> str:
    """One word, each as often as its share.

    Args:
        shares: Of every label; they sum to 1.
        words: What the labels are called.
        draw: A number from 0 to 1, below 1.
        step: Of written shares; a word needs none.
    """
    bound = draw * math.fsum(shares)
    for place, word in enumerate(words):
        if math.fsum(shares[: place + 1]) > bound:
            return word
    return words[max(range(len(shares)), key=shares.__getitem__)]


def write_dictionary(shares: Sequence[float], words: Sequence[str], draw: float = 0.0, step: float = STEP) -> str:
    """A JSON dictionary of probabilities in steps that sum to 1, the largest first, none of 0."""
    counts, whole = _strongest_first(shares, step)
    return json.dumps({words[i]: count / whole for i, count in counts}, ensure_ascii=False)


def write_percentages(shares: Sequence[float], words: Sequence[str], draw: float = 0.0, step: float = STEP) -> str:
    """A percentage a line, in steps that sum to 100, the largest first, none of 0."""
    counts, whole = _strongest_first(shares, step)
    return "\n".join(f"{words[i]}: {100 * count // whole}%" for i, count in counts)


def write_ranking(shares: Sequence[float], words: Sequence[str], draw: float = 0.0, step: float = STEP) -> str:
    """The words by share, numbered from 1, without those of 0."""
    counts, _ = _strongest_first(shares, step)
    return "\n".join(f"{rank}. {words[i]}" for rank, (i, _) in enumerate(counts, 1))


def _strongest_first(shares: Sequence[float], step: float) -> tuple[list[tuple[int, int]], int]:
    """``(label, steps)`` of labels with any, the most first, and all steps; the largest remainders round up."""
    whole = round(1 / step)
    exact = [share * whole / math.fsum(shares) for share in shares]
    steps = [math.floor(round(value, 6)) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (steps[i] - exact[i], i))
    for i in by_remainder[: whole - sum(steps)]:
        steps[i] += 1
    counts = [(i, count) for i, count in enumerate(steps) if count]
    return sorted(counts, key=lambda pair: (-pair[1], pair[0])), whole
