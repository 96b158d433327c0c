"""Where a model's weights come from: an explicit path, the local cache, the hub, or data packages of the package index.

Only safetensors are loaded. The data packages' files are located, hashed and converted, never imported or executed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from emoprobe.errors import InputError, WeightsError
from emoprobe.models.data_packages import PACKAGES
from emoprobe.models.made import (
    CHECKPOINT_FILES,
    PRECISION,
    MadeCheckpoint,
    NotFoundError,
    check_made,
    file_hashes,
)
from emoprobe.models.small.checkpoints import SMALL, SMALL_BASE
from emoprobe.system.cache import cache_folder

MADE: tuple[MadeCheckpoint, ...] = (*PACKAGES, SMALL_BASE, SMALL)
SOURCES = ("path", "cache", "hub", "package")
HUB_LEFT_OUT = ("consolidated*", "original/*")  # the same weights once more, in other formats
HUB_TIMEOUT = 5.0  # seconds to wait for the hub's first answer


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


def resolve(
    name: str,
    *,
    path: str | Path | None = None,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    sources: Sequence[str] = SOURCES,
    packages: Sequence[MadeCheckpoint] = MADE,
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
        InputError: What was found is only an adapter.
    """
    revision = revision and revision.removesuffix(f" {PRECISION}")  # as records of a package's weights say it
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
    known = [p for p in packages if p.name == name]
    package = next((p for p in known if revision in (None, p.revision)), None)
    published = all(p.published for p in known)
    cache = cache_folder(cache_dir)
    finders: dict[str, Callable[[], ResolvedWeights]] = {
        "cache": lambda: _from_cache(name, revision, package, cache, published),
        "package": lambda: _from_package(package, name, cache),
    }
    if published:
        finders["hub"] = lambda: _from_hub(name, revision, local_only=False)
    tried = []
    for source in sources:
        if source in finders:
            try:
                return finders[source]()
            except NotFoundError as reason:
                tried.append(f"  {source}: {reason}")
    remedies = ["give a checkpoint folder: model.path=FOLDER"]
    remedies += [p.remedy for p in known]
    remedies += ["connect to the model hub, with HF_HUB_OFFLINE unset"] if published else []
    raise WeightsError(
        f"No weights of {name} were found.\n"
        + "\n".join(tried)
        + "\nAny of these helps:\n  - "
        + "\n  - ".join(remedies)
    )


def _from_path(folder: Path, name: str) -> ResolvedWeights:
    _refuse_adapter_alone(folder, name)
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


def _refuse_adapter_alone(folder: Path, name: str) -> None:
    """Say of a folder of peft's that it holds a part of a model only.

    Raises:
        InputError: There is an adapter and no model.
    """
    file = folder / "adapter_config.json"
    weights = {found.name for found in folder.glob("*.safetensors")} - {"adapter_model.safetensors"}
    if not file.is_file() or (weights and (folder / "config.json").is_file()):
        return
    try:
        base = json.loads(file.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (ValueError, AttributeError):
        base = None
    raise InputError(
        f"{name} is only an adapter{f' of {base}' if base else ''}, without the model that it adapts",
        file=file,
        field="model",
        remedy="Load both with peft, merge them (merge_and_unload), save the whole model and its processor's files, "
        "and give that folder.",
    )


def fingerprint(folder: Path) -> str:
    """SHA-256 over names and contents of the files that `file_hashes` names."""
    return hashlib.sha256(json.dumps(file_hashes(folder)).encode()).hexdigest()


def _from_cache(
    name: str, revision: str | None, package: MadeCheckpoint | None, cache: Path, published: bool
) -> ResolvedWeights:
    if package is not None and (folder := package.folder(cache)).is_dir():
        check_made(folder)
        return ResolvedWeights(folder, name, f"{package.revision} {PRECISION}", "cache")
    if not published:
        raise NotFoundError("not there")
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
        raise NotFoundError("HF_HUB_OFFLINE is set")
    if not local_only:
        _check_hub_answers(constants.ENDPOINT)
    try:
        folder = Path(
            snapshot_download(
                name,
                revision=revision,
                allow_patterns=list(CHECKPOINT_FILES),
                ignore_patterns=list(HUB_LEFT_OUT),
                etag_timeout=HUB_TIMEOUT,
                local_files_only=local_only,
            )
        )
    except GatedRepoError as error:
        raise NotFoundError(f"{name} is gated; accept its terms and log in: hf auth login") from error
    except RepositoryNotFoundError as error:
        raise NotFoundError(f"the hub has no model {name} (or it is private: hf auth login)") from error
    except LocalEntryNotFoundError as error:
        raise NotFoundError("not there") from error
    except (HfHubHTTPError, HFValidationError, httpx.HTTPError, OSError) as error:
        raise NotFoundError(f"{type(error).__name__}: {str(error).splitlines()[0]}") from error
    _refuse_adapter_alone(folder, name)
    if not any(folder.glob("*.safetensors")):
        raise NotFoundError(
            f"{folder} has no *.safetensors, and pickled weights are not loaded; the model's pull requests on the hub "
            "often bring some: model.revision=refs/pr/NUMBER"
        )
    return ResolvedWeights(folder, name, folder.name, "hub")


def _check_hub_answers(endpoint: str) -> None:
    """Fail in seconds without a network: the hub's own client retries for minutes."""
    import httpx

    try:
        httpx.head(endpoint, timeout=HUB_TIMEOUT)
    except httpx.HTTPError as error:
        raise NotFoundError(f"{endpoint} does not answer ({type(error).__name__})") from error


def _from_package(package: MadeCheckpoint | None, name: str, cache: Path) -> ResolvedWeights:
    if package is None:
        raise NotFoundError(f"no data package carries {name} at this revision")
    return ResolvedWeights(package.made(cache), name, f"{package.revision} {PRECISION}", "package")
