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
from emoprobe.prompts.answers import find_label_word
from emoprobe.readout.base import FLOATS, INTS
from emoprobe.readout.written import TEXT, TOKENS

KEPT = pa.field("kept_tokens", INTS)
LOGITS = pa.field("kept_logits", FLOATS)
NORMALIZERS = pa.field("log_normalizers", FLOATS)
"""Raw logits of the kept tokens at each generated position, positions x kept, row by row; and of each position the
log-sum-exp over the whole vocabulary."""
FORCED = pa.field("forced_logits", pa.list_(FLOATS), metadata={"since": "4"})
FORCED_NORMALIZERS = pa.field("forced_log_normalizers", pa.list_(FLOATS), metadata={"since": "4"})
"""Where a surface form is forced as the answer: raw logits of its tokens, end included, each at its own position, and
the log-sum-exp over the whole vocabulary there."""
SPELLED = pa.field("spelled_tokens", pa.list_(INTS), metadata={"since": "5"})
SPELLED_LOGITS = pa.field("spelled_logits", FLOATS, metadata={"since": "5"})
ENDS = pa.field("generated_ends", INTS, metadata={"since": "5"})
"""First token of every surface form as it is, with a capital, and both behind a space, spellings x forms; their raw
logits at each generated position, positions x spellings x forms; characters of the text up to each token's end."""
AT_POSITIONS = (LOGITS.name, NORMALIZERS.name)


@options("averaged_logits")
class AveragedLogitsVariant:
    """One reading of the published formula ``z_n / sum(z)``.

    Args:
        definition: In one line, for people.
        positions: ``all`` generated positions, the one where the end token was chosen among them; ``written``: those
            of the answer's tokens, without the end; ``answer``: the first one; ``label``: where the answer first writes
            a label, if it does, in the spelling that it has there. Or no answer at all: every surface form is
            ``forced`` as the answer, each of its tokens read at its own position; ``forced_to_end``: its end token
            among them.
        tokens: ``all`` sub-tokens of a surface form (their mean; the template's text around it is left out), or its
            ``first``.
        values: What is averaged over positions: the raw ``logit``, its softmax over the vocabulary (``probability``),
            or its softmax over the labels (``label_softmax``).
        shares: ``ratio``: value / sum of values, undefined unless every value is positive; ``softmax`` of the values.
    """

    definition: str = ""
    positions: Literal["all", "written", "answer", "label", "forced", "forced_to_end"] = "all"
    tokens: Literal["all", "first"] = "all"
    values: Literal["logit", "probability", "label_softmax"] = "logit"
    shares: Literal["ratio", "softmax"] = "ratio"

    def __post_init__(self) -> None:
        if self.shares == "softmax" and self.values != "logit":
            raise InputError("a softmax of probabilities is no distribution of theirs; use shares: ratio")
        if self.is_forced and (self.values, self.tokens) != ("logit", "all"):
            raise InputError("the tokens of a forced label have a position each; use tokens: all and values: logit")
        if self.positions == "label" and (self.values, self.tokens) != ("logit", "first"):
            raise InputError("where a label is written its first token is read; use tokens: first and values: logit")

    @property
    def is_forced(self) -> bool:
        """Whether it reads surface forms that are forced as the answer."""
        return self.positions in ("forced", "forced_to_end")

    @property
    def columns(self) -> Sequence[str]:
        """What it needs of the score table, beside the surface forms and their tokens."""
        if self.is_forced:
            return (FORCED.name,)
        if self.positions == "label":
            return (SPELLED.name, SPELLED_LOGITS.name, ENDS.name, TEXT.name)
        return (*AT_POSITIONS, TOKENS.name) if self.positions == "written" else AT_POSITIONS


