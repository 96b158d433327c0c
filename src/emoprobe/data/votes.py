"""From rater votes to soft labels, by a named policy."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from emoprobe.data.utterance import Corpus, Skipped, Utterance
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet


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
        smoothing: ``p <- (1 - smoothing) * p + smoothing / K``.
        merge: Corpus word -> label, looked up before the label set's own names and aliases.
        outside: Votes for no label of the set: ``error``; ``drop`` (renormalise the rest); ``other`` (count them for
            the label named ``other``); ``drop_clip`` (leave the clip out).
        no_votes: Clips left without votes: ``error`` or ``skip`` (leave out and list).
        min_raters: Clips with fewer votes inside the label set are left out.
    """

    smoothing: float = 0.0
    merge: Mapping[str, str] = field(default_factory=dict)
    outside: str = "error"
    no_votes: str = "skip"
    min_raters: int = 1

    def __post_init__(self) -> None:
        where = "dataset.soft_label"
        if not 0 <= self.smoothing < 1:
            raise InputError(f"smoothing {self.smoothing} is not in [0, 1)", field=f"{where}.smoothing")
        for name, allowed in (("outside", ("error", "drop", "other", "drop_clip")), ("no_votes", ("error", "skip"))):
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"unknown value {getattr(self, name)!r}",
                    field=f"{where}.{name}",
                    remedy=f"Use one of {', '.join(allowed)}.",
                )
        if self.min_raters < 1:
            raise InputError("at least one rater is needed", field=f"{where}.min_raters")
        object.__setattr__(self, "merge", {str(word).lower(): label for word, label in dict(self.merge).items()})

    @property
    def hash(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of all options."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """The policy in words, for tables."""
        parts = ["relative frequency", f"outside votes: {self.outside}"]
        parts += [f"smoothing {self.smoothing:g}"] if self.smoothing else []
        parts += [f"merge {dict(self.merge)}"] if self.merge else []
        parts += [f"at least {self.min_raters} raters"] if self.min_raters > 1 else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Target:
    """What the raters of one clip say about a label set.

    Args:
        votes: Votes (or shares) per label, ``[labels]`` float64.
        distribution: Soft label, ``[labels]`` float64, sums to one.
        num_raters: Raters of the clip, None where only shares are known.
        outside_votes: Votes for no label of the set.
    """

    votes: np.ndarray
    distribution: np.ndarray
    num_raters: float | None
    outside_votes: float


def soft_label(utterance: Utterance, labels: LabelSet, policy: SoftLabelPolicy) -> Target:
    """Relative frequency of the votes over a label set.

    Raises:
        VoteError: The votes are not usable under the policy.
    """
    votes = np.zeros(len(labels))
    outside = 0.0
    for word, count in utterance.votes.items():
        _check_count(utterance, word, count)
        label = policy.merge.get(word.strip().lower()) or labels.resolve(word)
        if label is None and count > 0:
            outside += float(count)
            label = _outside(utterance, word, labels, policy)
        if label is not None:
            if label not in labels.labels:
                raise InputError(
                    f"{word!r} is to be merged into {label!r}, which is not a label",
                    field="dataset.soft_label.merge",
                    remedy=f"Labels are {', '.join(labels.labels)}.",
                )
            votes[labels.labels.index(label)] += float(count)
    total = votes.sum()
    if total <= 0:
        raise VoteError(
            "no votes for any label of the set",
            reason="no_votes",
            utterance=utterance,
            remedy="Leave such clips out: dataset.soft_label.no_votes=skip.",
        )
    if utterance.num_raters is not None and total < policy.min_raters:
        raise VoteError(
            f"{total:g} votes, and {policy.min_raters} are needed",
            reason="too_few_raters",
            utterance=utterance,
            remedy="Lower dataset.soft_label.min_raters.",
        )
    distribution = (1 - policy.smoothing) * votes / total + policy.smoothing / len(labels)
    return Target(votes, distribution, utterance.num_raters, outside)


def _check_count(utterance: Utterance, word: str, count: object) -> None:
    number = isinstance(count, (int, float, np.number)) and not isinstance(count, bool)
    if not number or not math.isfinite(count) or count < 0:
        raise VoteError(
            f"{count!r} votes for {word!r} is not a number of votes",
            reason="bad_votes",
            utterance=utterance,
            remedy="Correct the row, or leave it out: dataset.on_error=skip.",
        )


def _outside(utterance: Utterance, word: str, labels: LabelSet, policy: SoftLabelPolicy) -> str | None:
    if policy.outside == "drop":
        return None
    if policy.outside == "other":
        if "other" not in labels.labels:
            raise InputError(
                "votes outside the label set shall count as 'other', which is not a label",
                field="dataset.soft_label.outside",
                remedy="Add the label other to the label set, or use outside=drop.",
            )
        return "other"
    remedy = f"Map it with dataset.soft_label.merge.{word}=LABEL, or set dataset.soft_label.outside=drop."
    what = f"a vote for {word!r}, which is none of {', '.join(labels.labels)}"
    raise VoteError(what, reason="outside_label_set", utterance=utterance, remedy=remedy)


@dataclass(frozen=True)
class Item:
    """An utterance with its target."""

    utterance: Utterance
    target: Target


@dataclass(frozen=True)
class Prepared:
    """What a run works on.

    Args:
        items: Utterances to evaluate.
        others: Utterances of the training split that are not evaluated; their votes may serve as a prior.
        skipped: What was left out, and why.
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
    missing_audio: str = "error",
    on_error: str = "error",
) -> Prepared:
    """Choose a corpus's utterances and give them targets.

    Args:
        corpus: The corpus.
        labels: Label set of the targets.
        policy: How votes become a distribution.
        split: A split's name; None or ``all`` for every utterance.
        limit: At most so many utterances, evenly spread over the corpus's order, so that all speakers are seen.
        missing_audio: ``error``, ``skip`` (list and go on) or ``ignore`` (votes are studied without sound).
        on_error: ``error`` or ``skip``: what to do about an utterance with unusable votes.

    Raises:
        InputError: An option is wrong, audio is missing, votes are unusable, or nothing is left.
    """
    for name, value, allowed in (
        ("missing_audio", missing_audio, ("error", "skip", "ignore")),
        ("on_error", on_error, ("error", "skip")),
    ):
        if value not in allowed:
            raise InputError(f"unknown value {value!r}", field=f"dataset.{name}", remedy=f"Use one of {allowed}.")
    if limit is not None and limit < 1:
        raise InputError(f"limit {limit} is not a positive number", field="dataset.limit")
    chosen = _choose_split(corpus, split)
    skipped = list(corpus.skipped)
    items = _with_targets(chosen, labels, policy, on_error, skipped)
    if missing_audio != "ignore":
        items = _with_audio(items, missing_audio, skipped)
    if limit is not None and limit < len(items):
        items = [items[int(i)] for i in np.linspace(0, len(items) - 1, limit).round()]
    if not items:
        counts: dict[str, int] = {}
        for row in skipped:
            counts[row.reason] = counts.get(row.reason, 0) + 1
        raise InputError(
            f"no utterance of {corpus.card.name} is left to evaluate; left out: {counts or 'none'}", field="dataset"
        )
    evaluated = {item.utterance.id for item in items}
    training = [u for u in corpus.utterances if u.split == "train" and u.id not in evaluated]
    others = _with_targets(training, labels, policy, "skip", []) if split not in (None, "all", "train") else []
    return Prepared(tuple(items), tuple(others), tuple(skipped))


