"""Which files of a data set in the hub's forms are read, and of which split they are."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from emoprobe.errors import InputError

Patterns: TypeAlias = str | Sequence[str]

SUFFIXES = (".parquet", ".arrow", ".jsonl", ".csv", ".tsv")
SPLITS = ("train", "training", "validation", "valid", "val", "dev", "development", "test", "testing", "eval")
_SHARD = re.compile(r"(.+?)[-_]\d{4,}(-of-\d{4,}(-[0-9a-f]{16})?)?", re.ASCII)


def place_of(path: str | Path | None, hub: str | None, revision: str | None) -> Path:
    """The file or folder of a data set, here or on the hub."""
    if hub is not None and path is None:
        return _download(hub, revision)
    if path is None or hub is not None:
        what = "a folder or file, or else a name on the hub, must be given"
        raise InputError(what, field="dataset.path", remedy="Give dataset.path or dataset.hub.")
    return _local(path)


def _local(path: str | Path) -> Path:
    try:
        place = Path(os.path.expanduser(path)).absolute()
        found = os.path.exists(place)
    except (ValueError, TypeError) as error:
        what = f"{path!r:.80} is no path: {error}"
        raise InputError(what, field="dataset.path", remedy="Correct it.") from None
    if not found:
        raise InputError("there is no such file or folder", file=place, field="dataset.path", remedy="Correct it.")
    return place


def _download(hub: str, revision: str | None) -> Path:
    """The hub's snapshot of a data set's Parquet files, from the cache of huggingface_hub where it is there."""
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(hub, repo_type="dataset", revision=revision, allow_patterns=["*.parquet"])
    except Exception as error:  # of its own, of the network, of the disk
        raise InputError(
            f"{hub!r:.80} cannot be had from the hub: {type(error).__name__}, {error!s:.300}".rstrip(". \n"),
            field="dataset.hub",
            remedy="Check the name, the revision and the network, or give a local folder: dataset.path.",
        ) from None
    return Path(folder)


def sound_root(root: str | Path | None, top: Path) -> Path:
    if root is None:
        return top
    folder = Path(os.path.expanduser(root)).absolute()
    if not os.path.isdir(folder):
        raise InputError("the root folder does not exist", file=folder, field="dataset.root", remedy="Check it.")
    return folder


def tables_of(place: Path, files: Patterns | Mapping[str, Patterns] | None) -> dict[Path, str | None]:
    """Table -> split, as far as it is told."""
    if not os.path.isdir(place):
        if place.suffix.lower() not in SUFFIXES:
            what = f"unknown kind of table {place.suffix!r}"
            raise InputError(what, file=place, field="dataset.path", remedy=f"Use one of {', '.join(SUFFIXES)}.")
        return {place: told_split(place, place.parent)}
    there = sorted(
        Path(folder) / name
        for folder, _, names in os.walk(place)
        for name in names
        # datasets keeps intermediate results beside what it has saved.
        if name.lower().endswith(SUFFIXES) and not name.startswith((".", "cache-"))
    )
    if files is None or files in ({}, []):
        kinds = {file.suffix.lower() for file in there}
        kind = next((suffix for suffix in SUFFIXES if suffix in kinds), None)
        chosen = {file: told_split(file, place) for file in there if file.suffix.lower() == kind}
    else:
        chosen = _by_pattern(place, there, files)
    if not chosen:
        raise InputError(
            f"the folder has no file of {', '.join(SUFFIXES)}",
            file=place,
            field="dataset.path",
            remedy="Give a folder of tables. Data sets made by a loading script may be had in Parquet from the hub: "
            "dataset.revision=refs/convert/parquet.",
        )
    return chosen


def _by_pattern(place: Path, there: Sequence[Path], files: Patterns | Mapping[str, Patterns]) -> dict[Path, str | None]:
    groups: Mapping[Any, Patterns] = files if isinstance(files, Mapping) else {None: files}
    chosen: dict[Path, str | None] = {}
    for split, patterns in groups.items():
        for pattern in [patterns] if isinstance(patterns, str) else patterns or []:
            found = [file for file in there if fnmatch.fnmatchcase(file.relative_to(place).as_posix(), str(pattern))]
            if not found:
                names = ", ".join(file.relative_to(place).as_posix() for file in there[:5])
                what = f"no table matches {pattern!r:.80}"
                raise InputError(what, file=place, field="dataset.files", remedy=f"There are {names or 'none'}.")
            for file in found:
                if file in chosen and chosen[file] != split:
                    raise InputError(
                        f"it is in the splits {chosen[file]!r:.80} and {split!r:.80}",
                        file=file,
                        field="dataset.files",
                        remedy="Let every table be in one split.",
                    )
                chosen[file] = told_split(file, place) if split is None else str(split)
    return chosen


def told_split(file: Path, top: Path) -> str | None:
    """The split that a file's name tells, or else its folder's: ``train-00000-of-00002.parquet``."""
    shard = _SHARD.fullmatch(file.stem)
    folders = [] if file.parent == top else [file.parent.name]
    for told in (shard[1] if shard else file.stem, *folders):
        if told.lower() in SPLITS:
            return told.lower()
    return None
