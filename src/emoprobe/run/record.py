"""What was run: label set, corpus, soft labels, model, sizes and versions, as a run's record tells it."""

from __future__ import annotations

import json
import platform
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.prepare import Prepared
from emoprobe.data.utterance import Corpus, CorpusCard, Skipped
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet, Scale
from emoprobe.run import files
from emoprobe.system.places import checkout

LIBRARIES = (
    "emoprobe",
    "torch",
    "transformers",
    "lightning",
    "torchmetrics",
    "hydra-core",
    "numpy",
    "soxr",
    "soundfile",
)
REMEDY = "Give the folder of a run of emoprobe probe, train or fuse, or an analysis inside one."
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError)


class PolicyFacts(NamedTuple):
    """The soft-label policy of a run: its options in words, and their hash."""

    name: str
    hash: str


class ModelFacts(NamedTuple):
    """The model of a run: its name, revision, precision and device, and whether it hears or is told words only."""

    name: str
    revision: str
    dtype: str
    device: str
    hears: bool = True

    def to_json(self) -> dict[str, Any]:
        """Plain values; that a model hears goes without saying."""
        return {name: value for name, value in self._asdict().items() if name != "hears" or not value}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ModelFacts:
        """The facts that `to_json` gave."""
        name, revision, dtype, device = (str(value[each]) for each in cls._fields[:4])
        return cls(name, revision, dtype, device, bool(value.get("hears", True)))


class Identity(NamedTuple):
    """What must be equal for two runs to be ranked together, beside the utterances themselves."""

    label_set: str
    corpus: str
    soft_label_policy: str
    split: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a reader of a run's tables must know.

    Args:
        labels: The label set.
        label_set_hash: Its hash, as the run noted it.
        corpus: Card of the corpus.
        soft_label_policy: How votes became soft labels.
        split: The part of the corpus that was evaluated; None for all of it.
        model: The model.
        num_evaluated: Utterances to be evaluated.
        num_skipped: Reason -> utterances left out for it.
        shard: Which part of a run it is (``part``, such as ``3/64``), and size (``utterances``) and ``sha256`` of the
            whole; None of a whole run.
        seed: Of everything random.
        versions: Of everything a number may depend on.
        num_scored: Utterances scored; None of a run that goes on.
        speed: Clips, seconds, clips per second, and the largest peak memory in MiB.
        cached_rows: Rows of the score table that came out of a score cache; None without any.
        near_silent: Utterances that are hardly heard, and below which level.
        sound: Kind of fault (`emoprobe.data.sound.faults.FAULTS`) -> utterances that have it and are taken; None
            without any.
        long_audio: Utterances longer than ``max_seconds``, and what was done with them (``choice``); None without any.
        head: Settings of the head that was trained.
        loss: Settings of its loss.
        fit: Settings of its training.
        partition: How the corpus was divided.
        num_left_out_of_partition: Utterances that no part of it uses.
        merged: The parts that it was made of: part, folder, checksum of its scores, seconds and device of each.
        fusion: Sources, options and weights of a fusion.
        files: Checksums of a finished run's score table and utterances, see `emoprobe.run.sealing`.
        more: What another version of emoprobe wrote beside these.
    """

    labels: LabelSet
    label_set_hash: str
    corpus: CorpusCard
    soft_label_policy: PolicyFacts
    split: str | None
    model: ModelFacts
    num_evaluated: int | None = None
    num_skipped: Mapping[str, int] = field(default_factory=dict)
    shard: Mapping[str, Any] | None = None
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    num_scored: int | None = None
    speed: Mapping[str, float] | None = None
    cached_rows: int | None = None
    near_silent: Mapping[str, Any] | None = None
    sound: Mapping[str, Sequence[str]] | None = None
    long_audio: Mapping[str, Any] | None = None
    head: Mapping[str, Any] | None = None
    loss: Mapping[str, Any] | None = None
    fit: Mapping[str, Any] | None = None
    partition: Mapping[str, Any] | None = None
    num_left_out_of_partition: int | None = None
    merged: Sequence[Mapping[str, Any]] | None = None
    fusion: Mapping[str, Any] | None = None
    files: Any = None
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> Identity:
        """What must be equal for two runs to be ranked together."""
        return Identity(self.label_set_hash, self.corpus.name, self.soft_label_policy.hash, str(self.split))

    @property
    def title(self) -> str:
        """The corpus for titles; a synthetic one says so, and so does a part."""
        title = self.corpus.title
        marked = title if not self.corpus.synthetic or "synthetic" in title.lower() else f"{title} (SYNTHETIC)"
        return f"{marked} (PART {self.part})" if self.part else marked

    @property
    def part(self) -> str:
        """Which part of a run it is, such as ``3/64``; empty of a whole one."""
        return str(self.shard["part"]) if self.shard else ""

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not known is left out."""
        labels = self.labels
        own = {
            "labels": {
                "name": labels.name,
                "labels": list(labels.labels),
                "words": {label: {k: list(v) for k, v in kinds.items()} for label, kinds in labels.words.items()},
                "aliases": dict(labels.aliases),
                "forms": None if labels.forms is None else list(labels.forms),
                **({} if labels.scale is None else {"scale": asdict(labels.scale)}),
                "hash": self.label_set_hash,
            },
            "corpus": asdict(self.corpus),
            "soft_label_policy": self.soft_label_policy._asdict(),
            "split": self.split,
            "model": self.model.to_json(),
        }
        later = {name: getattr(self, name) for name in _LATER if getattr(self, name) is not None}
        return own | later | dict(self.more)

    @classmethod
    def from_json(cls, value: Any) -> Record:
        """The record that `to_json` gave.

        Raises:
            InputError: Something is missing, or is not what it should be.
        """
        try:
            labels = value["labels"]
            known = {name: value[name] for name in _LATER if value.get(name) is not None}
            for name in ("num_skipped", "versions", "shard"):
                dict(known.get(name, {}))
            return cls(
                labels=_label_set(labels),
                label_set_hash=str(labels["hash"]),
                corpus=_card(value["corpus"]),
                soft_label_policy=PolicyFacts(*(str(value["soft_label_policy"][n]) for n in PolicyFacts._fields)),
                split=value.get("split"),
                model=ModelFacts.from_json(value["model"]),
                **known,
                more={name: of for name, of in value.items() if name not in (*_FIRST, *_LATER)},
            )
        except _MALFORMED as error:
            detail = f"{type(error).__name__}: {error}" if not isinstance(error, InputError) else error.what
            raise InputError(f"it is no record of a run ({detail})", remedy=REMEDY) from error


