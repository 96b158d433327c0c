"""A dictionary of probabilities that the model can only fill in, beside what it writes of its own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from emoprobe.beliefs.reading import Reading
from emoprobe.labels import LabelSet
from emoprobe.options import options
from emoprobe.readout.base import READOUTS, AnswerReadout
from emoprobe.readout.scoring.asking import Asking
from emoprobe.readout.written import FINISHED, TEXT, known_words, texts_of, written_text

if TYPE_CHECKING:
    from emoprobe.models.answering import AnsweringModel, AudioContext
    from emoprobe.readout.scoring.plan import PromptPlan

FREE = pa.field("free_text", pa.string())
FREE_FINISHED = pa.field("free_finished", pa.bool_())
"""What the model wrote of its own, beside the filled dictionary that stands as the generated text."""
SHARES = tuple(f"{i / 20:.2f}" for i in range(21))  # what the dictionary may say of a label


@READOUTS.register("constrained_text")
@options("readout.constrained_text")
class ConstrainedText(AnswerReadout):
    """A dictionary of probabilities that the model fills in, label by label, in steps of .05; always well formed.

    The keys are given and each number is the likeliest of 21 after what stands before it, so the text always parses.
    What the model writes of its own, as long as ``max_new_tokens``, is stored beside it: how often that parses is still
    reported.
    """

    name = "constrained_text"
    channel = "text"
    columns = (TEXT, FINISHED, FREE, FREE_FINISHED)
    place = 6
    plain = "constrained"

    def ask(self, asking: Asking) -> list[list[dict[str, Any]]]:
        """The constrained text, and the model's own."""
        own = asking.answers(self.limit)
        found: list[list[dict[str, Any]]] = [[] for _ in asking.plans]
        for clip in range(asking.context.size):
            context = asking.alone(clip)
            for i, plan in enumerate(asking.plans):
                filled = {TEXT.name: fill_dictionary(asking.sfm, context, plan), FINISHED.name: True}
                found[i].append(filled | {FREE.name: own[i][clip].text, FREE_FINISHED.name: own[i][clip].finished})
        return found

    @classmethod
    def read(cls, rows: pa.Table, labels: LabelSet, options: None) -> list[Reading]:
        """Two readings: ``constrained``, the filled dictionary, and ``free``, the model's own text."""
        words = known_words(labels)
        parse = partial(written_text, labels=labels.labels, words=words, dimension=labels.dimension)
        filled = partial(parse, form="probability_dict")
        own = partial(parse, column=FREE.name, ended=FREE_FINISHED.name)
        return [
            Reading(cls.plain, filled, texts=partial(texts_of, column=TEXT.name), stated=True),
            Reading("free", own, texts=partial(texts_of, column=FREE.name), stated=True),
        ]


def fill_dictionary(sfm: AnsweringModel, context: AudioContext, plan: PromptPlan) -> str:
    """``{"angry": 0.30, ...}``: for each label the number that is likeliest after what stands before it."""
    import torch

    text = "{"
    words = dict(zip(plan.labels, plan.forms, strict=True))
    for i, label in enumerate(words):
        text += f'"{words[label]}": '
        closing = "}" if i == len(words) - 1 else ","
        question = sfm.extend(plan.free, (), text.rstrip(), [f" {share}{closing}" for share in SHARES])
        # Without the end token: more text follows a comma.
        values = [tokens[0, :-1].double().sum() for tokens in sfm.score(context, [question])[0]]
        text += SHARES[int(torch.stack(values).argmax())] + closing + (" " if closing == "," else "")
    return text
