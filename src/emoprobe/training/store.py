"""Where cached features lie: safetensors files that appear whole or not at all, mapped into memory to be read."""

from __future__ import annotations

import json
import os
import time
import uuid
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from emoprobe.errors import InputError
from emoprobe.system.digest import digest_of

STALE_SECONDS = 24 * 3600  # after which a temporary file belongs to no living process


@dataclass(frozen=True)
class Entry:
    """Where a sound's features lie, and whether the sound is digital silence."""

    shard: Path
    row: int
    silent: bool


class FeatureStore:
    """The files of one key.

    Args:
        root: Folder of all keys.
        facts: What the key is made of.

    Raises:
        InputError: The folder cannot be written, or a file in it is damaged.
    """

    def __init__(self, root: Path, facts: dict) -> None:
        self.folder = root / digest_of(facts)[:32]
        self.entries: dict[str, Entry] = {}
        self._seen: set[Path] = set()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / "key.json").exists():
                self._put("key.json", (json.dumps(facts, indent=2) + "\n").encode())
            self._remove_stale()
        except OSError as error:
            raise self._unwritable(error) from error
        self.refresh()

    def _remove_stale(self) -> None:
        for leftover in self.folder.glob(".*.tmp"):
            if time.time() - leftover.stat().st_mtime > STALE_SECONDS:
                leftover.unlink(missing_ok=True)

    def refresh(self) -> None:
        """Take in the files that have appeared since."""
        for shard in sorted(set(self.folder.glob("*.safetensors")) - self._seen):
            self._take(shard, _read_index(shard))

    def _take(self, shard: Path, index: Sequence[Mapping]) -> None:
        self._seen.add(shard)
        for row, fact in enumerate(index):
            self.entries.setdefault(fact["sound"], Entry(shard, row, fact["silent"]))

    def write(self, rows: Sequence[Tensor], sounds: Sequence[str], silent: Sequence[bool]) -> None:
        """Write the features of a batch of sounds as one file; it is there, whole, when this returns."""
        index = [{"sound": sound, "silent": bool(is_silent)} for sound, is_silent in zip(sounds, silent, strict=True)]
        tensors = {str(row): states.clone(memory_format=torch.contiguous_format) for row, states in enumerate(rows)}
        text = json.dumps(index)
        checksum = _checksum(self.folder.name, text, list(tensors.values()))
        metadata = {"key": self.folder.name, "index": text, "crc32": str(checksum)}
        name = f"{uuid.uuid4().hex}.safetensors"
        try:
            self._put(name, save(tensors, metadata))
        except OSError as error:
            raise self._unwritable(error) from error
        self._take(self.folder / name, index)

    def _put(self, name: str, content: bytes) -> None:
        """A file that appears whole or not at all."""
        temporary = self.folder / f".{uuid.uuid4().hex}.tmp"
        try:
            temporary.write_bytes(content)
            os.replace(temporary, self.folder / name)
        finally:
            temporary.unlink(missing_ok=True)

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(
            f"features cannot be written: {error.strerror or error}",
            file=self.folder,
            remedy="Make room (any folder beside this one can be deleted) or choose another place with "
            "EMOPROBE_CACHE=FOLDER, then run the same command again: finished batches are kept.",
        )


def _checksum(key: str, index: str, rows: Sequence[Tensor]) -> int:
    """Of all that a file says: what features its rows are and whose, their shapes and types, and their numbers."""
    value = zlib.crc32(f"{key} {index}".encode())
    for row in rows:
        value = zlib.crc32(f"{tuple(row.shape)} {row.dtype}".encode(), value)
        value = zlib.crc32(row.numpy().data.cast("B"), value)
    return value


def _read_index(shard: Path) -> list[dict]:
    """The sounds of a file, row by row."""
    try:
        with safe_open(shard, "pt") as file:
            metadata = file.metadata() or {}
            index = json.loads(metadata["index"])
            if metadata["key"] != shard.parent.name:
                raise ValueError("it belongs to other features")
            if len(index) != len(file.keys()) or not all({"sound", "silent"} <= set(fact) for fact in index):
                raise ValueError("its index does not fit its content")
        return index
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(shard, error) from error


def map_shard(shard: Path) -> list[Tensor]:
    """A file's rows, mapped into memory, once their checksum has been found right."""
    try:
        with safe_open(shard, "pt") as file:
            rows = [file.get_tensor(str(row)) for row in range(len(file.keys()))]
            metadata = file.metadata() or {}
        if _checksum(metadata["key"], metadata["index"], rows) != int(metadata["crc32"]):
            raise ValueError("its checksum is wrong")
        return rows
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(shard, error) from error


def _damaged(shard: Path, error: Exception) -> InputError:
    return InputError(
        f"this file of cached features is damaged: {error}",
        file=shard,
        remedy="Delete it and run the same command again: its clips are then encoded anew.",
    )
