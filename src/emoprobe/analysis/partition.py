"""Which stratum an utterance is in: by ambiguity, raters, length, majority label, or a fact about the speaker.

Every stratum is a property of the human side or of the clip, never of a prediction, so all cells share the strata.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from emoprobe.errors import InputError
from emoprobe.metrics.functional import TIE_TOLERANCE, entropy, expected, majority, spread
from emoprobe.run.predictions import check_columns, clips_of

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("entropy", "entropy_quantiles", "num_raters", "duration", "majority", "mean", "spread")
FACT = "fact:"
UNKNOWN, NO_MAJORITY = "unknown", "no majority"
MAX_VALUES = 12
"""Numbers of raters, or values of a numeric fact, that are strata of their own; beyond that quantiles are taken."""
QUANTILE_NAMES = {3: "tertile", 4: "quartile", 5: "quintile", 10: "decile"}


class Stratum(NamedTuple):
    """A set of utterances.

    Args:
        name: Name for tables and figures.
        lower: Lower end of a range of numbers; NaN where there is none.
        upper: Its upper end.
    """

    name: str
    lower: float = math.nan
    upper: float = math.nan


class Strata(NamedTuple):
    """A partition of the utterances.

    Args:
        kind: What it is by.
        strata: Its parts in order; some may be empty.
        position: Utterance id -> index into ``strata``.
    """

    kind: str
    strata: tuple[Stratum, ...]
    position: dict[str, int]


def make_strata(
    predictions: pd.DataFrame,
    utterances: pd.DataFrame,
    labels: Sequence[str],
    *,
    by: str,
    width: float = 0.5,
    quantiles: int = 3,
) -> Strata:
    """Partition the evaluated utterances.

    * ``entropy``: entropy of the votes in bits: 0, then ranges of ``width``, each with its upper end, up to log2 K.
    * ``entropy_quantiles``, ``duration`` (seconds): quantiles. Equal values are never split, so with many ties a
      quantile may be larger than its share or empty; its ends are the lowest and highest value in it.
    * ``num_raters``: every number, or quantiles if there are more than `MAX_VALUES`.
    * ``majority``: the label that most raters chose; ties are ``no majority``.
    * ``mean``, ``spread``, of the points of a scale: the point nearest to the raters' mean, the higher one halfway; and
      their standard deviation, in quantiles.
    * ``fact:NAME``: a fact of the metadata (``fact:gender``). If all its values are numbers: decades for an ``age``,
      otherwise every value, or quantiles beyond `MAX_VALUES`. Otherwise every text is a stratum.

    Where a value is missing the stratum is ``unknown``, which comes last and only if it has utterances.

    Args:
        predictions: ``predictions.parquet`` of a run.
        utterances: ``utterances.parquet`` of the run; needed for facts.
        labels: Labels of the run, in order.
        by: One of `KINDS`, or ``fact:`` and a name.
        width: Of the entropy ranges, bits.
        quantiles: How many.

    Raises:
        InputError: There is no such kind or fact, a number is out of range, or a metadata cell is no JSON object.
    """
    if width <= 0 or quantiles < 2:
        raise InputError(
            f"width is {width} and quantiles {quantiles}", field="strata", remedy="Use width > 0 and quantiles >= 2."
        )
    clips = clips_of(predictions, labels)
    ids = clips.index.astype(str)
    if by == "majority":
        found = _of_majority(_targets(clips, labels), labels)
    elif by in ("mean", "spread"):
        target = _targets(clips, labels)
        near = np.floor(expected(target) + 0.5 + TIE_TOLERANCE).astype(np.int64)
        of_mean = [Stratum(f"near {label}") for label in labels], near
        found = of_mean if by == "mean" else _of_quantiles(spread(target), quantiles, "points")
    elif by in ("entropy", "entropy_quantiles"):
        bits = entropy(_targets(clips, labels)).numpy()
        top = math.log2(len(labels))
        found = _of_entropy(bits, width, top) if by == "entropy" else _of_quantiles(bits, quantiles, "bits")
    elif by in ("num_raters", "duration"):
        column = {"num_raters": "num_raters", "duration": "duration_seconds"}[by]
        check_columns(clips, [column], "predictions")
        values = clips[column].astype("Float64").to_numpy(np.float64, na_value=np.nan)
        found = _of_values(values, quantiles, "raters") if by == "num_raters" else _of_quantiles(values, quantiles, "s")
    elif by.startswith(FACT):
        found = _of_fact(_facts(utterances, ids, by.removeprefix(FACT)), by.removeprefix(FACT), quantiles)
    else:
        raise InputError(f"there are no strata by {by!r}", field="by", remedy=f"Use {', '.join(KINDS)} or {FACT}NAME.")
    strata, which = found
    if (which < 0).any():
        strata, which = [*strata, Stratum(UNKNOWN)], np.where(which < 0, len(strata), which)
    return Strata(by, tuple(strata), dict(zip(ids, which.tolist(), strict=True)))


def _targets(clips: pd.DataFrame, labels: Sequence[str]) -> np.ndarray:
    return clips[[f"target_{label}" for label in labels]].to_numpy(np.float64)


def _number(value: float, digits: int = 2) -> str:
    """At most that many decimals, at least one."""
    text = f"{value:.{digits}f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def _of_majority(target: np.ndarray, labels: Sequence[str]) -> tuple[list[Stratum], np.ndarray]:
    top = majority(target)
    which = np.where(top.unique.numpy(), top.label.numpy(), len(labels))
    return [*map(Stratum, labels), Stratum(NO_MAJORITY)], which


def _of_entropy(bits: np.ndarray, width: float, top: float) -> tuple[list[Stratum], np.ndarray]:
    count = math.ceil(top / width - TIE_TOLERANCE)
    edges = [min(i * width, top) for i in range(count + 1)]
    ranges = [Stratum(f"{_number(lower)} to {_number(upper)} bits", lower, upper) for lower, upper in pairwise(edges)]
    # An edge belongs to the range below it; entropies are known up to rounding.
    which = np.searchsorted(np.array(edges) + TIE_TOLERANCE, bits, side="left")
    return [Stratum("0 bits", 0.0, 0.0), *ranges], np.minimum(which, count)


def _snap(values: np.ndarray) -> np.ndarray:
    """Values that differ by rounding only become the lowest of them; NaN stays."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.concatenate([[True], ~(np.diff(ordered) <= TIE_TOLERANCE)])
    snapped = np.empty_like(values)
    snapped[order] = ordered[np.maximum.accumulate(np.where(starts, np.arange(len(values)), 0))]
    return snapped


