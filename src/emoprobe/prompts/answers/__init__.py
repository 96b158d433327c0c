"""Text answers: what distribution, if any, a model wrote down.

Every answer format has a grammar that accounts for the whole answer. What fits is a distribution with a status, what
does not is a failure with a status: it is counted, and never becomes a label.

`parse_answer` reads an answer in this order:

1. Reasoning between ``<think>`` and ``</think>`` (and the like) is taken out. Where it does not end, the answer is
   ``reasoning_cut``. An answer that stopped at its limit of tokens is ``truncated``; neither is parsed.
2. Where the answer marks its end result (``Answer: ...``, ``Final answer: ...``, ``<answer>...</answer>``, at the
   beginning of a line or sentence), only what follows the mark counts. ``Final answer`` wins over ``Answer``. Equal
   marks must say the same: of two different answers nobody knows which one is meant.
3. What is left must fit the grammar of the format, from its first character to its last.
"""

from emoprobe.prompts.answers.formats import FORMATS, AnswerFormat
from emoprobe.prompts.answers.parse import find_label_word, parse_answer
from emoprobe.prompts.answers.result import FAILED, STATUSES, ParsedAnswer

__all__ = ["FAILED", "FORMATS", "STATUSES", "AnswerFormat", "ParsedAnswer", "find_label_word", "parse_answer"]
