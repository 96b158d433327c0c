"""From the score table to distributions, predictions and metrics. Pure functions of stored scores; needs no model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from emoprobe.analysis.options import AnalysisOptions
from emoprobe.analysis.targets import Targets, make_targets
from emoprobe.beliefs.belief import Belief
from emoprobe.errors import EmoprobeError, InputError
from emoprobe.run.cell import (
    EVALUATED_INPUTS,
    EVALUATED_VOTES,
    KEYS,
    KNOWS_VOTES,
    TEXT_READOUTS,
    TRAINED,
    Cell,
    in_words,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from emoprobe.beliefs.calibration import Calibration
    from emoprobe.beliefs.distributions import Distributions
    from emoprobe.labels import LabelSet


def make_beliefs(scores: pa.Table, ids: Sequence[str], labels: LabelSet, options: AnalysisOptions, targets: Targets):
    """What every cell of a score table says, means over label orders and prompt ensembles included.

    Args:
        scores: The score table.
        ids: Evaluated utterances, in the order of every belief's rows.
        labels: The run's label set.
        options: What to derive.
        targets: For priors.
    """
    import pyarrow.compute as pc

    beliefs: list[Belief] = []
    names = ["model", "prompt", "readout"]
    groups = scores.select(names).group_by(names, use_threads=False).aggregate([]).to_pylist()
    for group in groups:
        mask = pc.and_(
            pc.and_(pc.equal(scores["model"], group["model"]), pc.equal(scores["prompt"], group["prompt"])),
            pc.equal(scores["readout"], group["readout"]),
        )
        table = scores.filter(mask)
        clips = table.filter(pc.equal(table["input"], "clip"))
        position = {name: i for i, name in enumerate(clips["utterance_id"].to_pylist())}
        lacking = [name for name in ids if name not in position]
        if lacking:
            where = in_words(tuple(group.values()))
            raise InputError(f"{where} was not asked of {lacking[0]!r} and {len(lacking) - 1} more scored clips")
        clips = clips.take([position[name] for name in ids])
        if group["readout"] in TEXT_READOUTS:
            beliefs += _text_beliefs(group, clips, labels, options, targets)
        else:
            beliefs += _score_beliefs(group, clips, table, labels.labels, options, targets)
    return beliefs + _combinations(beliefs, options)


def _text_beliefs(
    group: dict, clips: pa.Table, labels: LabelSet, options: AnalysisOptions, targets: Targets
) -> list[Belief]:
    """Beliefs of a readout whose answers are parsed: as stated, and scaled by what was fitted on votes.

    The other calibrations take out what a model would have said anyway, of which an answer tells nothing.
    """
    from emoprobe.beliefs import distributions as dist
    from emoprobe.beliefs import posthoc

    words = dist.known_words(labels)
    if group["readout"] == "sampled_text":
        texts = [" | ".join(drawn) for drawn in clips["sampled_texts"].to_pylist()]
        found = {"mean": (dist.sampled_text(clips, labels.labels, words, options.min_parsed), texts)}
    else:
        columns = {"parsed": "generated_text"}
        if group["readout"] == "constrained_text":
            columns = {"constrained": "constrained", "free": "free_text"}
        found = {
            variant: (
                dist.written_text(clips, labels.labels, words, column),
                clips["free_text" if variant == "free" else "generated_text"].to_pylist(),
            )
            for variant, column in columns.items()
        }
    scalings = [calibration for calibration in options.calibrations if calibration.kind in posthoc.FITS]
    beliefs = []
    for variant, (plain, texts) in found.items():
        calibrated = [("none", plain, "")]
        calibrated += [(scaling.name, *_scale(scaling, plain, targets)) for scaling in scalings]
        beliefs += [
            Belief(
                Cell(**group, variant=variant, calibration=name),
                fitted_on=of,
                distributions=result,
                label_mass=plain.label_mass,
                share_parsed=plain.share_parsed,
                reasoning_cut=_reasoning_cut(clips),
                generated_text=texts,
            )
            for name, result, of in calibrated
        ]
    return beliefs


def _reasoning_cut(clips: pa.Table) -> np.ndarray | None:
    """Whether each clip's reasoning stopped at its limit; None where the model was asked for none."""
    import numpy as np

    if clips["reasoning"].null_count == len(clips):
        return None
    return ~np.array([bool(finished) for finished in clips["reasoning_finished"].to_pylist()])


