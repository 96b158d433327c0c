"""Speakers, splits, consensus and mean attributes of MSP-Podcast: the list of clips and the partition."""

from __future__ import annotations

import re
from pathlib import Path

from emoprobe.data.corpora.msp_podcast.card import ATTRIBUTES, GENDERS
from emoprobe.data.corpora.msp_podcast.release import (
    SKIP_CLIP,
    Clip,
    Release,
    add_facts,
    fields_of,
    known_name,
    read_clip_id,
    read_header,
    read_split,
)
from emoprobe.data.files import RowError, table_rows, text_lines

_SPEAKER = re.compile(r"\w{1,40}", re.ASCII)


def read_consensus(file: Path, release: Release) -> None:
    header = read_header(file, "utf-8")
    optional = [name for name in ("Gender", *ATTRIBUTES) if name in header]
    for row, cells in table_rows(file, ("FileName", "EmoClass", "SpkrID", "Split_Set", *optional)):
        clip_id = ""
        try:
            if isinstance(cells, RowError):
                raise cells
            name = cells["FileName"].strip()
            clip_id = read_clip_id(name, file, row)
            clip = Clip(name, file, row, read_split(cells["Split_Set"], file, row))
            # Tables that once had gaps write whole numbers as 127.0.
            clip.speaker = known_name(re.sub(r"^(\d+)\.0+$", r"\1", cells["SpkrID"].strip()))
            if clip.speaker is not None and not _SPEAKER.fullmatch(clip.speaker):
                what = f"{clip.speaker!r:.80} is not the id of a speaker"
                raise RowError(what, file=file, row=row, field="SpkrID")
            add_facts(clip, cells["EmoClass"], {fact: cells.get(name, "") for name, fact in ATTRIBUTES.items()})
            gender = known_name(cells.get("Gender", ""))
            if gender is not None:
                if gender.lower() not in GENDERS:
                    what = f"{gender!r:.80} is not Male, Female or Unknown"
                    raise RowError(what, file=file, row=row, field="Gender")
                clip.metadata["gender"] = GENDERS[gender.lower()]
            release.add(clip_id, clip)
        except RowError as error:
            release.refuse(error, clip_id)


def read_partition(file: Path, release: Release) -> None:
    rows: dict[str, int] = {}
    for row, line in text_lines(file):
        parts = fields_of(line)
        if not parts:
            continue
        clip_id = ""
        try:
            if len(parts) != 2:
                raise RowError(f"{line!r:.80} is not SPLIT; FILE", file=file, row=row)
            split = read_split(parts[0], file, row)
            clip_id = read_clip_id(parts[1], file, row)
            if rows.setdefault(clip_id, row) != row:
                what = f"clip {clip_id} was there before, in row {rows[clip_id]}"
                raise RowError(what, file=file, row=row, field="FileName", reason="duplicate_id")
            clip = release.clips.get(clip_id)
            if clip is None and clip_id not in release.broken:
                release.clips[clip_id] = Clip(parts[1], file, row, split)
            elif clip is not None and clip.split not in (None, split):
                what = f"clip {clip_id} is of {split} here and of {clip.split} in {release.listing}"
                raise RowError(what, file=file, row=row, field="Split_Set", remedy=SKIP_CLIP)
            elif clip is not None:
                clip.split = split
        except RowError as error:
            release.refuse(error, clip_id)
