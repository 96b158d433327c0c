"""Readings of stored label logits as distributions ("Token-Level Logits Matter", arXiv 2505.18484). Needs no model.

The published descriptions that can be read leave open which positions, tokens and values are meant; every plausible
reading is a named variant here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
from scipy.special import log_softmax, softmax

from emoprobe.beliefs.distributions import Distributions
from emoprobe.errors import InputError
from emoprobe.options import options
from emoprobe.readout.base import FLOATS
from emoprobe.readout.written import TOKENS

KEPT = pa.field("kept_tokens", pa.list_(pa.int32()))
LOGITS = pa.field("kept_logits", FLOATS)
NORMALIZERS = pa.field("log_normalizers", FLOATS)
"""Raw logits of the kept tokens at each generated position, positions x kept, row by row; and of each position the
log-sum-exp over the whole vocabulary."""
SINCE = {"since": "4"}
FORCED = pa.field("forced_logits", pa.list_(FLOATS), metadata=SINCE)
FORCED_NORMALIZERS = pa.field("forced_log_normalizers", pa.list_(FLOATS), metadata=SINCE)
"""Where a surface form is forced as the answer: raw logits of its tokens, end included, each at its own position, and
the log-sum-exp over the whole vocabulary there."""
AT_POSITIONS = (LOGITS.name, NORMALIZERS.name)


@options("averaged_logits")
class AveragedLogitsVariant:
    """One reading of the published formula ``z_n / sum(z)``.

    Args:
        definition: In one line, for people.
        positions: ``all`` generated positions, the one where the end token was chosen among them; ``written``: those
            of the answer's tokens, without the end; ``answer``: the first one. Or no answer at all: every surface form
            is ``forced`` as the answer, each of its tokens read at its own position; ``forced_to_end``: its end token
            among them.
        tokens: ``all`` sub-tokens of a surface form (their mean; the template's text around it is left out), or its
            ``first``.
        values: What is averaged over positions: the raw ``logit``, its softmax over the vocabulary (``probability``),
            or its softmax over the labels (``label_softmax``).
        shares: ``ratio``: value / sum of values, undefined unless every value is positive; ``softmax`` of the values.
    """

    definition: str = ""
    positions: Literal["all", "written", "answer", "forced", "forced_to_end"] = "all"
    tokens: Literal["all", "first"] = "all"
    values: Literal["logit", "probability", "label_softmax"] = "logit"
    shares: Literal["ratio", "softmax"] = "ratio"

    def __post_init__(self) -> None:
        if self.shares == "softmax" and self.values != "logit":
            raise InputError("a softmax of probabilities is no distribution of theirs; use shares: ratio")
        if self.is_forced and (self.values, self.tokens) != ("logit", "all"):
            raise InputError("the tokens of a forced label have a position each; use tokens: all and values: logit")

    @property
    def is_forced(self) -> bool:
        """Whether it reads surface forms that are forced as the answer."""
        return self.positions in ("forced", "forced_to_end")

    @property
    def columns(self) -> Sequence[str]:
        """What it needs of the score table, beside the surface forms and their tokens."""
        if self.is_forced:
            return (FORCED.name,)
        return (*AT_POSITIONS, TOKENS.name) if self.positions == "written" else AT_POSITIONS


AVERAGED_LOGITS = {
    "raw_logit_ratio": AveragedLogitsVariant(
        "logit / sum of logits, each label's mean over all generated positions, that of the end token included"
    ),
    "raw_logit_ratio_without_end": AveragedLogitsVariant(
        "the same over the answer's own tokens, without the position where the end token was chosen", "written"
    ),
    "raw_logit_ratio_answer": AveragedLogitsVariant("the same at the first position alone", "answer"),
    "raw_logit_ratio_first_token": AveragedLogitsVariant(
        "raw_logit_ratio of the first token of every surface form", tokens="first"
    ),
    "raw_logit_ratio_forced": AveragedLogitsVariant(
        "logit / sum of logits, each label forced as the answer: the mean over its own tokens at their own positions",
        "forced",
    ),
    "raw_logit_ratio_forced_to_end": AveragedLogitsVariant(
        "the same, the end token after the label included in the mean", "forced_to_end"
    ),
    "probability_ratio": AveragedLogitsVariant(
        "probability over the vocabulary / their sum, mean over all generated positions", values="probability"
    ),
    "probability_ratio_without_end": AveragedLogitsVariant(
        "the same without the position of the end token", "written", values="probability"
    ),
    "softmax_of_mean": AveragedLogitsVariant(
        "softmax over the labels of their mean logits over all generated positions", shares="softmax"
    ),
    "softmax_of_mean_without_end": AveragedLogitsVariant(
        "the same without the position of the end token", "written", shares="softmax"
    ),
    "softmax_forced": AveragedLogitsVariant(
        "softmax over the labels of the mean logits of raw_logit_ratio_forced", "forced", shares="softmax"
    ),
    "softmax_forced_to_end": AveragedLogitsVariant(
        "the same, the end token after the label included in the mean", "forced_to_end", shares="softmax"
    ),
    "mean_of_softmax": AveragedLogitsVariant(
        "softmax over the labels at each generated position, then the mean over all of them", values="label_softmax"
    ),
    "mean_of_softmax_without_end": AveragedLogitsVariant(
        "the same without the position of the end token", "written", values="label_softmax"
    ),
    "answer_softmax": AveragedLogitsVariant(
        "softmax over the labels of their first tokens' logits at the first position",
        "answer",
        "first",
        shares="softmax",
    ),
}


def averaged_logits(table: pa.Table, labels: Sequence[str], variant: AveragedLogitsVariant) -> Distributions:
    """Shares of token-averaged logits under one reading.

    A row whose ratio has a value that is not positive, or that has no position to read, is ``undefined``.

    Args:
        table: Rows of one model and prompt.
        labels: Labels in order.
        variant: The reading.

    Raises:
        InputError: Labels share their first token, which is all that the reading looks at.
    """
    values = _of_forced_labels if variant.is_forced else _of_positions
    rows = [_shares(each, variant.shares) for each in values(table, labels, variant)]
    status = tuple("undefined" if np.isnan(row).any() else "ok" for row in rows)
    return Distributions(np.array(rows).reshape(-1, len(labels)), status)


def _shares(values: np.ndarray, kind: str) -> np.ndarray:
    """Log-shares of the labels' means over positions, ``[positions, labels]`` to ``[labels]``; NaN where undefined."""
    if not len(values):
        return np.full(values.shape[1], np.nan)
    mean = values.mean(axis=0)
    if kind == "softmax":
        return log_softmax(mean)
    return np.log(mean / mean.sum()) if (mean > 0).all() else np.full(len(mean), np.nan)


def _of_positions(table: pa.Table, labels: Sequence[str], variant: AveragedLogitsVariant) -> Iterator[np.ndarray]:
    """What is averaged of each row's answer, ``[positions, labels]``."""
    kept = table[KEPT.name][0].as_py()
    groups = _token_groups(table, labels, kept, variant.tokens)
    ends: Iterable[int | None] = [None] * len(table)
    if variant.positions == "answer":
        ends = [1] * len(table)
    elif variant.positions == "written":
        ends = [len(tokens) for tokens in table[TOKENS.name].to_pylist()]
    stored = (table[name].to_pylist() for name in AT_POSITIONS)
    for end, flat, normalizers in zip(ends, *stored, strict=True):
        logits = np.array(flat, dtype=np.float64).reshape(len(normalizers), len(kept))[:end]
        values = logits
        if variant.values == "probability":
            values = np.exp(logits - np.array(normalizers, dtype=np.float64)[:end, None])
        per_label = np.stack([_pool(values, group, variant.values) for group in groups], axis=1)
        yield softmax(per_label, axis=1) if variant.values == "label_softmax" else per_label


def _of_forced_labels(table: pa.Table, labels: Sequence[str], variant: AveragedLogitsVariant) -> Iterator[np.ndarray]:
    """Mean logits of each row's labels, each forced as the answer, ``[1, labels]``: forms of a label average."""
    own, owners = table["form_own_tokens"].to_pylist(), table["form_labels"][0].as_py()
    for logits, counts in zip(table[FORCED.name].to_pylist(), own, strict=True):
        means: dict[str, list[float]] = {label: [] for label in labels}
        for owner, values, count in zip(owners, logits, counts, strict=True):
            read = [*values[:count], values[-1]] if variant.positions == "forced_to_end" else values[:count]
            means[owner].append(np.mean(read, dtype=np.float64))
        yield np.array([[np.mean(means[label]) for label in labels]])


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
