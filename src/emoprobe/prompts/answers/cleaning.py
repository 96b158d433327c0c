"""What stands around an answer: reasoning, marks of the end result, Markdown, special tokens, refusals."""

from __future__ import annotations

import re

_THOUGHT = r"think|thinking|thoughts?|reasoning|reflection|analysis|scratchpad"
_OPEN = re.compile(
    rf"<(?:seed:)?(?:{_THOUGHT})>|\[(?:{_THOUGHT})\]|◁(?:{_THOUGHT})▷|<\|(?:begin_of|start)_(?:{_THOUGHT})\|>",
    re.IGNORECASE,
)
_CLOSE = re.compile(
    rf"</(?:seed:)?(?:{_THOUGHT})>|\[/(?:{_THOUGHT})\]|◁/(?:{_THOUGHT})▷|<\|end(?:_of)?_(?:{_THOUGHT})\|>",
    re.IGNORECASE,
)
_CHANNEL, _FINAL_CHANNEL = "<|channel|>", "<|channel|>final<|message|>"
_TAG = re.compile(r"<(answer|response)>(?P<said>.*)</\1>\s*\Z", re.IGNORECASE | re.DOTALL)
_BEGINNING = re.compile(r"\A(?:\s*<\|[^<>|]+\|>)+")
_SPECIAL = re.compile(r"(?<!\s)(?:\s*+(?:<\|[^<>|]+\|>|</?s>|<(?:eos|bos|pad|unk|end_of_turn|eot|endoftext)>))+\s*\Z")
_MARKDOWN = re.compile(r"```\w*|[*`]")
_TYPESET = re.compile(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}")
_BOX = re.compile(r"(?:\$+|\\[(\[])?\s*\\boxed\s*\{([^{}]*)\}\s*(?:\$+|\\[)\]])?")

_ANSWER = "answer|antwort|réponse|respuesta|risposta|resposta|ответ|答案|回答|答え"
_MARK = re.compile(
    r"(?:^|[.!?;:,)\n])[\s#>_-]*(?:(?:so|thus|therefore|hence)\b[,\s]*)?(?:(?:the|my)\s+)?"
    rf"(?P<final>final\s+|最终)?(?:{_ANSWER})(?:(?:\s+is)?[\s_]*:|[ _]*(?=\n))",
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
    Of an answer in channels only the final one counts.

    Raises:
        ReasoningCutError: It is opened and not closed.
    """
    _, is_final, final = text.rpartition(_FINAL_CHANNEL)
    if not is_final and _CHANNEL in text:
        raise ReasoningCutError
    text = final if is_final else text
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
    """A text without special tokens at its ends, Markdown, boxes of TeX, blank lines and runs of spaces."""
    text = _BOX.sub(r" \1 ", _TYPESET.sub(r"\1", _BEGINNING.sub("", _SPECIAL.sub("", text))))
    text = re.sub(r"[^\S\n]+", " ", _MARKDOWN.sub(" ", text))
    return re.sub(r" ?\n\s*", "\n", text).strip()


def marked_answers(text: str) -> list[str]:
    """What follows the marks of an end result, each to the next; empty without a mark.

    A mark begins a line or a sentence. Where one of them says that it is final, only such count.
    """
    tagged = _TAG.search(text)
    if tagged:
        return [tagged["said"].strip()]
    marks = list(_MARK.finditer(text))
    if any(mark["final"] for mark in marks):
        marks = [mark for mark in marks if mark["final"]]
    ends = [*(mark.start() for mark in marks), len(text)][1:]
    return [text[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True)]


def is_refusal(text: str) -> bool:
    """Whether a text says that it does not answer."""
    return _REFUSAL.search(text) is not None