@dataclass(frozen=True)
class _Reading:
    """One variant of a readout of scores.

    Args:
        variant: Its name.
        derive: Rows -> distributions.
        form_scores: Rows -> log-score of every surface form, ``[rows, forms]`` nats; None where forms have none.
        label_mass: Rows -> probability that the answer is one of the forms, ``[rows]``; None where there is none.
    """

    variant: str
    derive: Callable[[pa.Table], Distributions]
    form_scores: Callable[[pa.Table], np.ndarray] | None = None
    label_mass: Callable[[pa.Table], np.ndarray] | None = None


def _readings(readout: str, clips: pa.Table, names: Sequence[str], options: AnalysisOptions) -> list[_Reading]:
    import numpy as np
    from scipy.special import logsumexp

    from emoprobe.beliefs import distributions as dist

    def of_layer(rows: pa.Table, layer: int) -> np.ndarray:
        return dist.layer_scores(rows)[:, layer]

    def mass_of_layer(rows: pa.Table, layer: int) -> np.ndarray:
        return np.exp(logsumexp(of_layer(rows, layer), axis=1))

    if readout == "label_likelihood":
        return [
            _Reading(
                name,
                partial(dist.label_likelihood, labels=names, normalization=name),
                partial(dist.form_scores, normalization=name),
                lambda rows: np.exp(rows["log_label_mass"].to_numpy()),
            )
            for name in options.label_likelihood
        ]
    if readout == "layerwise":
        count = dist.layer_scores(clips).shape[1]
        width = max(2, len(str(count - 1)))  # so that names sort as layers do
        return [
            _Reading(
                f"layer_{layer:0{width}}",
                partial(dist.layerwise, labels=names, layer=layer),
                partial(of_layer, layer=layer),
                partial(mass_of_layer, layer=layer),
            )
            for layer in range(count)
        ]
    if readout == "averaged_logits":
        return [
            _Reading(name, partial(dist.averaged_logits, labels=names, variant=variant))
            for name, variant in options.averaged_logits.items()
        ]
    # A trained head: its labels' log-probabilities stand where the forms' would.
    return [_Reading(TRAINED, partial(dist.label_likelihood, labels=names, normalization="sum"))]


def _score_beliefs(
    group: dict, clips: pa.Table, table: pa.Table, names: Sequence[str], options: AnalysisOptions, targets: Targets
) -> list[Belief]:
    """Beliefs of a readout of scores, one per variant and calibration."""
    beliefs = []
    for reading in _readings(group["readout"], clips, names, options):
        plain = reading.derive(clips)
        mass = None if reading.label_mass is None else reading.label_mass(clips)
        for calibration in options.calibrations:
            calibrated = _calibrate(calibration, plain, reading, clips, table, names, targets)
            if calibrated is not None:
                result, fitted_on = calibrated
                if reading.variant == TRAINED and _knows_votes(clips):
                    fitted_on = EVALUATED_VOTES
                beliefs.append(
                    Belief(
                        Cell(**group, variant=reading.variant, calibration=calibration.name),
                        fitted_on=fitted_on,
                        distributions=result,
                        label_mass=mass,
                        reasoning_cut=_reasoning_cut(clips),
                    )
                )
    return beliefs


def _knows_votes(clips: pa.Table) -> bool:
    """Whether a trained head is judged on what it was trained on."""
    return any(json.loads(options).get(KNOWS_VOTES) for options in clips["readout_options"].unique().to_pylist())


