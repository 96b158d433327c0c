"""Speakers, splits, consensus and mean attributes of MSP-Podcast: the list of clips and the partition."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from emoprobe.data.corpora.msp_podcast.card import GENDERS
from emoprobe.data.corpora.msp_podcast.release import (
    SKIP_CLIP,
    Clip,
    Release,
    add_facts,
    fields_of,
    json_of,
    known_name,
    read_header,
)
from emoprobe.data.reading.files import RESTORE, RowError, table_rows, text_lines
from emoprobe.errors import InputError

COLUMNS = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set")
"""Of the list of clips, in their order; a table without a header has them by their places."""
_OTHERWISE = {
    "file": "FileName",
    "file_name": "FileName",
    "class": "EmoClass",
    "emoclass_major": "EmoClass",
    "act": "EmoAct",
    "val": "EmoVal",
    "dom": "EmoDom",
    "speaker": "SpkrID",
    "speakerid": "SpkrID",
    "split": "Split_Set",
    "splitset": "Split_Set",
    "partition": "Split_Set",
}
_SPEAKER = re.compile(r"\w{1,40}", re.ASCII)


def read_consensus(file: Path, release: Release) -> None:
    """``labels_consensus``, or ``labels_concensus``: the list of clips as CSV or JSON."""
    (_read_json if file.suffix.lower() == ".json" else _read_csv)(file, release)


def column_names(header: Sequence[str], known: Sequence[str], otherwise: Mapping[str, str]) -> dict[str, str]:
    """Spelling in a table -> name, whatever its case."""
    names = {name.lower(): name for name in known} | dict(otherwise)
    return {spelling: names[spelling.lower()] for spelling in header if spelling.lower() in names}


def _read_csv(file: Path, release: Release) -> None:
    header = read_header(file, "utf-8")
    bare = bool(header) and bool(release.clip_name.fullmatch(header[0]))
    if bare:
        columns = COLUMNS[: len(header)]
        if len(header) not in (5, 7, 8):
            what = f"the table has no header, and {len(header)} columns instead of 5, 7 or 8: {', '.join(COLUMNS)}"
            raise InputError(what, file=file, row=1, field="FileName", remedy=f"{RESTORE}.")
        rows = table_rows(file, header=columns)
    else:
        aliases = column_names(header, COLUMNS, _OTHERWISE)
        there = {aliases.get(name, name) for name in header}
        # A release without speakers or splits has them in no column of another name.
        needed = {"FileName", "EmoClass", *(("SpkrID", "Split_Set") if there - set(COLUMNS) else ())}
        rows = table_rows(file, [name for name in COLUMNS if name in needed | there], aliases=aliases)
    for row, cells in rows:
        clip_id = ""
        try:
            if isinstance(cells, RowError):
                raise cells
            clip_id = release.clip_id(cells["FileName"], file, row)
            release.add(clip_id, _clip(cells["FileName"], cells, file, row, release))
        except RowError as error:
            release.refuse(error, clip_id)


def _read_json(file: Path, release: Release) -> None:
    """Clip -> facts, or clip -> a list of one object of facts."""
    clips = json_of(file, _pairs)
    if not isinstance(clips, list) or any(type(pair) is not tuple for pair in clips):
        raise InputError("this is not an object of clips", file=file, remedy=f"{RESTORE}.")
    for name, facts in clips:
        clip_id = ""
        try:
            clip_id = release.clip_id(name, file, None)
            if type(facts) is list and len(facts) == 1:
                facts = facts[0]
            if type(facts) is not dict:
                what = f"the facts of clip {clip_id} are not an object with EmoClass"
                raise RowError(what, file=file, row=None, field="EmoClass", remedy=SKIP_CLIP)
            release.add(clip_id, _clip(name, _texts(facts, clip_id, file), file, None, release))
        except RowError as error:
            release.refuse(error, clip_id)


def _pairs(pairs: list[tuple[str, object]]) -> object:
    """A clip's facts as a dict; the object of clips as pairs, since a clip may be there twice."""
    values = dict(pairs)
    if not {"EmoClass", "EmoClass_Major", "Split_Set"} & set(values):
        return pairs
    if len(values) < len(pairs):
        raise ValueError("a clip's facts have a key twice")
    return values


def _texts(facts: Mapping[str, object], clip_id: str, file: Path) -> dict[str, str]:
    cells: dict[str, str] = {}
    for name, value in facts.items():
        column = "EmoClass" if name == "EmoClass_Major" else name
        if column not in COLUMNS:
            continue
        if value is not None and (isinstance(value, bool) or not isinstance(value, (str, int, float))):
            what = f"clip {clip_id} has {value!r:.80} where a word or a number should be"
            raise RowError(what, file=file, row=None, field=column, remedy=SKIP_CLIP)
        cells[column] = "" if value is None else str(value)
    for column in ("EmoClass", "Split_Set"):
        if column not in cells:
            what = f"clip {clip_id} has no {column}"
            raise RowError(what, file=file, row=None, field=column, remedy=SKIP_CLIP)
    return cells


def _clip(name: str, cells: Mapping[str, str], file: Path, row: int | None, release: Release) -> Clip:
    """A clip by the cells of its row; those of columns that a release lacks say nothing."""
    clip = Clip(name.strip(), file, row, release.split(cells.get("Split_Set", ""), file, row))
    # Tables that once had gaps write whole numbers as 127.0.
    clip.speaker = known_name(re.sub(r"^(\d+)\.0+$", r"\1", cells.get("SpkrID", "").strip()))
    if clip.speaker is not None and not _SPEAKER.fullmatch(clip.speaker):
        what = f"{clip.speaker!r:.80} is not the id of a speaker"
        raise RowError(what, file=file, row=row, field="SpkrID")
    means = (cells.get("EmoAct", ""), cells.get("EmoVal", ""), cells.get("EmoDom", ""))
    add_facts(clip, cells.get("EmoClass", ""), means)
    gender = known_name(cells.get("Gender", ""))
    if gender is not None:
        if gender.lower() not in GENDERS:
            what = f"{gender!r:.80} is not Male, Female or Unknown"
            raise RowError(what, file=file, row=row, field="Gender")
        clip.metadata["gender"] = GENDERS[gender.lower()]
    return clip


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
            split = release.split(parts[0], file, row)
            clip_id = release.clip_id(parts[1], file, row)
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
