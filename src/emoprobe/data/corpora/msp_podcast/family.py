"""Reads corpora whose label files are those of MSP-Podcast, in every generation of them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from emoprobe.data.corpora.msp_podcast.card import NO_AGREEMENT, SCALES
from emoprobe.data.corpora.msp_podcast.facts import read_consensus, read_partition
from emoprobe.data.corpora.msp_podcast.ratings import read_blocks, read_csv, read_json
from emoprobe.data.corpora.msp_podcast.release import SKIP_CLIP, Clip, Family, Release
from emoprobe.data.reading.files import AUDIO_SUFFIXES, RESTORE, Harvest, RowError, SoundFolder, open_root, text_lines
from emoprobe.data.utterance import Corpus, CorpusCard, Total, Utterance
from emoprobe.errors import InputError

LABELS = {
    "detailed_csv": "labels_detailed.csv",
    "detailed_json": "labels_detailed.json",
    "blocks": "labels.txt",
}
CONSENSUS = "labels_consensus.csv"
# As they are spelt in one release or another.
_FILES = {
    "consensus_csv": re.compile(r"labels?_con[sc]ensus\.csv"),
    "consensus_json": re.compile(r"labels?_con[sc]ensus\.json"),
    "detailed_csv": re.compile(r"labels?_detail(ed|s)\.csv"),
    "detailed_json": re.compile(r"labels?_detail(ed|s)\.json"),
    "blocks": re.compile(r"labels?\.txt"),
    "partition": re.compile(r"partitions?\.txt"),
}
_FOLDERS = ("labels", "label", "doc")


def read_family(
    family: Family, root: str | Path, labels: str, consensus_only: bool, transcripts: bool, on_error: str
) -> Corpus:
    """Read a corpus of MSP-Podcast's kind, see `emoprobe.data.corpora.msp_podcast.read_msp_podcast`."""
    card = family.card
    harvest = Harvest(card, on_error)
    if labels not in ("auto", *LABELS):
        remedy = f"Use one of auto, {', '.join(LABELS)}."
        raise InputError(f"unknown labels {labels!r}", field="dataset.labels", remedy=remedy)
    for name, value in (("consensus_only", consensus_only), ("transcripts", transcripts)):
        if not isinstance(value, bool):
            what = f"{value!r} is neither true nor false"
            raise InputError(what, field=f"dataset.{name}", remedy="Use true or false.")
    root = open_root(root, card)
    found = _label_files(root, card)
    consensus = found.get("consensus_csv") or found.get("consensus_json")
    if consensus is None and "blocks" not in found:
        open_root(root, card, f"Labels/{CONSENSUS}", f"Labels/{LABELS['blocks']}")
    if consensus and consensus_only:
        ratings, listing = None, consensus
    else:
        ratings = _ratings_file(root, found, labels, consensus)
        listing = consensus or ratings
    release = Release(harvest, listing, family)
    if consensus:
        read_consensus(consensus, release)
    if ratings:
        kind = next(kind for kind in LABELS if found.get(kind) == ratings)
        read = {"detailed_csv": read_csv, "detailed_json": read_json, "blocks": read_blocks}[kind]
        read(ratings, release)
        if not consensus_only and not any(clip.ratings for clip in release.clips.values()):
            remedy = harvest.skipped[0].message if harvest.skipped else f"{RESTORE}."
            raise InputError("there is no usable rating of any clip", file=ratings, remedy=remedy)
    if "partition" in found:
        read_partition(found["partition"], release)
    sounds = _Sounds(root, family)
    texts = SoundFolder(root, (".txt",)) if transcripts else None
    for clip_id in list(release.clips):
        clip = release.clips.pop(clip_id)
        if clip_id not in release.broken:
            with harvest.row(clip_id):
                harvest.add(_utterance(clip_id, clip, consensus_only, sounds, texts))
    return harvest.corpus(release.listing)


def _label_files(root: Path, card: CorpusCard) -> dict[str, Path]:
    """Kind -> file: of a folder of labels, else of the root."""
    places = [root / name for name in _names(root) if name.lower() in _FOLDERS and os.path.isdir(root / name)]
    found: dict[str, Path] = {}
    for folder in (*places, root):
        inside: dict[str, Path] = {}
        for name in _names(folder):
            for kind in (kind for kind, pattern in _FILES.items() if pattern.fullmatch(name.lower())):
                if kind in inside:
                    what = f"there are two files of the same labels, {inside[kind].name} and {name}"
                    raise InputError(what, file=folder / name, field="dataset.root", remedy="Remove or rename one.")
                inside[kind] = folder / name
        for kind, file in inside.items():
            if folder != root and kind in found:
                what = f"the labels of {card.title} are in two places, the other is {found[kind]}"
                raise InputError(what, file=file, field="dataset.root", remedy="Remove one of them, or rename it.")
            found.setdefault(kind, file)
    return found


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError):
        return []


