"""Who trains, who develops, who tests: clips cut into parts that share no speaker, by a named policy."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from emoprobe.data.balance import balanced, drawn
from emoprobe.data.prepare import Item
from emoprobe.data.reading.fields import identity, is_blank
from emoprobe.data.reading.identities import refuse_alike
from emoprobe.data.split_policy import PARTS, PartName, SplitPolicy
from emoprobe.data.utterance import Utterance
from emoprobe.errors import InputError
from emoprobe.metrics.functional.ties import top_labels

_PARTITION = "dataset.partition"


@dataclass(frozen=True)
class Split:
    """The parts, each sorted by utterance id.

    Args:
        train: To fit on.
        development: To choose by.
        test: To report on.
        left_out: Clips of an official split that belong to none of the three.
        fold: The fold that is tested, from 0; ``all`` where none is.
    """

    train: tuple[Item, ...]
    development: tuple[Item, ...]
    test: tuple[Item, ...]
    left_out: tuple[Item, ...] = ()
    fold: int | Literal["all"] = 0

    @property
    def name(self) -> str:
        """``fold0``, or ``all`` where nothing is tested."""
        return self.fold if self.fold == "all" else f"fold{self.fold}"


def count_folds(items: Sequence[Item], policy: SplitPolicy) -> int:
    """How many folds the clips make; an official split is one.

    Raises:
        InputError: A clip has no group, or there are more folds than groups.
    """
    return 1 if policy.kind == "official" else len(_folds(Counter(_groups(items, policy)), policy))


def split_items(items: Sequence[Item], policy: SplitPolicy, member: int = 0) -> Split:
    """Divide clips by a policy; the same clips in any order give the same parts.

    Args:
        items: The clips.
        policy: How they are divided.
        member: Number of the averaged member that trains on the split; the test part is the same for all.

    Over all folds of ``kfold`` and ``leave_one_out``, every clip is tested exactly once. An unknown speaker is nobody:
    not one person, and not the same as another unknown one. Folds by speaker and official splits refuse such clips (an
    official split takes them with ``unknown_speakers=allow``); folds by another fact cannot tell whether parts share
    them. Speakers or groups that differ in spelling only, such as ``S1`` and ``s01``, are refused.

    Raises:
        InputError: A part is empty, training has nothing to learn, the fold does not exist, there are more folds than
            groups, a clip has no group, two groups look alike, or the parts share speakers or groups.
    """
    items = _in_order(items, policy)
    split = _official(items, policy) if policy.kind == "official" else _by_fold(items, policy, member)
    return _checked(split, policy, items, PARTS)


def split_all(items: Sequence[Item], policy: SplitPolicy, members: int) -> list[Split]:
    """All clips for every averaged member, each with another development fold and nothing tested.

    Args:
        items: The clips.
        policy: How they are divided; its ``fold`` says nothing here.
        members: How many members are averaged.

    Raises:
        InputError: Some clips would be in no member's training part, or `split_items` would refuse the clips.
    """
    lacking = [f"{_PARTITION}.kind=kfold"] if policy.kind == "official" else []
    lacking += [] if policy.development == "rotate" else [f"{_PARTITION}.development=rotate"]
    lacking += [] if members > 1 else ["head.members=5"]
    if lacking:
        raise InputError(
            "to train on all clips takes several members, each of which leaves another fold out to choose its epoch",
            field="refit",
            remedy=f"Use {' '.join(lacking)}, or leave refit=false.",
        )
    items = _in_order(items, policy)
    groups = _groups(items, policy)
    folds = _folds(Counter(groups), policy)
    splits = []
    for member in range(members):
        left = set(folds[member % len(folds)])
        train, development = (
            tuple(item for item, group in zip(items, groups, strict=True) if (group in left) is chosen)
            for chosen in (False, True)
        )
        splits.append(_checked(Split(train, development, (), fold="all"), policy, items, ("train", "development")))
    return splits


def _in_order(items: Sequence[Item], policy: SplitPolicy) -> list[Item]:
    """Clips by id, none of them of a group or speaker that another is spelled like."""
    if not items:
        raise InputError("there is no clip to divide", field="dataset", remedy="Check the corpus and dataset.limit.")
    items = sorted(items, key=lambda item: item.utterance.id)
    for fact in dict.fromkeys((policy.by, "speaker")):
        refuse_alike((each.utterance for each in items), partial(_group, by=fact), fact)
    return items


def _checked(split: Split, policy: SplitPolicy, items: Sequence[Item], parts: Sequence[PartName]) -> Split:
    """A split that can be trained on and whose parts share nobody."""
    _check_parts(split, policy, items, parts)
    if not policy.allow_overlap:
        _check_overlap(split, policy)
    return split


def speaker_overlap(split: Split) -> dict[str, set[str]]:
    """Speakers heard in more than one part -> those parts' names; unknown speakers are not counted."""
    return _shared(split, "speaker")


