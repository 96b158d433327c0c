"""How much a result depends on the words of the prompt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from emoprobe.analysis.clips import is_combination
from emoprobe.errors import InputError
from emoprobe.metrics.functional import TIE_TOLERANCE, entropy, js_divergence
from emoprobe.metrics.intervals import mean_interval
from emoprobe.readout.base import names_of
from emoprobe.run.cell import SETTING, saw_its_votes
from emoprobe.run.predictions import CellPredictions, check_columns, read_cells

if TYPE_CHECKING:
    import pandas as pd

FACTORS = ("prompt", "model", "calibration", "readout")


@dataclass(frozen=True)
class PromptSet:
    """The prompts that one model, readout, variant and calibration was asked with, on the same utterances.

    Args:
        setting: Values of `~emoprobe.run.cell.SETTING`.
        prompts: Names of the prompts.
        fitted_on: Of each prompt's cell.
        utterances: Ids, ``[utterances]``.
        clusters: Speakers, as in `~emoprobe.run.predictions.CellPredictions`, ``[utterances]``.
        pred: Predicted probabilities, NaN where there is no distribution, ``[prompts, utterances, labels]``.
        target: Human probabilities, ``[utterances, labels]``.
    """

    setting: dict[str, str]
    prompts: tuple[str, ...]
    fitted_on: tuple[str, ...]
    utterances: np.ndarray
    clusters: np.ndarray
    pred: np.ndarray
    target: np.ndarray

    @property
    def scored(self) -> np.ndarray:
        """Which prompts gave which utterances a distribution, ``[prompts, utterances]``."""
        return np.isfinite(self.pred).all(axis=2)


def prompt_sets(
    predictions: pd.DataFrame, labels: Sequence[str], *, mean_over_orders: bool = False
) -> Iterator[PromptSet]:
    """The prompts of every setting that has at least two.

    Args:
        predictions: ``predictions.parquet`` of a run.
        labels: Labels of the run, in order.
        mean_over_orders: Take a prompt asked in several label orders once, as the mean over them; otherwise every
            order is a prompt. Ensembles are never taken.

    Raises:
        InputError: A column is missing, or a cell holds an utterance twice.
    """
    check_columns(predictions, SETTING, "predictions")
    for key, rows in predictions.groupby(list(SETTING), observed=True, sort=False, dropna=False):
        cells = list(read_cells(rows, labels))
        if mean_over_orders:
            prompts = [each.cell.prompt for each in cells]
            meant = {prompt.partition("@")[0] for prompt in prompts if "@mean(" in prompt}
            cells = [
                each
                for each, prompt in zip(cells, prompts, strict=True)
                if not prompt.startswith("ensemble_") and ("@mean(" in prompt or prompt.partition("@")[0] not in meant)
            ]
        else:
            cells = [each for each in cells if not is_combination(each.cell.prompt)]
        if len(cells) > 1:
            yield _stack(dict(zip(SETTING, key, strict=True)), cells)


def _stack(setting: dict[str, str], cells: Sequence[CellPredictions]) -> PromptSet:
    """Cells on the union of their utterances; where a cell lacks one, it has no distribution there."""
    place: dict[str, int] = {}
    for cell in cells:
        for utterance in cell.utterances:
            place.setdefault(utterance, len(place))
    pred = np.full((len(cells), len(place), cells[0].pred.shape[1]), np.nan)
    target = np.empty(pred.shape[1:])
    clusters = np.empty(len(place), dtype=object)
    for i, cell in enumerate(cells):
        rows = [place[utterance] for utterance in cell.utterances]
        pred[i, rows], target[rows], clusters[rows] = cell.pred, cell.target, cell.clusters
    pred[~np.isfinite(pred).all(axis=2)] = np.nan
    return PromptSet(
        setting=setting,
        prompts=tuple(each.cell.prompt for each in cells),
        fitted_on=tuple(each.fitted_on for each in cells),
        utterances=np.array(list(place), dtype=object),
        clusters=clusters,
        pred=pred,
        target=target,
    )


# -- between prompts ---------------------------------------------------------------------------------------------------


def between_prompts(predictions: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """How far apart the distributions are that different prompts gave for one utterance.

    Args:
        predictions: ``predictions.parquet`` of a run.
        labels: Labels of the run, in order.

    Returns:
        One row per setting (model, readout, variant, calibration) with two or more prompts, and utterance:
        ``utterance_id``, ``cluster``, ``num_prompts`` that gave it a distribution; ``js_between``, the mean over pairs
        of these prompts of the Jensen-Shannon divergence to base 2; ``label_tau``, the mean over pairs of Kendall's
        tau-b of the labels' probabilities (probabilities closer than 1e-9 are ties; a pair in which one prompt gives
        all labels the same probability has none). NaN where no pair has a value.

    Raises:
        InputError: As `prompt_sets`.
    """
    import pandas as pd

    parts = [_between(prompts) for prompts in prompt_sets(predictions, labels)]
    columns = [*SETTING, "utterance_id", "cluster", "num_prompts", "js_between", "label_tau"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _between(prompts: PromptSet) -> pd.DataFrame:
    import pandas as pd

    signs = _label_signs(prompts.pred)
    divergences, taus = [], []
    for a, b in combinations(range(len(prompts.prompts)), 2):
        divergences.append(js_divergence.by_clip(prompts.pred[a], prompts.pred[b]))
        taus.append(_tau(signs[a], signs[b]))
    return pd.DataFrame(
        {
            **prompts.setting,
            "utterance_id": prompts.utterances,
            "cluster": prompts.clusters,
            "num_prompts": prompts.scored.sum(axis=0),
            "js_between": _mean_of_known(np.stack(divergences)),
            "label_tau": _mean_of_known(np.stack(taus)),
        }
    )


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis, leaving out NaN; NaN where nothing is left."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _label_signs(pred: np.ndarray) -> np.ndarray:
    """For each pair of labels which has the higher probability: 1, -1, or 0 for a tie, ``[..., pairs]``; NaN stays."""
    first, second = np.triu_indices(pred.shape[-1], 1)
    difference = pred[..., first] - pred[..., second]
    return np.where(np.abs(difference) <= TIE_TOLERANCE, 0.0, np.sign(difference))


def _tau(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of each row (Kendall 1945), ``[utterances]``; NaN where a row is constant or missing."""
    power = np.abs(a).sum(axis=-1) * np.abs(b).sum(axis=-1)
    return np.where(power > 0, (a * b).sum(axis=-1) / np.sqrt(np.where(power > 0, power, 1)), np.nan)


