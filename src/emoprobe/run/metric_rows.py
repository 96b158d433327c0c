"""Rows of the metric table: as a run states them, as numbers, and as a data frame."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emoprobe.metrics.floors import FLOORS
from emoprobe.metrics.functional import METRICS
from emoprobe.run.cell import KEYS

if TYPE_CHECKING:
    import pandas as pd


def read_rows(rows: Sequence[Mapping]) -> list[dict]:
    """Rows of ``metrics.json`` with floats where JSON has null and the texts inf and -inf, and nothing left out.

    Raises:
        KeyError: A row lacks an entry.
        TypeError: An entry is not what it should be.
        ValueError: A number is none.
    """
    return [{**row, **_numbers(row)} for row in rows]


def _numbers(row: Mapping) -> dict:
    plain: dict[str, Any] = {name: str(row[name]) for name in ("kind", *KEYS, "fitted_on")}
    plain |= {"num_utterances": int(row["num_utterances"]), "num_failed": int(row["num_failed"])}
    mass = row.get("mean_label_mass")
    plain["mean_label_mass"] = None if mass is None else float(mass)
    plain["statuses"] = {str(name): int(count) for name, count in (row.get("statuses") or {}).items()}
    plain["metrics"] = {name: _float(value) for name, value in row["metrics"].items()}
    for name in ("shuffled", "share_of_range", "ceiling"):
        plain[name] = _values(row.get(name))
    plain["floors"] = {name: _values(of) for name, of in (row.get("floors") or {}).items()}
    for name in ("intervals", "range_intervals"):
        plain[name] = _ends(row.get(name))
    plain["minus_floor"] = {name: _ends(of) for name, of in (row.get("minus_floor") or {}).items()}
    plain["doubt"] = str(row.get("doubt") or "")
    plain["num_speakers"] = int(row.get("num_speakers") or 0)
    return plain


def _ends(found: Mapping | None) -> dict[str, tuple[float, ...]]:
    ends = {metric: tuple(map(_float, pair)) for metric, pair in (found or {}).items() if pair is not None}
    return {metric: pair for metric, pair in ends.items() if not any(map(math.isnan, pair))}


def _values(found: Mapping | None) -> dict[str, float]:
    return {metric: _float(value) for metric, value in (found or {}).items()}


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


def measures_of(row: Mapping, rows: Sequence[Mapping]) -> dict[str, Mapping[str, float]]:
    """Floor, reference or ``ceiling`` -> its metrics on the clips that a readout's own metrics are of.

    Args:
        row: The readout; its own where it failed on some clips, else those of the other rows.
        rows: All rows of its table.
    """
    if row.get("floors"):
        return {**row["floors"], "ceiling": row["ceiling"]}
    return {
        "ceiling" if other["kind"] == "ceiling" else other["readout"]: other["metrics"]
        for other in rows
        if other["kind"] == "ceiling" or other["readout"] in FLOORS
    }


def metrics_frame(rows: Sequence[dict]) -> pd.DataFrame:
    """One row per cell; columns for each metric, its interval (``_low``, ``_high``), shuffled value, share of the range
    and, of readouts, floors and ceiling of the very clips that their metrics are of (``prior_js_divergence``), and the
    interval of their paired difference from each floor (``minus_prior_js_divergence_low``).
    """
    import pandas as pd

    ends = ("intervals", "range_intervals", "minus_floor")
    nested = {"metrics", "statuses", "shuffled", "share_of_range", "floors", "ceiling", *ends}
    plain = [{key: value for key, value in row.items() if key not in nested} for row in rows]
    parts = [pd.DataFrame(plain), pd.DataFrame([row["metrics"] for row in rows])]
    for key, prefix in (("shuffled", "shuffled_"), ("share_of_range", "share_of_range_")):
        parts.append(pd.DataFrame([row.get(key, {}) for row in rows], index=parts[0].index).add_prefix(prefix))
    for key, prefix in (("intervals", ""), ("range_intervals", "share_of_range_")):
        for end, suffix in enumerate(("_low", "_high")):
            found = [{name: pair[end] for name, pair in row.get(key, {}).items()} for row in rows]
            parts.append(pd.DataFrame(found, index=parts[0].index).add_prefix(prefix).add_suffix(suffix))
    for end, suffix in enumerate(("_low", "_high")):
        apart = [_flat(row.get("minus_floor", {}), end) for row in rows]
        parts.append(pd.DataFrame(apart, index=parts[0].index).add_prefix("minus_").add_suffix(suffix))
    beside = [measures_of(row, rows) if row["kind"] == "readout" and row["metrics"] else {} for row in rows]
    flat = [{f"{name}_{m}": v for name, of in own.items() for m, v in of.items() if m in METRICS} for own in beside]
    parts.append(pd.DataFrame(flat, index=parts[0].index))
    return pd.concat(parts, axis=1).loc[:, lambda frame: ~frame.columns.duplicated()]


def _flat(floors: Mapping[str, Mapping], end: int) -> dict[str, float]:
    return {f"{floor}_{metric}": pair[end] for floor, of in floors.items() for metric, pair in of.items()}
