"""A ranking of labels: a list numbered from 1, the best first; with remarks, it takes 165 tokens.

::

    answer = [prose] entry {entry} [prose lines]
    entry  = n ("." | ")" | ":") named [remark]      remark: prose after ":", "-" or in brackets

If every entry has a number in its remark, these are the shares, and the ranks must not contradict them. Ranks beside
shares are ambiguous. Words that are no labels keep their rank.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise

from emoprobe.prompts.answers.formats import register
from emoprobe.prompts.answers.one_label import choice
from emoprobe.prompts.answers.result import AmbiguousError, ParsedAnswer, certain
from emoprobe.prompts.answers.shares import NUMBER, Written, distribution, parse_shares
from emoprobe.prompts.answers.words import Vocabulary, has_number
from emoprobe.prompts.answers.writing import write_ranking

_ENTRY = re.compile(r"(?:^|(?<=[\s,;(]))([0-9]{1,2})[.):][ \t]*+(?![0-9])")
_PARTS = re.compile(r"(?P<named>.*?)\s*(?:[:(]|\s-\s)(?P<remark>.*)", re.DOTALL)
_SHARE = re.compile(rf"[\s\"']*{NUMBER}[\s\"')\]]*", re.IGNORECASE)
_WORDS = re.compile(r"[^\W\d_]+(?:[ '-][^\W\d_]+){0,2}")


@register("ranked_list", max_new_tokens=320, write=write_ranking)
def parse(text: str, vocabulary: Vocabulary, *, marked: bool = False) -> ParsedAnswer | None:
    """Shares of ranks or the shares beside them, the one label of a list of one, or what `parse_shares` reads.

    Raises:
        AmbiguousError: A label has two ranks, or ranks and shares are mixed.
    """
    before, *parts = _ENTRY.split(text)
    numbers, entries = [int(number) for number in parts[::2]], parts[1::2]
    if not entries:
        return parse_shares(text, vocabulary, marked=marked)
    *entries, last = entries
    last, _, after = last.strip().partition("\n")
    if numbers != list(range(1, len(numbers) + 1)):
        return None
    read = [_split(entry.strip(" \t\r\n,;"), vocabulary) for entry in (*entries, last)]
    split = [entry for entry in read if entry is not None]
    if len(split) != len(read):
        return None
    shares = [share for _, share in split if share]
    if shares:
        if len(shares) != len(split):
            raise AmbiguousError
        parsed = _with_shares(shares, vocabulary)
    else:
        parsed = _from_ranks([named for named, _ in split], vocabulary)
    agreed = parsed is not None and (parsed.shares is None or vocabulary.agrees((before, after), parsed.shares))
    return parsed if agreed else None


def _split(entry: str, vocabulary: Vocabulary) -> tuple[str, Written | None] | None:
    """What an entry names, and the number beside it; None if something else stands there."""
    parts = _PARTS.fullmatch(entry)
    if choice(entry, vocabulary) is not None or parts is None:
        return (entry, None) if not has_number(entry) else None
    named, remark = parts["named"], parts["remark"]
    share = _SHARE.fullmatch(remark)
    if share:
        return named, Written(named, share["number"], bool(share["percent"]))
    label = choice(named, vocabulary)
    return (named, None) if vocabulary.is_prose(remark, () if label is None else (label,)) else None


def _with_shares(shares: Sequence[Written], vocabulary: Vocabulary) -> ParsedAnswer | None:
    values = [share.value for share in shares]
    if any(first < second for first, second in pairwise(values)):
        raise AmbiguousError
    return distribution(shares, vocabulary)


def _from_ranks(entries: Sequence[str], vocabulary: Vocabulary) -> ParsedAnswer | None:
    """Shares proportional to 1 / rank over the labels; all ranks count for the mass on labels."""
    labels = [choice(entry, vocabulary) for entry in entries]
    known = [label for label in labels if label is not None]
    if len(known) != len(set(known)):
        raise AmbiguousError
    others = [entry for entry, label in zip(entries, labels, strict=True) if label is None]
    for entry in others:
        if not _WORDS.fullmatch(entry.strip(" .\"'")) or vocabulary.begins(entry) or not vocabulary.is_prose(entry):
            return None
    if len(labels) == 1 and known:
        return certain(known[0], vocabulary.size)
    if len(known) < 2:
        return None
    weights = [0.0] * vocabulary.size
    for rank, label in enumerate(labels, 1):
        if label is not None:
            weights[label] = 1 / rank
    total = math.fsum(weights)
    mass = total / math.fsum(1 / rank for rank in range(1, len(labels) + 1))
    return ParsedAnswer("ranked", tuple(weight / total for weight in weights), mass)
