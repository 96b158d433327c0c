"""Names in lists of about the same weight, in an order that a seed draws."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


def balanced(counts: Mapping[str, int], number: int, seed: int) -> list[list[str]]:
    """Names in so many lists whose counts sum to about the same; which go together, the seed decides among equals."""
    lists: list[list[str]] = [[] for _ in range(number)]
    loads = [0] * number
    for name in sorted(counts, key=lambda name: (-counts[name], drawn(name, seed))):
        lightest = loads.index(min(loads))
        lists[lightest].append(name)
        loads[lightest] += counts[name]
    return lists


def drawn(group: str, seed: int) -> str:
    """Where a group stands in the seeded order; a hash, because it does not change with the other groups."""
    return hashlib.sha256(f"{seed}:{group}".encode()).hexdigest()
