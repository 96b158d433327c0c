"""Parse an answer in the format that it was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from emoprobe.prompts.answers import cleaning
from emoprobe.prompts.answers.formats import FORMATS
from emoprobe.prompts.answers.result import AmbiguousError, ParsedAnswer
from emoprobe.prompts.answers.words import Vocabulary, normalise


@lru_cache(maxsize=16)
def _vocabulary(
    labels: tuple[str, ...], words: tuple[tuple[str, str], ...], dimension: str | None = None
) -> Vocabulary:
    return Vocabulary.of(labels, words, dimension)


def parse_answer(
    text: str,
    labels: Sequence[str],
    words: Sequence[tuple[str, str]],
    *,
    answer_format: str = "single_word",
    finished: bool = True,
    dimension: str | None = None,
) -> ParsedAnswer:
    """Parse a distribution, a ranking or one label out of an answer; see `emoprobe.prompts.answers` for the rules.

    Args:
        text: The answer.
        labels: Labels in order.
        words: ``(label, word)`` pairs: surface forms and aliases, matched as whole words without case, and letters of
            options, matched as they are written (the word "a" is no option). Label names count as well.
        answer_format: Which of `FORMATS` was asked for.
        finished: Whether the model ended its answer itself.
        dimension: What the labels are points of, where they are a scale.

    Raises:
        InputError: There is no such format; a package that brought it may be missing.

    >>> parse_answer("The speaker sounds happy.", ["happy", "sad"], [("happy", "joyful")])
    ParsedAnswer(status='single_label', shares=(1.0, 0.0), label_mass=1.0)
    """
    form = FORMATS.find(answer_format, "answer_format")
    vocabulary = _vocabulary(tuple(labels), tuple(words), dimension)
    try:
        said = cleaning.without_markup(cleaning.without_reasoning(normalise(text)))
    except cleaning.ReasoningCutError:
        return ParsedAnswer("reasoning_cut")
    marked = cleaning.marked_answers(said) if form.has_marks else []
    if not finished:
        return ParsedAnswer("reasoning_cut" if form.reasons and not marked else "truncated")
    try:
        read = [form.parse(part, vocabulary, marked=bool(marked)) for part in marked or [said]]
        if any(one != read[0] for one in read):
            raise AmbiguousError
    except AmbiguousError:
        return ParsedAnswer("refused" if cleaning.is_refusal(said) else "ambiguous")
    if read[0] is None:
        return ParsedAnswer("refused" if cleaning.is_refusal(said) else "unparsed")
    return read[0]


def find_label_word(text: str, labels: Sequence[str], words: Sequence[tuple[str, str]]) -> int | None:
    """Where an answer first writes a label, whatever it says of it: index of the first letter; None if it writes none.

    Args:
        text: The answer. Reasoning before it does not count; what it does not end, or has in its midst, has no place.
        labels: Labels in order.
        words: As of `parse_answer`.

    >>> find_label_word("<think>sad?</think> It sounds Joyful.", ["happy", "sad"], [("happy", "joyful")])
    30
    """
    try:
        said = cleaning.without_reasoning(text)
    except cleaning.ReasoningCutError:
        return None
    start, place = text.rfind(said), _vocabulary(tuple(labels), tuple(words)).place(said)
    return None if start < 0 or place is None else start + place
