"""The record of Every Eval Ever (https://github.com/evaleval/every_eval_ever), aggregate schema 0.3.0."""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Mapping
from typing import Any

from emoprobe.metrics.functional import METRICS, metrics_of
from emoprobe.report.exports import EXPORTS, INTERVAL, Export, interval_of, slug, slug_of
from emoprobe.system.digest import digest_of

SCHEMA_VERSION = "0.3.0"


@EXPORTS.register("every_eval_ever")
def every_eval_ever(export: Export) -> dict[str, str]:
    """One record of all chosen readouts and metrics, at the place that its database gives it.

    The name of the file follows from what was evaluated, so that exporting again replaces it.
    """
    run, now = export.run, str(time.time())
    results = [
        _result(export, row, name, value)
        for row in export.rows
        for name, value in export.values(row, list(metrics_of(run.labels)))
    ]
    seal = digest_of(results)
    owner, _, name = export.model_id.rpartition("/")
    record = {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": f"{run.record.corpus.name}/{export.model_id}/{now}",
        "evaluation_timestamp": run.when,
        "retrieved_timestamp": now,
        "source_metadata": {
            "source_name": "emoprobe",
            "source_type": "evaluation_run",
            "source_organization_name": export.organization,
            "evaluator_relationship": export.relationship,
        },
        "eval_library": {
            "name": "emoprobe",
            "version": run.record.versions.get("emoprobe", "unknown"),
            "additional_details": _texts(run.record.versions),
        },
        "model_info": _model(export, owner),
        "evaluation_results": results,
    }
    file = (
        f"{slug(run.record.corpus.name)}/{slug(owner) or 'unknown'}/{slug(name)}/{uuid.UUID(seal[:32], version=4)}.json"
    )
    return {file: json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"}


def _model(export: Export, owner: str) -> dict[str, Any]:
    record = export.run.record
    trained = {"head": record.head, "loss": record.loss, "fusion": record.fusion}
    names = {name: settings.get("name", "yes") for name, settings in trained.items() if settings is not None}
    return {
        "name": export.model_id,
        "id": export.model_id,
        **({"developer": owner} if owner else {}),
        "additional_details": {
            "deployment_type": "unknown",
            "model_availability": "unknown",
            "revision": record.model.revision,
            "dtype": record.model.dtype,
            **_texts(names),
        },
    }


def _result(export: Export, row: Mapping, metric: str, value: float) -> dict[str, Any]:
    record, definition = export.run.record, export.run.definitions[metric]
    interval, resamples = interval_of(row, metric), export.resamples
    counts = {"num_utterances": row["num_utterances"], "num_failed": row["num_failed"]}
    counts |= {"num_speakers": row["num_speakers"]} if row.get("num_speakers") else {}  # earlier versions know none
    found: dict[str, Any] = {
        "evaluation_result_id": f"{slug_of(row)}/{metric}",
        "evaluation_name": f"{record.corpus.name}/{record.split or 'all'}",
        "source_data": _source(export),
        "metric_config": {
            "evaluation_description": definition["definition"],
            "metric_id": f"emoprobe.{metric}",
            "metric_name": metric,
            "metric_unit": definition["unit"],
            "lower_is_better": not definition["higher_is_better"],
            **_bounds(metric),
        },
        "score_details": {
            "score": value,
            "details": _texts(counts),
        },
        "generation_config": {"additional_details": _reading(export, row)},
    }
    if interval is not None:
        ends = {"lower": interval[0], "upper": interval[1], "confidence_level": 0.95, "method": INTERVAL}
        uncertainty = {"confidence_interval": ends, "num_samples": row["num_utterances"]}
        found["score_details"]["uncertainty"] = uncertainty | (
            {"num_bootstrap_samples": resamples} if resamples is not None else {}
        )
    return found


def _bounds(metric: str) -> dict[str, Any]:
    """Lowest and highest possible value, of a metric that this emoprobe knows."""
    if metric not in METRICS:
        return {}
    ends = {"min_score": METRICS[metric].lower, "max_score": METRICS[metric].upper}
    named = {math.inf: "Infinity", -math.inf: "-Infinity"}
    return {"score_type": "continuous", **{name: named.get(end, end) for name, end in ends.items()}}


def _source(export: Export) -> dict[str, Any]:
    """The corpus, by its card."""
    card, record = export.run.record.corpus, export.run.record
    told = ("title", "licence", "access", "citation", "raters", "notes", "synthetic")
    details = _texts({name: getattr(card, name) for name in told} | {"title": record.title, "split": record.split})
    if export.dataset_id is None:
        return {"dataset_name": card.name, "source_type": "other", "additional_details": details}
    split = {} if record.split is None else {"hf_split": record.split}
    place = {"dataset_name": card.name, "source_type": "hf_dataset", "hf_repo": export.dataset_id, **split}
    return place | {"additional_details": details}


def _reading(export: Export, row: Mapping) -> dict[str, str]:
    """How the distribution was read, and against what it was held."""
    record = export.run.record
    cell = {name: row[name] for name in ("prompt", "readout", "variant", "calibration", "fitted_on")}
    human = {
        "label_set": record.labels.name,
        "labels": ", ".join(record.labels.labels),
        "label_set_hash": record.label_set_hash,
        "soft_label_policy": record.soft_label_policy.name,
        "soft_label_policy_hash": record.soft_label_policy.hash,
        "seed": record.seed,
    }
    return _texts(cell | human)


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    """What is known, as texts: the schema takes no others."""
    return {name: str(value) for name, value in values.items() if value not in (None, "")}