def _ratings_file(root: Path, found: dict[str, Path], labels: str, consensus: Path | None) -> Path:
    # Only the blocks say by themselves which clips there are and what is the consensus.
    if consensus is None and labels not in ("auto", "blocks"):
        raise InputError(
            "the list of clips is missing",
            file=root / "Labels" / CONSENSUS,
            remedy=f"{RESTORE}, or read {LABELS['blocks']}: dataset.labels=blocks.",
        )
    kinds = ["blocks"] if consensus is None else list(LABELS) if labels == "auto" else [labels]
    for kind in kinds:
        if kind in found:
            return found[kind]
    raise InputError(
        f"there are no ratings of single workers: no {' or '.join(LABELS[kind] for kind in kinds)}",
        file=root / "Labels" / LABELS[kinds[0]],
        field="dataset.labels",
        remedy=f"{RESTORE}, or use the consensus labels alone: dataset.consensus_only=true.",
    )


class _Sounds:
    """Finds the clips' sound by their ids, in the family's folder or in a folder within."""

    def __init__(self, root: Path, family: Family) -> None:
        self.sounds = SoundFolder(root)
        there = {name.lower(): name for name in reversed(_names(root)) if os.path.isdir(root / name)}
        top = (there[folder.lower()] for folder in family.folders if folder.lower() in there)
        self.top = next(top, family.folders[0])
        self.places: dict[str, list[str]] = {}
        folders = list(os.walk(root / self.top))
        for folder, _, names in folders if len(folders) > 1 else ():
            inner = os.path.relpath(folder, root)
            for name in names:
                stem, suffix = os.path.splitext(name.lower())
                if suffix in AUDIO_SUFFIXES:
                    self.places.setdefault(stem, []).append(os.path.join(inner, name))

    def find(self, clip_id: str, clip: Clip) -> Path:
        places = self.places.get(clip_id.lower(), [])
        places = [place for place in places if os.path.basename(place).lower() == clip.name.lower()] or places
        if len(places) > 1:
            what = f"there are several files {clip.name}: {' and '.join(sorted(places)[:2])}"
            raise RowError(what, file=clip.file, row=clip.row, field="FileName", remedy=SKIP_CLIP)
        name = clip.name if clip.name.lower().endswith(AUDIO_SUFFIXES) else f"{clip_id}.wav"
        relative = places[0] if places else f"{self.top}/{name}"
        return self.sounds.find(relative, file=clip.file, row=clip.row)


def _utterance(clip_id: str, clip: Clip, consensus_only: bool, sounds: _Sounds, texts: SoundFolder | None) -> Utterance:
    consensus = clip.metadata.get("consensus", NO_AGREEMENT)
    voted = consensus_only and consensus != NO_AGREEMENT
    file, row = (None if consensus_only else clip.first_rating) or (clip.file, clip.row)
    return Utterance(
        id=clip_id,
        audio=sounds.find(clip_id, clip),
        votes={str(consensus): 1.0} if voted else {},
        num_raters=1 if voted else None,
        speaker=clip.speaker,
        split=clip.split,
        transcript=_transcript(clip_id, clip, texts) if texts else None,
        ratings=() if consensus_only else tuple(clip.ratings),
        means=clip.means,
        scales=SCALES,
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


def totals_of(
    source: str,
    *,
    clips: int,
    splits: Mapping[str, int],
    speakers: int | None = None,
    consensus: Mapping[str, int] | None = None,
) -> tuple[Total, ...]:
    """Published numbers of clips in all and by split and consensus, and of speakers who are known."""

    def of(what: str, expected: int, **facts: str) -> Total:
        def count(corpus: Corpus) -> int:
            found = ({"split": u.split, **u.metadata} for u in corpus.utterances)
            return sum(all(each.get(fact) == value for fact, value in facts.items()) for each in found)

        return Total(what, expected, count, source)

    totals = [of("clips", clips)]
    totals += [of(f"clips of {split}", expected, split=split) for split, expected in splits.items()]
    if speakers is not None:
        known = lambda corpus: len({u.speaker for u in corpus.utterances} - {None})  # noqa: E731
        totals.append(Total("known speakers", speakers, known, source))
    for word, expected in (consensus or {}).items():
        totals.append(of(f"clips with the consensus {word}", expected, consensus=word))
    return tuple(totals)
