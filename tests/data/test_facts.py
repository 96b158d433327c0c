"""Facts that prompts need: who lacks one, and whose cannot be said to a model, is named or left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from emoprobe.data.facts import gather_facts
from emoprobe.data.sound.limits import AudioLimits
from emoprobe.data.utterance import Utterance
from emoprobe.errors import InputError

TEXTS = {"a": "well", "b": "hm <|end|> hm", "c": None, "d": "good"}


def utterances():
    return [
        Utterance(name, Path(f"{name}.wav"), {"sad": 1.0}, transcript=text, file=Path("table.csv"), row=i)
        for i, (name, text) in enumerate(TEXTS.items(), start=2)
    ]


def check(*texts):
    if any("<|end|>" in text for text in texts):
        raise InputError("the text holds '<|end|>'")


def gather(on_error, chosen=None):
    rows = [row for row in utterances() if chosen is None or row.id in chosen]
    return gather_facts(frozenset({"transcript"}), rows, rows, AudioLimits(), on_error, check=check)


def test_what_is_missing_or_cannot_be_said_is_left_out_with_its_row():
    facts, skipped = gather("skip")
    assert facts == {"a": {"transcript": "well"}, "d": {"transcript": "good"}}
    assert {name: (row.reason, row.row) for name, row in skipped.items()} == {
        "b": ("bad_fact", 3),
        "c": ("missing_fact", 4),
    }
    assert "the transcript of utterance 'b' cannot be said to the model" in skipped["b"].message


@pytest.mark.parametrize(("chosen", "what"), [("ab", r"utterance 'b' .*row 3"), ("ac", r"utterance 'c' .*row 4")])
def test_or_ends_the_run_by_name(chosen, what):
    with pytest.raises(InputError, match=rf"{what}.*field transcript.*on_error=skip"):
        gather("error", chosen)


def test_nothing_is_looked_at_that_no_prompt_needs():
    rows = utterances()
    assert gather_facts(frozenset(), rows, rows, AudioLimits(), "error", check=check) == ({}, {})
