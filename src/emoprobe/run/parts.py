"""Parts of one run that were scored by themselves: whether all are there, belong together, and what they add up to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from emoprobe.data.shard import Shard, read_shard
from emoprobe.data.sound.faults import FAULTS
from emoprobe.errors import InputError, some
from emoprobe.run import files, sealing
from emoprobe.run.finding import find_runs
from emoprobe.run.folder import RunFolder
from emoprobe.run.record import LIBRARIES, Record

OF_A_JOB = ("device",)
"""Options of a model that may differ from part to part: nothing that is scored depends on them."""
SETTINGS = ("labels", "prompt", "readout", "calibration", "head", "seed", "null_inputs", "analysis")
OF_A_CORPUS = ("split", "keep", "limit", "missing_audio", "on_error", "soft_label", "audio")
"""What must be said alike in the configurations of all parts, beside the model; where the corpus lies need not be."""


@dataclass(frozen=True)
class Part:
    """A finished part of a run.

    Args:
        run: Its folder.
        shard: Which part it is.
    """

    run: RunFolder
    shard: Shard

    @property
    def record(self) -> Record:
        """What was run."""
        return self.run.record

    @property
    def sha256(self) -> str:
        """Of the content of its score table, as its seal says."""
        stated = sealing.stated_of(self.record.files, files.SCORES) or {}
        return str(stated.get("sha256"))


class Said(NamedTuple):
    """What a part says of itself that all must say."""

    field: str
    value: Any
    file: Path


def find_parts(folders: Sequence[Path], beside: Path) -> list[Part]:
    """All parts of one run, in the order of their numbers.

    Args:
        folders: Of parts, or such that hold some at any depth.
        beside: What is not one of them, wherever it lies: the folder of the result.

    Raises:
        InputError: A folder holds no part or one that did not finish; some are missing or there twice; or they are
            of several divisions.
    """
    found = [_read(run) for run in _runs(folders, beside.resolve())]
    first = found[0]
    places: dict[Shard, Part] = {}
    for part in found:
        if part.shard.of != first.shard.of:
            raise InputError(
                f"parts of {first.shard.of} and of {part.shard.of} are mixed: {first.shard} is {first.run.folder}, and "
                f"{part.shard} is this",
                file=part.run.folder,
                field="dataset.shard",
                remedy="Give all parts of one run.",
            )
        other = places.setdefault(part.shard, part)
        if other is not part:
            raise InputError(
                f"part {part.shard} is there twice, in {other.run.folder} too",
                file=part.run.folder,
                field="dataset.shard",
                remedy="Give each part once.",
            )
    numbers = range(1, first.shard.of + 1)
    missing = [str(shard) for number in numbers if (shard := Shard(number, first.shard.of)) not in places]
    if missing:
        raise InputError(
            f"{len(missing)} of {first.shard.of} parts are missing: {some(missing, 10)}",
            file=", ".join(map(str, folders)) if len(folders) < 4 else f"{folders[0]}, ...",
            field="dataset.shard",
            remedy="Run them, or give their folders too.",
        )
    unfinished = [(part, why) for part in found if (why := _unfinished(part))]
    if unfinished:
        part, why = unfinished[0]
        more = f"; so did {some([str(each.shard) for each, _ in unfinished[1:]])}" if len(unfinished) > 1 else ""
        raise InputError(
            f"part {part.shard} did not finish ({why}){more}",
            file=part.run.folder,
            remedy="The same command into the same folder goes on.",
        )
    return sorted(places.values(), key=lambda part: part.shard.number)


def _runs(folders: Sequence[Path], result: Path) -> Iterator[RunFolder]:
    there: dict[Path, RunFolder] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError("there is no such folder", file=folder, remedy="Give the folders of all parts.")
        own = [RunFolder(folder)] if (folder / files.RECORD).is_file() else find_runs(folder)[0]
        for run in own:
            place = run.folder.resolve()
            if not (place.is_relative_to(result) or run.is_later_analysis):
                there.setdefault(place, run)
    if not there:
        raise InputError(
            "there is no part of a run here",
            file=", ".join(map(str, folders)),
            remedy="Give the folders of runs with dataset.shard=1/N, 2/N and so on.",
        )
    yield from there.values()


def _read(run: RunFolder) -> Part:
    if not run.record.part:
        raise InputError(
            f"this is no part of a run: {files.RECORD} names none",
            file=run.folder,
            field="dataset.shard",
            remedy="Give the folders of runs with dataset.shard=1/N, 2/N and so on.",
        )
    shard = read_shard(run.record.part)
    return Part(run, shard if isinstance(shard, Shard) else Shard(1, 1))


def _unfinished(part: Part) -> str | None:
    """Why a part cannot be taken yet; what is damaged is said where it is read."""
    if part.record.num_scored is None:
        return part.run.unfinished or "its record is that of its beginning"
    if not part.run.is_scored:
        return f"{files.SCORES} is missing"
    return None


# -- what must be alike ------------------------------------------------------------------------------------------------


def check_alike(parts: Sequence[Part]) -> None:
    """Refuse parts of different runs.

    Raises:
        InputError: They differ in what is scored, in how, or in what is made of it; says where.
    """
    first = {(said.file.name, said.field): said for said in _said(parts[0])}
    for part in parts[1:]:
        own = {(said.file.name, said.field): said for said in _said(part)}
        for key in dict.fromkeys((*first, *own)):
            one, two = first.get(key), own.get(key)
            if (one and one.value) != (two and two.value):
                raise unlike(key[1], one and one.value, two and two.value, parts[0], (two or first[key]).file)


def unlike(field: str, one: object, two: object, first: Part, file: Path) -> InputError:
    """The error of parts that are not of one run."""
    shown = " and ".join(f"{text[:77]}..." if len(text := str(value)) > 80 else text for value in (one, two))
    return InputError(
        f"these are parts of different runs, {field} is {shown}, in {first.run.folder} and here",
        file=file,
        field=field,
        remedy="Run the part again with the settings of the others, and the same versions.",
    )


def _said(part: Part) -> Iterator[Said]:
    record, file = part.record, part.run.home / files.RECORD
    policy, model = record.soft_label_policy, record.model
    stated: dict[str, Any] = {
        "label_set_hash": record.label_set_hash,
        **{f"corpus.{name}": value for name, value in asdict(record.corpus).items() if name not in ("access", "notes")},
        "soft_label_policy.name": policy.name,
        "soft_label_policy.hash": policy.hash,
        "split": record.split,
        "model.name": model.name,
        "model.revision": model.revision,
        "model.dtype": model.dtype,
        "model.hears": model.hears,
        "seed": record.seed,
        **{f"versions.{name}": record.versions.get(name) for name in LIBRARIES},
        "shard.utterances": (record.shard or {}).get("utterances"),
        "shard.sha256": (record.shard or {}).get("sha256"),
    }
    yield from (Said(field, value, file) for field, value in stated.items())
    if part.run.config is not None:
        config = part.run.home / ".hydra" / "config.yaml"
        yield from (Said(field, value, config) for field, value in _settings(part.run))


def _settings(run: RunFolder) -> Iterator[tuple[str, Any]]:
    """What counts of a configuration, option by option, interpolations left as they are; order counts too."""
    from omegaconf import OmegaConf

    values: Any = OmegaConf.to_container(run.config, resolve=False) if run.config is not None else {}
    dataset, model = values.get("dataset") or {}, values.get("model") or {}
    yield from _leaves({name: values.get(name) for name in SETTINGS}, "")
    yield from _leaves({name: dataset.get(name) for name in OF_A_CORPUS}, "dataset")
    yield from _leaves({name: value for name, value in model.items() if name not in OF_A_JOB}, "model")


def _leaves(values: Mapping, place: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        where = f"{place}.{name}".lstrip(".")
        if isinstance(value, Mapping) and value:
            yield f"{where} (in order)", list(value)
            yield from _leaves(value, where)
        else:
            yield where, value


# -- what they add up to -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sum:
    """The records of all parts as that of one run.

    Args:
        parts: All of them.
        order: Ids of the evaluated utterances, in the corpus's order.
    """

    parts: Sequence[Part]
    order: Sequence[str]

    @property
    def merged(self) -> list[dict[str, Any]]:
        """The parts, for the record: which, where, the checksum of its scores, its seconds and device."""
        return [
            {
                "part": str(part.shard),
                "run": str(part.run.folder.resolve()),
                "sha256": part.sha256,
                "seconds": (part.record.speed or {}).get("seconds", 0.0),
                "device": part.record.model.device,
            }
            for part in self.parts
        ]

    @property
    def record(self) -> Record:
        """The record of the whole run, without its seal."""
        records = [part.record for part in self.parts]
        first = records[0]
        skipped: Counter[str] = Counter()
        for record in records:
            skipped.update(record.num_skipped)
        names = dict.fromkeys(name for record in records for name in record.versions)
        versions = {name: _all(record.versions.get(name, "unknown") for record in records) for name in names}
        kinds = {kind: self._names((record.sound or {}).get(kind, ()) for record in records) for kind in FAULTS}
        return replace(
            first,
            model=first.model._replace(device=_all(record.model.device for record in records)),
            num_evaluated=len(self.order),
            num_skipped=dict(skipped),
            num_scored=sum(record.num_scored or 0 for record in records),
            shard=None,
            merged=self.merged,
            versions=versions,
            speed=_speed([record.speed or {} for record in records]),
            near_silent=self._united([record.near_silent for record in records]),
            sound={kind: ids for kind, ids in kinds.items() if ids} or None,
            long_audio=self._united([record.long_audio for record in records]),
            files=None,
        )

    def _united(self, facts: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
        """Facts of some utterances, as facts of all of them."""
        known = [fact for fact in facts if fact]
        return {**known[0], "utterances": self._names(fact["utterances"] for fact in known)} if known else None

    def _names(self, lists: Iterable[Sequence[str]]) -> list[str]:
        return sorted(
            (name for names in lists for name in names), key=lambda name: self._place.get(name, len(self.order))
        )

    @cached_property
    def _place(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.order)}


def _all(texts: Iterable[str]) -> str:
    return " + ".join(dict.fromkeys(texts))


def _speed(speeds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Clips and seconds of all parts added up, whether or not they ran side by side, and the largest peak memory."""
    clips, seconds = (sum(speed.get(name, 0) for speed in speeds) for name in ("clips", "seconds"))
    return {
        "clips": clips,
        "seconds": seconds,
        "clips_per_second": clips / seconds if seconds else 0.0,
        "peak_memory_mib": max(speed.get("peak_memory_mib", 0.0) for speed in speeds),
    }
