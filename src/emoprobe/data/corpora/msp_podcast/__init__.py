"""MSP-Podcast in the layouts of its releases (Lotfian and Busso 2019): every clip with the ratings of its workers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.corpora.msp_podcast.card import CARD, NO_AGREEMENT
from emoprobe.data.corpora.msp_podcast.facts import read_consensus, read_partition
from emoprobe.data.corpora.msp_podcast.ratings import read_blocks, read_csv, read_json
from emoprobe.data.corpora.msp_podcast.release import SKIP_CLIP, Clip, Release
from emoprobe.data.files import RESTORE, Harvest, RowError, SoundFolder, open_root, text_lines
from emoprobe.data.utterance import Corpus, Utterance
from emoprobe.errors import InputError

LABELS = {
    "detailed_csv": "labels_detailed.csv",
    "detailed_json": "labels_detailed.json",
    "blocks": "labels.txt",
}
_CONSENSUS_FILES = ("labels_consensus.csv", "labels_concensus.csv")
_PARTITION_FILES = ("partitions.txt", "partition.txt")


@register("msp_podcast", CARD)
def read_msp_podcast(
    root: str | Path,
    labels: Literal["auto", "detailed_csv", "detailed_json", "blocks"] = "auto",
    consensus_only: bool = False,
    transcripts: bool = False,
    on_error: Literal["error", "skip"] = "error",
) -> Corpus:
    """Read clips, ratings and splits; sound is not decoded and may be missing.

    Args:
        root: Folder with ``Labels/`` and ``Audios/``; the label files may lie in it, too.
        labels: Where ratings come from: ``detailed_csv`` (``labels_detailed.csv``), ``detailed_json``
            (``labels_detailed.json``), ``blocks`` (``labels.txt``), or ``auto``: the first of these that is there.
        consensus_only: Read no ratings; the consensus label is the one vote of every clip, where there is one.
        transcripts: Read ``Transcripts/<clip>.txt``, one small file per clip, where it is there.
        on_error: ``error``, or ``skip`` to list bad rows, leave their clips out, and go on.

    Returns:
        Corpus in the order of ``labels_consensus.csv`` or, without it, of ``labels.txt``, then clips that only the
        partition file names. Clips without ratings, such as those of test3, have no votes. ``metadata`` holds, where
        known, consensus (or ``no_agreement``), gender, and the mean valence, arousal and dominance, from 1 to 7.

    Raises:
        InputError: The folder is not MSP-Podcast, a file is damaged, or a row is malformed.
    """
    harvest = Harvest(CARD, on_error)
    if labels not in ("auto", *LABELS):
        remedy = f"Use one of auto, {', '.join(LABELS)}."
        raise InputError(f"unknown labels {labels!r}", field="dataset.labels", remedy=remedy)
    for name, value in (("consensus_only", consensus_only), ("transcripts", transcripts)):
        if not isinstance(value, bool):
            what = f"{value!r} is neither true nor false"
            raise InputError(what, field=f"dataset.{name}", remedy="Use true or false.")
    root = open_root(root, CARD)
    found = _label_files(root)
    consensus = next((found[name] for name in _CONSENSUS_FILES if name in found), None)
    if consensus is None and LABELS["blocks"] not in found:
        open_root(root, CARD, f"Labels/{_CONSENSUS_FILES[0]}", f"Labels/{LABELS['blocks']}")
    if consensus and consensus_only:
        ratings, listing = None, consensus
    else:
        ratings = _ratings_file(root, found, labels, consensus)
        listing = consensus or ratings
    release = Release(harvest, listing)
    if consensus:
        read_consensus(consensus, release)
    if ratings:
        kind = next(kind for kind, name in LABELS.items() if name == ratings.name.lower())
        read = {"detailed_csv": read_csv, "detailed_json": read_json, "blocks": read_blocks}[kind]
        read(ratings, release)
        if not consensus_only and not any(clip.ratings for clip in release.clips.values()):
            remedy = harvest.skipped[0].message if harvest.skipped else f"{RESTORE}."
            raise InputError("there is no usable rating of any clip", file=ratings, remedy=remedy)
    partition = next((found[name] for name in _PARTITION_FILES if name in found), None)
    if partition:
        read_partition(partition, release)
    sounds = _Sounds(root)
    texts = SoundFolder(root, (".txt",)) if transcripts else None
    for clip_id in list(release.clips):
        clip = release.clips.pop(clip_id)
        if clip_id not in release.broken:
            with harvest.row(clip_id):
                harvest.add(_utterance(clip_id, clip, consensus_only, sounds, texts))
    return harvest.corpus(release.listing)


def _label_files(root: Path) -> dict[str, Path]:
    """Name in lower case -> file, of ``Labels/`` and of the root."""
    found: dict[str, Path] = {}
    for folder in (root, root / "Labels"):
        try:
            found |= {name.lower(): folder / name for name in sorted(os.listdir(folder), reverse=True)}
        except (OSError, ValueError):
            continue
    return found


def _ratings_file(root: Path, found: dict[str, Path], labels: str, consensus: Path | None) -> Path:
    # Only the blocks say by themselves which clips there are and what is the consensus.
    if consensus is None and labels not in ("auto", "blocks"):
        raise InputError(
            "the list of clips is missing",
            file=root / "Labels" / _CONSENSUS_FILES[0],
            remedy=f"{RESTORE}, or read {LABELS['blocks']}: dataset.labels=blocks.",
        )
    kinds = ["blocks"] if consensus is None else list(LABELS) if labels == "auto" else [labels]
    for kind in kinds:
        if LABELS[kind] in found:
            return found[LABELS[kind]]
    raise InputError(
        f"there are no ratings of single workers: no {' or '.join(LABELS[kind] for kind in kinds)}",
        file=root / "Labels" / LABELS[kinds[0]],
        field="dataset.labels",
        remedy=f"{RESTORE}, or use the consensus labels alone: dataset.consensus_only=true.",
    )


class _Sounds:
    """Finds the clips' sound, in ``Audios/`` or ``Audio/`` or in a folder within."""

    def __init__(self, root: Path) -> None:
        self.sounds = SoundFolder(root)
        self.top = next((name for name in ("Audios", "Audio") if os.path.isdir(root / name)), "Audios")
        self.places: dict[str, list[str]] = {}
        folders = list(os.walk(root / self.top))
        for folder, _, names in folders if len(folders) > 1 else ():
            inner = os.path.relpath(folder, root)
            for name in names:
                self.places.setdefault(name.lower(), []).append(os.path.join(inner, name))

    def find(self, clip: Clip) -> Path:
        places = self.places.get(clip.name.lower(), [])
        if len(places) > 1:
            what = f"there are several files {clip.name}: {' and '.join(sorted(places)[:2])}"
            raise RowError(what, file=clip.file, row=clip.row, field="FileName", remedy=SKIP_CLIP)
        relative = places[0] if places else f"{self.top}/{clip.name}"
        return self.sounds.find(relative, file=clip.file, row=clip.row)


