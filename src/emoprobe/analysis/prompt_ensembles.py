"""Several prompts made one prediction: means, votes of hard answers, and weights fitted on other speakers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from emoprobe.analysis.robustness import PromptSet, prompt_sets
from emoprobe.beliefs.distributions import Distributions, ensemble
from emoprobe.errors import InputError
from emoprobe.metrics.functional import predicted_labels
from emoprobe.run.cell import KEYS
from emoprobe.run.predictions import check_columns, clips_of

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("arithmetic", "geometric", "hard_vote", "weighted")


class Ensembles(NamedTuple):
    """What `ensembles` gives.

    Args:
        predictions: Rows of a predictions table, one per ensemble and utterance. The prompt is ``ensemble_KIND(n)``,
            ``num_members`` says how many of the n prompts contributed, ``status`` is ``ok``, ``partial`` (votes of some
            prompts) or ``undefined``. ``fitted_on`` names what the members were fitted on and, of ``weighted``,
            ``development votes`` or ``other speakers' votes (n folds)``.
        weights: One row per weighted ensemble, fit and member prompt: the ensemble's keys; ``fit`` (``development``, or
            the number of the fold whose speakers were held out); ``member``, ``weight``; ``num_utterances`` and
            ``num_speakers`` it was fitted on.
    """

    predictions: pd.DataFrame
    weights: pd.DataFrame


def ensembles(
    predictions: pd.DataFrame,
    labels: Sequence[str],
    *,
    kinds: Sequence[str] = KINDS,
    development: str = "development",
    folds: int = 5,
    seed: int = 0,
) -> Ensembles:
    """Combine the prompts of every model, readout, variant and calibration that has at least two.

    * ``arithmetic``, ``geometric``: `emoprobe.beliefs.distributions.ensemble`; undefined unless all prompts have one.
    * ``hard_vote``: every prompt's top label is one vote, halved between two tied labels and so on; a prompt without a
      distribution does not vote (VoxEmo, 2603.08936, lets it vote for all labels alike).
    * ``weighted``: the mixture of the prompts' distributions with the weights of `mixture_weights`. They are fitted on
      the utterances of the development split and used on all others, if there are both. The development utterances
      themselves, or all where there is no such split, are scored by cross-fitting: speakers are dealt to folds, and a
      fold is scored with the weights of the other folds, so that no utterance's weights have seen its speaker.
      Utterances of unknown speakers are dealt one by one. Undefined unless every prompt has a distribution, or where
      there is nothing to fit on.

    A prompt asked in several label orders counts once, as the mean over them. The results do not depend on the order
    of the rows.

    Args:
        predictions: ``predictions.parquet`` of a run.
        labels: Labels of the run, in order.
        kinds: Some of `KINDS`.
        development: Name of the development split.
        folds: Into how many folds speakers are dealt, at most as many as there are speakers.
        seed: Of the dealing.

    Raises:
        InputError: There is no such kind, fewer than two folds, or as `~emoprobe.analysis.robustness.prompt_sets`.
    """
    import pandas as pd

    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise InputError(f"unknown ensemble {unknown[0]!r}", field="kinds", remedy=f"Use some of {', '.join(KINDS)}.")
    if folds < 2:
        raise InputError(f"the number of folds is {folds}", field="folds", remedy="Use at least 2.")
    check_columns(predictions, ["split"], "predictions")
    clips = clips_of(predictions, labels)
    own = {*KEYS, "fitted_on", "status", "generated_text", "label_mass", "share_parsed", "reasoning_cut"}
    human = clips.drop(columns=[c for c in clips if c in own])
    human = human.drop(columns=[f"p_{label}" for label in labels])
    parts, weights = [], []
    for prompts in prompt_sets(predictions, labels, mean_over_orders=True):
        is_development = (human.loc[prompts.utterances, "split"].astype(object) == development).to_numpy()
        for kind in kinds:
            name = f"ensemble_{kind}({len(prompts.prompts)})"
            source = " + ".join(sorted({part for text in prompts.fitted_on for part in text.split(" + ")} - {""}))
            pred, fitted_on = np.empty(0), np.full(len(prompts.utterances), source, dtype=object)
            if kind == "weighted":
                pred, fits, of = _weighted(prompts, is_development, folds, seed)
                sources = [" + ".join(filter(None, (source, fit.fitted_on))) for fit in fits]
                fitted_on = np.array([sources[i] if i >= 0 else source for i in of], dtype=object)
                weights += [
                    row for fit in fits for row in fit.rows({**prompts.setting, "prompt": name}, prompts.prompts)
                ]
            else:
                pred = _hard_vote(prompts) if kind == "hard_vote" else _mean(prompts, kind)
            part = human.loc[prompts.utterances].reset_index()
            part = part.assign(**prompts.setting, prompt=name, fitted_on=fitted_on)
            part["num_members"] = prompts.scored.sum(axis=0)
            part["status"] = _status(pred, part["num_members"].to_numpy(), len(prompts.prompts))
            part[[f"p_{label}" for label in labels]] = pred
            parts.append(part)
    columns = [*KEYS, "fit", "fitted_on", "member", "weight", "num_utterances", "num_speakers"]
    empty = human.reset_index().head(0).assign(**dict.fromkeys([*KEYS, "fitted_on", "status"], ""), num_members=0)
    empty = empty.assign(**{f"p_{label}": 0.0 for label in labels})
    made = pd.concat(parts, ignore_index=True) if parts else empty
    return Ensembles(made, pd.DataFrame(weights, columns=columns))


def _status(pred: np.ndarray, members: np.ndarray, count: int) -> np.ndarray:
    defined = np.isfinite(pred).all(axis=1)
    return np.where(defined, np.where(members == count, "ok", "partial"), "undefined")


def _mean(prompts: PromptSet, kind: str) -> np.ndarray:

    with np.errstate(divide="ignore"):
        logs = np.log(prompts.pred)
    with np.errstate(invalid="ignore"):  # a label that all members exclude
        members = [Distributions(log, ("ok",) * len(log)) for log in logs]
        return ensemble(members, kind).probs


def _hard_vote(prompts: PromptSet) -> np.ndarray:
    """Shares of the votes of the prompts that have a distribution, ``[utterances, labels]``; NaN where none has."""
    votes = np.zeros(prompts.pred.shape[1:])
    for pred, scored in zip(prompts.pred, prompts.scored, strict=True):
        if scored.any():
            votes[scored] += predicted_labels(pred[scored]).numpy()
    count = prompts.scored.sum(axis=0)[:, None]
    return np.where(count > 0, votes / np.maximum(count, 1), np.nan)


class _Fit(NamedTuple):
    name: str
    fitted_on: str
    weights: np.ndarray
    num_utterances: int
    num_speakers: int

    def rows(self, key: dict[str, str], members: Sequence[str]) -> list[dict]:
        facts = {**key, "fit": self.name, "fitted_on": self.fitted_on}
        sizes = {"num_utterances": self.num_utterances, "num_speakers": self.num_speakers}
        return [
            {**facts, "member": member, "weight": float(weight), **sizes}
            for member, weight in zip(members, self.weights, strict=True)
        ]


def _weighted(
    prompts: PromptSet, is_development: np.ndarray, folds: int, seed: int
) -> tuple[np.ndarray, list[_Fit], np.ndarray]:
    """Mixture ``[utterances, labels]``, the fits, and which fit scored which utterance (-1: none)."""
    usable = np.all(prompts.scored, axis=0)
    pred = np.full(prompts.pred.shape[1:], np.nan)
    of = np.full(len(usable), -1)
    fits: list[_Fit] = []

    def score(name: str, fitted_on: str, training: np.ndarray, held_out: np.ndarray) -> None:
        training, held_out = training & usable, held_out & usable
        if not training.any() or not held_out.any():
            return
        weights = mixture_weights(prompts.pred[:, training], prompts.target[training])
        pred[held_out] = np.einsum("m,mnk->nk", weights, prompts.pred[:, held_out])
        of[held_out] = len(fits)
        fits.append(_Fit(name, fitted_on, weights, int(training.sum()), len(set(prompts.clusters[training]))))

    has_both = (is_development & usable).any() and not is_development[usable].all()
    crossed = is_development if has_both else np.ones(len(usable), dtype=bool)
    if has_both:
        score("development", "development votes", is_development, ~is_development)
    names = np.unique(prompts.clusters[crossed & usable].astype(str))
    if len(names) > 1:
        count = min(folds, len(names))
        dealt = dict(zip(np.random.default_rng(seed).permutation(names), np.arange(len(names)) % count, strict=True))
        fold = np.array([dealt.get(cluster, -1) for cluster in prompts.clusters])
        for i in range(count):
            inside = crossed & (fold == i)
            score(str(i), f"other speakers' votes ({count} folds)", crossed & (fold != i), inside)
    return pred, fits, of


def mixture_weights(
    pred: np.ndarray, target: np.ndarray, *, tolerance: float = 1e-6, max_iterations: int = 20_000
) -> np.ndarray:
    """Weights of a mixture of fixed distributions that minimise the mean ``KL(target || mixture)``.

    Expectation maximisation, ``w_m <- w_m g_m`` with ``g_m`` the mean over utterances of ``sum_k t_k p_mk / mix_k``
    (Cover 1984). The problem is convex, and ``ln max_m g_m`` bounds how far the divergence is from its minimum.
    Votes for labels that every member excludes are left aside: no weights could serve them.

    Args:
        pred: Distributions of the members, ``[members, utterances, labels]``, without NaN.
        target: Human probabilities, ``[utterances, labels]``.
        tolerance: The iteration ends when the divergence is this close to its minimum, nats.
        max_iterations: It also ends after so many.

    Returns:
        Weights, not negative, with sum 1, ``[members]``; equal where there is no vote to serve.

    Raises:
        InputError: The shapes do not fit, or a value is NaN.
    """
    pred, target = np.asarray(pred, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if pred.ndim != 3 or pred.shape[1:] != target.shape or not np.isfinite(pred).all() or not np.isfinite(target).all():
        raise InputError(f"members of shape {pred.shape} and a target of shape {target.shape}, or NaN", field="pred")
    served = (target > 0) & (pred > 0).any(axis=0)
    share = target[served]
    weights = np.full(len(pred), 1 / len(pred))
    if not len(share):
        return weights
    share = share / share.sum()
    members = np.ascontiguousarray(pred[:, served])  # [members, votes]
    for _ in range(max_iterations):
        gain = members @ (share / (weights @ members))
        weights = weights * gain
        weights /= weights.sum()
        if np.log(gain.max()) <= tolerance:
            break
    return weights
