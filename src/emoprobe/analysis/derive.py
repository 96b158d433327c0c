"""From the score table to distributions, predictions and metrics. Pure functions of stored scores; needs no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from emoprobe.analysis.options import AnalysisOptions
from emoprobe.beliefs import windows
from emoprobe.beliefs.belief import Belief
from emoprobe.beliefs.calibrations.base import Calibration, Evidence
from emoprobe.beliefs.calibrations.none import Uncalibrated
from emoprobe.beliefs.distributions import ensemble
from emoprobe.beliefs.targets import Targets, make_targets
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.metrics.functional import expected, spread
from emoprobe.readout.base import names_of
from emoprobe.readout.trained_head import stored_readout
from emoprobe.run.cell import KEYS, Cell, in_words
from emoprobe.run.scores import CLIP, WINDOWS


def make_beliefs(
    scores: pa.Table, ids: Sequence[str], labels: LabelSet, options: AnalysisOptions, targets: Targets
) -> list[Belief]:
    """What every cell of a score table says, means over label orders and prompt ensembles included.

    Args:
        scores: The score table.
        ids: Evaluated utterances, in the order of the cells' rows.
        labels: The run's label set.
        options: What to derive.
        targets: For priors.
    """
    beliefs: list[Belief] = []
    names = ["model", "prompt", "readout"]
    groups = scores.select(names).group_by(names, use_threads=False).aggregate([]).to_pylist()
    for group in groups:
        mask = pc.and_(
            pc.and_(pc.equal(scores["model"], group["model"]), pc.equal(scores["prompt"], group["prompt"])),
            pc.equal(scores["readout"], group["readout"]),
        )
        table = scores.filter(mask)
        of_clips = pc.equal(table["input"], CLIP)
        clips = table.filter(of_clips)
        clips = windows.arranged(clips, ids, in_words(tuple(group.values())))
        part, nulls = stored_readout(group["readout"], clips), table.filter(pc.invert(of_clips))
        for reading in map(windows.over_windows, part.read(clips, labels, options.of(part))):
            evidence = Evidence(reading, reading.derive(clips), clips, nulls, labels.labels, targets)
            beliefs += _calibrated(group, evidence, options.calibrations)
    return beliefs + _combinations(beliefs, options)


def _calibrated(group: dict, evidence: Evidence, calibrations: Sequence[Calibration]) -> list[Belief]:
    """What one variant of a readout says, under every calibration that applies to it."""
    reading, plain = evidence.reading, evidence.plain
    if reading.stated:  # most calibrations say nothing of an answer in words: it always stands as it is, too
        calibrations = [Uncalibrated(), *(one for one in calibrations if not isinstance(one, Uncalibrated))]
    texts = None if reading.texts is None else reading.texts(evidence.clips)
    beliefs = []
    for calibration in calibrations:
        found = calibration.apply(evidence)
        if found is not None:
            beliefs.append(
                Belief(
                    Cell(**group, variant=reading.variant, calibration=calibration.name),
                    fitted_on=reading.fitted_on or found.fitted_on,
                    distributions=found.distributions,
                    label_mass=plain.label_mass,
                    share_parsed=plain.share_parsed,
                    reasoning_cut=_reasoning_cut(evidence.clips),
                    generated_text=texts,
                )
            )
    return beliefs


def _reasoning_cut(clips: pa.Table) -> np.ndarray | None:
    """Whether each clip's reasoning stopped at its limit; None where the model was asked for none."""
    if clips["reasoning"].null_count == len(clips):
        return None
    cut = ~np.array([bool(finished) for finished in clips["reasoning_finished"].to_pylist()])
    return np.logical_or.reduceat(cut, windows.starts(clips))


def _combinations(beliefs: Sequence[Belief], options: AnalysisOptions) -> list[Belief]:
    """Means over the label orders of a prompt, then ensembles over prompts, each prompt taken once.

    Text answers are averaged over orders only: most of them state one label, of which geometric means leave nothing.
    """
    texts = names_of("text")
    groups: dict[Cell, dict[str, list[Belief]]] = {}
    for belief in beliefs:
        group = groups.setdefault(belief.cell._replace(prompt=""), {})
        group.setdefault(belief.cell.prompt.partition("@")[0], []).append(belief)
    means, ensembles = [], []
    for prompts in groups.values():
        members = []
        for name, orders in prompts.items():
            if len(orders) > 1:
                means.append(_combine(orders, "arithmetic", f"{name}@mean({len(orders)})"))
                members.append(means[-1])
            else:
                members.append(orders[0])
        if len(members) > 1 and members[0].cell.readout not in texts:
            ensembles += [_combine(members, kind, f"ensemble_{kind}({len(members)})") for kind in options.ensembles]
    return means + ensembles


