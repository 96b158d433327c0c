"""Who rates what is trained on, and who rates what is tested: splits whose parts share no rater either."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

from emoprobe.data.balance import balanced
from emoprobe.data.ballots import counted_ratings
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.prepare import Item
from emoprobe.data.split_policy import SplitPolicy
from emoprobe.data.splits import Split, check_targets
from emoprobe.data.votes import VoteError, soft_label
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet

_FIELD = "dataset.partition.rater_folds"
_LEFT_OUT = ("no_votes", "too_few_raters", "not_in_subset", "outside_label_set")


def rater_groups(
    items: Sequence[Item], labels: LabelSet, policy: SoftLabelPolicy, split: SplitPolicy
) -> list[set[str]]:
    """Raters in as many groups as are asked for, of about as many ratings each; the same for every fold.

    Raises:
        InputError: A clip's raters are unknown, nobody rated two clips, or there are fewer raters than groups.
    """
    dimension = labels.scale.dimension if labels.scale else None
    counts: Counter[str] = Counter()
    for item in items:
        raters = {rating.rater for rating in counted_ratings(item.utterance, policy, dimension)}
        if not raters:
            utterance = item.utterance
            raise InputError(
                f"utterance {utterance.id!r:.80} has votes, but nobody knows whose they are",
                file=utterance.file,
                row=utterance.row,
                field=_FIELD,
                remedy=f"Give one row per rating, with a column rater, or let all raters count: {_FIELD}=0.",
            )
        counts.update(raters)
    if max(counts.values()) == 1 < len(items):
        raise InputError(
            "no rater has rated two clips: the corpus numbers each clip's ratings anew",
            field=_FIELD,
            remedy=f"Raters cannot be kept apart here; let all count: {_FIELD}=0.",
        )
    if len(counts) < split.rater_folds:
        raise InputError(
            f"{split.rater_folds} groups of raters are asked for, and there are {len(counts)} raters",
            field=_FIELD,
            remedy="Ask for fewer.",
        )
    return [set(group) for group in balanced(counts, split.rater_folds, split.seed)]


def divide_raters(parts: Split, groups: Sequence[set[str]], labels: LabelSet, policy: SoftLabelPolicy) -> Split:
    """The same clips, of which the test part counts one group's ratings, and the others those of the other groups.

    Clips of which nobody of a part's raters is left (or fewer than the policy needs) are in no part.

    Args:
        parts: The clips.
        groups: Raters; fold f tests with group f, beginning anew where there are more folds.
        labels: The label set.
        policy: How votes become a distribution.

    Raises:
        InputError: A part is left without a clip, or training with one label.
    """
    tested = groups[0 if parts.fold == "all" else parts.fold % len(groups)]
    others = set().union(*groups) - tested
    divided = Split(
        train=_rated_by(others, parts.train, labels, policy),
        development=_rated_by(others, parts.development, labels, policy),
        test=_rated_by(tested, parts.test, labels, policy),
        left_out=parts.left_out,
        fold=parts.fold,
    )
    for name in ("train", "development", "test"):
        if getattr(parts, name) and not getattr(divided, name):
            raise InputError(
                f"no clip of the {name} part of {parts.name} was rated by its group of raters",
                field=_FIELD,
                remedy="Ask for fewer groups, or lower dataset.soft_label.min_raters.",
            )
    check_targets(divided.train)
    return divided


def _rated_by(
    raters: Collection[str], items: Sequence[Item], labels: LabelSet, policy: SoftLabelPolicy
) -> tuple[Item, ...]:
    kept = []
    for item in items:
        given = tuple(rating for rating in item.utterance.ratings if rating.rater in raters)
        utterance = replace(item.utterance, ratings=given, votes={}, means={}, num_raters=None)
        try:
            kept.append(Item(utterance, soft_label(utterance, labels, policy)))
        except VoteError as error:
            if error.reason not in _LEFT_OUT:
                raise
    return tuple(kept)
