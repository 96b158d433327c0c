"""From a corpus to what a run works on: chosen utterances with their targets, and what was left out."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.shard import Shard
from emoprobe.data.utterance import Corpus, CorpusCard, Skipped, Utterance
from emoprobe.data.votes import Target, VoteError, resolve, soft_label
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.options import Count, valid

Fact: TypeAlias = str | int | float | bool


@dataclass(frozen=True)
class Item:
    """An utterance with its target."""

    utterance: Utterance
    target: Target


@dataclass(frozen=True)
class Division:
    """What all parts of a run know of each other.

    Args:
        shard: Which part this is.
        whole: All that is divided, in the corpus's order.
    """

    shard: Shard
    whole: tuple[Item, ...]

    @property
    def places(self) -> dict[str, int]:
        """Utterance id -> its place in the whole."""
        return {item.utterance.id: place for place, item in enumerate(self.whole)}

    @property
    def facts(self) -> dict[str, str | int]:
        """For the record of a part: which one it is, and size and SHA-256 of the whole's ids and votes."""
        digest = hashlib.sha256()
        for item in self.whole:
            digest.update(json.dumps([item.utterance.id, item.target.votes.tolist()]).encode())
        return {"part": str(self.shard), "utterances": len(self.whole), "sha256": digest.hexdigest()}


@dataclass(frozen=True)
class Prepared:
    """What a run works on.

    Args:
        items: Utterances to evaluate, in the corpus's order.
        others: Utterances of the training split where another split is evaluated; their votes may serve as a prior.
            Clips that the policy leaves out are missing here too, but are not listed.
        skipped: What was left out of the corpus and of the chosen split, and why.
        division: Of what the items are a part; None where they are all.
    """

    items: tuple[Item, ...]
    others: tuple[Item, ...]
    skipped: tuple[Skipped, ...]
    division: Division | None = None


def prepare(
    corpus: Corpus,
    labels: LabelSet,
    policy: SoftLabelPolicy,
    *,
    split: str | None = None,
    keep: Mapping[str, Fact | Sequence[Fact]] | None = None,
    limit: int | None = None,
    shard: Shard | None = None,
    missing_audio: Literal["error", "skip", "ignore"] = "error",
    on_error: Literal["error", "skip"] = "error",
) -> Prepared:
    """Choose a corpus's utterances and give them targets.

    Args:
        corpus: The corpus.
        labels: Label set of the targets.
        policy: How votes become a distribution.
        split: A split's name, without case; None or ``all`` for every utterance.
        keep: Fact (``speaker`` or a key of the metadata) -> values; only utterances with one of them take part, such as
            the consensus labels of a published protocol.
        limit: At most so many of the usable utterances, always the same ones: each speaker gets a share in proportion,
            but at least one (where the limit allows), evenly spaced over the speaker's utterances.
        shard: The part of what is left, and of what is left out, that is wanted; it may be empty.
        missing_audio: ``error``, ``skip`` (list and go on) or ``ignore`` (votes are studied without sound).
        on_error: ``error`` or ``skip``: what to do about an utterance with unusable votes.

    Raises:
        InputError: An option is wrong, audio is missing, votes are unusable, or nothing is left.
    """
    valid(Literal["error", "skip", "ignore"], missing_audio, "dataset.missing_audio")
    valid(Literal["error", "skip"], on_error, "dataset.on_error")
    valid(Count | None, limit, "dataset.limit")
    for word in policy.merge:
        resolve(word, labels, policy)
    skipped = list(corpus.skipped)
    kept = _choose_facts(corpus, keep or {})
    words = corpus.card.words
    try:
        items = _with_targets(_choose_split(corpus, kept, split), words, labels, policy, on_error, skipped)
    except VoteError as error:
        raise _advised(error, corpus.card, labels) from None
    whole: Sequence[Item] = items
    if shard is not None and limit is None:
        items = _part_of(items, shard)  # a job of many looks for its own files only
    if missing_audio != "ignore":
        items = _with_audio(items, missing_audio, skipped)
    if not (items or (shard is not None and whole)):
        counts = Counter(row.reason for row in skipped)
        raise InputError(
            f"no utterance of {corpus.card.name} is left; left out: {dict(counts) or 'none, it has none'}",
            field="dataset",
            remedy=f"The first was left out because: {skipped[0].message}" if skipped else "Check the corpus folder.",
        )
    # A prior called that of the training split must not be drawn from any other.
    every = split is None or split.lower() in ("all", "train")
    train = [] if every else [u for u in kept if (u.split or "").lower() == "train"]
    others = _with_targets(train, words, labels, policy, on_error, [])
    chosen = _spread(items, limit)
    if shard is None:
        return Prepared(tuple(chosen), tuple(others), tuple(skipped))
    division = Division(shard, tuple(whole if limit is None else chosen))
    left_out = tuple(row for row in skipped if shard.holds(row.id))
    return Prepared(tuple(_part_of(chosen, shard)), tuple(others), left_out, division)