def _calibrate(calibration, plain, reading, clips, table, names, targets):
    """``(distributions, what was fitted on)``; None where the calibration does not apply to the readout.

    Where it applies and cannot be carried out, every utterance is ``undefined``.
    """
    import numpy as np
    import pyarrow.compute as pc
    from scipy.special import log_softmax

    from emoprobe.beliefs import calibration as cal
    from emoprobe.beliefs import distributions as dist
    from emoprobe.beliefs import posthoc

    if calibration.kind == "none":
        return plain, ""
    if calibration.kind in posthoc.FITS:
        return _scale(calibration, plain, targets)
    undefined = dist.Distributions(np.full_like(plain.log_probs, np.nan), ("undefined",) * len(plain.log_probs))
    if calibration.kind == "prior_matching":
        uniform = np.full(len(names), 1 / len(names))
        fitted_on = EVALUATED_INPUTS + (f" + {targets.prior_source}" if calibration.prior == "votes" else "")
        try:
            matched = cal.prior_matching(plain.log_probs, uniform if calibration.prior == "uniform" else targets.prior)
        except EmoprobeError:
            # A few clips with all but certain predictions, as in single layers: the cell fails, not the analysis.
            return undefined, fitted_on
        return replace(plain, log_probs=matched), fitted_on
    if reading.variant == TRAINED:
        return None  # a head was asked of clips only
    nulls = table.filter(pc.equal(table["input"], calibration.null))
    if not len(nulls):
        raise InputError(
            f"the score table holds no null input {calibration.null!r}",
            field=f"calibration.{calibration.name}",
            remedy=f"Run the probe with null_inputs.kinds=[{calibration.null}], or drop this calibration.",
        )
    if calibration.kind == "pmi":
        if reading.form_scores is None:
            return None
        scores = cal.pmi_forms(reading.form_scores(clips), reading.form_scores(nulls))
        pooled = dist.pool_forms(scores, clips["form_labels"][0].as_py(), names)
        return replace(plain, log_probs=log_softmax(pooled, axis=1)), "null inputs"
    null = reading.derive(nulls)
    if any(status != "ok" for status in null.status):
        return undefined, "null inputs"
    return replace(plain, log_probs=cal.contextual(plain.log_probs, null.probs)), "null inputs"


def _scale(calibration: Calibration, plain: Distributions, targets: Targets) -> tuple[Distributions, str]:
    """Temperature, vector or matrix scaling: distributions out of sample, and whose votes they were fitted on.

    A clip of a speaker without enough clips of others to fit on is ``not_fitted``, and counts as failed.
    """
    from emoprobe.beliefs import crossfit, posthoc

    frame = targets.frame
    ids = frame.index.to_list()
    speakers, splits = (frame[name].astype(object).tolist() for name in ("speaker", "split"))
    plan = crossfit.plan(ids, speakers, splits, folds=calibration.folds, seed=calibration.seed)
    log_probs, missing = posthoc.calibrate(
        calibration.kind,
        plain.log_probs,
        targets.distribution,
        plan,
        ids,
        l2=calibration.l2,
        floor=calibration.floor,
    )
    status = tuple(crossfit.NOT_FITTED if gone else old for gone, old in zip(missing, plain.status, strict=True))
    return replace(plain, log_probs=log_probs, status=status), plan.fitted_on


def _combinations(beliefs: Sequence[Belief], options: AnalysisOptions) -> list[Belief]:
    """Means over the label orders of a prompt, then ensembles over prompts, each prompt taken once.

    Text answers are averaged over orders only: most of them state one label, of which geometric means leave nothing.
    """
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
        if len(members) > 1 and members[0].cell.readout not in TEXT_READOUTS:
            ensembles += [_combine(members, kind, f"ensemble_{kind}({len(members)})") for kind in options.ensembles]
    return means + ensembles


def _combine(members: Sequence[Belief], kind: str, prompt: str) -> Belief:
    """One belief out of those of several prompts; its label mass and share of parsed draws are their means."""
    import numpy as np

    from emoprobe.beliefs.distributions import ensemble

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
    """One row per utterance and cell: the distribution beside its target; NaN where there is none."""
    import numpy as np
    import pandas as pd

    heard = scores.select(["utterance_id", "duration_seconds", "truncated"]).to_pandas()
    heard = heard.drop_duplicates("utterance_id").set_index("utterance_id").reindex(targets.frame.index)
    human = targets.frame[["speaker", "split", "transcript", "num_raters"]].join(heard)
    for prefix in ("target", "votes"):
        human = human.join(targets.frame[[f"{prefix}_{label}" for label in labels.labels]])
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
