"""Late fusion of two runs: one distribution per utterance out of those of two cells, with a weight fitted on votes.

The pool is logarithmic or linear (`emoprobe.beliefs.opinion_pool`), its weight fitted on utterances of other speakers
than those it is applied to (`emoprobe.beliefs.crossfit.plan`). Of a trained head tested in folds, the distributions of
those utterances come from heads that may have been trained on the utterance at hand, of which one weight carries next
to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from emoprobe.errors import InputError
from emoprobe.options import OneOf, ShareBelowOne, valid

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from emoprobe.analysis.derive import Analysis
    from emoprobe.beliefs.crossfit import Plan
    from emoprobe.beliefs.targets import Targets

READOUT = "fusion"
PREDICTIONS_FILE = "predictions.parquet"


# -- what a run gives --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """One cell of a run.

    Args:
        folder: Where it was read.
        record: The run's ``run.json``.
        utterances: The run's ``utterances.parquet``.
        predictions: The cell's rows of ``predictions.parquet``, index = utterance id.
        keys: model, prompt, readout, variant and calibration.
    """

    folder: Path
    record: dict
    utterances: pd.DataFrame
    predictions: pd.DataFrame
    keys: dict[str, str]

    @property
    def fitted_on(self) -> str:
        """What the cell itself was fitted on."""
        return str(self.predictions["fitted_on"].iloc[0])


def read_source(folder: Path, choice: str, option: str) -> Source:
    """Read one cell of a run.

    Args:
        folder: A run folder, or the folder of an analysis inside one.
        choice: ``KEY=VALUE`` pairs with commas between, which leave one cell; empty if there is only one.
        option: The option that gave the choice, for errors.

    Raises:
        InputError: The folder is no run, or the choice leaves none or several cells.
    """
    import json

    import pandas as pd
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from emoprobe.run import integrity
    from emoprobe.run.cell import KEYS
    from emoprobe.run.folder import RUN_FILE, UTTERANCES_FILE, labels_of

    home = folder if (folder / RUN_FILE).is_file() else folder.parent
    try:
        record = json.loads((home / RUN_FILE).read_text(encoding="utf-8"))
        labels_of(record)
        for name in ("corpus", "soft_label_policy", "model", "versions"):
            record[name]
        utterances = pd.read_parquet(home / UTTERANCES_FILE)
        table = pq.read_table(folder / PREDICTIONS_FILE, columns=list(KEYS))
        cells = table.to_pandas().drop_duplicates().astype(str).to_dict("records")
        keys = _choose(cells, choice, folder, option)
        chosen = None
        for name, value in keys.items():
            same = pc.equal(table[name].cast("string"), value)
            chosen = same if chosen is None else pc.and_(chosen, same)
        whole = pq.read_table(folder / PREDICTIONS_FILE)
        integrity.check_predictions(folder, record, whole.to_pandas())
        predictions = whole.filter(chosen).to_pandas().set_index("utterance_id")
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"the folder holds no readable {RUN_FILE}, {UTTERANCES_FILE} and {PREDICTIONS_FILE}: {error}",
            file=folder,
            remedy="Give the folder of a run of emoprobe probe, train or fuse, or an analysis inside one.",
        ) from error
    return Source(folder, record, utterances, predictions, keys)


def _choose(cells: Sequence[Mapping[str, str]], choice: str, folder: Path, option: str) -> dict[str, str]:
    """The one cell that a choice leaves."""
    keys = list(cells[0]) if cells else []
    wanted = {}
    for pair in filter(None, choice.split(",")):
        key, _, value = (part.strip() for part in pair.partition("="))
        if key not in keys or not value:
            raise InputError(
                f"{pair!r} is no choice of a cell",
                field=option,
                remedy=f"Give KEY=VALUE pairs with commas between; keys are {', '.join(keys)}.",
            )
        wanted[key] = value
    left = [cell for cell in cells if all(cell[key] == value for key, value in wanted.items())]
    if len(left) == 1:
        return dict(left[0])
    shown = left or cells
    telling = [key for key in keys if len({cell[key] for cell in shown}) > 1] or keys
    lines = ["  " + ",".join(f"{key}={cell[key]}" for key in telling) for cell in shown]
    more = [f"  and {len(lines) - 40} more"] if len(lines) > 40 else []
    raise InputError(
        f"{len(left) or 'none'} of the run's {len(cells)} cells fit {choice!r}" if choice else "the cell is not clear",
        file=folder,
        field=option,
        remedy="\n".join(["Choose one of these:", *lines[:40], *more]),
    )


def check_alike(a: Source, b: Source) -> list[str]:
    """The utterances that both cells hold, in the order of the first.

    Raises:
        InputError: The runs differ in label set, corpus or soft-label policy, in an utterance's speaker or target, or
            share no utterance.
    """
    import numpy as np

    for name, key, facts in (
        ("label sets", "labels", ("name", "hash", "labels")),
        ("corpora", "corpus", ("name",)),
        ("soft-label policies", "soft_label_policy", ("name", "hash")),
    ):
        first, second = ([source.record[key][fact] for fact in facts] for source in (a, b))
        if first != second:
            one, two = (" ".join(map(str, value[:2])) for value in (first, second))
            raise InputError(
                f"the runs have different {name}: {one}, and {two}",
                file=b.folder,
                remedy="Fuse runs of the same corpus, label set and soft-label policy.",
            )
    there = set(b.predictions.index)
    ids = [name for name in a.predictions.index if name in there]
    if not ids:
        raise InputError(f"the runs in {a.folder} and {b.folder} share no utterance", field="RUN_B")
    columns = [f"target_{label}" for label in a.record["labels"]["labels"]]
    one, two = (source.predictions.loc[ids] for source in (a, b))
    unlike = ~np.isclose(one[columns].to_numpy(float), two[columns].to_numpy(float), atol=1e-9).all(axis=1)
    unlike |= (one["speaker"].astype(str) != two["speaker"].astype(str)).to_numpy()
    if unlike.any():
        raise InputError(
            f"the runs disagree about the votes or the speaker of {int(unlike.sum())} of {len(ids)} shared utterances, "
            f"{ids[int(unlike.argmax())]} the first",
            file=b.folder,
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
    from emoprobe.data.utterance import Skipped
    from emoprobe.report.results import print_results, write_results
    from emoprobe.run import sealing
    from emoprobe.run.folder import RUN_FILE, SKIPPED_FILE, UTTERANCES_FILE, labels_of, versions, write_skipped
    from emoprobe.system.output import write_json, write_parquet

    valid(Annotated[str, OneOf(POOLS)], pool, "pool")
    valid(ShareBelowOne, floor, "floor")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError("the folder is not empty", file=output, field="--output", remedy="Give a new folder.")
    a, b = (read_source(*given) for given in ((run_a, cells[0], "--cell-a"), (run_b, cells[1], "--cell-b")))
    ids = check_alike(a, b)
    labels = labels_of(a.record)
    kept = a.utterances[(a.utterances["role"] != "evaluated") | a.utterances["utterance_id"].isin(set(ids))]
    targets = make_targets(kept, labels)
    ids = targets.frame.index.to_list()
    human = (targets.frame[name].astype(object).tolist() for name in ("speaker", "split"))
    whose = plan(ids, *human, folds=folds, seed=seed)
    logs = [_logs(source, ids, labels.labels) for source in (a, b)]
    fused, parts = fuse_cells(*logs, targets.distribution, whose, ids, pool=pool, floor=floor)
    analysis = _analysis(a, b, logs, fused, whose, targets, labels.labels, pool)
    alone = [
        Skipped(name, "only_in_one_run", f"only {source.folder} holds it", str(source.folder), None)
        for source in (a, b)
        for name in source.predictions.index.difference(ids, sort=False)
    ]
    details = {"pool": pool, "fitted_on": whose.fitted_on, "folds": folds, "seed": seed, "floor": floor}
    details["sources"] = [
        {"run": str(s.folder.resolve()), "cell": s.keys, "fitted_on": s.fitted_on, "record": s.record} for s in (a, b)
    ]
    details["weights_of_first"] = [
        {"part": p.name, "weight": w, "num_fitted": n, "num_applied": int(p.apply.sum())} for p, n, w in parts
    ]
    models = a.record["model"], b.record["model"]
    model = {name: _both(*(str(of.get(name)) for of in models)) for name in models[0]}
    record = {name: a.record[name] for name in ("labels", "corpus", "soft_label_policy")} | {
        "split": _both(str(a.record.get("split")), str(b.record.get("split"))),
        "model": model,
        "num_evaluated": len(ids),
        "num_skipped": {"only_in_one_run": len(alone)} if alone else {},
        "seed": seed,
        "versions": versions(),
        "fusion": details,
    }
    output.mkdir(parents=True, exist_ok=True)
    write_parquet(kept, output / UTTERANCES_FILE)
    record[sealing.SEAL] = sealing.seal(output)
    drawn = write_results(output, analysis, record, figures=figures)
    write_json(record, output / RUN_FILE)
    write_skipped(alone, output / SKIPPED_FILE)
    print_results(analysis, record, output, drawn)
    print(weights_in_words([w for _, _, w in parts], a, whose.fitted_on))
    return output


def weights_in_words(weights: Sequence[float | None], first: Source, fitted_on: str) -> str:
    """One line about the fitted weights."""
    found = [weight for weight in weights if weight is not None]
    if len(found) < len(weights) or not found:
        return f"Weight   missing in {len(weights) - len(found)} of {len(weights)} parts: too few clips to fit it on"
    shown = " to ".join(dict.fromkeys(f"{weight:.3f}" for weight in (min(found), max(found))))
    return f"Weight   {shown} on {first.keys['readout']} of {first.folder}, fitted on {fitted_on}"


def _both(a: str, b: str) -> str:
    return a if a == b else f"{a} + {b}"


def _logs(source: Source, ids: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    import numpy as np

    with np.errstate(divide="ignore"):
        return np.log(source.predictions.loc[list(ids), [f"p_{label}" for label in labels]].to_numpy(np.float64))


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
    import numpy as np
    import pandas as pd

    from emoprobe.analysis.derive import Analysis
    from emoprobe.analysis.options import AnalysisOptions
    from emoprobe.analysis.rows import make_rows
    from emoprobe.beliefs.belief import Belief
    from emoprobe.beliefs.crossfit import NOT_FITTED
    from emoprobe.beliefs.distributions import Distributions
    from emoprobe.run.cell import KEYS, Cell

    ids, names = targets.frame.index.to_list(), [f"p_{label}" for label in labels]
    usable = ~(np.isnan(logs[0]) | np.isnan(logs[1])).any(axis=1)
    done = ~np.isnan(fused).any(axis=1)
    status = np.where(done, "ok", np.where(usable, NOT_FITTED, "undefined")).tolist()
    keys = {name: _both(a.keys[name], b.keys[name]) for name in KEYS} | {"readout": READOUT, "variant": pool}
    origins = [part for of in (a.fitted_on, b.fitted_on, whose.fitted_on) for part in of.split(" + ") if part]
    own = {**keys, "fitted_on": " + ".join(dict.fromkeys(origins)), "status": status}
    blank = {"generated_text": None, "label_mass": np.nan, "share_parsed": np.nan, "reasoning_cut": pd.NA}
    known = {name: value for name, value in blank.items() if name in a.predictions}
    frames = [a.predictions.loc[ids].reset_index().assign(**own, **known)]
    frames[0][names] = np.exp(fused)
    beliefs = [Belief(Cell(**keys), fitted_on=own["fitted_on"], distributions=Distributions(fused, tuple(status)))]
    for source, log in _parents(a, b, logs, keys):
        frame = source.predictions.loc[ids].reset_index()
        frames.append(frame.assign(**source.keys))
        mass = frame["label_mass"].to_numpy(np.float64)
        beliefs.append(
            Belief(
                Cell(**source.keys),
                fitted_on=source.fitted_on,
                distributions=Distributions(log, tuple(frame["status"].astype(str))),
                label_mass=None if np.isnan(mass).all() else mass,
            )
        )
    predictions = pd.concat(frames, ignore_index=True)
    for name in (*KEYS, "fitted_on", "status", "speaker", "split"):
        predictions[name] = predictions[name].astype("category")
    return Analysis(predictions, make_rows(beliefs, targets, AnalysisOptions(())), targets)


def _parents(
    a: Source, b: Source, logs: Sequence[np.ndarray], fused: Mapping[str, str]
) -> list[tuple[Source, np.ndarray]]:
    """The parents with their distributions: one if both are the same, and each under a name of its own."""
    import numpy as np

    alike = a.keys == b.keys
    if alike and np.array_equal(logs[0], logs[1], equal_nan=True) and a.keys != fused:
        return [(a, logs[0])]
    marked = [replace(s, keys=s.keys | {"prompt": f"{s.keys['prompt']} [{n}]"}) for s, n in ((a, "A"), (b, "B"))]
    named = [new if alike or old.keys == fused else old for old, new in zip((a, b), marked, strict=True)]
    return list(zip(named, logs, strict=True))