AVERAGED_LOGITS = {
    "raw_logit_ratio": AveragedLogitsVariant("z / sum z of each label's mean raw logit over all generated positions"),
    "raw_logit_ratio_without_end": AveragedLogitsVariant(
        "z / sum z of the mean over the answer's own tokens, without the position where the end token was chosen",
        "written",
    ),
    "raw_logit_ratio_answer": AveragedLogitsVariant("z / sum z at the first position", "answer"),
    "raw_logit_ratio_first_token": AveragedLogitsVariant(
        "z / sum z of the mean over all positions, z the logit of a surface form's first token", tokens="first"
    ),
    "raw_logit_ratio_label": AveragedLogitsVariant(
        "z / sum z where the answer first writes a label, z the logit of a surface form's first token as spelled there",
        "label",
        "first",
    ),
    "raw_logit_ratio_forced": AveragedLogitsVariant(
        "z / sum z, z the mean logit of a label's own tokens where the label is forced as the answer", "forced"
    ),
    "raw_logit_ratio_forced_to_end": AveragedLogitsVariant(
        "z / sum z of forced labels, the end token after each label among its tokens", "forced_to_end"
    ),
    "probability_ratio": AveragedLogitsVariant(
        "p / sum p of each label's mean probability over all generated positions", values="probability"
    ),
    "probability_ratio_without_end": AveragedLogitsVariant(
        "p / sum p of the mean over the answer's own tokens", "written", values="probability"
    ),
    "softmax_of_mean": AveragedLogitsVariant(
        "softmax of the labels' mean logits over all generated positions", shares="softmax"
    ),
    "softmax_of_mean_without_end": AveragedLogitsVariant(
        "softmax of the labels' mean logits over the answer's own tokens", "written", shares="softmax"
    ),
    "softmax_label": AveragedLogitsVariant(
        "softmax at the position where the answer first writes a label", "label", "first", shares="softmax"
    ),
    "softmax_forced": AveragedLogitsVariant("softmax of forced labels' mean logits", "forced", shares="softmax"),
    "softmax_forced_to_end": AveragedLogitsVariant(
        "softmax of forced labels' mean logits, the end token after each label among its tokens",
        "forced_to_end",
        shares="softmax",
    ),
    "mean_of_softmax": AveragedLogitsVariant(
        "mean over all generated positions of the labels' softmax there", values="label_softmax"
    ),
    "mean_of_softmax_without_end": AveragedLogitsVariant(
        "mean over the answer's own tokens of the labels' softmax there", "written", values="label_softmax"
    ),
    "answer_softmax": AveragedLogitsVariant(
        "softmax at the first position, of the logits of first tokens", "answer", "first", shares="softmax"
    ),
}


def averaged_logits(
    table: pa.Table,
    labels: Sequence[str],
    variant: AveragedLogitsVariant,
    words: Sequence[tuple[str, str]] = (),
    *,
    lenient: bool = False,
) -> Distributions:
    """Shares of token-averaged logits under one reading.

    A row whose ratio has a value that is not positive, or that has no position to read, is ``undefined``.

    Args:
        table: Rows of one model and prompt.
        labels: Labels in order.
        variant: The reading.
        words: ``(label, word)`` pairs that an answer may write, beside the rows' own surface forms.
        lenient: Whether a reading that looks at first tokens alone is undefined where labels share one.

    Raises:
        InputError: Labels share their first token, and the reading is not ``lenient``.
    """
    if variant.is_forced:
        found = _of_forced_labels(table, labels, variant)
    elif variant.positions == "label":
        found = _at_written_label(table, labels, words)
    else:
        found = _of_positions(table, labels, variant)
    try:
        rows = [_shares(values, variant.shares) for values in found]
    except InputError:
        if not lenient:
            raise
        rows = [np.full(len(labels), np.nan)] * len(table)
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


def _at_written_label(table: pa.Table, labels: Sequence[str], words: Sequence[tuple[str, str]]) -> Iterator[np.ndarray]:
    """First-token logits of each row's labels where its answer first writes one, as it spells it, ``[1, labels]``.

    ``[0, labels]`` where it writes none, or where two labels' first tokens are the same in this spelling.
    """
    owners = table["form_labels"][0].as_py()
    known = [*words, *zip(owners, table["forms"][0].as_py(), strict=True)]
    owner = np.array([labels.index(label) for label in owners])
    stored = (table[each.name].to_pylist() for each in (TEXT, ENDS, SPELLED, SPELLED_LOGITS))
    for text, ends, tokens, flat in zip(*stored, strict=True):
        place = find_label_word(text, labels, known)
        position = next((i for i, end in enumerate(ends) if place is not None and end > place), None)
        if place is None or position is None:
            yield np.empty((0, len(labels)))
            continue
        start = ends[position - 1] if position else 0
        spelling = 2 * text[start : start + 1].isspace() + text[place].isupper()
        if len(set(zip(tokens[spelling], owners, strict=True))) != len(set(tokens[spelling])):
            yield np.empty((0, len(labels)))
            continue
        logits = np.array(flat, dtype=np.float64).reshape(-1, len(tokens), len(owners))[position, spelling]
        yield np.array([[logits[owner == i].mean() for i in range(len(labels))]])


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
