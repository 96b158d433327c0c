"""Raw logits of the label tokens, averaged over the greedy answer ("Token-Level Logits Matter", arXiv 2505.18484).

The published descriptions that can be read leave open which positions, tokens and values are meant; every plausible
reading is a named variant here, computed from the stored logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from scipy.special import log_softmax, softmax

from emoprobe.beliefs.distributions import Distributions
from emoprobe.beliefs.reading import Reading
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.options import At, Count, Distinct, OneOf, options
from emoprobe.readout.base import FLOATS, INTS, READOUTS, AnswerReadout
from emoprobe.readout.scoring.asking import Asking, kept_tokens
from emoprobe.readout.written import ANSWER, answer_columns
from emoprobe.run.lists import by_row, joined, lengths, unlike_the_first
from emoprobe.run.scores import UNLIKE, Contradiction

KEPT = pa.field("kept_tokens", INTS)
LOGITS = pa.field("kept_logits", FLOATS)
NORMALIZERS = pa.field("log_normalizers", FLOATS)
"""Raw logits of the kept tokens at each generated position, positions x kept, row by row; and of each position the
log-sum-exp over the whole vocabulary."""


@options("averaged_logits")
class AveragedLogitsVariant:
    """One reading of the published formula ``z_n / sum(z)``.

    Args:
        positions: ``all`` generated positions, or the ``answer`` position only.
        tokens: ``all`` sub-tokens of a surface form (their mean; the template's text around it is left out), or its
            ``first``.
        values: What is averaged over positions: the raw ``logit``, its softmax over the vocabulary (``probability``),
            or its softmax over the labels (``label_softmax``).
        shares: ``ratio``: value / sum of values, undefined unless every value is positive; ``softmax`` of the values.
    """

    positions: Literal["all", "answer"] = "all"
    tokens: Literal["all", "first"] = "all"
    values: Literal["logit", "probability", "label_softmax"] = "logit"
    shares: Literal["ratio", "softmax"] = "ratio"

    def __post_init__(self) -> None:
        if self.shares == "softmax" and self.values != "logit":
            raise InputError("a softmax of probabilities is no distribution of theirs; use shares: ratio")


AVERAGED_LOGITS = {
    "raw_logit_ratio": AveragedLogitsVariant(),
    "raw_logit_ratio_answer": AveragedLogitsVariant(positions="answer"),
    "raw_logit_ratio_first_token": AveragedLogitsVariant(tokens="first"),
    "probability_ratio": AveragedLogitsVariant(values="probability"),
    "softmax_of_mean": AveragedLogitsVariant(shares="softmax"),
    "mean_of_softmax": AveragedLogitsVariant(values="label_softmax"),
    "answer_softmax": AveragedLogitsVariant(positions="answer", tokens="first", shares="softmax"),
}


@options("analysis.averaged_logits")
class AveragedLogitsOptions:
    """What is derived of stored logits.

    Args:
        variants: Some of the names of `AVERAGED_LOGITS`.
    """

    variants: Annotated[Distinct[Annotated[str, OneOf(AVERAGED_LOGITS)]], At("analysis.averaged_logits")] = (
        "raw_logit_ratio",
        "softmax_of_mean",
        "mean_of_softmax",
    )


@READOUTS.register("averaged_logits")
@options("readout.averaged_logits")
class AveragedLogits(AnswerReadout):
    """Raw logits of the label tokens at every position of the greedy answer.

    Args:
        max_new_tokens: Positions that are averaged at most. No other readout's answer is cut by it.
    """

    max_new_tokens: Count | None = 16
    name = "averaged_logits"
    columns = (KEPT, LOGITS, NORMALIZERS, *ANSWER)
    place = 3
    analysis = AveragedLogitsOptions

    def ask(self, asking: Asking) -> list[list[dict[str, Any]]]:
        """Kept token ids and, position by position, their raw logits and the vocabulary's log normalizer."""
        return [
            [
                {
                    KEPT.name: list(kept_tokens(plan)),
                    LOGITS.name: answer.kept_logits.flatten().tolist(),
                    NORMALIZERS.name: answer.log_normalizer.tolist(),
                    **answer_columns(answer),
                }
                for answer in answers
            ]
            for plan, answers in zip(asking.plans, asking.answers(self.limit), strict=True)
        ]

    @classmethod
    def read(cls, rows: pa.Table, labels: LabelSet, options: AveragedLogitsOptions) -> list[Reading]:
        """One reading per variant; surface forms have no scores of their own."""
        return [
            Reading(name, partial(averaged_logits, labels=labels.labels, variant=AVERAGED_LOGITS[name]))
            for name in options.variants
        ]

    @classmethod
    def contradictions(cls, rows: pa.Table) -> Iterator[Contradiction]:
        """The same tokens in all rows, one logit per position and token, none above its log normalizer."""
        yield Contradiction(unlike_the_first(rows[KEPT.name]), KEPT.name, UNLIKE)
        size, positions, kept = (lengths(rows[each.name]) for each in (LOGITS, NORMALIZERS, KEPT))
        if not (size.any() or positions.any()):
            return
        yield Contradiction(size != positions * kept, LOGITS.name, "has not one value per position and token")
        logits, normalizers = joined(rows[LOGITS.name]), joined(rows[NORMALIZERS.name])
        above = ~(logits <= np.repeat(normalizers, np.repeat(kept, positions)) + 1e-3)
        wrong = by_row(above, size, np.maximum) > 0
        yield Contradiction(wrong, LOGITS.name, "is above its log_normalizer")


def averaged_logits(table: pa.Table, labels: Sequence[str], variant: AveragedLogitsVariant) -> Distributions:
    """Shares of token-averaged logits under one reading; a row whose ratio has a value <= 0 is ``undefined``."""
    kept = table["kept_tokens"][0].as_py()
    groups = _token_groups(table, labels, kept, variant.tokens)
    rows, status = [], []
    for flat, normalizers in zip(table["kept_logits"].to_pylist(), table["log_normalizers"].to_pylist(), strict=True):
        logits = np.array(flat, dtype=np.float64).reshape(len(normalizers), len(kept))
        normalizer = np.array(normalizers, dtype=np.float64)
        if variant.positions == "answer":
            logits, normalizer = logits[:1], normalizer[:1]
        values = logits - normalizer[:, None] if variant.values == "probability" else logits
        if variant.values == "probability":
            values = np.exp(values)
        per_label = np.stack([_pool(values, group, variant.values) for group in groups], axis=1)  # [positions, labels]
        if variant.values == "label_softmax":
            per_label = softmax(per_label, axis=1)
        mean = per_label.mean(axis=0)
        if variant.shares == "softmax":
            rows.append(log_softmax(mean))
        elif (mean > 0).all():
            rows.append(np.log(mean / mean.sum()))
        else:
            rows.append(np.full(len(labels), np.nan))
        status.append("undefined" if np.isnan(rows[-1]).any() else "ok")
    return Distributions(np.array(rows), tuple(status))


def _token_groups(table: pa.Table, labels: Sequence[str], kept: list[int], tokens: str) -> list[list[list[int]]]:
    """Per label, per surface form, the columns of its tokens."""
    column = {token: i for i, token in enumerate(kept)}
    groups: list[list[list[int]]] = [[] for _ in labels]
    columns_of = ("form_labels", "form_tokens", "form_own_tokens")
    for label, form, own in zip(*(table[name][0].as_py() for name in columns_of), strict=True):
        ids = form[:own] if tokens == "all" else form[:1]
        groups[labels.index(label)].append([column[token] for token in ids])
    owners: dict[tuple[int, ...], str] = {}
    for label, forms in zip(labels, groups, strict=True):
        for columns in forms:
            if owners.setdefault(tuple(columns), label) != label:
                raise InputError(
                    f"labels {owners[tuple(columns)]!r} and {label!r} share their first token, which cannot tell them "
                    "apart",
                    field="analysis.averaged_logits",
                    remedy="Use a reading of all tokens, or other surface forms.",
                )
    return groups


def _pool(values: np.ndarray, forms: list[list[int]], kind: str) -> np.ndarray:
    """One value per position for a label: mean over a form's tokens; over forms probabilities add, logits average."""
    per_form = np.stack([values[:, columns].mean(axis=1) for columns in forms], axis=1)
    return per_form.sum(axis=1) if kind == "probability" else per_form.mean(axis=1)
