"""The greedy answer as text, parsed with a status; a failure is never turned into a label."""

from __future__ import annotations

from functools import partial
from typing import Any

import pyarrow as pa

from emoprobe.beliefs.reading import Reading
from emoprobe.labels import LabelSet
from emoprobe.options import options
from emoprobe.readout.base import READOUTS, AnswerReadout
from emoprobe.readout.scoring.asking import Asking
from emoprobe.readout.written import ANSWER, TEXT, answer_columns, known_words, texts_of, written_text


@READOUTS.register("generated_text")
@options("readout.generated_text")
class GeneratedText(AnswerReadout):
    """The greedy answer as text; it is parsed later (`emoprobe.prompts.answers`)."""

    name = "generated_text"
    channel = "text"
    columns = ANSWER
    place = 4
    plain = "parsed"

    def ask(self, asking: Asking) -> list[list[dict[str, Any]]]:
        """Text and tokens of the answer, cut at this readout's own limit."""
        return [[answer_columns(answer) for answer in answers] for answers in asking.answers(self.limit)]

    @classmethod
    def read(cls, rows: pa.Table, labels: LabelSet, options: None) -> list[Reading]:
        """One reading, ``parsed``."""
        words = known_words(labels)
        derive = partial(written_text, labels=labels.labels, words=words, dimension=labels.dimension)
        return [Reading(cls.plain, derive, texts=partial(texts_of, column=TEXT.name), stated=True)]
