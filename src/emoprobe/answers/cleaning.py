"""What stands around an answer: reasoning, marks of the end result, Markdown, special tokens, refusals."""

from __future__ import annotations

import re

_THOUGHT = r"think|thinking|thoughts?|reasoning|reflection|analysis|scratchpad"
_OPEN = re.compile(rf"<(?:{_THOUGHT})>|\[(?:{_THOUGHT})\]|<\|begin_of_(?:{_THOUGHT})\|>", re.IGNORECASE)
_CLOSE = re.compile(rf"</(?:{_THOUGHT})>|\[/(?:{_THOUGHT})\]|<\|end_of_(?:{_THOUGHT})\|>", re.IGNORECASE)
_TAG = re.compile(r"<answer>(.*)</answer>\s*\Z", re.IGNORECASE | re.DOTALL)
_SPECIAL = re.compile(r"(?<!\s)(?:\s*+(?:<\|[^<>|]+\|>|</?s>|<(?:eos|bos|pad|unk|end_of_turn|eot|endoftext)>))+\s*\Z")
_MARKDOWN = re.compile(r"```\w*|[*`]")

_ANSWER = "answer|antwort|réponse|respuesta|risposta|resposta|ответ|答案|回答|答え"
_MARK = re.compile(
    r"(?:^|[.!?;:,)\n])[\s#>_-]*(?:(?:so|thus|therefore|hence)\b[,\s]*)?(?:(?:the|my)\s+)?"
    rf"(?P<final>final\s+|最终)?(?:{_ANSWER})(?:\s+is)?[\s_]*:",
    re.IGNORECASE,
)

_REFUSAL = re.compile(
    r"\bi (?:can(?:no|')t|can not|could not|am unable|am not able|'m unable|'m not able|won't|do not|don't)(?: to)?"
    r"(?: \w+)? (?:determine|tell|assess|identify|detect|recogni[sz]e|infer|classify|judge|analy[sz]e|provide|answer|"
    r"assist|process|access|have the (?:ability|capability)|have access|hear (?:any|the) (?:audio|sound|recording))\b|"
    r"\bas an? (?:ai|(?:large )?language model)\b|\bi'?m sorry\b|\bi am sorry\b|\bi apologi[sz]e\b|"
    r"\b(?:unable|not (?:able|possible)|impossible) to (?:determine|tell|assess|identify|judge)\b|"
    r"\bcan(?:no|')t be (?:determined|assessed|identified)\b",
    re.IGNORECASE,
)


class ReasoningCutError(Exception):
    """Reasoning was begun and not ended, so that there is no answer."""


def without_reasoning(text: str) -> str:
    """A text without what stands between the marks of reasoning.

    Where reasoning is closed that was not opened, all before it is reasoning: chat templates may open it in the prompt.

    Raises:
        ReasoningCutError: It is opened and not closed.
    """
    marks = [(mark, 1) for mark in _OPEN.finditer(text)] + [(mark, -1) for mark in _CLOSE.finditer(text)]
    said, depth, place = [], 0, 0
    for mark, step in sorted(marks, key=lambda pair: pair[0].start()):
        if depth == 0:
            said.append(text[place : mark.start()])
            if step < 0:
                said.clear()
        depth = max(0, depth + step)
        place = mark.end()
    if depth:
        raise ReasoningCutError
    return "\n".join([*said, text[place:]]).strip()


def without_markup(text: str) -> str:
    """A text without special tokens at its end, Markdown, blank lines and runs of spaces."""
    text = re.sub(r"[^\S\n]+", " ", _MARKDOWN.sub(" ", _SPECIAL.sub("", text)))
    return re.sub(r" ?\n\s*", "\n", text).strip()


def marked_answers(text: str) -> list[str]:
    """What follows the marks of an end result, each to the next; empty without a mark.

    A mark begins a line or a sentence. Where one of them says that it is final, only such count.
    """
    tagged = _TAG.search(text)
    if tagged:
        return [tagged[1].strip()]
    marks = list(_MARK.finditer(text))
    if any(mark["final"] for mark in marks):
        marks = [mark for mark in marks if mark["final"]]
    ends = [*(mark.start() for mark in marks), len(text)][1:]
    return [text[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True)]


def is_refusal(text: str) -> bool:
    """Whether a text says that it does not answer."""
    return _REFUSAL.search(text) is not None
