"""The values that every corpus reader returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

Numbers: TypeAlias = Mapping[str, float]
NOTHING: Numbers = {}


class Rating(NamedTuple):
    """What one rater said about one clip.

    Args:
        rater: Rater id; the same person has the same id in every clip, as far as the corpus tells.
        labels: The words chosen, one or several; none where only numbers were given.
        secondary: Words named beside the main choice.
        self_report: Whether the rater is the speaker.
        values: Dimension (``valence``, ``arousal``, ``dominance``, ``intensity``, ...) -> number given, on the scale
            that `Utterance.scales` names.
        weight: How much the rating counts beside the clip's others, 0 or more.
        confidence: How sure the rater was, 0 to 1, where that was asked.
        time: When the rating was given, as the corpus writes it.
    """

    rater: str
    labels: tuple[str, ...] = ()
    secondary: tuple[str, ...] = ()
    self_report: bool = False
    values: Numbers = NOTHING
    weight: float = 1.0
    confidence: float | None = None
    time: str | None = None


@dataclass(frozen=True, slots=True)
class Utterance:
    """One clip and what people said about it; nothing is decoded yet.

    Args:
        id: Unique within the corpus.
        audio: Absolute path of the sound file (it need not exist: votes can be studied without sound).
        votes: The corpus's own emotion word -> number of raters who chose it, or its share where only shares are known;
            where there are ratings, these are counted instead (`emoprobe.data.votes`).
        num_raters: How many raters voted; None where the corpus gives shares only.
        speaker: Speaker id.
        split: The corpus's split name (``train``, ``development``, ``test``, ...).
        transcript: Words spoken.
        dialogue: Text of the previous turns, as it should be shown to a model.
        ratings: Who said what, where the corpus knows it.
        means: Dimension -> mean of the raters' numbers, where the corpus gives no more of them; what single ratings say
            goes before.
        scales: Dimension -> lowest and highest number of its scale.
        counted: Options of the soft-label policy by which the votes were counted before they were published; a policy
            that says otherwise cannot be followed.
        uncounted: Words that raters chose, too, whose votes were left out before the others were published.
        donor: Id of the clip whose sound or words it was given (`emoprobe.data.controls`).
        metadata: Further facts (gender, age, acted emotion, ...), strings or numbers.
        file: File the votes came from, for error messages.
        row: Its row, as a person counts (the header is row 1).
    """

    id: str
    audio: Path
    votes: Mapping[str, float] = field(default_factory=dict)
    num_raters: int | None = None
    speaker: str | None = None
    split: str | None = None
    transcript: str | None = None
    dialogue: str | None = None
    ratings: tuple[Rating, ...] = ()
    means: Numbers = field(default_factory=dict)
    scales: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    counted: Mapping[str, object] = field(default_factory=dict)
    uncounted: tuple[str, ...] = ()
    donor: str | None = None
    metadata: Mapping[str, str | float] = field(default_factory=dict)
    file: Path | None = None
    row: int | None = None


FAILURES = frozenset({"missing_audio", "bad_audio", "unanswered"})
"""Reasons for which an utterance was left out that may be gone when it is tried again."""


@dataclass(frozen=True)
class Skipped:
    """An utterance that was left out, and why: a row of ``skipped.csv``.

    Args:
        id: Utterance id, empty where the row had none.
        reason: Short machine-readable reason: ``missing_audio``, ``bad_audio``, ``bad_votes``, ``no_votes``,
            ``outside_label_set``, ``too_few_raters``, ``not_in_subset``, ``too_short``, ``too_long``, ``bad_row``,
            ``duplicate_id``, ``duplicate_file``, ``unknown_clip``, ``missing_fact``, ``bad_fact``.
        message: The full error message.
        file: The file concerned.
        row: The row concerned.
    """

    id: str
    reason: str
    message: str
    file: str = ""
    row: int | None = None

    @property
    def failed(self) -> bool:
        """Whether it may go well next time; otherwise the settings, or what is known of it, leave it out."""
        return self.reason in FAILURES


@dataclass(frozen=True)
class CorpusCard:
    """What one must know of a corpus before believing a number measured on it.

    Args:
        name: Short name, as in ``dataset=NAME``.
        title: Name for tables.
        synthetic: Whether nobody said or heard it.
        licence: What one may do with it.
        access: Where to get it.
        citation: What to cite.
        raters: Who judged, and how many per clip.
        notes: What else matters, such as published defects.
        label_sets: Label sets (``labels=NAME``) that fit it, the usual one first.
        words: The corpus's own emotion words.
        splits: Its official splits and usual protocols.
        defects: Utterance id -> published defect of it.
    """

    name: str
    title: str
    synthetic: bool
    licence: str
    access: str
    citation: str
    raters: str
    notes: str = ""
    label_sets: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    splits: str = "none"
    defects: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Corpus:
    """All utterances of a corpus and the rows that could not be read."""

    card: CorpusCard
    utterances: tuple[Utterance, ...]
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True)
class Total:
    """A published number that a whole copy of a corpus must show.

    Args:
        what: What is counted.
        expected: The published number.
        count: Counts it; None where the number does not speak of this corpus as it was read.
        source: Where it is published.
    """

    what: str
    expected: int
    count: Callable[[Corpus], int | None]
    source: str = ""

    @classmethod
    def of_word(cls, what: str, expected: int, word: str, source: str = "") -> Total:
        """The number of clips with a vote for an emotion word."""
        return cls(what, expected, lambda corpus: sum(word in each.votes for each in corpus.utterances), source)
