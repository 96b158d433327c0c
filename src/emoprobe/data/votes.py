"""From rater votes to soft labels, by a named policy; from a corpus to what a run works on."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from numbers import Real
from typing import Literal

import numpy as np

from emoprobe.data.utterance import Corpus, Skipped, Utterance
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet

_POLICY = "dataset.soft_label"


class VoteError(InputError):
    """Votes that give no soft label.

    Attributes:
        reason: ``bad_votes``, ``no_votes``, ``outside_label_set`` or ``too_few_raters``.
    """

    def __init__(self, what: str, *, reason: str, utterance: Utterance, remedy: str) -> None:
        self.reason = reason
        super().__init__(
            f"utterance {utterance.id}: {what}", file=utterance.file, row=utterance.row, field="votes", remedy=remedy
        )


@dataclass(frozen=True)
class SoftLabelPolicy:
    """How votes become a distribution.

    Args:
        smoothing: ``p <- (1 - smoothing) * p + smoothing / K`` over the K labels.
        merge: Corpus word -> label (or alias of one), looked up before the label set's own names and aliases; without
            case.
        outside: Votes for no label of the set: ``error``; ``drop`` (renormalise the rest); ``other`` (count them for
            the label named ``other``); ``drop_clip`` (leave the clip out).
        no_votes: Clips without votes for any label: ``error`` or ``skip`` (leave out and list).
        min_raters: Clips with fewer votes inside the label set are left out and listed; clips of which only shares are
            known cannot be judged by it and stay.
    """

    smoothing: float = 0.0
    merge: Mapping[str, str] = field(default_factory=dict)
    outside: Literal["error", "drop", "other", "drop_clip"] = "error"
    no_votes: Literal["error", "skip"] = "error"
    min_raters: int = 1

    def __post_init__(self) -> None:
        # Written so that a NaN fails too.
        if not _is_number(self.smoothing) or not 0 <= self.smoothing < 1:
            raise InputError(f"smoothing {self.smoothing!r} is not a number in [0, 1)", field=f"{_POLICY}.smoothing")
        _check_choice(f"{_POLICY}.outside", self.outside, ("error", "drop", "other", "drop_clip"))
        _check_choice(f"{_POLICY}.no_votes", self.no_votes, ("error", "skip"))
        _check_positive(f"{_POLICY}.min_raters", self.min_raters)
        object.__setattr__(self, "smoothing", float(self.smoothing))
        object.__setattr__(self, "merge", _clean_merge(self.merge))

    @property
    def hash(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of all options."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """The policy in words, for tables."""
        parts = ["relative frequency", f"outside votes: {self.outside}"]
        parts += [f"smoothing {self.smoothing:g}"] if self.smoothing else []
        parts += [f"{word} counts as {label}" for word, label in sorted(self.merge.items())]
        parts += [f"at least {self.min_raters} raters"] if self.min_raters > 1 else []
        return "; ".join(parts)


@dataclass(frozen=True)
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
        InputError: The policy does not fit the label set.
    """
    votes = np.zeros(len(labels))
    outside = 0.0
    for word, count in utterance.votes.items():
        _check_count(utterance, word, count)
        label = _resolve(word, labels, policy)
        if label is None and count > 0:
            outside += float(count)
            label = _outside(utterance, word, labels, policy)
        if label is not None:
            votes[labels.labels.index(label)] += float(count)
    total = float(votes.sum())
    if total <= 0:
        dropped = f"; the {outside:g} outside it are dropped" if outside else ""
        raise VoteError(
            f"no votes for any label of the set{dropped}",
            reason="no_votes",
            utterance=utterance,
            remedy=f"Leave such clips out: {_POLICY}.no_votes=skip.",
        )
    # Of shares with a known number of raters, the raters inside the label set are a share of them.
    everything = total + (outside if policy.outside == "drop" else 0.0)
    inside = math.inf if utterance.num_raters is None else utterance.num_raters * total / everything
    if inside < policy.min_raters - 1e-6:
        raise VoteError(
            f"{inside:.4g} raters chose a label of the set, and {policy.min_raters} are needed",
            reason="too_few_raters",
            utterance=utterance,
            remedy=f"Lower {_POLICY}.min_raters.",
        )
    distribution = (1 - policy.smoothing) * (votes / total) + policy.smoothing / len(labels)
    return Target(votes, distribution, utterance.num_raters, outside)


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


@dataclass(frozen=True)
class Item:
    """An utterance with its target."""

    utterance: Utterance
    target: Target


@dataclass(frozen=True)
class Prepared:
    """What a run works on.

    Args:
        items: Utterances to evaluate, in the corpus's order.
        others: Utterances of the training split where another split is evaluated; their votes may serve as a prior.
            Clips that the policy leaves out are missing here too, but are not listed.
        skipped: What was left out of the corpus and of the chosen split, and why.
    """

    items: tuple[Item, ...]
    others: tuple[Item, ...]
    skipped: tuple[Skipped, ...]