def _of_quantiles(values: np.ndarray, quantiles: int, unit: str) -> tuple[list[Stratum], np.ndarray]:
    which = np.full(len(values), -1)
    known = np.isfinite(values)
    if known.any():
        snapped = _snap(values[known])
        edges = np.quantile(snapped, np.arange(1, quantiles) / quantiles, method="inverted_cdf")
        which[known] = np.searchsorted(edges, snapped, side="left")
    strata = []
    for i in range(quantiles):
        name, members = f"{QUANTILE_NAMES.get(quantiles, 'quantile')} {i + 1}", values[which == i]
        if len(members):
            low, high = float(members.min()), float(members.max())
            strata.append(Stratum(f"{name}: {_number(low)} to {_number(high)} {unit}".rstrip(), low, high))
        else:
            strata.append(Stratum(f"{name}: none"))
    return strata, which


def _of_values(values: np.ndarray, quantiles: int, unit: str) -> tuple[list[Stratum], np.ndarray]:
    """Every value a stratum, or quantiles if there are too many."""
    different = np.unique(values[np.isfinite(values)])
    if len(different) > MAX_VALUES:
        return _of_quantiles(values, quantiles, unit)
    which = np.where(np.isfinite(values), np.searchsorted(different, values), -1)
    return [Stratum(f"{value:g} {unit}".rstrip(), float(value), float(value)) for value in different], which


def _facts(utterances: pd.DataFrame, ids: Sequence[str], name: str) -> list[object]:
    """The fact of each utterance, None where it is not known."""
    check_columns(utterances, ["utterance_id", "metadata"], "utterances")
    if "role" in utterances.columns:
        utterances = utterances[utterances["role"] == "evaluated"]
    metadata: dict[str, dict] = {}
    for i, (utterance, text) in enumerate(
        zip(utterances["utterance_id"].astype(str), utterances["metadata"], strict=True)
    ):
        try:
            known = json.loads(text) if isinstance(text, str) else {}
        except json.JSONDecodeError:
            known = None
        if not isinstance(known, dict):
            raise InputError(f"the metadata of {utterance!r} is no JSON object", row=i + 1, field="metadata")
        metadata[utterance] = known
    values = [metadata.get(utterance, {}).get(name) for utterance in ids]
    if all(_missing(value) for value in values):
        names = sorted({fact for facts in metadata.values() for fact in facts})
        there = f"The facts are {', '.join(names)}." if names else "The corpus gives no facts."
        raise InputError(f"no utterance has the fact {name!r}", field="by", remedy=there)
    return [None if _missing(value) else value for value in values]


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value)) or not str(value).strip()


def _of_fact(facts: Sequence[object], name: str, quantiles: int) -> tuple[list[Stratum], np.ndarray]:
    try:
        numbers = np.array([math.nan if fact is None else _as_number(fact) for fact in facts])
    except ValueError:
        texts = [None if fact is None else str(fact).strip() for fact in facts]
        names = sorted({text for text in texts if text is not None})
        return [Stratum(f"{text}") for text in names], np.array([-1 if t is None else names.index(t) for t in texts])
    if name.lower() != "age":
        return _of_values(numbers, quantiles, "")
    decades = np.floor(numbers / 10)
    different = np.unique(decades[np.isfinite(decades)])
    which = np.where(np.isfinite(decades), np.searchsorted(different, decades), -1)
    return [Stratum(f"{10 * d:g} to {10 * d + 9:g}", 10 * d, 10 * d + 10) for d in different.tolist()], which


def _as_number(fact: Any) -> float:
    if isinstance(fact, bool):
        raise ValueError("a truth value is no number")
    value = float(fact)
    if not math.isfinite(value):
        raise ValueError("infinite")
    return value
