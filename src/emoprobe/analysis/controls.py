"""What a model's belief follows: beliefs under controls beside those about the same clips as they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emoprobe.metrics.functional import js_divergence
from emoprobe.metrics.intervals import mean_interval
from emoprobe.metrics.significance import holm, paired_test
from emoprobe.readout.base import names_of
from emoprobe.run.predictions import CellPredictions, read_cells

if TYPE_CHECKING:
    import pandas as pd

TESTS = ("worse", "toward_donor", "toward_donor_raters")
"""Differences of Jensen-Shannon divergences, each with an interval and a paired test by speakers."""


def follow(
    plain: pd.DataFrame,
    changed: Mapping[str, tuple[pd.DataFrame, Mapping[str, str]]],
    labels: Sequence[str],
    *,
    resamples: int = 1000,
) -> pd.DataFrame:
    """What becomes of the belief when one channel of every clip is changed, readout by readout.

    Args:
        plain: ``predictions.parquet`` of the run without a control.
        changed: Control -> ``predictions.parquet`` of the run with it, and utterance id -> id of the clip whose sound
            or words it was given; no ids where nothing was borrowed.
        labels: Labels of the runs, in order.
        resamples: Of speakers, and most exchanges of the paired tests.

    Returns:
        One row per control and cell of a single prompt without a calibration that both runs have, single layers left
        out. All divergences
        are Jensen-Shannon, base 2, means over the ``num_utterances`` that have a distribution in both; ``num_dropped``
        have not. ``moved``: between the belief about the clip and that about what it was changed to, with ``_low`` and
        ``_high``; 0 of a model that does not follow what was changed. ``js``, ``js_own``: from the clip's raters, with
        the control and without. Then `TESTS`, each with ``_low``, ``_high``, ``_p`` (paired permutation test by
        speakers) and ``_p_holm`` (adjusted over the rows): ``worse``, ``js - js_own``. Where something was borrowed,
        of the ``num_conflicts`` clips whose donor has a distribution too: ``toward_donor``, how much nearer the belief
        is to the model's own about the donor than to its own about the clip (above 0: it follows what was changed),
        and ``toward_donor_raters``, the same with the raters of either.
    """
    import pandas as pd

    layers = names_of("layers")
    plain_cells = {each.cell: each for each in read_cells(plain, labels) if each.cell.readout not in layers}
    rows = []
    for control, (frame, donors) in changed.items():
        for other in read_cells(frame, labels):
            own = plain_cells.get(other.cell)
            ensemble = other.cell.prompt.startswith("ensemble_")
            if own is not None and other.cell.calibration == "none" and not ensemble:
                rows.append({"control": control} | _row(own, other, donors, resamples))
    table = pd.DataFrame(rows)
    for test in TESTS if len(table) else ():
        table[f"{test}_p_holm"] = holm(table[f"{test}_p"])
    return table


def _row(own: CellPredictions, other: CellPredictions, donors: Mapping[str, str], resamples: int) -> dict[str, Any]:
    scored = set(own.utterances[own.scored])
    both = [name for name in other.utterances[other.scored] if name in scored]
    row: dict[str, Any] = {**own.cell._asdict(), "num_utterances": len(both)}
    row["num_dropped"] = len(other.utterances) - len(both)
    if not both:
        return row | dict.fromkeys(("moved", "js", "js_own", *TESTS, *(f"{test}_p" for test in TESTS)), math.nan)
    a, b = other.in_order(both), own.in_order(both)
    moved = js_divergence.by_clip(a.pred, b.pred)
    low, high = mean_interval(moved, b.clusters, resamples=resamples)
    row |= {"moved": float(moved.mean()), "moved_low": low, "moved_high": high}
    row |= {"js": float(js_divergence(a.pred, b.target)), "js_own": float(js_divergence(b.pred, b.target))}
    row |= _test("worse", a.pred, b.pred, b.target, b.clusters, resamples)
    conflicts = [name for name in both if donors.get(name) in scored]
    row["num_conflicts"] = len(conflicts)
    if conflicts:
        told, mine = a.in_order(conflicts), b.in_order(conflicts)
        donor = own.in_order([donors[name] for name in conflicts])
        row |= _test("toward_donor", mine.pred, donor.pred, told.pred, mine.clusters, resamples)
        row |= _test("toward_donor_raters", mine.target, donor.target, told.pred, mine.clusters, resamples)
    else:
        row |= {name: math.nan for test in TESTS[1:] for name in (test, f"{test}_p")}
    return row


def _test(
    name: str, first: np.ndarray, second: np.ndarray, reference: np.ndarray, clusters: np.ndarray, resamples: int
) -> dict[str, float]:
    """Divergence of the first from a reference minus that of the second: JS is symmetric, so either may be a belief."""
    found = paired_test(first, second, reference, None, clusters.tolist(), "js_divergence", resamples=resamples)
    return {name: found.difference, f"{name}_low": found.low, f"{name}_high": found.high, f"{name}_p": found.p_value}
