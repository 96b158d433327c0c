"""From rater votes to soft labels, by a named policy."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from numbers import Real
from typing import Annotated, Literal, TypeGuard

import numpy as np

from emoprobe.data.utterance import Rating, Utterance
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.options import Count, NotNegative, Share, ShareBelowOne, Word, Words, options

_POLICY = "dataset.soft_label"
Bits = Annotated[NotNegative, Words("an entropy in bits, 0 or more")]


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


@options("dataset.soft_label")
class SoftLabelPolicy:
    """How votes become a distribution, and which clips take part.

    Args:
        smoothing: ``p <- (1 - smoothing) * p + smoothing / K`` over the K labels.
        merge: Corpus word -> label (or alias of one), looked up before the label set's own names and aliases; without
            case.
        outside: Votes for no label of the set: ``error``; ``drop`` (renormalise the rest); ``other`` (count them for
            the label named ``other``); ``drop_clip`` (leave the clip out).
        no_votes: Clips without votes for any label: ``error`` or ``skip`` (leave out and list).
        min_raters: Clips of which fewer raters chose a label of the set are left out and listed; clips of which only
            shares are known cannot be judged by it and stay.
        several: Several labels by one rater: ``split`` the one vote evenly, or count ``each``.
        secondary: Weight of a rater's secondary words beside the main choice, which weighs 1; with ``split`` the
            rater's vote still sums to one. Words chosen already do not count again.
        self_reports: Whether the speaker's own ratings count.
        repeated_raters: Of a rater's several ratings of one clip, count the ``first``, the ``last`` or ``all``.
        agreement: Clips that take part: ``any``; ``majority`` (one label has more than half of the votes);
            ``no_majority``; ``tied`` (several labels share the top).
        min_entropy: Clips whose votes have a smaller entropy in bits are left out.
        max_entropy: Clips whose votes have a larger entropy in bits are left out; null for no bound.
    """

    smoothing: ShareBelowOne = 0.0
    merge: Mapping[Word, Word] = field(default_factory=dict)
    outside: Literal["error", "drop", "other", "drop_clip"] = "error"
    no_votes: Literal["error", "skip"] = "error"
    min_raters: Count = 1
    several: Literal["split", "each"] = "split"
    secondary: Share = 0.0
    self_reports: bool = False
    repeated_raters: Literal["first", "last", "all"] = "first"
    agreement: Literal["any", "majority", "no_majority", "tied"] = "any"
    min_entropy: Bits = 0.0
    max_entropy: Bits | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "smoothing", float(self.smoothing))
        object.__setattr__(self, "secondary", float(self.secondary))
        object.__setattr__(self, "merge", _clean_merge(self.merge))

    @property
    def hash(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of all options."""
        # Options that came later count where they are set, so that stored results keep their hash.
        options = {name: v for name, v in asdict(self).items() if name in _FIRST or v != _DEFAULTS[name]}
        return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """The policy in words, for tables."""
        parts = ["relative frequency", f"outside votes: {self.outside}"]
        parts += [f"smoothing {self.smoothing:g}"] if self.smoothing else []
        parts += [f"{word} counts as {label}" for word, label in sorted(self.merge.items())]
        parts += [f"at least {self.min_raters} raters"] if self.min_raters > 1 else []
        parts += ["each of a rater's labels counts"] if self.several == "each" else []
        parts += [f"secondary words weigh {self.secondary:g}"] if self.secondary else []
        parts += ["self-reports count"] if self.self_reports else []
        parts += [f"repeated raters: {self.repeated_raters}"] if self.repeated_raters != "first" else []
        parts += [f"agreement: {self.agreement}"] if self.agreement != "any" else []
        parts += [f"entropy from {self.min_entropy:g} bits"] if self.min_entropy else []
        parts += [f"entropy to {self.max_entropy:g} bits"] if self.max_entropy is not None else []
        return "; ".join(parts)


