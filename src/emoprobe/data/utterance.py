"""The values that every corpus reader returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Utterance:
    """One clip and what people said about it; nothing is decoded yet.

    Args:
        id: Unique within the corpus.
        audio: Absolute path of the sound file (it need not exist: votes can be studied without sound).
        votes: The corpus's own emotion word -> number of raters who chose it, or its share where only shares are known.
        num_raters: How many raters voted; None where the corpus gives shares only.
        speaker: Speaker id.
        split: The corpus's split name (``train``, ``development``, ``test``, ...).
        transcript: Words spoken.
        dialogue: Text of the previous turns, as it should be shown to a model.
        ratings: ``(rater, word)`` pairs where the corpus knows who said what.
        metadata: Further facts (gender, age, acted emotion, ...), strings or numbers.
        file: File the votes came from, for error messages.
        row: Its row, as a person counts (the header is row 1).
    """

    id: str
    audio: Path
    votes: Mapping[str, float]
    num_raters: int | None = None
    speaker: str | None = None
    split: str | None = None
    transcript: str | None = None
    dialogue: str | None = None
    ratings: tuple[tuple[str, str], ...] = ()
    metadata: Mapping[str, str | float] = field(default_factory=dict)
    file: Path | None = None
    row: int | None = None


@dataclass(frozen=True)
class Skipped:
    """An utterance that was left out, and why: a row of ``skipped.csv``.

    Args:
        id: Utterance id, empty where the row had none.
        reason: Short machine-readable reason: ``missing_audio``, ``bad_audio``, ``bad_votes``, ``no_votes``,
            ``outside_label_set``, ``too_few_raters``, ``too_short``, ``too_long``, ``bad_row``, ``duplicate_id``,
            ``missing_fact``.
        message: The full error message.
        file: The file concerned.
        row: The row concerned.
    """

    id: str
    reason: str
    message: str
    file: str = ""
    row: int | None = None


@dataclass(frozen=True)
class CorpusCard:
    """What one must know of a corpus before believing a number measured on it."""

    name: str
    title: str
    synthetic: bool
    licence: str
    access: str
    citation: str
    raters: str
    notes: str = ""


@dataclass(frozen=True)
class Corpus:
    """All utterances of a corpus and the rows that could not be read."""

    card: CorpusCard
    utterances: tuple[Utterance, ...]
    skipped: tuple[Skipped, ...] = ()
