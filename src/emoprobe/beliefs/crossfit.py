"""Cross-fitting: whose votes the parameters of each clip are fitted on, so that no clip is judged by its own."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import numpy as np
from annotated_types import Ge

from emoprobe.options import Natural, valid

NOT_FITTED = "not_fitted"
"""Status of a clip that has a distribution, but too few clips of other speakers to fit its parameters on."""
DEVELOPMENT = ("development", "dev", "validation", "valid")
"""Names of the development part, in lower case."""

Parameters = TypeVar("Parameters")


@dataclass(frozen=True)
class Part:
    """Clips that share their parameters.

    Args:
        name: ``development``, or ``fold 2 of 5``.
        fit: Which clips the parameters are fitted on, boolean ``[clips]``.
        apply: Which clips they are applied to; none of them, and none of their speakers, is among the former.
    """

    name: str
    fit: np.ndarray
    apply: np.ndarray


@dataclass(frozen=True)
class Plan:
    """Whose votes each clip's parameters are fitted on.

    Args:
        parts: Every clip is applied to in at most one; none if there is a single speaker.
        fitted_on: In words, for tables.
    """

    parts: tuple[Part, ...]
    fitted_on: str


def plan(
    ids: Sequence[str],
    speakers: Sequence[str | None],
    splits: Sequence[str | None],
    *,
    folds: int = 5,
    seed: int = 0,
) -> Plan:
    """Divide clips so that no distribution is fitted on votes for its own clip or speaker.

    Where some clips, and not all, belong to the development part, parameters come from its votes: for a speaker who is
    not heard there from all of them, for one who is from the other folds of the development part. So the development
    clips have out-of-sample distributions too, and every row of a table speaks of the same clips. Without a development
    part all clips are cut into folds of speakers, and each fold takes its parameters from the others.

    Folds are balanced by clips and drawn by a seeded hash of the speakers; a clip of an unknown speaker is a group of
    its own. The order of the clips does not matter.

    Args:
        ids: Utterance of each clip, distinct.
        speakers: Speaker of each clip, None (or NaN) if unknown.
        splits: Split of each clip, None (or NaN) if it has none.
        folds: Number of folds, at least 2; with fewer groups there are as many folds as groups.
        seed: Which speakers go together.

    Raises:
        InputError: The number of folds or the seed is wrong.
    """
    valid(Annotated[int, Ge(2)], folds, "folds")
    valid(Natural, seed, "seed")
    known = [_text(speaker) for speaker in speakers]
    groups = np.array([f"speaker {name}" if name else f"clip {ids[i]}" for i, name in enumerate(known)], dtype=object)
    whose = "other speakers'" if all(known) else "other clips'"
    inside = np.array([(_text(split) or "").lower() in DEVELOPMENT for split in splits], dtype=bool)
    source = inside if inside.any() and not inside.all() else np.ones(len(groups), dtype=bool)
    fold_of = _folds(Counter(groups[source].tolist()), folds, seed)
    number = np.array([fold_of.get(group, -1) for group in groups])
    count = len(set(fold_of.values()))
    parts = []
    if (number == -1).any():
        parts.append(Part("development", source, number == -1))
    if count > 1:
        name = "fold {} of {}" if source.all() else "development, fold {} of {}"
        parts += [Part(name.format(i + 1, count), source & (number != i), number == i) for i in range(count)]
    folded = f"{whose} votes ({count} folds)" if count > 1 else f"{whose} votes"
    fitted_on = folded if source.all() else f"{whose} development votes"
    return Plan(tuple(parts), fitted_on)


def _text(value: object) -> str | None:
    """A name, or None where a table has a gap."""
    return None if value is None or value != value else str(value).strip() or None


def _folds(counts: Counter, folds: int, seed: int) -> dict[str, int]:
    """Group -> fold: the largest groups first, each to the fold with the fewest clips."""

    def drawn(group: str) -> str:
        return hashlib.sha256(f"{seed}:{group}".encode()).hexdigest()

    loads = [0] * min(folds, len(counts))
    fold_of = {}
    for group in sorted(counts, key=lambda group: (-counts[group], drawn(group))):
        fold_of[group] = loads.index(min(loads))
        loads[fold_of[group]] += counts[group]
    return fold_of


def fit_parts(
    plan: Plan, ids: Sequence[str], usable: np.ndarray, least: int, fit: Callable[[np.ndarray], Parameters]
) -> list[tuple[Part, np.ndarray, Parameters | None]]:
    """Fit the parameters of every part.

    Args:
        plan: Whose votes are used for whom.
        ids: Utterance of each clip; clips are taken in this order, so that the table's order does not matter.
        usable: Which clips have a distribution, ``[clips]``.
        least: Fewest clips to fit on.
        fit: Rows -> parameters.

    Returns:
        Per part: itself, the rows it was fitted on, and the parameters; None where there were too few clips.
    """
    order = np.array(sorted(range(len(ids)), key=lambda i: ids[i]), dtype=int)
    result = []
    for part in plan.parts:
        rows = order[(part.fit & usable)[order]]
        result.append((part, rows, fit(rows) if len(rows) >= least else None))
    return result
