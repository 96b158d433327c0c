"""The clips of a release of MSP-Podcast, as its tables tell of them one after the other."""

from __future__ import annotations

import csv
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from emoprobe.data.corpora.msp_podcast.card import CONSENSUS, SPLITS
from emoprobe.data.fields import known
from emoprobe.data.files import RESTORE, Harvest, RowError, text_lines
from emoprobe.data.utterance import Rating

SOUND_FILE = re.compile(r"([A-Z0-9][\w.-]{0,199})\.(?:wav|flac)", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"\d(?:\.\d{1,20})?", re.ASCII)
SKIP_CLIP = f"{RESTORE}, or leave the clip out: dataset.on_error=skip."


@dataclass(slots=True)
class Clip:
    """What is known of a clip so far."""

    name: str
    file: Path
    row: int | None
    split: str | None = None
    speaker: str | None = None
    metadata: dict[str, str | float] = field(default_factory=dict)
    ratings: list[Rating] = field(default_factory=list)
    first_rating: tuple[Path, int | None] | None = None


class Release:
    """The clips so far. A clip with a wrong rating is left out as a whole: the other ratings are not its vote."""

    def __init__(self, harvest: Harvest, listing: Path) -> None:
        self.harvest, self.listing = harvest, listing
        self.clips: dict[str, Clip] = {}
        self.broken: set[str] = set()

    def refuse(self, error: RowError, clip_id: str) -> None:
        if error.reason != "duplicate_id":
            self.broken.add(clip_id)
        with self.harvest.row(clip_id):
            raise error

    def add(self, clip_id: str, clip: Clip) -> None:
        before = self.clips.get(clip_id)
        if before is not None:
            what = f"clip {clip_id} was there before, in row {before.row}"
            raise RowError(what, file=clip.file, row=clip.row, field="FileName", reason="duplicate_id")
        self.clips[clip_id] = clip

    def rate(self, clip_id: str, rating: Rating, file: Path, row: int | None) -> None:
        clip = self.clips.get(clip_id)
        if clip is None:
            if clip_id in self.broken:
                return
            what = f"clip {clip_id} has ratings here, but {self.listing} does not have it"
            raise RowError(what, file=file, row=row, field="FileName", remedy=SKIP_CLIP)
        if not clip.ratings:
            clip.first_rating = file, row
        clip.ratings.append(rating)


def add_facts(clip: Clip, code: str, attributes: dict[str, str]) -> None:
    """Consensus and mean attributes."""
    code = code.strip()
    if code.lower() not in ("", "nan"):
        clip.metadata["consensus"] = CONSENSUS.get(code, sys.intern(code.lower()))
    for fact, text in attributes.items():
        text = text.strip()
        if text.lower() in ("", "nan"):
            continue
        if not _NUMBER.fullmatch(text) or not 1 <= float(text) <= 7:
            what = f"{text!r:.80} is not a number from 1 to 7"
            raise RowError(what, file=clip.file, row=clip.row, field=fact)
        clip.metadata[fact] = float(text)


def read_clip_id(name: str, file: Path, row: int | None) -> str:
    match = SOUND_FILE.fullmatch(name.strip())
    if not match:
        raise RowError(f"{name!r:.80} is not the name of a sound file", file=file, row=row, field="FileName")
    return match[1]


def read_split(text: str, file: Path, row: int) -> str | None:
    name = known_name(text)
    if name is not None and name.lower() not in SPLITS:
        what = f"{name!r:.80} is none of {', '.join(SPLITS)}"
        raise RowError(what, file=file, row=row, field="Split_Set")
    return None if name is None else SPLITS[name.lower()]


def known_name(text: str) -> str | None:
    name = known(text)
    return None if name is None else sys.intern(name)


def fields_of(line: str) -> list[str]:
    parts = [part.strip() for part in line.split(";")]
    while parts and not parts[-1]:
        parts.pop()
    return parts


def read_header(file: Path, encoding: str) -> list[str]:
    """Column names; empty where there are none, which is reported where the table is read."""
    first = next(text_lines(file, encoding), (1, ""))[1]
    try:
        return [name.strip() for name in next(csv.reader([first]), [])]
    except csv.Error:
        return []