def _combine(members: Sequence[Belief], kind: str, prompt: str) -> Belief:
    """One belief out of those of several prompts; its label mass and share of parsed draws are their means."""

    def mean(name: str) -> np.ndarray | None:
        values = [getattr(member, name) for member in members]
        return None if any(value is None for value in values) else np.mean(values, axis=0)

    cuts = [member.reasoning_cut for member in members if member.reasoning_cut is not None]
    return replace(
        members[0],
        cell=members[0].cell._replace(prompt=prompt),
        distributions=ensemble([member.distributions for member in members], kind),
        label_mass=mean("label_mass"),
        share_parsed=mean("share_parsed"),
        reasoning_cut=np.any(cuts, axis=0) if cuts else None,
        generated_text=None,
    )


def make_predictions(beliefs: Sequence[Belief], scores: pa.Table, labels: LabelSet, targets: Targets) -> pd.DataFrame:
    """One row per utterance and cell: the distribution beside its target; NaN where there is none.

    Of a label set with a scale also the expected value and the standard deviation of either. Where some were heard in
    windows a column says in how many each was.
    """
    own = [name for name in (WINDOWS,) if name in scores.column_names]
    heard = scores.select(["utterance_id", "duration_seconds", "truncated", *own]).to_pandas()
    if own:
        heard[WINDOWS] = heard[WINDOWS].fillna(1).astype(int)
    heard = heard.drop_duplicates("utterance_id").set_index("utterance_id").reindex(targets.frame.index)
    human = targets.frame[["speaker", "split", "transcript", "num_raters"]].join(heard)
    for prefix in ("target", "votes"):
        human = human.join(targets.frame[[f"{prefix}_{label}" for label in labels.labels]])
    if labels.points is not None:
        human = human.join(targets.frame[["target_mean", "target_spread"]])
    for name in ("speaker", "split"):
        human[name] = human[name].astype("category")
    size = len(human)
    predictions = pd.concat([human.reset_index()] * len(beliefs), ignore_index=True)
    # Categories from the start: with many layers a column of texts would be most of the memory.
    named = {name: [getattr(belief.cell, name) for belief in beliefs] for name in KEYS}
    for name, of in (named | {"fitted_on": [belief.fitted_on for belief in beliefs]}).items():
        values = pd.Categorical(of)
        predictions[name] = pd.Categorical.from_codes(np.repeat(values.codes, size), dtype=values.dtype)
    predictions["status"] = pd.Categorical([status for belief in beliefs for status in belief.distributions.status])
    texts = [text for belief in beliefs for text in belief.generated_text or [None] * size]
    predictions["generated_text"] = pd.Series(texts, dtype=object)
    for name in ("label_mass", "share_parsed"):
        values = [getattr(belief, name) for belief in beliefs]
        predictions[name] = np.concatenate([np.full(size, np.nan) if value is None else value for value in values])
    cuts = [[None] * size if of.reasoning_cut is None else of.reasoning_cut.tolist() for of in beliefs]
    predictions["reasoning_cut"] = pd.array([cut for part in cuts for cut in part], dtype="boolean")
    probs = np.concatenate([belief.distributions.probs for belief in beliefs])
    predictions[[f"p_{label}" for label in labels.labels]] = probs
    if labels.points is not None:
        predictions["expected"], predictions["spread"] = labels.points[0] + expected(probs), spread(probs)
    return predictions


@dataclass(frozen=True)
class Analysis:
    """Everything derived from one score table."""

    predictions: pd.DataFrame
    rows: list[dict]
    targets: Targets


def analyse(scores: pa.Table, utterances: pd.DataFrame, labels: LabelSet, options: AnalysisOptions) -> Analysis:
    """Derive distributions, metrics and floors from a score table.

    Args:
        scores: `emoprobe.run.scores.read_scores` of a run; clips of unfinished batches are simply not there.
        utterances: The run's ``utterances.parquet``.
        labels: The run's label set.
        options: What to derive.

    Raises:
        InputError: The table belongs to another label set, or holds no clip.
    """
    from emoprobe.analysis import rows

    hashes = set(scores["label_set_hash"].to_pylist())
    if hashes != {labels.hash}:
        raise InputError(f"the scores were made with label set {sorted(hashes)}, not {labels.name} ({labels.hash})")
    seen = set(scores["utterance_id"].to_pylist()) - {""}
    kept = utterances[(utterances["role"] != "evaluated") | utterances["utterance_id"].isin(seen)]
    if not seen:
        raise InputError("the score table holds no clip yet", remedy="Let the run finish at least one batch.")
    targets = make_targets(kept, labels)
    beliefs = make_beliefs(scores, list(targets.frame.index), labels, options, targets)
    predictions = make_predictions(beliefs, scores, labels, targets)
    return Analysis(predictions, rows.make_rows(beliefs, targets, options), targets)
