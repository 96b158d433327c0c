"""Which of a clip's ratings count under a policy, how much, and for which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.utterance import Rating, Utterance


def count_votes(utterance: Utterance, policy: SoftLabelPolicy) -> tuple[Mapping[str, float], float | None]:
    """The corpus's words with their votes, and the number of raters; None where only shares are known."""
    if not utterance.ratings:
        return utterance.votes, utterance.num_raters
    heard = counted_ratings(utterance, policy)
    counts: dict[str, float] = {}
    for rating, by in zip(heard, weights_of(heard, policy), strict=True):
        for word, weight in ballot_of(rating, policy).items():
            counts[word] = counts.get(word, 0.0) + by * weight
    # Thirds that make a whole must make it exactly.
    whole = {word: round(count) if abs(count - round(count)) < 1e-9 else count for word, count in counts.items()}
    return {word: float(count) for word, count in whole.items()}, len(heard)


def counted_ratings(utterance: Utterance, policy: SoftLabelPolicy, dimension: str | None = None) -> list[Rating]:
    """The ratings that count under a policy, by rater in the corpus's order.

    Args:
        utterance: Whose ratings.
        policy: The policy.
        dimension: Ratings of it, or those that chose words where it is None.
    """
    heard = [
        r
        for r in utterance.ratings
        if (r.labels if dimension is None else dimension in r.values)
        and (policy.self_reports or not r.self_report)
        and (r.weight > 0 or policy.weigh_by != "weight")
        and (r.confidence != 0 or policy.weigh_by != "confidence")
    ]
    if policy.repeated_raters == "all":
        return heard
    order = heard if policy.repeated_raters == "first" else reversed(heard)
    kept: dict[str, Rating] = {}
    for rating in order:
        kept.setdefault(rating.rater, rating)
    return [kept[rater] for rater in dict.fromkeys(rating.rater for rating in heard)]


def weights_of(ratings: Sequence[Rating], policy: SoftLabelPolicy) -> list[float]:
    """How much each of a clip's ratings counts; their mean is 1."""
    weights = [1.0] * len(ratings)
    if policy.weigh_by == "weight":
        weights = [rating.weight for rating in ratings]
    elif policy.weigh_by == "confidence":
        told = [rating.confidence for rating in ratings if rating.confidence is not None]
        mean = sum(told) / len(told) if told else 1.0
        weights = [mean if rating.confidence is None else rating.confidence for rating in ratings]
    if not weights or min(weights) == max(weights):
        return [1.0] * len(ratings)
    return [weight * len(weights) / sum(weights) for weight in weights]


def ballot_of(rating: Rating, policy: SoftLabelPolicy) -> dict[str, float]:
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
