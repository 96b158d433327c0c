"""What readers of collections of corpora share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from emoprobe.data.reading.files import open_root
from emoprobe.data.utterance import CorpusCard, Total
from emoprobe.errors import InputError


def list_names(folder: Path) -> list[str]:
    """Sorted names in a folder; none where it cannot be listed."""
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError):
        return []


def corpus_folder(root: Path, card: CorpusCard, corpus: str, signs: Sequence[str]) -> Path:
    """``root/<corpus>`` or ``root/data/<corpus>``, whatever the case.

    Args:
        root: Top folder of the collection.
        card: Of the collection.
        corpus: Name of the corpus.
        signs: Folders of which a corpus has at least one.

    Raises:
        InputError: The folder is not the collection, or it has no such corpus.
    """
    found = {}
    for data in (root / "data", root):
        for name in list_names(data):
            if any(os.path.isdir(data / name / sign) for sign in signs):
                found[name.lower()] = data / name
    if not found:
        open_root(root, card, f"data/{corpus}/{signs[0]}", *(f"{corpus}/{sign}" for sign in signs))
    if corpus.strip().lower() not in found:
        raise InputError(
            f"there is no corpus {corpus!r:.80}",
            file=root,
            field="dataset.corpus",
            remedy=f"Use one of {', '.join(sorted(path.name for path in found.values()))}.",
        )
    return found[corpus.strip().lower()]


def clip_totals(titles: Mapping[str, int], source: str) -> tuple[Total, ...]:
    """Totals of clips for readers of several corpora: card title -> clips; others than the corpus read say nothing."""

    def total(title: str, expected: int) -> Total:
        clips = f"clips of {title}"
        return Total(clips, expected, lambda read: len(read.utterances) if read.card.title == title else None, source)

    return tuple(total(title, expected) for title, expected in titles.items())