def _part_of(items: Sequence[Item], shard: Shard) -> list[Item]:
    return [item for item in items if shard.holds(item.utterance.id)]


def _choose_facts(corpus: Corpus, keep: Mapping[str, Fact | Sequence[Fact]]) -> Sequence[Utterance]:
    kept: Sequence[Utterance] = corpus.utterances
    for fact, values in keep.items():
        wanted = {str(value).lower() for value in ([values] if isinstance(values, str | int | float) else values)}
        found = {str(_fact(utterance, fact)).lower() for utterance in kept}
        if not wanted & found:
            some = sorted(found)[:10]
            raise InputError(
                f"no utterance has one of {sorted(wanted)} as its {fact}",
                field=f"dataset.keep.{fact}",
                remedy=f"There are {', '.join(some)}." if found - {"none"} else "The corpus does not tell this fact.",
            )
        kept = [utterance for utterance in kept if str(_fact(utterance, fact)).lower() in wanted]
    return kept


def _fact(utterance: Utterance, name: str) -> object:
    return utterance.speaker if name == "speaker" else utterance.metadata.get(name)


def _choose_split(corpus: Corpus, utterances: Sequence[Utterance], split: str | None) -> Sequence[Utterance]:
    if split is None or split == "all":
        return utterances
    chosen = [utterance for utterance in utterances if (utterance.split or "").lower() == split.lower()]
    if not chosen:
        found = sorted({utterance.split for utterance in utterances if utterance.split})
        raise InputError(
            f"{corpus.card.name} has no split {split!r}; it has {', '.join(found) or 'none'}",
            field="dataset.split",
            remedy=f"Use one of {', '.join(('all', *found))}.",
        )
    return chosen


def _with_targets(
    utterances: Sequence[Utterance],
    known: Collection[str],
    labels: LabelSet,
    policy: SoftLabelPolicy,
    on_error: str,
    skipped: list[Skipped],
) -> list[Item]:
    by_policy = {
        "no_votes": policy.no_votes == "skip",
        "outside_label_set": policy.outside == "drop_clip",
        "too_few_raters": True,
        "not_in_subset": True,
    }
    items = []
    columns: set[frozenset[str]] = set()
    for utterance in utterances:
        # What a corpus's words stand for is known; of a user's own columns two may be the same emotion by mistake.
        if not labels.scale and not known and not utterance.ratings and frozenset(utterance.votes) not in columns:
            _check_columns(utterance, labels, policy)
            columns.add(frozenset(utterance.votes))
        try:
            if not labels.scale:
                _check_words(utterance, known, labels, policy)
            items.append(Item(utterance, soft_label(utterance, labels, policy)))
        except VoteError as error:
            if not by_policy.get(error.reason, False) and on_error != "skip":
                raise
            skipped.append(Skipped(utterance.id, error.reason, str(error), str(utterance.file or ""), utterance.row))
    return items


def _advised(error: VoteError, card: CorpusCard, labels: LabelSet) -> InputError:
    """An error; one of a vote outside the label set names those that fit the corpus."""
    if error.reason != "outside_label_set" or not card.label_sets or labels.name in card.label_sets:
        return error
    sets = " or ".join(f"labels={name}" for name in card.label_sets)
    remedy = f"Use {sets}, made for {card.title}. {error.remedy}"
    return InputError(error.what, file=error.file, row=error.row, field=error.field, remedy=remedy)


def _check_columns(utterance: Utterance, labels: LabelSet, policy: SoftLabelPolicy) -> None:
    """Refuse two columns of one label, unless the policy merges them by name."""
    owner: dict[str, str] = {}
    for word in utterance.votes:
        label = resolve(word, labels, policy)
        if label is None or word.strip().lower() in policy.merge:
            continue
        before = owner.setdefault(label, word)
        if before != word:
            kind = "votes" if utterance.num_raters is not None else "p"
            raise InputError(
                f"{before!r:.80} and {word!r:.80} (such as columns {kind}_{before:.80} and {kind}_{word:.80}) are both "
                f"the label {label!r}, and would be added up",
                file=utterance.file,
                row=utterance.row,
                field=f"{kind}_{word:.80}",
                remedy=f"Keep one of them; if both are meant, say so: '++dataset.soft_label.merge.{word:.80}={label}'.",
            )


def _check_words(utterance: Utterance, known: Collection[str], labels: LabelSet, policy: SoftLabelPolicy) -> None:
    """Refuse words that are neither the corpus's own nor mapped: a misspelling must not count as an outside vote."""
    words = {word for rating in utterance.ratings for word in rating.labels} or utterance.votes
    if policy.secondary:
        words = {*words, *(word for rating in utterance.ratings for word in rating.secondary)}
    for word in words if known else ():
        if word not in known and resolve(word, labels, policy) is None:
            raise VoteError(
                f"{word!r:.80} is none of the corpus's emotion words, {', '.join(known)}",
                reason="bad_votes",
                utterance=utterance,
                remedy=f"Map it, '++dataset.soft_label.merge.{word}=LABEL', or leave such clips out: "
                "dataset.on_error=skip.",
            )


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
