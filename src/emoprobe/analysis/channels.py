"""Text against token readouts, parse failures, label mass, layers, calibration, and which mixtures a model misses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from emoprobe.errors import InputError
from emoprobe.metrics.functional import (
    TIE_TOLERANCE,
    evaluate,
    js_divergence,
    metrics_of,
    predicted_labels,
    reliability_bins,
)
from emoprobe.metrics.intervals import mean_interval
from emoprobe.prompts.answers import STATUSES
from emoprobe.readout.base import names_of
from emoprobe.run.cell import KEYS
from emoprobe.run.predictions import CellPredictions, check_columns, read_cells

if TYPE_CHECKING:
    import pandas as pd

PAIR = ("model", "prompt", "token_readout", "token_variant", "token_calibration", "text_readout", "text_variant")
"""What a comparison of a token and a text readout is of."""


# -- text against tokens -----------------------------------------------------------------------------------------------


def channel_clips(predictions: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Every utterance under a text readout and a token readout of the same model and prompt.

    What a readout reads is its `emoprobe.readout.base.Stored.channel`; single layers are left out.

    Args:
        predictions: ``predictions.parquet`` of a run.
        labels: Labels of the run, in order.

    Returns:
        One row per `PAIR` and utterance: ``utterance_id``, ``cluster`` (its speaker); ``has_token``, ``has_text``:
        whether the readout gave a distribution; ``js_token``, ``js_text``: its Jensen-Shannon divergence from the
        raters, base 2; where both have one, ``js_between`` them and ``agreement``, 1 if their top labels are the same,
        0 if not, and the probability that they are where ties are broken at random. NaN where there is none.

    Raises:
        InputError: A column is missing, or a cell holds an utterance twice.
    """
    import pandas as pd

    check_columns(predictions, KEYS, "predictions")
    parts, of_text, of_layers = [], names_of("text"), names_of("layers")
    for _, rows in predictions.groupby(["model", "prompt"], observed=True, sort=False, dropna=False):
        readouts = set(rows["readout"])
        if not readouts & of_text or not readouts - of_text - of_layers:
            continue
        cells = list(read_cells(rows[~rows["readout"].isin(of_layers)], labels))
        texts = [each for each in cells if each.cell.readout in of_text]
        tokens = [each for each in cells if each.cell.readout not in of_text]
        parts += [_pair(token, text) for token in tokens for text in texts]
    columns = [*PAIR, "utterance_id", "cluster", "has_token", "has_text", "js_token", "js_text", "js_between"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*columns, "agreement"])


def _pair(token: CellPredictions, text: CellPredictions) -> pd.DataFrame:
    import pandas as pd

    place = {utterance: i for i, utterance in enumerate(text.utterances)}
    rows = np.array([i for i, utterance in enumerate(token.utterances) if utterance in place], dtype=int)
    others = np.array([place[utterance] for utterance in token.utterances[rows]], dtype=int)
    p, q, target = token.pred[rows], text.pred[others], token.target[rows]
    both = token.scored[rows] & text.scored[others]
    agreement = np.full(len(rows), np.nan)
    if both.any():
        agreement[both] = (predicted_labels(p[both]) * predicted_labels(q[both])).sum(dim=1).numpy()
    names = (
        *token.cell,
        text.cell.readout,
        text.cell.variant,
    )
    return pd.DataFrame(
        {
            **dict(zip(PAIR, names, strict=True)),
            "utterance_id": token.utterances[rows],
            "cluster": token.clusters[rows],
            "has_token": token.scored[rows],
            "has_text": text.scored[others],
            "js_token": js_divergence.by_clip(p, target),
            "js_text": js_divergence.by_clip(q, target),
            "js_between": js_divergence.by_clip(p, q),
            "agreement": agreement,
        }
    )


