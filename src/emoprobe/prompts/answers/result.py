"""What came of an answer."""

from __future__ import annotations

from dataclasses import dataclass

STATED = ("ok", "renormalised", "single_label", "partial", "ranked")
FAILED = ("truncated", "reasoning_cut", "refused", "ambiguous", "unparsed")
STATUSES = STATED + FAILED


@dataclass(frozen=True)
class ParsedAnswer:
    """A parsed text answer.

    Args:
        status: With a distribution: ``ok`` (the numbers sum to one; labels left out have none; or one
            number between two points of a scale, which share it), ``renormalised`` (they
            do not sum to one, but say how the labels share it), ``partial`` (some of what was written is on words that
            are no labels), ``single_label`` (the whole answer is one label), ``ranked`` (labels in order, without
            numbers: shares are proportional to 1 / rank, a convention of emoprobe's and nothing the model said).
            Without: ``truncated`` (the answer stopped at its limit of tokens), ``reasoning_cut`` (its reasoning did),
            ``refused``, ``ambiguous`` (it says two things: two units, two dictionaries, two labels where one is wanted,
            one label twice, a letter and another option's label, numbers that leave much of the whole to nobody),
            ``unparsed`` (it does not fit the format).
        shares: Distribution over the labels, None if there is none.
        label_mass: Share of what was written, numbers or ranks, that is on labels; None if nothing could be read.
    """

    status: str
    shares: tuple[float, ...] | None = None
    label_mass: float | None = None


def certain(label: int, size: int) -> ParsedAnswer:
    """The answer that gives all to one label."""
    return ParsedAnswer("single_label", tuple(float(i == label) for i in range(size)), 1.0)


class AmbiguousError(Exception):
    """What is written can be read, and says more than one thing."""
