"""The answer formats: how long an answer in each may be, and its grammar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from emoprobe.prompts.answers import cleaning
from emoprobe.prompts.answers.one_label import find_label, parse_label
from emoprobe.prompts.answers.ranking import parse_ranking
from emoprobe.prompts.answers.result import AmbiguousError, ParsedAnswer
from emoprobe.prompts.answers.shares import parse_shares
from emoprobe.prompts.answers.words import Vocabulary, normalise


@dataclass(frozen=True)
class AnswerFormat:
    """What an answer looks like that a prompt asks for.

    Args:
        name: Its name in prompts.
        max_new_tokens: Longest answer, tokens, its end included.
        parse: ``(text, vocabulary, marked=...)`` to what it states; None if it does not fit, an error if it says two
            things.
        has_marks: Whether a mark of the end result is looked for.
        reasons: Whether an answer without a mark is reasoning that has not come to its end.
    """

    name: str
    max_new_tokens: int
    parse: Callable[..., ParsedAnswer | None]
    has_marks: bool = True
    reasons: bool = False


def _continuation(text: str, vocabulary: Vocabulary, *, marked: bool) -> ParsedAnswer | None:
    return find_label(text, vocabulary, marked=marked, sentences=False)


def _after_reasoning(text: str, vocabulary: Vocabulary, *, marked: bool) -> ParsedAnswer | None:
    return parse_label(text, vocabulary, marked=marked, sentences=marked)


# Limits are about twice what ten labels need in the longest usual writing, counted with a tokenizer of 131,000 entries
# in English, Russian and Chinese: 130 tokens for an indented dictionary, 120 for a list of percentages with a lead-in,
# 165 for a ranking with remarks, 8 for a sentence that names a label. Smaller vocabularies need more.
FORMATS = {
    one.name: one
    for one in (
        AnswerFormat("completion", 32, _continuation, has_marks=False),
        AnswerFormat("single_word", 32, parse_label),
        AnswerFormat("lettered_options", 32, parse_label),
        AnswerFormat("open_description", 96, parse_label),
        AnswerFormat("probability_dict", 320, parse_shares),
        AnswerFormat("percentages", 320, partial(parse_shares, percentages=True)),
        AnswerFormat("ranked_list", 320, parse_ranking),
        AnswerFormat("chain_of_thought", 512, _after_reasoning, reasons=True),
    )
}


@lru_cache(maxsize=16)
def _vocabulary(labels: tuple[str, ...], words: tuple[tuple[str, str], ...]) -> Vocabulary:
    return Vocabulary.of(labels, words)


def parse_answer(
    text: str,
    labels: Sequence[str],
    words: Sequence[tuple[str, str]],
    *,
    answer_format: str = "single_word",
    finished: bool = True,
) -> ParsedAnswer:
    """Parse a distribution, a ranking or one label out of an answer; see `emoprobe.prompts.answers` for the rules.

    Args:
        text: The answer.
        labels: Labels in order.
        words: ``(label, word)`` pairs: surface forms and aliases, matched as whole words without case, and letters of
            options, matched as they are written (the word "a" is no option). Label names count as well.
        answer_format: Which of `FORMATS` was asked for.
        finished: Whether the model ended its answer itself.
    """
    form = FORMATS[answer_format]
    vocabulary = _vocabulary(tuple(labels), tuple(words))
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
