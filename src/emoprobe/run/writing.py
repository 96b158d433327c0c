"""Writing what a run folder holds beside its score table: the human side, the record, what was skipped, the results."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.prepare import Prepared
from emoprobe.data.utterance import Skipped, Utterance
from emoprobe.data.votes import rater_votes
from emoprobe.labels import LabelSet
from emoprobe.metrics.functional import expected, spread
from emoprobe.run import files, sealing
from emoprobe.run.record import Record
from emoprobe.run.scores import read_outcomes
from emoprobe.system.output import json_safe, write_json, write_parquet, write_rows

if TYPE_CHECKING:
    import pandas as pd


PLACE = "place"
"""Column of a part's utterances: their places in the whole."""


def utterances_frame(prepared: Prepared, labels: LabelSet, policy: SoftLabelPolicy) -> pd.DataFrame:
    """The human side as a data frame, one row per utterance.

    ``role`` is ``evaluated`` or ``training``; ``rater_votes`` is JSON, rater -> votes by label, or missing where nobody
    knows who said what. Of a label set with a scale, ``target_mean`` and ``target_spread`` are mean and standard
    deviation of the soft label. ``donor`` is whose sound or words a control gave. Where a part of a run is prepared,
    ``place`` is the utterance's in the whole.
    """
    import pandas as pd

    rows = []
    places = prepared.division.places if prepared.division is not None else {}
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
            if labels.points is not None:
                row["target_mean"] = labels.points[0] + float(expected(target.distribution))
                row["target_spread"] = float(spread(target.distribution))
            if utterance.donor is not None:
                row["donor"] = utterance.donor
            if prepared.division is not None:
                row[PLACE] = places.get(utterance.id)
            rows.append(row)
    frame = pd.DataFrame(rows, columns=None if rows else _columns(labels))
    if PLACE in frame:
        frame[PLACE] = frame[PLACE].astype("Int64")
    frame["num_raters"] = frame["num_raters"].astype("Float64")
    return frame


def _columns(labels: LabelSet) -> list[str]:
    """The columns of the human side of a part without a clip."""
    own = ["utterance_id", "role", "audio", "speaker", "split", "transcript", "num_raters", "outside_votes"]
    own += ["rater_votes", "metadata", *(f"{of}_{label}" for of in ("votes", "target") for label in labels.labels)]
    return [*own, *(() if labels.points is None else ("target_mean", "target_spread")), PLACE]


def _rater_votes(utterance: Utterance, labels: LabelSet, policy: SoftLabelPolicy) -> str | None:
    votes = {
        rater: {label: float(v) for label, v in zip(labels.labels, ballot, strict=True) if v}
        for rater, ballot in rater_votes(utterance, labels, policy).items()
    }
    return json.dumps(votes, ensure_ascii=False) if votes else None


def write_utterances(utterances: pd.DataFrame, folder: Path) -> Path:
    """Write the human side; returns the file."""
    write_parquet(utterances, folder / files.UTTERANCES)
    return folder / files.UTTERANCES


def write_skipped(skipped: Sequence[Skipped], folder: Path) -> Path:
    """Write what was left out, and why; returns the file."""
    rows = [[row.id, row.reason, row.message, row.file, row.row] for row in skipped]
    write_rows(["utterance_id", "reason", "message", "file", "row"], rows, folder / files.SKIPPED)
    return folder / files.SKIPPED


def read_skipped(folder: Path) -> list[Skipped]:
    """What was left out of the run of a folder so far, also by processes that have been stopped since."""
    file, found = folder / files.SKIPPED, []
    if file.is_file():
        with file.open(newline="", encoding="utf-8") as handle:
            for row in csv.DictReader(handle):
                number = int(row["row"]) if row["row"] else None
                found.append(Skipped(row["utterance_id"], row["reason"], row["message"], row["file"], number))
    return [*found, *(row for outcome in read_outcomes(folder).values() for row in outcome.skipped)]


def begin_run(folder: Path, record: Record, utterances: pd.DataFrame, skipped: Sequence[Skipped]) -> None:
    """Write what is known before the first score."""
    write_json(record.to_json(), folder / files.RECORD)
    write_utterances(utterances, folder)
    write_skipped(skipped, folder)


def finish_run(
    folder: Path, record: Record, skipped: Sequence[Skipped], utterances: pd.DataFrame | None = None
) -> Record:
    """Seal the score table and the human side of a run, and write its record and what was left out.

    Args:
        folder: Run folder, whose score table is whole.
        record: What was run.
        skipped: What was left out.
        utterances: The human side, if it is not there yet.

    Returns:
        The record with its seal.
    """
    if utterances is not None:
        write_utterances(utterances, folder)
    record = replace(record, files=sealing.seal(folder))
    write_json(record.to_json(), folder / files.RECORD)
    write_skipped(skipped, folder)
    return record


def write_results(
    folder: Path,
    record: Record,
    predictions: pd.DataFrame,
    rows: Sequence[Mapping],
    definitions: Mapping[str, Mapping],
) -> list[dict]:
    """Write the predictions and the metric table, sealed; returns the rows as they were written.

    Args:
        folder: Run folder, or that of a later analysis inside one; made if it is not there.
        record: The run's.
        predictions: One distribution per utterance and cell.
        rows: Rows of the metric table.
        definitions: Metric -> definition, unit, higher_is_better.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_parquet(predictions, folder / files.PREDICTIONS)
    policy = record.soft_label_policy
    full = [{**row, "soft_label_policy": policy.name, "policy_hash": policy.hash} for row in rows]
    sealed = sealing.seal_predictions(folder) | {sealing.ROWS: sealing.seal_rows(json_safe(full))}
    stated = {"run": record.to_json(), "metrics": definitions, "rows": full, sealing.SEAL: sealed}
    write_json(stated, folder / files.METRICS)
    return full
