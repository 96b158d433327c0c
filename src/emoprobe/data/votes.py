"""From rater votes to soft labels, by a named policy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TypeGuard

import numpy as np

from emoprobe.data.ballots import ballot_of, count_votes, counted_ratings, weights_of
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.scales import on_points, scale_of
from emoprobe.data.utterance import Utterance
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet

_POLICY = "dataset.soft_label"


class VoteError(InputError):
    """Votes that give no soft label.

    Attributes:
        reason: ``bad_votes``, ``no_votes``, ``outside_label_set``, ``too_few_raters`` or ``not_in_subset``.
    """

    def __init__(self, what: str, *, reason: str, utterance: Utterance, remedy: str) -> None:
        self.reason = reason
        super().__init__(
            f"utterance {utterance.id}: {what}", file=utterance.file, row=utterance.row, field="votes", remedy=remedy
        )


@dataclass(frozen=True, slots=True)
class Target:
    """What the raters of one clip say about a label set.

    Args:
        votes: Votes (or shares, where the corpus gives shares) per label, ``[labels]`` float64; not smoothed.
        distribution: Soft label, ``[labels]`` float64, sums to one.
        num_raters: Raters of the clip, None where only shares are known.
        outside_votes: Votes for no label of the set, also where they were counted for ``other``.
    """

    votes: np.ndarray
    distribution: np.ndarray
    num_raters: float | None
    outside_votes: float


def soft_label(utterance: Utterance, labels: LabelSet, policy: SoftLabelPolicy) -> Target:
    """Relative frequency of the votes over a label set, ``(1 - s) n_k / sum_j n_j + s / K``.

    Of a label set with a scale, a rater's vote is the number given, see `emoprobe.data.scales.on_points`. Where a
    corpus gives no more than the mean of the raters' numbers, the soft label is that of one such number, and says
    nothing of how far the raters agree.

    Raises:
        VoteError: The votes are not usable under the policy.
        InputError: The policy does not fit the label set, or is not that by which published votes were counted.
    """
    _check_counted(utterance, labels, policy)
    votes, outside, num_raters = _votes(utterance, labels, policy)
    total = float(votes.sum())
    everything = total + (outside if policy.outside == "drop" else 0.0)
    if num_raters is not None and policy.several == "split" and everything > num_raters + 1e-6:
        raise VoteError(
            f"{everything:g} votes of {num_raters:g} raters",
            reason="bad_votes",
            utterance=utterance,
            remedy=f"Correct the row; where raters gave several labels, count each: {_POLICY}.several=each.",
        )
    if total <= 0:
        dropped = f"; the {outside:g} outside it are dropped" if outside else ""
        what = f"no votes for any label of the set{dropped}"
        raise VoteError(
            f"no rating of its {labels.scale.dimension}" if labels.scale else what,
            reason="no_votes",
            utterance=utterance,
            remedy=f"Leave such clips out: {_POLICY}.no_votes=skip.",
        )
    if utterance.ratings and num_raters is not None:
        inside: float = len(rater_votes(utterance, labels, policy)) if policy.min_raters > 1 else 1
    else:
        # Of shares with a known number of raters, the raters inside the label set are a share of them.
        inside = math.inf if num_raters is None else num_raters * total / everything
        # Shares sum to one; of votes, raters beyond them chose nothing.
        inside = min(inside, total) if everything > 1 + 1e-3 and num_raters is not None else inside
    if inside < policy.min_raters - 1e-6:
        raise VoteError(
            f"{inside:.4g} raters chose a label of the set, and {policy.min_raters} are needed",
            reason="too_few_raters",
            utterance=utterance,
            remedy=f"Lower {_POLICY}.min_raters.",
        )
    _check_subset(utterance, votes / total, policy)
    distribution = (1 - policy.smoothing) * (votes / total) + policy.smoothing / len(labels)
    return Target(votes, distribution, num_raters, outside)


def _check_counted(utterance: Utterance, labels: LabelSet, policy: SoftLabelPolicy) -> None:
    """Refuse a policy that published counts do not follow: it would stand beside numbers that it did not make."""
    # What a rater's words weigh is nothing to the numbers that raters gave.
    of_words = ("several", "secondary") if labels.scale is not None else ()
    counted = {option: value for option, value in utterance.counted.items() if option not in of_words}
    if any(getattr(policy, option) != value for option, value in counted.items()):
        options = [f"{option}={str(value).lower()}" for option, value in utterance.counted.items()]
        raise InputError(
            f"utterance {utterance.id}: these votes were counted with {', '.join(options)}, which cannot be undone",
            file=utterance.file,
            row=utterance.row,
            field=f"{_POLICY}.{next(iter(counted))}",
            remedy=f"Take them as they are, {' '.join(f'{_POLICY}.{option}' for option in options)}, or read the "
            "single ratings (see the card: emoprobe data card NAME).",
        )
    if labels.scale is None:
        for word in utterance.uncounted:
            _check_uncounted(utterance, word, labels, policy)


def _check_uncounted(utterance: Utterance, word: str, labels: LabelSet, policy: SoftLabelPolicy) -> None:
    """Refuse to count votes that are not among the published ones."""
    label = resolve(word, labels, policy)
    if label is None and policy.outside in ("error", "drop"):
        return
    where = f"the label {label!r}" if label is not None else f"{_POLICY}.outside={policy.outside}"
    raise InputError(
        f"utterance {utterance.id}: votes for {word!r} were left out before these shares were published, so there are "
        f"none for {where}",
        file=utterance.file,
        row=utterance.row,
        field="labels" if label is not None else f"{_POLICY}.outside",
        remedy=f"Use a label set without it and {_POLICY}.outside=drop, or read the single ratings (see the card: "
        "emoprobe data card NAME).",
    )


def _votes(utterance: Utterance, labels: LabelSet, policy: SoftLabelPolicy) -> tuple[np.ndarray, float, float | None]:
    """Votes per label, those for no label, and the number of raters; None where only shares are known."""
    if labels.scale is None:
        counts, num_raters = count_votes(utterance, policy)
        return *_over_labels(utterance, counts, labels, policy), num_raters
    dimension = labels.scale.dimension
    heard = counted_ratings(utterance, policy, dimension)
    if heard or dimension not in utterance.means:
        votes = np.zeros(len(labels))
        for rating, weight in zip(heard, weights_of(heard, policy), strict=True):
            votes += weight * _point_votes(utterance, rating.values[dimension], labels)
        return votes, 0.0, len(heard)
    return _point_votes(utterance, utterance.means[dimension], labels), 0.0, None


def _point_votes(utterance: Utterance, value: float, labels: LabelSet) -> np.ndarray:
    """One number as a vote, ``[labels]``."""
    assert labels.scale is not None
    assert labels.points is not None
    try:
        return on_points(value, scale_of(utterance, labels), labels.points)
    except ValueError as error:
        raise VoteError(
            str(error),
            reason="bad_votes",
            utterance=utterance,
            remedy="Correct the rating, or say what its scale is, such as "
            f"'dataset.scales={{{labels.scale.dimension}: [1,5]}}'; or leave such clips out: dataset.on_error=skip.",
        ) from None


def rater_votes(utterance: Utterance, labels: LabelSet, policy: SoftLabelPolicy) -> dict[str, np.ndarray]:
    """What every rater said of a label set, where the corpus knows who said what; its sum is `Target.votes`.

    Returns:
        Rater -> votes ``[labels]``; raters without a vote for any label are missing. With repeated raters of whom all
        ratings count, their votes are added.
    """
    dimension = labels.scale.dimension if labels.scale else None
    heard = counted_ratings(utterance, policy, dimension)
    result: dict[str, np.ndarray] = {}
    for rating, weight in zip(heard, weights_of(heard, policy), strict=True):
        if dimension is not None:
            votes = weight * _point_votes(utterance, rating.values[dimension], labels)
        else:
            ballot = {word: weight * share for word, share in ballot_of(rating, policy).items()}
            votes, _ = _over_labels(utterance, ballot, labels, policy)
        if votes.any():
            result[rating.rater] = result.get(rating.rater, 0.0) + votes
    return result


def _over_labels(
    utterance: Utterance, counts: Mapping[str, float], labels: LabelSet, policy: SoftLabelPolicy
) -> tuple[np.ndarray, float]:
    """Votes per label, and those for no label of the set."""
    votes = np.zeros(len(labels))
    outside = 0.0
    for word, count in counts.items():
        _check_count(utterance, word, count)
        label = resolve(word, labels, policy)
        if label is None and count > 0:
            outside += float(count)
            label = _outside(utterance, word, labels, policy)
        if label is not None:
            votes[labels.labels.index(label)] += float(count)
    return votes, outside


def _check_subset(utterance: Utterance, shares: np.ndarray, policy: SoftLabelPolicy) -> None:
    """Refuse clips that are not of the subset which the policy keeps."""
    top = float(shares.max())
    tied = int((shares > top - 1e-9).sum()) > 1
    kept = {
        "any": True,
        "majority": top > 0.5 + 1e-9,
        "no_majority": top <= 0.5 + 1e-9,
        "tied": tied,
    }[policy.agreement]
    bits = ambiguity(shares)
    if kept and policy.min_entropy - 1e-9 <= bits and (policy.max_entropy is None or bits <= policy.max_entropy + 1e-9):
        return
    raise VoteError(
        f"the top label has a share of {top:.3g}{' in a tie' if tied else ''}, the votes an entropy of {bits:.3g} bits",
        reason="not_in_subset",
        utterance=utterance,
        remedy=f"Change {_POLICY}.agreement, min_entropy or max_entropy.",
    )


def ambiguity(distribution: np.ndarray) -> float | np.ndarray:
    """Entropy in bits, ``-sum_k p_k log2 p_k``: 0 for unanimous raters, ``log2 K`` for votes spread evenly.

    Args:
        distribution: ``[labels]``, or ``[..., labels]``; sums to one over the last axis.

    Returns:
        A float, or an array ``[...]``.
    """
    p = np.asarray(distribution, dtype=np.float64)
    bits = np.log2(p, out=np.zeros_like(p), where=p > 0)
    # A sum of zeros would be -0.0 after negation.
    entropy = 0.0 - (p * bits).sum(axis=-1)
    return float(entropy) if p.ndim == 1 else entropy


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)


def resolve(word: str, labels: LabelSet, policy: SoftLabelPolicy) -> str | None:
    """The label that a corpus's word stands for; None if there is none."""
    target = policy.merge.get(word.strip().lower())
    label = labels.resolve(word if target is None else target)
    if label is None and target is not None:
        raise InputError(
            f"{word!r} is to be merged into {target!r}, which is not a label",
            field=f"{_POLICY}.merge",
            remedy=f"Labels are {', '.join(labels.labels)}.",
        )
    return label