def _choose_split(corpus: Corpus, split: str | None) -> list[Utterance]:
    if split in (None, "all"):
        return list(corpus.utterances)
    chosen = [utterance for utterance in corpus.utterances if utterance.split == split]
    if not chosen:
        found = sorted({utterance.split for utterance in corpus.utterances if utterance.split})
        raise InputError(
            f"{corpus.card.name} has no split {split!r}",
            field="dataset.split",
            remedy=f"Use all{''.join(f', {name}' for name in found)}.",
        )
    return chosen


def _with_targets(
    utterances: list[Utterance], labels: LabelSet, policy: SoftLabelPolicy, on_error: str, skipped: list[Skipped]
) -> list[Item]:
    items = []
    for utterance in utterances:
        try:
            items.append(Item(utterance, soft_label(utterance, labels, policy)))
        except VoteError as error:
            by_policy = {
                "no_votes": policy.no_votes == "skip",
                "outside_label_set": policy.outside == "drop_clip",
                "too_few_raters": True,
            }
            if not by_policy.get(error.reason, False) and on_error != "skip":
                raise
            skipped.append(Skipped(utterance.id, error.reason, str(error), str(utterance.file or ""), utterance.row))
    return items


def _with_audio(items: list[Item], missing_audio: str, skipped: list[Skipped]) -> list[Item]:
    missing = [item for item in items if not item.utterance.audio.exists()]
    if missing and missing_audio == "error":
        names = ", ".join(item.utterance.audio.name for item in missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise InputError(
            f"the sound of {len(missing)} of {len(items)} utterances is missing ({names})",
            file=missing[0].utterance.audio,
            field="dataset.missing_audio",
            remedy="Check dataset.root, or go on without them: dataset.missing_audio=skip.",
        )
    for item in missing:
        skipped.append(
            Skipped(item.utterance.id, "missing_audio", "the sound file is missing", str(item.utterance.audio))
        )
    gone = {item.utterance.id for item in missing}
    return [item for item in items if item.utterance.id not in gone]
