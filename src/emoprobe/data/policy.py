"""How votes become a distribution, and which clips take part: the options of a dataset's ``soft_label``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, field, fields
from typing import Annotated, Literal

from emoprobe.errors import InputError
from emoprobe.options import Count, NotNegative, Share, ShareBelowOne, Word, Words, options
from emoprobe.system.digest import digest_of

_POLICY = "dataset.soft_label"
Bits = Annotated[NotNegative, Words("an entropy in bits, 0 or more")]


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
        weigh_by: What makes some ratings of a clip count more than its others: their ``weight``, their ``confidence``
            (ratings without one count as the mean of those with one), or ``nothing``. The weights of a clip's ratings
            are divided by their mean, so that its votes stay as many as its raters; a rating of weight 0 is none.
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
    weigh_by: Literal["weight", "confidence", "nothing"] = "weight"
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
        return digest_of(options)[:16]

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
        parts += [f"ratings weigh by {self.weigh_by}"] if self.weigh_by != "weight" else []
        parts += [f"agreement: {self.agreement}"] if self.agreement != "any" else []
        parts += [f"entropy from {self.min_entropy:g} bits"] if self.min_entropy else []
        parts += [f"entropy to {self.max_entropy:g} bits"] if self.max_entropy is not None else []
        return "; ".join(parts)


_FIRST = ("smoothing", "merge", "outside", "no_votes", "min_raters")
_DEFAULTS = {option.name: option.default for option in fields(SoftLabelPolicy)}


def _clean_merge(merge: Mapping[str, str]) -> dict[str, str]:
    clean: dict[str, str] = {}
    for word, label in merge.items():
        key = word.strip().lower()
        if clean.setdefault(key, label) != label:
            raise InputError(f"{key!r} is to be merged into {clean[key]!r} and {label!r}", field=f"{_POLICY}.merge")
    return clean
