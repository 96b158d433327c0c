"""Reads damaged label files: whatever the damage, a corpus or an error that says where."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from copies.damage import damaged
from emoprobe.data.prepare import prepare
from emoprobe.data.utterance import Corpus
from emoprobe.data.votes import SoftLabelPolicy
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet

TWO = LabelSet("two", ("neutral", "sad"), {"neutral": {"noun": ("neutral",)}, "sad": {"noun": ("sad",)}})


def survives(
    read: Callable[[str], Corpus],
    file: Path,
    separator: bytes,
    *,
    also: Collection[Path] = (),
    examples: int = 300,
    variants: st.SearchStrategy[bytes] | None = None,
) -> None:
    """Read many damaged variants of a file.

    Args:
        read: Reads the corpus, given ``error`` or ``skip``.
        file: Is damaged.
        separator: Between its columns.
        also: Files that an error may name instead, since they no longer fit.
        examples: Number of variants.
        variants: Another kind of damage.
    """
    intact = file.read_bytes()
    whole = {utterance.id for utterance in read("error").utterances}
    outcomes = set()

    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(damaged(intact, separator) if variants is None else variants, st.sampled_from(["error", "skip"]))
    def check(broken: bytes, on_error: str) -> None:
        file.write_bytes(broken)
        outcome = _read(read, on_error)
        if isinstance(outcome, InputError):
            outcomes.add("error")
            assert any(str(name) in str(outcome) for name in (file, *also))
            assert outcome.remedy
            return
        corpus = outcome
        outcomes.add("corpus")
        assert on_error == "skip" or not corpus.skipped
        assert all(row.reason and row.message for row in corpus.skipped)
        assert len({utterance.id for utterance in corpus.utterances}) == len(corpus.utterances)
        for utterance in corpus.utterances:
            _check_words(corpus, utterance)

    try:
        check()
    finally:
        file.write_bytes(intact)
    assert outcomes == {"error", "corpus"}
    assert {utterance.id for utterance in read("error").utterances} == whole


def _read(read: Callable[[str], Corpus], on_error: str) -> Corpus | InputError:
    try:
        return read(on_error)
    except InputError as error:
        return error


def _check_words(corpus: Corpus, utterance) -> None:
    words = {word for rating in utterance.ratings for word in rating.labels} | set(utterance.votes)
    assert all(word and word == word.strip() for word in words)
    if corpus.card.words and words - set(corpus.card.words):
        one = Corpus(corpus.card, (utterance,))
        with pytest.raises(InputError, match="none of the corpus's emotion words"):
            prepare(one, TWO, SoftLabelPolicy(outside="drop"), missing_audio="ignore")
