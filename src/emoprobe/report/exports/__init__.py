"""How a finished run is told to others: one file per format.

Another format is one file here, or in a package of your own (see `emoprobe.registry`)::

    @EXPORTS.register("hf")
    def hub_results(export: Export) -> dict[str, str]: ...  # path below the output folder -> text of the file
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emoprobe.registry import Registry
from emoprobe.run.cell import Cell

if TYPE_CHECKING:
    from emoprobe.run.folder import RunFolder

INTERVAL = "bootstrap over whole speakers, expanded percentiles (calibration errors: basic interval)"
"""How the intervals of the metric table are made, see `emoprobe.metrics.intervals`."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """What of a run is told, and under which names.

    Args:
        run: The run, finished and checked.
        rows: Rows of its metric table that are told, readouts only.
        metrics: Names of the metrics that are told; None leaves the choice to the format.
        model_id: Name of the model, ``OWNER/MODEL`` where it is on a hub.
        dataset_id: ``OWNER/NAME`` of the corpus on the Hugging Face hub; None where it is not there.
        task_id: The benchmark's name of the one metric that is told; None for the metric's own name.
        organization: Who ran it.
        relationship: What that one is to the model's makers.
    """

    run: RunFolder
    rows: Sequence[Mapping]
    metrics: Sequence[str] | None
    model_id: str
    dataset_id: str | None
    task_id: str | None
    organization: str
    relationship: str

    def values(self, row: Mapping, default: Sequence[str]) -> Iterator[tuple[str, float]]:
        """Names and finite values of the chosen metrics of a row."""
        for name in self.metrics or default:
            value = row["metrics"].get(name, math.nan)
            if math.isfinite(value):
                yield name, value

    @property
    def resamples(self) -> int | None:
        """How many resamples its intervals are of; None where that is not known."""
        config = None if self.run.is_later_analysis else self.run.config
        return None if config is None or "analysis" not in config else config.analysis.get("resamples")


def interval_of(row: Mapping, metric: str) -> tuple[float, float] | None:
    """The 95 % interval of a metric; None where it has none."""
    low, high = row.get("intervals", {}).get(metric) or (math.nan, math.nan)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def slug_of(row: Mapping) -> str:
    """A file name for the cell of a row."""
    return slug("-".join(part for part in Cell.of(row)[1:] if part not in ("", "-", "none"))) or "readout"


def slug(text: str) -> str:
    """A name that is safe in a path."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-")


EXPORTS: Registry[Callable[[Export], dict[str, str]]] = Registry("export format", "emoprobe.report.exports")