_FIRST = ("smoothing", "merge", "outside", "no_votes", "min_raters")
_DEFAULTS = {option.name: option.default for option in fields(SoftLabelPolicy)}


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

    Raises:
        VoteError: The votes are not usable under the policy.
        InputError: The policy does not fit the label set, or is not that by which published votes were counted.
    """
    _check_counted(utterance, policy)
    counts, num_raters = count_votes(utterance, policy)
    votes, outside = _over_labels(utterance, counts, labels, policy)
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
        raise VoteError(
            f"no votes for any label of the set{dropped}",
            reason="no_votes",
            utterance=utterance,
            remedy=f"Leave such clips out: {_POLICY}.no_votes=skip.",
        )
    if utterance.ratings:
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


def _check_counted(utterance: Utterance, policy: SoftLabelPolicy) -> None:
    """Refuse a policy that published counts do not follow: it would stand beside numbers that it did not make."""
    if all(getattr(policy, option) == value for option, value in utterance.counted.items()):
        return
    options = [f"{option}={str(value).lower()}" for option, value in utterance.counted.items()]
    raise InputError(
        f"utterance {utterance.id}: these votes were counted with {', '.join(options)}, which cannot be undone",
        file=utterance.file,
        row=utterance.row,
        field=f"{_POLICY}.{next(iter(utterance.counted))}",
        remedy=f"Take them as they are, {' '.join(f'{_POLICY}.{option}' for option in options)}, or read the single "
        "ratings (see the card: emoprobe data card NAME).",
    )


def count_votes(utterance: Utterance, policy: SoftLabelPolicy) -> tuple[Mapping[str, float], float | None]:
    """The corpus's words with their votes, and the number of raters; None where only shares are known."""
    if not utterance.ratings:
        return utterance.votes, utterance.num_raters
    ballots = [_ballot(rating, policy) for rating in counted_ratings(utterance, policy)]
    counts: dict[str, float] = {}
    for ballot in ballots:
        for word, weight in ballot.items():
            counts[word] = counts.get(word, 0.0) + weight
    # Thirds that make a whole must make it exactly.
    whole = {word: round(count) if abs(count - round(count)) < 1e-9 else count for word, count in counts.items()}
    return {word: float(count) for word, count in whole.items()}, len(ballots)


def counted_ratings(utterance: Utterance, policy: SoftLabelPolicy) -> list[Rating]:
    """The ratings that count under a policy, by rater in the corpus's order."""
    heard = [r for r in utterance.ratings if r.labels and (policy.self_reports or not r.self_report)]
    if policy.repeated_raters == "all":
        return heard
    order = heard if policy.repeated_raters == "first" else reversed(heard)
    kept: dict[str, Rating] = {}
    for rating in order:
        kept.setdefault(rating.rater, rating)
    return [kept[rater] for rater in dict.fromkeys(rating.rater for rating in heard)]


def rater_votes(utterance: Utterance, labels: LabelSet, policy: SoftLabelPolicy) -> dict[str, np.ndarray]:
    """What every rater said of a label set, where the corpus knows who said what; its sum is `Target.votes`.

    Returns:
        Rater -> votes ``[labels]``; raters without a vote for any label are missing. With repeated raters of whom all
        ratings count, their votes are added.
    """
    result: dict[str, np.ndarray] = {}
    for rating in counted_ratings(utterance, policy):
        votes, _ = _over_labels(utterance, _ballot(rating, policy), labels, policy)
        if votes.any():
            result[rating.rater] = result.get(rating.rater, 0.0) + votes
    return result


def _ballot(rating: Rating, policy: SoftLabelPolicy) -> dict[str, float]:
    """Word -> weight of one rating."""
    main = dict.fromkeys(word.strip() for word in rating.labels)
    known = {word.lower() for word in main}
    beside = dict.fromkeys(word.strip() for word in rating.secondary if word.strip().lower() not in known)
    if not policy.secondary:
        beside = {}
    if policy.several == "each":
        return dict.fromkeys(main, 1.0) | dict.fromkeys(beside, policy.secondary)
    whole = 1 + (policy.secondary if beside else 0.0)
    ballot = dict.fromkeys(main, 1 / len(main) / whole)
    return ballot | {word: policy.secondary / len(beside) / whole for word in beside}


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


def _clean_merge(merge: Mapping[str, str]) -> dict[str, str]:
    clean: dict[str, str] = {}
    for word, label in merge.items():
        key = word.strip().lower()
        if clean.setdefault(key, label) != label:
            raise InputError(f"{key!r} is to be merged into {clean[key]!r} and {label!r}", field=f"{_POLICY}.merge")
    return clean


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