def _utterance(clip_id: str, clip: Clip, consensus_only: bool, sounds: _Sounds, texts: SoundFolder | None) -> Utterance:
    consensus = clip.metadata.get("consensus", NO_AGREEMENT)
    voted = consensus_only and consensus != NO_AGREEMENT
    file, row = (None if consensus_only else clip.first_rating) or (clip.file, clip.row)
    return Utterance(
        id=clip_id,
        audio=sounds.find(clip),
        votes={str(consensus): 1.0} if voted else {},
        num_raters=1 if voted else None,
        speaker=clip.speaker,
        split=clip.split,
        transcript=_transcript(clip_id, clip, texts) if texts else None,
        ratings=() if consensus_only else tuple(clip.ratings),
        metadata=clip.metadata,
        file=file,
        row=row,
    )


def _transcript(clip_id: str, clip: Clip, texts: SoundFolder) -> str | None:
    file = texts.find(f"Transcripts/{clip_id}.txt", file=clip.file, row=clip.row)
    if not os.path.isfile(file):
        return None
    try:
        lines = [line for _, line in text_lines(file)]
    except InputError as error:
        remedy = f"{RESTORE}, do without transcripts (dataset.transcripts=false), or without the clip: "
        remedy += "dataset.on_error=skip."
        raise RowError(error.what, file=file, row=error.row, remedy=remedy) from None
    return " ".join(" ".join(lines).split()) or None
