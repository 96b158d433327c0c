"""Answers that name one label: a word, the letter of an option, a sentence that says so and nothing else.

::

    answer     = named | "{" key ":" named "}"            key: emotion, label, answer, ...
    named      = word | option | statement
    option     = ["Option"] letter [word of the same label]
    statement  = ["I think"] subject verb [degree] named ["in this recording"] | subject ":" named | degree named
    subject    = the speaker, the voice, the emotion, ...; with "sounds", "seems" or "appears" also a pronoun

A label word in running text (a transcript: "I'm so angry") says nothing about what the model heard in the voice. After
a mark of the end result, lines of prose may follow.
"""

from __future__ import annotations

import re

from emoprobe.prompts.answers.dictionaries import REMARKS, Entries, read_dictionary
from emoprobe.prompts.answers.numbers import find_number
from emoprobe.prompts.answers.result import AmbiguousError, ParsedAnswer, certain
from emoprobe.prompts.answers.words import Vocabulary, bare, is_letter, is_negated

_WRAPPED = re.compile(  # after ":" more was to come
    r"[\s\"'(\[<#•_-]*(?:1[.)]\s+)?(?P<core>.*?)[\s\"')\]>.,;!_\U0001F600-\U0001F637]*", re.DOTALL
)
_LETTER = re.compile(
    r"(?P<named>(?:the )?(?:option|choice|letter|answer|вариант|opción|选项|选)\s*)?"
    r"[(\[]?(?P<letter>[A-Za-z])(?P<after>\W.*)?",
    re.IGNORECASE | re.DOTALL,
)
KEYS = {"emotion", "label", "answer", "final answer", "prediction", "predicted emotion", "class", "option", "choice"}

_OWNER = r"(?:the|this|that|his|her|their|my|a)\s+"
_NOUN = (
    r"(?:speaker|person|voice|speech|audio|recording|clip|sound|tone|utterance|emotion|feeling|mood|"
    r"emotional state|tone of voice|label|answer|choice|option|letter)"
)
_KIND = (
    r"(?:(?:most\s+(?:likely|probable)|main|primary|correct|best|dominant|overall|perceived|expressed|emotional|speaker's|"
    r"person's)\s+)*"
)
_SUBJECT = (
    rf"(?:(?:{_OWNER})?{_KIND}{_NOUN}(?:'s\s+{_NOUN})?"
    rf"(?:\s+(?:of|in|from|by|expressed\s+(?:in|by)|conveyed\s+(?:in|by))\s+{_OWNER}{_NOUN}(?:'s\s+{_NOUN})?)*)"
)
_VERB = (
    r"(?:'s|'re|\s+(?:is|are|was|sounds?|seems?|appears?|feels?))"
    r"(?:\s+(?:to\s+be|feeling|to\s+feel|to\s+sound|as|that\s+of|best\s+described\s+as))?"
)
_DEGREE = (
    r"(?:(?:very|quite|really|extremely|rather|fairly|pretty|somewhat|slightly|clearly|mostly|mainly|probably|likely|"
    r"most\s+likely|a\s+bit|a\s+little)\s+)*"
)
_PLACE = rf"(?:\s+(?:in|from|by|based\s+on|judging\s+by)\s+{_OWNER}{_NOUN})?"
_OPINION = rf"(?:(?:in|from|based\s+on|judging\s+by)\s+{_OWNER}{_NOUN},\s*)?" + (
    r"(?:i(?:\s+would|'d)\s+say\s+(?:that\s+)?|i\s+(?:think|believe)\s+(?:that\s+)?)?"
)
_STATEMENTS = [
    rf"{_OPINION}{_SUBJECT}{_VERB}\s+{_DEGREE}(?P<said>.+?){_PLACE}",
    # "He is sad" may be what was said in the recording; "he sounds sad" speaks of it.
    rf"{_OPINION}(?:he|she|they|it|(?:the|this)\s+(?:man|woman))\s+(?:sounds?|seems?|appears?)"
    rf"(?:\s+to\s+be)?\s+{_DEGREE}(?P<said>.+?){_PLACE}",
    rf"{_SUBJECT}\s*[:=]\s*(?P<said>.+)",
    r"(?:very|quite|really|extremely|rather|fairly|somewhat|slightly)\s+(?P<said>.+)",
    r"(?:der|die)\s+(?:sprecher|sprecherin|person|stimme|mann|frau)\s+(?:ist|klingt|wirkt|scheint)\s+(?:sehr\s+)?(?P<said>.+)",
    r"(?:la|le)\s+(?:locuteur|locutrice|personne|voix)\s+(?:est|semble|paraît)\s+(?:très\s+)?(?P<said>.+)",
    r"(?:el|la)\s+(?:hablante|persona|voz)\s+(?:está|suena|parece)\s+(?:muy\s+)?(?P<said>.+)",
    r"(?:говорящий|голос|человек|диктор)\s+(?:звучит\s+)?(?:очень\s+)?(?P<said>.+)",
    r"(?:说话者|说话人|讲话者|声音|他|她)(?:的(?:情绪|声音|语气|情感))?(?:听起来|显得|感到|感觉|是|:)?(?:很|非常)?(?P<said>.+?)的?",
]
_STATEMENT = [re.compile(pattern, re.IGNORECASE | re.DOTALL) for pattern in _STATEMENTS]


