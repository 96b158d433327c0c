"""Late fusion of two runs: one distribution per utterance out of those of two cells, with a weight fitted on votes.

The pool is logarithmic or linear (`emoprobe.beliefs.opinion_pool`), its weight fitted on utterances of other speakers
than those it is applied to (`emoprobe.beliefs.crossfit.plan`). Of a trained head tested in folds, the distributions of
those utterances come from heads that may have been trained on the utterance at hand, of which one weight carries next
to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from emoprobe.beliefs.belief import Belief
from emoprobe.beliefs.distributions import Distributions
from emoprobe.data.utterance import Skipped
from emoprobe.errors import InputError
from emoprobe.options import OneOf, ShareBelowOne, valid
from emoprobe.run.cell import KEYS, Cell, read_choice, telling
from emoprobe.system.claim import LOCK_FILE, claimed

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from emoprobe.analysis.derive import Analysis
    from emoprobe.beliefs.crossfit import Plan
    from emoprobe.beliefs.targets import Targets
    from emoprobe.run.folder import RunFolder
    from emoprobe.run.record import Record

READOUT = "fusion"


# -- what a run gives --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """One cell of a run.

    Args:
        run: The run.
        cell: Which of its cells.
        rows: The cell's predictions, index = utterance id.
        fitted_on: What the cell itself was fitted on.
    """

    run: RunFolder
    cell: Cell
    rows: pd.DataFrame
    fitted_on: str

    def probs(self, ids: Sequence[str]) -> np.ndarray:
        """Predicted probabilities, ``[utterances, labels]``."""
        return self.rows.loc[list(ids), [f"p_{label}" for label in self.run.labels.labels]].to_numpy(float)


def read_source(folder: Path, choice: str, option: str) -> Source:
    """Read one cell of a run.

    Args:
        folder: A run folder, or the folder of an analysis inside one.
        choice: ``KEY=VALUE`` pairs with commas between, which leave one cell; empty if there is only one.
        option: The option that gave the choice, for errors.

    Raises:
        InputError: The folder is no run, or the choice leaves none or several cells.
    """
    from emoprobe.run.folder import open_folder

    run = open_folder(folder)
    cells = {each.cell: each for each in run.cells()}
    wanted = read_choice(choice, option)
    left = [cell for cell in cells if cell.fits(wanted)]
    if len(left) != 1:
        shown = left or list(cells)
        names = telling(shown) or KEYS
        lines = ["  " + ",".join(f"{name}={getattr(cell, name)}" for name in names) for cell in shown]
        more = [f"  and {len(lines) - 40} more"] if len(lines) > 40 else []
        raise InputError(
            f"{len(left) or 'none'} of the run's {len(cells)} cells fit {choice!r}"
            if choice
            else "the cell is not clear",
            file=folder,
            field=option,
            remedy="\n".join(["Choose one of these:", *lines[:40], *more]),
        )
    chosen = cells[left[0]]
    return Source(run, chosen.cell, chosen.rows.set_index("utterance_id"), chosen.fitted_on)


def check_alike(a: Source, b: Source) -> list[str]:
    """The utterances that both cells hold, in the order of the first.

    Raises:
        InputError: The runs differ in label set, corpus or soft-label policy, in an utterance's speaker or target, or
            share no utterance.
    """
    one, two = (source.run.record for source in (a, b))
    for name, first, second in (
        ("label sets", (one.labels.name, one.label_set_hash), (two.labels.name, two.label_set_hash)),
        ("label sets", one.labels.labels, two.labels.labels),
        ("corpora", (one.corpus.name,), (two.corpus.name,)),
        ("soft-label policies", one.soft_label_policy, two.soft_label_policy),
    ):
        if first != second:
            raise InputError(
                f"the runs have different {name}: {' '.join(first)}, and {' '.join(second)}",
                file=b.run.folder,
                remedy="Fuse runs of the same corpus, label set and soft-label policy.",
            )
    there = set(b.rows.index)
    ids = [name for name in a.rows.index if name in there]
    if not ids:
        raise InputError(f"the runs in {a.run.folder} and {b.run.folder} share no utterance", field="RUN_B")
    columns = [f"target_{label}" for label in one.labels.labels]
    here, beside = (source.rows.loc[ids] for source in (a, b))
    unlike = ~np.isclose(here[columns].to_numpy(float), beside[columns].to_numpy(float), atol=1e-9).all(axis=1)
    unlike |= (here["speaker"].astype(str) != beside["speaker"].astype(str)).to_numpy()
    if unlike.any():
        raise InputError(
            f"the runs disagree about the votes or the speaker of {int(unlike.sum())} of {len(ids)} shared utterances, "
            f"{ids[int(unlike.argmax())]} the first",
            file=b.run.folder,
            remedy="Fuse runs of the same version of the corpus.",
        )
    return ids


# -- a new run ---------------------------------------------------------------------------------------------------------


def fuse_runs(
    run_a: Path,
    run_b: Path,
    output: Path,
    *,
    cells: tuple[str, str] = ("", ""),
    pool: str = "geometric",
    folds: int = 5,
    seed: int = 0,
    floor: float = 0.01,
    figures: bool = True,
) -> Path:
    """Fuse one cell of each run, write the result as a run folder, print it, and return the folder.

    Utterances that only one run holds are listed in ``skipped.csv``. An utterance without a distribution in either
    cell, or without a weight, has none and counts as failed.

    Args:
        run_a: Folder of the first run.
        run_b: Folder of the second run.
        output: New folder.
        cells: Which cell of each, see `read_source`.
        pool: ``geometric`` or ``arithmetic``.
        folds: Folds of speakers, see `emoprobe.beliefs.crossfit.plan`.
        seed: Which speakers go together.
        floor: See `emoprobe.beliefs.posthoc.without_zeros`.
        figures: Whether to draw.

    Raises:
        InputError: An option is wrong, a folder is no run, a cell is not clear, or the runs do not fit together.
    """
    from emoprobe.beliefs.crossfit import plan
    from emoprobe.beliefs.opinion_pool import POOLS, fuse_cells
    from emoprobe.beliefs.targets import make_targets
    from emoprobe.report.results import print_results, write_results
    from emoprobe.run.writing import finish_run

    valid(Annotated[str, OneOf(POOLS)], pool, "pool")
    valid(ShareBelowOne, floor, "floor")
    if not (output / LOCK_FILE).exists():
        _check_empty(output)
    a, b = (read_source(*given) for given in ((run_a, cells[0], "--cell-a"), (run_b, cells[1], "--cell-b")))
    ids = check_alike(a, b)
    labels, human = a.run.labels, a.run.utterances
    kept = human[(human["role"] != "evaluated") | human["utterance_id"].isin(set(ids))]
    targets = make_targets(kept, labels)
    ids = targets.frame.index.to_list()
    whom = (targets.frame[name].astype(object).tolist() for name in ("speaker", "split"))
    whose = plan(ids, *whom, folds=folds, seed=seed)
    with np.errstate(divide="ignore"):
        logs = [np.log(source.probs(ids)) for source in (a, b)]
    fused, parts = fuse_cells(logs[0], logs[1], targets.distribution, whose, ids, pool=pool, floor=floor)
    analysis = _analysis(a, b, logs, fused, whose, targets, labels.labels, pool)
    alone = _only_in_one(a, b, ids)
    details = {"pool": pool, "fitted_on": whose.fitted_on, "folds": folds, "seed": seed, "floor": floor}
    details["sources"] = [_source_facts(source) for source in (a, b)]
    details["weights_of_first"] = [
        {"part": p.name, "weight": w, "num_fitted": n, "num_applied": int(p.apply.sum())} for p, n, w in parts
    ]
    with claimed(output, "fuse", "--output"):
        _check_empty(output)
        record = finish_run(output, _record(a, b, details, num_evaluated=len(ids), num_alone=len(alone)), alone, kept)
        drawn = write_results(output, analysis, record, figures=figures)
    print_results(analysis, record, output, drawn)
    print(weights_in_words([w for _, _, w in parts], a, whose.fitted_on))
    return output


def _check_empty(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(not each.name.startswith(".") for each in output.iterdir())):
        raise InputError("the folder is not empty", file=output, field="--output", remedy="Give a new folder.")


def _only_in_one(a: Source, b: Source, ids: Sequence[str]) -> list[Skipped]:
    """The utterances that are left out because only one run holds them."""
    return [
        Skipped(name, "only_in_one_run", f"only {source.run.folder} holds it", str(source.run.folder), None)
        for source in (a, b)
        for name in source.rows.index.difference(ids, sort=False)
    ]


def _source_facts(source: Source) -> dict[str, Any]:
    """What the record of a fusion says of a parent."""
    return {
        "run": str(source.run.folder.resolve()),
        "cell": source.cell._asdict(),
        "fitted_on": source.fitted_on,
        "record": source.run.record.to_json(),
    }


def _record(a: Source, b: Source, details: dict[str, Any], *, num_evaluated: int, num_alone: int) -> Record:
    """The record of the fused run."""
    from emoprobe.run.record import ModelFacts, Record, versions

    first, second = a.run.record, b.run.record
    name, revision, dtype, device = map(_both, first.model[:4], second.model[:4])
    hears = first.model.hears or second.model.hears
    return Record(
        labels=a.run.labels,
        label_set_hash=first.label_set_hash,
        corpus=first.corpus,
        soft_label_policy=first.soft_label_policy,
        split=_both(str(first.split), str(second.split)),
        model=ModelFacts(name, revision, dtype, device, hears),
        num_evaluated=num_evaluated,
        num_skipped={"only_in_one_run": num_alone} if num_alone else {},
        seed=details["seed"],
        versions=versions(),
        fusion=details,
    )


def weights_in_words(weights: Sequence[float | None], first: Source, fitted_on: str) -> str:
    """One line about the fitted weights."""
    found = [weight for weight in weights if weight is not None]
    if len(found) < len(weights) or not found:
        return f"Weight   missing in {len(weights) - len(found)} of {len(weights)} parts: too few clips to fit it on"
    shown = " to ".join(dict.fromkeys(f"{weight:.3f}" for weight in (min(found), max(found))))
    return f"Weight   {shown} on {first.cell.readout} of {first.run.folder}, fitted on {fitted_on}"


def _both(a: str, b: str) -> str:
    return a if a == b else f"{a} + {b}"


def _analysis(
    a: Source,
    b: Source,
    logs: Sequence[np.ndarray],
    fused: np.ndarray,
    whose: Plan,
    targets: Targets,
    labels: Sequence[str],
    pool: str,
) -> Analysis:
    """Predictions and rows of the fusion and of both parents, on the same utterances."""
    import pandas as pd

    from emoprobe.analysis.derive import Analysis
    from emoprobe.analysis.options import AnalysisOptions
    from emoprobe.analysis.rows import make_rows
    from emoprobe.beliefs.crossfit import NOT_FITTED

    ids, names = targets.frame.index.to_list(), [f"p_{label}" for label in labels]
    usable = ~(np.isnan(logs[0]) | np.isnan(logs[1])).any(axis=1)
    done = ~np.isnan(fused).any(axis=1)
    status = np.where(done, "ok", np.where(usable, NOT_FITTED, "undefined")).tolist()
    cell = Cell(*map(_both, a.cell, b.cell))._replace(readout=READOUT, variant=pool)
    origins = [part for of in (a.fitted_on, b.fitted_on, whose.fitted_on) for part in of.split(" + ") if part]
    fitted_on = " + ".join(dict.fromkeys(origins))
    own = {**cell._asdict(), "fitted_on": fitted_on, "status": status}
    blank = {"generated_text": None, "label_mass": np.nan, "share_parsed": np.nan, "reasoning_cut": pd.NA}
    known = {name: value for name, value in blank.items() if name in a.rows}
    frames = [a.rows.loc[ids].reset_index().assign(**own, **known)]
    frames[0][names] = np.exp(fused)
    beliefs = [Belief(cell, fitted_on, Distributions(fused, tuple(status)))]
    for source, log in _parents(a, b, logs, cell):
        frame = source.rows.loc[ids].reset_index()
        frames.append(frame.assign(**source.cell._asdict()))
        mass = frame["label_mass"].to_numpy(np.float64)
        beliefs.append(
            Belief(
                source.cell,
                fitted_on=source.fitted_on,
                distributions=Distributions(log, tuple(frame["status"].astype(str))),
                label_mass=None if np.isnan(mass).all() else mass,
            )
        )
    predictions = pd.concat(frames, ignore_index=True)
    for name in (*KEYS, "fitted_on", "status", "speaker", "split"):
        predictions[name] = predictions[name].astype("category")
    return Analysis(predictions, make_rows(beliefs, targets, AnalysisOptions(())), targets)


def _parents(a: Source, b: Source, logs: Sequence[np.ndarray], fused: Cell) -> list[tuple[Source, np.ndarray]]:
    """The parents with their distributions: one if both are the same, and each under a name of its own."""
    alike = a.cell == b.cell
    if alike and np.array_equal(logs[0], logs[1], equal_nan=True) and a.cell != fused:
        return [(a, logs[0])]
    marked = [replace(s, cell=s.cell._replace(prompt=f"{s.cell.prompt} [{n}]")) for s, n in ((a, "A"), (b, "B"))]
    named = [new if alike or old.cell == fused else old for old, new in zip((a, b), marked, strict=True)]
    return list(zip(named, logs, strict=True))
