"""Dictionaries as models write them: JSON, Python, bare words, a comma too many; every character is accounted for.

::

    dictionary = "{" [entry {separator entry} [separator]] "}"      separator: "," ";" or a line end
    entry      = key (":" | "=") value
    key        = quoted text | bare words
    value      = quoted text | bare text | one dictionary, beside which no number stands
"""

from __future__ import annotations

import re

Entries = list[tuple[str, str]]

REMARKS = {"reason", "reasoning", "explanation", "rationale", "justification", "analysis", "evidence", "description"}
REMARKS |= {"thought", "thoughts", "note", "notes", "comment", "summary"}
"""Keys of what may stand beside an answer, in words."""

_STRING = r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.|(?<=\w)'(?=\w))*'"
_BLOCK = re.compile(rf"{_STRING}|[{{}}]|[^{{}}\"']+|[\"']")
_ENTRY = re.compile(
    rf"\s*(?P<key>{_STRING}|[^\"',:;={{}}\n]+?)\s*[:=]\s*(?P<value>{_STRING}|[^\"',:;={{}}\n]+?)\s*(?P<end>[,;\n]\s*|\Z)"
)
_NUMBER = re.compile(r"[-+~<>≈\s]*[0-9.][0-9.,e+-]*\s*%?\s*")
_INNER = "\0"  # what stands for the inner dictionary


def split_dictionaries(text: str) -> tuple[list[str], list[str]] | None:
    """Outermost dictionaries of a text and what stands around them; None if a brace has no partner."""
    blocks, around, depth, current = [], [], 0, ""
    for match in _BLOCK.finditer(text):
        piece = match[0]
        if piece == "{":
            if depth == 0:
                around.append(current)
                current = ""
            depth += 1
        current += piece
        if piece == "}":
            depth -= 1
            if depth < 0:
                return None
            if depth == 0:
                blocks.append(current)
                current = ""
    return None if depth else (blocks, [*around, current])


def read_dictionary(text: str) -> Entries | None:
    """Keys and values of one dictionary, quotes removed; None if some of it cannot be read.

    Those of a dictionary within it are followed by what stands beside it.
    """
    text = text.strip()
    if not (text.startswith("{") and text.endswith("}")):
        return None
    inner = text[1:-1]
    found = split_dictionaries(inner)
    if found is None or len(found[0]) > 1:
        return None
    if found[0]:
        within, beside = read_dictionary(found[0][0]), _flat(f'"{_INNER}"'.join(found[1]))
        if within is None or beside is None:
            return None
        beside = [(key, value) for key, value in beside if value != _INNER]
        return None if any(_NUMBER.fullmatch(value) for _, value in beside) else within + beside
    return _flat(inner)


def _flat(inner: str) -> Entries | None:
    entries, place = [], 0
    while inner[place:].strip():
        match = _ENTRY.match(inner, place)
        if match is None:
            return None
        entries.append((_unquoted(match["key"]), _unquoted(match["value"])))
        place = match.end()
    return entries


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