def prompt_scores(predictions: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Every prompt's divergence from the raters, prompts of one setting on the same utterances.

    Args:
        predictions: ``predictions.parquet`` of a run.
        labels: Labels of the run, in order.

    Returns:
        One row per setting with two or more prompts, and prompt: ``prompt``, ``fitted_on``, ``num_failed`` (utterances
        without a distribution), ``num_complete`` (utterances on which every prompt of the setting has one, prompts that
        failed everywhere left aside) and ``js_divergence`` on these; NaN where there are none.

    Raises:
        InputError: As `prompt_sets`.
    """
    import pandas as pd

    rows = []
    for prompts in prompt_sets(predictions, labels):
        divergences, complete = _scores(prompts)
        for name, fitted_on, values in zip(prompts.prompts, prompts.fitted_on, divergences, strict=True):
            row = {**prompts.setting, "prompt": name, "fitted_on": fitted_on, "num_failed": int(np.isnan(values).sum())}
            mean = float(values[complete].mean()) if complete.any() else math.nan
            rows.append({**row, "num_complete": int(complete.sum()), "js_divergence": mean})
    columns = [*SETTING, "prompt", "fitted_on", "num_failed", "num_complete", "js_divergence"]
    return pd.DataFrame(rows, columns=columns)


def _scores(prompts: PromptSet) -> tuple[np.ndarray, np.ndarray]:
    """Divergence from the raters, ``[prompts, utterances]``, and on which utterances no working prompt failed."""
    divergences = np.stack([js_divergence.by_clip(pred, prompts.target) for pred in prompts.pred])
    working = prompts.scored[prompts.scored.any(axis=1)]
    return divergences, np.all(working, axis=0) if len(working) else np.zeros(len(prompts.utterances), dtype=bool)


def prompt_robustness(
    predictions: pd.DataFrame, labels: Sequence[str], *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """What changes if only the prompt does, for every model, readout, variant and calibration.

    Ensembles and means over label orders are left out; a prompt asked in several label orders is several prompts. A
    setting with a single prompt has no row.

    Args:
        predictions: ``predictions.parquet`` of a run.
        labels: Labels of the run, in order.
        resamples: Of the bootstrap over speakers.
        level: Coverage of the intervals.
        seed: Of the bootstrap.

    Returns:
        One row per setting:

        * ``num_prompts``, and ``num_prompts_failed`` of them on every utterance; ``num_utterances`` with a distribution
          from at least two prompts, ``num_failed`` others, ``num_complete`` with one from every prompt that works;
        * ``js_between`` with ``_low`` and ``_high``, ``js_between_q25``, ``_median``, ``_q75``: `between_prompts` over
          utterances;
        * ``label_tau``: its mean over utterances that have one;
        * ``entropy_tau``: mean over pairs of prompts of Kendall's tau-b between the two orders into which they put the
          utterances by the entropy of their predictions: do prompts agree on what is ambiguous?
        * ``best_prompt``, ``worst_prompt``, ``best_js_divergence``, ``worst_js_divergence``, their difference ``gap``
          with ``gap_low`` and ``gap_high`` (of these two prompts, which were chosen on the same utterances), and
          ``sd``, the standard deviation over prompts (n - 1), all on the complete utterances as in `prompt_scores`.
          No prompt is the best or the worst where one was fitted on the votes that it is judged by.

    Raises:
        InputError: As `prompt_sets`.
    """
    import pandas as pd

    bootstrap: dict[str, Any] = {"resamples": resamples, "level": level, "seed": seed}
    rows = []
    for prompts in prompt_sets(predictions, labels):
        between = _between(prompts)
        js, usable = between["js_between"].to_numpy(), (between["num_prompts"] >= 2).to_numpy()
        divergences, complete = _scores(prompts)
        row: dict[str, object] = {
            **prompts.setting,
            "fitted_on": " + ".join(sorted({part for of in prompts.fitted_on for part in of.split(" + ")} - {""})),
            "num_prompts": len(prompts.prompts),
            "num_prompts_failed": int((~prompts.scored.any(axis=1)).sum()),
            "num_utterances": int(usable.sum()),
            "num_failed": int((~usable).sum()),
            "num_complete": int(complete.sum()),
            "js_between": float(js[usable].mean()) if usable.any() else math.nan,
        }
        ends = mean_interval(js[usable], prompts.clusters[usable], **bootstrap)
        row["js_between_low"], row["js_between_high"] = ends
        quartiles = np.quantile(js[usable], [0.25, 0.5, 0.75]) if usable.any() else [math.nan] * 3
        row |= {f"js_between_{name}": float(q) for name, q in zip(("q25", "median", "q75"), quartiles, strict=True)}
        row["label_tau"] = float(between["label_tau"].mean())
        row["entropy_tau"] = _entropy_tau(prompts)
        rows.append(row | _extremes(prompts, divergences[:, complete], prompts.clusters[complete], bootstrap))
    return pd.DataFrame(rows)


def _entropy_tau(prompts: PromptSet) -> float:
    from scipy.stats import kendalltau

    bits = np.full(prompts.pred.shape[:2], np.nan)
    for i, scored in enumerate(prompts.scored):
        if scored.any():
            bits[i, scored] = np.round(entropy(prompts.pred[i, scored]).numpy(), 9)
    taus = []
    for a, b in combinations(bits, 2):
        both = ~(np.isnan(a) | np.isnan(b))
        if len(np.unique(a[both])) > 1 and len(np.unique(b[both])) > 1:
            taus.append(kendalltau(a[both], b[both]).statistic)
    return float(np.mean(taus)) if taus else math.nan


def _extremes(
    prompts: PromptSet, divergences: np.ndarray, clusters: np.ndarray, bootstrap: dict[str, Any]
) -> dict[str, object]:
    """Best and worst prompt on the utterances that all have, ``divergences [prompts, utterances]``."""
    working = ~np.isnan(divergences).any(axis=1)
    row: dict[str, object] = {"best_prompt": "", "worst_prompt": ""}
    numbers = ("best_js_divergence", "worst_js_divergence", "gap", "gap_low", "gap_high", "sd")
    row |= dict.fromkeys(numbers, math.nan)
    if not divergences.shape[1] or working.sum() < 2:
        return row
    means = np.where(working, divergences.mean(axis=1), np.nan)
    if any(map(saw_its_votes, prompts.fitted_on)):
        return row | {"sd": float(np.std(means[working], ddof=1))}
    best, worst = int(np.nanargmin(means)), int(np.nanargmax(means))
    low, high = mean_interval(divergences[worst] - divergences[best], clusters, **bootstrap)
    row |= {"best_prompt": prompts.prompts[best], "worst_prompt": prompts.prompts[worst]}
    values = (means[best], means[worst], means[worst] - means[best], low, high, np.std(means[working], ddof=1))
    return row | {name: float(value) for name, value in zip(numbers, values, strict=True)}


# -- where the variance of scores comes from ---------------------------------------------------------------------------


def variance_explained(
    scores: pd.DataFrame, *, metric: str = "js_divergence", factors: Sequence[str] = FACTORS
) -> pd.DataFrame:
    """Shares of the variance of cell scores that the prompt, the model, the calibration and the readout explain.

    A linear model of main effects by least squares. A factor's sum of squares is of type II (Yates 1934): what the
    residual grows by when the factor alone is taken out of the full model; it depends on no order of the factors. With
    a balanced design these are the sums of squares of the analysis of variance, and with the residual they add up to
    the total. Otherwise they do not: the rest, which several factors explain together, is ``shared`` (it may be
    negative). Interactions are part of the residual.

    Args:
        scores: One row per cell, `emoprobe.run.metric_rows.metrics_frame` or ``metrics.csv`` of one or several runs.
            Left out are floors, ensembles, means over label orders, single layers and cells whose score is not finite.
            Variants of a readout are levels of ``readout``.
        metric: The score.
        factors: Columns of ``scores``.

    Returns:
        One row per factor, then ``shared``, ``residual`` and ``total``: ``term``, ``levels``, ``df`` (degrees of
        freedom), ``sum_of_squares``, ``share`` of the total (NaN if all scores are equal), ``num_cells``,
        ``num_left_out`` (cells without a finite score).

    Raises:
        InputError: A column is missing, or fewer than two cells are left.
    """
    import pandas as pd

    check_columns(scores, [*dict.fromkeys((*factors, "prompt", "readout", "variant", metric))], "scores")
    kept = scores
    if "kind" in kept.columns:
        kept = kept[kept["kind"] == "readout"]
    kept = kept[~kept["prompt"].astype(str).map(is_combination) & ~kept["readout"].isin(names_of("layers"))]
    values = pd.to_numeric(kept[metric], errors="coerce").to_numpy(np.float64)
    finite = np.isfinite(values)
    left_out, kept, values = int((~finite).sum()), kept[finite], values[finite]
    if len(values) < 2:
        raise InputError(
            f"{len(values)} cells have a finite {metric}", field="scores", remedy="Give the scores of several cells."
        )
    columns = {name: kept[name].astype(str).fillna("").to_numpy() for name in factors}
    if "readout" in columns:
        columns["readout"] = columns["readout"] + "." + kept["variant"].fillna("").astype(str).to_numpy()
    dummies = {name: (names[:, None] == np.unique(names)[None, 1:]).astype(float) for name, names in columns.items()}
    total = float(((values - values.mean()) ** 2).sum())
    full, rank = _residual(values, list(dummies.values()))
    rows = []
    for name in factors:
        without, lower = _residual(values, [matrix for other, matrix in dummies.items() if other != name])
        rows.append((name, len(np.unique(columns[name])), rank - lower, max(0.0, without - full)))
    shared = total - full - sum(row[3] for row in rows)
    rows.append(("shared", 0, rank - 1 - sum(row[2] for row in rows), shared))
    rows += [("residual", 0, len(values) - rank, full), ("total", 0, len(values) - 1, total)]
    frame = pd.DataFrame(rows, columns=["term", "levels", "df", "sum_of_squares"])
    # Scores that differ by rounding only have no variance to explain.
    varies = total > len(values) * (1e-12 * max(1.0, float(np.abs(values).max()))) ** 2
    frame["share"] = frame["sum_of_squares"] / total if varies else math.nan
    return frame.assign(num_cells=len(values), num_left_out=left_out)


def _residual(values: np.ndarray, dummies: Sequence[np.ndarray]) -> tuple[float, int]:
    """Residual sum of squares of a linear model with intercept, and its rank."""
    design = np.concatenate([np.ones((len(values), 1)), *dummies], axis=1)
    solution, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    return float(((values - design @ solution) ** 2).sum()), int(rank)
