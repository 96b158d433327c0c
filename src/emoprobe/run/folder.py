"""A run: what its folder holds.

A run folder holds ``scores.parquet`` (the score table), ``utterances.parquet`` (the human side), ``run.json`` (label
set, corpus, model, versions), ``skipped.csv``, and what is derived from them: ``predictions.parquet``,
``metrics.json``, ``metrics.csv``, ``figures/``.
"""

from __future__ import annotations

import json
import platform
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from emoprobe.data.prepare import Prepared
from emoprobe.data.utterance import Corpus, Skipped, Utterance
from emoprobe.data.votes import SoftLabelPolicy, rater_votes
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.run import integrity
from emoprobe.run.scores import read_scores
from emoprobe.system.output import write_rows
from emoprobe.system.places import checkout

RUN_FILE, UTTERANCES_FILE, SKIPPED_FILE = "run.json", "utterances.parquet", "skipped.csv"
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


# -- configuration -----------------------------------------------------------------------------------------------------


# -- what a run folder holds -------------------------------------------------------------------------------------------


def utterances_frame(prepared: Prepared, labels: LabelSet, policy: SoftLabelPolicy):
    """The human side as a data frame, one row per utterance.

    ``role`` is ``evaluated`` or ``training``; ``rater_votes`` is JSON, rater -> votes by label, or missing where nobody
    knows who said what.
    """
    import pandas as pd

    rows = []
    for role, items in (("evaluated", prepared.items), ("training", prepared.others)):
        for item in items:
            utterance, target = item.utterance, item.target
            row = {
                "utterance_id": utterance.id,
                "role": role,
                "audio": str(utterance.audio),
                "speaker": utterance.speaker,
                "split": utterance.split,
                "transcript": utterance.transcript,
                "num_raters": target.num_raters,
                "outside_votes": target.outside_votes,
                "rater_votes": _rater_votes(utterance, labels, policy),
                "metadata": json.dumps(dict(utterance.metadata), sort_keys=True),
            }
            row |= {f"votes_{label}": target.votes[i] for i, label in enumerate(labels.labels)}
            row |= {f"target_{label}": target.distribution[i] for i, label in enumerate(labels.labels)}
            rows.append(row)
    frame = pd.DataFrame(rows)
    frame["num_raters"] = frame["num_raters"].astype("Float64")
    return frame


def _rater_votes(utterance: Utterance, labels: LabelSet, policy: SoftLabelPolicy) -> str | None:
    if not utterance.ratings:
        return None
    votes = {
        rater: {label: float(v) for label, v in zip(labels.labels, ballot, strict=True) if v}
        for rater, ballot in rater_votes(utterance, labels, policy).items()
    }
    return json.dumps(votes, ensure_ascii=False)


def write_skipped(skipped: Sequence[Skipped], file: Path) -> None:
    """``skipped.csv``: what was left out, and why."""
    rows = [[row.id, row.reason, row.message, row.file, row.row] for row in skipped]
    write_rows(["utterance_id", "reason", "message", "file", "row"], rows, file)


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


def make_record(
    corpus: Corpus,
    prepared: Prepared,
    skipped: Sequence[Skipped],
    labels: LabelSet,
    model: dict,
    *,
    policy: SoftLabelPolicy,
    split: str | None,
    seed: int,
) -> dict:
    """``run.json``: what a reader of the tables must know."""
    return {
        "labels": {
            "name": labels.name,
            "labels": list(labels.labels),
            "forms": {label: {k: list(v) for k, v in kinds.items()} for label, kinds in labels.forms.items()},
            "aliases": dict(labels.aliases),
            "hash": labels.hash,
        },
        "corpus": asdict(corpus.card),
        "soft_label_policy": {"name": policy.name, "hash": policy.hash},
        "split": split,
        "model": model,
        "num_evaluated": len(prepared.items),
        "num_skipped": dict(Counter(row.reason for row in skipped)),
        "seed": seed,
        "versions": versions(),
    }


def subtitle(record: dict) -> str:
    """Corpus and size for titles; a synthetic corpus says so."""
    card = record["corpus"]
    mark = "" if not card["synthetic"] or "synthetic" in card["title"].lower() else " (SYNTHETIC)"
    return f"{card['title']}{mark}"


def labels_of(record: dict) -> LabelSet:
    """The label set of a run."""
    value = record["labels"]
    return LabelSet(value["name"], tuple(value["labels"]), value["forms"], value.get("aliases", {}))


# -- later -------------------------------------------------------------------------------------------------------------


def read_run(folder: Path) -> tuple[Any, Any, dict]:
    """``(score table, utterances, record)`` of a run folder.

    Raises:
        InputError: The folder is not a run, or a file of it is damaged or no longer what the run wrote.
    """
    import pandas as pd

    scores = read_scores(folder)
    try:
        record = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
        labels_of(record)
        utterances = pd.read_parquet(folder / UTTERANCES_FILE)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"the folder holds a score table but no readable {RUN_FILE} and {UTTERANCES_FILE}: {error}",
            file=folder,
            remedy="Give the folder of a run of emoprobe probe.",
        ) from error
    integrity.check(folder, record, scores, utterances)
    return scores, utterances, record