def channel_agreement(
    predictions: pd.DataFrame, labels: Sequence[str], *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Do the text that a model writes and the probabilities of its tokens say the same, and which is nearer to raters?

    Args:
        predictions: ``predictions.parquet`` of a run.
        labels: Labels of the run, in order.
        resamples: Of the bootstrap over speakers.
        level: Coverage of the interval.
        seed: Of the bootstrap.

    Returns:
        One row per `PAIR`: ``num_both``, ``num_only_token``, ``num_only_text``, ``num_neither`` (utterances with a
        distribution); means over the utterances with both: ``agreement`` of top labels, ``js_between``, ``js_token``,
        ``js_text`` and ``text_minus_token``, the paired difference of the last two (above 0: the tokens are nearer to
        the raters), with ``_low`` and ``_high`` by speakers. NaN where no utterance has both.

    Raises:
        InputError: As `channel_clips`.
    """
    import pandas as pd

    clips = channel_clips(predictions, labels)
    rows = []
    for key, pair in clips.groupby(list(PAIR), observed=True, sort=False, dropna=False):
        token, text = pair["has_token"].to_numpy(bool), pair["has_text"].to_numpy(bool)
        both = pair[token & text]
        difference = (both["js_text"] - both["js_token"]).to_numpy(np.float64)
        clusters = both["cluster"].to_numpy()
        low, high = mean_interval(difference, clusters, resamples=resamples, level=level, seed=seed)
        means = {name: float(both[name].mean()) for name in ("agreement", "js_between", "js_token", "js_text")}
        rows.append(
            {
                **dict(zip(PAIR, key, strict=True)),
                "num_both": len(both),
                "num_only_token": int((token & ~text).sum()),
                "num_only_text": int((text & ~token).sum()),
                "num_neither": int((~text & ~token).sum()),
                **means,
                "text_minus_token": float(difference.mean()) if len(both) else math.nan,
                "text_minus_token_low": low,
                "text_minus_token_high": high,
            }
        )
    return pd.DataFrame(rows)


def parse_statuses(predictions: pd.DataFrame) -> pd.DataFrame:
    """How many answers were parsed, and how the others failed.

    Args:
        predictions: ``predictions.parquet`` of a run.

    Returns:
        One row per model, prompt, text readout, variant and status: ``status``, ``count``, ``share`` of the cell's
        utterances. Every status of `emoprobe.prompts.answers.STATUSES` has a row, also with a count of 0, then any
        other.

    Raises:
        InputError: A column is missing.
    """
    import pandas as pd

    names = ["model", "prompt", "readout", "variant"]
    check_columns(predictions, [*names, "status"], "predictions")
    texts = predictions[predictions["readout"].isin(names_of("text"))]
    rows = []
    for key, cell in texts.groupby(names, observed=True, sort=False, dropna=False):
        counts = cell["status"].astype(str).value_counts()
        for status in [*STATUSES, *sorted(set(counts.index) - set(STATUSES))]:
            count = int(counts.get(status, 0))
            rows.append(
                {**dict(zip(names, key, strict=True)), "status": status, "count": count, "share": count / len(cell)}
            )
    return pd.DataFrame(rows, columns=[*names, "status", "count", "share"])


def label_masses(predictions: pd.DataFrame, *, threshold: float = 0.01) -> pd.DataFrame:
    """How much probability the labels hold before they are renormalised.

    Args:
        predictions: ``predictions.parquet`` of a run.
        threshold: Masses below it are counted.

    Returns:
        One row per model, prompt, readout and variant that has label masses (the calibrations share them):
        ``num_utterances`` with a mass, ``num_missing``, ``mean``, ``median``, ``p05``, ``p95`` (5th and 95th
        percentile), ``share_below`` and its ``threshold``.

    Raises:
        InputError: A column is missing.
    """
    import pandas as pd

    names = ["model", "prompt", "readout", "variant"]
    check_columns(predictions, [*KEYS, "label_mass"], "predictions")
    rows = []
    for key, cells in predictions.groupby(names, observed=True, sort=False, dropna=False):
        first = cells[cells["calibration"] == cells["calibration"].iloc[0]]
        mass = first["label_mass"].to_numpy(np.float64)
        known = mass[np.isfinite(mass)]
        if not len(known):
            continue
        row = {"num_utterances": len(known), "num_missing": len(mass) - len(known), "mean": float(known.mean())}
        row |= {name: float(np.quantile(known, q)) for name, q in (("median", 0.5), ("p05", 0.05), ("p95", 0.95))}
        row |= {"share_below": float((known < threshold).mean()), "threshold": threshold}
        rows.append({**dict(zip(names, key, strict=True)), **row})
    columns = ["num_utterances", "num_missing", "mean", "median", "p05", "p95", "share_below", "threshold"]
    return pd.DataFrame(rows, columns=[*names, *columns])


def layer_curves(
    predictions: pd.DataFrame, labels: Sequence[str], *, metrics: Sequence[str] | None = None
) -> pd.DataFrame:
    """Metrics of single layers, as of the readout ``layerwise``, by decoder layer: a curve per readout.

    Args:
        predictions: ``predictions.parquet`` of a run.
        labels: Labels of the run, in order.
        metrics: Names of the metrics; those of categories by default.

    Returns:
        One row per model, prompt, readout, calibration and ``layer`` (0: the embeddings), sorted by layer within each:
        ``fitted_on``, ``num_utterances``, ``num_failed`` and the metrics, NaN where nothing was scored.

    Raises:
        InputError: A column is missing, or a variant is not ``layer_N``.
    """
    import pandas as pd

    check_columns(predictions, KEYS, "predictions")
    keys = [name for name in KEYS if name != "variant"]
    names, rows = tuple(metrics or metrics_of()), []
    for layer in read_cells(predictions[predictions["readout"].isin(names_of("layers"))], labels):
        cell, use = layer.cell, layer.scored
        number = cell.variant.removeprefix("layer_")
        if not number.isdecimal():
            raise InputError(f"{cell.variant!r} is no layer", field="variant", remedy="Expected layer_N.")
        found: dict[str, float] = dict.fromkeys(names, math.nan)
        if use.any():
            found |= evaluate(layer.pred[use], layer.target[use], layer.votes[use], metrics=names)
        row = {name: getattr(cell, name) for name in keys}
        row |= {"layer": int(number), "fitted_on": layer.fitted_on}
        row |= {"num_utterances": int(use.sum()), "num_failed": int((~use).sum())}
        rows.append(row | {name: found[name] for name in names})
    columns = [*keys, "layer", "fitted_on", "num_utterances", "num_failed", *names]
    frame = pd.DataFrame(rows, columns=columns)
    order = frame.groupby(keys, sort=False, dropna=False).ngroup()
    return frame.assign(_order=order).sort_values(["_order", "layer"], ignore_index=True).drop(columns="_order")


# -- calibration and confusion -----------------------------------------------------------------------------------------


def reliability(predictions: pd.DataFrame, labels: Sequence[str], *, bins: int = 10) -> pd.DataFrame:
    """Predicted probability of every label against the raters' share of it, cell by cell: before and after calibration.

    The bins ``(b / B, (b + 1) / B]`` are those of `emoprobe.metrics.functional.classwise_ece`, which is the mean over
    utterances and labels of the deviation here: ``sum count |mean_probability - mean_share| / sum count`` over the rows
    of single labels.

    Args:
        predictions: ``predictions.parquet`` of a run.
        labels: Labels of the run, in order.
        bins: Number of bins.

    Returns:
        One row per cell, label and bin, ``label`` being empty for all labels together: ``bin`` (from 0), ``lower``,
        ``upper``, ``count`` (utterances; for all labels together, utterances x labels), ``mean_probability``,
        ``mean_share``; NaN in an empty bin.

    Raises:
        InputError: A column is missing, or ``bins`` is below 1.
    """
    import pandas as pd

    parts = []
    for cell in read_cells(predictions, labels):
        pred, target = cell.pred[cell.scored], cell.target[cell.scored]
        for k, name in [(slice(None), ""), *enumerate(labels)]:
            found = reliability_bins(pred[:, k], target[:, k], bins)
            columns = {"label": name, "bin": np.arange(bins), "lower": np.arange(bins) / bins}
            columns |= {"upper": (np.arange(bins) + 1) / bins, "count": found.counts}
            columns |= {"mean_probability": found.mean_probability, "mean_share": found.mean_share}
            parts.append(pd.DataFrame({**cell.head, **columns}))
    return pd.concat(parts, ignore_index=True)


def expected_confusion(predictions: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Where the model puts the probability of utterances that raters call something, without taking any top label.

    ``C_ij = sum_clips t_i p_j / sum_clips t_i``: if a clip is drawn at random, then a rater, and the rater said i, the
    expected probability that the model gives j. Raters disagree, so even the raters' own distribution does not give the
    identity: ``raters`` is the same with p replaced by t.

    Args:
        predictions: ``predictions.parquet`` of a run.
        labels: Labels of the run, in order.

    Returns:
        One row per cell and pair of labels: ``rater_label`` (i), ``model_label`` (j), ``share`` (C_ij; sums to one
        over j), ``raters``, ``weight`` (mean over utterances of t_i), ``num_utterances``, ``num_failed``. NaN where
        nobody said i, or nothing was scored.

    Raises:
        InputError: A column is missing.
    """
    import pandas as pd

    parts = []
    for cell in read_cells(predictions, labels):
        pred, target = cell.pred[cell.scored], cell.target[cell.scored]
        total = target.sum(axis=0)
        said = np.where(total > 0, total, np.nan)[:, None]
        columns = {
            "rater_label": np.repeat(list(labels), len(labels)),
            "model_label": np.tile(list(labels), len(labels)),
            "share": (target.T @ pred / said).ravel(),
            "raters": (target.T @ target / said).ravel(),
            "weight": np.repeat(total / len(pred) if len(pred) else np.full(len(labels), np.nan), len(labels)),
        }
        sizes = {"num_utterances": len(pred), "num_failed": int((~cell.scored).sum())}
        parts.append(pd.DataFrame({**cell.head, **columns, **sizes}))
    return pd.concat(parts, ignore_index=True)


def missed_mixtures(
    predictions: pd.DataFrame, labels: Sequence[str], *, share: float = 0.25, clear: float = 2 / 3
) -> pd.DataFrame:
    """Which mixtures of emotions, and which clear ones, a model finds.

    A mixture is a pair of labels that both have at least ``share`` of the votes; an utterance with three such labels
    counts for each of its pairs. A clear label has at least ``clear`` of the votes.

    Args:
        predictions: ``predictions.parquet`` of a run.
        labels: Labels of the run, in order.
        share: Of the votes, for each label of a pair; above 0, at most 1/2.
        clear: Of the votes, for a clear label; above 1/2, at most 1.

    Returns:
        One row per cell and pair or clear label, also if no utterance is of it: ``kind`` (``pair`` or ``clear``),
        ``first``, ``second`` (empty for a clear label); ``num_utterances`` (scored), ``num_failed``; means over the
        scored: ``human_mass`` and ``model_mass`` on the label or labels, ``js_divergence``, and ``found``, the share of
        utterances whose top label, or top two labels, these are. A label without probability is not among the top;
        where ties leave the choice open, the probability under a random choice counts.

    Raises:
        InputError: A share is out of range, or a column is missing.
    """
    import pandas as pd

    if not 0 < share <= 0.5 or not 0.5 < clear <= 1:
        raise InputError(
            f"share is {share} and clear {clear}", field="share", remedy="Use 0 < share <= 1/2 < clear <= 1."
        )
    rows = []
    for cell in read_cells(predictions, labels):
        js = js_divergence.by_clip(cell.pred, cell.target)
        kinds: list[tuple[str, tuple[int, ...], float]] = [
            ("pair", pair, share) for pair in combinations(range(len(labels)), 2)
        ]
        kinds += [("clear", (i,), clear) for i in range(len(labels))]
        for kind, members, least in kinds:
            inside = (cell.target[:, members] >= least - TIE_TOLERANCE).all(axis=1)
            use = inside & cell.scored
            row: dict[str, object] = {**cell.head, "kind": kind, "first": labels[members[0]]}
            row |= {"second": labels[members[1]] if kind == "pair" else "", "num_utterances": int(use.sum())}
            row |= {"num_failed": int((inside & ~use).sum())}
            values = {
                "human_mass": cell.target[use][:, members].sum(axis=1),
                "model_mass": cell.pred[use][:, members].sum(axis=1),
                "js_divergence": js[use],
                "found": _found(cell.pred[use], members),
            }
            rows.append(row | {name: float(v.mean()) if len(v) else math.nan for name, v in values.items()})
    return pd.DataFrame(rows)


def _found(pred: np.ndarray, members: Sequence[int]) -> np.ndarray:
    """Probability that the members are the top labels, ties broken at random, ``[utterances]``."""
    size = len(members)
    chosen = pred[:, members]
    lowest = np.sort(pred, axis=1)[:, -size][:, None]  # the last place among the top
    above, level = pred > lowest + TIE_TOLERANCE, np.abs(pred - lowest) <= TIE_TOLERANCE
    # All that are above the last place must be members, and the other members must be drawn from those level with it.
    members_above = (chosen > lowest + TIE_TOLERANCE).sum(axis=1)
    possible = (chosen >= lowest - TIE_TOLERANCE).all(axis=1) & (members_above == above.sum(axis=1))
    possible &= (chosen > TIE_TOLERANCE).all(axis=1)
    draws = [math.comb(int(n), int(size - a)) for n, a in zip(level.sum(axis=1), above.sum(axis=1), strict=True)]
    return np.where(possible, 1 / np.array(draws, dtype=np.float64).clip(min=1), 0.0)
