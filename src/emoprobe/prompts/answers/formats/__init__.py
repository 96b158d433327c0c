"""The answer formats: one file each, with how long an answer may be and its grammar.

A new format is one file here, or in a package of your own (see `emoprobe.registry`)::

    @register("two_words", max_new_tokens=16)
    def parse(text: str, vocabulary: Vocabulary, *, marked: bool) -> ParsedAnswer | None: ...

and one prompt config that asks for it (``format: two_words`` beside its instruction). What formats share of their
grammars is in the modules above.

Limits are about twice what ten labels need in the longest usual writing, counted with a tokenizer of 131,000 entries in
English, Russian and Chinese. Smaller vocabularies need more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from emoprobe.prompts.answers.result import ParsedAnswer
from emoprobe.registry import Registry

Parse = Callable[..., ParsedAnswer | None]
Write = Callable[..., str]
Scaled = Literal["never", "too", "only"]


@dataclass(frozen=True)
class AnswerFormat:
    """What an answer looks like that a prompt asks for.

    Args:
        max_new_tokens: Longest answer, tokens, its end included.
        parse: ``(text, vocabulary, marked=...)`` to what it states; None if it does not fit, an error if it says two
            things.
        has_marks: Whether a mark of the end result is looked for.
        reasons: Whether an answer without a mark is reasoning that has not come to its end.
        write: ``(shares, words, draw, step)`` to the answer that states these shares, see
            `emoprobe.prompts.answers.writing`; None of a format in which models are not taught to answer.
        scale: Whether it reads labels that are the points of a scale: ``never``, ``too``, or ``only`` such.
    """

    max_new_tokens: int
    parse: Parse
    has_marks: bool = True
    reasons: bool = False
    write: Write | None = None
    scale: Scaled = "never"


FORMATS: Registry[AnswerFormat] = Registry("answer format", "emoprobe.prompts.answers.formats")


def register(
    name: str,
    max_new_tokens: int,
    *,
    has_marks: bool = True,
    reasons: bool = False,
    write: Write | None = None,
    scale: Scaled = "never",
) -> Callable[[Parse], Parse]:
    """Decorator of a format's parser: prompts ask for it by this name; see `AnswerFormat`.

    Raises:
        ValueError: Another format has the name.
    """

    def add(parse: Parse) -> Parse:
        FORMATS.register(name)(AnswerFormat(max_new_tokens, parse, has_marks, reasons, write, scale))
        return parse

    return add