def _check_fold(policy: SplitPolicy, number: int) -> None:
    if policy.fold >= number:
        there = f"there are {number}, counted from 0" if number > 1 else "there is one, fold 0"
        last = f" to {number - 1}" if number > 1 else ""
        raise InputError(
            f"there is no fold {policy.fold} of {policy.kind}; {there}",
            field="dataset.fold",
            remedy=f"Use dataset.fold=0{last}.",
        )


def _official(items: Sequence[Item], policy: SplitPolicy) -> Split:
    _check_fold(policy, 1)
    part_of = {name: part for part, names in policy.named.items() for name in names}
    chosen: dict[str, list[Item]] = {part: [] for part in (*PARTS, "left_out")}
    for item in items:
        chosen[part_of.get((item.utterance.split or "").strip().lower(), "left_out")].append(item)
    train, development, test, left_out = (tuple(found) for found in chosen.values())
    return Split(train, development, test, left_out)


def _by_fold(items: Sequence[Item], policy: SplitPolicy, member: int) -> Split:
    groups = _groups(items, policy)
    folds = _folds(Counter(groups), policy)
    _check_fold(policy, len(folds))
    part_of = dict.fromkeys(folds[policy.fold], "test") | dict.fromkeys(
        _development(folds, policy, member), "development"
    )
    chosen: dict[str, list[Item]] = {part: [] for part in PARTS}
    for item, group in zip(items, groups, strict=True):
        chosen[part_of.get(group, "train")].append(item)
    return Split(**{part: tuple(found) for part, found in chosen.items()}, fold=policy.fold)


def _folds(counts: Mapping[str, int], policy: SplitPolicy) -> list[list[str]]:
    """Groups of every fold; ``counts`` is group -> clips."""
    if policy.kind == "leave_one_out":
        return [[group] for group in sorted(counts, key=_by_name)]
    if policy.folds > len(counts):
        fewer = f"{_PARTITION}.folds={len(counts)}, " if len(counts) >= 2 else ""
        raise InputError(
            f"{policy.folds} folds are asked for, and the clips have {len(counts)} different values of {policy.by}",
            field=f"{_PARTITION}.folds",
            remedy=f"Use {fewer}another fact ({_PARTITION}.by) or more clips (dataset.limit).",
        )
    # By size no longer: a development share takes the first groups, and they should not be the largest.
    folds = balanced(counts, policy.folds, policy.seed)
    return [sorted(fold, key=lambda group: drawn(group, policy.seed)) for fold in folds]


def _development(folds: Sequence[list[str]], policy: SplitPolicy, member: int) -> list[str]:
    """The development part's groups."""
    after = [*folds[policy.fold + 1 :], *folds[: policy.fold]]
    if isinstance(policy.development, str):
        return after[member % len(after) if policy.development == "rotate" else 0] if after else []
    rest = [group for fold in after for group in fold]
    number = max(1, round(policy.development * len(rest)))
    if policy.kind == "leave_one_out" and number > 1:
        # Neighbours by name are often alike (women before men), so several are drawn: the next in the seeded ring.
        tested = drawn(folds[policy.fold][0], policy.seed)
        rest.sort(key=lambda group: (drawn(group, policy.seed) < tested, drawn(group, policy.seed)))
    return rest[:number]


def _by_name(group: str) -> tuple[list[str | int], str]:
    # Text and numbers alternate, so that like is compared with like.
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", group))], group