def _check_count(utterance: Utterance, word: str, count: object) -> None:
    # The bound keeps sums finite; it also stops integers that no float can hold.
    if not _is_number(count) or not 0 <= count <= 1e12:
        raise VoteError(
            f"{count!r} for {word!r} is not a number of votes",
            reason="bad_votes",
            utterance=utterance,
            remedy="Correct the row, or leave it out: dataset.on_error=skip.",
        )


def _outside(utterance: Utterance, word: str, labels: LabelSet, policy: SoftLabelPolicy) -> str | None:
    """The label that counts a vote for no label of the set; None to drop the vote."""
    if policy.outside == "drop":
        return None
    if policy.outside == "other":
        if "other" not in labels.labels:
            raise InputError(
                "votes outside the label set shall count as 'other', which is not a label",
                field=f"{_POLICY}.outside",
                remedy=f"Add the label other to the label set, or use {_POLICY}.outside=drop.",
            )
        return "other"
    raise VoteError(
        f"a vote for {word!r}, which is none of {', '.join(labels.labels)}",
        reason="outside_label_set",
        utterance=utterance,
        remedy=f"Map the word, '++{_POLICY}.merge.{word}=LABEL', or say what becomes of such votes: "
        f"{_POLICY}.outside=drop (other, drop_clip).",
    )
