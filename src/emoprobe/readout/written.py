"""Answers in words: what is stored of one, and what distributions stored answers state."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from emoprobe.beliefs.distributions import Distributions
from emoprobe.labels import LabelSet
from emoprobe.prompts.answers import ParsedAnswer, parse_answer
from emoprobe.readout.base import INTS

if TYPE_CHECKING:
    from emoprobe.models.answering import Generation

TEXT = pa.field("generated_text", pa.string())
TOKENS = pa.field("generated_tokens", INTS)
FINISHED = pa.field("finished", pa.bool_())
ANSWER = (TEXT, TOKENS, FINISHED)
"""A greedy answer; it is finished if the model ended it itself."""


def answer_columns(answer: Generation) -> dict[str, Any]:
    """The columns `ANSWER` of a greedy answer."""
    return {TEXT.name: answer.text, TOKENS.name: list(answer.tokens), FINISHED.name: answer.finished}


def known_words(labels: LabelSet) -> list[tuple[str, str]]:
    """``(label, word)``: what a label may be called in an answer, whatever the prompt asked for.

    Surface forms of all kinds, and aliases. Left out are single letters, which options of a prompt may be called, and
    words that stand for two labels.
    """
    pairs = [(label, word) for label, kinds in labels.words.items() for words in kinds.values() for word in words]
    pairs += [(label, alias) for alias, label in labels.aliases.items()]
    owners: dict[str, set[str]] = {}
    for label, word in pairs:
        owners.setdefault(word.lower(), set()).add(label)
    return [
        (label, word)
        for label, word in dict.fromkeys(pairs)
        if len(owners[word.lower()]) == 1 and not (len(word) == 1 and word.isascii())
    ]


def texts_of(rows: pa.Table, column: str) -> list[str]:
    """The answers of a column of the score table."""
    return rows[column].to_pylist()


def written_text(
    table: pa.Table,
    labels: Sequence[str],
    words: Sequence[tuple[str, str]] = (),
    column: str = TEXT.name,
    ended: str = FINISHED.name,
    form: str | None = None,
    dimension: str | None = None,
) -> Distributions:
    """The distributions that the answers state, with their parse status; a failure has no distribution.

    Args:
        table: Rows of one model and prompt.
        labels: Labels in order.
        words: ``(label, word)`` pairs known beside the rows' own surface forms, which win over them (`known_words`).
        column: Where the answers stand.
        ended: Where it says whether each of them ended.
        form: Answer format of a filled form, whatever the prompt asks for.
        dimension: What the labels are points of, where they are a scale.
    """
    answers = [[(text, done)] for text, done in zip(table[column].to_pylist(), table[ended].to_pylist(), strict=True)]
    parsed = [one for (one,) in parse_rows(table, labels, words, answers, form, dimension)]
    shares = [answer.shares or (np.nan,) * len(labels) for answer in parsed]
    masses = np.array([np.nan if answer.label_mass is None else answer.label_mass for answer in parsed])
    return Distributions(log_shares(shares), tuple(answer.status for answer in parsed), masses)


def parse_rows(
    table: pa.Table,
    labels: Sequence[str],
    words: Sequence[tuple[str, str]],
    answers: Sequence[Sequence[tuple[str, bool | None]]],
    form: str | None = None,
    dimension: str | None = None,
) -> list[list[ParsedAnswer]]:
    """Every answer of every row, ``(text, whether it ended)``, parsed; equal answers are parsed once.

    An answer of which nobody knows whether it ended did not. A filled form (``form`` is given) does not continue
    the reasoning before it.
    """
    # Of two labels that claim a word the parser takes the later.
    words = [*words, *zip(table["form_labels"][0].as_py(), table["forms"][0].as_py(), strict=True)]
    columns = ("answer_format", "reasoning", "reasoning_finished")

    @cache
    def parse(text: str, ended: bool, asked: str, reasoned: bool) -> ParsedAnswer:
        # After reasoning the cue of the answer was written for the model: it stands before the text, not in it.
        cue = "Answer: " if reasoned else ""
        return parse_answer(cue + text, labels, words, answer_format=form or asked, finished=ended, dimension=dimension)

    rows = []
    for row, asked, reasoning, whole in zip(answers, *(table[name].to_pylist() for name in columns), strict=True):
        if reasoning is not None and not whole:
            rows.append([ParsedAnswer("reasoning_cut")] * len(row))
        else:
            reasoned = reasoning is not None and form is None
            rows.append([parse(text, bool(ended), asked, reasoned) for text, ended in row])
    return rows


def log_shares(shares: Sequence[Sequence[float]]) -> np.ndarray:
    """Natural logarithms of shares, minus infinity of none, ``[rows, labels]``."""
    with np.errstate(divide="ignore"):
        return np.log(np.array(shares, dtype=np.float64))
