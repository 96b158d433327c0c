"""Dictionaries as models write them: JSON, Python, bare words, a comma too many; every character is accounted for.

::

    dictionary = "{" [entry {separator entry} [separator]] "}"      separator: "," ";" or a line end
    entry      = key (":" | "=") value
    key        = quoted text | bare words
    value      = quoted text | bare text | dictionary, where it is the only entry
"""

from __future__ import annotations

import re

Entries = list[tuple[str, str]]

_STRING = r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.|(?<=\w)'(?=\w))*'"
_BLOCK = re.compile(rf"{_STRING}|[{{}}]|[^{{}}\"']+|[\"']")
_ENTRY = re.compile(
    rf"\s*(?P<key>{_STRING}|[^\"',:;={{}}\n]+?)\s*[:=]\s*(?P<value>{_STRING}|[^\"',:;={{}}\n]+?)\s*(?P<end>[,;\n]\s*|\Z)"
)
_WRAPPER = re.compile(rf"\s*(?:{_STRING}|[^\"',:;={{}}\n]+?)\s*[:=]\s*(?P<inner>\{{.*\}})\s*,?\s*", re.DOTALL)


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
    """Keys and values of one dictionary, quotes removed; None if some of it cannot be read."""
    text = text.strip()
    if not (text.startswith("{") and text.endswith("}")):
        return None
    inner = text[1:-1]
    wrapper = _WRAPPER.fullmatch(inner)
    if wrapper:
        return read_dictionary(wrapper["inner"])
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
