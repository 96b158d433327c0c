"""Checkpoints that are made on this machine of what is installed: once, whole, and checked at every use."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from emoprobe.errors import WeightsError

CHECKPOINT_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
PROVENANCE = "provenance.json"
NUMBERLESS = (PROVENANCE, "trainer_state.json", "LICENSE.txt", "README.txt", "requirements.txt")
PRECISION = "float16"

log = logging.getLogger("emoprobe")


class NotFoundError(Exception):
    """A source does not have the weights; the next one is tried."""


class MadeCheckpoint(ABC):
    """An ordinary transformers checkpoint that is made in the cache."""

    name: str  # as a hub name: OWNER/MODEL
    revision: str  # of what it is made of, without the precision
    disk: int  # bytes that are needed while it is made
    published: bool  # whether the model hub has the same model by this name

    @property
    @abstractmethod
    def identity(self) -> str:
        """Digest of everything that its weights are made of; a part of the folder's name."""

    @property
    @abstractmethod
    def remedy(self) -> str:
        """What to install where something is missing."""

    @abstractmethod
    def check_sources(self, cache: Path) -> None:
        """Look whether what it is made of is here.

        Raises:
            NotFoundError: It is not installed.
            WeightsError: It is installed, and cannot be used.
        """

    @abstractmethod
    def write(self, target: Path, cache: Path) -> dict[str, Any]:
        """Write the checkpoint into an empty folder, whose parent is removed afterwards.

        Returns:
            What its provenance says beside name, source and hashes.

        Raises:
            WeightsError: What it is made of is damaged.
        """

    def folder(self, cache: Path) -> Path:
        """Where it lies in the cache."""
        return cache / "weights" / f"{self.name.replace('/', '--')}-{self.identity[:16]}"

    def made(self, cache: Path) -> Path:
        """The checkpoint's folder; it is made there once, whoever comes first.

        Raises:
            NotFoundError: What it is made of is not installed.
            WeightsError: That, or the checkpoint, is damaged, or the cache cannot be written.
        """
        from filelock import FileLock
        from safetensors import SafetensorError

        folder = self.folder(cache)
        if not folder.is_dir():
            self.check_sources(cache)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.parent / f"{folder.name}.lock"):
                if not folder.is_dir():
                    self._make(folder, cache)
        except (OSError, SafetensorError) as error:
            raise WeightsError(
                f"The cache folder {folder.parent} cannot be written: {getattr(error, 'strerror', None) or error}. "
                "Choose another: EMOPROBE_CACHE=FOLDER."
            ) from error
        check_made(folder)
        return folder

    def _make(self, folder: Path, cache: Path) -> None:
        """Build it in a temporary folder beside its place and move it there whole."""
        for leftover in folder.parent.glob(f".{folder.name}.*"):  # of a process that died; the lock is ours
            shutil.rmtree(leftover, ignore_errors=True)
        if (free := shutil.disk_usage(folder.parent).free) < self.disk:
            raise WeightsError(
                f"{self.name} needs {self.disk / 1e6:.0f} MB in {folder.parent}, and {free / 1e6:.0f} MB are free. "
                "Make room, or choose another cache folder: EMOPROBE_CACHE=FOLDER."
            ) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        log.info("making %s in %s (once)", self.name, folder)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
            built = Path(temporary) / "checkpoint"
            built.mkdir()
            record = {"name": self.name, "source": self.revision} | self.write(built, cache)
            record["files"] = file_hashes(built)
            (built / PROVENANCE).write_text(json.dumps(record, indent=2) + "\n")
            os.replace(built, folder)


def check_made(folder: Path) -> None:
    """Refuse a cached checkpoint whose files are not those that were written."""
    try:
        record = json.loads((folder / PROVENANCE).read_text())
        found = file_hashes(folder)
        # Version 0.1.0 noted the weights only.
        written = record["files"] if "files" in record else found | {"model.safetensors": record["model_sha256"]}
        wrong = sorted(name for name in found.keys() | written.keys() if found.get(name) != written.get(name))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"The cached checkpoint {folder} is damaged ({error}). Delete that folder.") from error
    if wrong:
        raise WeightsError(
            f"{folder / wrong[0]} is damaged: its SHA-256 is {found.get(wrong[0])} and {written.get(wrong[0])} was "
            f"written. Delete the folder {folder}."
        )


def chunks(files: Sequence[Path]) -> Iterator[bytes]:
    """The joined contents, piece by piece."""
    for file in files:
        with file.open("rb") as handle:
            while chunk := handle.read(1 << 22):
                yield chunk


def sha256_of(files: Sequence[Path]) -> str:
    """SHA-256 of the joined contents."""
    digest = hashlib.sha256()
    for chunk in chunks(files):
        digest.update(chunk)
    return digest.hexdigest()


def file_hashes(folder: Path) -> dict[str, str]:
    """Name -> SHA-256 of every file of a checkpoint that a number can depend on.

    Weights with their index, configs of model, generation, processor and tokenizer, vocabularies, chat templates; those
    of subfolders too (transformers reads ``chat_templates/``), except weights, which it does not look for there. Not
    what `NUMBERLESS` names, and nothing hidden.
    """
    hashes = {}
    for file in sorted({file for pattern in (*CHECKPOINT_FILES, "*.tiktoken") for file in folder.rglob(pattern)}):
        parts = file.relative_to(folder).parts
        hidden = any(part.startswith(".") for part in parts)
        elsewhere = len(parts) > 1 and (file.suffix == ".safetensors" or parts[0].startswith("checkpoint-"))
        if file.is_file() and not (hidden or elsewhere or file.name in NUMBERLESS):
            hashes["/".join(parts)] = sha256_of([file])
    return hashes
