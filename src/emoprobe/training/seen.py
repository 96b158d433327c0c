"""What a trained head has heard, and which clips it may therefore not be judged on.

A clip is known by the SHA-256 of its sound, whatever file names or ids it bears. A speaker is known where one of his
or her clips was heard; and by name in a published corpus, whose speakers have the same names wherever it lies. The
name of a manifest is only that of its file, which strangers share: it says nothing about its speakers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from emoprobe.data.corpora.huggingface import CARD as HUGGINGFACE
from emoprobe.data.corpora.manifest import CARD as MANIFEST
from emoprobe.data.prepare import Item
from emoprobe.data.utterance import Corpus, CorpusCard, Skipped, Utterance
from emoprobe.errors import InputError

SEEN, SEEN_SPEAKER = "seen_in_training", "speaker_seen_in_training"
OWN = (MANIFEST.citation, HUGGINGFACE.citation)
WHY = {SEEN: "the head was trained on this sound", SEEN_SPEAKER: "the head was trained on this speaker"}


def identity(card: CorpusCard) -> str | None:
    """What tells a published corpus from all others; None for tables of anybody's own."""
    return None if card.citation in OWN else f"{card.name}: {card.title}"


def seen_facts(card: CorpusCard, items: Iterable[Item], sounds: Mapping[str, str]) -> dict:
    """What a bundle says of the clips that it was fitted and developed on, JSON values.

    Args:
        card: Their corpus.
        items: The clips.
        sounds: Id -> SHA-256 of the sound file, hexadecimal.
    """
    known = [item.utterance for item in items]
    return {
        "corpus": identity(card),
        "corpus_name": card.name,
        "speakers": sorted({utterance.speaker for utterance in known if utterance.speaker}),
        "utterances": sorted(utterance.id for utterance in known if not utterance.speaker),
        "sounds": sorted({sounds[utterance.id] for utterance in known}),
    }


def divide_seen(seen: Mapping, corpus: Corpus, items: Sequence[Item]) -> tuple[list[Item], list[Skipped]]:
    """Clips that a head may be judged on, and those that it has heard, or whose speakers.

    Args:
        seen: What `seen_facts` said when it was trained.
        corpus: The corpus that it is to be judged on, whole: it shows which speakers were heard.
        items: The clips to be evaluated.
    """
    sounds, named = set(seen["sounds"]), seen["corpus"] is not None and seen["corpus"] == identity(corpus.card)
    evaluated = [item.utterance for item in items]
    heard = {utterance.id for utterance in evaluated if _sha256(utterance.audio) in sounds}
    speakers = {utterance.speaker for utterance in evaluated if utterance.id in heard} - {None}
    if named:
        speakers |= set(seen["speakers"])
        heard |= {utterance.id for utterance in evaluated if utterance.id in seen["utterances"]}
    else:
        unknown = {utterance.speaker for utterance in evaluated} - speakers - {None}
        for utterance in corpus.utterances:  # clips that are not evaluated, but were heard
            if utterance.speaker in unknown and _sha256(utterance.audio) in sounds:
                speakers.add(utterance.speaker)
                unknown.remove(utterance.speaker)

    kept, skipped = [], []
    for item in items:
        utterance = item.utterance
        if utterance.id in heard:
            skipped.append(left_out(utterance, SEEN))
        elif utterance.speaker in speakers:
            skipped.append(left_out(utterance, SEEN_SPEAKER))
        else:
            kept.append(item)
    return kept, skipped


def leave_out_seen(seen: Mapping, corpus: Corpus, items: Sequence[Item]) -> tuple[list[Item], list[Skipped]]:
    """`divide_seen` where only the former are evaluated.

    Raises:
        InputError: None is left.
    """
    kept, skipped = divide_seen(seen, corpus, items)
    if items and not kept:
        raise InputError(
            f"the head was trained on the sound or the speakers of all {len(items)} clips",
            field="head.path",
            remedy="Evaluate other clips, or use head.seen=evaluate and say so.",
        )
    return kept, skipped


def left_out(utterance: Utterance, reason: str) -> Skipped:
    """The row of ``skipped.csv``."""
    return Skipped(utterance.id, reason, WHY[reason], str(utterance.file or ""), utterance.row)


def _sha256(audio: Path) -> str | None:
    """Of a file's bytes, hexadecimal, as the feature cache names sounds; None if it cannot be read."""
    try:
        with audio.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
