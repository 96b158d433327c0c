"""Paired tests between readouts of one or several runs, on the utterances they share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emoprobe.errors import InputError
from emoprobe.metrics.functional import METRICS, headline_of, metrics_of
from emoprobe.metrics.significance import paired_tests
from emoprobe.run.cell import NO_PROMPT, Cell, read_choice, saw_its_votes, telling
from emoprobe.run.predictions import clusters_of

if TYPE_CHECKING:
    import pandas as pd

    from emoprobe.metrics.significance import PairedTest
    from emoprobe.run.folder import RunFolder

MAX_CELLS = 40
SEEN = "** fitted on the votes that it is judged by: it wins and loses nothing, and comes last"


def compare_runs(
    folders: Sequence[Path], cells: Sequence[str] = (), metric: str | None = None, *, resamples: int = 2000
) -> pd.DataFrame:
    """Paired tests of all pairs of readouts.

    Args:
        folders: Run folders.
        cells: Choices ``KEY=VALUE,...``; a cell takes part if it fits one of them, all if there is none.
        metric: Name of the metric; the headline of the label set where it is None.
        resamples: Random exchanges of speakers, and resamples of the intervals.

    Returns:
        One row per pair: a, b, metric, difference (a - b), low, high (95 %), p_value, adjusted_p_value (Holm),
        effect_size (Cohen's d_z over speakers), num_utterances, num_clusters, num_dropped (without a distribution in
        one), note (why there is no test, empty where there is one), fitted_on_a and fitted_on_b. A name bears the marks
        of the metric table: ``**`` where a cell was fitted on the votes that it is judged by.

    Raises:
        InputError: A folder is no run, the runs differ in corpus, label set, policy or targets, share no utterance, or
            there are fewer than two or more than 40 cells.
    """
    import pandas as pd

    from emoprobe.report.tables import mark_of

    if metric is not None and metric not in METRICS:
        raise InputError(f"there is no metric {metric!r}", field="--metric", remedy=f"Use one of {', '.join(METRICS)}.")
    wanted = [read_choice(text, "--cells") for text in cells]
    runs = _open(folders)
    label_set = next(iter(runs.values())).labels
    metric = metric or headline_of(label_set)
    if metric not in metrics_of(label_set):
        known = ", ".join(metrics_of(label_set))
        what = f"{metric} is no metric of the label set {label_set.name}"
        raise InputError(what, field="--metric", remedy=f"Use one of {known}.")
    kept = [
        (name, each)
        for name, run in runs.items()
        for each in run.cells()
        if not wanted or any(each.cell.fits(choice) for choice in wanted)
    ]
    found: dict[str, pd.DataFrame] = {}
    fitted: dict[str, str] = {}
    for folder, each in kept:
        name = _name(folder, each.cell, [(other, of.cell) for other, of in kept]) + mark_of(each.fitted_on)
        found[name], fitted[name] = each.rows.set_index("utterance_id"), each.fitted_on
    if not 2 <= len(found) <= MAX_CELLS:
        names = "; ".join(list(found)[:MAX_CELLS])
        raise InputError(
            f"{len(found)} cells are to be compared, and 2 to {MAX_CELLS} can be",
            field="--cells",
            remedy=f"Choose with --cells KEY=VALUE,...; found: {names or 'none'}.",
        )
    ids = _common(found)
    first = next(iter(found.values())).loc[ids]
    labels = [name.removeprefix("p_") for name in first.columns if name.startswith("p_")]
    target, votes = (first[[f"{part}_{label}" for label in labels]].to_numpy(float) for part in ("target", "votes"))
    for name, rows in found.items():
        if not np.allclose(rows.loc[ids, [f"target_{label}" for label in labels]].to_numpy(float), target, atol=1e-9):
            raise InputError(
                f"{name} was judged against other targets", remedy="Compare runs of one soft-label policy."
            )
    predictions = {
        name: rows.loc[ids, [f"p_{label}" for label in labels]].to_numpy(float) for name, rows in found.items()
    }
    results = paired_tests(predictions, target, votes, clusters_of(first), metric, resamples=resamples)
    return pd.DataFrame(
        {
            "a": result.name_a,
            "b": result.name_b,
            "metric": metric,
            **{name: getattr(result.test, name) for name in ("difference", "low", "high", "p_value")},
            "adjusted_p_value": result.adjusted_p_value,
            **{name: getattr(result.test, name) for name in ("effect_size", "num_utterances", "num_clusters")},
            "num_dropped": result.num_dropped,
            "note": _untested(result.test),
            "fitted_on_a": fitted[result.name_a],
            "fitted_on_b": fitted[result.name_b],
        }
        for result in results
    )


def _untested(test: PairedTest) -> str:
    """Why a test says nothing, empty where it does."""
    if not test.num_utterances:
        return "not testable: no clip with both"
    if test.num_clusters < 2:
        return "not testable: one speaker"
    return "" if math.isfinite(test.difference) else "not testable: no finite difference"


def _name(folder: str, cell: Cell, cells: Sequence[tuple[str, Cell]]) -> str:
    """What tells a cell from the others."""
    parts = [folder] if len({other for other, _ in cells}) > 1 else []
    parts += [getattr(cell, key) for key in telling([of for _, of in cells])]
    return " ".join(part for part in parts if part not in ("", NO_PROMPT)) or cell.readout


def _open(folders: Sequence[Path]) -> dict[str, RunFolder]:
    """Shortest telling name of each folder -> its run; all of one corpus, label set and policy."""
    from emoprobe.run.folder import open_folder

    runs = {folder: open_folder(folder) for folder in dict.fromkeys(folder.resolve() for folder in folders)}
    for name in ("label_set", "corpus", "soft_label_policy"):
        different = {getattr(run.record.identity, name) for run in runs.values()}
        if len(different) > 1:
            shown = name.replace("soft_label", "soft-label").replace("_", " ")
            what = f"the runs differ in their {shown}: {', '.join(sorted(different))}"
            raise InputError(what, field="RUN", remedy="Compare runs that were judged alike.")
    return {_short(folder, list(runs)): run for folder, run in runs.items()}


def _short(folder: Path, others: Sequence[Path]) -> str:
    """The last parts of a path that tell it from the others."""
    for count in range(1, len(folder.parts) + 1):
        name = "/".join(folder.parts[-count:])
        if sum("/".join(other.parts[-count:]) == name for other in others) == 1:
            return name
    return str(folder)


def _common(found: Mapping[str, pd.DataFrame]) -> list[str]:
    frames = list(found.values())
    shared = set(frames[0].index).intersection(*(frame.index for frame in frames[1:]))
    if not shared:
        raise InputError("the runs share no utterance", field="RUN", remedy="Compare runs on the same utterances.")
    return [name for name in frames[0].index if name in shared]


def print_comparisons(frame: pd.DataFrame) -> None:
    """Print the tests, the surest first, those of a cell that saw the votes it is judged by last."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    for name in ("a", "b"):
        table.add_column(name, overflow="fold")
    for name in (f"{frame['metric'].iloc[0]} a - b", "95 %", "p", "p (Holm)", "d_z", "clips", "speakers"):
        table.add_column(name, justify="right", no_wrap=True)
    seen = frame[["fitted_on_a", "fitted_on_b"]].map(saw_its_votes).any(axis=1)
    for row in frame.assign(_seen=seen).sort_values(["_seen", "p_value"], kind="stable").to_dict("records"):
        interval = row["note"] or f"{_shown(row['low'], '+.4f')} {_shown(row['high'], '+.4f')}"
        numbers = [_shown(row["difference"], "+.4f"), interval]
        numbers += [_shown(row["p_value"], ".4g"), _shown(row["adjusted_p_value"], ".4g")]
        numbers += [_shown(row["effect_size"], "+.2f")]
        numbers += [str(row["num_utterances"]), str(row["num_clusters"])]
        table.add_row(Text(row["a"]), Text(row["b"]), *numbers)
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)
    print(
        "p: paired permutation test exchanging whole speakers; d_z: mean over standard deviation of the speakers' means"
    )
    if seen.any():
        print(SEEN)


def _shown(value: float, form: str) -> str:
    """A number in a format; ``-`` where there is none."""
    return "-" if math.isnan(value) else f"{value:{form}}"
