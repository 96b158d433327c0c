"""Who the raters of a corpus are, and how far they agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from emoprobe.data.check.findings import Finding
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.prepare import Item
from emoprobe.data.votes import rater_votes
from emoprobe.labels import LabelSet
from emoprobe.metrics.raters import agreement, single_votes


class RatingTable(NamedTuple):
    """Single ratings as they count.

    Args:
        clip: Number of the clip of each, ``[ratings]``.
        rater: Who gave it.
        votes: What it says, ``[ratings, labels]``, summing to one.
    """

    clip: np.ndarray
    rater: list[str]
    votes: np.ndarray


def rating_table(items: Sequence[Item], labels: LabelSet, policy: SoftLabelPolicy) -> RatingTable | None:
    """The ratings of clips of which the corpus tells who said what; None where there is no such clip."""
    clips, raters, votes = [], [], []
    for clip, item in enumerate(items):
        for rater, vote in rater_votes(item.utterance, labels, policy).items() if item.utterance.ratings else ():
            clips.append(clip)
            raters.append(rater)
            votes.append(vote / vote.sum())
    return RatingTable(np.array(clips), raters, np.stack(votes)) if clips else None


def are_people(table: RatingTable) -> bool:
    """Whether raters are people: somebody rated several clips. Else the corpus numbers each clip's ratings anew."""
    return max(Counter(table.rater).values()) > 1


def anonymous_ratings(items: Sequence[Item]) -> RatingTable | None:
    """The ratings behind counts of votes, each by somebody else; None where a clip gives anything but counts."""
    votes = np.stack([item.target.votes for item in items])
    if any(item.target.num_raters is None for item in items) or np.abs(votes - votes.round()).max() > 1e-9:
        return None
    clip, single = single_votes(votes)
    return RatingTable(clip, list(map(str, range(len(clip)))), single)


def find_agreement(items: Sequence[Item], labels: LabelSet, policy: SoftLabelPolicy) -> list[Finding]:
    """What a check says of the raters."""
    table = rating_table(items, labels, policy)
    known = table is not None
    table = table or anonymous_ratings(items)
    if table is None:
        return []
    found = agreement(*table, points=labels.points)
    kind = "nominal" if labels.points is None else "interval"
    what = (
        f"two raters of a clip say the same with a chance of {found.observed:.3f}; Krippendorff's alpha "
        f"{found.alpha:.3f} ({kind})"
        if found.num_compared
        else "no clip has two raters"
    )
    findings = [Finding("ok", "agreement", what)]
    if not known:
        return findings
    if are_people(table):
        counts = Counter(table.rater)
        name, most = counts.most_common(1)[0]
        what = (
            f"{found.num_raters:,} people gave {found.num_ratings:,} ratings, {min(counts.values()):,} to {most:,} "
            f"each; the busiest, {name}, gave {most / found.num_ratings:.1%} (emoprobe data raters)"
        )
        return [Finding("ok", "raters", what), *findings]
    return [Finding("note", "raters", "nobody knows which ratings are of one person"), *findings]
