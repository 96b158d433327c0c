"""Reads damaged label files: whatever the damage, a corpus or an error that says where."""

from __future__ import annotations

import random
import unicodedata
from pathlib import Path

import pytest

from copies import Copy, say
from copies.damage import damaged, damaged_bytes
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.prepare import prepare
from emoprobe.data.utterance import Corpus, Utterance
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet

OF_NO_USE = ("there is no usable", "is empty", "there is no turn in this file")
TWO = LabelSet("two", ("neutral", "sad"), {"neutral": {"noun": ("neutral",)}, "sad": {"noun": ("sad",)}})


def survives(copy: Copy, root: Path, file: str) -> None:
    """Read many damaged variants of a label file.

    Args:
        copy: The copy.
        root: Where it lies.
        file: Is damaged.
    """
    path = root / file
    intact = path.read_bytes()
    utterances = copy.read(root).utterances
    whole, known = [say(utterance) for utterance in utterances], {word for each in utterances for word in _words(each)}
    others = [root / name for name in copy.label_files if name != file]
    beside = b"".join(other.read_bytes() for other in others if other.is_file())
    outcomes = set()
    try:
        for number in range(copy.examples):
            rng = random.Random(f"{copy.name} {copy.variant} {file} {number}")
            broken = damaged(intact, copy.separator_of(file), rng) if copy.encoding else damaged_bytes(intact, rng)
            path.write_bytes(broken)
            on_error = rng.choice(["error", "skip"]) if copy.skips else "error"
            outcome = _read(copy, root, on_error)
            outcomes.add(type(outcome))
            if isinstance(outcome, InputError):
                _names(copy, root, file, outcome)
                assert outcome.remedy, number
                continue
            assert on_error == "skip" or not outcome.skipped, number
            assert all(row.reason and row.message and row.file for row in outcome.skipped), number
            assert len({utterance.id for utterance in outcome.utterances}) == len(outcome.utterances), number
            if copy.listed_by_sound:
                assert [say(utterance) for utterance in outcome.utterances] == whole, number
            for utterance in outcome.utterances:
                _check(copy, broken + beside, known, outcome, utterance)
    finally:
        path.write_bytes(intact)
    assert outcomes == {InputError, Corpus}
    assert [say(utterance) for utterance in copy.read(root).utterances] == whole


def _names(copy: Copy, root: Path, file: str, error: InputError) -> None:
    """The error names the damaged file, and of text the row, unless nothing in it is of use."""
    beside = root / copy.against.get(file, file)
    assert str(root / file) in str(error) or error.file == beside, error
    if copy.encoding and not file.endswith(".json") and error.file == root / file:
        assert error.row or any(said in error.what for said in OF_NO_USE), error


def _read(copy: Copy, root: Path, on_error: str) -> Corpus | InputError:
    try:
        corpus = copy.read(root, **({"on_error": on_error} if copy.skips else {}))
    except InputError as error:
        return InputError(error.what, file=error.file, row=error.row, field=error.field, remedy=error.remedy)
    return corpus


def _check(copy: Copy, written: bytes, known: set[str], corpus: Corpus, utterance: Utterance) -> None:
    assert copy.holds(utterance)
    assert ".." not in utterance.audio.parts
    said = _words(utterance)
    assert all(word and word == word.strip() for word in said)
    new = said - known - set(corpus.card.words)
    if new and copy.encoding:  # it was written so
        text = _bare(written.decode("latin-1") + written.decode(errors="replace"))
        assert all(_bare(word) in text for word in new)
    words = {word for rating in utterance.ratings for word in rating.labels} | set(utterance.votes)
    if corpus.card.words and words - set(corpus.card.words):
        one = Corpus(corpus.card, (utterance,))
        with pytest.raises(InputError, match="none of the corpus's emotion words"):
            prepare(one, TWO, SoftLabelPolicy(outside="drop"), missing_audio="ignore")


def _words(utterance: Utterance) -> set[str]:
    return {word for rating in utterance.ratings for word in (*rating.labels, *rating.secondary)} | set(utterance.votes)


def _bare(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold().replace('"', "")
