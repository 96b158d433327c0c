"""Training on a few clips: nested draws that keep the shares of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from emoprobe.data.balance import drawn
from emoprobe.data.prepare import Item
from emoprobe.data.splits import Split, check_targets

_DIGITS = 13
"""Hexadecimal digits of a hash that a float64 holds exactly."""


def few_clips(split: Split, number: int | None, seed: int) -> Split:
    """A split of which at most so many clips are trained on, and at most as many developed on; all are tested.

    Args:
        split: The parts.
        number: How many; None for all.
        seed: Of the draw; the clips of a smaller number are among those of a larger one.

    Raises:
        InputError: From the clips that are left nothing can be learned.
    """
    if number is None:
        return split
    fewer = replace(
        split, train=first_clips(split.train, number, seed), development=first_clips(split.development, number, seed)
    )
    check_targets(fewer.train)
    return fewer


def first_clips(items: Sequence[Item], number: int, seed: int) -> tuple[Item, ...]:
    """The first clips of a random order in which every stretch has about the labels' shares of the whole.

    A clip stands for one label, drawn from its soft label by a hash of its id. The clips of a label are put into random
    order and spread evenly over the whole, so that among the first n of N clips are n/N of each label's, to one clip.

    Args:
        items: Clips.
        number: How many are taken, all where there are fewer.
        seed: Of the draws.

    Returns:
        In their given order.
    """
    if number >= len(items):
        return tuple(items)
    ids = [item.utterance.id for item in items]
    shares = np.cumsum([item.target.distribution for item in items], axis=1)
    label = (np.array([_uniform(f"label:{name}", seed) for name in ids])[:, None] > shares[:, :-1]).sum(axis=1)
    place = np.empty(len(items))
    for one in np.unique(label):
        inside = sorted(np.flatnonzero(label == one), key=lambda i: drawn(ids[i], seed))
        place[inside] = (np.arange(len(inside)) + _uniform(f"offset:{one}", seed)) / len(inside)
    order = sorted(range(len(items)), key=lambda i: (place[i], drawn(ids[i], seed)))
    return tuple(items[i] for i in sorted(order[:number]))


def _uniform(name: str, seed: int) -> float:
    """A number from 0 to 1 that depends on nothing else."""
    return int(drawn(name, seed)[:_DIGITS], 16) / 16**_DIGITS