def prepare(
    corpus: Corpus,
    labels: LabelSet,
    policy: SoftLabelPolicy,
    *,
    split: str | None = None,
    limit: int | None = None,
    missing_audio: Literal["error", "skip", "ignore"] = "error",
    on_error: Literal["error", "skip"] = "error",
) -> Prepared:
    """Choose a corpus's utterances and give them targets.

    Args:
        corpus: The corpus.
        labels: Label set of the targets.
        policy: How votes become a distribution.
        split: A split's name; None or ``all`` for every utterance.
        limit: At most so many of the usable utterances, always the same ones: each speaker gets a share in proportion,
            but at least one (where the limit allows), evenly spaced over the speaker's utterances.
        missing_audio: ``error``, ``skip`` (list and go on) or ``ignore`` (votes are studied without sound).
        on_error: ``error`` or ``skip``: what to do about an utterance with unusable votes.

    Raises:
        InputError: An option is wrong, audio is missing, votes are unusable, or nothing is left.
    """
    _check_choice("dataset.missing_audio", missing_audio, ("error", "skip", "ignore"))
    _check_choice("dataset.on_error", on_error, ("error", "skip"))
    if limit is not None:
        _check_positive("dataset.limit", limit)
    for word in policy.merge:
        _resolve(word, labels, policy)
    skipped = list(corpus.skipped)
    items = _with_targets(_choose_split(corpus, split), labels, policy, on_error, skipped)
    if missing_audio != "ignore":
        items = _with_audio(items, missing_audio, skipped)
    if not items:
        counts = Counter(row.reason for row in skipped)
        raise InputError(
            f"no utterance of {corpus.card.name} is left; left out: {dict(counts) or 'none, it has none'}",
            field="dataset",
            remedy=f"The first was left out because: {skipped[0].message}" if skipped else "Check the corpus folder.",
        )
    # A prior called that of the training split must not be drawn from any other.
    train = [] if split in (None, "all", "train") else [u for u in corpus.utterances if u.split == "train"]
    others = _with_targets(train, labels, policy, on_error, [])
    return Prepared(tuple(_spread(items, limit)), tuple(others), tuple(skipped))


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _check_choice(where: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"unknown value {value!r}", field=where, remedy=f"Use one of {', '.join(allowed)}.")


def _check_positive(where: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{value!r} is not a whole number of at least 1", field=where)


def _clean_merge(merge: Mapping[str, str] | None) -> dict[str, str]:
    clean: dict[str, str] = {}
    for word, label in dict(merge or {}).items():
        key = str(word).strip().lower()
        if clean.setdefault(key, str(label)) != str(label):
            raise InputError(f"{key!r} is to be merged into {clean[key]!r} and {label!r}", field=f"{_POLICY}.merge")
    return clean


def _resolve(word: str, labels: LabelSet, policy: SoftLabelPolicy) -> str | None:
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


def _choose_split(corpus: Corpus, split: str | None) -> Sequence[Utterance]:
    if split in (None, "all"):
        return corpus.utterances
    chosen = [utterance for utterance in corpus.utterances if utterance.split == split]
    if not chosen:
        found = sorted({utterance.split for utterance in corpus.utterances if utterance.split})
        raise InputError(
            f"{corpus.card.name} has no split {split!r}; it has {', '.join(found) or 'none'}",
            field="dataset.split",
            remedy=f"Use one of {', '.join(('all', *found))}.",
        )
    return chosen


def _with_targets(
    utterances: Sequence[Utterance], labels: LabelSet, policy: SoftLabelPolicy, on_error: str, skipped: list[Skipped]
) -> list[Item]:
    by_policy = {
        "no_votes": policy.no_votes == "skip",
        "outside_label_set": policy.outside == "drop_clip",
        "too_few_raters": True,
    }
    items = []
    for utterance in utterances:
        try:
            items.append(Item(utterance, soft_label(utterance, labels, policy)))
        except VoteError as error:
            if not by_policy.get(error.reason, False) and on_error != "skip":
                raise
            skipped.append(Skipped(utterance.id, error.reason, str(error), str(utterance.file or ""), utterance.row))
    return items


def _with_audio(items: list[Item], missing_audio: str, skipped: list[Skipped]) -> list[Item]:
    # os.path.exists, unlike Path.exists, does not raise on a folder that may not be searched.
    there = [os.path.exists(item.utterance.audio) for item in items]
    missing = [item.utterance for item, found in zip(items, there, strict=True) if not found]
    if missing and missing_audio == "error":
        names = ", ".join(utterance.audio.name for utterance in missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise InputError(
            f"the sound of {len(missing)} of {len(items)} utterances is missing ({names})",
            file=missing[0].audio,
            field="dataset.missing_audio",
            remedy="Check dataset.root, or go on without them: dataset.missing_audio=skip.",
        )
    skipped += [Skipped(u.id, "missing_audio", "the sound file is missing", str(u.audio)) for u in missing]
    return [item for item, found in zip(items, there, strict=True) if found]


def _spread(items: list[Item], limit: int | None) -> list[Item]:
    """At most ``limit`` items, spread over speakers and, within a speaker, over the corpus's order."""
    if limit is None or limit >= len(items):
        return items
    speakers: dict[str | None, list[int]] = {}
    for index, item in enumerate(items):
        speakers.setdefault(item.utterance.speaker, []).append(index)
    groups = list(speakers.values())
    heard = min(limit, len(groups))
    groups = [groups[i * len(groups) // heard] for i in range(heard)]
    # One each, and the rest in proportion to what the speakers have beyond one.
    spare, rest = limit - heard, sum(map(len, groups)) - heard
    chosen, passed = [], 0
    for number, group in enumerate(groups):
        before = passed * spare // max(rest, 1)
        passed += len(group) - 1
        quota = 1 + passed * spare // max(rest, 1) - before
        # Each speaker starts at another phase, or a corpus in a fixed order would always give the same sentences.
        phase = (2 * number + 1) / (2 * heard)
        chosen += [group[int((k + phase) * len(group) / quota)] for k in range(quota)]
    return [items[index] for index in sorted(chosen)]
