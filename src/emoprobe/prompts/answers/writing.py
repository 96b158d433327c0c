"""Vote shares as the answers that each format asks for: what a model is taught to write."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

STEP = 0.05  # of written probabilities: finer than ten raters are


def write_word(shares: Sequence[float], words: Sequence[str], draw: float) -> str:
    """One word, each as often as its share.

    Args:
        shares: Of every label; they sum to 1.
        words: What the labels are called.
        draw: A number from 0 to 1, below 1.
    """
    bound = draw * math.fsum(shares)
    for place, word in enumerate(words):
        if math.fsum(shares[: place + 1]) > bound:
            return word
    return words[max(range(len(shares)), key=shares.__getitem__)]


def write_dictionary(shares: Sequence[float], words: Sequence[str], draw: float = 0.0) -> str:
    """A JSON dictionary of every label's probability in steps of 0.05 that sum to 1, the largest first.

    Those of 0 are written too: what a dictionary of all labels leaves to nobody can be told from what it forgot.
    """
    return json.dumps({words[i]: steps / _STEPS for i, steps in _strongest_first(shares)}, ensure_ascii=False)


def write_percentages(shares: Sequence[float], words: Sequence[str], draw: float = 0.0) -> str:
    """A percentage a line, in steps of 5 that sum to 100, the largest first, none of 0."""
    return "\n".join(f"{words[i]}: {round(100 * STEP) * steps}%" for i, steps in _strongest_first(shares) if steps)


def write_ranking(shares: Sequence[float], words: Sequence[str], draw: float = 0.0) -> str:
    """The words by share, numbered from 1, without those that nobody chose."""
    chosen = [words[i] for i, steps in _strongest_first(shares) if steps]
    return "\n".join(f"{rank}. {word}" for rank, word in enumerate(chosen, 1))


_STEPS = round(1 / STEP)


def _strongest_first(shares: Sequence[float]) -> list[tuple[int, int]]:
    """``(label, steps)``, the most first; steps are shared out by largest remainders."""
    exact = [share * _STEPS / math.fsum(shares) for share in shares]
    steps = [math.floor(round(value, 6)) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (steps[i] - exact[i], i))
    for i in by_remainder[: _STEPS - sum(steps)]:
        steps[i] += 1
    return sorted(((i, count) for i, count in enumerate(steps)), key=lambda pair: (-pair[1], pair[0]))