def parse_label(
    text: str, vocabulary: Vocabulary, *, marked: bool = False, sentences: bool = True
) -> ParsedAnswer | None:
    """`find_label` of an answer that was to name one label.

    Raises:
        AmbiguousError: Two labels are named, one is denied, or a letter and a word contradict each other.
    """
    found = find_label(text, vocabulary, marked=marked, sentences=sentences)
    if found is None:
        named = vocabulary.mentioned(text)
        letters = {letter for letter in re.findall(r"\b[A-Z]\b", text) if letter in vocabulary.letters}
        if len(named) > 1 or len(letters) > 1 or (named and is_negated(text)):
            raise AmbiguousError
    return found


def find_label(
    text: str, vocabulary: Vocabulary, *, marked: bool = False, sentences: bool = True
) -> ParsedAnswer | None:
    """The one label that an answer names; None if it does not fit the grammar.

    Args:
        text: The answer.
        vocabulary: Words and letters of the labels.
        marked: Whether it was marked as the end result: then lines of prose may follow its first.
        sentences: Whether statements and dictionaries count, or only the label itself.

    Raises:
        AmbiguousError: A letter and a word contradict each other, or of a scale there are two numbers.
    """
    if vocabulary.points:
        return find_number(text, vocabulary, marked=marked, sentences=sentences)
    label = _named(text, vocabulary, sentences)
    if label is None and sentences and "{" in text:
        label = _keyed(text, vocabulary)
    if label is None and marked:
        first, _, rest = text.partition("\n")
        label = _named(first, vocabulary, sentences)
        label = label if label is not None and vocabulary.is_prose(rest, (label,)) else None
    return None if label is None else certain(label, vocabulary.size)


def choice(text: str, vocabulary: Vocabulary) -> int | None:
    """The label of a text that is one word or option and nothing else: ``happy``, ``B``, ``(B)``, ``B. happy``.

    Of a scale, the point that it is: ``3``, ``three``.

    Raises:
        AmbiguousError: A letter and a word contradict each other, or of a scale there are two numbers.
    """
    if vocabulary.points:
        number = vocabulary.number(text.strip())
        return vocabulary.points.index(number) if number in vocabulary.points else None
    core = _core(text)
    label = vocabulary.find(core) if _is_words(core) else None
    return _option(core, vocabulary) if label is None else label


def _core(text: str) -> str:
    """A text without the signs around it; every text has such a core."""
    wrapped = _WRAPPED.fullmatch(text)
    return wrapped["core"] if wrapped else text


def _is_words(text: str) -> bool:
    """Whether a text holds letters and what joins them: signs such as "≠" or "?" would change what a word says."""
    return not text.endswith("-") and not re.search(r"[^\w\s'.\u0300-\u036f\u0900-\u0dff\u0e00-\u0eff-]", text)


def _option(core: str, vocabulary: Vocabulary) -> int | None:
    match = _LETTER.fullmatch(core)
    if match is None:
        return None
    letter = match["letter"].upper() if match["named"] else match["letter"]
    if letter not in vocabulary.letters:
        return None
    label, rest = vocabulary.letters[letter], _core(match["after"] or "")
    if not rest:
        return None if "?" in core else label
    other = vocabulary.letters.get(rest) if is_letter(rest) else vocabulary.find(rest)
    if other is not None and other != label:
        raise AmbiguousError
    return other


def _named(text: str, vocabulary: Vocabulary, sentences: bool) -> int | None:
    label = choice(text, vocabulary)
    if label is not None or not sentences:
        return label
    core = _core(text)
    for statement in _STATEMENT:
        match = statement.fullmatch(core)
        label = choice(match["said"], vocabulary) if match else None
        if label is not None:
            return label
    return None


def _keyed(text: str, vocabulary: Vocabulary) -> int | None:
    """The label of ``{"emotion": "angry"}``; remarks beside it are words only."""
    entries: Entries | None = read_dictionary(text)
    if entries is None:
        return None
    said = [value for key, value in entries if bare(key) in KEYS]
    others = [key for key, _ in entries if bare(key) not in KEYS | REMARKS]
    return choice(said[0], vocabulary) if len(said) == 1 and not others else None
