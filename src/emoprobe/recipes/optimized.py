"""What an optimiser is told of a run: one metric of its development clips, never of clips to be tested.

Of a training it is the mean, over folds and their averaged members, of what the development clips had at the epoch
that was kept. Of a probe the development clips are analysed as if there were no others, and the value is that of the
best row that may be ranked; fewer readouts and calibrations leave no choice. Of a split of the corpus that is one to
develop on these are all its clips, otherwise those that ``dataset.partition`` develops on in ``dataset.fold``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from emoprobe.analysis.derive import analyse
from emoprobe.data.prepare import Item
from emoprobe.data.splits import split_items
from emoprobe.errors import InputError
from emoprobe.recipes.fields import DatasetSettings
from emoprobe.recipes.settings import ProbeSettings, TrainSettings
from emoprobe.report.sweep_table import best_of
from emoprobe.run import files
from emoprobe.run.cell import KEYS, has_rank
from emoprobe.run.scores import CLIP, read_scores
from emoprobe.system.output import write_json

if TYPE_CHECKING:
    import pandas as pd


def development_of(items: Sequence[Item], dataset: DatasetSettings) -> frozenset[str]:
    """Ids of the clips of a probe that may be chosen by.

    Args:
        items: What is evaluated.
        dataset: What the settings say of the corpus; one fold.

    Raises:
        InputError: There is none.
    """
    if dataset.split is not None and dataset.split.lower() in dataset.partition.named["development"]:
        return frozenset(item.utterance.id for item in items)
    assert dataset.fold != "all"  # the settings have refused it
    split = split_items(items, replace(dataset.partition, fold=dataset.fold))
    return frozenset(item.utterance.id for item in split.development)


def tell_of_probe(settings: ProbeSettings, items: Sequence[Item], frame: pd.DataFrame, logger: Any = None) -> None:
    """Write what an optimiser is told of a scored probe, if it is told anything.

    Args:
        settings: Of the run.
        items: What is evaluated.
        frame: The human side, as in ``utterances.parquet``.
        logger: The tracker, or None.

    Raises:
        InputError: No row that may be ranked has such a value.
    """
    if settings.optimize is None:
        return
    ids = development_of(items, settings.dataset)
    scores = read_scores(settings.output_dir)
    own = pc.is_in(scores["utterance_id"], value_set=pa.array(sorted(ids), scores["utterance_id"].type))
    scores = scores.filter(pc.or_(pc.invert(pc.equal(scores["input"], CLIP)), own))
    heard = frame[(frame["role"] != "evaluated") | frame["utterance_id"].isin(ids)]
    rows = analyse(scores, heard, settings.labels, replace(settings.derived, resamples=0)).rows
    best = best_of(rows, settings.optimize)
    if best is None or not has_rank(best):
        raise InputError(
            f"no row has a {settings.optimize} of all {len(ids)} development clips, so there is nothing to optimise",
            file=settings.output_dir,
            field="optimize",
            remedy="Read something else, such as readout=label_likelihood, or count failures as "
            "analysis.failures=uniform.",
        )
    clips = int((heard["role"] == "evaluated").sum())
    _write(settings, best["metrics"][settings.optimize], {"clips": clips, **{key: best[key] for key in KEYS}}, logger)


def tell_of_training(settings: TrainSettings, logger: Any = None) -> None:
    """Write what an optimiser is told of a training, if it is told anything.

    Args:
        settings: Of the run.
        logger: The tracker, or None.

    Raises:
        InputError: The metric is undefined or infinite on the development clips of a fold.
    """
    if settings.optimize is None:
        return
    name = "dev_loss" if settings.optimize == "loss" else settings.optimize
    folds = []
    for place in files.bundles(settings.output_dir):
        if place.name == "head_all":
            continue
        kept = json.loads((place / files.FACTS).read_text(encoding="utf-8"))["development"]
        values = [row.get(name, math.nan) for row in kept]
        if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
            raise InputError(
                f"{settings.optimize} has no finite value on the development clips, so there is nothing to optimise",
                file=place,
                field="optimize",
                remedy="Use another metric, or more clips: a larger dataset.limit.",
            )
        folds.append(sum(values) / len(values))
    _write(settings, sum(folds) / len(folds), {"folds": len(folds)}, logger)


def told(folder: Path, metric: str | None) -> float | None:
    """What an optimiser is told of a finished run; None where it is told nothing."""
    if metric is None:
        return None
    return float(json.loads((folder / files.OPTIMIZED).read_text(encoding="utf-8"))["value"])


def _write(settings: ProbeSettings | TrainSettings, value: float, of: Mapping[str, Any], logger: Any) -> None:
    write_json({"metric": settings.optimize, "value": value, **of}, settings.output_dir / files.OPTIMIZED)
    if logger is not None:
        logger.log_metrics({f"optimize/{settings.optimize}": value}, step=0)