def _label_set(value: Mapping[str, Any]) -> LabelSet:
    """The label set of a record; before there were verbalizers its words were called forms."""
    name, labels, aliases = value["name"], tuple(value["labels"]), value.get("aliases", {})
    if "words" in value:
        scale = Scale(**value["scale"]) if "scale" in value else None
        return LabelSet(name, labels, value["words"], aliases, value.get("forms"), scale)
    return LabelSet(name, labels, value["forms"], aliases)


def _card(value: Mapping[str, Any]) -> CorpusCard:
    """The card of a corpus; texts that a record does not tell are empty."""
    known = {each.name: value[each.name] for each in fields(CorpusCard) if each.name in value}
    known |= {name: str(value[name]) for name in ("name", "title")}
    return CorpusCard(**dict.fromkeys(("licence", "access", "citation", "raters"), "") | known)


_FIRST = ("labels", "corpus", "soft_label_policy", "split", "model")
_LATER = tuple(each.name for each in fields(Record) if each.name not in (*_FIRST, "label_set_hash", "more"))


def read_record(folder: Path) -> Record:
    """The record of a run folder.

    Raises:
        InputError: There is none, or it is damaged.
    """
    file = folder / files.RECORD
    try:
        return Record.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        detail = error.what if isinstance(error, InputError) else getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"the folder holds no readable {files.RECORD}: {detail}", file=folder, remedy=REMEDY
        ) from error


def make_record(
    corpus: Corpus,
    prepared: Prepared,
    skipped: Sequence[Skipped],
    labels: LabelSet,
    model: ModelFacts,
    *,
    policy: SoftLabelPolicy,
    split: str | None,
    seed: int,
) -> Record:
    """The record of a run that evaluates what was prepared."""
    return Record(
        labels=labels,
        label_set_hash=labels.hash,
        corpus=corpus.card,
        soft_label_policy=PolicyFacts(policy.name, policy.hash),
        split=split,
        model=model,
        num_evaluated=len(prepared.items),
        num_skipped=dict(Counter(row.reason for row in skipped)),
        shard=None if prepared.division is None else prepared.division.facts,
        seed=seed,
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """Versions of everything a number may depend on, and the project's git revision where there is one."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    found["git"] = _git_revision()
    return found


def _git_revision() -> str:
    root = checkout()
    if root is None:
        return "unknown"
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