def _group(utterance: Utterance, by: str) -> str | None:
    value = utterance.speaker if by == "speaker" else utterance.metadata.get(by)
    try:
        return identity(value)
    except ValueError as error:
        what = f"{error}, and cannot divide clips"
        raise InputError(
            what, file=utterance.file, row=utterance.row, field=by, remedy=f"Use another fact ({_PARTITION}.by)."
        ) from None


def _groups(items: Sequence[Item], policy: SplitPolicy) -> list[str]:
    """The group of every clip."""
    groups = [_group(item.utterance, policy.by) for item in items]
    missing = [item.utterance for item, group in zip(items, groups, strict=True) if group is None]
    if missing:
        first = missing[0]
        facts = ["speaker"] if first.speaker else []
        facts += [fact for fact in sorted(first.metadata) if fact != policy.by and not is_blank(first.metadata[fact])]
        remedy = (
            f"Add it to the corpus, or divide by another fact ({_PARTITION}.by): {', '.join(facts) or 'none known'}."
        )
        if policy.kind == "official":
            remedy += f" Check only the speakers that are known: {_PARTITION}.unknown_speakers=allow."
        raise InputError(
            f"{len(missing)} of {len(items)} clips have no {policy.by}; utterance {first.id} is one",
            file=first.file,
            row=first.row,
            field=policy.by,
            remedy=remedy,
        )
    return [group for group in groups if group is not None]


def _check_parts(split: Split, policy: SplitPolicy, items: Sequence[Item], parts: Sequence[PartName]) -> None:
    words = {"train": "training", "development": "development", "test": "test"}
    for part in parts:
        if getattr(split, part):
            continue
        if policy.kind == "official":
            found = sorted({item.utterance.split for item in items if item.utterance.split})
            looked = f"Looked for {' or '.join(policy.named[part]) or 'nothing'}; the clips have {', '.join(found)}. "
            name = f"{looked}Name it, '++{_PARTITION}.splits.{part}=NAME', or make folds"
            remedy = f"{name if found else 'The clips have no splits; make folds'}: {_PARTITION}.kind=kfold."
        else:
            remedy = (
                f"Each part needs a {policy.by} of its own: use at least three folds ({_PARTITION}.folds), a smaller "
                f"share ({_PARTITION}.development) or another fact ({_PARTITION}.by)."
            )
        raise InputError(f"the {words[part]} part is empty", field=_PARTITION, remedy=remedy)
    check_targets(split.train)


def check_targets(train: Sequence[Item]) -> None:
    """Refuse training clips from which nothing can be learned.

    Raises:
        InputError: All have the same soft label, in which one label is on top.
    """
    shares = np.array([item.target.distribution for item in train])
    if np.ptp(shares, axis=0).max() < 1e-9 and top_labels(shares[:1]).sum() == 1:
        raise InputError(
            f"all {len(train)} training clips have the same soft label, so there is nothing to learn",
            field=_PARTITION,
            remedy=f"Use more clips (dataset.limit), another label set or other parts ({_PARTITION}, dataset.fold).",
        )


def _check_overlap(split: Split, policy: SplitPolicy) -> None:
    facts = ["speaker"]
    if policy.kind == "official":
        # Folds have groups by construction; an official split is refused where nobody can tell.
        if policy.unknown_speakers == "error":
            _groups([item for part in PARTS for item in getattr(split, part)], policy)
        facts = list(dict.fromkeys((policy.by, "speaker")))
    for fact in facts:
        shared = _shared(split, fact)
        if shared:
            names = [f"{name} ({', '.join(sorted(parts))})" for name, parts in sorted(shared.items())]
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise InputError(
                f"the parts share the {fact} {', '.join(names[:3])}{more}",
                field=_PARTITION,
                remedy=f"Use {_PARTITION}.kind=kfold {_PARTITION}.by={fact}, or allow it by name: "
                f"{_PARTITION}.allow_overlap=true.",
            )


def _shared(split: Split, fact: str) -> dict[str, set[str]]:
    """Value of a fact that more than one part has -> those parts."""
    heard: dict[str, set[str]] = {}
    for part in PARTS:
        for item in getattr(split, part):
            group = _group(item.utterance, fact)
            if group is not None:
                heard.setdefault(group, set()).add(part)
    return {group: parts for group, parts in heard.items() if len(parts) > 1}
